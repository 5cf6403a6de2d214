"""Stored minutes against the exchange's candles: what is queued to be written, and what is reported."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import pytest

from pulse.binance.rest import BinanceRest
from pulse.candle_history.exchange_comparison import ENDED_MS, MARGIN_S, SETTLE_MS, ExchangeComparison
from pulse.market.types import Candle, CandleMismatch
from tests.support.candles import live_candle
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle
from tests.support.rest import FakeRest

M0, M1, M2 = (MIDNIGHT_MS + number * MINUTE_MS for number in range(3))


class Compared:
    """A comparison with a fake exchange, and what came out of it."""

    def __init__(self, rest: FakeRest) -> None:
        self.mismatches: list[tuple[str, CandleMismatch]] = []
        self._queue: asyncio.Queue[Candle] = asyncio.Queue()
        self.comparison = ExchangeComparison(cast(BinanceRest, rest), self._queue, self._report)

    async def _report(self, symbol: str, mismatch: CandleMismatch) -> None:
        self.mismatches.append((symbol, mismatch))

    async def compare(self, stored: Iterable[Candle], *due: int) -> dict[int, Candle]:
        """Compare minutes of BTCUSDT."""
        return await self.comparison.compare("BTCUSDT", {row.open_time_ms: row for row in stored}, set(due))

    def queued(self) -> list[Candle]:
        """Return the candles that were queued since the last call."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


@pytest.mark.parametrize(("after_ms", "newest_ms"), [(0, M0), (-1, M0 - MINUTE_MS), (MINUTE_MS - 1, M0)])
def test_a_minute_has_time_to_settle(after_ms: int, newest_ms: int) -> None:
    """The newest minute to request ended SETTLE_MS ago by the exchange's clock."""
    compared = Compared(FakeRest(now_ms=M0 + MINUTE_MS + SETTLE_MS + after_ms))

    assert compared.comparison.settled_minute_ms() == newest_ms


async def test_only_closed_candles_are_fetched() -> None:
    """The running one is left out."""
    compared = Compared(FakeRest([M0, M1, M2], running=M2))

    assert await compared.comparison.fetch("BTCUSDT", M1, M2) == {M1: candle(M1)}


async def test_a_missing_minute_is_queued() -> None:
    """The store gets the exchange's candle of a due minute that it lacks, in one request."""
    compared = Compared(rest := FakeRest([M0, M1, M2], now_ms=M2 + MINUTE_MS + SETTLE_MS))

    assert await compared.compare([candle(M1)], M0, M2) == {minute: candle(minute) for minute in (M0, M1, M2)}
    assert compared.queued() == [candle(M0), candle(M2)]
    assert rest.kline_requests == [("BTCUSDT", M0, M2)]


@pytest.mark.parametrize(("after_ms", "newest_ms"), [(0, M0), (-1, M0 - MINUTE_MS), (MINUTE_MS - 1, M0)])
def test_a_minute_ends_some_seconds_after_its_end(after_ms: int, newest_ms: int) -> None:
    """By then a candle that was built here is stored."""
    compared = Compared(FakeRest(now_ms=M0 + MINUTE_MS + ENDED_MS + after_ms))

    assert compared.comparison.ended_minute_ms() == newest_ms


@pytest.mark.parametrize(
    ("after_ms", "wait_s"), [(0, 0.0), (-1, 0.001), (-2000, 2.0), (5000, 0.0), (-70_000, 60.0), (10**9, 0.0)]
)
def test_the_wait_for_a_minute_ends_a_little_later(after_ms: int, wait_s: float) -> None:
    """It is bounded: the time that it goes by may have been this machine's, which may be wrong."""
    compared = Compared(FakeRest(now_ms=M0 + MINUTE_MS + ENDED_MS + after_ms))

    assert compared.comparison.until_ended_s(M0) == pytest.approx(wait_s + MARGIN_S)


async def test_a_missing_minute_that_has_not_settled_is_not_reconciled() -> None:
    """Once it has, what the exchange has by then is queued; a difference is no mismatch of ours."""
    rest = FakeRest([M0, M1], now_ms=M1 + MINUTE_MS + ENDED_MS)
    compared, early = Compared(rest), replace(candle(M1), reconciled=False)
    await compared.compare([candle(M0)], M1)
    assert compared.queued() == [early]

    rest.now_ms, rest.candles[M1] = M1 + MINUTE_MS + SETTLE_MS, candle(M1, volume=3.0)
    await compared.compare([candle(M0), early], M1)
    assert compared.queued() == [candle(M1, volume=3.0)]
    assert compared.mismatches == []


async def test_an_equal_minute_is_marked_reconciled() -> None:
    """It keeps its source and its ids; once it is marked, nothing is queued any more."""
    compared, reconciled = Compared(FakeRest([M0])), live_candle(M0, reconciled=True)

    assert await compared.compare([live_candle(M0)], M0) == {M0: reconciled}
    assert compared.queued() == [reconciled]
    assert await compared.compare([reconciled], M0) == {M0: reconciled}
    assert compared.queued() == []


async def test_a_minute_that_differs_is_replaced_and_reported() -> None:
    """The exchange's candle is queued; the report has both and the exchange's time."""
    compared = Compared(FakeRest([M0], now_ms=M2))
    await compared.compare([live_candle(M0, volume=2.0)], M0)

    assert compared.queued() == [candle(M0)]
    assert compared.mismatches == [("BTCUSDT", CandleMismatch(live_candle(M0, volume=2.0), candle(M0), M2))]


async def test_a_minute_that_the_exchange_lacks_is_left_alone() -> None:
    """There is nothing to compare with."""
    compared = Compared(FakeRest([]))

    assert await compared.compare([live_candle(M0)], M0, M1) == {}
    assert compared.queued() == []
