"""Symbols that come and go while the process runs: a real exchange on loopback, real feeds, the engine, bus and hub."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import orjson
import pytest
from prometheus_client import generate_latest

from pulse.binance.rate_limit import BanFile
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.bus.contract import Bus
from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus
from pulse.bus.relay import publish, subscribe
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.fanout.hub import Hub
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.live import LiveIngest
from pulse.latency import Latency
from pulse.market.market import Market, Origin
from pulse.market.types import Instrument
from pulse.queues import CandleQueue, ConflatingQueue, Outbox, make_inbox
from pulse.simulator.server import SimulatedExchange
from pulse.symbols import IDLE_AFTER_S, SymbolRegistry
from pulse.wire import book_topic, topics_of
from tests.support.web import INSTANCE

PINNED, OTHER, THIRD = "BTCUSDT", "LINKUSDT", "LTCUSDT"
WAIT_S = 15.0


class Stand:
    """All that follows symbols, on a clock of its own for who is idle."""

    def __init__(self, exchange: SimulatedExchange, session: aiohttp.ClientSession, bus: Bus) -> None:
        self.exchange = exchange
        self.now_s = 0.0
        self.changes = 0
        self.clock = SystemClock()
        self.inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.hub = Hub([PINNED], INSTANCE)
        self.bus = bus
        self.latency = Latency(INSTANCE)
        self.candles: CandleQueue = asyncio.Queue(1000)
        self.engine = Engine(
            [self.market(PINNED)], self.inbox, self.outbox, self.candles, self.clock, self.latency,
            publish_interval_s=0.08, ask_snapshot=lambda *_: None, note_gap=lambda _: None,
        )  # fmt: skip
        self.registry = SymbolRegistry([PINNED], most=3, is_heard=self.hub.is_heard, clock=lambda: self.now_s)
        self.registry.list_all([OTHER, THIRD])
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        transport = AiohttpTransport(session)
        rest = BinanceRest(transport, venue, self.clock, BanFile(None), lambda _: True)
        self.following = LiveIngest(
            self.registry, self.hub, self.bus, self.engine, self.latency, self.market,
            partial(self.feed, transport, rest, RetryGate(RECONNECT_SPACING_S)), self.changed,
        )  # fmt: skip

    def market(self, symbol: str) -> Market:
        """A market as the program makes it."""
        origin = Origin(INSTANCE, "exchange", "us")
        return Market(symbol, origin, levels_max=20_000, trades_kept=30, stale_after_ms=5000)

    def feed(self, transport: AiohttpTransport, rest: BinanceRest, gate: RetryGate, symbol: str) -> ExchangeStream:
        """A feed as the program makes it."""
        return ExchangeStream(
            symbol, transport, rest, self.inbox, self.clock, random.Random(1), retry_gate=gate, depth_limit=1000,
            stale_after_ms=5000, may_fall_back=False, audit_every_s=600.0,
        )  # fmt: skip

    def changed(self) -> None:
        """Count it."""
        self.changes += 1

    def state(self, symbol: str) -> str:
        """What the newest view of the hub says of a symbol; empty before the first."""
        payload = self.hub.latest(book_topic(symbol))
        return "" if payload is None else str(orjson.loads(payload)["state"])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)

    def connections_of(self, symbol: str) -> int:
        """How many the exchange has open for it."""
        return sum(
            any(name.startswith(symbol.lower()) for name in connection.subscriptions.streams)
            for connection in self.exchange.connections
        )

    def pass_by(self, seconds: float) -> None:
        """Let time go by for the registry, and have it look."""
        self.now_s += seconds
        self.registry.sweep()


@asynccontextmanager
async def standing(bus: Bus | None = None) -> AsyncIterator[Stand]:
    """A running stand whose pinned symbol is live."""
    bus = MemoryBus(topics_of(PINNED)) if bus is None else bus
    async with SimulatedExchange([PINNED, OTHER, THIRD], seed=7) as exchange, aiohttp.ClientSession() as session:
        stand = Stand(exchange, session, bus)
        works: list[Awaitable[None]] = [
            stand.following.run(), stand.engine.run(), publish(stand.outbox, bus),
            subscribe(bus, stand.hub, stand.latency, stand.clock),
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await stand.until(lambda: stand.state(PINNED) == "live" or any(task.done() for task in tasks))
            yield stand
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bus.close()


async def test_a_symbol_that_is_asked_for_becomes_live() -> None:
    """There is a view at once, which says why there is no more; the book follows, its trades without a gap."""
    async with standing() as stand:
        stand.registry.ask(OTHER)
        await stand.until(lambda: stand.state(OTHER) != "")
        first = stand.state(OTHER)
        await stand.until(lambda: stand.state(OTHER) == "live")
        log = stand.hub.log(OTHER)
        await stand.until(lambda: log.next_id > 0)
        view = orjson.loads(stand.hub.latest(book_topic(OTHER)) or b"")
        truth = stand.exchange.core.truth_at(OTHER, view["last_update_id"])

    assert first in ("offline", "syncing")
    assert truth is not None
    assert view["bids"] == [[float(price), float(quantity)] for price, quantity in truth.bids]
    assert stand.changes == 1


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_what_nobody_looks_at_leaves_nothing_behind(kind: str, request: pytest.FixtureRequest) -> None:
    """No connection, no task, no entry anywhere, no label."""
    bus = RedisBus(request.getfixturevalue("redis_url"), topics_of(PINNED)) if kind == "redis" else None
    async with standing(bus) as stand:
        tasks_before = {task.get_name() for task in asyncio.all_tasks()}
        stand.registry.ask(OTHER)
        await stand.until(lambda: stand.state(OTHER) == "live")
        was_told = f'symbol="{OTHER}"' in generate_latest().decode()
        stand.pass_by(IDLE_AFTER_S)
        await stand.until(lambda: stand.connections_of(OTHER) == 0)
        await asyncio.sleep(0.3)  # what was on its way has come
        tasks_after = {task.get_name() for task in asyncio.all_tasks() if OTHER in task.get_name()}
        told = generate_latest().decode()

        assert was_told
        assert f'symbol="{OTHER}"' not in told
        assert OTHER not in tasks_before
        assert tasks_after == set()
        assert stand.state(OTHER) == ""
        assert list(stand.engine.states()) == [PINNED]
        assert stand.following._feeds.keys() == stand.following._tasks.keys() == {PINNED}
        assert not any(OTHER in str(vars(part)) for part in (stand.hub, stand.bus, stand.latency, stand.engine))
        assert stand.state(PINNED) == "live"


async def test_one_that_comes_back_is_made_anew() -> None:
    """Its book is live again, under a new count of views, and the other's was never disturbed."""
    async with standing() as stand:
        for _ in range(3):
            stand.registry.ask(OTHER)
            await stand.until(lambda: stand.state(OTHER) == "live")
            stand.pass_by(IDLE_AFTER_S)
        stand.registry.ask(OTHER)
        await stand.until(lambda: stand.state(OTHER) == "live")
        states = stand.engine.states()

    assert states[PINNED]["state"] == states[OTHER]["state"] == "live"
    assert stand.registry.is_followed(OTHER)


async def test_a_stop_while_its_snapshot_is_on_its_way() -> None:
    """Nothing of it arrives afterwards, and nothing breaks."""
    async with standing() as stand:
        stand.exchange.faults.rest.hang("/api/v3/depth", 0.5, count=1)
        stand.registry.ask(OTHER)
        await stand.until(lambda: stand.connections_of(OTHER) == 1)
        stand.pass_by(IDLE_AFTER_S)
        await asyncio.sleep(0.8)

        assert stand.state(OTHER) == ""
        assert stand.connections_of(OTHER) == 0


async def test_who_takes_the_room_of_an_idle_one() -> None:
    """At the bound the one that nobody has looked at for longest goes."""
    async with standing() as stand:
        stand.registry.most = 2
        stand.registry.ask(OTHER)
        stand.now_s += 60.0
        stand.registry.ask(THIRD)
        await stand.until(lambda: stand.state(THIRD) == "live")

        assert list(stand.registry) == [PINNED, THIRD]
        assert stand.state(OTHER) == ""


async def test_a_halt_is_passed_on_to_the_feed_it_is_of() -> None:
    """Of a symbol that is not followed any more nothing is said."""
    async with standing() as stand:
        halted = Instrument(OTHER, "LINK", "USDT", "BREAK", 0.01, 0.01, 2, 2)
        stand.following.note(halted)
        stand.registry.ask(OTHER)
        stand.following.note(halted)
        feed = stand.following._feeds[OTHER]

        assert not feed._is_trading
        stand.following.ask_snapshot("NOSUCHUSDT", "nobody is there")
