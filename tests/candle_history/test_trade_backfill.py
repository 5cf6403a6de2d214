"""Trades of the past: minutes rebuilt from them, and the ids of a gap that are lost for good."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import pytest

from pulse.binance.rest import AGG_TRADES_MAX, BinanceRest
from pulse.candle_history.trade_backfill import GAP_PAGES_MAX, MINUTE_TRADES_MAX, REBUILDS_MAX, TradeBackfill
from pulse.market.types import Candle, TradeGap
from tests.support.candles import live_candle
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade
from tests.support.rest import FakeRest
from tests.support.stores import MemoryStore

M0, M1 = MIDNIGHT_MS, MIDNIGHT_MS + MINUTE_MS
WITH_IDS = live_candle(M0, reconciled=True)


async def rebuilt(rest: FakeRest, stored: Iterable[Candle], unprovable: set[int]) -> list[Candle]:
    """Return the candles that are queued when the minutes without trade ids are rebuilt."""
    queue: asyncio.Queue[Candle] = asyncio.Queue()
    backfill = TradeBackfill(cast(BinanceRest, rest), MemoryStore(), queue)
    await backfill.rebuild("BTCUSDT", {row.open_time_ms: row for row in stored}, unprovable)
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def test_a_minute_after_one_with_ids_is_rebuilt() -> None:
    """Its candle gets the ids of its trades, and is reconciled."""
    rest = FakeRest(trades=[trade(6, time_ms=M1 + 5)])

    assert await rebuilt(rest, [WITH_IDS, candle(M1)], set()) == [
        live_candle(M1, trade_id=6, source="repaired", reconciled=True)
    ]


async def test_minutes_before_the_first_with_ids_are_left() -> None:
    """History has no trade ids, and fetching its trades would take hours."""
    rest = FakeRest(trades=[trade(6, time_ms=M0 + 5)])

    assert await rebuilt(rest, [candle(M0), live_candle(M1)], set()) == []
    assert await rebuilt(rest, [candle(M0), candle(M1)], set()) == []
    assert rest.trade_requests == []


async def test_a_minute_without_trades_needs_no_ids() -> None:
    """There is nothing to fetch."""
    rest = FakeRest()

    assert await rebuilt(rest, [WITH_IDS, candle(M1, volume=0.0)], set()) == []
    assert rest.trade_requests == []


async def test_trades_that_do_not_add_up_are_not_requested_again(caplog: pytest.LogCaptureFixture) -> None:
    """The minute is noted as unprovable, logged, and left out from then on."""
    rest, unprovable = FakeRest(trades=[trade(6, 101.0, time_ms=M1 + 5)]), set[int]()
    for _ in range(2):
        assert await rebuilt(rest, [WITH_IDS, candle(M1)], unprovable) == []

    assert unprovable == {M1}
    assert rest.trade_requests == [M1]
    assert caplog.text.count("trades do not add up to the candle") == 1


@pytest.mark.parametrize(("count", "requests"), [(AGG_TRADES_MAX, 2), (2 * AGG_TRADES_MAX + 1, 3)])
async def test_a_busy_minute_takes_several_pages(count: int, requests: int) -> None:
    """Each page is requested from the last one's id on, to the minute's end."""
    rows = [trade(10 + i, time_ms=M1 + i // 100) for i in range(count)]
    rest = FakeRest(trades=[*rows, trade(10 + count, time_ms=M1 + MINUTE_MS)])
    found = await rebuilt(rest, [WITH_IDS, candle(M1, volume=float(count))], set())

    assert [(row.first_trade_id, row.last_trade_id) for row in found] == [(10, 9 + count)]
    assert len(rest.trade_requests) == requests


async def test_a_minute_with_too_many_trades_is_left() -> None:
    """The number of requests is bounded."""
    rest = FakeRest(trades=[trade(10 + i, time_ms=M1) for i in range(MINUTE_TRADES_MAX + AGG_TRADES_MAX)])

    assert await rebuilt(rest, [WITH_IDS, candle(M1)], set()) == []
    assert len(rest.trade_requests) == MINUTE_TRADES_MAX // AGG_TRADES_MAX + 1  # each page begins with a known trade


async def test_two_trades_of_one_id_may_lie_on_two_pages() -> None:
    """The exchange has used one id twice: a page is requested from the last one's id on, which is not counted twice."""
    rows = [trade(10 + i, time_ms=M1) for i in range(AGG_TRADES_MAX)]
    second = replace(rows[-1], first_trade_id=9 + AGG_TRADES_MAX + 1, last_trade_id=9 + AGG_TRADES_MAX + 1)
    rest = FakeRest(trades=[*rows, second])
    found = await rebuilt(rest, [WITH_IDS, candle(M1, volume=float(AGG_TRADES_MAX + 1))], set())

    assert [(row.first_trade_id, row.last_trade_id) for row in found] == [(10, 10 + AGG_TRADES_MAX)]


async def test_the_minutes_of_one_call_are_bounded() -> None:
    """The oldest come first, the others are left to the next call."""
    later = [candle(M0 + number * MINUTE_MS) for number in range(1, REBUILDS_MAX + 3)]
    rest = FakeRest(trades=[trade(number, time_ms=row.open_time_ms) for number, row in enumerate(later)])

    assert [row.open_time_ms for row in await rebuilt(rest, [WITH_IDS, *later], set())] == [
        row.open_time_ms for row in later[:REBUILDS_MAX]
    ]


# --- gaps


async def lost(gap: TradeGap, ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return the gaps that are stored when the exchange has the trades with these ids."""
    store = MemoryStore()
    backfill = TradeBackfill(cast(BinanceRest, FakeRest(trades=[trade(i) for i in ids])), store, asyncio.Queue())
    await backfill.check_gap(gap)
    return [(part.first_trade_id, part.last_trade_id) for part in store.gaps]


def gap(first: int, last: int) -> TradeGap:
    """Return a gap with these trade ids."""
    return TradeGap("BTCUSDT", first, last, M0, M0 + 5, M1)


async def test_a_gap_that_the_exchange_can_fill_is_not_stored() -> None:
    """The trades are there after all, and in the candles."""
    assert await lost(gap(5, 9), range(1, 20)) == []


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([], [(5, 9)]), ([20], [(5, 9)]), ([5, 8], [(6, 7), (9, 9)]), ([7, 8, 9, 10], [(5, 6)])],
)
async def test_the_ids_that_the_exchange_skips_are_stored(ids: list[int], expected: list[tuple[int, int]]) -> None:
    """Exactly those, as ranges."""
    assert await lost(gap(5, 9), ids) == expected


async def test_a_gap_may_span_pages() -> None:
    """Ids on both sides of the end of a page are not taken for lost."""
    last = 2 * AGG_TRADES_MAX + 5

    assert await lost(gap(1, last + 1), range(1, last + 1)) == [(last + 1, last + 1)]


async def test_the_pages_of_a_gap_are_bounded() -> None:
    """What lies beyond them is not taken for lost."""
    last = (GAP_PAGES_MAX + 1) * AGG_TRADES_MAX

    assert await lost(gap(1, last), range(2, last)) == [(1, 1)]
