"""Candles of the store merged with the minutes that it does not have yet, read at once, in pages and from the cache."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulse.candle_history.reader import IDLE_AFTER_S, REFRESH_EVERY_S, CandleReader, RunningCandles
from pulse.market.intervals import INTERVALS, Newest
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, gap, minute_candle, minutes, running
from tests.support.makers import MIDNIGHT_MS, ManualClock, candle
from tests.support.stores import MemoryStore
from tests.support.virtual_time import now_s, run

FIVE = INTERVALS["5m"]


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[CandleReader]:
    """Yield a reader of twelve stored minutes, one more that is closed, and the running one."""
    store = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(12))
    await store.write_gaps([gap(10)])
    newest = Newest((minute_candle(12), running(13)), BEGIN_MS + 13 * MINUTE_MS)
    yield CandleReader(store, lambda _: newest, ManualClock(wall_s=12.5))
    await store.aclose()


async def test_the_running_candle_is_included(reader: CandleReader) -> None:
    """It has two minutes of the store, the one that is not stored yet, and the running one."""
    read = await reader.read("BTCUSDT", FIVE, None, None, 2)

    assert [(row.minutes, row.candle.open_time_ms) for row in read] == [
        (5, BEGIN_MS + 5 * MINUTE_MS),
        (4, BEGIN_MS + 10 * MINUTE_MS),
    ]


@pytest.mark.parametrize("page", [1, 2, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_are_the_same_as_one_read(reader: CandleReader, page: int, limit: int) -> None:
    """Whatever the size of the pages, together they are the same, and the last of them has the running candle."""
    pages = [read async for read in reader.pages("BTCUSDT", FIVE, 0, None, limit, page)]

    assert all(0 < len(read) <= page for read in pages)
    assert [row for read in pages for row in read] == await reader.read("BTCUSDT", FIVE, 0, None, limit)


async def test_the_time_and_the_running_minute(reader: CandleReader) -> None:
    """The time is the clock's; the running minute is the newest one's."""
    assert reader.now_s() == 12.5
    assert reader.running_ms("BTCUSDT") == BEGIN_MS + 13 * MINUTE_MS


async def test_gaps_are_those_of_the_store(reader: CandleReader) -> None:
    """Of the symbol and the range."""
    assert await reader.gaps("BTCUSDT", 0, 2 * BEGIN_MS, 10) == [gap(10)]
    assert await reader.gaps("ETHUSDT", 0, 2 * BEGIN_MS, 10) == []


# --- the cache of running candles


def minute(number: int, volume: float = 1.0, *, is_closed: bool = True) -> Candle:
    """Return the minute with this number since midnight."""
    return candle(MIDNIGHT_MS + number * MINUTE_MS, volume=volume, is_closed=is_closed)


class Following:
    """A running cache over a store with minutes 0 to 2; minute 3 is closed and not stored yet, minute 4 runs."""

    def __init__(self) -> None:
        self.store = MemoryStore([minute(0), minute(1), minute(2)])
        self.newest = Newest((minute(3), minute(4, 0.5, is_closed=False)), MIDNIGHT_MS + 4 * MINUTE_MS)
        self.cache = RunningCandles(CandleReader(self.store, lambda _: self.newest, ManualClock()), now_s)

    async def __aenter__(self) -> "Following":
        self._task = asyncio.create_task(self.cache.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled()


def test_a_running_candle_has_the_newest_minutes() -> None:
    """It is what is stored, the closed minute that is not yet, and the running one; the first call has nothing."""

    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with Following() as following:
            first = following.cache.now("BTCUSDT", "5m")
            await asyncio.sleep(0.1)
            return first, following.cache.now("BTCUSDT", "5m")

    first, later = run(scenario())
    assert first == {"candle": None, "closed_candle": None}
    row = later["candle"]
    assert (row["volume"], row["is_closed"], row["missing_minutes"]) == (4.5, False, 0)
    assert later["closed_candle"] is None


def test_a_candle_is_closed_when_its_last_minute_is_over() -> None:
    """The next one is the running candle from its first minute on."""

    async def scenario() -> Any:
        async with Following() as following:
            following.cache.now("BTCUSDT", "3m")
            await asyncio.sleep(0.1)
            following.newest = replace(following.newest)
            return following.cache.now("BTCUSDT", "3m")

    rows = run(scenario())
    assert (rows["closed_candle"]["volume"], rows["closed_candle"]["is_closed"]) == (3.0, True)
    assert rows["candle"]["volume"] == 1.5


def test_the_store_is_read_only_while_a_candle_is_followed() -> None:
    """Every few seconds while it is asked for, and no more once it is idle."""

    async def scenario() -> tuple[int, int, int]:
        async with Following() as following:
            for _ in range(4):
                following.cache.now("BTCUSDT", "5m")
                await asyncio.sleep(REFRESH_EVERY_S)
            while_followed = len(following.store.reads)
            await asyncio.sleep(IDLE_AFTER_S + 2 * REFRESH_EVERY_S)
            after = len(following.store.reads)
            await asyncio.sleep(100)
            return while_followed, after, len(following.store.reads)

    while_followed, after, later = run(scenario())
    assert 4 <= while_followed <= 6
    assert later == after


def test_an_unavailable_store_leaves_what_is_cached() -> None:
    """The candle goes on with the minutes that come, and its row counts those that are missing."""

    async def scenario() -> Any:
        async with Following() as following:
            following.cache.now("BTCUSDT", "1h")
            await asyncio.sleep(0.1)
            following.store.is_unavailable = True
            following.newest = Newest((minute(6), minute(7, is_closed=False)), MIDNIGHT_MS + 7 * MINUTE_MS)
            await asyncio.sleep(2 * REFRESH_EVERY_S)
            return following.cache.now("BTCUSDT", "1h")["candle"]

    row = run(scenario())
    assert (row["volume"], row["missing_minutes"]) == (5.0, 3)
