"""Fetching one symbol's depth snapshots: a small one when its book needs it or one is requested, then all levels.

It decides how often the exchange is asked for one symbol. Which symbol's turn it is to fetch all levels is decided by
the `SnapshotSchedule`, whether a snapshot joins the stream by the `Sequencer`.
"""

import asyncio
import logging
import random
from typing import NamedTuple

from pulse.binance.rest import BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, UnknownSymbol
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.snapshot_schedule import SnapshotSchedule
from pulse.logs import StateOfTrouble
from pulse.market.types import BookLost, DepthSnapshot

log = logging.getLogger(__name__)

SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S = 0.25, 30.0
SNAPSHOT_SPACING_S = 1.0
"""Even where no snapshot can be used, the exchange is asked no more often than this."""
REPEATED_SPACING_MAX_S = 3.0
"""Up to this the spacing doubles while each snapshot is followed by another request before it is over. All levels are
fetched only once a snapshot has helped: a book whose prices are crossed at the exchange too is not mended by snapshots,
and must leave the budget to the others."""
HALTED_SPACING_S = 60.0
"""The spacing of a symbol that does not trade: orders may cross while nothing is matched, which is no fault."""
UNKNOWN_SYMBOL_WAIT_S = 300.0
"""Between two tries of a symbol that the exchange does not list."""
STALE_SNAPSHOT_MAX_S = 3.0
"""A book's first snapshot that lags behind the stream is fetched again after at most this long: lags are of seconds."""
AUDIT_LOOK_S = 60.0
"""How often the interval of audits is read again: it changes with the number of symbols."""

ROUNDING_S = 0.001
"""What rounding leaves of a wait may be too short for a clock to pass it."""


class _Failure(NamedTuple):
    """Why a snapshot was not joined, and how long to wait before the next try."""

    reason: str
    wait_s: float
    fault: ExchangeError | None = None


class SnapshotFetcher:
    """Fetches snapshots of one symbol while its connection lives."""

    def __init__(
        self, symbol: str, rest: BinanceRest, sequencer: Sequencer, rng: random.Random, schedule: SnapshotSchedule
    ) -> None:
        self._symbol = symbol
        self._rest = rest
        self._sequencer = sequencer
        self._rng = rng
        self._schedule = schedule
        self._wake = asyncio.Event()
        self._widen = asyncio.Event()
        self._is_trading = True
        self._has_resumed = asyncio.Event()
        self._is_requested = False
        self._levels_known = 0  # a side, by the newest snapshot
        self._whole_s = 0.0  # when the newest snapshot of all levels was joined, by the loop's clock
        self._trouble = StateOfTrouble(log, "no snapshot symbol=%s reason=%s next_try_s=%.1f")

    def request(self, reason: str) -> None:
        """Fetch a snapshot soon, also while the book is being continued."""
        log.info("snapshot requested symbol=%s reason=%s", self._symbol, reason)
        self._is_requested = True
        self._wake.set()

    def set_trading(self, is_trading: bool) -> None:
        """Set whether the exchange lists the symbol as trading; while it does not, snapshots are rare."""
        if is_trading and not self._is_trading:
            self._has_resumed.set()
        self._is_trading = is_trading

    def wake_if_needed(self) -> None:
        """Fetch a snapshot soon if the book cannot be continued without one."""
        if self._sequencer.needs_snapshot:
            self._wake.set()

    # --- snapshots of few levels

    async def run(self) -> None:
        """Fetch what the book needs and what is requested, for ever."""
        spacing_s = SNAPSHOT_SPACING_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_requested or self._sequencer.needs_snapshot:
                self._is_requested = False  # before the fetch: a request made meanwhile may need a later snapshot
                is_full, is_repeated = await self._fetch(), spacing_s > SNAPSHOT_SPACING_S
                if is_repeated:
                    self._schedule.give_up(self._symbol)
                elif not is_full:
                    self._widen.set()
                await self._wait_or_resume(spacing_s if self._is_trading else HALTED_SPACING_S)
                if self._is_requested:
                    spacing_s = min(spacing_s * 2, REPEATED_SPACING_MAX_S)
                    continue
                if is_repeated and not is_full:
                    self._schedule.joined(self._symbol, is_full=False)
                    self._widen.set()
                spacing_s = SNAPSHOT_SPACING_S

    async def _wait_or_resume(self, most_s: float) -> None:
        """Wait this long, but no longer than until the symbol trades again."""
        self._has_resumed.clear()
        try:
            async with asyncio.timeout(most_s):
                await self._has_resumed.wait()
        except TimeoutError:
            pass

    async def _fetch(self) -> bool:
        """Fetch until a snapshot joins; return whether it has all levels. Each failure waits longer."""
        for delay_s in backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng):
            result = await self._try(self._schedule.join_levels, delay_s, is_widening=False)
            if isinstance(result, DepthSnapshot):
                self._trouble.over()
                return self._note_joined(result)
            self._schedule.give_up(self._symbol)
            await self._report(result)
            if result.fault is None:
                await asyncio.sleep(result.wait_s)
            elif isinstance(result.fault, UnknownSymbol):
                await self._wait_or_resume(result.wait_s)
            elif isinstance(result.fault, ExchangeBusy | ExchangeRefused):
                await asyncio.sleep(result.wait_s)
            else:
                await self._rest.wait_until_reachable(result.wait_s)
        raise AssertionError("delays never end")

    async def _report(self, failure: _Failure) -> None:
        """Log why there is no snapshot, and show it where the book waits for one."""
        self._trouble.warn(failure.reason, self._symbol, failure.reason, failure.wait_s)
        if self._sequencer.needs_snapshot:
            await self._sequencer.put(BookLost(f"waiting for a usable snapshot: {failure.reason}"))

    # --- snapshots of all levels

    async def run_whole(self) -> None:
        """Fetch all levels where fewer are known, and again periodically, to compare the whole book; for ever."""
        self._whole_s = asyncio.get_running_loop().time()
        delays = backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng)
        while True:
            await self._wait_until_due()
            is_audit = not self._widen.is_set()
            failure = await self._fetch_whole(next(delays))
            if failure is None:
                delays = backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng)
                continue
            self._schedule.give_up(self._symbol)
            self._trouble.warn(failure.reason, self._symbol, failure.reason, failure.wait_s)
            await self._wait_or_resume(failure.wait_s)
            if not is_audit:
                self._widen.set()

    async def _wait_until_due(self) -> None:
        """Wait until more levels are to be known, or the whole book is to be compared."""
        loop = asyncio.get_running_loop()
        while not self._widen.is_set():
            left_s = self._whole_s + self._schedule.audit_every_s - loop.time()
            if not self._is_trading:
                left_s = AUDIT_LOOK_S  # nothing is matched, so that prices may be crossed, which is no fault
            elif left_s <= ROUNDING_S:
                left_s = self._schedule.begin_audit()
                if not left_s:
                    return
            try:
                async with asyncio.timeout(min(left_s, AUDIT_LOOK_S)):
                    await self._widen.wait()
            except TimeoutError:
                pass

    async def _fetch_whole(self, delay_s: float) -> _Failure | None:
        """Fetch all levels when it is this symbol's turn; a book that was lost meanwhile joins again first."""
        async with self._schedule.turn(self._symbol, self._levels_known):
            self._widen.clear()
            if self._sequencer.needs_snapshot:
                self._whole_s = asyncio.get_running_loop().time()
                return None
            result = await self._try(self._schedule.depth_limit, delay_s, is_widening=True)
        if isinstance(result, _Failure):
            return result
        self._trouble.over()
        self._widen.clear()  # it may have been joined anew meanwhile, by a small one
        self._note_joined(result)
        return None

    # --- both

    async def _try(self, levels: int, delay_s: float, *, is_widening: bool) -> DepthSnapshot | _Failure:
        """Fetch a snapshot once; return it where it joins. Diffs are held meanwhile."""
        self._sequencer.expect_snapshot()
        try:
            snapshot = await self._rest.depth(self._symbol, levels, is_widening=is_widening)
            reason = await self._sequencer.judge_snapshot(snapshot)
            if not reason and await self._sequencer.put_snapshot(snapshot):
                return snapshot
        except (ExchangeBusy, ExchangeRefused) as fault:
            return _Failure(str(fault), fault.retry_after_s + delay_s, fault)
        except UnknownSymbol as fault:
            return _Failure(str(fault), UNKNOWN_SYMBOL_WAIT_S, fault)
        except ExchangeError as fault:
            return _Failure(str(fault), delay_s, fault)
        finally:
            self._sequencer.expect_no_snapshot()
        reason = reason or "the exchange's snapshot is older than its stream of updates"
        return _Failure(reason, delay_s if is_widening else min(delay_s, STALE_SNAPSHOT_MAX_S))

    def _note_joined(self, snapshot: DepthSnapshot) -> bool:
        """Note how much of the book is known now; return whether it is all that can be."""
        levels = max(len(snapshot.bids.prices), len(snapshot.asks.prices))
        is_full = snapshot.limit >= self._schedule.depth_limit or levels < snapshot.limit
        self._levels_known = snapshot.limit
        if is_full:
            self._whole_s = asyncio.get_running_loop().time()
        self._schedule.joined(self._symbol, is_full=is_full)
        return is_full
