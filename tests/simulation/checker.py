"""Checks of a simulated run: at every event the live book against the reference book, and how long it is not live.

A violation ends the run at once, with the simulated time and the reason. Everything checked goes into one running hash.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NoReturn

import orjson

from pulse.binance.transport import REQUEST_TIMEOUT_S
from pulse.candle_history.reconciler import RETRY_MAX_S
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market
from pulse.market.stream_states import CHECKS, DEPTH
from pulse.market.types import (
    MINUTE_MS,
    BookLost,
    BookTicker,
    Candle,
    DepthDiff,
    FeedDown,
    FeedUp,
    Quarantined,
    State,
    StreamState,
    Trade,
    TradeGap,
)
from pulse.market.view import View
from pulse.wire import encode_view
from tests.simulation.bounds import RECOVER_S, SILENCE_S, Bounds
from tests.simulation.loop import BEGIN_S, VirtualClock
from tests.simulation.reference_book import ALL_LEVELS, TOP_LEVELS, best_levels_match, differences
from tests.simulation.virtual_exchange import VirtualExchange

WHOLE_EVERY = 16
"""Every event that changes the book is compared on the top 20 levels, and one in this many on all levels."""


FRESH_S, FRESH_IN_TROUBLE_S = 3.0, SILENCE_S + RECOVER_S
"""How long after the exchange's next diff an older book may still be called live; the second value applies during a
fault, when only the stream's silence limit can detect it."""
SETTLED_MS = 240_000
"""A minute is compared and rebuilt within this time: it may take 90 s to settle, and the check runs every 60 s."""
HOLE_S = 12.0
"""A minute is stored within this time of its end, and within it after a start of the process, while REST answers."""
HOLE_AFTER_TROUBLE_S = RETRY_MAX_S + REQUEST_TIMEOUT_S
"""How much later, after REST has failed: the next try may come this late."""
HOLES_MS = 10 * MINUTE_MS
"""The minutes that are looked at."""
NEIGHBOURS_MIN = 40
"""Trades and tickers after which the largest quantity is known."""
DIFF_QUARANTINED = "a depth update was quarantined; loading a new snapshot"
"""The reason of a lost book for which a snapshot is enough, however quiet the market is."""
TRAVEL_S = 1.5
"""A diff, or a REST call and its answer, arrives within this time."""


class Violation(AssertionError):
    """The run has shown a mistake of the code under test."""


@dataclass
class Tally:
    """Counts of a run, for the report."""

    events: int = 0
    views: int = 0
    candles: int = 0
    rows: int = 0  # stored minutes compared at the end
    compared: int = 0
    whole_compared: int = 0
    anchors: int = 0
    losses: int = 0  # BookLost
    downs: int = 0  # FeedDown
    trade_gaps: int = 0
    quarantined: int = 0  # frames not applied because their values cannot be true
    outages: int = 0  # times a view's state was not live, after the first
    longest_outage_s: float = 0.0
    oldest_live_s: float = 0.0  # the largest delay of a live view behind the exchange
    unrecoverable: int = 0  # candles of minutes for which neither trades nor the final candle arrived
    undetected: int = 0  # events at which injected wrong data was in a live book and not yet detected
    undetected_s: float = 0.0  # the longest time of that
    silences: int = 0  # times that a stream was found silent
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass
class _SymbolRecord:
    """The state of the checks of one symbol in one process."""

    update_id: int = 0
    view_seq: int = 0
    trade_id: int = -1
    frames: int = 0  # trades and tickers of this connection, from when both are known
    ticker_ids: tuple[int, int] | None = None  # the first and the newest of this connection
    changes: int = 0
    up_since_s: float | None = None  # when the current connection was made
    down_since_s: float | None = None
    wrong_since_s: float | None = None  # since when the live book has differed from the reference


class Checker:
    """Checks every market of a simulated exchange. `bounds` holds the injected faults and what they excuse."""

    def __init__(self, clock: VirtualClock, bounds: Bounds, levels_max: int) -> None:
        self.exchange: VirtualExchange  # set after construction: each needs the other
        self.tally = Tally()
        self.violation: Violation | None = None  # the first; the code that it is raised in may catch it
        self._clock = clock
        self._bounds = bounds
        self._levels_max = levels_max
        self._hash = hashlib.blake2b(digest_size=16)
        self._records: dict[str, _SymbolRecord] = {}
        self.newest_views: dict[str, View] = {}  # by symbol

    @property
    def digest(self) -> str:
        """The hash of everything checked so far."""
        return self._hash.hexdigest()

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return self._clock.now_ms() / 1000 - BEGIN_S

    def fail(self, reason: str) -> NoReturn:
        """Record and raise a violation."""
        self.violation = self.violation or Violation(f"at {self.now_s:.3f} s: {reason}")
        raise self.violation

    def forget(self) -> None:
        """Drop all per-symbol state: a new process starts without any, and its book may be any."""
        self._records = {}
        self.newest_views = {}

    def up_since_s(self, symbol: str) -> float | None:
        """Return since when the current connection of a symbol lasts, replacements without a gap included."""
        record = self._records.get(symbol)
        return None if record is None else record.up_since_s

    def has_frames(self, symbol: str) -> bool:
        """Return whether trades and tickers of this connection are known that others can be compared with."""
        record = self._records.get(symbol)
        return record is not None and record.ticker_ids is not None and record.frames > NEIGHBOURS_MIN

    # --- at every event

    def check_event(self, market: Market, event: object, now_ms: float) -> None:
        """Check a market after it has applied an event."""
        self.tally.events += 1
        record = self._records.setdefault(market.symbol, _SymbolRecord(down_since_s=self.now_s))
        if (market.symbol, event) in self._bounds.impossible:
            self.fail(f"{market.symbol}: an impossible frame was applied: {event}")
        self._count(record, event)
        state, reason = market.state(now_ms)
        book = market.book
        update_id = book.last_update_id if book else 0
        self._hash.update(f"{type(event).__name__} {now_ms:.3f} {update_id} {state.value}\n".encode())
        self._record_state(market.symbol, record, state, reason)
        if isinstance(event, DepthDiff | BookAnchor | BookTicker | BookLost | FeedUp | FeedDown):
            self._check_book(market, record, event, state)

    def _count(self, record: _SymbolRecord, event: object) -> None:
        tally = self.tally
        if isinstance(event, BookTicker):
            first = record.ticker_ids[0] if record.ticker_ids else event.update_id
            record.ticker_ids = (first, event.update_id)
            record.frames += record.trade_id >= 0
        elif isinstance(event, Trade):
            tally.trade_gaps += record.trade_id >= 0 and event.trade_id > record.trade_id + 1
            record.trade_id = max(record.trade_id, event.trade_id)
            record.frames += record.ticker_ids is not None
        elif isinstance(event, FeedUp):
            record.ticker_ids = None
            record.frames = 0
            record.up_since_s = self.now_s
        elif isinstance(event, FeedDown):
            record.up_since_s = None
        elif isinstance(event, BookLost):
            record.update_id = 0  # a falsified id is no lower bound for the book that is joined anew
        elif isinstance(event, Quarantined):
            tally.quarantined += 1
        tally.anchors += isinstance(event, BookAnchor)
        tally.losses += isinstance(event, BookLost)
        tally.downs += isinstance(event, FeedDown)

    def _check_book(self, market: Market, record: _SymbolRecord, event: object, state: State) -> None:
        book = market.book
        if state is not State.LIVE or book is None:
            record.wrong_since_s = None
            return
        if not isinstance(event, DepthDiff | BookAnchor | BookTicker):
            self.fail(f"{market.symbol} is live right after {type(event).__name__}")
        if book.last_update_id < record.update_id:
            self.fail(f"{market.symbol}: update ids go back from {record.update_id} to {book.last_update_id}")
        record.update_id = book.last_update_id
        if max(len(book.bids), len(book.asks)) > self._levels_max:
            self.fail(f"{market.symbol}: more than {self._levels_max} levels")
        if isinstance(event, BookTicker) and record.wrong_since_s is None:
            return  # it changes no level
        record.changes += 1
        self._compare(market, record, isinstance(event, BookAnchor))

    def _compare(self, market: Market, record: _SymbolRecord, is_new: bool) -> None:
        book = market.book
        assert book is not None
        falsified = self._bounds.falsified
        is_whole = is_new or bool(falsified.get(market.symbol)) or record.changes % WHOLE_EVERY == 0
        reference = self.exchange.reference_books[market.symbol].sides_at(book.last_update_id)
        found = differences(book, reference, ALL_LEVELS if is_whole else TOP_LEVELS)
        self.tally.compared += 1
        self.tally.whole_compared += is_whole
        if not found:
            record.wrong_since_s = None
            if is_whole:
                self._bounds.forget_falsified(market.symbol, book.last_update_id, self.now_s)
            return
        self._check_falsified(market, record, found)

    def _check_falsified(self, market: Market, record: _SymbolRecord, found: object) -> None:
        """Check a live book that differs from the reference: only falsified data excuses it, for a limited time."""
        book = market.book
        assert book is not None
        where = f"{market.symbol} is live and wrong at id {book.last_update_id}: {found}"
        if not self._bounds.falsified.get(market.symbol):
            self.fail(f"{where}; no data was falsified")
        if record.wrong_since_s is None:
            record.wrong_since_s = self.now_s
        self.tally.undetected += 1
        lasted_s = self.now_s - record.wrong_since_s
        self.tally.undetected_s = max(self.tally.undetected_s, lasted_s)
        if lasted_s > self._bounds.falsified_limit_s:
            self.fail(f"{where}; since {lasted_s:.1f} s")
        reference = self.exchange.reference_books[market.symbol].sides_at(book.last_update_id)
        tickers = record.ticker_ids
        is_settled = tickers is not None and tickers[0] <= book.last_update_id <= tickers[1]
        if is_settled and not self._bounds.tickers_are_faulty(self.now_s) and not best_levels_match(book, reference):
            self.fail(f"{where}; the best levels differ and bookTicker has reached {tickers}")

    # --- how long a symbol is not live

    def _record_state(self, symbol: str, record: _SymbolRecord, state: State, reason: str) -> None:
        now_s = self.now_s
        since_s = record.down_since_s
        if state is State.LIVE:
            if since_s is not None:
                record.down_since_s = None
                self.tally.longest_outage_s = max(self.tally.longest_outage_s, now_s - since_s)
            return
        if since_s is None:
            since_s = record.down_since_s = now_s
            self.tally.outages += 1
            self.tally.reasons[_reason_kind(reason)] += 1
            is_excused = now_s <= max(self._bounds.may_fail_until_s, self._rest_back_s())
            if not is_excused and not self._bounds.falsified.get(symbol):
                self.fail(f"{symbol} is {state.value} without a fault: {reason}")
        limit_s = max(since_s, self._rest_back_s()) + RECOVER_S
        limit_s = max(limit_s, self._bounds.live_by_s)
        needs_diff = reason != DIFF_QUARANTINED
        if now_s > limit_s and not (needs_diff and not self._diff_was_available(symbol, record, limit_s)):
            self.fail(f"{symbol} is {state.value} since {since_s:.1f} s, expected live by {limit_s:.1f} s: {reason}")

    def _rest_back_s(self) -> float:
        """Return the end of a ban, or of the wait for the next minute's weight."""
        exchange = self.exchange
        return max(exchange.banned_until_s, exchange.forbidden_until_s, exchange.weight_short_until_s) - BEGIN_S

    def _diff_was_available(self, symbol: str, record: _SymbolRecord, limit_s: float) -> bool:
        """Return whether a diff could have arrived in time: without one nothing can join a snapshot.

        A connection made in time receives what comes from then on; a later one excuses nothing.
        """
        from_s = limit_s - RECOVER_S + TRAVEL_S
        if record.up_since_s is not None and record.up_since_s <= limit_s - RECOVER_S + RECONNECT_SPACING_S + TRAVEL_S:
            from_s = max(from_s, record.up_since_s)
        latest = self.exchange.loop.time() - TRAVEL_S
        return any(from_s + BEGIN_S < at_s < latest for at_s, _ in self.exchange.diffs[symbol])

    def _check_age(self, view: View) -> None:
        """Check the age of a live view: its id is, or was a moment ago, the exchange's newest."""
        now_s = self.exchange.loop.time()
        missing_s = next((at_s for at_s, u in self.exchange.diffs[view.symbol] if u > view.last_update_id), now_s)
        self.tally.oldest_live_s = max(self.tally.oldest_live_s, now_s - missing_s)
        if now_s - missing_s > (FRESH_S if self.now_s > self._bounds.may_fail_until_s else FRESH_IN_TROUBLE_S):
            self.fail(f"{view.symbol} is live {now_s - missing_s:.1f} s behind the exchange")

    # --- what leaves the engine

    def check_view(self, view: View) -> None:
        """Check a view that was published."""
        self.tally.views += 1
        self._hash.update(encode_view(view))
        record = self._records.setdefault(view.symbol, _SymbolRecord(down_since_s=self.now_s))
        if view.seq <= record.view_seq:
            self.fail(f"{view.symbol}: view {view.seq} after {record.view_seq}")
        record.view_seq = view.seq
        self._record_state(view.symbol, record, view.state, view.state_reason)
        self._check_streams(view)
        self.newest_views[view.symbol] = view
        if view.state is not State.LIVE:
            return
        self._check_age(view)
        if view.bids and view.asks and view.bids[0][0] >= view.asks[0][0]:
            self.fail(f"{view.symbol}: crossed in a live view")

    def _check_streams(self, view: View) -> None:
        """Check that no silent check confirms the book, and count the streams that fall silent."""
        silent = _silent_kinds(view)
        checks = {CHECKS[kind] for kind in silent if kind in CHECKS}
        is_up = all(stream.state is not StreamState.OFFLINE for stream in view.streams)
        if is_up and set(view.proof.silent_checks) != checks:
            self.fail(f"{view.symbol}: {silent} are silent, and {view.proof.silent_checks} are said to confirm nothing")
        before = self.newest_views.get(view.symbol)
        if before is None:
            return
        for check, was, now in (
            ("touch", before.proof.touch_compared, view.proof.touch_compared),
            ("top", before.proof.top_compared, view.proof.top_compared),
        ):
            if check in before.proof.silent_checks and check in view.proof.silent_checks and now != was:
                self.fail(f"{view.symbol}: the silent check {check} has compared {now - was} times")
        self.tally.silences += len(silent - _silent_kinds(before))

    def check_candle(self, candle: Candle) -> None:
        """Check a closed candle that was produced."""
        self.tally.candles += 1
        self._hash.update(orjson.dumps(candle))
        if not candle.is_closed or candle.open_time_ms % MINUTE_MS:
            self.fail(f"not a closed minute: {candle}")
        minute = (candle.symbol, candle.open_time_ms)
        if candle.source == "exchange" or minute in self._bounds.falsified_minutes:
            return
        if minute in self.exchange.lost_trades & self.exchange.lost_closes:
            self.tally.unrecoverable += 1  # neither the trade nor the exchange's final candle of its minute arrived
            return
        row = next(iter(self.exchange.core.klines(candle.symbol, candle.open_time_ms, candle.open_time_ms)), None)
        if row is None or _values(candle) != _exchange_values(row):
            self.fail(f"candle from trades differs: ours {candle}, the exchange's {row}")

    def check_holes(self, symbol: str, stored: set[int], started_s: float) -> None:
        """Check that the newest minutes are stored, by a process that was started at this time."""
        exchange, now_s = self.exchange, self.exchange.loop.time()
        rest_back_s = max(exchange.klines_failed_s, self._rest_back_s() + BEGIN_S)
        if now_s < max(started_s, rest_back_s + HOLE_AFTER_TROUBLE_S) + HOLE_S:
            return
        now_ms = exchange.now_ms()
        rows = exchange.core.klines(symbol, now_ms - HOLES_MS, now_ms - MINUTE_MS - int(HOLE_S * 1000))
        holes = [row[0] for row in rows if row[0] not in stored]
        if holes:
            self.fail(
                f"{symbol}: minutes {holes} are not stored at {now_ms}, {now_s - started_s:.1f} s after the start"
            )

    def check_table(self, symbol: str, rows: list[Candle], gaps: list[TradeGap]) -> None:
        """Check the stored rows at the end: each equals the exchange's, and their trade ids have no gap."""
        settled_ms = self.exchange.now_ms() - SETTLED_MS
        rows = [row for row in rows if row.open_time_ms + MINUTE_MS <= settled_ms]
        expected = {
            row[0]: row for row in self.exchange.core.klines(symbol, rows[0].open_time_ms, rows[-1].open_time_ms)
        }
        self.tally.rows += len(rows)
        if [row.open_time_ms for row in rows] != list(expected):
            self.fail(f"{symbol}: stored {len(rows)} minutes, the exchange has {len(expected)}")
        for row in rows:
            if _values(row) != _exchange_values(expected[row.open_time_ms]) or not row.reconciled:
                self.fail(f"{symbol}: stored {row}, the exchange has {expected[row.open_time_ms]}")
        receipts = [row for row in rows if row.trade_count]
        while receipts and receipts[0].first_trade_id < 0:
            receipts.pop(0)
        for before, row in pairwise(receipts):
            if row.first_trade_id != before.last_trade_id + 1:
                self.fail(f"{symbol}: trade ids do not follow from {before} to {row}")
        if gaps:
            self.fail(f"{symbol}: {gaps} on record, though the exchange has every trade")

    def check_exchange_candle(self, candle: Candle) -> None:
        """Check a candle requested by REST: one called closed must be closed."""
        minute_ends_ms = candle.open_time_ms + MINUTE_MS
        if candle.is_closed and minute_ends_ms > self.exchange.now_ms():
            self.fail(f"the minute {candle.open_time_ms} is called closed before its end")


class CheckedMarket(Market):
    """A market that is checked after each event."""

    checker: Checker

    def apply(self, event: object, now_ms: float) -> None:
        """Apply an event, then check the market."""
        super().apply(event, now_ms)
        self.checker.check_event(self, event, now_ms)


def _silent_kinds(view: View) -> set[str]:
    """Return the kinds of streams that a view calls silent, besides depth."""
    return {s.kind for s in view.streams if s.state is StreamState.SILENT and s.kind != DEPTH}


def _values(candle: Candle) -> tuple[float, ...]:
    return (
        candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume,
        candle.trade_count, candle.taker_buy_volume, candle.taker_buy_quote_volume,
    )  # fmt: skip


def _exchange_values(row: list[Any]) -> tuple[float, ...]:
    return (*(float(row[n]) for n in (1, 2, 3, 4, 5, 7)), row[8], float(row[9]), float(row[10]))


def _reason_kind(reason: str) -> str:
    """Return a reason with its numbers replaced, so that equal kinds are counted together."""
    return " ".join("N" if any(c.isdigit() for c in word) else word for word in reason.split())[:90]
