"""The task that turns the feeds' events into views: one Market per symbol, and when each view is due.

It waits for nothing but its inbox: views go to a queue that keeps the newest per symbol, closed candles to one
that may be full (then they are counted, and the exchange's own candle repairs the minute later).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import Counter, Gauge

from pulse import stats
from pulse.clock import Clock
from pulse.latency import Latency
from pulse.market.depth_sync import BookAnchor
from pulse.market.intervals import MINUTE, Newest
from pulse.market.market import Market
from pulse.market.types import BookLost, Candle, DepthDiff, FeedDown, FeedUp, Instrument, State, TradeGap
from pulse.market.view import Certificate
from pulse.queues import CandleQueue, Inbox, Outbox, Received
from pulse.wire import book_topic, topics_of, trades_topic

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
"""A symbol's view goes out at least this often, so that silence on the way out always means trouble."""
BATCH_EVENTS_MAX = 256
"""Events taken in one go before others on the loop get their turn."""
URGENT = (DepthDiff, BookAnchor, BookLost, FeedUp, FeedDown, Instrument)
"""What changes the book or its state is shown at once; trades and tickers wait for it, ADDITIONS_WAIT at most."""
ADDITIONS_WAIT = 1.5
"""In intervals. Diffs come every 100 ms at most: this and an interval of 80 ms see to it that no view stands in the
way of the next diff. At 100 ms one view between two diffs kept all later diffs waiting, for good."""

NOTHING = Received("", None, 0.0)
"""Of no symbol: it wakes the engine and says no more."""

SHOWN: Mapping[Gauge, Callable[[Market], float]] = {
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
"""What /metrics shows of each market, read when it is asked."""


class Engine:
    """Owns the markets.

    `ask_snapshot(symbol, reason)` is called when one needs its book joined anew, `note_gap` when trades were given up.
    """

    def __init__(
        self, markets: Iterable[Market], inbox: Inbox, outbox: Outbox, candles: CandleQueue, clock: Clock,
        latency: Latency, *, publish_interval_s: float, ask_snapshot: Callable[[str, str], None],
        note_gap: Callable[[TradeGap], None],
    ) -> None:  # fmt: skip
        self._markets: dict[str, Market] = {}
        self._inbox = inbox
        self._outbox = outbox
        self._candles = candles
        self._clock = clock
        self._latency = latency
        self._interval_s = publish_interval_s
        self._ask_snapshot = ask_snapshot
        self._note_gap = note_gap
        self._states: dict[str, State] = {}
        self._incidents_told: dict[str, int] = {}
        self._mismatches_told: dict[str, int] = {}
        self._published_s: dict[str, float] = {}  # loop time of each symbol's newest view
        self._due_s: dict[str, float] = {}  # loop time at which the next is due
        self._alarm: asyncio.TimerHandle | None = None
        self._published: dict[str, Counter] = {}  # found once: looking a label up costs more than counting
        for market in markets:
            self.follow(market)
        stats.pictures_replaced.set_function(lambda: outbox.replaced)

    def follow(self, market: Market) -> None:
        """Make views of this one too; `run` needs one at least."""
        symbol = market.symbol
        self._markets[symbol] = market
        self._incidents_told[symbol] = self._mismatches_told[symbol] = 0
        self._published_s[symbol] = self._due_s[symbol] = 0.0
        self._published[symbol] = stats.pictures_published.labels(symbol)
        self._show(market)

    def leave(self, symbol: str) -> None:
        """Make none of this one any more; what still waits of it is forgotten, and so is what still comes."""
        for topic in topics_of(symbol):
            self._outbox.discard(topic)
        self._states.pop(symbol, None)
        for kept in (
            self._markets, self._incidents_told, self._mismatches_told, self._published_s, self._due_s, self._published
        ):  # fmt: skip
            del kept[symbol]

    def _show(self, market: Market) -> None:
        """Let /metrics read what a market counts for itself."""
        for gauge, read in SHOWN.items():
            gauge.labels(market.symbol).set_function(partial(read, market))
        stats.book_is_live.labels(market.symbol).set_function(lambda: self._states.get(market.symbol) is State.LIVE)

    async def run(self) -> None:
        """Take events and give out views for ever."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._publish_due(loop.time())
                self._set_alarm(loop)
                self._take(await self._inbox.get(), loop.time())
                for _ in range(min(self._inbox.qsize(), BATCH_EVENTS_MAX)):
                    self._take(self._inbox.get_nowait(), loop.time())
                if not self._inbox.empty():
                    self._publish_due(loop.time())
                    await asyncio.sleep(0)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that `run` wakes when a view is due.

        An alarm that is set for earlier stays: events come by the hundred between two views, and a timer for each
        would cost as much as the event.
        """
        due_s = min(self._due_s.values())
        if self._alarm is None or due_s < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._inbox.empty():
            self._inbox.put_nowait(NOTHING)

    def states(self) -> dict[str, dict[str, object]]:
        """Each symbol's state, its reason and the age of its data, for those who ask whether we are ready."""
        now_ms = self._clock.now_ms()
        answer: dict[str, dict[str, object]] = {}
        for symbol, market in self._markets.items():
            state, reason = market.state(now_ms)
            answer[symbol] = {"state": state.value, "reason": reason, "data_age_ms": market.data_age_ms(now_ms)}
        return answer

    def certificates(self) -> dict[str, Certificate]:
        """What each symbol's book can show for itself."""
        now_ms = self._clock.now_ms()
        return {symbol: market.certificate(now_ms) for symbol, market in self._markets.items()}

    def newest(self, symbol: str) -> Newest:
        """A symbol's newest closed minute and its running one, as far as they are known."""
        market = self._markets.get(symbol)
        closed, running = (market.candles.newest_closed(), market.candles.live()) if market else (None, None)
        now_ms = int(self._clock.wall_s() * 1000)
        running_ms = MINUTE.floor(now_ms) if running is None else running.open_time_ms
        return Newest(tuple(candle for candle in (closed, running) if candle is not None), running_ms)

    def _take(self, received: Received, now_s: float) -> None:
        symbol = received.symbol
        market = self._markets.get(symbol)
        if market is None:
            return  # NOTHING, or it was left while this was on its way
        market.apply(received.event, received.received_ms)
        if isinstance(received.event, DepthDiff):
            self._latency.applied(
                symbol, received.received_ms, received.event.event_time_ms,
                self._clock.now_ms(), self._clock.wall_s() * 1000,
            )  # fmt: skip
        wait_s = 0.0 if isinstance(received.event, URGENT) else ADDITIONS_WAIT * self._interval_s
        due_s = max(now_s + wait_s, self._published_s[symbol] + self._interval_s)
        self._due_s[symbol] = min(self._due_s[symbol], due_s)
        for candle in market.candles.take_closed():
            self._give_candle(candle)
        if isinstance(received.event, TradeGap):
            self._note_gap(received.event)
        wish = market.integrity.pop_resync_request()
        if wish:
            self._ask_snapshot(symbol, wish)

    def _give_candle(self, candle: Candle) -> None:
        try:
            self._candles.put_nowait(candle)
        except asyncio.QueueFull:
            stats.candles_dropped.inc()

    def _publish_due(self, now_s: float) -> None:
        for symbol, due_s in self._due_s.items():
            if due_s <= now_s:
                self._publish(self._markets[symbol])
                self._published_s[symbol] = now_s
                self._due_s[symbol] = now_s + HEARTBEAT_S

    def _publish(self, market: Market) -> None:
        view = market.view(self._clock.now_ms(), self._clock.wall_s())
        topic = book_topic(market.symbol)
        self._outbox.put(topic, view)
        self._latency.published(market.symbol, topic, view.seq, self._clock.now_ms())
        tape = market.trades_view()
        if tape is not None:
            self._outbox.put(trades_topic(market.symbol), tape)
        self._published[market.symbol].inc()
        if self._states.get(market.symbol) is not view.state:
            self._states[market.symbol] = view.state
            log.info("book symbol=%s state=%s reason=%s", market.symbol, view.state.value, view.state_reason)
        self._tell_incidents(market, view.proof.incidents)
        self._tell_mismatches(market)

    def _tell_incidents(self, market: Market, count: int) -> None:
        news = count - self._incidents_told[market.symbol]
        self._incidents_told[market.symbol] = count
        for incident in reversed(list(market.integrity.incidents)[:news]):
            stats.book_incidents.labels(market.symbol, incident.cause).inc()
            log.warning("incident symbol=%s cause=%s reason=%s", market.symbol, incident.cause, incident.reason)

    def _tell_mismatches(self, market: Market) -> None:
        news = market.candles.differing - self._mismatches_told[market.symbol]
        self._mismatches_told[market.symbol] = market.candles.differing
        for mismatch in reversed(list(market.candles.mismatches)[:news]):
            log.warning("candle differs symbol=%s ours=%s theirs=%s", market.symbol, mismatch.ours, mismatch.theirs)
