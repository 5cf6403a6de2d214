"""The engine: applies the market events of every symbol and makes a view of each when it is due.

One Market per symbol. Its clock counts whole ms, so that what it was given can be written down and played again. A
watched symbol has a view at each change, another one each second: `watch` is for whatever reads views, the hub's
subscribers among them. The engine waits for nothing but its inbox and calls no producer back: views, closed candles,
requests for a snapshot and trade gaps leave on queues that never make it wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, nan
from typing import Any, Protocol

from prometheus_client import Counter

from pulse import stats
from pulse.clock import Clock
from pulse.concurrency import WorkShare
from pulse.latency import Latency
from pulse.market.coverage import ProofRecord
from pulse.market.cross_checks import INCIDENT_CAUSES
from pulse.market.depth_sync import BookAnchor
from pulse.market.intervals import MINUTE, Newest
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.market.market import Market
from pulse.market.stream_states import KINDS
from pulse.market.types import BookLost, Candle, DepthDiff, FeedDown, FeedUp, Instrument, State, Trade, TradeGap
from pulse.market.view import TRADES_MAX, Certificate, StreamView, View
from pulse.queues import CandleQueue, GapQueue, Inbox, Outbox, Received, SilentStreams, SnapshotRequests
from pulse.stats import CounterOf
from pulse.wire import book_channel, liquidity_channel, trades_channel

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
"""A view of each symbol is made at least this often, so that silence on the way out always means trouble. One that is
not watched has no others, but for those that show another state."""
UNWATCHED_AT_ONCE = 4
"""Views of unwatched symbols that are made in one go: those of hundreds are due at the same time, and a watched
symbol's must not wait for them."""
BATCH_EVENTS_MAX = 256
"""Events applied in one go before other tasks of the loop run."""
DEFERRED_AT_ONCE = 8
"""Events of unwatched symbols that are applied in one go while any symbol is watched, whose events go first."""
LIQUIDITY_SHARE = 0.1
"""The part of a core that ladders and costs of all symbols may take; beyond it each symbol's are made less often."""
STATE_EVENTS = (BookAnchor, BookLost, FeedUp, FeedDown, Instrument)
"""Events that begin or end a book are shown at once, watched or not."""
URGENT = (DepthDiff, *STATE_EVENTS)
"""Events that change a watched book or its state are shown at once; trades and tickers wait for one, ADDITIONS_WAIT at
most."""
ADDITIONS_WAIT = 1.5
"""In publish intervals. Diffs come every 100 ms at most: this and an interval of 80 ms ensure that no view delays the
next diff's. At 100 ms one view between two diffs delayed all later diffs (docs/decisions/80-ms-pacing.md)."""

GOOD_STATES = (State.LIVE, State.HALTED)
"""States of a book that is as it should be."""

TRADES_WAITING_MAX = TRADES_MAX // 2
"""Trades of an unwatched symbol that wait for its next view at most: half of what one message holds."""

WAKE_UP = Received("", None, 0.0)
"""An event of no symbol: it wakes the engine and changes nothing."""

MARKET_COUNTERS: Mapping[CounterOf, Callable[[Market], float]] = {
    stats.book_resyncs: lambda market: market.integrity.view().resyncs,
    stats.touch_compared: lambda market: market.integrity.view().touch_compared,
    stats.touch_differing: lambda market: market.integrity.view().touch_compared - market.integrity.view().touch_equal,
    stats.top_compared: lambda market: market.integrity.view().top_compared,
    stats.top_differing: lambda market: market.integrity.view().top_compared - market.integrity.view().top_equal,
    stats.book_audits: lambda market: market.integrity.view().audits,
    stats.levels_compared: lambda market: market.integrity.view().levels_compared,
    stats.levels_differing: lambda market: market.integrity.view().levels_differing,
    stats.candles_differing: lambda market: market.candles.differing,
}
"""What /metrics reads of each market at the time of the request."""


class EventLog(Protocol):
    """Takes what one market is given, as it is given; times are whole ms of the process's clock."""

    def add(self, at_ms: int, event: object) -> None:
        """Take an event that the market has just been given."""

    def view_made(self, at_ms: int, view: View) -> None:
        """Take a view that has just been made."""


class EventLogs(Protocol):
    """Makes the logs of markets."""

    def open(self, market: Market) -> EventLog:
        """Begin the log of a market that has taken nothing yet."""

    def close(self, symbol: str) -> None:
        """End the log of a symbol."""


class _Slot:
    """One symbol's market, and when its views are made. Times are the loop's, in seconds."""

    __slots__ = (
        "age_ms",
        "deferred",
        "due_s",
        "incidents_logged",
        "is_watched",
        "log",
        "market",
        "mismatches_logged",
        "published",
        "published_s",
        "record",
        "silent",
        "since_s",
        "state",
        "streams",
    )

    def __init__(self, market: Market, now_s: float, event_log: EventLog | None, *, is_watched: bool) -> None:
        self.market = market
        self.log = event_log
        self.is_watched = is_watched
        self.deferred = 0  # its events among those that wait for watched symbols' events
        self.record = ProofRecord(market.symbol)
        self.since_s = now_s  # since the epoch: when the newest view's state began
        self.published_s = 0.0  # when the newest view was made
        self.due_s = 0.0  # when the next one is due
        self.state: State | None = None  # of the newest view
        self.age_ms: int | None = None  # of the data of the newest view
        self.streams: Sequence[StreamView] = ()  # of the newest view
        self.silent: Mapping[str, str] = {}  # its silent streams, and why
        self.incidents_logged = 0
        self.mismatches_logged = 0
        # Looked up once: finding a label costs more than counting.
        self.published: Counter = stats.views_published.labels(market.symbol)

    def stream_age_s(self, kind: str) -> float:
        """Return the age of a stream's newest frame at the newest view; "not a number" before the first."""
        age_ms = next((stream.age_ms for stream in self.streams if stream.kind == kind), None)
        return nan if age_ms is None else age_ms / 1000

    def is_silent(self, kind: str) -> bool:
        """Return whether a stream is silent for longer than is usual for it."""
        return kind in self.silent


class Engine:
    """Owns the markets. `interest` returns which ladders and costs of a symbol are watched.

    `audit_every_s` returns how often whole books are compared with snapshots, None where none are requested.
    """

    def __init__(
        self, make_market: Callable[[str], Market], inbox: Inbox, outbox: Outbox, candles: CandleQueue,
        snapshot_requests: SnapshotRequests, silent_streams: SilentStreams, gaps: GapQueue, clock: Clock,
        latency: Latency, *, publish_interval_s: float, interest: Callable[[str], Interest] = lambda _: NO_INTEREST,
        audit_every_s: Callable[[], float | None] = lambda: None, event_logs: EventLogs | None = None,
    ) -> None:  # fmt: skip
        self._make_market = make_market
        self._event_logs = event_logs
        self._slots: dict[str, _Slot] = {}
        self._watchers: dict[str, int] = {}  # how many each symbol has; also of symbols that are not open
        self._deferred: deque[tuple[_Slot, Received]] = deque()  # BATCH_EVENTS_MAX at most
        self._next_due_s = 0.0  # no view is due before
        self._inbox = inbox
        self._outbox = outbox
        self._candles = candles
        self._snapshot_requests = snapshot_requests
        self._silent_streams = silent_streams
        self._gaps = gaps
        self._clock = clock
        self._latency = latency
        self._interest = interest
        self._audit_every_s = audit_every_s
        self._liquidity_share = WorkShare(LIQUIDITY_SHARE, HEARTBEAT_S / 2)
        self._interval_s = publish_interval_s
        self._alarm: asyncio.TimerHandle | None = None
        stats.views_replaced.read(lambda: outbox.replaced)

    def open(self, symbol: str) -> None:
        """Begin to make views of a symbol."""
        market, is_watched = self._make_market(symbol), self.is_watched(symbol)
        event_log = None if self._event_logs is None else self._event_logs.open(market)
        self._slots[symbol] = slot = _Slot(market, self._clock.wall_s(), event_log, is_watched=is_watched)
        self._next_due_s = 0.0
        self._wake_up_if_idle()
        for counter, read in MARKET_COUNTERS.items():
            counter.read(partial(read, slot.market), symbol)
        for cause in INCIDENT_CAUSES:
            stats.book_incidents.labels(symbol, cause)  # begins at 0
        stats.book_is_live.labels(symbol).set_function(lambda: slot.state is State.LIVE)
        stats.book_is_good.labels(symbol).set_function(lambda: slot.state in GOOD_STATES)
        for kind in KINDS:
            stats.stream_age.labels(symbol, kind).set_function(partial(slot.stream_age_s, kind))
            stats.stream_is_silent.labels(symbol, kind).set_function(partial(slot.is_silent, kind))
        stats.book_data_age.labels(symbol).set_function(lambda: nan if slot.age_ms is None else slot.age_ms / 1000)

    def close(self, symbol: str) -> None:
        """Drop a symbol; events of it that are still in the inbox are ignored."""
        del self._slots[symbol]
        self._liquidity_share.discard(symbol)
        if self._event_logs is not None:
            self._event_logs.close(symbol)
        self._snapshot_requests.discard(symbol)
        for kind in KINDS:
            self._silent_streams.discard((symbol, kind))

    def watch(self, symbol: str) -> None:
        """Count a watcher of a symbol, and have a view made at once, or as soon as the interval since the last allows.

        Watchers are whatever must have each view: clients, alert rules, recorders, other processes. They count by the
        symbol's name, whether it is open or not.
        """
        self._watchers[symbol] = self._watchers.get(symbol, 0) + 1
        slot = self._slots.get(symbol)
        if slot is not None:
            slot.is_watched = True
            self._make_due(slot, slot.published_s + self._interval_s)
            self._wake_up_if_idle()

    def unwatch(self, symbol: str) -> None:
        """Count a watcher less; each calls this once."""
        count = self._watchers[symbol] - 1
        if count:
            self._watchers[symbol] = count
            return
        del self._watchers[symbol]
        slot = self._slots.get(symbol)
        if slot is not None:
            slot.is_watched = False

    def is_watched(self, symbol: str) -> bool:
        """Return whether a symbol has a watcher."""
        return symbol in self._watchers

    async def run(self) -> None:
        """Apply events and make views for ever."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._publish_due(loop.time())
                self._set_alarm(loop)
                if not self._deferred:
                    self._apply_or_defer(await self._inbox.get(), loop.time())
                for _ in range(min(self._inbox.qsize(), BATCH_EVENTS_MAX - len(self._deferred))):
                    self._apply_or_defer(self._inbox.get_nowait(), loop.time())
                if self._deferred or not self._inbox.empty():
                    self._publish_due(loop.time())
                    await asyncio.sleep(0)
                    self._apply_deferred(loop.time())
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each symbol's state, since when, the reason in words, and the age of its data in ms, for /readyz.

        And its streams, each by itself. Since when is None while the date is not known: a replay has none before its
        first line.
        """
        now_ms, wall_s = self._clock.now_ms(), self._clock.wall_s()
        answer: dict[str, dict[str, Any]] = {}
        for symbol, slot in self._slots.items():
            state, reason = slot.market.state(now_ms)
            since_s = slot.since_s if state is slot.state or slot.state is None else wall_s
            answer[symbol] = {
                "state": state.value,
                "since_ms": int(since_s * 1000) or None,
                "reason": reason,
                "data_age_ms": slot.market.data_age_ms(now_ms),
                "streams": slot.market.stream_reports(now_ms),
            }
        return answer

    def certificates(self) -> dict[str, Certificate]:
        """Return the proof of each symbol's book."""
        now_ms, every_s = self._clock.now_ms(), self._audit_every_s()
        return {symbol: slot.market.certificate(now_ms, every_s) for symbol, slot in self._slots.items()}

    def proof_records(self) -> dict[str, ProofRecord]:
        """Return the record of when each symbol's book was proven."""
        return {symbol: slot.record for symbol, slot in self._slots.items()}

    def newest(self, symbol: str) -> Newest:
        """Return a symbol's newest closed minute and its running one, as far as they are known."""
        slot = self._slots.get(symbol)
        candles = None if slot is None else slot.market.candles
        closed, running = (candles.newest_closed(), candles.live()) if candles else (None, None)
        now_ms = int(self._clock.wall_s() * 1000 + self._latency.offset.value_ms())
        running_ms = MINUTE.floor(now_ms) if running is None else running.open_time_ms
        return Newest(tuple(candle for candle in (closed, running) if candle is not None), running_ms)

    # --- events in

    def _apply_or_defer(self, received: Received, now_s: float) -> None:
        """Apply an event, or let it wait for those of watched symbols; a symbol's events keep their order.

        The diffs of all symbols come together. A watched one's view would wait until those of hundreds are applied.
        """
        slot = self._slots.get(received.symbol)
        if slot is None:
            return  # WAKE_UP, or the symbol was closed while this was on its way
        if not slot.deferred and (slot.is_watched or not self._watchers):
            self._apply(slot, received, now_s)
        else:
            slot.deferred += 1
            self._deferred.append((slot, received))

    def _apply_deferred(self, now_s: float) -> None:
        for _ in range(min(len(self._deferred), DEFERRED_AT_ONCE)):
            slot, received = self._deferred.popleft()
            slot.deferred -= 1
            if self._slots.get(received.symbol) is slot:  # it was not closed meanwhile
                self._apply(slot, received, now_s)

    def _apply(self, slot: _Slot, received: Received, now_s: float) -> None:
        market, event = slot.market, received.event
        at_ms = int(received.received_ms)
        market.apply(event, at_ms)
        if slot.log is not None:
            slot.log.add(at_ms, event)
        if isinstance(event, DepthDiff):
            self._latency.applied(
                received.symbol, received.received_ms, event.event_time_ms,
                self._clock.now_ms(), self._clock.wall_s() * 1000, is_awaited=slot.is_watched,
            )  # fmt: skip
        if slot.is_watched:
            wait_s = 0.0 if isinstance(event, URGENT) else ADDITIONS_WAIT * self._interval_s
            self._make_due(slot, max(now_s + wait_s, slot.published_s + self._interval_s))
        elif self._is_due_unwatched(slot, event, received.received_ms):
            self._make_due(slot, slot.published_s + self._interval_s)
        for candle in market.candles.take_closed():
            self._put_candle(candle)
        if isinstance(event, TradeGap):
            self._put_gap(event)
        reason = market.integrity.pop_resync_request()
        if reason:
            self._snapshot_requests.put(received.symbol, reason)

    def _is_due_unwatched(self, slot: _Slot, event: object, now_ms: float) -> bool:
        """Return whether an unwatched symbol's view must not wait for its second.

        The log, the gauges and the record of proof get each state from a view, and a message holds so many trades.
        """
        if isinstance(event, STATE_EVENTS) or slot.market.state(now_ms)[0] is not slot.state:
            return True
        return isinstance(event, Trade) and slot.market.trades_waiting >= TRADES_WAITING_MAX

    def _put_candle(self, candle: Candle) -> None:
        try:
            self._candles.put_nowait(candle)
        except asyncio.QueueFull:
            stats.candles_dropped.inc()  # the reconciler will fetch the exchange's own

    def _put_gap(self, gap: TradeGap) -> None:
        try:
            self._gaps.put_nowait(gap)
        except asyncio.QueueFull:
            log.warning("trade gap dropped symbol=%s ids=%s-%s", gap.symbol, gap.first_trade_id, gap.last_trade_id)

    # --- views out

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer that wakes `run` when a view is due.

        A timer that is set for earlier stays: events come by the hundred between two views, and a timer for each would
        cost as much as the event.
        """
        due_s = self._next_due_s
        if due_s == inf:
            return  # there is no symbol
        if self._alarm is None or due_s < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(due_s, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self._wake_up_if_idle()

    def _wake_up_if_idle(self) -> None:
        if self._inbox.empty():
            self._inbox.put_nowait(WAKE_UP)

    def _make_due(self, slot: _Slot, due_s: float) -> None:
        """Have a symbol's view made at this time, unless it is due before."""
        if due_s < slot.due_s:
            slot.due_s = due_s
            self._next_due_s = min(self._next_due_s, due_s)

    def _publish_due(self, now_s: float) -> None:
        """Make the views that are due: those of watched symbols first, and a few of the others."""
        if now_s < self._next_due_s:
            return
        due = [slot for slot in self._slots.values() if slot.due_s <= now_s]
        watched = [slot for slot in due if slot.is_watched]
        others = [slot for slot in due if not slot.is_watched]
        for slot in (*watched, *sorted(others, key=_due_s)[:UNWATCHED_AT_ONCE]):
            self._publish(slot)
            slot.published_s = now_s
            slot.due_s = now_s + HEARTBEAT_S
        self._next_due_s = min(map(_due_s, self._slots.values()), default=inf)

    def _publish(self, slot: _Slot) -> None:
        market, at_ms = slot.market, int(self._clock.now_ms())
        view = market.view(at_ms, self._clock.wall_s())
        self._outbox.put(book_channel(market.symbol), view)
        self._latency.published(market.symbol, view.seq, view.timestamp, self._clock.now_ms())
        trades = market.trades_view()
        if trades is not None:
            self._outbox.put(trades_channel(market.symbol), trades)
        self._publish_liquidity(market, view)
        slot.published.inc()
        slot.age_ms, slot.streams = view.data_age_ms, view.streams
        cause = "" if view.state is State.LIVE else view.state.value
        slot.record.note(cause, view.state_reason, int(view.timestamp * 1000))
        if slot.state is not view.state:
            slot.state, slot.since_s = view.state, self._clock.wall_s()
            log.info("book symbol=%s state=%s reason=%s", market.symbol, view.state.value, view.state_reason)
        self._report_silence(slot)
        self._log_incidents(slot, view.proof.incidents)
        self._log_mismatches(slot)
        if slot.log is not None:
            slot.log.view_made(at_ms, view)

    def _publish_liquidity(self, market: Market, view: View) -> None:
        """Make what is watched of the book besides its views, as often as LIQUIDITY_SHARE allows."""
        symbol, loop = market.symbol, asyncio.get_running_loop()
        interest = self._interest(symbol)
        if not interest:
            self._liquidity_share.discard(symbol)
        elif self._liquidity_share.is_due(symbol, began_s := loop.time()):
            self._outbox.put(liquidity_channel(symbol), market.liquidity_view(view, interest, self._clock.now_ms()))
            self._liquidity_share.done(symbol, began_s, loop.time())

    def _report_silence(self, slot: _Slot) -> None:
        """Log which streams fell silent or send again since the last view, and ask for what is silent."""
        market, before, slot.silent = slot.market, slot.silent, slot.market.streams.silent
        if before == slot.silent == {}:
            return
        for kind in slot.silent.keys() - before.keys():
            log.warning("stream silent symbol=%s kind=%s reason=%s", market.symbol, kind, slot.silent[kind])
        for kind in before.keys() - slot.silent.keys():
            log.info("stream no longer silent symbol=%s kind=%s", market.symbol, kind)
        for kind in market.take_silences():
            self._silent_streams.put((market.symbol, kind), slot.silent[kind])

    def _log_incidents(self, slot: _Slot, count: int) -> None:
        new, slot.incidents_logged = count - slot.incidents_logged, count
        for incident in reversed(list(slot.market.integrity.incidents)[:new]):
            stats.book_incidents.labels(slot.market.symbol, incident.cause).inc()
            log.warning("incident symbol=%s cause=%s reason=%s", slot.market.symbol, incident.cause, incident.reason)

    def _log_mismatches(self, slot: _Slot) -> None:
        count = slot.market.candles.differing
        new, slot.mismatches_logged = count - slot.mismatches_logged, count
        for mismatch in reversed(list(slot.market.candles.mismatches)[:new]):
            log.warning(
                "candle differs symbol=%s ours=%s theirs=%s", slot.market.symbol, mismatch.ours, mismatch.theirs
            )


def _due_s(slot: _Slot) -> float:
    return slot.due_s
