"""The composition root: builds every part of one run on one venue, and the table of its tasks.

It is the one place that knows every part, and it decides nothing that a part could decide. Starting the tasks and
stopping them in order is up to `supervisor`.
"""

import hashlib
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.refusals import Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport, open_session
from pulse.binance.venues import VENUES, Venue
from pulse.bus.contract import Bus, Deliver
from pulse.bus.leases import Leases
from pulse.bus.memory import MemoryBus
from pulse.bus.relay import Relay
from pulse.bus.remote_watchers import RemoteWatchers, interest_text
from pulse.bus.reports import Books, Reports
from pulse.candle_history.coverage_meter import CoverageMeter
from pulse.candle_history.fences import FencedStore, FencedWrites
from pulse.candle_history.gap_writer import GapWriter
from pulse.candle_history.reader import CandleReader, RunningCandles
from pulse.candle_history.reconciler import CandleReconciler
from pulse.candle_history.retention import Retention
from pulse.candle_history.sessions import PastSessions, SessionStore, session_venue
from pulse.candle_history.spool import Spool
from pulse.candle_history.writer import CandleWriter
from pulse.clock import Clock, ReplayClock, SystemClock, elapsed_s
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.errors import SettingsError, StoreUnavailable
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.subscriptions import Echo
from pulse.fanout.trade_log import KEPT_MAX, TRADE_BYTES
from pulse.fanout.trade_refill import Fetch, TradeRefill
from pulse.ingest.clock_sync import sync_clock
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.instruments import InstrumentPoller
from pulse.ingest.live import LiveIngest, close_idle_symbols
from pulse.ingest.recording import Recording
from pulse.ingest.replay import Replay
from pulse.ingest.shared import SharedIngest
from pulse.ingest.snapshot_schedule import SnapshotSchedule
from pulse.ingest.watchlist import Watchlist, no_watchlist
from pulse.latency import Latency
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.market.market import Market, Origin
from pulse.market.order_book import LEVEL_BYTES
from pulse.market.types import CandleMismatch, Instrument, Trade
from pulse.past.reader import PastReader
from pulse.past.recorder import NOT_RECORDED, Recorder
from pulse.past.ring import Ring
from pulse.past.segment_writer import SegmentWriter
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
from pulse.server.addresses import LOOPBACK_KEYS
from pulse.server.listener import App
from pulse.settings import Settings
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.server import SimulatedExchange
from pulse.stats import SymbolMetrics
from pulse.store.contract import Store
from pulse.store.sqlite import SqliteStore
from pulse.symbols import SymbolLifecycle, SymbolRegistry
from pulse.web.access import Access
from pulse.web.admission import Admission
from pulse.web.api.status import ReadinessReport, register_gauges
from pulse.web.api.symbols import SymbolsReport
from pulse.web.app import build_app, build_operator_app
from pulse.web.context import WebContext
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import WebSocketSessions
from pulse.wire import REPORT, bus_prefix

SIMULATION = "simulation"
HOUSEKEEPING = "housekeeping"
"""The name of the lease under which one of the processes that share a store deletes what is old; no symbol is lower
case."""
HISTORY_SUFFIX = ".past"
"""The folder of the recorded past is beside the SQLite file, and has its name with this suffix."""

BOOKS_BYTES_MAX = 96 * 2**20
"""The memory of the levels of all books, should all symbols run that may: 5,000 a side of 500 symbols fit."""
TRADE_LOGS_BYTES_MAX = 48 * 2**20
"""The same of the trades that are kept for clients that reconnect: 2,000 of 80 symbols fit, 335 of 500."""

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

    `parts` follow the lifecycle of symbols, `owned` do where this process owns the symbol, and `live` is the one of
    them that ingests from the exchange, None in a replay. `history` gives each symbol's progress through its past,
    `trouble` why instruments are not known, and `state_file` why bans cannot be kept; `audit_every_s` is how often a
    whole book is compared with a snapshot; `watchlist` reports on every listed symbol, and `fetch_trades` fetches
    trades by their ids.
    """

    parts: Sequence[SymbolLifecycle]
    owned: Sequence[SymbolLifecycle]
    live: LiveIngest | None
    work: Work
    instruments: Mapping[str, Instrument]
    history: Callable[[], Mapping[str, Mapping[str, int]]]
    trouble: Callable[[], str]
    state_file: Callable[[], str]
    audit_every_s: Callable[[], float | None]
    watchlist: Callable[[], Mapping[str, Any]]
    fetch_trades: Fetch


@dataclass(frozen=True, slots=True)
class _Sharing:
    """What a process has that shares its symbols with others, on one bus server and one store."""

    leases: Leases
    reports: Reports
    watchers: RemoteWatchers
    fenced: FencedWrites
    work: Work

    def owns(self, symbol: str) -> bool:
        """Return whether this process holds the lease of a symbol now."""
        return self.leases.token(symbol) is not None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a running terminal that the web app and the tasks are made from."""

    registry: SymbolRegistry
    source: _Source
    engine: Engine
    books: Books
    sharing: _Sharing | None
    relay: Relay
    bus: Bus
    hub: Hub
    store: Store
    writer: CandleWriter
    reader: CandleReader
    running_candles: RunningCandles
    coverage: CoverageMeter
    recorder: Recorder | None


@dataclass(frozen=True, slots=True)
class Built:
    """What is run: the web apps, the tasks, and what has to be told of the end, the clients' hub first."""

    app: App
    operator_app: App
    work: Work
    hub: Hub
    writer: CandleWriter


class Terminal:
    """The parts of one run, on one venue."""

    def __init__(self, settings: Settings, plan: Plan, venue: Venue, *, may_fall_back: bool) -> None:
        self.settings = replace(settings, symbols=plan.symbols)
        self.plan = plan
        self.venue = venue if plan.source == "exchange" else replace(venue, name=plan.source, title="the simulator")
        self.may_fall_back = may_fall_back
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

    async def build(self, resources: AsyncExitStack) -> Built:
        """Open the resources and build everything. Raises SettingsError."""
        parts = await self._open_parts(resources)
        scheduler = FlushScheduler(self._on_flushed)
        context = self._make_web_context(parts, scheduler)
        apps = build_app(context), build_operator_app(context)
        return Built(*apps, self._work(parts, scheduler), parts.hub, parts.writer)

    async def _open_parts(self, resources: AsyncExitStack) -> _Parts:
        """Build everything up to the web app."""
        store = await self._open_store(resources)
        recorder = self._make_recorder()
        engine = self._make_engine(
            recorder, lambda symbol: _interest(hub, sharing, symbol), lambda: source.audit_every_s()
        )
        sharing = self._share(store, engine, lambda: hub, lambda: bus, resources)
        books: Books = sharing.reports if sharing else engine
        writer = CandleWriter(self.candles, store, self._make_spool(resources), sharing.fenced if sharing else None)
        reader = CandleReader(store, books.newest, self.clock)
        running_candles = RunningCandles(reader, time.monotonic)
        refill = TradeRefill(lambda symbol, from_id: source.fetch_trades(symbol, from_id)) if sharing else None
        hub = Hub(
            self.origin.instance, running_candles.now, engine, trades_kept=self._trade_log_length(), refill=refill
        )
        if sharing and refill:
            sharing.work["trade-refill"] = refill.run
        relay = self._make_relay(hub, sharing)
        bus = self._make_bus(partial(_deliver, relay, sharing))
        resources.push_async_callback(bus.aclose)
        coverage = CoverageMeter(store, reader, engine.proof_records)
        source = await self._open_source(engine, store, lambda names: registry.set_listed(names), resources)
        owned: Sequence[SymbolLifecycle] = (SymbolMetrics(), engine, coverage, *source.owned)
        registry = SymbolRegistry(
            self.plan.symbols,
            running_max=0 if self.plan.recording else self.settings.symbols_max,
            parts=(self.latency, relay, hub, bus, *source.parts, *_shared(owned, source, sharing)),
            is_watched=engine.is_watched,
            clock=time.monotonic,
        )
        return _Parts(
            registry,
            source,
            engine,
            books,
            sharing,
            relay,
            bus,
            hub,
            store,
            writer,
            reader,
            running_candles,
            coverage,
            recorder,
        )

    def _make_web_context(self, parts: _Parts, scheduler: FlushScheduler) -> WebContext:
        admission = Admission(self.settings, time.monotonic)
        groups = BroadcastGroups(parts.hub, scheduler)
        sessions = WebSocketSessions(admission, parts.registry, parts.hub, groups, scheduler, self._on_echo)
        readiness = ReadinessReport(
            parts.registry,
            parts.books.states,
            parts.bus,
            parts.store,
            parts.writer,
            self.latency.offset,
            parts.source.trouble,
            parts.source.state_file,
            parts.recorder.report if parts.recorder is not None else lambda: NOT_RECORDED,
        )
        register_gauges(self.settings, admission, sessions, parts.hub, self.latency, readiness)
        source = parts.source
        return WebContext(
            settings=self.settings,
            access=Access(self.settings),
            admission=admission,
            registry=parts.registry,
            hub=parts.hub,
            candles=parts.reader,
            websockets=sessions,
            sse=SseEndpoint(sessions),
            symbols=SymbolsReport(
                self.venue.name,
                self.plan.source,
                parts.registry,
                parts.books.states,
                source.instruments,
                source.history,
            ),
            watchlist=source.watchlist,
            readiness=readiness,
            coverage=parts.coverage.report,
            latency=self.latency.report,
            certificates=parts.books.certificates,
            past=None if parts.recorder is None else self._make_past_reader(parts.recorder),
            static_dir=assets("static"),
        )

    def _work(self, parts: _Parts, scheduler: FlushScheduler) -> Work:
        sharing = parts.sharing
        work = (
            parts.source.work
            | (sharing.work if sharing else {})
            | {
                "engine": parts.engine.run,
                "relay": partial(parts.relay.run, parts.bus),
                "bus": parts.bus.run,
                "candle-writer": parts.writer.run,
                "running-candles": parts.running_candles.run,
                "coverage": parts.coverage.run,
                "flush-watch": scheduler.watch,
                "idle-symbols": partial(close_idle_symbols, parts.registry),
                "full-gc": gc_tuning.collect_full_periodically,
            }
        )
        is_ours = partial(sharing.owns, HOUSEKEEPING) if sharing else lambda: True
        if parts.recorder is not None:
            work["recorder"] = parts.recorder.run
        if self.settings.retention_days:
            work["retention"] = Retention(parts.store, self.settings.retention_days, self._exchange_ms, is_ours).run
        if isinstance(parts.store, SessionStore):
            work["past-sessions"] = PastSessions(parts.store, self.session_venue, SystemClock(), is_ours).run
        return work

    # --- what is shared with other processes

    def _share(
        self, store: Store, engine: Engine, hub: Callable[[], Hub], bus: Callable[[], Bus], resources: AsyncExitStack
    ) -> _Sharing | None:
        """Return what shares the symbols with other processes; None where there is no server for that, or no store."""
        if self.plan.source != "exchange" or not (self.settings.redis_url and isinstance(store, FencedStore)):
            return None
        from pulse.bus.lease_keeper import LeaseKeeper  # imported only where it is used, with redis-py

        instance = self.origin.instance
        leases = Leases(
            instance, elapsed_s,
            watching=lambda symbol: interest_text(hub().interest(symbol)) if engine.is_watched(symbol) else "",
            seen_token=lambda symbol: hub().token(symbol),
        )  # fmt: skip
        leases.open(HOUSEKEEPING)
        keeper = LeaseKeeper(
            self.settings.redis_url, self._bus_prefix(), instance, leases, elapsed_s, lambda: bus().health().ok
        )
        resources.push_async_callback(keeper.aclose)
        reports = Reports(instance, engine, leases.is_followed, leases.view_token, time.monotonic)
        watchers = RemoteWatchers(leases, engine)
        fenced = FencedWrites(store, leases, leases.changes())
        work: Work = {
            "leases": keeper.run,
            "reports": lambda: reports.run(bus()),
            "fences": fenced.run,
            "remote-watchers": watchers.run,
        }
        return _Sharing(leases, reports, watchers, fenced, work)

    def _make_relay(self, hub: Hub, sharing: _Sharing | None) -> Relay:
        make = partial(Relay, self.outbox, hub.publish, self.latency, self.clock)
        return make(token=sharing.leases.view_token, may_publish=sharing.owns) if sharing else make(token=hub.token)

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
            store = PostgresStore(self.settings.database_url, venue, assets("sql"))
        else:
            store = SqliteStore(self._file(resources, self.settings.sqlite_path), self.venue.name, assets("sql"))
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

    def _make_recorder(self) -> Recorder | None:
        """Make what records the past of the books; that of a demo or a replay is kept in memory alone."""
        disk_mb = self.settings.history_mb if self.plan.source == "exchange" else 0
        if not disk_mb and not self.settings.history_ring_mb:
            return None
        writer = SegmentWriter(self._history_folder(), disk_mb * 2**20) if disk_mb else None
        return Recorder(self.origin, self.clock, Ring(self.settings.history_ring_mb * 2**20), writer)

    def _make_past_reader(self, recorder: Recorder) -> PastReader:
        folder = self._history_folder() if recorder.is_on_disk else None
        return PastReader(recorder, folder, self.venue.name, self.clock)

    def _history_folder(self) -> Path:
        return Path(self.settings.sqlite_path).with_suffix(HISTORY_SUFFIX)

    def _make_engine(
        self, recorder: Recorder | None, interest: Callable[[str], Interest],
        audit_every_s: Callable[[], float | None],
    ) -> Engine:  # fmt: skip
        return Engine(
            self._make_market, self.inbox, self.outbox, self.candles, self.snapshot_requests, self.silent_streams,
            self.gaps, self.clock, self.latency, publish_interval_s=self.settings.publish_interval_ms / 1000,
            interest=interest, audit_every_s=audit_every_s, event_logs=recorder,
        )  # fmt: skip

    def _levels_max(self) -> int:
        """Return how many levels a side each book may have, so that all books fit into their share of the memory."""
        return min(self.settings.levels_max, BOOKS_BYTES_MAX // (2 * LEVEL_BYTES * self._running_max))

    def _trade_log_length(self) -> int:
        """Return how many trades are kept of each symbol for clients that reconnect, so that all of them fit."""
        return min(KEPT_MAX, TRADE_LOGS_BYTES_MAX // (TRADE_BYTES * self._running_max))

    @property
    def _running_max(self) -> int:
        """How many symbols may run at once."""
        return max(self.settings.symbols_max, len(self.settings.symbols))

    def _make_market(self, symbol: str) -> Market:
        return Market(
            symbol, self.origin,
            levels_max=self._levels_max(),
            trades_kept=self.settings.trades_kept,
            stale_after_ms=self.settings.stale_after_s * 1000,
        )  # fmt: skip

    async def _open_source(
        self, engine: Engine, store: Store, on_listing: Callable[[Iterable[str]], None], resources: AsyncExitStack
    ) -> _Source:
        if self.plan.recording is not None:
            replay = Replay(self.plan.recording, self.inbox, self.replay_clock, self.plan.speed)
            work: Work = {"replay": replay.run, "gap-writer": GapWriter(self.gaps, store).run}
            instruments = self.plan.recording.instruments
            return _Source(
                (), (replay,), None, work, instruments, dict, str, str, lambda: None, no_watchlist, no_trades
            )
        work = {}
        if self.plan.source == SIMULATION:
            work["simulator"] = (await self._open_simulator(resources)).watch
        transport = AiohttpTransport(await resources.enter_async_context(open_session()))
        bans = BanFile(None if self.plan.source == SIMULATION else Path(self.settings.state_path))
        bans.check()
        rest = BinanceRest(transport, self.venue, self.clock, bans, partial(self._snapshot_priority, engine))
        retry_gate, refusals = RetryGate(RECONNECT_SPACING_S), Refusals(self.venue.title)
        held = HeldBudget(engine.is_watched)
        schedule = SnapshotSchedule(
            rest,
            depth_limit=min(self.settings.depth_limit, self._levels_max()),
            audit_every_s=self.settings.audit_every_s,
            is_watched=engine.is_watched,
        )
        ingest = LiveIngest(
            lambda symbol: self._make_stream(symbol, transport, rest, retry_gate, refusals, held, schedule),
            self.inbox, self.snapshot_requests, self.silent_streams, self.clock,
        )  # fmt: skip
        is_fixed = self.settings.symbols_max <= len(self.plan.symbols)
        poller = InstrumentPoller(
            self.plan.symbols, rest,
            on_change=ingest.on_instrument,
            was_listed=partial(_has_candles, store),
            on_listing=None if is_fixed else on_listing,
            may_fall_back=self.may_fall_back,
        )  # fmt: skip
        reconciler = CandleReconciler(
            rest, store, self.candles, self.gaps, self._on_mismatch,
            is_widening=schedule.is_widening, days=self.settings.past_days, rng=random.Random(),
        )  # fmt: skip
        watchlist = Watchlist(rest, time.monotonic)
        work |= {
            "ingest": ingest.run,
            "watchlist": watchlist.run,
            "instruments": poller.run,
            "clock-sync": partial(sync_clock, rest, self.latency.offset),
            "candle-reconciler": reconciler.run,
        }
        return _Source(
            (poller,), (ingest, reconciler), ingest, work, poller.instruments, reconciler.progress,
            lambda: poller.trouble, lambda: bans.trouble, lambda: schedule.audit_every_s, watchlist.report,
            rest.agg_trades,
        )  # fmt: skip

    async def _open_simulator(self, resources: AsyncExitStack) -> SimulatedExchange:
        try:
            exchange = SimulatedExchange(dict.fromkeys((*self.plan.symbols, *INSTRUMENTS)), seed=self.plan.seed)
        except ValueError as fault:
            raise SettingsError(f"PULSE_SYMBOLS: {fault}.") from fault
        await resources.enter_async_context(exchange)
        self.venue = replace(self.venue, rest_url=exchange.rest_url, stream_url=exchange.stream_url)
        return exchange

    def _make_stream(
        self, symbol: str, transport: AiohttpTransport, rest: BinanceRest, retry_gate: RetryGate, refusals: Refusals,
        held: HeldBudget, schedule: SnapshotSchedule,
    ) -> ExchangeStream:  # fmt: skip
        return ExchangeStream(
            symbol, transport, rest, self.inbox, self.clock, random.Random(),
            retry_gate=retry_gate,
            refusals=refusals,
            held=held,
            schedule=schedule,
            stale_after_ms=self.settings.stale_after_s * 1000,
            may_fall_back=self.may_fall_back,
        )  # fmt: skip

    def _snapshot_priority(self, engine: Engine, symbol: str) -> Priority:
        if symbol in self.plan.symbols:
            return Priority.PINNED_BOOK
        return Priority.WATCHED_BOOK if engine.is_watched(symbol) else Priority.OTHER_BOOK

    def _exchange_ms(self) -> int | None:
        """Return the exchange's time, in a replay the recording's; None while it is unknown."""
        wall_ms = self.clock.wall_s() * 1000
        return int(wall_ms) if self.plan.recording is not None else self.latency.offset.exchange_ms(wall_ms)

    async def _on_mismatch(self, symbol: str, mismatch: CandleMismatch) -> None:
        await self.inbox.put(Received(symbol, mismatch, self.clock.now_ms()))

    # --- what clients report

    def _on_flushed(self, delay_s: float) -> None:
        self.latency.written(delay_s * 1000, self.clock.now_ms())

    def _on_echo(self, address: str, echo: Echo) -> None:
        self.latency.echoed(
            address, echo.instance, echo.timestamp_s, echo.symbols, self.clock.now_ms(), self.clock.wall_s() * 1000,
            is_local=address in LOOPBACK_KEYS,
        )  # fmt: skip


def _shared(owned: Sequence[SymbolLifecycle], source: _Source, sharing: _Sharing | None) -> Sequence[SymbolLifecycle]:
    """Return the parts that follow the lifecycle of symbols: those that need the ownership within the shared ingest."""
    if sharing is None or source.live is None:
        return owned
    leases = sharing.leases
    ingest = SharedIngest(source.live, leases, owned, leases.should_ingest, leases.changes(), source.instruments)
    source.work["ingest"] = ingest.run
    return sharing.reports, ingest


def _interest(hub: Hub, sharing: _Sharing | None, symbol: str) -> Interest:
    """Return which ladders and costs of a symbol are watched, here and in the processes that follow it."""
    own, elsewhere = hub.interest(symbol), sharing.watchers.interest(symbol) if sharing else NO_INTEREST
    return own | elsewhere if elsewhere else own


def _deliver(relay: Relay, sharing: _Sharing | None, channel: str, payload: bytes) -> None:
    """Take a payload from the bus."""
    if not channel.startswith(REPORT):
        relay.deliver(channel, payload)
    elif sharing is not None:
        sharing.reports.deliver(channel, payload)


async def no_trades(*_: object) -> list[Trade]:
    """Return no trades: those of a recording are all that there are."""
    return []


async def _has_candles(store: Store, symbol: str) -> bool:
    """Return whether candles of a symbol are stored, so that it was listed once; also where that cannot be read."""
    try:
        return bool(await store.read_candles(symbol, None, None, 1))
    except StoreUnavailable:
        return True


def assets(name: str) -> Path:
    """Return a folder that is installed with the package, or stands beside it in a checkout."""
    here = Path(__file__).parent
    return here / name if (here / name).is_dir() else here.parent / name
