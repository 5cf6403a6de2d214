"""The composition root: builds every part, starts every task, and owns the order in which they stop.

It is the one place that knows every part, and it decides nothing that a part could decide.
"""

import asyncio
import hashlib
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
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pulse.binance.rate_limit import BanFile
from pulse.binance.refusals import Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport, open_session
from pulse.binance.venues import VENUES, Venue, venue_of
from pulse.bus.contract import Bus, Deliver
from pulse.bus.memory import MemoryBus
from pulse.bus.relay import Relay
from pulse.candle_history.gap_writer import GapWriter
from pulse.candle_history.reader import CandleReader, RunningCandles
from pulse.candle_history.reconciler import CandleReconciler
from pulse.candle_history.retention import Retention
from pulse.candle_history.sessions import PastSessions, SessionStore, session_venue
from pulse.candle_history.spool import Spool
from pulse.candle_history.writer import CandleWriter
from pulse.clock import Clock, ReplayClock, SystemClock
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.errors import ExchangeRefused, SettingsError, StoreUnavailable
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.ingest.clock_sync import sync_clock
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.instruments import InstrumentPoller
from pulse.ingest.live import LiveIngest, close_idle_symbols
from pulse.ingest.recording import Recording
from pulse.ingest.replay import Replay
from pulse.latency import Latency
from pulse.market.market import Market, Origin
from pulse.market.types import CandleMismatch, Instrument
from pulse.queues import (
    ConflatingQueue,
    Outbox,
    Received,
    SilentStreams,
    SnapshotRequests,
    make_candle_queue,
    make_gap_queue,
    make_inbox,
)
from pulse.server import gc_tuning
from pulse.server.listener import App, open_listener, serve
from pulse.server.loop import loop_factory
from pulse.settings import Settings
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.server import SimulatedExchange
from pulse.stats import SymbolMetrics
from pulse.store.contract import Store
from pulse.store.sqlite import SqliteStore
from pulse.symbols import SymbolLifecycle, SymbolRegistry
from pulse.web.admission import Admission
from pulse.web.api.status import ReadinessReport, register_gauges
from pulse.web.api.symbols import SymbolsReport
from pulse.web.app import build_app
from pulse.web.context import WebContext
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import WebSocketSessions
from pulse.wire import bus_prefix

log = logging.getLogger(__name__)

LAST_RESORT_S = 4.5
"""A process that was told to stop is gone after this long, whatever hangs."""
SIMULATION = "simulation"

Work = dict[str, Callable[[], Coroutine[Any, Any, None]]]
"""What is started as a task, by the task's name."""


@dataclass(frozen=True)
class Plan:
    """What this run shows: the exchange, the simulator or a recording."""

    source: str
    symbols: tuple[str, ...]
    recording: Recording | None = None
    speed: float = 1.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Source:
    """Where market events come from, and what comes with it.

    `parts` follow the lifecycle of symbols, `history` gives each symbol's progress through its past, and `load` asks
    the exchange for its symbols before anything is started.
    """

    parts: Sequence[SymbolLifecycle]
    work: Work
    instruments: Mapping[str, Instrument]
    history: Callable[[], Mapping[str, Mapping[str, int]]]
    load: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a running terminal that the web app and the tasks are made from."""

    registry: SymbolRegistry
    source: _Source
    engine: Engine
    relay: Relay
    bus: Bus
    hub: Hub
    store: Store
    writer: CandleWriter
    reader: CandleReader
    running_candles: RunningCandles


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
    last_resort = _LastResort()
    try:
        with (
            open_listener(settings.host, settings.port) as listener,
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(Terminal(settings, plan, venue, listener, may_fall_back, last_resort).run())
    except* (SettingsError, ExchangeRefused) as group:
        expected = _first(group)
    else:
        return
    if may_fall_back:
        last_resort.disarm()  # everything of this run has ended, and the process goes on
    raise expected


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """Return the first exception of a group, or of the groups within it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class Terminal:
    """One run of everything, on one venue."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        venue: Venue,
        listener: socket.socket,
        may_fall_back: bool,
        last_resort: "_LastResort",
    ) -> None:
        self.settings = replace(settings, symbols=plan.symbols)
        self.plan = plan
        self.venue = venue if plan.source == "exchange" else replace(venue, name=plan.source, title="the simulator")
        self.listener = listener
        self.may_fall_back = may_fall_back
        self.last_resort = last_resort
        self.replay_clock = ReplayClock()
        self.clock: Clock = SystemClock() if plan.recording is None else self.replay_clock
        self.origin = Origin(secrets.token_hex(4), plan.source, self.venue.name)
        self.session_venue = session_venue(plan.source, time.time(), self.origin.instance)
        self.latency = Latency(self.origin.instance, is_real_time=plan.recording is None or plan.speed == 1.0)
        self.inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles = make_candle_queue()
        self.snapshot_requests: SnapshotRequests = ConflatingQueue()
        self.silent_streams: SilentStreams = ConflatingQueue()
        self.gaps = make_gap_queue()

    async def run(self) -> None:
        """Open the resources, build the parts, start the tasks, wait for the end, stop in order."""
        stop, opening = asyncio.Event(), asyncio.current_task()

        def request_stop() -> None:
            nonlocal opening
            stop.set()
            if opening is not None:  # an exchange or a database that does not answer holds up no stop
                opening.cancel()
                opening = None

        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, request_stop)
        async with AsyncExitStack() as resources:
            try:
                parts = await self._open_parts(resources)
            except asyncio.CancelledError:
                if not stop.is_set():
                    raise
                log.info("stopping")
                self.last_resort.arm()
                return
            opening = None
            scheduler = FlushScheduler(self._on_flushed)
            app = self._make_app(parts, scheduler)
            work = self._work(parts, scheduler)
            resources.enter_context(gc_tuning.frozen_gc())
            self._print_address()
            server = asyncio.create_task(
                serve(
                    app,
                    self.listener,
                    stop,
                    parts.hub.shut_down,
                    self.settings.clients_max,
                    None if self.settings.trusted_hops else self.settings.clients_per_address_max,
                ),
                name="web",
            )
            try:
                await _run_until_stopped(work, server, stop)
            finally:
                self.last_resort.arm()
                stop.set()  # no new connections; sessions are closed
                await asyncio.create_task(parts.writer.aclose())  # its time-out needs a task that no group has marked
                await server

    async def _open_parts(self, resources: AsyncExitStack) -> _Parts:
        """Build everything up to the web app. Raises SettingsError, and ExchangeRefused where another venue is left."""
        store = await self._open_store(resources)
        writer = CandleWriter(self.candles, store, self._make_spool(resources))
        engine = self._make_engine()
        reader = CandleReader(store, engine.newest, self.clock)
        running_candles = RunningCandles(reader, time.monotonic)
        hub = Hub(self.origin.instance, running_candles.now)
        relay = Relay(self.outbox, hub.publish, self.latency, self.clock)
        bus = self._make_bus(relay.deliver)
        resources.push_async_callback(bus.aclose)
        source = await self._open_source(hub, store, lambda names: registry.set_listed(names), resources)
        registry = SymbolRegistry(
            self.plan.symbols,
            running_max=0 if self.plan.recording else self.settings.symbols_max,
            parts=(SymbolMetrics(), self.latency, relay, hub, bus, engine, *source.parts),
            is_watched=hub.is_watched,
            clock=time.monotonic,
        )
        if source.load is not None:
            await source.load()
        return _Parts(registry, source, engine, relay, bus, hub, store, writer, reader, running_candles)

    def _make_app(self, parts: _Parts, scheduler: FlushScheduler) -> App:
        admission = Admission(self.settings, time.monotonic)
        groups = BroadcastGroups(parts.hub, scheduler)
        sessions = WebSocketSessions(admission, parts.registry, parts.hub, groups, scheduler, self._on_echo)
        register_gauges(admission, sessions, parts.hub, self.latency)
        source = parts.source
        return build_app(
            WebContext(
                settings=self.settings,
                admission=admission,
                registry=parts.registry,
                hub=parts.hub,
                candles=parts.reader,
                websockets=sessions,
                sse=SseEndpoint(sessions),
                symbols=SymbolsReport(
                    self.venue.name, self.plan.source, parts.registry, parts.engine, source.instruments, source.history
                ),
                readiness=ReadinessReport(
                    parts.registry, parts.engine, parts.bus, parts.store, parts.writer, self.latency.offset
                ),
                latency=self.latency.report,
                certificates=parts.engine.certificates,
                static_dir=_assets("static"),
            )
        )

    def _work(self, parts: _Parts, scheduler: FlushScheduler) -> Work:
        work = parts.source.work | {
            "engine": parts.engine.run,
            "relay": partial(parts.relay.run, parts.bus),
            "bus": parts.bus.run,
            "candle-writer": parts.writer.run,
            "running-candles": parts.running_candles.run,
            "flush-watch": scheduler.watch,
            "idle-symbols": partial(close_idle_symbols, parts.registry),
            "full-gc": gc_tuning.collect_full_periodically,
        }
        if self.settings.retention_days:
            work["retention"] = Retention(parts.store, self.settings.retention_days, self._exchange_ms).run
        if isinstance(parts.store, SessionStore):
            work["past-sessions"] = PastSessions(parts.store, self.session_venue, SystemClock()).run
        return work

    # --- what is opened

    def _make_bus(self, deliver: Deliver) -> Bus:
        if not self.settings.redis_url:
            return MemoryBus(deliver)
        # redis-py costs 19 MB of memory, so it is imported only where it is used.
        from pulse.bus.redis import RedisBus

        return RedisBus(self.settings.redis_url, self._bus_prefix(), deliver)

    def _bus_prefix(self) -> str:
        """Return what this run's names on the bus begin with.

        A demo or a replay is alone in its namespace: two of them show different sessions. A venue whose addresses are
        replaced is another venue than that of its name, unless they are replaced by the same.
        """
        namespace, venue = self.settings.namespace, self.venue.name
        if self.plan.source != "exchange":
            namespace = f"{namespace}-{self.origin.instance}"
        elif self.venue != VENUES[venue]:
            addresses = f"{self.venue.rest_url} {self.venue.stream_url}".encode()
            venue = f"{venue}-{hashlib.blake2b(addresses, digest_size=4).hexdigest()}"
        return bus_prefix(namespace, venue, self.plan.source)

    async def _open_store(self, resources: AsyncExitStack) -> Store:
        store: Store
        if self.settings.database_url:
            # psycopg is imported only where it is used, as redis-py is.
            from pulse.store.postgres import PostgresStore

            venue = self.venue.name if self.plan.source == "exchange" else self.session_venue
            store = PostgresStore(self.settings.database_url, venue, _assets("sql"))
        else:
            store = SqliteStore(self._file(resources, self.settings.sqlite_path), self.venue.name, _assets("sql"))
        try:
            await store.open()
        except StoreUnavailable as fault:
            raise SettingsError(str(fault)) from fault
        resources.push_async_callback(store.aclose)
        return store

    def _make_spool(self, resources: AsyncExitStack) -> Spool:
        """Make the spool of this venue: a candle that waits does not name its venue."""
        path = self._file(resources, self.settings.spool_path)
        return Spool(path.with_name(f"{path.stem}.{self.venue.name}{path.suffix}"))

    def _file(self, resources: AsyncExitStack, path: str) -> Path:
        """Return where a file is kept; a demo or a replay keeps its files apart from the real ones, temporarily."""
        if self.plan.source == "exchange":
            return Path(path)
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="pulse-"))
        return Path(folder) / Path(path).name

    # --- what views are made from

    def _make_engine(self) -> Engine:
        return Engine(
            self._make_market, self.inbox, self.outbox, self.candles, self.snapshot_requests, self.silent_streams,
            self.gaps, self.clock, self.latency, publish_interval_s=self.settings.publish_interval_ms / 1000,
        )  # fmt: skip

    def _make_market(self, symbol: str) -> Market:
        return Market(
            symbol, self.origin,
            levels_max=self.settings.levels_max,
            trades_kept=self.settings.trades_kept,
            stale_after_ms=self.settings.stale_after_s * 1000,
        )  # fmt: skip

    async def _open_source(
        self, hub: Hub, store: Store, on_listing: Callable[[Iterable[str]], None], resources: AsyncExitStack
    ) -> _Source:
        if self.plan.recording is not None:
            replay = Replay(self.plan.recording, self.inbox, self.replay_clock, self.plan.speed)
            work: Work = {"replay": replay.run, "gap-writer": GapWriter(self.gaps, store).run}
            return _Source((replay,), work, self.plan.recording.instruments, dict)
        work = {}
        if self.plan.source == SIMULATION:
            work["simulator"] = (await self._open_simulator(resources)).watch
        transport = AiohttpTransport(await resources.enter_async_context(open_session()))
        bans = BanFile(None if self.plan.source == SIMULATION else Path(self.settings.state_path))
        rest = BinanceRest(transport, self.venue, self.clock, bans, hub.is_watched)
        retry_gate, refusals = RetryGate(RECONNECT_SPACING_S), Refusals(self.venue.title)
        ingest = LiveIngest(
            lambda symbol: self._make_stream(symbol, transport, rest, retry_gate, refusals),
            self.inbox, self.snapshot_requests, self.silent_streams, self.clock,
        )  # fmt: skip
        is_fixed = self.settings.symbols_max <= len(self.plan.symbols)
        poller = InstrumentPoller(
            self.plan.symbols, rest,
            on_change=ingest.on_instrument,
            on_listing=None if is_fixed else on_listing,
            may_fall_back=self.may_fall_back,
        )  # fmt: skip
        reconciler = CandleReconciler(
            rest, store, self.candles, self.gaps, self._on_mismatch, days=self.settings.past_days, rng=random.Random()
        )
        work |= {
            "ingest": ingest.run,
            "instruments": poller.run,
            "clock-sync": partial(sync_clock, rest, self.latency.offset),
            "candle-reconciler": reconciler.run,
        }
        parts = (ingest, poller, reconciler)
        return _Source(parts, work, poller.instruments, reconciler.progress, poller.load)

    async def _open_simulator(self, resources: AsyncExitStack) -> SimulatedExchange:
        try:
            exchange = SimulatedExchange(dict.fromkeys((*self.plan.symbols, *INSTRUMENTS)), seed=self.plan.seed)
        except ValueError as fault:
            raise SettingsError(f"PULSE_SYMBOLS: {fault}.") from fault
        await resources.enter_async_context(exchange)
        self.venue = replace(self.venue, rest_url=exchange.rest_url, stream_url=exchange.stream_url)
        return exchange

    def _make_stream(
        self, symbol: str, transport: AiohttpTransport, rest: BinanceRest, retry_gate: RetryGate, refusals: Refusals
    ) -> ExchangeStream:
        return ExchangeStream(
            symbol, transport, rest, self.inbox, self.clock, random.Random(),
            retry_gate=retry_gate,
            refusals=refusals,
            depth_limit=self.settings.depth_limit,
            stale_after_ms=self.settings.stale_after_s * 1000,
            may_fall_back=self.may_fall_back,
            audit_every_s=self.settings.audit_every_s,
        )  # fmt: skip

    def _exchange_ms(self) -> int | None:
        """Return the exchange's time, in a replay the recording's; None while it is unknown."""
        wall_ms = self.clock.wall_s() * 1000
        return int(wall_ms) if self.plan.recording is not None else self.latency.offset.exchange_ms(wall_ms)

    async def _on_mismatch(self, symbol: str, mismatch: CandleMismatch) -> None:
        await self.inbox.put(Received(symbol, mismatch, self.clock.now_ms()))

    # --- what clients report

    def _on_flushed(self, delay_s: float) -> None:
        self.latency.written(delay_s * 1000, self.clock.now_ms())

    def _on_echo(self, instance: str, timestamp_s: float) -> None:
        self.latency.echoed(instance, timestamp_s * 1000, self.clock.now_ms(), self.clock.wall_s() * 1000)

    def _print_address(self) -> None:
        host, port = self.listener.getsockname()[:2]
        shown = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
        sys.stdout.write(f"Pulse Terminal: http://{f'[{shown}]' if ':' in shown else shown}:{port}\n")
        sys.stdout.flush()


async def _run_until_stopped(work: Work, server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Run every task until `stop`; the first that fails ends all of them."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run(), name=name) for name, run in work.items()]
        running.append(tasks.create_task(_watch_server(server, stop), name="web-watch"))
        await stop.wait()
        log.info("stopping")
        for task in running:
            task.cancel()


async def _watch_server(server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Raise when the server ends though it was not asked to stop."""
    await asyncio.shield(server)
    if not stop.is_set():
        raise RuntimeError("the web server ended by itself")


class _LastResort:
    """The timer that ends the process if anything hangs while stopping, up to the end of the interpreter."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Start the timer. The exit code is 1 while an exception is being handled."""
        code = 0 if sys.exc_info()[0] is None else 1
        self._timer = threading.Timer(LAST_RESORT_S, os._exit, (code,))
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """Stop the timer, where it was started."""
        if self._timer is not None:
            self._timer.cancel()


def _assets(name: str) -> Path:
    """Return a folder that is installed with the package, or stands beside it in a checkout."""
    here = Path(__file__).parent
    return here / name if (here / name).is_dir() else here.parent / name
