"""Shared by the tests of `web/`: the real app on the real server on a free port, and clients that misbehave.

A test decorated with `on_server_loop` runs on the loop that the program itself runs on.
"""

import asyncio
import base64
import functools
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pulse.candle_history.reader import CandleReader
from pulse.clock import SystemClock
from pulse.engine import Engine
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.subscriptions import OnEcho
from pulse.fanout.topic_stream import RunningCandles
from pulse.latency import Latency
from pulse.market.intervals import Newest
from pulse.market.market import Market, Origin
from pulse.market.types import Instrument
from pulse.queues import ConflatingQueue, make_candle_queue, make_gap_queue, make_inbox
from pulse.server.listener import open_listener, serve
from pulse.server.loop import loop_factory
from pulse.settings import Settings
from pulse.store.contract import Store
from pulse.symbols import SymbolRegistry
from pulse.web.admission import Admission
from pulse.web.app import build_app
from pulse.web.context import WebContext
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import SEND_TIMEOUT_S, WebSocketSessions
from pulse.wire import book_channel
from tests.support.makers import ManualClock
from tests.support.stores import MemoryStore

INSTANCE = "0a1b2c3d"
SETTINGS = Settings(symbols=("BTCUSDT", "ETHUSDT"), requests_per_address_s=0)
WAIT_S = 5.0
"""The limit of every wait in these tests."""
ALL_CLOSED = Newest((), 4_102_444_800_000)
"""No candle is running: the current minute is in 2100."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def on_server_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the program's own event loop class, which pytest's plugin does not use."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*args, **kwargs))

    return run


def view(seq: int, symbol: str = "BTCUSDT", *, instance: str = INSTANCE, padding: int = 0) -> bytes:
    """Return a message that begins as views do, of at least `padding` bytes."""
    return orjson.dumps({"seq": seq, "instance": instance, "symbol": symbol, "padding": "x" * padding})


@dataclass
class Web:
    """A running server, its parts and its port."""

    hub: Hub
    admission: Admission
    sessions: WebSocketSessions
    store: MemoryStore
    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]
    sent_at_s: dict[int, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The base URL for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def feed_url(self) -> str:
        """The WebSocket URL of the default symbol's views."""
        return f"ws://127.0.0.1:{self.port}/ws/orderbook"

    def publish(self, seq: int, symbol: str = "BTCUSDT", padding: int = 0) -> None:
        """Publish a view through the hub and record the time."""
        self.sent_at_s[seq] = time.monotonic()
        self.hub.publish(book_channel(symbol), view(seq, symbol, padding=padding))

    async def stopped_after_s(self) -> float:
        """Stop the server and return how long that took."""
        started_s = time.monotonic()
        self.stop.set()
        await asyncio.wait_for(asyncio.shield(self.task), 2 * WAIT_S)
        return time.monotonic() - started_s


async def ask(web: Web, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    """Send one request and return status, body and headers; JSON is decoded."""
    async with aiohttp.ClientSession() as client, client.request(method, web.url + path, headers=headers) as answer:
        body: Any = await answer.read()
        if answer.content_type in ("application/json", "application/problem+json") and body:
            body = orjson.loads(body)
        return answer.status, body, answer.headers


HALTED = Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.00001, 2, 5)


def engine_of(*symbols: str) -> Engine:
    """Return an engine with these markets: the first is halted, the others are offline."""

    def make_market(symbol: str) -> Market:
        market = Market(symbol, Origin("00", "exchange", "us"), levels_max=100, trades_kept=1, stale_after_ms=5000)
        if symbol == symbols[0]:
            market.apply(HALTED, 0.0)
        return market

    engine = Engine(
        make_market, make_inbox(), ConflatingQueue(), make_candle_queue(), ConflatingQueue(), make_gap_queue(),
        SystemClock(), Latency("00"), publish_interval_s=0.1,
    )  # fmt: skip
    for symbol in symbols:
        engine.open(symbol)
    return engine


def no_candles(symbol: str, interval: str) -> dict[str, Any]:
    """Know no candles of intervals longer than a minute."""
    return {"candle": None, "closed_candle": None}


def make_hub(symbols: Sequence[str], running_candles: RunningCandles = no_candles) -> Hub:
    """Make a hub with these symbols open."""
    hub = Hub(INSTANCE, running_candles)
    for symbol in symbols:
        hub.open(symbol)
    return hub


def ignore_echo(instance: str, timestamp_s: float) -> None:
    """Ignore that a client has shown a view."""


@asynccontextmanager
async def serving(
    settings: Settings = SETTINGS,
    *,
    static_dir: Path = Path(__file__).parent,
    readiness: Mapping[str, Any] | None = None,
    send_timeout_s: float = SEND_TIMEOUT_S,
    store: Store | None = None,
    newest: Newest = ALL_CLOSED,
    symbols: Mapping[str, Any] | None = None,
    registry: SymbolRegistry | None = None,
    hub: Hub | None = None,
    on_echo: OnEcho = ignore_echo,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Web]:
    """Serve the real app with the real server on a free port of loopback. `clock` is that of its `Admission`.

    Candles come from a `MemoryStore` unless another store is given, which must be open.
    """
    memory_store = MemoryStore()
    context = make_context(
        settings,
        static_dir=static_dir,
        readiness=readiness,
        send_timeout_s=send_timeout_s,
        store=memory_store if store is None else store,
        newest=newest,
        symbols=symbols,
        registry=registry,
        hub=hub,
        on_echo=on_echo,
        clock=clock,
    )
    listener = open_listener("127.0.0.1", 0)
    port, stop = listener.getsockname()[1], asyncio.Event()
    task = asyncio.create_task(serve(build_app(context), listener, stop, context.hub.shut_down, settings.clients_max))
    web = Web(context.hub, context.admission, context.websockets, memory_store, port, stop, task)
    try:
        yield web
    finally:
        await web.stopped_after_s()


def make_context(
    settings: Settings = SETTINGS,
    *,
    static_dir: Path = Path(__file__).parent,
    readiness: Mapping[str, Any] | None = None,
    send_timeout_s: float = SEND_TIMEOUT_S,
    store: Store | None = None,
    newest: Newest = ALL_CLOSED,
    symbols: Mapping[str, Any] | None = None,
    registry: SymbolRegistry | None = None,
    hub: Hub | None = None,
    on_echo: OnEcho = ignore_echo,
    clock: Callable[[], float] = time.monotonic,
) -> WebContext:
    """Return the context of an app whose books are offline and whose reports are the given ones."""
    hub = make_hub(settings.symbols) if hub is None else hub
    registry = SymbolRegistry(settings.symbols) if registry is None else registry
    admission = Admission(settings, clock)
    scheduler = FlushScheduler(lambda _: None)
    sessions = WebSocketSessions(
        admission, registry, hub, BroadcastGroups(hub, scheduler), scheduler, on_echo, send_timeout_s=send_timeout_s
    )
    readiness = {"ready": True} if readiness is None else readiness
    if symbols is None:
        entries = [{"symbol": symbol} for symbol in settings.symbols]
        symbols = {"default": settings.symbols[0], "venue": "us", "symbols": entries}
    markets = [
        Market(symbol, Origin(INSTANCE, "exchange", "us"), levels_max=100, trades_kept=1, stale_after_ms=5000)
        for symbol in settings.symbols
    ]
    certificates = {market.symbol: market.certificate(0.0) for market in markets}
    return WebContext(
        settings=settings,
        admission=admission,
        registry=registry,
        hub=hub,
        candles=CandleReader(MemoryStore() if store is None else store, lambda _: newest, ManualClock()),
        websockets=sessions,
        sse=SseEndpoint(sessions),
        symbols=lambda: symbols,
        readiness=lambda: readiness,
        latency=Latency(INSTANCE).report,
        certificates=lambda: certificates,
        static_dir=static_dir,
    )


async def until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait until the condition holds; raise TimeoutError after the limit."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # the condition reads the server's own state
            await asyncio.sleep(0.005)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    is_compressed: bool = False,
    reserved: int = 0,
    mask: bytes = bytes(4),
) -> bytes:
    """Return a WebSocket frame as a client sends it; `reserved` are the bits RSV2 and RSV3."""
    head = bytes([is_final << 7 | is_compressed << 6 | reserved << 4 | opcode])
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if any(mask) else payload
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + mask + masked
    if len(payload) < 65536:
        return head + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + mask + masked
    return head + bytes([0x80 | 127]) + len(payload).to_bytes(8, "big") + mask + masked


async def raw_socket(port: int, receive_buffer_bytes: int = 0) -> socket.socket:
    """Return a connected non-blocking socket; a small receive buffer soon makes it a slow reader."""
    client = socket.socket()
    client.setblocking(False)
    if receive_buffer_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def upgrade(port: int, path: str = "/ws/orderbook", **headers: str) -> bytes:
    """Return an upgrade request; header names are written with underscores."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return f"GET {path} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in lines.items()) + b"\r\n"


async def raw_websocket(
    port: int, path: str = "/ws/orderbook", *, receive_buffer_bytes: int = 0, **headers: str
) -> tuple[socket.socket, str]:
    """Return an upgraded socket that sends nothing by itself, and the head of the server's answer."""
    client = await raw_socket(port, receive_buffer_bytes)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, upgrade(port, path, **headers))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await asyncio.wait_for(loop.sock_recv(client, 1), WAIT_S)
    return client, head.decode()


async def read_to_end(client: socket.socket) -> bytes:
    """Return all data up to the end of the connection, orderly or not."""
    loop, received = asyncio.get_running_loop(), b""
    try:
        while data := await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S):
            received += data
    except ConnectionError:
        pass
    return received


async def send_until_cut(client: socket.socket, data: bytes, bytes_max: int) -> int:
    """Send the same data until the connection breaks or the limit is reached; return how many bytes were sent."""
    loop, sent = asyncio.get_running_loop(), 0
    try:
        while sent < bytes_max:
            await asyncio.wait_for(loop.sock_sendall(client, data), WAIT_S)
            sent += len(data)
    except ConnectionError:
        pass
    return sent


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the complete frames in the data as (opcode, inflated payload), and the remaining bytes."""
    found, at = [], 0
    while at + 2 <= len(data):
        opcode, size, head = data[at] & 0x0F, data[at + 1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if at + head + size > len(data):
            break
        payload = data[at + head : at + head + size]
        if data[at] & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        found.append((opcode, payload))
        at += head + size
    return found, data[at:]


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the complete frames in the data as (opcode, payload)."""
    return split_frames(data)[0]


def close_code(data: bytes) -> int:
    """Return the code of the last close frame in the data, 0 if there is none."""
    codes = [int.from_bytes(payload[:2], "big") for opcode, payload in frames(data) if opcode == CLOSE]
    return codes[-1] if codes else 0
