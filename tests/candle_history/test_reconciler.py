"""The reconciler in virtual time: which minutes it checks when, and what happens to symbols, gaps and failures."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import pytest

from pulse.binance.rest import BinanceRest
from pulse.candle_history.exchange_comparison import ENDED_MS, MARGIN_S
from pulse.candle_history.reconciler import (
    COMPARED_AGAIN_MINUTES,
    GAP_TRIES_MAX,
    LATE_MS,
    RECENT_MINUTES,
    CandleReconciler,
)
from pulse.errors import ExchangeError, MalformedFrame
from pulse.market.types import Candle, CandleMismatch, Trade, TradeGap
from pulse.queues import TRADE_GAPS_MAX, GapQueue, make_gap_queue
from tests.support.candles import live_candle
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade
from tests.support.rest import FakeRest
from tests.support.stores import UNAVAILABLE, MemoryStore
from tests.support.virtual_time import run

CHECK_EVERY_S = 60.0 + MARGIN_S
NEWEST, ENDED, LAST = range(MIDNIGHT_MS, MIDNIGHT_MS + 3 * MINUTE_MS, MINUTE_MS)
"""The newest minute that has settled, and two that have ended since, the last of them just long enough ago."""
NOW_MS = LAST + MINUTE_MS + ENDED_MS
OLDEST = LAST - (RECENT_MINUTES - 1) * MINUTE_MS
ALL = range(OLDEST, LAST + 1, MINUTE_MS)
COMPARED = NEWEST - (COMPARED_AGAIN_MINUTES - 1) * MINUTE_MS
"""The first of the minutes that every check compares."""
BOTH = ("BTCUSDT", "ETHUSDT")


def stored(rows: Iterable[int | Candle], *symbols: str) -> MemoryStore:
    """Return a store with these candles, or the exchange's of these minutes, of BTCUSDT unless others are named."""
    return MemoryStore(
        candle(row, symbol=symbol) if isinstance(row, int) else row
        for row in rows for symbol in symbols or ("BTCUSDT",)
    )  # fmt: skip


def exchange(minutes: Iterable[int], **fields: Any) -> FakeRest:
    """Return an exchange with these minutes at the time when LAST has just ended."""
    return FakeRest(minutes, **({"now_ms": NOW_MS} | fields))


class Running:
    """A reconciler at work; what it queues is written to its store every half minute."""

    def __init__(self, rest: FakeRest, store: MemoryStore, days: int) -> None:
        self.rest = rest
        self.store = store
        self.is_widening = False
        self.queued: list[Candle] = []
        self.mismatches: list[CandleMismatch] = []
        self.gaps: GapQueue = make_gap_queue()
        self._queue: asyncio.Queue[Candle] = asyncio.Queue()
        self.reconciler = CandleReconciler(
            cast(BinanceRest, rest), store, self._queue, self.gaps, self._report,
            is_widening=lambda: self.is_widening, days=days, rng=random.Random(1),
        )  # fmt: skip

    async def _report(self, _: str, mismatch: CandleMismatch) -> None:
        self.mismatches.append(mismatch)

    async def checks(self, count: int) -> None:
        """Let the time of this many checks pass."""
        for _ in range(count):
            await asyncio.sleep(CHECK_EVERY_S / 2)
            rows = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            if rows and not self.store.is_unavailable:
                await self.store.write_candles(rows)
            self.queued += rows
            await asyncio.sleep(CHECK_EVERY_S / 2 - 0.001)

    @property
    def minutes(self) -> list[int]:
        """The minutes that were queued."""
        return [row.open_time_ms for row in self.queued]


def reconciled(
    rest: FakeRest, store: MemoryStore, symbols: Sequence[str] = ("BTCUSDT",), *, checks: int = 1, days: int = 0,
    scenario: Callable[[Running], Awaitable[None]] | None = None,
) -> Running:  # fmt: skip
    """Run a reconciler of these symbols through a scenario, or else for this many checks, a minute apart."""

    async def play() -> Running:
        running = Running(rest, store, days)
        for symbol in symbols:
            running.reconciler.open(symbol)
        task = asyncio.create_task(running.reconciler.run())
        await (scenario(running) if scenario else running.checks(checks))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return running

    return run(play())


def without(*minutes: int) -> list[int]:
    """Return all recent minutes but these."""
    return [minute for minute in ALL if minute not in minutes]


# --- missing minutes


def test_an_empty_store_is_filled() -> None:
    """The recent minutes are requested at once and queued, oldest first; those that have not settled may change."""
    rest = exchange(ALL)
    found = reconciled(rest, stored([]))

    assert found.minutes == list(ALL)
    assert [row.open_time_ms for row in found.queued if not row.reconciled] == [ENDED, LAST]
    assert rest.kline_requests == [("BTCUSDT", OLDEST, LAST)]


@pytest.mark.parametrize("error_ms", [-5 * 3_600_000, 5 * 3_600_000])
def test_machines_clock_does_not_decide_which_minutes_are_due(error_ms: int) -> None:
    """Minutes that are still to come would be found to be missing at the exchange, and not be asked for again."""
    rest = exchange(ALL, own_error_ms=error_ms)
    found = reconciled(rest, stored([]))

    assert found.minutes == list(ALL)
    assert rest.kline_requests == [("BTCUSDT", OLDEST, LAST)]


def test_a_minute_that_ended_while_nothing_ran_is_filled_at_once() -> None:
    """It is compared once it has settled, and what the exchange has corrected by then is no mismatch of ours."""

    async def scenario(running: Running) -> None:
        await running.checks(1)
        running.rest.now_ms += 3 * MINUTE_MS
        running.rest.candles[LAST] = candle(LAST, volume=3.0)
        await running.checks(2)

    found = reconciled(exchange(ALL), stored(ALL[:-2]), scenario=scenario)
    rows = {row.open_time_ms: row for row in found.store.candles.values()}

    assert [(row.open_time_ms, row.volume, row.reconciled) for row in found.queued] == [
        (ENDED, 1.0, False), (LAST, 1.0, False), (ENDED, 1.0, True), (LAST, 3.0, True),
    ]  # fmt: skip
    assert rows[LAST].volume == 3.0
    assert found.mismatches == []


def test_a_minute_that_was_built_here_is_not_requested_before_it_has_settled() -> None:
    """The exchange's candle would replace it, and may still change."""
    rest = exchange(ALL)
    found = reconciled(rest, stored([*ALL[:-2], live_candle(ENDED), live_candle(LAST)]))

    assert found.queued == []
    assert rest.kline_requests == [("BTCUSDT", COMPARED, NEWEST)]


def test_the_newest_minutes_of_all_symbols_are_filled_before_anything_else() -> None:
    """Minutes to rebuild and histories to walk through, of one symbol, make no other's wait."""
    rest = exchange(HISTORY, trades=[trade(6, time_ms=ALL[21] + 5)])
    store = stored([*without(ALL[20], LAST), live_candle(ALL[20], reconciled=True)], *BOTH)
    reconciled(rest, store, BOTH, days=DAYS)

    assert [end for _, _, end in rest.kline_requests[:2]] == [LAST, LAST]
    assert len(rest.kline_requests) > 2
    assert rest.trade_requests


def test_a_complete_store_is_only_compared() -> None:
    """Where all minutes are stored the newest are requested at each check, and nothing is queued."""
    rest = exchange(ALL)

    assert reconciled(rest, stored(ALL), checks=3).queued == []
    assert rest.kline_requests == [("BTCUSDT", COMPARED, NEWEST)] * 3


def test_only_the_missing_minutes_are_queued() -> None:
    """Minutes that are stored and equal stay as they are."""
    rest = exchange(ALL)
    holes = [ALL[10], ALL[12], ALL[20]]

    assert reconciled(rest, stored(without(*holes))).minutes == holes
    assert rest.kline_requests == [("BTCUSDT", ALL[10], NEWEST)]


def test_a_minute_is_requested_once_it_has_ended() -> None:
    """Some seconds after its end, by the exchange's clock; the check after that comes when it has."""
    rest = exchange(ALL, now_ms=NOW_MS - 2000)

    async def scenario(running: Running) -> None:
        await asyncio.sleep(1.9 + MARGIN_S)
        assert running.rest.kline_requests == [("BTCUSDT", OLDEST - MINUTE_MS, LAST - MINUTE_MS)]
        running.rest.now_ms += 2000
        await asyncio.sleep(0.2)

    reconciled(rest, stored([]), scenario=scenario)

    assert rest.kline_requests[1:] == [("BTCUSDT", OLDEST, LAST)]


def test_a_minute_that_the_exchange_lacks_is_requested_once() -> None:
    """If the exchange skips an old minute it has none, and later checks leave it out."""
    rest = exchange(without(ALL[5]))
    reconciled(rest, stored(without(ALL[5])), checks=2)

    assert rest.kline_requests == [("BTCUSDT", ALL[5], NEWEST), ("BTCUSDT", COMPARED, NEWEST)]


def test_a_late_minute_is_requested_again() -> None:
    """A minute of the last hour may only be late, so it is not taken for absent."""
    first = NEWEST - LATE_MS
    rest = exchange([])
    reconciled(rest, stored(without(first - MINUTE_MS, first)), checks=2)

    assert rest.kline_requests == [("BTCUSDT", first - MINUTE_MS, NEWEST), ("BTCUSDT", first, NEWEST)]


def test_a_running_candle_is_not_queued() -> None:
    """Only candles that the exchange has closed are queued."""
    assert reconciled(exchange(ALL, running=LAST), stored(ALL[:-2])).minutes == [ENDED]


# --- comparing


def test_an_equal_minute_is_reconciled() -> None:
    """It keeps its ids and its source, and is not requested again once it is old."""
    rest = exchange(ALL)
    store = stored([*without(ALL[20]), live_candle(ALL[20])])

    assert reconciled(rest, store, checks=2).queued == [live_candle(ALL[20], reconciled=True)]
    assert rest.kline_requests == [("BTCUSDT", ALL[20], NEWEST), ("BTCUSDT", COMPARED, NEWEST)]


@pytest.mark.proves("wrong-minute")
def test_a_minute_that_differs_is_replaced_and_reported() -> None:
    """The exchange's candle is queued, and both are reported."""
    found = reconciled(exchange(ALL), stored([*without(ALL[20]), live_candle(ALL[20], volume=2.0)]))

    assert found.queued == [candle(ALL[20])]
    assert [(m.ours.volume, m.theirs.volume, m.time_ms) for m in found.mismatches] == [(2.0, 1.0, NOW_MS)]


def test_a_correction_by_the_exchange_is_noticed() -> None:
    """A new minute is compared even if it was reconciled: the exchange may correct it."""
    rest = exchange(ALL, candles={NEWEST: candle(NEWEST, volume=3.0)})
    found = reconciled(rest, stored([*without(NEWEST), live_candle(NEWEST, reconciled=True)]))

    assert [row.volume for row in found.queued] == [3.0]
    assert len(found.mismatches) == 1


# --- trades


def test_a_minute_after_the_first_with_ids_is_rebuilt_from_its_trades() -> None:
    """Trades that were missed while nothing ran are fetched, and the minute gets their ids, once."""
    rest = exchange(ALL, trades=[trade(6, time_ms=ALL[21] + 5)])
    found = reconciled(rest, stored([*without(ALL[20]), live_candle(ALL[20], reconciled=True)]), checks=2)

    rebuilt = [row for row in found.queued if row.open_time_ms == ALL[21]]
    assert [(row.source, row.first_trade_id, row.reconciled) for row in rebuilt] == [("repaired", 6, True)]


def test_trades_that_do_not_add_up_are_requested_once() -> None:
    """The exchange's candle stays, without ids, and later checks leave the minute out."""
    rest = exchange(ALL, trades=[trade(6, 101.0, time_ms=NEWEST + 5)])
    before = NEWEST - MINUTE_MS
    store = stored([*without(before), live_candle(before, reconciled=True)])

    assert reconciled(rest, store, checks=3).queued == []
    assert rest.trade_requests == [NEWEST]


def gap(first: int, last: int, symbol: str = "BTCUSDT") -> TradeGap:
    """Return a gap with these trade ids."""
    return TradeGap(symbol, first, last, NEWEST, NEWEST + 5, NOW_MS)


def lost(running: Running) -> list[tuple[int, int]]:
    """Return the ids of the gaps that were stored."""
    return [(part.first_trade_id, part.last_trade_id) for part in running.store.gaps]


def with_gaps(*gaps: TradeGap, checks: int = 1) -> Callable[[Running], Awaitable[None]]:
    """Return a scenario that queues these gaps before the first check."""

    async def play(running: Running) -> None:
        for part in gaps:
            running.gaps.put_nowait(part)
        await running.checks(checks)

    return play


def test_a_gap_that_the_exchange_can_fill_is_not_stored() -> None:
    """The trades are there after all, and in the candles."""
    rest = exchange(ALL, trades=[trade(i) for i in range(1, 20)])

    assert lost(reconciled(rest, stored(ALL), scenario=with_gaps(gap(5, 9)))) == []


def test_a_gap_that_remains_is_stored_once() -> None:
    """Exactly the ids that the exchange skips."""
    rest = exchange(ALL, trades=[trade(5), trade(8)])

    assert lost(reconciled(rest, stored(ALL), scenario=with_gaps(gap(5, 9), checks=2))) == [(6, 7), (9, 9)]


def test_a_gap_that_cannot_be_checked_is_stored_as_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a bounded number of tries; meanwhile the history is walked, and the gaps behind it are checked then."""
    rest = exchange(HISTORY, trades=[trade(i) for i in range(20, 30)])
    agg_trades, tries = rest.agg_trades, []

    async def refuse_one(symbol: str, from_id: int, rank: int) -> list[Trade]:
        if from_id == 5:
            tries.append(from_id)
            raise MalformedFrame("expected a trade to be an object")
        return await agg_trades(symbol, from_id, rank)

    monkeypatch.setattr(rest, "agg_trades", refuse_one)
    checks = with_gaps(gap(5, 9), gap(20, 22), checks=2)

    async def scenario(running: Running) -> None:
        await checks(running)
        assert lost(running) == []
        await running.checks(12)

    found = reconciled(rest, stored(ALL), days=DAYS, scenario=scenario)

    assert lost(found) == [(5, 9)]
    assert len(tries) == GAP_TRIES_MAX
    assert rest.trade_requests == [20]
    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 3320, "of": 3320}}
    assert caplog.text.count("trade gap not checkable, stored as lost symbol=BTCUSDT ids=5-9") == 1


def test_trades_that_cannot_be_requested_do_not_keep_the_history_from_being_walked() -> None:
    """A minute that is due to be rebuilt is tried again, and each time the walk goes on."""
    rest = exchange(HISTORY)

    async def refuse(symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        raise MalformedFrame("expected a list of aggregate trades")

    rest.agg_trades_between = refuse  # type: ignore[method-assign]
    store = stored([*without(ALL[20]), live_candle(ALL[20], reconciled=True)])
    found = reconciled(rest, store, days=DAYS, checks=3)

    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 3320, "of": 3320}}


def test_a_gap_waits_while_the_store_is_unavailable() -> None:
    """It is stored with the first check that succeeds."""

    async def scenario(running: Running) -> None:
        running.store.is_unavailable = True
        await with_gaps(gap(5, 9), checks=2)(running)
        running.store.is_unavailable = False
        await running.checks(1)

    assert lost(reconciled(exchange(ALL), stored(ALL), scenario=scenario)) == [(5, 9)]


def test_the_gaps_of_a_symbol_that_is_not_open_are_dropped() -> None:
    """Others in the same queue are not."""
    scenario = with_gaps(gap(1, 2, "ETHUSDT"), gap(5, 9))

    assert lost(reconciled(exchange(ALL), stored(ALL), scenario=scenario)) == [(5, 9)]


def test_the_gaps_that_wait_are_bounded() -> None:
    """While the store is unavailable the oldest are dropped."""

    async def scenario(running: Running) -> None:
        for begin in (0, TRADE_GAPS_MAX):
            running.store.is_unavailable = begin == 0
            for number in range(begin, begin + TRADE_GAPS_MAX):
                running.gaps.put_nowait(gap(number, number))
            await running.checks(1)

    found = lost(reconciled(exchange(ALL), stored(ALL), scenario=scenario))

    assert found == [(number, number) for number in range(TRADE_GAPS_MAX, 2 * TRADE_GAPS_MAX)]


# --- the history

DAYS = 3
HISTORY = range(OLDEST - (DAYS * 1440 - RECENT_MINUTES) * MINUTE_MS, LAST + 1, MINUTE_MS)


def test_the_history_is_walked_once_after_the_start() -> None:
    """Every minute before the recent ones is compared, back to the day that was set."""
    rest = exchange(HISTORY)
    found = reconciled(rest, stored(ALL), days=DAYS, checks=2)

    assert sorted(found.minutes) == [minute for minute in HISTORY if minute < OLDEST]
    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 3320, "of": 3320}}


@pytest.mark.parametrize(("is_widening", "checks"), [(False, 7), (True, 2)])
def test_many_symbols_are_checked_less_often(is_widening: bool, checks: int) -> None:
    """The checks take a quarter of the request weight, here two a minute, and a twentieth while books are widened."""
    symbols = [f"S{number}" for number in range(4)]
    rest = exchange(ALL)
    rest.weight_per_minute = 8

    async def scenario(running: Running) -> None:
        running.is_widening = is_widening
        for _ in range(12):
            await running.checks(1)
            rest.now_ms += MINUTE_MS

    reconciled(rest, stored(ALL), symbols, scenario=scenario)

    requests = Counter(symbol for symbol, _, _ in rest.kline_requests)
    assert set(requests.values()) == {checks}


def test_the_history_is_walked_when_all_books_are_known() -> None:
    """The recent minutes are compared meanwhile: books that become known further need the weight of the rest."""
    compared: list[int] = []

    async def scenario(running: Running) -> None:
        running.is_widening = True
        await running.checks(3)
        compared.append(len(running.rest.kline_requests))
        assert running.reconciler.progress() == {"BTCUSDT": {"minutes": 0, "of": 3320}}
        running.is_widening = False
        await running.checks(1)

    found = reconciled(exchange(HISTORY), stored(ALL), days=DAYS, scenario=scenario)

    assert compared == [3]
    assert found.reconciler.progress()["BTCUSDT"]["minutes"] > 0


def test_the_length_of_the_walk_is_known_before_it_begins() -> None:
    """Until the recent minutes are checked, no minute of the history counts as done."""
    found = reconciled(exchange(ALL, fault=ExchangeError("no answer")), stored([]), days=DAYS)

    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 0, "of": 3320}}


def test_a_walk_goes_on_where_an_earlier_one_ended() -> None:
    """Stored minutes cost no request; only the part that is missing is requested."""
    rest = exchange(HISTORY)
    found = reconciled(rest, stored(HISTORY[500:]), days=DAYS)

    assert sorted(found.minutes) == list(HISTORY[:500])
    assert len(rest.kline_requests) == 3  # one check and two pages that lack something


def test_a_walk_ends_where_the_exchange_has_nothing_older() -> None:
    """Before its listing a symbol has no minutes, and they are not requested again."""
    found = reconciled(rest := exchange(ALL), stored(ALL), days=3650)

    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 0, "of": 0}}
    assert len(rest.kline_requests) == 3


def test_an_emptied_store_is_filled_again() -> None:
    """Where its file was deleted the history is walked once more, not only the recent minutes."""

    async def scenario(running: Running) -> None:
        await running.checks(2)
        running.store.candles.clear()
        await running.checks(3)

    found = reconciled(exchange(HISTORY), stored(HISTORY), days=DAYS, scenario=scenario)

    assert sorted(found.store.candles) == [("BTCUSDT", minute) for minute in HISTORY]


# --- symbols


def test_an_opened_symbol_is_checked_at_once() -> None:
    """It does not wait for the next minute."""

    async def scenario(running: Running) -> None:
        await running.checks(1)
        await asyncio.sleep(1.0)
        running.reconciler.open("ETHUSDT")
        await asyncio.sleep(1.0)

    rest = exchange(ALL)
    reconciled(rest, stored(ALL, *BOTH), scenario=scenario)

    assert [symbol for symbol, *_ in rest.kline_requests] == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]


def test_a_closed_symbol_is_forgotten() -> None:
    """It is checked no more, and when it is opened again its history is walked again."""

    async def scenario(running: Running) -> None:
        await running.checks(1)
        running.reconciler.close("BTCUSDT")
        assert running.reconciler.progress() == {}
        await running.checks(2)
        running.reconciler.open("BTCUSDT")
        assert running.reconciler.progress() == {"BTCUSDT": {"minutes": 0, "of": 3320}}
        await running.checks(1)

    rest = exchange(HISTORY)
    found = reconciled(rest, stored(HISTORY), days=DAYS, scenario=scenario)

    assert rest.kline_requests == [("BTCUSDT", COMPARED, NEWEST)] * 2
    assert found.reconciler.progress() == {"BTCUSDT": {"minutes": 3320, "of": 3320}}


def test_a_symbol_may_be_closed_during_its_check() -> None:
    """The check ends as if it were open, and nothing is left of it."""

    async def scenario(running: Running) -> None:
        answer = asyncio.Event()
        klines = running.rest.klines

        async def delayed(symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
            await answer.wait()
            return await klines(symbol, start_ms, end_ms)

        running.rest.klines = delayed  # type: ignore[method-assign]
        await asyncio.sleep(1.0)
        running.reconciler.close("BTCUSDT")
        answer.set()
        await running.checks(2)

    rest = exchange(without(ALL[5]))
    found = reconciled(rest, stored(without(ALL[5], ALL[6])), scenario=scenario)

    assert found.minutes == [ALL[6]]
    assert found.reconciler.progress() == {}
    assert len(rest.kline_requests) == 1


# --- failures


@pytest.mark.parametrize("is_store", [True, False])
def test_a_failure_postpones_the_check(is_store: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Every symbol is tried, and all again after growing delays of 1, 2, 4, 8, 16 and 32 s or half of that.

    At the usual level the log has each symbol's failure once.
    """
    caplog.set_level("DEBUG", "pulse.candle_history")
    store = stored([])
    store.is_unavailable = is_store
    found = reconciled(exchange(ALL, fault=None if is_store else ExchangeError("no answer")), store, BOTH)
    lines = [record.getMessage() for record in caplog.records]

    reason = UNAVAILABLE if is_store else "no answer"
    both = [f"reconciling postponed symbol={symbol} reason={reason}" for symbol in BOTH]
    assert found.queued == []
    assert {line: lines.count(line) in (6, 7) for line in lines} == dict.fromkeys(both, True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "INFO"] == both


@pytest.mark.proves("one-bad-symbol")
@pytest.mark.parametrize("symbols", [BOTH, BOTH[::-1]])
def test_a_symbol_that_fails_holds_up_no_other(symbols: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are checked every minute and their history is walked, as if it were not there."""
    rest = exchange(HISTORY)
    klines = rest.klines

    async def refuse_one(symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        if symbol == "BTCUSDT":
            raise MalformedFrame("expected a kline to be a list")
        return await klines(symbol, start_ms, end_ms)

    monkeypatch.setattr(rest, "klines", refuse_one)
    found = reconciled(rest, stored(ALL, *BOTH), symbols, days=DAYS, checks=3)

    assert found.reconciler.progress()["ETHUSDT"] == {"minutes": 3320, "of": 3320}
    assert [start for _, start, end in rest.kline_requests if end == NEWEST] == [COMPARED] * 3
    assert {row.symbol for row in found.queued} == {"ETHUSDT"}


def test_a_failure_is_logged_again_after_a_success(caplog: pytest.LogCaptureFixture) -> None:
    """It is a new one, even if its reason is the same."""
    caplog.set_level("INFO", "pulse.candle_history")

    async def scenario(running: Running) -> None:
        for is_unavailable in (True, False, True):
            running.store.is_unavailable = is_unavailable
            await running.checks(2)

    reconciled(exchange(ALL), stored(ALL), scenario=scenario)

    assert caplog.text.count("reconciling postponed") == 2


def test_a_postponed_check_is_made_up_for() -> None:
    """The first one in which both sides answer fills the missing minutes."""
    rest = exchange(ALL, fault=ExchangeError("no answer"), recovers_after=3)

    assert reconciled(rest, stored(ALL[:-1])).minutes == [LAST]
    assert len(rest.kline_requests) == 4


def test_each_symbol_has_its_own_missing_minutes(caplog: pytest.LogCaptureFixture) -> None:
    """Candles are queued for every symbol, and the log counts them."""
    caplog.set_level("INFO", "pulse.candle_history")
    found = reconciled(exchange(ALL[:-1]), stored(ALL[:-2], *BOTH), BOTH)

    assert [(row.symbol, row.open_time_ms) for row in found.queued] == [("BTCUSDT", ALL[-2]), ("ETHUSDT", ALL[-2])]
    assert "candles backfilled symbol=ETHUSDT candles=1" in caplog.text
