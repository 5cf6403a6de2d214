"""The process under test: the real streams, REST client, engine and markets, wired as in production.

It can be killed and started again. Its files survive: the candles, and the file of bans.
"""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.refusals import Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.venues import venue_of
from pulse.candle_history.reconciler import CandleReconciler
from pulse.candle_history.writer import CandleWriter
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.errors import ExchangeError
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.live import LiveIngest
from pulse.latency import Latency
from pulse.market.market import Origin
from pulse.market.types import MINUTE_MS, CandleMismatch
from pulse.market.view import View
from pulse.queues import (
    CandleQueue,
    ConflatingQueue,
    Outbox,
    Received,
    SilentStreams,
    SnapshotRequests,
    make_gap_queue,
    make_inbox,
)
from tests.simulation.checker import HOLES_MS, CheckedMarket, Checker
from tests.simulation.loop import VirtualClock
from tests.simulation.store import InlineStore
from tests.simulation.virtual_exchange import VirtualExchange
from tests.support.rest import make_schedule

CANDLES_MAX = 1000
ROWS_MAX = 100_000
HOLES_EVERY_S = 5.0
WATCH_CHANGES_EVERY_S = 20.0
"""The mean time between a watcher's coming and going: what is made for it must differ in nothing but its number."""
HISTORY_EVERY_S = 45.0
"""The interval of other REST requests of the process, which share the weight budget."""


@dataclass(frozen=True)
class Settings:
    """Settings of the process and its market that differ from seed to seed."""

    depth_limit: int = 100
    levels_max: int = 400
    audit_every_s: float = 600.0
    rotate_after_s: float = 23.5 * 3600
    publish_interval_s: float = 1.0
    changes_per_s: float = 0.4
    """Order rate of the calm market; bursts raise it several times."""
    held_bytes_max: int = 20_000
    """So few that the bound is reached where snapshots are refused for some seconds."""


class Process:
    """The process under test, running between `start` and `stop`."""

    def __init__(
        self,
        exchange: VirtualExchange,
        checker: Checker,
        clock: VirtualClock,
        settings: Settings,
        folder: Path,
        rng: random.Random,
    ) -> None:
        self.checker = checker
        self._candles_path = folder / "candles.sqlite3"
        store = InlineStore(self._candles_path, checker)
        self.inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles: CandleQueue = asyncio.Queue(CANDLES_MAX)
        snapshot_requests: SnapshotRequests = ConflatingQueue()
        silent_streams: SilentStreams = ConflatingQueue()
        gaps = make_gap_queue()
        bans = BanFile(folder / "bans.json", clock.uptime)

        def priority_of(symbol: str) -> Priority:
            return Priority.PINNED_BOOK if symbol == exchange.symbols[0] else Priority.OTHER_BOOK

        self.rest = BinanceRest(exchange, venue_of("us"), clock, bans, priority_of)
        retry_gate, refusals = RetryGate(RECONNECT_SPACING_S), Refusals("the simulator")
        held = HeldBudget(bytes_max=settings.held_bytes_max)
        schedule = make_schedule(
            self.rest,
            depth_limit=settings.depth_limit,
            audit_every_s=settings.audit_every_s,
            watched=exchange.symbols[1:],
        )
        self.streams: dict[str, ExchangeStream] = {}

        def make_market(symbol: str) -> CheckedMarket:
            origin = Origin("00000000", "simulation", "us")
            market = CheckedMarket(symbol, origin, levels_max=settings.levels_max, trades_kept=5, stale_after_ms=5000)
            market.checker = checker
            return market

        def make_stream(symbol: str) -> ExchangeStream:
            stream = ExchangeStream(
                symbol, exchange, self.rest, self.inbox, clock, random.Random(rng.random()),
                retry_gate=retry_gate, refusals=refusals, held=held, schedule=schedule,
                stale_after_ms=5000, may_fall_back=False, rotate_after_s=settings.rotate_after_s,
            )  # fmt: skip
            self.streams[symbol] = stream
            return stream

        self.ingest = LiveIngest(make_stream, self.inbox, snapshot_requests, silent_streams, clock)
        self.engine = Engine(
            make_market, self.inbox, self.outbox, self.candles, snapshot_requests, silent_streams, gaps, clock,
            Latency("00"), publish_interval_s=settings.publish_interval_s,
        )  # fmt: skip
        self._store = store
        self._writer = CandleWriter(self.candles, store)
        self._reconciler = CandleReconciler(
            self.rest, store, self.candles, gaps, self._put_mismatch,
            is_widening=schedule.is_widening, days=0, rng=random.Random(rng.random()),
        )  # fmt: skip
        for symbol in exchange.symbols:
            for part in (self.engine, self.ingest, self._reconciler):
                part.open(symbol)
        self._exchange = exchange
        self._watching = random.Random(rng.random())
        self._tasks: list[asyncio.Task[None]] = []
        self._started_s = 0.0
        self.is_stopped = False

    @property
    def rotations(self) -> int:
        """How many connections were replaced without a gap."""
        return sum(stream.rotations for stream in self.streams.values())

    def start(self) -> None:
        """Start every task."""
        self.checker.forget()
        self._started_s = asyncio.get_running_loop().time()
        works: list[Coroutine[Any, Any, None]] = [
            self.ingest.run(), self.engine.run(), self._check_views(), self._keep_candles(), self._request_history(),
            self._check_holes(), self._watch_now_and_then(),
        ]  # fmt: skip
        self._tasks = [asyncio.create_task(work) for work in works]

    async def fault(self) -> None:
        """Wait for a task to fail, and raise its error: none may ever end."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """Kill it without any shutdown."""
        self.is_stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._store.drop()

    def swap_store(self, *, leaves_file: bool) -> None:
        """Delete the file of the candles, and leave an empty one in its place or none."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._candles_path}{suffix}").unlink(missing_ok=True)
        if leaves_file:
            self._candles_path.touch()

    async def check_table(self) -> None:
        """Check everything that is stored."""
        for symbol in self._exchange.symbols:
            rows = await self._store.read_candles(symbol, 0, None, ROWS_MAX)
            self.checker.check_table(symbol, rows, await self._store.read_gaps(symbol, 0, 2**62, ROWS_MAX))

    async def _check_views(self) -> None:
        while True:
            _, view = await self.outbox.get()
            if isinstance(view, View):
                self.checker.check_view(view)

    async def _watch_now_and_then(self) -> None:
        """Watch each symbol for some of the time, as clients do that come and go."""
        while True:
            await asyncio.sleep(self._watching.expovariate(1 / WATCH_CHANGES_EVERY_S))
            symbol = self._watching.choice(self._exchange.symbols)
            if self.engine.is_watched(symbol):
                self.engine.unwatch(symbol)
            else:
                self.engine.watch(symbol)

    async def _keep_candles(self) -> None:
        await self._store.open()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._writer.run())
            tasks.create_task(self._reconciler.run())

    async def _check_holes(self) -> None:
        while True:
            await asyncio.sleep(HOLES_EVERY_S)
            for symbol in self._exchange.symbols:
                rows = await self._store.read_candles(symbol, self._exchange.now_ms() - HOLES_MS, None, ROWS_MAX)
                self.checker.check_holes(symbol, {row.open_time_ms for row in rows}, self._started_s)

    async def _put_mismatch(self, symbol: str, mismatch: CandleMismatch) -> None:
        await self.inbox.put(Received(symbol, mismatch, self._exchange.clock.now_ms()))

    async def _request_history(self) -> None:
        while True:
            await asyncio.sleep(HISTORY_EVERY_S)
            now_ms = self._exchange.now_ms()
            for symbol in self._exchange.symbols:
                try:
                    for candle in await self.rest.klines(symbol, now_ms - 5 * MINUTE_MS, now_ms):
                        self.checker.check_exchange_candle(candle)
                    await self.rest.instruments([symbol])
                except ExchangeError:
                    continue
