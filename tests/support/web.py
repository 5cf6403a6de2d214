"""What the tests of the web floor share: the real app on the real server on a free port, and clients that misbehave.

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
from pulse.errors import StoreUnavailable
from pulse.fanout.hub import Hub
from pulse.latency import Latency
from pulse.market.intervals import AggregatedCandle, Interval, Newest, first_of_interval
from pulse.market.market import Market, Origin
from pulse.market.types import Candle, TradeGap
from pulse.server.listener import open_listener, serve
from pulse.server.loop import current_connection, loop_factory
from pulse.settings import Settings
from pulse.store.contract import Store
from pulse.symbols import SymbolRegistry
from pulse.web.admission import Admission
from pulse.web.app import build_app
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import SEND_TIMEOUT_S, WebSocketSessions
from pulse.wire import book_topic
from tests.support.makers import ManualClock

INSTANCE = "0a1b2c3d"
SETTINGS = Settings(symbols=("BTCUSDT", "ETHUSDT"), requests_per_address_s=0)
WAIT_S = 5.0
"""The bound of every wait in these tests."""
ALL_IS_OVER = Newest((), 4_102_444_800_000)
"""No minute is running: it is 2100."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def on_server_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the program's own kind of loop, which pytest's plugin would not choose."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*args, **kwargs))

    return run


def view(seq: int, symbol: str = "BTCUSDT", *, instance: str = INSTANCE, padding: int = 0) -> bytes:
    """A message that begins as views do, of at least `padding` bytes."""
    return orjson.dumps({"seq": seq, "instance": instance, "symbol": symbol, "padding": "x" * padding})


def candle(minute: int, symbol: str = "BTCUSDT") -> Candle:
    """A closed candle of the minute with this number since 1970."""
    return Candle(
        symbol=symbol,
        open_time_ms=minute * 60_000,
        open=1.0,
        high=4.0,
        low=0.5,
        close=2.0,
        volume=10.0,
        quote_volume=20.0,
        trade_count=3,
        taker_buy_volume=6.0,
        taker_buy_quote_volume=12.0,
        first_trade_id=1,
        last_trade_id=3,
        is_closed=True,
        source="live",
        reconciled=False,
    )


@dataclass
class Shelf:
    """A store in a list; `is_away` makes it unavailable, `asked` keeps what was asked of it."""

    candles: list[Candle] = field(default_factory=list)
    gaps: list[TradeGap] = field(default_factory=list)
    is_away: bool = False
    asked: list[tuple[str, int | None, int | None, int]] = field(default_factory=list)
    kind: str = "sqlite"

    async def open(self) -> None:
        """Nothing to open."""

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Keep them."""
        self.candles.extend(candles)

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Not asked for here."""
        raise NotImplementedError

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """The newest of the symbol, whatever the bounds: they are the real stores' matter."""
        self.asked.append((symbol, start_ms, end_ms, limit))
        if self.is_away:
            raise StoreUnavailable("the disk at /secret is full")
        return [first_of_interval(candle, interval) for candle in self.candles if candle.symbol == symbol][-limit:]

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Keep them."""
        self.gaps.extend(gaps)

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Those of the symbol, whatever the bounds: they are the real stores' matter."""
        self.asked.append((symbol, start_ms, end_ms, limit))
        if self.is_away:
            raise StoreUnavailable("the disk at /secret is full")
        return [gap for gap in self.gaps if gap.symbol == symbol]

    async def check(self) -> None:
        """Not asked for here."""

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Not asked for here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Web:
    """A running server: what it serves, where, and how to stop it."""

    hub: Hub
    sessions: WebSocketSessions
    store: Shelf
    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]
    sent_at_s: dict[int, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def feed_url(self) -> str:
        """Where it pushes the default symbol."""
        return f"ws://127.0.0.1:{self.port}/ws/orderbook"

    def publish(self, seq: int, symbol: str = "BTCUSDT", padding: int = 0) -> None:
        """Have the hub pass on a view, and note when."""
        self.sent_at_s[seq] = time.monotonic()
        self.hub.publish(book_topic(symbol), view(seq, symbol, padding=padding))

    async def stopped_after_s(self) -> float:
        """Stop it; returns how long that took."""
        started_s = time.monotonic()
        self.stop.set()
        await asyncio.wait_for(asyncio.shield(self.task), 2 * WAIT_S)
        return time.monotonic() - started_s


async def ask(web: Web, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    """Status, body and headers of one request; JSON is decoded."""
    async with aiohttp.ClientSession() as client, client.request(method, web.url + path, headers=headers) as answer:
        body: Any = await answer.read()
        if answer.content_type in ("application/json", "application/problem+json") and body:
            body = orjson.loads(body)
        return answer.status, body, answer.headers


@asynccontextmanager
async def serving(
    settings: Settings = SETTINGS,
    *,
    static_dir: Path = Path(__file__).parent,
    readiness: Mapping[str, Any] | None = None,
    send_timeout_s: float = SEND_TIMEOUT_S,
    store: Store | None = None,
    newest: Newest = ALL_IS_OVER,
    catalogue: Mapping[str, Any] | None = None,
    registry: SymbolRegistry | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Web]:
    """The real app under the real server on a free port of loopback, stopped at the end. `clock` is its door's.

    Candles come from a `Shelf` unless another store is given, which must be open.
    """
    hub = Hub(settings.symbols, INSTANCE)
    registry = SymbolRegistry(settings.symbols) if registry is None else registry
    door = Admission(settings, clock)
    sessions = WebSocketSessions(door, registry, hub, current_connection, send_timeout_s=send_timeout_s)
    shelf = Shelf()
    bars = CandleReader(shelf if store is None else store, lambda _: newest, ManualClock())
    events = SseEndpoint(hub, sessions, registry, current_connection)
    report = {"ready": True} if readiness is None else readiness
    symbols = [{"symbol": symbol} for symbol in settings.symbols]
    catalogue = {"default": settings.symbols[0], "venue": "us", "symbols": symbols} if catalogue is None else catalogue
    markets = [
        Market(symbol, Origin(INSTANCE, "exchange", "us"), levels_max=100, trades_kept=1, stale_after_ms=5000)
        for symbol in settings.symbols
    ]
    certificates = {market.symbol: market.certificate(0.0) for market in markets}
    app = build_app(
        settings,
        door,
        registry,
        hub,
        bars,
        lambda: catalogue,
        lambda: report,
        lambda: certificates,
        Latency(INSTANCE).report,
        static_dir,
        sessions,
        events,
    )
    listener = open_listener("127.0.0.1", 0)
    port, stop = listener.getsockname()[1], asyncio.Event()
    task = asyncio.create_task(serve(app, listener, stop, hub.close, settings.clients_max))
    web = Web(hub, sessions, shelf, port, stop, task)
    try:
        yield web
    finally:
        await web.stopped_after_s()


async def until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait until this holds; fails after the bound."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # what is waited for is the server's own state
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
    """A WebSocket frame as a client sends it; `reserved` are the two bits that mean nothing."""
    head = bytes([is_final << 7 | is_compressed << 6 | reserved << 4 | opcode])
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if any(mask) else payload
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + mask + masked
    if len(payload) < 65536:
        return head + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + mask + masked
    return head + bytes([0x80 | 127]) + len(payload).to_bytes(8, "big") + mask + masked


async def raw_socket(port: int, receive_buffer_bytes: int = 0) -> socket.socket:
    """A connected non-blocking socket; a small receive buffer makes a slow reader of it soon."""
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
    """The request that asks for a WebSocket; a header's name is written with underscores."""
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
    """A client that does nothing by itself, upgraded; with the head of the server's answer."""
    client = await raw_socket(port, receive_buffer_bytes)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, upgrade(port, path, **headers))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await asyncio.wait_for(loop.sock_recv(client, 1), WAIT_S)
    return client, head.decode()


async def read_to_end(client: socket.socket) -> bytes:
    """All that still comes until the connection ends, by whatever end."""
    loop, received = asyncio.get_running_loop(), b""
    try:
        while data := await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S):
            received += data
    except ConnectionError:
        pass
    return received


async def send_until_cut(client: socket.socket, data: bytes, bytes_max: int) -> int:
    """Send the same again and again until the connection breaks or the bound is reached; returns how much went."""
    loop, sent = asyncio.get_running_loop(), 0
    try:
        while sent < bytes_max:
            await asyncio.wait_for(loop.sock_sendall(client, data), WAIT_S)
            sent += len(data)
    except ConnectionError:
        pass
    return sent


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames that a server sent, opcode and payload of each, inflated, and the bytes left over."""
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
    """The whole frames that a server sent: opcode and payload of each."""
    return split_frames(data)[0]


def close_code(data: bytes) -> int:
    """The code of the close frame that ends what a server sent; 0 if there is none."""
    codes = [int.from_bytes(payload[:2], "big") for opcode, payload in frames(data) if opcode == CLOSE]
    return codes[-1] if codes else 0
