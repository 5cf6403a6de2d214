"""Symbols that come and go while the process runs: a real exchange on loopback, real streams, engine, bus and hub."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from prometheus_client import generate_latest

from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.refusals import Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.bus.contract import Bus, Deliver
from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus
from pulse.bus.relay import Relay
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.fanout.hub import Hub
from pulse.ingest import live
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.live import LiveIngest, close_idle_symbols
from pulse.latency import Latency
from pulse.logs import request_id
from pulse.market.market import Market, Origin
from pulse.market.types import Instrument
from pulse.queues import (
    CandleQueue,
    ConflatingQueue,
    Outbox,
    SilentStreams,
    SnapshotRequests,
    make_candle_queue,
    make_gap_queue,
    make_inbox,
)
from pulse.simulator.server import SimulatedExchange
from pulse.stats import SymbolMetrics
from pulse.symbols import IDLE_AFTER_S, SymbolRegistry
from pulse.wire import book_channel
from tests.support.rest import make_schedule
from tests.support.waiting import until
from tests.support.web import INSTANCE, no_candles

PINNED, OTHER, THIRD = "BTCUSDT", "LINKUSDT", "LTCUSDT"


class Process:
    """Every part that keeps state per symbol, wired as the program does, with a clock of its own for idle symbols."""

    def __init__(
        self, exchange: SimulatedExchange, session: aiohttp.ClientSession, make_bus: Callable[[Deliver], Bus]
    ) -> None:
        self.exchange = exchange
        self.now_s = 0.0
        self.clock = SystemClock()
        self.inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles: CandleQueue = make_candle_queue()
        self.snapshot_requests: SnapshotRequests = ConflatingQueue()
        self.silent_streams: SilentStreams = ConflatingQueue()
        self.latency = Latency(INSTANCE)
        self.engine = Engine(
            self.make_market, self.inbox, self.outbox, self.candles, self.snapshot_requests, self.silent_streams,
            make_gap_queue(), self.clock, self.latency, publish_interval_s=0.08,
        )  # fmt: skip
        self.hub = Hub(INSTANCE, no_candles, self.engine)
        self.relay = Relay(self.outbox, self.hub.publish, self.latency, self.clock, token=self.hub.token)
        self.bus = make_bus(self.relay.deliver)
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        self.transport = AiohttpTransport(session)
        self.rest = BinanceRest(self.transport, venue, self.clock, BanFile(None), lambda _: Priority.WATCHED_BOOK)
        self.retry_gate = RetryGate(RECONNECT_SPACING_S)
        self.refusals = Refusals(venue.title)
        self.schedule = make_schedule(self.rest)
        self.ingest = LiveIngest(self.make_stream, self.inbox, self.snapshot_requests, self.silent_streams, self.clock)
        self.parts = (SymbolMetrics(), self.latency, self.relay, self.hub, self.bus, self.engine, self.ingest)
        self.registry = SymbolRegistry(
            [PINNED], running_max=3, parts=self.parts, is_watched=self.engine.is_watched, clock=lambda: self.now_s
        )
        self.registry.set_listed([OTHER, THIRD])

    def make_market(self, symbol: str) -> Market:
        """Make a market as the program does."""
        origin = Origin(INSTANCE, "exchange", "us")
        return Market(symbol, origin, levels_max=20_000, trades_kept=30, stale_after_ms=5000)

    def make_stream(self, symbol: str) -> ExchangeStream:
        """Make a stream as the program does."""
        return ExchangeStream(
            symbol, self.transport, self.rest, self.inbox, self.clock, random.Random(1), retry_gate=self.retry_gate,
            refusals=self.refusals, held=HeldBudget(), schedule=self.schedule, stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip

    def state(self, symbol: str) -> str:
        """Return the state in the hub's newest view of a symbol; empty before the first."""
        payload = self.hub.latest(book_channel(symbol))
        return "" if payload is None else str(orjson.loads(payload)["state"])

    def connections_of(self, symbol: str) -> int:
        """Return how many connections the exchange has open for a symbol."""
        return sum(
            any(name.startswith(symbol.lower()) for name in connection.subscriptions.streams)
            for connection in self.exchange.connections
        )

    def advance(self, seconds: float) -> None:
        """Let time pass for the registry, and close idle symbols."""
        self.now_s += seconds
        self.registry.close_idle()


@asynccontextmanager
async def running(make_bus: Callable[[Deliver], Bus] = MemoryBus) -> AsyncIterator[Process]:
    """Run a process whose pinned symbol is live."""
    async with SimulatedExchange([PINNED, OTHER, THIRD], seed=7) as exchange, aiohttp.ClientSession() as session:
        process = Process(exchange, session, make_bus)
        works = [process.ingest.run(), process.engine.run(), process.relay.run(process.bus)]
        tasks = [asyncio.ensure_future(work) for work in works]
        bus = asyncio.ensure_future(process.bus.run())
        try:
            await until(lambda: process.state(PINNED) == "live" or any(task.done() for task in tasks))
            yield process
            assert not any(task.done() for task in tasks)
        finally:
            for task in (*tasks, bus):
                task.cancel()
            await asyncio.gather(*tasks, bus, return_exceptions=True)
            await process.bus.aclose()


async def test_a_requested_symbol_becomes_live() -> None:
    """It has a view at once, which gives the reason why it is not live yet; its book and trades follow."""
    async with running() as process:
        process.registry.acquire(OTHER)
        await until(lambda: process.state(OTHER) != "")
        first = process.state(OTHER)
        await until(lambda: process.state(OTHER) == "live")
        log = process.hub.log(OTHER)
        await until(lambda: log.end.trade_id > 0)
        view = orjson.loads(process.hub.latest(book_channel(OTHER)) or b"")
        truth = process.exchange.core.book_at(OTHER, view["last_update_id"])

    assert first in ("offline", "syncing")
    assert truth is not None
    assert view["bids"] == [[float(price), float(quantity)] for price, quantity in truth.bids]


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_a_closed_symbol_leaves_nothing_behind(kind: str, request: pytest.FixtureRequest) -> None:
    """No connection, no task, no entry in any part, no label in /metrics."""
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""

    def make_bus(deliver: Deliver) -> Bus:
        return RedisBus(url, "pulse:us:exchange:", deliver) if url else MemoryBus(deliver)

    async with running(make_bus) as process:
        tasks_before = {task.get_name() for task in asyncio.all_tasks()}
        process.registry.acquire(OTHER)
        await until(lambda: process.state(OTHER) == "live")
        was_labelled = f'symbol="{OTHER}"' in generate_latest().decode()
        process.advance(IDLE_AFTER_S)
        await until(lambda: process.connections_of(OTHER) == 0)
        await asyncio.sleep(0.3)  # what was on its way has arrived
        tasks_after = {task.get_name() for task in asyncio.all_tasks() if OTHER in task.get_name()}
        metrics = generate_latest().decode()

        assert was_labelled
        assert f'symbol="{OTHER}"' not in metrics
        assert OTHER not in tasks_before
        assert tasks_after == set()
        assert process.state(OTHER) == ""
        assert list(process.engine.states()) == [PINNED]
        assert process.ingest._streams.keys() == process.ingest._tasks.keys() == {PINNED}
        assert not any(OTHER in str(vars(part)) for part in process.parts)
        assert process.state(PINNED) == "live"


async def test_a_symbol_may_be_opened_again() -> None:
    """Its book is live again, and the other symbol is not disturbed."""
    async with running() as process:
        for _ in range(3):
            process.registry.acquire(OTHER)
            await until(lambda: process.state(OTHER) == "live")
            process.advance(IDLE_AFTER_S)
        process.registry.acquire(OTHER)
        await until(lambda: process.state(OTHER) == "live")
        states = process.engine.states()

    assert states[PINNED]["state"] == states[OTHER]["state"] == "live"
    assert process.registry.is_running(OTHER)


async def test_a_symbol_may_be_closed_while_its_snapshot_is_fetched() -> None:
    """Nothing of it arrives afterwards, and nothing breaks."""
    async with running() as process:
        process.exchange.faults.rest.hang("/api/v3/depth", 0.5, count=1)
        process.registry.acquire(OTHER)
        await until(lambda: process.connections_of(OTHER) == 1)
        process.advance(IDLE_AFTER_S)
        await asyncio.sleep(0.8)

        assert process.state(OTHER) == ""
        assert process.connections_of(OTHER) == 0


async def test_a_stream_does_not_keep_the_id_of_the_request_that_opened_it(caplog: pytest.LogCaptureFixture) -> None:
    """It runs on when that request is long over; the line of the opening itself belongs to the request."""
    caplog.set_level(logging.INFO)
    seen: dict[str, str] = {}

    def note(record: logging.LogRecord) -> bool:
        seen[record.getMessage().partition(" venue")[0].partition(" running")[0]] = request_id.get()
        return True

    async with running() as process:
        caplog.handler.addFilter(note)
        token = request_id.set("ab")
        process.registry.acquire(OTHER)
        request_id.reset(token)
        await until(lambda: process.state(OTHER) == "live")

    assert seen[f"symbol opened symbol={OTHER}"] == "ab"
    assert seen[f"feed up symbol={OTHER}"] == ""


async def test_an_idle_symbol_makes_room_for_another() -> None:
    """At the bound, the symbol that was requested longest ago is closed."""
    async with running() as process:
        process.registry.running_max = 2
        process.registry.acquire(OTHER)
        process.now_s += 60.0
        process.registry.acquire(THIRD)
        await until(lambda: process.state(THIRD) == "live")

        assert list(process.registry) == [PINNED, THIRD]
        assert process.state(OTHER) == ""


async def test_a_halt_reaches_the_stream_and_the_market_of_its_symbol() -> None:
    """A symbol that is not running is ignored."""
    async with running() as process:
        halted = Instrument(OTHER, "LINK", "USDT", "BREAK", 0.01, 0.01, 2, 2)
        await process.ingest.on_instrument(halted)
        process.registry.acquire(OTHER)
        await process.ingest.on_instrument(halted)
        await until(lambda: process.state(OTHER) == "halted")

        assert not process.ingest._streams[OTHER]._is_trading


async def test_a_snapshot_request_of_the_engine_reaches_its_stream() -> None:
    """One for a symbol that was closed meanwhile is ignored."""
    async with running() as process:
        process.snapshot_requests.put("NOSUCHUSDT", "it is not open")
        audits = process.engine.certificates()[PINNED].proof.audits
        process.snapshot_requests.put(PINNED, "the price comes near the end of the known part of the book")
        await until(lambda: process.engine.certificates()[PINNED].proof.audits > audits)


async def test_silent_stream_is_subscribed_to_again() -> None:
    """The engine's report reaches the symbol's connection; one for a symbol that was closed meanwhile is ignored."""
    async with running() as process:
        trades = f"{PINNED.lower()}@aggTrade"
        connection = next(iter(process.exchange.connections))
        process.silent_streams.put(("NOSUCHUSDT", "trade"), "it is not open")
        process.silent_streams.put((PINNED, "trade"), "the exchange's candle has trades that have not come")
        await until(lambda: list(connection.subscriptions.streams)[-1] == trades)


async def test_idle_symbols_are_closed_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is asked again and again."""
    monkeypatch.setattr(live, "CLOSE_IDLE_EVERY_S", 0.001)
    now_s = 0.0
    registry = SymbolRegistry([PINNED], running_max=2, clock=lambda: now_s)
    registry.set_listed([OTHER])
    registry.acquire(OTHER)
    task = asyncio.create_task(close_idle_symbols(registry))
    now_s = IDLE_AFTER_S
    await until(lambda: not registry.is_running(OTHER))
    task.cancel()
