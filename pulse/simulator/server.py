"""The simulated exchange on loopback: REST and streams around the pure core, paced by a clock.

Point a feed's REST and stream addresses at it and it cannot tell the difference. It serves the demo and the tests;
tests also reach the core's truth and the faults.
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
    Connection,
)
from pulse.simulator.exchange import Exchange
from pulse.simulator.faults import Faults, Frame
from pulse.simulator.instruments import INSTRUMENTS, Instrument
from pulse.simulator.limits import WeightAccount
from pulse.simulator.payloads import REQUEST_WEIGHT_PER_MINUTE
from pulse.simulator.rest import Rest
from pulse.simulator.subscriptions import Subscriptions

log = logging.getLogger(__name__)

PACE_S = 0.025  # how often the market is lived on
STEP_MAX_MS = 2000  # of the market's time in one pass; after a long pause it catches up in many passes
PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 60.0
CONNECTION_LIFE_S = 86_400.0
CONNECTIONS_MAX = 1000
SHUTDOWN_STREAM = "!serverShutdown"
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
KNOWN_SYMBOLS = tuple(INSTRUMENTS)


class SimulatedExchange:
    """An exchange at `rest_url` and `stream_url` between `start` and `close`; may be started again on the same port.

    `core` is the market and its truth, `faults` what should go wrong, `rest` what was asked. `speed` is how many
    seconds of the market pass in one of the clock's.
    """

    def __init__(
        self,
        symbols: Iterable[str] = DEFAULT_SYMBOLS,
        *,
        known: Mapping[str, Instrument] = INSTRUMENTS,
        seed: int = 1,
        speed: float = 1.0,
        port: int = 0,
        start_ms: int | None = None,
        weight_per_minute: int = REQUEST_WEIGHT_PER_MINUTE,
        ping_interval_s: float = PING_INTERVAL_S,
        pong_timeout_s: float = PONG_TIMEOUT_S,
        connection_life_s: float = CONNECTION_LIFE_S,
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The session begins at `start_ms`, by default now. ValueError names symbols that are not among the `known`."""
        self._epoch_ms = int(time.time() * 1000) if start_ms is None else start_ms
        self._epoch_s = clock()
        self._clock = clock
        self._speed = speed
        self.port = port
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._connection_life_s = connection_life_s
        self._outbox_bytes_max = outbox_bytes_max
        self.core = Exchange(symbols, seed, self._epoch_ms, known)
        self.faults = Faults()
        self.rest = Rest(self.core, WeightAccount(weight_per_minute), self.faults)
        self.connections: dict[Connection, None] = {}  # the open ones, oldest first
        self.connections_opened = 0
        self._runner: web.AppRunner | None = None
        self._pacer: asyncio.Task[None] | None = None

    @property
    def rest_url(self) -> str:
        """Where its REST paths begin, such as http://127.0.0.1:4000."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """Where /ws and /stream are, such as ws://127.0.0.1:4000."""
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "SimulatedExchange":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on loopback and let the market live. OSError when the port is taken."""
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
        self._pacer = asyncio.create_task(self._pace(), name="simulator")

    async def close(self) -> None:
        """Stop listening, reset every socket, and let the market stand until the next start."""
        pacer, self._pacer = self._pacer, None
        runner, self._runner = self._runner, None
        if pacer is None or runner is None:
            return
        pacer.cancel()
        await asyncio.wait([pacer])
        self.cut(RST)
        await runner.cleanup()
        if not pacer.cancelled():
            pacer.result()  # it can only have failed

    async def watch(self) -> None:
        """Wait for as long as the market lives; raise what stopped it, so that it cannot stop unnoticed."""
        if self._pacer is None:
            return
        pacer = self._pacer
        await asyncio.wait([pacer])
        if not pacer.cancelled():
            pacer.result()

    def cut(self, how: str = RST) -> None:
        """Cut every open socket without a closing handshake: RST, FIN or TORN."""
        for connection in tuple(self.connections):
            connection.cut(how)

    async def close_sockets(self, code: int, reason: str = "") -> None:
        """Close every open socket with a code."""
        await asyncio.gather(*(c.close(code, reason) for c in tuple(self.connections)))

    def announce_shutdown(self) -> None:
        """Tell every client that its connection will soon be closed; nothing is closed yet."""
        event = Frame(SHUTDOWN_STREAM, {"e": "serverShutdown", "E": self.core.now_ms}, self.core.now_ms)
        for connection in self.connections:
            connection.push(_encoded(event, connection.subscriptions.combined))

    # the market's time

    async def _pace(self) -> None:
        while True:
            passed_s = self._clock() - self._epoch_s
            now_ms = self._epoch_ms + int(passed_s * 1000 * self._speed)
            self._live(min(now_ms, self.core.now_ms + STEP_MAX_MS))
            self._check_connections()
            await asyncio.sleep(PACE_S)

    def _live(self, to_ms: int) -> None:
        wanted: set[str] = set()
        for connection in self.connections:
            wanted.update(connection.subscriptions.streams)
        events = self.core.advance(to_ms, wanted)
        for frame in self.faults.frames.apply(events, self.core.now_ms):
            self._tell(frame)

    def _tell(self, frame: Frame) -> None:
        payloads: dict[bool, bytes] = {}  # raw and combined, each encoded once for all who want it
        for connection in tuple(self.connections):
            if frame.stream not in connection.subscriptions.streams:
                continue
            combined = connection.subscriptions.combined
            if combined not in payloads:
                payloads[combined] = _encoded(frame, combined)
            connection.push(payloads[combined])

    def _check_connections(self) -> None:
        now_s = self._clock()
        for connection in tuple(self.connections):
            silent_s = now_s - max(connection.pong_s, connection.opened_s)
            if silent_s > self._pong_timeout_s or now_s - connection.opened_s > self._connection_life_s:
                connection.cut(FIN)
            elif now_s - connection.ping_s >= self._ping_interval_s:
                connection.ping(str(self.core.now_ms).encode())

    # the sockets

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        return await self._accept(request, request.query.get("streams", ""), combined=True)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        return await self._accept(request, request.match_info.get("streams", ""), combined=False)

    async def _accept(self, request: web.Request, names: str, *, combined: bool) -> web.StreamResponse:
        transport = request.transport
        if self.faults.refuse_sockets is not None or transport is None:
            return _refused(request, self.faults.refuse_sockets or 0)
        if len(self.connections) >= CONNECTIONS_MAX:
            return web.Response(status=503)
        # Pings are answered by hand, because they count against the client's messages.
        ws = web.WebSocketResponse(timeout=CLOSE_WAIT_S, autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        subscriptions = Subscriptions(tuple(filter(None, names.split("/"))), combined)
        connection = Connection(ws, transport, subscriptions, self.faults, self._clock, self._outbox_bytes_max)
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


def _refused(request: web.Request, status: int) -> web.Response:
    if not status and request.transport is not None:
        request.transport.abort()
    return web.Response(status=status or 503)


def _encoded(frame: Frame, combined: bool) -> bytes:
    """A frame as bytes. Text that a fault put there goes out as it is."""
    if isinstance(frame.data, str):
        return frame.data.encode()
    data = orjson.dumps(frame.data)
    return b'{"stream":"%b","data":%b}' % (frame.stream.encode(), data) if combined else data
