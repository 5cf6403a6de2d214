"""Shared by the tests of `web/`: the real app on the real server on a free port.

A test decorated with `on_server_loop` runs on the loop that the program itself runs on.
"""

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pulse.candle_history.coverage_meter import CoverageMeter
from pulse.candle_history.reader import CandleReader
from pulse.clock import SystemClock
from pulse.engine import Engine
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.subscriptions import Echo
from pulse.fanout.topic_stream import RunningCandles
from pulse.ingest.watchlist import no_watchlist
from pulse.latency import Latency
from pulse.market.intervals import Newest
from pulse.market.market import Market, Origin
from pulse.market.types import Instrument
from pulse.past.reader import PastReader
from pulse.queues import ConflatingQueue, make_candle_queue, make_gap_queue, make_inbox
from pulse.server.listener import open_listener, serve
from pulse.server.loop import loop_factory
from pulse.settings import Settings
from pulse.store.contract import Store
from pulse.symbols import SymbolRegistry
from pulse.web.access import Access
from pulse.web.admission import Admission
from pulse.web.app import build_app
from pulse.web.context import WebContext
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import SEND_TIMEOUT_S, OnEcho, WebSocketSessions
from pulse.wire import book_channel
from tests.support.makers import ManualClock
from tests.support.stores import MemoryStore
from tests.support.waiting import WAIT_S

INSTANCE = "0a1b2c3d"
SETTINGS = Settings(symbols=("BTCUSDT", "ETHUSDT"), requests_per_address_s=0)
ALL_CLOSED = Newest((), 4_102_444_800_000)
"""No candle is running: the current minute is in 2100."""


def on_server_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the program's own event loop class, which pytest's plugin does not use."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*args, **kwargs))

    return run


def view(
    seq: int, symbol: str = "BTCUSDT", *, instance: str = INSTANCE, token: int | None = 0, padding: int = 0
) -> bytes:
    """Return a message that begins as views do, of at least `padding` bytes; those of earlier versions had no token."""
    stamp = {"seq": seq, "instance": instance} | ({} if token is None else {"token": token})
    return orjson.dumps(stamp | {"symbol": symbol, "padding": "x" * padding})


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

    @property
    def url(self) -> str:
        """The base URL for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def feed_url(self) -> str:
        """The WebSocket URL of the default symbol's views."""
        return f"ws://127.0.0.1:{self.port}/ws/orderbook"

    def publish(self, seq: int, symbol: str = "BTCUSDT", padding: int = 0) -> None:
        """Publish a view through the hub."""
        self.hub.publish(book_channel(symbol), view(seq, symbol, padding=padding))

    async def stopped(self) -> None:
        """Stop the server and wait for its end."""
        self.stop.set()
        await asyncio.wait_for(asyncio.shield(self.task), WAIT_S)


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
        make_market, make_inbox(), ConflatingQueue(), make_candle_queue(), ConflatingQueue(), ConflatingQueue(),
        make_gap_queue(), SystemClock(), Latency("00"), publish_interval_s=0.1,
    )  # fmt: skip
    for symbol in symbols:
        engine.open(symbol)
    return engine


def no_candles(symbol: str, interval: str) -> dict[str, Any]:
    """Know no candles of intervals longer than a minute."""
    return {"candle": None, "closed_candle": None}


class Watchers:
    """What the hub tells of its subscribers: the symbols that are watched, and every call."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.calls: list[tuple[str, str]] = []

    @property
    def symbols(self) -> set[str]:
        """The symbols that have a watcher."""
        return {symbol for symbol, count in self.counts.items() if count}

    def watch(self, symbol: str) -> None:
        """Note a watcher."""
        self.counts[symbol] += 1
        self.calls.append(("watch", symbol))

    def unwatch(self, symbol: str) -> None:
        """Note that it has gone."""
        assert self.counts[symbol]
        self.counts[symbol] -= 1
        self.calls.append(("unwatch", symbol))


def make_hub(symbols: Sequence[str], running_candles: RunningCandles = no_candles) -> Hub:
    """Make a hub with these symbols open."""
    hub = Hub(INSTANCE, running_candles, Watchers())
    for symbol in symbols:
        hub.open(symbol)
    return hub


def ignore_echo(address: str, echo: Echo) -> None:
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
    access: Access | None = None,
    past: PastReader | None = None,
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
        access=access,
        past=past,
    )
    listener = open_listener("127.0.0.1", 0)
    port, stop = listener.getsockname()[1], asyncio.Event()
    task = asyncio.create_task(serve(build_app(context), listener, stop, context.hub.shut_down, settings.clients_max))
    web = Web(context.hub, context.admission, context.websockets, memory_store, port, stop, task)
    try:
        yield web
    finally:
        await web.stopped()


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
    access: Access | None = None,
    past: PastReader | None = None,
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
    kept = MemoryStore() if store is None else store
    reader = CandleReader(kept, lambda _: newest, ManualClock())
    return WebContext(
        settings=settings,
        access=Access(settings, clock) if access is None else access,
        admission=admission,
        registry=registry,
        hub=hub,
        candles=reader,
        websockets=sessions,
        sse=SseEndpoint(sessions),
        symbols=lambda: symbols,
        watchlist=no_watchlist,
        readiness=lambda: readiness,
        coverage=CoverageMeter(kept, reader, dict).report,
        latency=Latency(INSTANCE).report,
        certificates=lambda: certificates,
        past=past,
        static_dir=static_dir,
    )
