"""Stored minutes against the exchange's: holes are filled, accounts reconciled, trades fetched, the past walked."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from pulse.binance.rest import AGG_TRADES_MAX, KLINES_MAX, PRIORITY_HISTORY, BinanceRest
from pulse.candle_history.reconciler import (
    CHECKED_AGAIN_MINUTES,
    LATE_MS,
    LOOK_EVERY_S,
    MINUTE_TRADES_MAX,
    RECENT_MINUTES,
    SETTLE_MS,
    CandleReconciler,
)
from pulse.errors import ExchangeError, PulseError, StoreUnavailable
from pulse.market.types import Candle, CandleMismatch, Trade, TradeGap
from pulse.store.contract import Store
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade
from tests.support.virtual_time import run

NEWEST = MIDNIGHT_MS
NOW_MS = NEWEST + MINUTE_MS + SETTLE_MS
OLDEST = NEWEST - (RECENT_MINUTES - 1) * MINUTE_MS
ALL = range(OLDEST, NEWEST + 1, MINUTE_MS)
CHECKED = NEWEST - (CHECKED_AGAIN_MINUTES - 1) * MINUTE_MS
"""The first of the minutes that every look compares."""
BOTH = ("BTCUSDT", "ETHUSDT")


@dataclass
class Exchange:
    """The exchange's candles and trades, and what was asked of it."""

    minutes: Iterable[int]
    trades: list[Trade] = field(default_factory=list)
    fault: PulseError | None = None
    recovers_after: int = 1_000
    running: int = -1
    now_ms: int = NOW_MS
    candles: dict[int, Candle] = field(default_factory=dict)  # those that are not like the others
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    trades_asked: list[int] = field(default_factory=list)

    def exchange_ms(self) -> int:
        """Its date."""
        return self.now_ms

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Those that open in this range, oldest first; one that is still running is not closed."""
        self.asked.append((symbol, start_ms, end_ms))
        if self.fault is not None and len(self.asked) <= self.recovers_after:
            raise self.fault
        found = sorted(minute for minute in self.minutes if start_ms <= minute <= end_ms)[:KLINES_MAX]
        return [
            self.candles.get(minute, candle(minute, symbol=symbol, is_closed=minute != self.running))
            for minute in found
        ]

    async def agg_trades(self, symbol: str, from_id: int, rank: int) -> list[Trade]:
        """From an id on; never in the books' way."""
        assert rank == PRIORITY_HISTORY
        self.trades_asked.append(from_id)
        return [row for row in self.trades if row.trade_id >= from_id][:AGG_TRADES_MAX]

    async def agg_trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        """By their time."""
        self.trades_asked.append(start_ms)
        return [row for row in self.trades if start_ms <= row.time_ms <= end_ms][:AGG_TRADES_MAX]


class Shelf:
    """What is stored; what the reconciler gives out is added, as the writer would."""

    def __init__(self, rows: Iterable[int | Candle], fault: PulseError | None = None) -> None:
        candles = [candle(row) if isinstance(row, int) else row for row in rows]
        self.rows = {row.open_time_ms: row for row in candles}
        self.fault = fault
        self.gaps: list[TradeGap] = []

    async def read_candles(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[Candle]:
        """Those that open in this range."""
        if self.fault is not None:
            raise self.fault
        found = sorted(minute for minute in self.rows if start_ms <= minute <= end_ms)
        return [replace(self.rows[minute], symbol=symbol) for minute in found[:limit]]

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Keep them."""
        self.gaps += gaps


@dataclass
class Looked:
    """What came of a reconciler's looks."""

    given: list[Candle]
    mismatches: list[CandleMismatch]
    progress: dict[str, dict[str, int]]

    @property
    def minutes(self) -> list[int]:
        """The minutes that were given out."""
        return [row.open_time_ms for row in self.given]


def looked(
    exchange: Exchange, shelf: Shelf, symbols: Sequence[str] = ("BTCUSDT",), looks: int = 1, days: int = 0,
    gaps: Sequence[TradeGap] = (),
) -> Looked:  # fmt: skip
    """What the reconciler gave out in this many looks, a minute apart."""

    async def story() -> Looked:
        candles: asyncio.Queue[Candle] = asyncio.Queue()
        mismatches: list[CandleMismatch] = []

        async def tell(symbol: str, mismatch: CandleMismatch) -> None:
            mismatches.append(mismatch)

        reconciler = CandleReconciler(
            symbols,
            cast(BinanceRest, exchange),
            cast(Store, shelf),
            candles,
            days=days,
            rng=random.Random(1),
            tell=tell,
        )
        for gap in gaps:
            reconciler.note_gap(gap)
        task = asyncio.create_task(reconciler.run())
        given: list[Candle] = []
        for _ in range(looks):
            await asyncio.sleep(LOOK_EVERY_S / 2)
            rows = [candles.get_nowait() for _ in range(candles.qsize())]
            shelf.rows |= {row.open_time_ms: row for row in rows if len(symbols) == 1}
            given += rows
            await asyncio.sleep(LOOK_EVERY_S / 2 - 0.001)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return Looked(given, mismatches, reconciler.progress())

    return run(story())


def ours(minute: int, volume: float = 1.0, first_id: int = 5, *, reconciled: bool = False) -> Candle:
    """A minute that was built here from one trade."""
    account = candle(minute, volume=volume)
    return replace(
        account, source="live", reconciled=reconciled, first_trade_id=first_id, last_trade_id=first_id, trade_count=1
    )


def without(*minutes: int) -> list[int]:
    """All recent minutes but these."""
    return [minute for minute in ALL if minute not in minutes]


# --- holes


def test_an_empty_store_is_filled() -> None:
    """The recent minutes are asked for and given out, oldest first."""
    exchange = Exchange(ALL)

    assert looked(exchange, Shelf([])).minutes == list(ALL)
    assert exchange.asked == [("BTCUSDT", OLDEST, NEWEST)]


def test_a_store_without_a_hole_is_only_compared() -> None:
    """Where all minutes are stored the newest are asked for at each look, and nothing is given out."""
    exchange = Exchange(ALL)

    assert looked(exchange, Shelf(ALL), looks=3).given == []
    assert exchange.asked == [("BTCUSDT", CHECKED, NEWEST)] * 3


def test_only_the_missing_minutes_are_given_out() -> None:
    """What is stored already, and equal, is left as it is."""
    exchange = Exchange(ALL)
    holes = [ALL[10], ALL[12], ALL[20]]

    assert looked(exchange, Shelf(without(*holes))).minutes == holes
    assert exchange.asked == [("BTCUSDT", ALL[10], NEWEST)]


def test_a_minute_is_given_time_to_settle() -> None:
    """A minute is asked for only ninety seconds after its end, by the exchange's clock."""
    exchange = Exchange(ALL, now_ms=NOW_MS - 1)
    looked(exchange, Shelf([]))

    assert exchange.asked == [("BTCUSDT", OLDEST - MINUTE_MS, NEWEST - MINUTE_MS)]


def test_a_minute_that_the_exchange_lacks_is_asked_for_once() -> None:
    """Where the exchange passes an old minute over it has none, and later looks leave it out."""
    exchange = Exchange(without(ALL[5]))
    looked(exchange, Shelf(without(ALL[5])), looks=2)

    assert exchange.asked == [("BTCUSDT", ALL[5], NEWEST), ("BTCUSDT", CHECKED, NEWEST)]


def test_an_exchange_that_is_late_is_asked_again() -> None:
    """A minute of the last hour may only be late, and is no hole for ever."""
    first = NEWEST - LATE_MS
    exchange = Exchange([])
    looked(exchange, Shelf(without(first - MINUTE_MS, first)), looks=2)

    assert exchange.asked == [("BTCUSDT", first - MINUTE_MS, NEWEST), ("BTCUSDT", first, NEWEST)]


def test_a_running_candle_is_not_taken() -> None:
    """Only what the exchange has closed is given out."""
    assert looked(Exchange(ALL, running=NEWEST), Shelf(ALL[:-2])).minutes == [ALL[-2]]


# --- reconciling


def test_an_equal_minute_of_ours_is_reconciled() -> None:
    """It keeps its ids and its source, and is not asked for again once it is old."""
    exchange = Exchange(ALL)
    shelf = Shelf([*without(ALL[20]), ours(ALL[20])])

    assert looked(exchange, shelf, looks=2).given == [ours(ALL[20], reconciled=True)]
    assert exchange.asked == [("BTCUSDT", ALL[20], NEWEST), ("BTCUSDT", CHECKED, NEWEST)]


def test_a_minute_that_differs_gives_way_and_is_told() -> None:
    """The exchange's account stands, and both are told."""
    found = looked(Exchange(ALL), Shelf([*without(ALL[20]), ours(ALL[20], volume=2.0)]))

    assert found.given == [candle(ALL[20])]
    assert [(m.ours.volume, m.theirs.volume, m.time_ms) for m in found.mismatches] == [(2.0, 1.0, NOW_MS)]


def test_a_correction_by_the_exchange_is_noticed() -> None:
    """A new minute is compared also when it had been reconciled: the exchange may change its mind."""
    exchange = Exchange(ALL, candles={NEWEST: candle(NEWEST, volume=3.0)})
    found = looked(exchange, Shelf([*without(NEWEST), ours(NEWEST, reconciled=True)]))

    assert [row.volume for row in found.given] == [3.0]
    assert len(found.mismatches) == 1


# --- trades


def test_a_minute_after_the_first_receipt_is_rebuilt_from_its_trades() -> None:
    """What was missed while nothing ran gets its ids, once."""
    exchange = Exchange(ALL, [trade(6, time_ms=ALL[21] + 5)])
    found = looked(exchange, Shelf([*without(ALL[20]), ours(ALL[20], reconciled=True)]))

    rebuilt = [row for row in found.given if row.open_time_ms == ALL[21]]
    assert [(row.source, row.first_trade_id, row.reconciled) for row in rebuilt] == [("repaired", 6, True)]


def test_minutes_before_the_first_receipt_stay_the_exchanges() -> None:
    """History has no trade ids, and fetching its trades would take hours."""
    exchange = Exchange(ALL, [trade(6, time_ms=ALL[21] + 5)])

    assert looked(exchange, Shelf(ALL)).given == []
    assert exchange.trades_asked == []


def test_trades_that_do_not_make_the_candle_are_not_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    """The exchange's account stays, without ids; whoever reads the log is told once."""
    exchange = Exchange(ALL, [trade(6, 101.0, time_ms=NEWEST + 5)])
    shelf = Shelf([*ALL[:-2], ours(ALL[-2], reconciled=True), NEWEST])

    assert looked(exchange, shelf, looks=3).given == []
    assert exchange.trades_asked == [NEWEST]
    assert caplog.text.count("trades do not make the candle") == 1


@pytest.mark.parametrize(("count", "calls"), [(AGG_TRADES_MAX, 2), (2 * AGG_TRADES_MAX + 1, 3)])
def test_a_busy_minute_takes_several_pages(count: int, calls: int) -> None:
    """Each page is asked for from the id after the last one's, to the minute's end."""
    rows = [trade(10 + i, time_ms=NEWEST + i // 100) for i in range(count)]
    exchange = Exchange(ALL, [*rows, trade(10 + count, time_ms=NEWEST + MINUTE_MS)])
    exchange.candles[NEWEST] = candle(NEWEST, volume=float(count))
    found = looked(exchange, Shelf([*ALL[:-2], ours(ALL[-2], reconciled=True), exchange.candles[NEWEST]]))

    assert [(row.first_trade_id, row.last_trade_id) for row in found.given] == [(10, 9 + count)]
    assert len(exchange.trades_asked) == calls


def test_a_minute_with_too_many_trades_is_left() -> None:
    """The calls are bounded."""
    exchange = Exchange(ALL, [trade(10 + i, time_ms=NEWEST) for i in range(MINUTE_TRADES_MAX + AGG_TRADES_MAX)])

    assert looked(exchange, Shelf([*ALL[:-2], ours(ALL[-2], reconciled=True), NEWEST])).given == []


def gap(first: int, last: int) -> TradeGap:
    """Trades that were given up."""
    return TradeGap("BTCUSDT", first, last, NEWEST, NEWEST + 5, NOW_MS)


def test_a_gap_that_the_exchange_can_fill_is_none() -> None:
    """The trades are there after all, and in the candles."""
    shelf = Shelf(ALL)
    looked(Exchange(ALL, [trade(i) for i in range(1, 20)]), shelf, gaps=[gap(5, 9)])

    assert shelf.gaps == []


@pytest.mark.parametrize(
    ("there", "lost"),
    [([], [(5, 9)]), ([20], [(5, 9)]), ([5, 8], [(6, 7), (9, 9)]), ([7, 8, 9, 10], [(5, 6)])],
)
def test_what_the_exchange_passes_over_is_put_on_record(there: list[int], lost: list[tuple[int, int]]) -> None:
    """Exactly the ids that it does not give, once."""
    shelf = Shelf(ALL)
    looked(Exchange(ALL, [trade(i) for i in there]), shelf, gaps=[gap(5, 9)], looks=2)

    assert [(part.first_trade_id, part.last_trade_id) for part in shelf.gaps] == lost


# --- the past

DAYS = 3
PAST = range(OLDEST - (DAYS * 1440 - RECENT_MINUTES) * MINUTE_MS, NEWEST + 1, MINUTE_MS)


def test_the_past_is_walked_once_after_the_start() -> None:
    """Pages are asked for from the newest backwards, to the day that was set; then it is done."""
    exchange = Exchange(PAST)
    found = looked(exchange, Shelf(ALL), days=DAYS, looks=2)

    assert sorted(found.minutes) == [minute for minute in PAST if minute < OLDEST]
    assert found.progress == {"BTCUSDT": {"minutes": 3320, "of": 3320}}


def test_how_much_there_is_to_walk_is_known_before_it_begins() -> None:
    """While the recent minutes are still being looked at, the past counts as not fetched."""
    found = looked(Exchange(ALL, fault=ExchangeError("away")), Shelf([]), days=DAYS)

    assert found.progress == {"BTCUSDT": {"minutes": 0, "of": 3320}}


def test_a_walk_goes_on_where_an_earlier_one_ended() -> None:
    """What is stored costs no call; only the part that is missing is asked for."""
    exchange = Exchange(PAST)
    found = looked(exchange, Shelf(PAST[500:]), days=DAYS)

    assert sorted(found.minutes) == list(PAST[:500])
    assert len(exchange.asked) == 3  # one look and two pages that lack something


def test_a_walk_ends_where_the_exchange_has_no_more() -> None:
    """Before its listing a symbol has no minutes, and nobody goes on asking for them."""
    found = looked(exchange := Exchange(ALL), Shelf(ALL), days=3650)

    assert found.progress == {"BTCUSDT": {"minutes": 0, "of": 0}}
    assert len(exchange.asked) == 3


# --- trouble


@pytest.mark.parametrize(
    ("exchange_fault", "store_fault"),
    [(ExchangeError("the exchange is away"), None), (None, StoreUnavailable("the store is away"))],
)
def test_trouble_puts_it_off(
    exchange_fault: PulseError | None, store_fault: PulseError | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Every symbol is tried, and all again after growing waits of 1, 2, 4, 8, 16 and 32 s or half of that.

    Whoever reads the log at its usual level is told once.
    """
    caplog.set_level("DEBUG", "pulse.candle_history.reconciler")
    found = looked(Exchange(ALL, fault=exchange_fault), Shelf([], store_fault), BOTH)
    lines = [record.getMessage() for record in caplog.records]

    reason = str(exchange_fault or store_fault)
    both = [f"reconciler put off symbol={symbol} reason={reason}" for symbol in BOTH]
    assert found.given == []
    assert lines in (both * 6, both * 7)
    assert [record.getMessage() for record in caplog.records if record.levelname == "INFO"] == both


def test_what_was_put_off_is_done_when_the_trouble_ends() -> None:
    """The first look that both answer fills the holes."""
    exchange = Exchange(ALL, fault=ExchangeError("the exchange is away"), recovers_after=3)

    assert looked(exchange, Shelf(ALL[:-1])).minutes == [NEWEST]
    assert len(exchange.asked) == 4


def test_each_symbol_has_its_own_holes(caplog: pytest.LogCaptureFixture) -> None:
    """Candles come for every symbol, and a fill is told once."""
    caplog.set_level("INFO", "pulse.candle_history.reconciler")
    found = looked(Exchange(ALL[:-1]), Shelf(ALL[:-2]), BOTH)

    assert [(row.symbol, row.open_time_ms) for row in found.given] == [("BTCUSDT", ALL[-2]), ("ETHUSDT", ALL[-2])]
    assert "backfilled symbol=ETHUSDT candles=1" in caplog.text
