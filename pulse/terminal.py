"""The roof: builds every part, starts every task, and owns the order in which they stop. Reads as a story.

It is the one place that sees everything, and it decides nothing that a part could decide.
"""

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from pulse.binance.rate_limit import BanFile
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import VENUES, Venue, venue_of
from pulse.bus.contract import Bus
from pulse.bus.memory import MemoryBus
from pulse.bus.relay import publish, subscribe
from pulse.candle_history.reader import CandleReader, RunningCandles
from pulse.candle_history.reconciler import CandleReconciler
from pulse.candle_history.retention import Retention
from pulse.candle_history.spool import Spool
from pulse.candle_history.writer import CandleWriter
from pulse.clock import Clock, ReplayClock, SystemClock
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.errors import ExchangeRefused, SettingsError, StoreUnavailable
from pulse.fanout.hub import Hub
from pulse.ingest.clock_sync import sync_clock
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.instruments import InstrumentPoller
from pulse.ingest.live import LiveIngest
from pulse.ingest.recording import Recording
from pulse.ingest.replay import Replay
from pulse.latency import Latency
from pulse.market.market import Market, Origin
from pulse.market.types import CandleMismatch, Instrument, TradeGap
from pulse.queues import ConflatingQueue, Inbox, Outbox, Received, make_candle_queue, make_gap_queue, make_inbox
from pulse.server import gc_tuning
from pulse.server.connection import current_connection, loop_factory
from pulse.server.listener import open_listener, serve
from pulse.settings import Settings
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.server import SimulatedExchange
from pulse.store.contract import Store
from pulse.store.sqlite import SqliteStore
from pulse.symbols import SymbolRegistry
from pulse.web.admission import Admission
from pulse.web.api.status import ReadinessReport, SymbolsReport, watch_clients, watch_latency
from pulse.web.app import build_app
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import WebSocketSessions
from pulse.wire import topics_of

log = logging.getLogger(__name__)

LAST_RESORT_S = 4.5
"""A process that was told to stop is gone after this long, whatever hangs."""
SIMULATION, REPLAY = "simulation", "replay"

Work = dict[str, Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _House:
    """What the parts that follow an exchange stand on."""

    registry: SymbolRegistry
    hub: Hub
    bus: Bus
    engine: Engine
    latency: Latency
    store: Store
    make_market: Callable[[str], Market]


@dataclass(frozen=True)
class Plan:
    """What this run follows: the exchange, the simulator or a recording."""

    source: str
    symbols: tuple[str, ...]
    recording: Recording | None = None
    speed: float = 1.0
    seed: int = 1


def start(settings: Settings, plan: Plan) -> None:
    """Run the terminal until SIGTERM or SIGINT. Raises SettingsError for what its owner must change."""
    venue = venue_of(settings.venue, settings.rest_url, settings.stream_url)
    fallback = VENUES.get(settings.fallback_venue) if plan.source == "exchange" else None
    try:
        _run_on(venue, settings, plan, may_fall_back=fallback is not None)
    except ExchangeRefused as refusal:
        if fallback is None:
            raise
        log.warning("venue refused, falling back venue=%s reason=%s", fallback.name, refusal)
        _run_on(fallback, settings, plan, may_fall_back=False)


def _run_on(venue: Venue, settings: Settings, plan: Plan, *, may_fall_back: bool) -> None:
    try:
        with (
            open_listener(settings.host, settings.port) as listener,
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(Terminal(settings, plan, venue, listener, may_fall_back).run())
    except* (SettingsError, ExchangeRefused) as group:
        expected = _first(group)
    else:
        return
    raise expected


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """One of what is in a group, or in the groups within it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class Terminal:
    """One run of everything, on one venue."""

    def __init__(
        self, settings: Settings, plan: Plan, venue: Venue, listener: socket.socket, may_fall_back: bool
    ) -> None:
        self.settings = replace(settings, symbols=plan.symbols)
        self.plan = plan
        self.venue = venue if plan.source == "exchange" else replace(venue, name=plan.source, title="the simulator")
        self.listener = listener
        self.may_fall_back = may_fall_back
        self.replay_clock = ReplayClock()
        self.clock: Clock = SystemClock() if plan.recording is None else self.replay_clock
        self.inbox: Inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles = make_candle_queue()
        self.gaps = make_gap_queue()
        self.instruments: dict[str, Instrument] = dict(plan.recording.instruments) if plan.recording else {}
        self.following: LiveIngest | None = None  # a recording has no exchange to follow, nor to ask
        self.reconciler: CandleReconciler | None = None

    async def run(self) -> None:
        """Open the resources, start the tasks, wait for the end, stop in order."""
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        async with AsyncExitStack() as resources:
            origin = Origin(secrets.token_hex(4), self.plan.source, self.venue.name)
            hub = Hub(self.plan.symbols, origin.instance)
            registry = self._make_roster(hub)
            bus = self._open_bus([topic for symbol in registry for topic in topics_of(symbol)])
            resources.push_async_callback(bus.close)
            store = await self._open_store(resources)
            writer = CandleWriter(self.candles, store, self._make_spool(resources))
            latency = Latency(origin.instance)
            make_market = partial(self._make_market, origin)
            engine = self._make_engine(make_market, latency)
            if self.plan.recording is not None:
                replay = Replay(self.plan.recording, self.inbox, self.replay_clock, self.plan.speed)
                work: Work = {"replay": replay.run()}
            else:
                house = _House(registry, hub, bus, engine, latency, store, make_market)
                work = await self._live_work(house, resources)
            work |= {
                "engine": engine.run(),
                "publisher": publish(self.outbox, bus),
                "subscriber": subscribe(bus, hub, latency, self.clock),
                "writer": writer.run(),
            }
            if self.settings.retention_days:
                work["retention"] = Retention(store, self.settings.retention_days, self.clock).run()
            bars = CandleReader(store, engine.newest, self.clock)
            running = RunningCandles(bars, time.monotonic)
            hub.bars = running.now
            work["running"] = running.run()
            door = Admission(self.settings, time.monotonic)
            sessions = WebSocketSessions(door, registry, hub, current_connection)
            work["scheduler"] = sessions.scheduler.watch()
            watch_latency(latency, sessions, self.clock)
            watch_clients(sessions, hub)
            app = build_app(
                self.settings, door, registry, hub, bars,
                SymbolsReport(self.venue.name, self.plan.source, registry, engine, self.instruments, self._history),
                ReadinessReport(registry, engine, bus, store, writer), engine.certificates, latency.report,
                _assets("static"), sessions, SseEndpoint(hub, sessions, registry, current_connection),
            )  # fmt: skip
            resources.enter_context(gc_tuning.frozen_gc())
            work["garbage"] = gc_tuning.collect_full_periodically()
            self._greet()
            server = asyncio.create_task(
                serve(app, self.listener, stop, hub.close, self.settings.clients_max), name="web"
            )
            try:
                await _run_until_stopped(work, server, stop)
            finally:
                _arm_last_resort()
                stop.set()  # no new connections; sessions say goodbye
                await asyncio.create_task(writer.aclose())  # its time-out needs a task that no group has marked
                await server

    # --- what is opened

    def _make_roster(self, hub: Hub) -> SymbolRegistry:
        most = 0 if self.plan.recording else self.settings.symbols_max
        return SymbolRegistry(self.plan.symbols, most=most, is_heard=hub.is_heard, clock=time.monotonic)

    def _open_bus(self, topics: Sequence[str]) -> Bus:
        if not self.settings.redis_url:
            return MemoryBus(topics)
        # redis-py costs 19 MB of memory, so it is imported only where it is used.
        from pulse.bus.redis import RedisBus

        return RedisBus(self.settings.redis_url, topics)

    async def _open_store(self, resources: AsyncExitStack) -> Store:
        store: Store
        if self.settings.database_url:
            # psycopg is imported only where it is used, as redis-py is.
            from pulse.store.postgres import PostgresStore

            store = PostgresStore(self.settings.database_url, self.venue.name, _assets("sql"))
        else:
            store = SqliteStore(self._place(resources, self.settings.sqlite_path), self.venue.name, _assets("sql"))
        try:
            await store.open()
        except StoreUnavailable as fault:
            raise SettingsError(str(fault)) from fault
        resources.push_async_callback(store.aclose)
        return store

    def _make_spool(self, resources: AsyncExitStack) -> Spool:
        """One a venue: a candle that waits does not say which it is of."""
        path = self._place(resources, self.settings.spool_path)
        return Spool(path.with_name(f"{path.stem}.{self.venue.name}{path.suffix}"))

    def _place(self, resources: AsyncExitStack, path: str) -> Path:
        """Where a file is kept; what a demo or a replay shows is not kept beside what is real."""
        if self.plan.source == "exchange":
            return Path(path)
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="pulse-"))
        return Path(folder) / Path(path).name

    # --- what the views are made from

    async def _open_simulator(self, resources: AsyncExitStack) -> SimulatedExchange:
        try:
            exchange = SimulatedExchange(dict.fromkeys((*self.plan.symbols, *INSTRUMENTS)), seed=self.plan.seed)
        except ValueError as fault:
            raise SettingsError(f"PULSE_SYMBOLS: {fault}.") from fault
        await resources.enter_async_context(exchange)
        self.venue = replace(self.venue, rest_url=exchange.rest_url, stream_url=exchange.stream_url)
        return exchange

    async def _live_work(self, house: "_House", resources: AsyncExitStack) -> Work:
        """The feeds, and what keeps their instruments and their candles whole."""
        work: Work = {}
        if self.plan.source == SIMULATION:
            exchange = await self._open_simulator(resources)
            work["simulator"] = exchange.watch()
        transport = AiohttpTransport(await resources.enter_async_context(aiohttp.ClientSession()))
        bans = BanFile(None if self.plan.source == SIMULATION else Path(self.settings.state_path))
        rest = BinanceRest(transport, self.venue, self.clock, bans, house.hub.is_heard)
        catalogue = InstrumentPoller(house.registry, rest, self._note_instrument, self.may_fall_back)
        await catalogue.open()
        self.reconciler = CandleReconciler(
            rest, house.store, self.candles, self.gaps, self._tell_mismatch,
            days=self.settings.past_days, rng=random.Random(),
        )  # fmt: skip
        for symbol in house.registry:
            self.reconciler.open(symbol)
        self.following = LiveIngest(
            house.registry, house.hub, house.bus, house.engine, house.latency, house.make_market,
            partial(self._make_feed, transport, rest, RetryGate(RECONNECT_SPACING_S)), catalogue.look_soon,
        )  # fmt: skip
        self._reconcile_with(house.registry, self.reconciler)
        for instrument in catalogue.instruments.values():
            self.following.note(instrument)
        return work | {
            "following": self.following.run(),
            "catalogue": catalogue.run(),
            "timekeeper": sync_clock(rest, house.latency.offset),
            "reconciler": self.reconciler.run(),
        }

    def _make_feed(
        self, transport: AiohttpTransport, rest: BinanceRest, comeback: RetryGate, symbol: str
    ) -> ExchangeStream:
        return ExchangeStream(
            symbol, transport, rest, self.inbox, self.clock, random.Random(),
            comeback=comeback,
            depth_limit=self.settings.depth_limit,
            stale_after_ms=self.settings.stale_after_s * 1000,
            may_fall_back=self.may_fall_back,
            audit_every_s=self.settings.audit_every_s,
        )  # fmt: skip

    async def _note_instrument(self, instrument: Instrument) -> None:
        self.instruments[instrument.symbol] = instrument
        if self.following is not None:
            self.following.note(instrument)
        await self.inbox.put(Received(instrument.symbol, instrument, self.clock.now_ms()))

    async def _tell_mismatch(self, symbol: str, mismatch: CandleMismatch) -> None:
        await self.inbox.put(Received(symbol, mismatch, self.clock.now_ms()))

    def _make_market(self, origin: Origin, symbol: str) -> Market:
        return Market(
            symbol, origin,
            levels_max=self.settings.levels_max,
            trades_kept=self.settings.trades_kept,
            stale_after_ms=self.settings.stale_after_s * 1000,
        )  # fmt: skip

    def _make_engine(self, make_market: Callable[[str], Market], latency: Latency) -> Engine:
        return Engine(
            map(make_market, self.plan.symbols), self.inbox, self.outbox, self.candles, self.clock, latency,
            publish_interval_s=self.settings.publish_interval_ms / 1000,
            ask_snapshot=self._ask_snapshot,
            note_gap=self._note_gap,
        )  # fmt: skip

    def _ask_snapshot(self, symbol: str, reason: str) -> None:
        if self.following is not None:
            self.following.ask_snapshot(symbol, reason)

    def _reconcile_with(self, registry: SymbolRegistry, reconciler: CandleReconciler) -> None:
        """Have the reconciler open and close each symbol after the registry's other hooks."""
        start, stop = registry.on_start, registry.on_stop

        def open_symbol(symbol: str) -> None:
            start(symbol)
            reconciler.open(symbol)

        def close_symbol(symbol: str) -> None:
            reconciler.close(symbol)
            stop(symbol)

        registry.on_start, registry.on_stop = open_symbol, close_symbol

    def _note_gap(self, gap: TradeGap) -> None:
        if not self.gaps.full():
            self.gaps.put_nowait(gap)

    def _history(self) -> dict[str, dict[str, int]]:
        return {} if self.reconciler is None else self.reconciler.progress()

    def _greet(self) -> None:
        host, port = self.listener.getsockname()[:2]
        shown = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
        sys.stdout.write(f"Pulse Terminal: http://{f'[{shown}]' if ':' in shown else shown}:{port}\n")
        sys.stdout.flush()


async def _run_until_stopped(work: Work, server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Run every task until `stop`; the first that fails ends all of them."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(coroutine, name=name) for name, coroutine in work.items()]
        running.append(tasks.create_task(_guard(server, stop), name="web-watch"))
        await stop.wait()
        log.info("stopping")
        for task in running:
            task.cancel()


async def _guard(server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Let the server's own end, which nobody asked for, end the process."""
    await asyncio.shield(server)
    if not stop.is_set():
        raise RuntimeError("the web server ended by itself")


def _arm_last_resort() -> None:
    """See to it that nothing that hangs while stopping keeps the process alive."""
    code = 0 if sys.exc_info()[0] is None else 1
    timer = threading.Timer(LAST_RESORT_S, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _assets(name: str) -> Path:
    """A folder that is installed with the package, or stands beside it in a checkout."""
    here = Path(__file__).parent
    return here / name if (here / name).is_dir() else here.parent / name
