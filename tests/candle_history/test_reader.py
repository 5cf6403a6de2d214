"""What is read of a store together with the minutes that it does not have yet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pulse.candle_history.reader import Bars
from pulse.market.intervals import INTERVALS, Newest
from pulse.market.types import MINUTE_MS
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, candle, minutes, running
from tests.support.makers import ManualClock

FIVE = INTERVALS["5m"]


@pytest.fixture
async def bars(tmp_path: Path) -> AsyncIterator[Bars]:
    """Twelve stored minutes, one more that is closed, and the running one."""
    store = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(12))
    newest = Newest((candle(12), running(13)), BEGIN_MS + 13 * MINUTE_MS)
    yield Bars(store, lambda _: newest, ManualClock(wall_s=12.5))
    await store.close()


async def test_the_running_bar_is_told_as_far_as_it_has_come(bars: Bars) -> None:
    """Two minutes of the store, one that is on its way there, and the running one."""
    read = await bars.read("BTCUSDT", FIVE, None, None, 2)

    assert [(bar.minutes, bar.candle.open_time_ms) for bar in read] == [
        (5, BEGIN_MS + 5 * MINUTE_MS),
        (4, BEGIN_MS + 10 * MINUTE_MS),
    ]


@pytest.mark.parametrize("page", [1, 2, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_are_what_is_read_at_once(bars: Bars, page: int, limit: int) -> None:
    """However long the pages, together they are the same, and the last of them holds the running bar."""
    pages = [read async for read in bars.pages("BTCUSDT", FIVE, 0, None, limit, page)]

    assert all(0 < len(read) <= page for read in pages)
    assert [bar for read in pages for bar in read] == await bars.read("BTCUSDT", FIVE, 0, None, limit)


async def test_when_the_running_minute_opens(bars: Bars) -> None:
    """What lies before it is over; what time it is, the clock says."""
    assert bars.now_s() == 12.5
    assert bars.running_ms("BTCUSDT") == BEGIN_MS + 13 * MINUTE_MS
