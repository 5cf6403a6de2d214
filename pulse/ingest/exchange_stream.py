"""One symbol's connection to the exchange: connect, read, ask for snapshots, watch for silence, rotate, reconnect.

It decides when to talk to the exchange and never what a frame means (`binance.frames`) or what joins (`intake`).

Rotation: an exchange cuts every connection after a day, and says so shortly before a restart. A second connection
is opened while the first runs; its frames wait until the two are seen to overlap in ids, then they follow on the
first's, ids telling what is new, and the first is closed. No id is missed, and nobody sees it.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from pulse import stats
from pulse.binance.messages import Frame, Message, Reply, ServerShutdown, parse
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import Stream, Transport
from pulse.clock import Clock
from pulse.concurrency import RetryGate, backoff_delays
from pulse.errors import (
    ConnectionEnded,
    ExchangeBusy,
    ExchangeError,
    ExchangeRefused,
    HandshakeRefused,
    MalformedFrame,
)
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.trade_repair import TradeRepair
from pulse.market.staleness import SilenceAction, StreamWatchdog
from pulse.market.types import BookLost, BookTicker, DepthDiff, FeedDown, FeedUp, PartialDepth, Trade
from pulse.queues import Inbox

log = logging.getLogger(__name__)

STREAMS = ("depth@100ms", "bookTicker", "aggTrade", "kline_1m", "depth20")
"""The last one, a witness, comes once a second: its cost is a hundredth of the first's."""
RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.5, 60.0
RECONNECT_SPACING_S = 2.0
"""All feeds together try about this often, half as often as the exchange allows, and one success wakes all."""
REFUSED_WAIT_S = 300.0
"""HTTP 451 and 403 do not pass by themselves: asking more often would only earn a ban."""
SETTLED_AFTER_S = 30.0
"""A connection that has lasted this long starts the backoff anew."""
SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S = 0.25, 30.0
SNAPSHOT_SPACING_S = 1.0
"""Even an exchange whose every snapshot must be refused is asked no more often than this."""
STALE_SNAPSHOT_MAX_S = 3.0
"""A snapshot that lags the stream is asked for again no later than this: lags are of seconds."""
WATCH_EVERY_S = 1.0
ROTATE_AFTER_S = 23.5 * 3600
"""The exchange cuts at 24 h."""
ROTATE_SPREAD = 0.05
"""Up to this share earlier, drawn by lot, so that symbols do not rotate together."""
OVERLAP_S = 1.0
"""How long two connections run side by side at least: what the first was sent before the second began, it has read."""
OVERLAP_MAX_S = 30.0
"""After this the second takes over even if the two were not seen to overlap; a gap then shows in the ids."""
WAITING_FRAMES_MAX = 10_000
"""Frames of the second connection that wait: 30 s of the busiest recorded stream."""


@dataclass(eq=False, slots=True)
class _Link:
    """One connection. `waiting` holds its frames until it takes over."""

    stream: Stream
    opened_ms: float
    waiting: list[Frame] = field(default_factory=list)
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # it took over, or ended before it could


class ExchangeStream:
    """The task that keeps one symbol's stream flowing into the inbox."""

    def __init__(
        self, symbol: str, transport: Transport, rest: BinanceRest, inbox: Inbox, clock: Clock, rng: random.Random,
        *, retry_gate: RetryGate, depth_limit: int, stale_after_ms: float, may_fall_back: bool, audit_every_s: float,
        rotate_after_s: float = ROTATE_AFTER_S,
    ) -> None:  # fmt: skip
        self.symbol = symbol
        self._transport = transport
        self._rest = rest
        self._clock = clock
        self._rng = rng
        self._retry_gate = retry_gate
        self._depth_limit = depth_limit
        self._may_fall_back = may_fall_back
        self._rotate_after_s = rotate_after_s
        self._audit_every_s = audit_every_s
        self._intake = Sequencer(symbol, inbox, clock, may_repair=True)
        self._repair = TradeRepair(symbol, rest, self._intake, clock, rng)
        self._watch = StreamWatchdog(stale_after_ms)
        self._snapshot_due = asyncio.Event()
        self._rotation_due = asyncio.Event()
        self._is_asked = False
        self._is_quiet = False
        self._current: _Link | None = None
        self._next: _Link | None = None
        # What waits of a second connection must all be delivered before anything newer is.
        self._taking = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._last_trade_id = -1
        self._message_ids = itertools.count(1)
        self._told_reason = ""
        self.rotations = 0

    def ask_snapshot(self, reason: str) -> None:
        """A new snapshot is wanted beside the running book."""
        log.info("snapshot wanted symbol=%s reason=%s", self.symbol, reason)
        self._is_asked = True
        self._snapshot_due.set()

    def set_trading(self, is_trading: bool) -> None:
        """While the exchange lists the symbol as not trading, silence is correct."""
        self._is_quiet = not is_trading

    async def run(self) -> None:
        """Connect for ever. Raises ExchangeRefused only where another venue may be tried."""
        waits = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
        while True:
            started_ms = self._clock.now_ms()
            try:
                # In a task of its own: early 3.11 leaves the task of a task group that failed marked as cancelled, and
                # a time-out in such a task ends it.
                await asyncio.create_task(self._connection(), name=f"feed-{self.symbol}-connection")
            except ExchangeRefused as fault:
                if self._may_fall_back:
                    raise
                reason, wait_s = str(fault), REFUSED_WAIT_S
            except ExchangeError as fault:
                reason = str(fault)
                if self._clock.now_ms() - started_ms > SETTLED_AFTER_S * 1000:
                    waits = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
                wait_s = next(waits)
            self._tell("feed down", reason, wait_s)
            await self._intake.put(FeedDown(reason))
            await self._retry_gate.wait(wait_s)

    def _tell(self, what: str, reason: str, wait_s: float) -> None:
        """Log trouble once, and while it lasts only for those who look closely."""
        level = logging.DEBUG if reason == self._told_reason else logging.WARNING
        self._told_reason = reason
        log.log(level, "%s symbol=%s reason=%s next_try_s=%.1f", what, self.symbol, reason, wait_s)

    async def _connection(self) -> None:
        """One connection and its successors, until one ends that has none; always raises ExchangeError."""
        self._current = link = await self._open()
        self._retry_gate.succeeded()
        ended: BaseException = ConnectionEnded("the connection ended")
        try:
            self._intake.restart()
            self._watch.restart(self._clock.now_ms())
            self._rotation_due.clear()
            self._snapshot_due.set()
            await self._intake.put(FeedUp())
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._start(self._read(link), "reader")
                self._start(self._fetch_snapshots(), "snapshots")
                self._start(self._repair.run(), "repair")
                self._start(self._look_for_silence(), "watch")
                self._start(self._audit(), "audit")
                self._start(self._rotate(), "rotation")
        except* ConnectionEnded as group:
            ended = group.exceptions[0]
        finally:
            for open_link in (self._current, self._next):
                if open_link is not None:
                    await open_link.stream.close()
            self._current = self._next = None
        raise ended

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task that lives no longer than the connection."""
        assert self._tasks is not None  # noqa: S101  # set before anything can be started
        self._tasks.create_task(work, name=f"feed-{self.symbol}-{name}")

    async def _open(self) -> _Link:
        venue = self._rest.venue
        streams = "/".join(f"{self.symbol.lower()}@{name}" for name in STREAMS)
        try:
            stream = await self._transport.connect(f"{venue.stream_url}/stream?streams={streams}")
        except HandshakeRefused as fault:
            if fault.status in (451, 403):
                text = f"{venue.title} does not serve this address or region (HTTP {fault.status})"
                raise ExchangeRefused(text, fault.status) from fault
            raise
        stats.feed_connections.labels(self.symbol).inc()
        log.info("feed up symbol=%s venue=%s", self.symbol, venue.name)
        return _Link(stream, self._clock.now_ms())

    # --- reading

    async def _read(self, link: _Link) -> None:
        while True:
            try:
                raw = await link.stream.receive()
            except ConnectionEnded as fault:
                await self._note_end(link, fault)
                return
            try:
                message = parse(raw)
                async with self._taking:
                    await self._take(link, message)
            except MalformedFrame as fault:
                # A depth diff lost here shows as a gap in the next one's ids, and is repaired there.
                stats.frames_malformed.labels(self.symbol).inc()
                log.debug("frame refused symbol=%s reason=%s", self.symbol, fault)

    async def _note_end(self, link: _Link, fault: ConnectionEnded) -> None:
        """A connection is over: the current one's end is ours, unless a successor is ready."""
        if link is self._next:
            self._next = None
            link.settled.set()
        elif link is self._current:
            if self._next is None:
                raise fault
            async with self._taking:
                await self._take_over(self._next)

    async def _take(self, link: _Link, message: Message) -> None:
        if isinstance(message, ServerShutdown):
            log.info("exchange announces a restart symbol=%s", self.symbol)
            self._rotation_due.set()
        elif isinstance(message, Reply) and message.error:
            log.warning("exchange refused a request symbol=%s error=%s", self.symbol, message.error)
        elif isinstance(message, Frame):
            if message.symbol != self.symbol:
                raise MalformedFrame(f"expected {self.symbol} on its own connection")
            if link is self._current:
                await self._deliver(message)
            elif link is self._next:
                await self._wait_or_take_over(link, message)

    async def _deliver(self, frame: Frame) -> None:
        now_ms = self._clock.now_ms()
        self._watch.heard(now_ms)
        event = frame.event
        if isinstance(event, DepthDiff):
            self._watch.heard_depth(event.final_update_id)
        elif isinstance(event, BookTicker):
            self._watch.heard_ticker(event.update_id, now_ms)
        elif isinstance(event, PartialDepth):
            self._watch.heard_top(event.last_update_id, now_ms)
        elif isinstance(event, Trade):
            self._last_trade_id = max(self._last_trade_id, event.trade_id)
        await self._intake.frame(frame)
        if self._intake.wants_snapshot:
            self._snapshot_due.set()
        self._repair.look()

    # --- snapshots

    async def _fetch_snapshots(self) -> None:
        while True:
            await self._snapshot_due.wait()
            self._snapshot_due.clear()
            if self._is_asked or self._intake.wants_snapshot:
                self._is_asked = False  # before, for what is asked for meanwhile may not be answered by this one
                await self._fetch_snapshot()
                await asyncio.sleep(SNAPSHOT_SPACING_S)

    async def _fetch_snapshot(self) -> None:
        """Ask until a snapshot joins; each failure waits longer, and the diffs go on being kept."""
        self._intake.expect_snapshot()
        for wait_s in backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng):
            try:
                if await self._intake.snapshot(await self._rest.depth(self.symbol, self._depth_limit)):
                    return
                reason = "the exchange's snapshot is older than its stream"
                pause_s = min(wait_s, STALE_SNAPSHOT_MAX_S)
            except ExchangeBusy as fault:
                reason, pause_s = str(fault), fault.retry_after_s + wait_s
            except ExchangeRefused as fault:
                reason, pause_s = str(fault), REFUSED_WAIT_S
            except ExchangeError as fault:
                self._tell("no snapshot", str(fault), wait_s)
                await self._say_not_joined(str(fault))
                await self._rest.wait_until_reachable(wait_s)
                continue
            self._tell("no snapshot", reason, pause_s)
            await self._say_not_joined(reason)
            await asyncio.sleep(pause_s)

    async def _say_not_joined(self, reason: str) -> None:
        if self._intake.wants_snapshot:
            await self._intake.put(BookLost(f"joining the book: {reason}"))

    async def _audit(self) -> None:
        while True:
            await asyncio.sleep(self._audit_every_s)
            self.ask_snapshot("the regular comparison of the whole book")

    # --- silence

    async def _look_for_silence(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._is_quiet:
                continue
            remedy = self._watch.remedy(self._clock.now_ms())
            if remedy is SilenceAction.RECONNECT:
                raise ConnectionEnded("the exchange has fallen silent")
            if remedy is SilenceAction.RESUBSCRIBE and self._current is not None:
                log.warning("depth stream silent, subscribing again symbol=%s", self.symbol)
                for method in ("UNSUBSCRIBE", "SUBSCRIBE"):
                    await self._current.stream.send(self._request(method))

    def _request(self, method: str) -> str:
        params = [f"{self.symbol.lower()}@depth@100ms"]
        return orjson.dumps({"method": method, "params": params, "id": next(self._message_ids)}).decode()

    # --- rotation

    async def _rotate(self) -> None:
        """Replace the connection before the exchange cuts it, for ever."""
        while True:
            await self._wait_until_due()
            waits = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
            while self._rotation_due.is_set():
                try:
                    self._next = link = await self._open()
                except ExchangeError as fault:
                    log.warning("no second connection symbol=%s reason=%s", self.symbol, fault)
                    await asyncio.sleep(next(waits))
                    continue
                self._start(self._read(link), "reader")
                await link.settled.wait()
                if self._next is None and self._current is not link:
                    await asyncio.sleep(next(waits))  # it ended before it could take over

    async def _wait_until_due(self) -> None:
        try:
            async with asyncio.timeout(self._rotate_after_s * self._rng.uniform(1 - ROTATE_SPREAD, 1)):
                await self._rotation_due.wait()
        except TimeoutError:
            self._rotation_due.set()

    async def _wait_or_take_over(self, link: _Link, frame: Frame) -> None:
        link.waiting.append(frame)
        waited_ms = self._clock.now_ms() - link.opened_ms
        is_full = len(link.waiting) >= WAITING_FRAMES_MAX or waited_ms > OVERLAP_MAX_S * 1000
        if is_full or (waited_ms >= OVERLAP_S * 1000 and self._overlaps(link)):
            await self._take_over(link)

    def _overlaps(self, link: _Link) -> bool:
        """Whether the second connection's first ids are ones that the first has reached."""
        diff = next((frame.event for frame in link.waiting if isinstance(frame.event, DepthDiff)), None)
        trade = next((frame.event for frame in link.waiting if isinstance(frame.event, Trade)), None)
        if diff is None or not self._intake.reaches(diff):
            return False
        return trade is None or trade.trade_id <= self._last_trade_id + 1

    async def _take_over(self, link: _Link) -> None:
        previous, self._current, self._next = self._current, link, None
        self._rotation_due.clear()
        self.rotations += 1
        log.info("connection rotated symbol=%s waiting_frames=%s", self.symbol, len(link.waiting))
        waiting, link.waiting = link.waiting, []
        for frame in waiting:
            await self._deliver(frame)
        link.settled.set()
        if previous is not None:
            self._start(previous.stream.close(), "closing")
