"""The roof: builds every part, starts every task, and owns the order in which they stop. Reads as a story.

It is the one place that sees everything, and it decides nothing that a part could decide.
"""

import asyncio
import gc
import itertools
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

from pulse import stats
from pulse.app import build_app
from pulse.backfill import Backfill
from pulse.bars import Bars
from pulse.binance.bans import Bans
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import VENUES, Venue, venue_of
from pulse.bus import Bus
from pulse.bus.memory import MemoryBus
from pulse.catalogue import Catalogue
from pulse.clock import Clock, ReplayClock, SystemClock
from pulse.comeback import Comeback
from pulse.conflate import ConflatingQueue
from pulse.engine import Engine, Outbox
from pulse.errors import ExchangeRefused, SettingsError, StoreUnavailable
from pulse.events import Events
from pulse.feed import RECONNECT_SPACING_S, Feed
from pulse.hub import Hub
from pulse.intake import Inbox, Received, make_inbox
from pulse.latency import HOPS, Latency
from pulse.ledger import Ledger, make_candle_queue
from pulse.market.market import TRADING, Market, Origin
from pulse.market.types import CandleMismatch, Instrument, TradeGap
from pulse.publisher import publish
from pulse.recording import Recording
from pulse.replay import Replay
from pulse.retention import Retention
from pulse.running import RunningBars
from pulse.server import current_connection, loop_factory, open_listener, serve
from pulse.session import Sessions
from pulse.settings import Settings
from pulse.simulator.server import SimulatedExchange
from pulse.spool import Spool
from pulse.store import Store
from pulse.store.sqlite import SqliteStore
from pulse.subscriber import subscribe
from pulse.timekeeper import keep_time

log = logging.getLogger(__name__)

LAST_RESORT_S = 4.5
"""A process that was told to stop is gone after this long, whatever hangs."""
SIMULATION, REPLAY = "simulation", "replay"

Work = dict[str, Coroutine[Any, Any, None]]


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
            runner.run(_Terminal(settings, plan, venue, listener, may_fall_back).run())
    except* (SettingsError, ExchangeRefused) as group:
        expected = group.exceptions[0]
    else:
        return
    raise expected


class _Terminal:
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
        self.instruments: dict[str, Instrument] = dict(plan.recording.instruments) if plan.recording else {}
        self.feeds: dict[str, Feed] = {}
        self.backfill: Backfill | None = None  # a recording has no exchange to ask

    async def run(self) -> None:
        """Open the resources, start the tasks, wait for the end, stop in order."""
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        async with AsyncExitStack() as resources:
            origin = Origin(secrets.token_hex(4), self.plan.source, self.venue.name)
            hub = Hub(self.plan.symbols, origin.instance)
            bus = self._open_bus(hub.topics)
            resources.push_async_callback(bus.close)
            store = await self._open_store(resources)
            ledger = Ledger(self.candles, store, self._make_spool(resources))
            latency = Latency(origin.instance)
            engine = self._make_engine(origin, latency)
            work = await self._source_work(hub, store, latency, resources)
            work |= {
                "engine": engine.run(),
                "publisher": publish(self.outbox, bus),
                "subscriber": subscribe(bus, hub, latency, self.clock),
                "ledger": ledger.run(),
            }
            if self.settings.retention_days:
                work["retention"] = Retention(store, self.settings.retention_days, self.clock).run()
            bars = Bars(store, engine.newest, self.clock)
            running = RunningBars(bars, time.monotonic)
            hub.bars = running.now
            work["running"] = running.run()
            sessions = Sessions(self.settings, hub, current_connection)
            self._watch_latency(latency, sessions)
            _watch_clients(sessions, hub)
            app = build_app(
                self.settings, hub, bars, self._catalogue_answer(engine),
                _readiness(engine, bus, store, ledger), engine.certificates, latency.report, _assets("static"),
                sessions, Events(hub, sessions, self.plan.symbols, current_connection),
            )  # fmt: skip
            # What the imports and the start built lives for ever: the collector need not walk it again.
            gc.freeze()
            self._greet()
            server = asyncio.create_task(
                serve(app, self.listener, stop, hub.close, self.settings.clients_max), name="web"
            )
            try:
                await _run_until_stopped(work, server, stop)
            finally:
                _arm_last_resort()
                stop.set()  # no new connections; sessions say goodbye
                await asyncio.create_task(ledger.finish())  # its time-out needs a task that no group has marked
                await server

    # --- what is opened

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
        resources.push_async_callback(store.close)
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

    # --- what the pictures are made from

    async def _source_work(self, hub: Hub, store: Store, latency: Latency, resources: AsyncExitStack) -> Work:
        """The tasks that fill the inbox: a replay, or the feeds with what belongs to them."""
        if self.plan.recording is not None:
            return {"replay": Replay(self.plan.recording, self.inbox, self.replay_clock, self.plan.speed).run()}
        if self.plan.source == SIMULATION:
            exchange = await self._open_simulator(resources)
            return await self._live_work(hub, store, latency, resources) | {"simulator": exchange.watch()}
        return await self._live_work(hub, store, latency, resources)

    async def _open_simulator(self, resources: AsyncExitStack) -> SimulatedExchange:
        try:
            exchange = SimulatedExchange(self.plan.symbols, seed=self.plan.seed)
        except ValueError as fault:
            raise SettingsError(f"PULSE_SYMBOLS: {fault}.") from fault
        await resources.enter_async_context(exchange)
        self.venue = replace(self.venue, rest_url=exchange.rest_url, stream_url=exchange.stream_url)
        return exchange

    async def _live_work(self, hub: Hub, store: Store, latency: Latency, resources: AsyncExitStack) -> Work:
        """The feeds, and what keeps their instruments and their candles whole."""
        transport = AiohttpTransport(await resources.enter_async_context(aiohttp.ClientSession()))
        is_demo = self.plan.source == SIMULATION
        bans = Bans(None if is_demo else Path(self.settings.state_path))
        rest = BinanceRest(transport, self.venue, self.clock, bans, hub.is_heard)
        comeback = Comeback(RECONNECT_SPACING_S)
        for symbol in self.plan.symbols:
            self.feeds[symbol] = Feed(
                symbol, transport, rest, self.inbox, self.clock, random.Random(),
                comeback=comeback,
                depth_limit=self.settings.depth_limit,
                stale_after_ms=self.settings.stale_after_s * 1000,
                may_fall_back=self.may_fall_back,
                audit_every_s=self.settings.audit_every_s,
            )  # fmt: skip
        catalogue = Catalogue(self.plan.symbols, rest, self._note_instrument, self.may_fall_back)
        await catalogue.open()
        self.backfill = Backfill(
            self.plan.symbols, rest, store, self.candles,
            days=self.settings.past_days, rng=random.Random(), tell=self._tell_mismatch,
        )  # fmt: skip
        return {
            **{f"feed-{symbol}": feed.run() for symbol, feed in self.feeds.items()},
            "catalogue": catalogue.run(),
            "timekeeper": keep_time(rest, latency.offset),
            "backfill": self.backfill.run(),
        }

    async def _note_instrument(self, instrument: Instrument) -> None:
        self.instruments[instrument.symbol] = instrument
        self.feeds[instrument.symbol].set_trading(instrument.status == TRADING)
        await self.inbox.put(Received(instrument.symbol, instrument, self.clock.now_ms()))

    async def _tell_mismatch(self, symbol: str, mismatch: CandleMismatch) -> None:
        await self.inbox.put(Received(symbol, mismatch, self.clock.now_ms()))

    def _make_engine(self, origin: Origin, latency: Latency) -> Engine:
        markets = [
            Market(
                symbol,
                origin,
                levels_max=self.settings.levels_max,
                trades_kept=self.settings.trades_kept,
                stale_after_ms=self.settings.stale_after_s * 1000,
            )
            for symbol in self.plan.symbols
        ]
        return Engine(
            markets, self.inbox, self.outbox, self.candles, self.clock, latency,
            publish_interval_s=self.settings.publish_interval_ms / 1000,
            ask_snapshot=self._ask_snapshot,
            note_gap=self._note_gap,
        )  # fmt: skip

    def _ask_snapshot(self, symbol: str, reason: str) -> None:
        feed = self.feeds.get(symbol)
        if feed is not None:  # a recording has no exchange to ask
            feed.ask_snapshot(reason)

    def _note_gap(self, gap: TradeGap) -> None:
        if self.backfill is not None:
            self.backfill.note_gap(gap)

    def _history(self) -> dict[str, dict[str, int]]:
        return {} if self.backfill is None else self.backfill.progress()

    # --- what is answered

    def _catalogue_answer(self, engine: Engine) -> Callable[[], dict[str, Any]]:
        def answer() -> dict[str, Any]:
            states, history = engine.states(), self._history()
            return {
                "default": self.plan.symbols[0],
                "venue": self.venue.name,
                "source": self.plan.source,
                "symbols": [
                    {
                        "symbol": symbol, **_described(self.instruments.get(symbol)),
                        "state": states[symbol]["state"], "history": history.get(symbol),
                    }
                    for symbol in self.plan.symbols
                ],
            }  # fmt: skip

        return answer

    def _watch_latency(self, latency: Latency, sessions: Sessions) -> None:
        """Have the clients' end of the way noted, and let /metrics read all of it."""
        clock = self.clock
        sessions.fanout.on_round = lambda delay_s: latency.written(delay_s * 1000, clock.now_ms())
        sessions.on_echo = lambda instance, timestamp: latency.echoed(
            instance, timestamp * 1000, clock.now_ms(), clock.wall_s() * 1000
        )
        for hop, share in itertools.product(HOPS, (0.5, 0.99)):
            gauge = stats.latency_ms.labels(hop.name, f"{share:g}")
            gauge.set_function(partial(latency.gauge_ms, hop.name, share))
        stats.clock_offset_ms.set_function(latency.offset.value_ms)

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


def _watch_clients(sessions: Sessions, hub: Hub) -> None:
    """Let /metrics read what sessions and hub count for themselves."""
    stats.clients_open.set_function(lambda: sessions.open_count)
    stats.clients_refused.set_function(lambda: sessions.refused)
    stats.clients_cut.set_function(lambda: sessions.cut)
    stats.client_pictures_replaced.set_function(lambda: sessions.replaced)
    stats.hub_dropped.set_function(lambda: hub.dropped)


def _arm_last_resort() -> None:
    """See to it that nothing that hangs while stopping keeps the process alive."""
    code = 0 if sys.exc_info()[0] is None else 1
    timer = threading.Timer(LAST_RESORT_S, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _readiness(engine: Engine, bus: Bus, store: Store, ledger: Ledger) -> Callable[[], dict[str, Any]]:
    def answer() -> dict[str, Any]:
        feeds, bus_health = engine.states(), bus.health()
        is_ready = (
            all(feed["state"] in ("live", "halted") for feed in feeds.values()) and bus_health.ok and not ledger.trouble
        )
        return {
            "ready": is_ready,
            "feeds": feeds,
            "bus": {"kind": bus_health.kind, "ok": bus_health.ok, "detail": bus_health.detail},
            "store": {
                "kind": store.kind,
                "ok": not ledger.trouble,
                "detail": ledger.trouble,
                "pending": ledger.pending,
            },
        }

    return answer


def _described(instrument: Instrument | None) -> dict[str, Any]:
    """What /api/symbols says of an instrument; nulls while the exchange has not told."""
    names = ("base_asset", "quote_asset", "status", "tick_size", "lot_size", "price_decimals", "quantity_decimals")
    return {name: getattr(instrument, name, None) for name in names}


def _assets(name: str) -> Path:
    """A folder that is installed with the package, or stands beside it in a checkout."""
    here = Path(__file__).parent
    return here / name if (here / name).is_dir() else here.parent / name
