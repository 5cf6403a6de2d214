"""One symbol's connection to the exchange: connect, read, watch for silence, reconnect; and the tasks that go with it.

It decides when to talk to the exchange. What a frame means is decided in `binance.messages`, what joins in the
`Sequencer`, what is fetched over REST in `SnapshotFetcher` and `TradeRepair`, and when a second connection takes over
in `Rotation`.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Coroutine
from typing import Any

import orjson

from pulse import stats
from pulse.binance.messages import Frame, Message, Reply, ServerShutdown, parse
from pulse.binance.refusals import Refusals
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
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.rotation import ROTATE_AFTER_S, Rotation, Successor
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.snapshot_schedule import SnapshotSchedule
from pulse.ingest.snapshots import SnapshotFetcher
from pulse.ingest.stream_remedy import StreamRemedy
from pulse.ingest.trade_repair import TradeRepair
from pulse.logs import StateOfTrouble
from pulse.market.staleness import SilenceAction, StreamWatchdog
from pulse.market.stream_states import DEPTH, KLINE, PARTIAL, TICKER, TRADE
from pulse.market.types import BookTicker, DepthDiff, FeedDown, FeedUp, PartialDepth, Trade
from pulse.queues import Inbox

log = logging.getLogger(__name__)

STREAMS = {DEPTH: "depth@100ms", TICKER: "bookTicker", TRADE: "aggTrade", KLINE: "kline_1m", PARTIAL: "depth20"}
"""The streams of a symbol by kind. The last one only cross-checks the book. It comes once a second, so it costs a
hundredth of the first."""
RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.5, 60.0
RECONNECT_SPACING_S = 2.0
"""All symbols together try to reconnect about this often, half as often as the exchange allows; the first success wakes
all that wait."""
SETTLED_AFTER_S = 30.0
"""After a connection that lasted this long the backoff starts anew."""
WATCH_EVERY_S = 1.0
DATE_WAIT_S = 2.0
"""How long the first frames wait in the socket for the exchange's date, which the snapshot brings that the book waits
for anyway: this machine's own may be set wrong."""
SWITCHING_PROTOCOLS = 101
"""The HTTP status of a handshake that succeeded."""


class ExchangeStream:
    """Keeps one symbol's stream flowing into the inbox.

    Reconnects of all symbols wait at the same `retry_gate`, what the host refused to one of them is in the shared
    `refusals`, what they hold counts in the shared `held`, and the shared `schedule` decides whose book is fetched with
    all levels next. With `may_fall_back` a refusal of the address ends `run`, so that another venue can be tried.
    """

    def __init__(
        self, symbol: str, transport: Transport, rest: BinanceRest, inbox: Inbox, clock: Clock, rng: random.Random,
        *, retry_gate: RetryGate, refusals: Refusals, held: HeldBudget, schedule: SnapshotSchedule,
        stale_after_ms: float, may_fall_back: bool, rotate_after_s: float = ROTATE_AFTER_S,
    ) -> None:  # fmt: skip
        self.symbol = symbol
        self._transport = transport
        self._venue = rest.venue
        self._exchange_clock = rest.exchange_clock
        self._clock = clock
        self._rng = rng
        self._retry_gate = retry_gate
        self._refusals = refusals
        self._may_fall_back = may_fall_back
        self._held = held
        self._schedule = schedule
        self._sequencer = Sequencer(symbol, inbox, clock, held, repairs_trades=True, date=rest.exchange_clock.date)
        self._snapshots = SnapshotFetcher(symbol, rest, self._sequencer, rng, schedule)
        self._repair = TradeRepair(symbol, rest, self._sequencer, clock, rng)
        self._rotation = Rotation(self._sequencer, clock, rng, rotate_after_s)
        self._watchdog = StreamWatchdog(stale_after_ms)
        self._remedy = StreamRemedy()
        self._is_trading = True
        self._current: Stream | None = None
        # All waiting frames of a successor must be delivered before any newer one is.
        self._delivery_lock = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._message_ids = itertools.count(1)
        self._down = StateOfTrouble(log, "feed down symbol=%s reason=%s next_try_s=%.1f")
        self._not_rotated = StateOfTrouble(
            log, "rotation failed to open a connection symbol=%s reason=%s next_try_s=%.1f"
        )

    @property
    def rotations(self) -> int:
        """How many times a connection was replaced without a gap."""
        return self._rotation.completed

    def request_snapshot(self, reason: str) -> None:
        """Fetch a new snapshot beside the running book."""
        self._snapshots.request(reason)

    def on_silent(self, kind: str) -> None:
        """Take the report that one stream is silent while others flow."""
        self._remedy.on_silent(kind, self._clock.now_ms())

    def set_trading(self, is_trading: bool) -> None:
        """Set whether the exchange lists the symbol as trading; while it does not, silence is normal."""
        self._is_trading = is_trading
        self._snapshots.set_trading(is_trading)

    async def run(self) -> None:
        """Connect for ever. Raises ExchangeRefused only where another venue may be tried."""
        holders = (self._sequencer, self._rotation)
        for holder in holders:
            self._held.add(holder)
        self._schedule.open(self.symbol)
        try:
            await self._connect_for_ever()
        finally:
            self._schedule.close(self.symbol)
            for holder in holders:
                self._held.remove(holder)

    async def _connect_for_ever(self) -> None:
        delays = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
        while True:
            self._connected_ms: float | None = None
            is_told_to_wait = False
            self._schedule.begin(self.symbol)
            try:
                # In a task of its own: early 3.11 leaves the task of a task group that failed marked as cancelled, and
                # a time-out in such a task ends it.
                await asyncio.create_task(self._run_connection(), name=f"feed-{self.symbol}-connection")
            except (ExchangeBusy, ExchangeRefused) as fault:
                if self._may_fall_back and isinstance(fault, ExchangeRefused):
                    raise
                reason, wait_s, is_told_to_wait = str(fault), fault.retry_after_s, True
            except ExchangeError as fault:
                reason = str(fault)
                if self._has_settled():
                    delays = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
                wait_s = next(delays)
            if self._has_settled():
                self._down.over()
            self._down.warn(reason, self.symbol, reason, wait_s)
            self._schedule.give_up(self.symbol)
            await self._sequencer.put(FeedDown(reason))
            await self._retry_gate.wait(wait_s, is_capped=not is_told_to_wait)

    def _has_settled(self) -> bool:
        """Return whether the connection that has ended lasted: what comes after it is no trouble that goes on."""
        started_ms = self._connected_ms
        return started_ms is not None and self._clock.now_ms() - started_ms > SETTLED_AFTER_S * 1000

    async def _run_connection(self) -> None:
        """Run one connection and its successors until one ends that has none. Always raises ExchangeError."""
        self._current = stream = await self._open()
        self._connected_ms = self._clock.now_ms()
        self._retry_gate.succeeded()
        ended: BaseException = ConnectionEnded("the connection ended")
        try:
            self._sequencer.restart()
            self._watchdog.restart(self._clock.now_ms())
            self._snapshots.wake_if_needed()
            await self._sequencer.put(FeedUp(frozenset(STREAMS)))
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._start(self._read(stream), "reader")
                self._start(self._snapshots.run(), "snapshots")
                self._start(self._repair.run(), "repair")
                self._start(self._watch_for_silence(), "watch")
                self._start(self._snapshots.run_whole(), "whole-book")
                self._start(self._rotate(), "rotation")
        except* ConnectionEnded as group:
            ended = group.exceptions[0]
        finally:
            await self._close()
        raise ended

    async def _close(self) -> None:
        successor = self._rotation.successor
        for stream in (self._current, successor.stream if successor is not None else None):
            if stream is not None:
                await stream.close()
        self._current = None
        self._rotation.reset()
        self._held.note(self._rotation)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task that lives no longer than the connection."""
        assert self._tasks is not None  # noqa: S101  # set before anything can be started
        self._tasks.create_task(work, name=f"feed-{self.symbol}-{name}")

    async def _open(self) -> Stream:
        names = "/".join(f"{self.symbol.lower()}@{name}" for name in STREAMS.values())
        self._refusals.check(self.symbol, self._clock.now_ms() / 1000)
        try:
            stream = await self._transport.connect(f"{self._venue.stream_url}/stream?streams={names}")
        except HandshakeRefused as fault:
            refusal = self._refusals.on_status(self.symbol, fault.status, self._clock.now_ms() / 1000)
            if refusal is None:
                raise
            raise refusal from fault
        self._refusals.on_status(self.symbol, SWITCHING_PROTOCOLS, self._clock.now_ms() / 1000)
        stats.feed_connections.labels(self.symbol).inc()
        log.info("feed up symbol=%s venue=%s", self.symbol, self._venue.name)
        return stream

    # --- reading

    async def _read(self, stream: Stream) -> None:
        await self._exchange_clock.wait_until_known(DATE_WAIT_S)
        while True:
            try:
                raw = await stream.receive()
            except ConnectionEnded as fault:
                await self._on_end(stream, fault)
                return
            try:
                message = parse(raw)
                async with self._delivery_lock:
                    await self._on_message(stream, message)
            except MalformedFrame as fault:
                # A depth diff lost here shows as a gap in the next one's ids, and is repaired there.
                stats.frames_malformed.labels(self.symbol).inc()
                log.debug("frame refused symbol=%s reason=%s", self.symbol, fault)

    async def _on_end(self, stream: Stream, fault: ConnectionEnded) -> None:
        """React to the end of a stream: where it is the current one a successor takes over, or the connection ends."""
        successor = self._rotation.successor
        if successor is not None and stream is successor.stream:
            self._rotation.abandon(successor)
            self._held.note(self._rotation)
            return
        async with self._delivery_lock:
            if stream is not self._current:
                return  # its successor has taken over
            successor = self._rotation.successor
            if successor is None:
                raise fault
            await self._take_over(successor)

    async def _on_message(self, stream: Stream, message: Message) -> None:
        if isinstance(message, ServerShutdown):
            self._on_shutdown(stream)
        elif isinstance(message, Reply) and message.error:
            log.warning("control message refused symbol=%s error=%s", self.symbol, message.error)
        elif isinstance(message, Frame):
            if message.symbol != self.symbol:
                raise MalformedFrame(f"expected only {self.symbol} on its connection, got {message.symbol}")
            if stream is self._current:
                await self._deliver(message)
                return
            successor = self._rotation.successor
            if successor is None or stream is not successor.stream:
                return
            if self._rotation.hold(successor, message):
                await self._take_over(successor)
            else:
                self._held.note(self._rotation)
                await self._held.make_room()

    def _on_shutdown(self, stream: Stream) -> None:
        """React to the announced end of a stream: it is replaced, and so is a successor, once it has taken over."""
        log.info("exchange announced a restart symbol=%s", self.symbol)
        successor = self._rotation.successor
        if successor is not None and stream is successor.stream:
            successor.is_ending = True
        elif stream is self._current:
            self._rotation.request()

    async def _deliver(self, frame: Frame) -> None:
        now_ms = self._clock.now_ms()
        self._watchdog.on_frame(now_ms)
        if self._remedy.is_active:
            self._remedy.on_frame(frame.kind)
        event = frame.event
        if not await self._sequencer.put_frame(frame):
            if isinstance(event, DepthDiff):
                self._watchdog.on_lost_diff(now_ms)
            self._snapshots.wake_if_needed()
            return
        if isinstance(event, DepthDiff):
            self._watchdog.on_diff(event.final_update_id)
        elif isinstance(event, BookTicker):
            self._watchdog.on_ticker(event.update_id, now_ms)
        elif isinstance(event, PartialDepth):
            self._watchdog.on_partial(event.last_update_id, now_ms)
        elif isinstance(event, Trade):
            self._rotation.note_trade(event.trade_id)
        self._snapshots.wake_if_needed()
        self._repair.wake_if_needed()

    # --- silence

    async def _watch_for_silence(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if not self._is_trading:
                continue
            action = self._watchdog.action(self._clock.now_ms())
            if action is SilenceAction.RECONNECT:
                raise ConnectionEnded("the exchange has sent nothing for longer than is normal for this symbol")
            kinds, replace_for = self._remedy.take()
            await self._subscribe_again(kinds + [DEPTH] * (action is SilenceAction.RESUBSCRIBE))
            if replace_for:
                log.warning(
                    "streams still silent, replacing the connection symbol=%s kinds=%s", self.symbol, replace_for
                )
                self._rotation.request(awaits_trades=TRADE not in replace_for)

    async def _subscribe_again(self, kinds: list[str]) -> None:
        """Subscribe again to streams of the current connection, all with one message of each method.

        The exchange allows five messages a second, pongs included.
        """
        if not kinds or self._current is None:
            return
        log.warning("streams silent, subscribing again symbol=%s kinds=%s", self.symbol, kinds)
        for method in ("UNSUBSCRIBE", "SUBSCRIBE"):
            await self._current.send(self._control_message(method, kinds))

    def _control_message(self, method: str, kinds: list[str]) -> str:
        params = [f"{self.symbol.lower()}@{STREAMS[kind]}" for kind in kinds]
        return orjson.dumps({"method": method, "params": params, "id": next(self._message_ids)}).decode()

    # --- rotation

    async def _rotate(self) -> None:
        """Replace the connection before the exchange closes it, for ever."""
        while True:
            await self._rotation.wait_until_due()
            delays = backoff_delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
            while self._rotation.is_due:
                try:
                    stream = await self._open()
                except ExchangeError as fault:
                    told_s = fault.retry_after_s if isinstance(fault, ExchangeBusy | ExchangeRefused) else 0.0
                    wait_s = max(told_s, next(delays))
                    self._not_rotated.warn(str(fault), self.symbol, fault, wait_s)
                    await asyncio.sleep(wait_s)
                    continue
                self._not_rotated.over()
                successor = self._rotation.begin(stream)
                self._start(self._read(stream), "reader")
                await successor.settled.wait()
                if self._rotation.is_due:  # it ended before it could take over, or is ending itself
                    await asyncio.sleep(next(delays))

    async def _take_over(self, successor: Successor) -> None:
        previous, self._current = self._current, successor.stream
        frames = self._rotation.take_over(successor)
        self._held.note(self._rotation)
        log.info("connection rotated symbol=%s waiting_frames=%s", self.symbol, len(frames))
        for frame in frames:
            await self._deliver(frame)
        successor.settled.set()
        if previous is not None:
            self._start(previous.close(), "closing")
