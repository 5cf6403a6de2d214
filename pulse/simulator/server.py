"""The simulated exchange on loopback: REST and streams around the pure core, paced by a clock.

A client pointed at its REST and stream addresses sees Binance's protocol. It serves the demo and the tests; tests also
read the core's exact books and set faults.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

import orjson
from aiohttp import web

from pulse.simulator.connection import (
    CLOSE_WAIT_S,
    FIN,
    MESSAGE_BYTES_MAX,
    OUTBOX_BYTES_MAX,
    POLICY_VIOLATION,
    RST,
    StreamConnection,
)
from pulse.simulator.exchange import Exchange
from pulse.simulator.faults import Faults, SentFrame
from pulse.simulator.instruments import INSTRUMENTS, SimulatedInstrument
from pulse.simulator.limits import WeightMeter
from pulse.simulator.market import DEFAULT_RETENTION, Retention
from pulse.simulator.payloads import REQUEST_WEIGHT_PER_MINUTE
from pulse.simulator.rest import SimulatedRest
from pulse.simulator.subscriptions import StreamSubscriptions

log = logging.getLogger(__name__)

STEP_S = 0.025  # how often the market advances
STEP_MAX_MS = 2000  # of the market's time in one pass; after a long pause it catches up in several passes
PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 60.0
CONNECTION_LIFE_S = 86_400.0
CONNECTIONS_MAX = 1000
SHUTDOWN_STREAM = "!serverShutdown"
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
KNOWN_SYMBOLS = tuple(INSTRUMENTS)


class SimulatedExchange:
    """An exchange at `rest_url` and `stream_url` between `start` and `close`; may be started again on the same port.

    `core` holds the markets and exact books, `faults` the injected faults, `rest` the requests received. `speed` is how
    many seconds of market time pass in one second of the clock.
    """

    def __init__(
        self,
        symbols: Iterable[str] = DEFAULT_SYMBOLS,
        *,
        known: Mapping[str, SimulatedInstrument] = INSTRUMENTS,
        seed: int = 1,
        speed: float = 1.0,
        port: int = 0,
        start_ms: int | None = None,
        retention: Retention = DEFAULT_RETENTION,
        weight_per_minute: int = REQUEST_WEIGHT_PER_MINUTE,
        ping_interval_s: float = PING_INTERVAL_S,
        pong_timeout_s: float = PONG_TIMEOUT_S,
        connection_life_s: float = CONNECTION_LIFE_S,
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the start of the session to `start_ms`, by default now. Raise ValueError for symbols not in `known`."""
        self._epoch_ms = int(time.time() * 1000) if start_ms is None else start_ms
        self._epoch_s = clock()
        self._clock = clock
        self._speed = speed
        self.port = port
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._connection_life_s = connection_life_s
        self._outbox_bytes_max = outbox_bytes_max
        self.core = Exchange(symbols, seed, self._epoch_ms, known, retention)
        self.faults = Faults()
        self.rest = SimulatedRest(self.core, WeightMeter(weight_per_minute), self.faults)
        self.connections: dict[StreamConnection, None] = {}  # the open ones, oldest first
        self.connections_opened = 0
        self._runner: web.AppRunner | None = None
        self._market_task: asyncio.Task[None] | None = None

    @property
    def rest_url(self) -> str:
        """The base URL of its REST paths, such as http://127.0.0.1:4000."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """The base URL of /ws and /stream, such as ws://127.0.0.1:4000."""
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "SimulatedExchange":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on loopback and start the market. Raise OSError when the port is taken."""
        app = web.Application()
        app.add_routes(self.rest.routes())
        app.add_routes(
            [
                web.get("/stream", self._combined),
                web.get("/ws", self._raw),
                web.get("/ws/{streams:.+}", self._raw),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_WAIT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]
        self._market_task = asyncio.create_task(self._run_market(), name="simulator")

    async def close(self) -> None:
        """Stop listening, reset every socket, and stop the market until the next start."""
        task, self._market_task = self._market_task, None
        runner, self._runner = self._runner, None
        if task is None or runner is None:
            return
        task.cancel()
        await asyncio.wait([task])
        self.cut(RST)
        await runner.cleanup()
        if not task.cancelled():
            task.result()  # it can only have failed

    async def watch(self) -> None:
        """Wait while the market runs, and raise the error that stopped it."""
        if self._market_task is None:
            return
        task = self._market_task
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    def cut(self, mode: str = RST) -> None:
        """Disconnect every open socket without a closing handshake: RST, FIN or MID_FRAME."""
        for connection in tuple(self.connections):
            connection.cut(mode)

    async def close_sockets(self, code: int, reason: str = "") -> None:
        """Close every open socket with a code."""
        await asyncio.gather(*(c.close(code, reason) for c in tuple(self.connections)))

    def announce_shutdown(self) -> None:
        """Announce to every client that its connection will soon be closed; nothing is closed yet."""
        event = SentFrame(SHUTDOWN_STREAM, {"e": "serverShutdown", "E": self.core.now_ms}, self.core.now_ms)
        for connection in self.connections:
            connection.enqueue(_encode(event, connection.subscriptions.combined))

    # market time

    async def _run_market(self) -> None:
        while True:
            passed_s = self._clock() - self._epoch_s
            now_ms = self._epoch_ms + int(passed_s * 1000 * self._speed)
            self._advance_to(min(now_ms, self.core.now_ms + STEP_MAX_MS))
            self._check_connections()
            await asyncio.sleep(STEP_S)

    def _advance_to(self, to_ms: int) -> None:
        streams: set[str] = set()
        for connection in self.connections:
            streams.update(connection.subscriptions.streams)
        events = self.core.advance(to_ms, streams)
        for frame in self.faults.frames.apply(events, self.core.now_ms):
            self._send(frame)

    def _send(self, frame: SentFrame) -> None:
        payloads: dict[bool, bytes] = {}  # raw and combined, each encoded once for all subscribers
        for connection in tuple(self.connections):
            if frame.stream not in connection.subscriptions.streams:
                continue
            combined = connection.subscriptions.combined
            if combined not in payloads:
                payloads[combined] = _encode(frame, combined)
            connection.enqueue(payloads[combined])

    def _check_connections(self) -> None:
        now_s = self._clock()
        for connection in tuple(self.connections):
            silent_s = now_s - max(connection.last_pong_s, connection.opened_s)
            if silent_s > self._pong_timeout_s or now_s - connection.opened_s > self._connection_life_s:
                connection.cut(FIN)
            elif now_s - connection.last_ping_s >= self._ping_interval_s:
                connection.ping(str(self.core.now_ms).encode())

    # sockets

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        return await self._accept(request, request.query.get("streams", ""), combined=True)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        return await self._accept(request, request.match_info.get("streams", ""), combined=False)

    async def _accept(self, request: web.Request, names: str, *, combined: bool) -> web.StreamResponse:
        transport = request.transport
        if self.faults.refuse_sockets is not None or transport is None:
            return _refuse(request, self.faults.refuse_sockets or 0)
        if len(self.connections) >= CONNECTIONS_MAX:
            return web.Response(status=503)
        # Pings are answered in our own code, because they count against the client's message rate.
        ws = web.WebSocketResponse(timeout=CLOSE_WAIT_S, autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        subscriptions = StreamSubscriptions(tuple(filter(None, names.split("/"))), combined)
        connection = StreamConnection(ws, transport, subscriptions, self.faults, self._clock, self._outbox_bytes_max)
        self.connections_opened += 1
        if subscriptions.too_many:
            await connection.close(POLICY_VIOLATION, "Too many streams")
            return ws
        self.connections[connection] = None
        try:
            await connection.serve()
        finally:
            del self.connections[connection]
        return ws


def _refuse(request: web.Request, status: int) -> web.Response:
    if not status and request.transport is not None:
        request.transport.abort()
    return web.Response(status=status or 503)


def _encode(frame: SentFrame, combined: bool) -> bytes:
    """Encode a frame. Text injected by a fault is sent as it is."""
    if isinstance(frame.data, str):
        return frame.data.encode()
    data = orjson.dumps(frame.data)
    return b'{"stream":"%b","data":%b}' % (frame.stream.encode(), data) if combined else data
