"""Filling holes: what the store lacks is asked of the exchange, once, and put off where either is away."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from pulse.backfill import LATE_MS, LOOK_BACK_MINUTES, SETTLE_MS, Backfill
from pulse.binance.rest import BinanceRest
from pulse.errors import ExchangeError, PulseError, StoreUnavailable
from pulse.market.types import Candle
from pulse.store import Store
from tests.makers import MIDNIGHT_MS, MINUTE_MS, ManualClock, candle
from tests.virtual_time import run

NEWEST = MIDNIGHT_MS
OLDEST = NEWEST - (LOOK_BACK_MINUTES - 1) * MINUTE_MS
NOW_S = (NEWEST + MINUTE_MS + SETTLE_MS) / 1000
ALL = range(OLDEST, NEWEST + 1, MINUTE_MS)


class Exchange:
    """The exchange's candles, and what was asked of it."""

    def __init__(self, minutes: Sequence[int], fault: PulseError | None = None) -> None:
        self.minutes = set(minutes)
        self.fault = fault
        self.asked: list[tuple[str, int, int]] = []

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Those that open in this range, oldest first; one that is still running is not closed."""
        self.asked.append((symbol, start_ms, end_ms))
        if self.fault is not None and len(self.asked) <= self.recovers_after:
            raise self.fault
        found = sorted(minute for minute in self.minutes if start_ms <= minute <= end_ms)
        return [candle(minute, symbol=symbol, is_closed=minute != self.running) for minute in found]

    running = -1
    recovers_after = 1_000


class Shelf:
    """What is stored."""

    def __init__(self, minutes: Sequence[int], fault: PulseError | None = None) -> None:
        self.rows = [candle(minute) for minute in minutes]
        self.fault = fault

    async def read_candles(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[Candle]:
        """Those that open in this range."""
        if self.fault is not None:
            raise self.fault
        assert limit == LOOK_BACK_MINUTES
        return [replace(row, symbol=symbol) for row in self.rows if start_ms <= row.open_time_ms <= end_ms]


def looked(
    exchange: Exchange, shelf: Shelf, symbols: Sequence[str] = ("BTCUSDT",), now_s: float = NOW_S, looks: int = 1
) -> list[Candle]:
    """What the backfill gave out after this many looks, a minute apart."""

    async def story() -> list[Candle]:
        candles: asyncio.Queue[Candle] = asyncio.Queue()
        clock = ManualClock(wall_s=now_s)
        backfill = Backfill(symbols, cast(BinanceRest, exchange), cast(Store, shelf), candles, clock)
        task = asyncio.create_task(backfill.run())
        await asyncio.sleep(60.0 * looks - 30.0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return [candles.get_nowait() for _ in range(candles.qsize())]

    return run(story())


def minutes_of(candles: list[Candle]) -> list[int]:
    """Their minutes."""
    return [row.open_time_ms for row in candles]


def test_an_empty_store_is_filled() -> None:
    """The last thousand minutes are asked for and given out, oldest first."""
    exchange = Exchange(ALL)

    assert minutes_of(looked(exchange, Shelf([]))) == list(ALL)
    assert exchange.asked == [("BTCUSDT", OLDEST, NEWEST)]


def test_a_store_without_a_hole_asks_nothing() -> None:
    """Where all minutes are stored the exchange is left alone."""
    exchange = Exchange(ALL)

    assert looked(exchange, Shelf(ALL), looks=3) == []
    assert exchange.asked == []


def test_only_the_missing_minutes_are_given_out() -> None:
    """The range from the first hole to the last is asked for, and what is stored already is left as it is."""
    exchange = Exchange(ALL)
    holes = [ALL[10], ALL[12], ALL[20]]

    assert minutes_of(looked(exchange, Shelf([m for m in ALL if m not in holes]))) == holes
    assert exchange.asked == [("BTCUSDT", ALL[10], ALL[20])]


def test_a_minute_is_given_time_to_settle() -> None:
    """A minute is asked for only ninety seconds after its end."""
    exchange = Exchange(ALL)
    looked(exchange, Shelf([]), now_s=NOW_S - 0.001)

    assert exchange.asked == [("BTCUSDT", OLDEST - MINUTE_MS, NEWEST - MINUTE_MS)]


def test_a_minute_that_the_exchange_lacks_is_asked_for_once() -> None:
    """Where the exchange passes an old minute over it has none, and later looks leave it out."""
    exchange = Exchange([m for m in ALL if m != ALL[5]])
    looked(exchange, Shelf([m for m in ALL if m not in (ALL[5], ALL[7])]), looks=3)

    assert exchange.asked == [("BTCUSDT", ALL[5], ALL[7]), ("BTCUSDT", ALL[7], ALL[7]), ("BTCUSDT", ALL[7], ALL[7])]


def test_nothing_found_is_remembered_too() -> None:
    """An answer without a single candle says the same."""
    exchange = Exchange([])
    looked(exchange, Shelf([m for m in ALL if m != ALL[5]]), looks=3)

    assert exchange.asked == [("BTCUSDT", ALL[5], ALL[5])]


def test_an_exchange_that_is_late_is_asked_again() -> None:
    """A minute of the last hour may only be late, and is no hole for ever."""
    first = NEWEST - LATE_MS
    exchange = Exchange([])
    looked(exchange, Shelf([m for m in ALL if m not in (first - MINUTE_MS, first)]), looks=2)

    assert exchange.asked == [("BTCUSDT", first - MINUTE_MS, first), ("BTCUSDT", first, first)]


def test_a_running_candle_is_not_taken() -> None:
    """Only what the exchange has closed is given out."""
    exchange = Exchange(ALL)
    exchange.running = NEWEST

    assert minutes_of(looked(exchange, Shelf(ALL[:-2]))) == [ALL[-2]]


@pytest.mark.parametrize(
    ("exchange_fault", "store_fault"),
    [(ExchangeError("the exchange is away"), None), (None, StoreUnavailable("the store is away"))],
)
def test_trouble_puts_it_off(
    exchange_fault: PulseError | None, store_fault: PulseError | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Every symbol is tried, and all again after growing waits of 1, 2, 4, 8 and 16 s or half of that.

    Whoever reads the log at its usual level is told once.
    """
    caplog.set_level("DEBUG", "pulse.backfill")
    found = looked(Exchange(ALL, exchange_fault), Shelf([], store_fault), ["BTCUSDT", "ETHUSDT"])
    lines = [record.getMessage() for record in caplog.records]

    reason = str(exchange_fault or store_fault)
    both = [f"backfill put off symbol={symbol} reason={reason}" for symbol in ("BTCUSDT", "ETHUSDT")]
    assert found == []
    assert lines in (both * 5, both * 6)
    assert [record.getMessage() for record in caplog.records if record.levelname == "INFO"] == both


def test_what_was_put_off_is_done_when_the_trouble_ends() -> None:
    """The first look that both answer fills the holes."""
    exchange = Exchange(ALL, ExchangeError("the exchange is away"))
    exchange.recovers_after = 3

    assert minutes_of(looked(exchange, Shelf(ALL[:-1]))) == [NEWEST]
    assert len(exchange.asked) == 4


def test_each_symbol_has_its_own_holes(caplog: pytest.LogCaptureFixture) -> None:
    """Candles come for every symbol, and a fill is told once."""
    caplog.set_level("INFO", "pulse.backfill")
    found = looked(Exchange(ALL[:-1]), Shelf(ALL[:-2]), ["BTCUSDT", "ETHUSDT"])

    assert [(row.symbol, row.open_time_ms) for row in found] == [("BTCUSDT", ALL[-2]), ("ETHUSDT", ALL[-2])]
    assert "backfilled symbol=ETHUSDT candles=1 of=2" in caplog.text
