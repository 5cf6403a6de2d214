"""What is read of a store together with the minutes that it does not have yet."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pulse.candle_history.reader import FORGOTTEN_AFTER_S, READ_EVERY_S, CandleReader, RunningCandles
from pulse.errors import StoreUnavailable
from pulse.market.intervals import INTERVALS, AggregatedCandle, Interval, Newest, add_minute, one_minute_aggregate
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.contract import Store
from pulse.store.sqlite import SqliteStore
from tests.support import makers
from tests.support.candles import BEGIN_MS, SQL_DIR, candle, minutes, running
from tests.support.makers import MIDNIGHT_MS, ManualClock
from tests.support.virtual_time import now_s, run

FIVE = INTERVALS["5m"]


@pytest.fixture
async def bars(tmp_path: Path) -> AsyncIterator[CandleReader]:
    """Twelve stored minutes, one more that is closed, and the running one."""
    store = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(12))
    newest = Newest((candle(12), running(13)), BEGIN_MS + 13 * MINUTE_MS)
    yield CandleReader(store, lambda _: newest, ManualClock(wall_s=12.5))
    await store.aclose()


async def test_the_running_bar_is_told_as_far_as_it_has_come(bars: CandleReader) -> None:
    """Two minutes of the store, one that is on its way there, and the running one."""
    read = await bars.read("BTCUSDT", FIVE, None, None, 2)

    assert [(bar.minutes, bar.candle.open_time_ms) for bar in read] == [
        (5, BEGIN_MS + 5 * MINUTE_MS),
        (4, BEGIN_MS + 10 * MINUTE_MS),
    ]


@pytest.mark.parametrize("page", [1, 2, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_are_what_is_read_at_once(bars: CandleReader, page: int, limit: int) -> None:
    """However long the pages, together they are the same, and the last of them holds the running bar."""
    pages = [read async for read in bars.pages("BTCUSDT", FIVE, 0, None, limit, page)]

    assert all(0 < len(read) <= page for read in pages)
    assert [bar for read in pages for bar in read] == await bars.read("BTCUSDT", FIVE, 0, None, limit)


async def test_when_the_running_minute_opens(bars: CandleReader) -> None:
    """What lies before it is over; what time it is, the clock says."""
    assert bars.now_s() == 12.5
    assert bars.running_ms("BTCUSDT") == BEGIN_MS + 13 * MINUTE_MS


def minute(number: int, volume: float = 1.0, *, is_closed: bool = True) -> Candle:
    """The minute with this number since midnight."""
    return makers.candle(MIDNIGHT_MS + number * MINUTE_MS, volume=volume, is_closed=is_closed)


class Shelf:
    """A store of one bar of three minutes, which may be away; it counts what is read."""

    def __init__(self) -> None:
        self.read = 0
        self.is_away = False

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> Sequence[AggregatedCandle]:
        """Minutes 0 to 2 as one bar."""
        self.read += 1
        if self.is_away:
            raise StoreUnavailable("away")
        bar = one_minute_aggregate(minute(0))
        for number in (1, 2):
            bar = add_minute(bar, minute(number))
        return [bar]


class Stage:
    """Running bars over a shelf; minute 3 is closed and not stored yet, minute 4 runs."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.newest = Newest((minute(3), minute(4, 0.5, is_closed=False)), MIDNIGHT_MS + 4 * MINUTE_MS)
        bars = CandleReader(cast(Store, self.shelf), lambda _: self.newest, ManualClock())
        self.running = RunningCandles(bars, now_s)

    async def __aenter__(self) -> "Stage":
        self._task = asyncio.create_task(self.running.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled()


def test_a_running_bar_holds_the_newest_minutes() -> None:
    """What is stored, the closed minute that is not yet, and the running one as far as it has come."""

    async def story() -> tuple[dict[str, Any], dict[str, Any]]:
        async with Stage() as stage:
            first = stage.running.now("BTCUSDT", "5m")
            await asyncio.sleep(0.1)
            return first, stage.running.now("BTCUSDT", "5m")

    first, later = run(story())
    assert first == {"candle": None, "closed_candle": None}
    row = later["candle"]
    assert (row["volume"], row["is_closed"], row["missing_minutes"]) == (4.5, False, 0)
    assert later["closed_candle"] is None


def test_when_its_last_minute_is_over_the_bar_is_closed() -> None:
    """The next one runs beside it from its first minute on."""

    async def story() -> Any:
        async with Stage() as stage:
            stage.running.now("BTCUSDT", "3m")
            await asyncio.sleep(0.1)
            stage.newest = replace(stage.newest)
            return stage.running.now("BTCUSDT", "3m")

    rows = run(story())
    assert (rows["closed_candle"]["volume"], rows["closed_candle"]["is_closed"]) == (3.0, True)
    assert rows["candle"]["volume"] == 1.5


def test_the_store_is_read_while_somebody_asks() -> None:
    """Every few seconds; and no more once nobody has asked for a while."""

    async def story() -> tuple[int, int, int]:
        async with Stage() as stage:
            for _ in range(4):
                stage.running.now("BTCUSDT", "5m")
                await asyncio.sleep(READ_EVERY_S)
            while_asked = stage.shelf.read
            await asyncio.sleep(FORGOTTEN_AFTER_S + 2 * READ_EVERY_S)
            after = stage.shelf.read
            await asyncio.sleep(100)
            return while_asked, after, stage.shelf.read

    while_asked, after, later = run(story())
    assert 4 <= while_asked <= 6
    assert later == after


def test_a_store_that_is_away_leaves_what_was_read() -> None:
    """The bar goes on with the minutes that come, and says which it lacks."""

    async def story() -> Any:
        async with Stage() as stage:
            stage.running.now("BTCUSDT", "1h")
            await asyncio.sleep(0.1)
            stage.shelf.is_away = True
            stage.newest = Newest((minute(6), minute(7, is_closed=False)), MIDNIGHT_MS + 7 * MINUTE_MS)
            await asyncio.sleep(2 * READ_EVERY_S)
            return stage.running.now("BTCUSDT", "1h")["candle"]

    row = run(story())
    assert (row["volume"], row["missing_minutes"]) == (5.0, 3)
