"""One symbol's connection to the exchange: connect, read, ask for snapshots, watch for silence, reconnect.

It decides when to talk to the exchange and never what a frame means (`binance.frames`) or what joins (`intake`).
"""

import asyncio
import itertools
import logging
import random

import aiohttp
import orjson

from pulse import stats
from pulse.backoff import delays
from pulse.binance.frames import Frame, Reply, ServerShutdown, parse
from pulse.binance.rest import BinanceRest
from pulse.clock import Clock
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame
from pulse.intake import Inbox, Intake
from pulse.market.types import BookLost, BookTicker, DepthDiff, FeedDown, FeedUp
from pulse.market.watch import Remedy, Watch

log = logging.getLogger(__name__)

STREAMS = ("depth@100ms", "bookTicker", "aggTrade", "kline_1m")
CONNECT_TIMEOUT_S = 10.0
"""A handshake that is never answered raises nothing by itself."""
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_S = 15.0
"""Pings of our own find a peer that is gone without a word; silent data is the watch's business."""
FRAME_BYTES_MAX = 2 * 2**20
RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.5, 30.0
REFUSED_WAIT_S = 300.0
"""HTTP 451 and 403 do not pass by themselves: asking more often would only earn a ban."""
SETTLED_AFTER_S = 30.0
"""A connection that has lasted this long starts the backoff anew."""
SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S = 0.25, 30.0
WATCH_EVERY_S = 0.5


class ConnectionEnded(ExchangeError):
    """The stream is over; the text says how."""


class Feed:
    """The task that keeps one symbol's stream flowing into the inbox."""

    def __init__(
        self, symbol: str, session: aiohttp.ClientSession, rest: BinanceRest, inbox: Inbox, clock: Clock,
        *, depth_limit: int, stale_after_ms: float, may_fall_back: bool,
    ) -> None:  # fmt: skip
        self.symbol = symbol
        self._session = session
        self._rest = rest
        self._clock = clock
        self._depth_limit = depth_limit
        self._may_fall_back = may_fall_back
        self._intake = Intake(symbol, inbox, clock)
        self._watch = Watch(stale_after_ms)
        self._snapshot_due = asyncio.Event()
        self._is_asked = False
        self._is_quiet = False
        self._message_ids = itertools.count(1)
        self._rng = random.Random()

    def ask_snapshot(self, reason: str) -> None:
        """The engine wants a new snapshot beside the running book."""
        log.info("snapshot wanted symbol=%s reason=%s", self.symbol, reason)
        self._is_asked = True
        self._snapshot_due.set()

    def set_trading(self, is_trading: bool) -> None:
        """While the exchange lists the symbol as not trading, silence is correct."""
        self._is_quiet = not is_trading

    async def run(self) -> None:
        """Connect for ever. Raises ExchangeRefused only where another venue may be tried."""
        waits = delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
        while True:
            started_ms = self._clock.now_ms()
            try:
                await self._connection()
            except ExchangeRefused as fault:
                if self._may_fall_back:
                    raise
                reason, wait_s = str(fault), REFUSED_WAIT_S
            except ExchangeError as fault:
                reason = str(fault)
                if self._clock.now_ms() - started_ms > SETTLED_AFTER_S * 1000:
                    waits = delays(RECONNECT_FIRST_S, RECONNECT_MAX_S, self._rng)
                wait_s = next(waits)
            log.warning("feed down symbol=%s reason=%s next_try_s=%.1f", self.symbol, reason, wait_s)
            await self._intake.put(FeedDown(reason))
            await asyncio.sleep(wait_s)

    async def _connection(self) -> None:
        """One connection from handshake to end; always raises ExchangeError."""
        socket = await self._connect()
        ended: BaseException = ConnectionEnded("the connection ended")
        try:
            self._intake.restart()
            self._watch.restart(self._clock.now_ms())
            self._snapshot_due.set()
            await self._intake.put(FeedUp())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(socket), name=f"feed-{self.symbol}-reader")
                tasks.create_task(self._fetch_snapshots(), name=f"feed-{self.symbol}-snapshots")
                tasks.create_task(self._look_for_silence(socket), name=f"feed-{self.symbol}-watch")
        except* ConnectionEnded as group:
            ended = group.exceptions[0]
        finally:
            await socket.close()
        raise ended

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        venue = self._rest.venue
        streams = "/".join(f"{self.symbol.lower()}@{name}" for name in STREAMS)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session.ws_connect(
                    f"{venue.stream_url}/stream?streams={streams}",
                    heartbeat=HEARTBEAT_S,
                    compress=0,
                    max_msg_size=FRAME_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as fault:
            if fault.status in (451, 403):
                text = f"{venue.title} does not serve this address or region (HTTP {fault.status})"
                raise ExchangeRefused(text, fault.status) from fault
            raise ExchangeError(f"{venue.title} refused the stream (HTTP {fault.status})") from fault
        except TimeoutError as fault:
            raise ExchangeError(f"{venue.title} did not answer within {CONNECT_TIMEOUT_S:.0f} s") from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise ExchangeError(f"{venue.title} cannot be reached: {fault}") from fault
        stats.feed_connections.labels(self.symbol).inc()
        log.info("feed up symbol=%s venue=%s", self.symbol, venue.name)
        return socket

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionEnded(_how_it_ended(message, socket))
            try:
                await self._take(message.data)
            except MalformedFrame as fault:
                # A depth diff lost here shows as a gap in the next one's ids, and is repaired there.
                stats.frames_malformed.labels(self.symbol).inc()
                log.debug("frame refused symbol=%s reason=%s", self.symbol, fault)

    async def _take(self, raw: str) -> None:
        message = parse(raw)
        now_ms = self._clock.now_ms()
        if isinstance(message, Frame):
            if message.symbol != self.symbol:
                raise MalformedFrame(f"expected {self.symbol} on its own connection")
            self._watch.heard(now_ms)
            if isinstance(message.event, DepthDiff):
                self._watch.heard_depth(message.event.final_update_id)
            elif isinstance(message.event, BookTicker):
                self._watch.heard_ticker(message.event.update_id, now_ms)
            await self._intake.frame(message)
            if self._intake.wants_snapshot:
                self._snapshot_due.set()
        elif isinstance(message, ServerShutdown):
            raise ConnectionEnded("the exchange is about to restart this connection")
        elif isinstance(message, Reply) and message.error:
            log.warning("exchange refused a request symbol=%s error=%s", self.symbol, message.error)

    async def _fetch_snapshots(self) -> None:
        while True:
            await self._snapshot_due.wait()
            self._snapshot_due.clear()
            if self._is_asked or self._intake.wants_snapshot:
                await self._fetch_snapshot()
                self._is_asked = False

    async def _fetch_snapshot(self) -> None:
        """Ask until a snapshot joins; each failure waits longer, and the diffs go on being kept."""
        self._intake.expect_snapshot()
        for wait_s in delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng):
            try:
                if await self._intake.snapshot(await self._rest.depth(self.symbol, self._depth_limit)):
                    return
                reason = "the exchange's snapshot is older than its stream"
                pause_s = min(wait_s, 3.0)
            except ExchangeBusy as fault:
                reason, pause_s = str(fault), fault.retry_after_s + wait_s
            except ExchangeRefused as fault:
                reason, pause_s = str(fault), REFUSED_WAIT_S
            except ExchangeError as fault:
                reason, pause_s = str(fault), wait_s
            log.warning("no snapshot symbol=%s reason=%s next_try_s=%.1f", self.symbol, reason, pause_s)
            if self._intake.wants_snapshot:
                await self._intake.put(BookLost(f"joining the book: {reason}"))
            await asyncio.sleep(pause_s)

    async def _look_for_silence(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._is_quiet:
                continue
            remedy = self._watch.remedy(self._clock.now_ms())
            if remedy is Remedy.RECONNECT:
                raise ConnectionEnded("the exchange has fallen silent")
            if remedy is Remedy.RESUBSCRIBE:
                log.warning("depth stream silent, subscribing again symbol=%s", self.symbol)
                await self._resubscribe(socket)

    async def _resubscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        params = [f"{self.symbol.lower()}@depth@100ms"]
        try:
            for method in ("UNSUBSCRIBE", "SUBSCRIBE"):
                body = {"method": method, "params": params, "id": next(self._message_ids)}
                await socket.send_str(orjson.dumps(body).decode())
        except (aiohttp.ClientError, OSError) as fault:
            raise ConnectionEnded("the connection broke while writing") from fault


def _how_it_ended(message: aiohttp.WSMessage, socket: aiohttp.ClientWebSocketResponse) -> str:
    if message.type is aiohttp.WSMsgType.CLOSE:
        return f"the exchange closed the connection (code {message.data})"
    if message.type is aiohttp.WSMsgType.ERROR:
        return f"the connection failed: {socket.exception() or 'no reason given'}"
    if message.type is aiohttp.WSMsgType.BINARY:
        return "the exchange sent a binary frame"
    return f"the connection was cut (code {socket.close_code})"
