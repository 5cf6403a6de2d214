"""The walk through the history of one symbol: which pages are compared, and where it ends."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import pytest

from pulse.binance.rest import KLINES_MAX, BinanceRest
from pulse.candle_history.exchange_comparison import ExchangeComparison
from pulse.candle_history.history_walk import HistoryWalk
from pulse.errors import ExchangeError, StoreUnavailable
from pulse.market.types import Candle, CandleMismatch
from tests.support.candles import live_candle
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle
from tests.support.rest import FakeRest
from tests.support.stores import MemoryStore

COUNT = 2 * KLINES_MAX + 320
MINUTES = range(MIDNIGHT_MS - (COUNT - 1) * MINUTE_MS, MIDNIGHT_MS + 1, MINUTE_MS)


@dataclass
class Walked:
    """A walk over MINUTES, and the minutes that it has queued."""

    rest: FakeRest
    store: MemoryStore
    count: int = COUNT

    def __post_init__(self) -> None:
        self._queue: asyncio.Queue[Candle] = asyncio.Queue()
        self.mismatches: list[CandleMismatch] = []
        comparison = ExchangeComparison(cast(BinanceRest, self.rest), self._queue, self._report)
        self.walk = HistoryWalk("BTCUSDT", MIDNIGHT_MS, self.count, self.store, comparison)

    async def _report(self, _: str, mismatch: CandleMismatch) -> None:
        self.mismatches.append(mismatch)

    async def to_the_end(self) -> list[int]:
        """Step until the walk is done; return the minutes that were queued."""
        while not self.walk.is_done:
            await self.walk.step()
        return [self._queue.get_nowait().open_time_ms for _ in range(self._queue.qsize())]


def stored(minutes: Iterable[int]) -> MemoryStore:
    """Return a store with the exchange's candles of these minutes."""
    return MemoryStore(map(candle, minutes))


async def test_pages_are_compared_from_the_newest_backwards() -> None:
    """Each page is full but the last one, which ends with the oldest minute."""
    walked = Walked(FakeRest(MINUTES), stored([]))
    assert sorted(await walked.to_the_end()) == list(MINUTES)

    page_ms = KLINES_MAX * MINUTE_MS
    assert [end for _, _, end in walked.rest.kline_requests] == [MIDNIGHT_MS - page * page_ms for page in range(3)]
    assert walked.rest.kline_requests[-1][1] == MINUTES[0]


async def test_progress_counts_minutes() -> None:
    """Pages that are done count whole; in the end all minutes are done."""
    walk = Walked(FakeRest(MINUTES), stored([])).walk
    counts = [(walk.done, walk.total)]
    while not walk.is_done:
        await walk.step()
        counts.append((walk.done, walk.total))

    assert counts == [(done, COUNT) for done in (0, KLINES_MAX, 2 * KLINES_MAX, COUNT)]


async def test_what_is_stored_and_reconciled_costs_no_request() -> None:
    """A walk goes on where an earlier one ended: only the part that is missing is requested."""
    walked = Walked(FakeRest(MINUTES), stored(MINUTES[500:]))

    assert sorted(await walked.to_the_end()) == list(MINUTES[:500])
    assert len(walked.rest.kline_requests) == 2  # the pages that lack something


async def test_a_stored_minute_that_differs_is_reported() -> None:
    """A page is compared, not only filled."""
    walked = Walked(FakeRest(MINUTES), stored(MINUTES))
    await walked.store.write_candles([live_candle(MINUTES[7], volume=2.0)])

    assert await walked.to_the_end() == [MINUTES[7]]
    assert [mismatch.ours.volume for mismatch in walked.mismatches] == [2.0]


async def test_the_walk_ends_before_the_listing() -> None:
    """Where the exchange has nothing older no further page is requested, and what was done is all there is."""
    walked = Walked(FakeRest(MINUTES[-KLINES_MAX:]), stored([]), count=3_000_000)
    await walked.to_the_end()

    assert (walked.walk.done, walked.walk.total) == (KLINES_MAX, KLINES_MAX)
    assert len(walked.rest.kline_requests) == 3  # two pages, and whether there is anything older


async def test_an_empty_last_page_is_not_looked_behind() -> None:
    """There is nothing older to be found in the walk, and the exchange refuses a range that ends before it begins."""
    walked = Walked(FakeRest(MINUTES[320:]), stored([]))
    await walked.to_the_end()

    assert all(start <= end for _, start, end in walked.rest.kline_requests)
    assert (walked.walk.done, walked.walk.total) == (COUNT - 320, COUNT - 320)


async def test_an_empty_page_within_the_history_is_passed() -> None:
    """An exchange that was down for longer than a page has older candles all the same."""
    there = [*MINUTES[:320], *MINUTES[-KLINES_MAX:]]
    walked = Walked(FakeRest(there), stored([]))

    assert sorted(await walked.to_the_end()) == there
    assert walked.walk.total == COUNT


@pytest.mark.parametrize("is_store", [True, False])
async def test_a_page_that_failed_is_repeated(is_store: bool) -> None:
    """Whichever side fails, the walk stays where it is."""
    rest = FakeRest(MINUTES, fault=None if is_store else ExchangeError("no answer"), recovers_after=1)
    walked = Walked(rest, stored([]))
    walked.store.is_unavailable = is_store
    with pytest.raises((ExchangeError, StoreUnavailable)):
        await walked.walk.step()
    walked.store.is_unavailable = False

    assert walked.walk.done == 0
    assert sorted(await walked.to_the_end()) == list(MINUTES)


async def test_no_minutes_are_done_at_once() -> None:
    """Where nothing is to be walked through, no step requests anything."""
    walked = Walked(FakeRest(MINUTES), stored([]), count=0)
    await walked.walk.step()

    assert walked.walk.is_done
    assert walked.rest.kline_requests == []
