"""Fetching one symbol's depth snapshots: when its book needs one, when one is requested, and again at a fixed interval.

It decides how often the exchange is asked. Whether a snapshot joins the stream is the sequencer's decision.
"""

import asyncio
import logging
import random

from pulse.binance.rest import BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, UnknownSymbol
from pulse.ingest.sequencer import Sequencer
from pulse.logs import StateOfTrouble
from pulse.market.types import BookLost

log = logging.getLogger(__name__)

SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S = 0.25, 30.0
SNAPSHOT_SPACING_S = 1.0
"""Even where no snapshot can be used, the exchange is asked no more often than this."""
REPEATED_SPACING_MAX_S = 3.0
"""Up to this the spacing doubles while each snapshot is followed by another request before it is over."""
REPEATED_LEVELS = 100
"""Levels a side of such snapshots from the second on, and of those after one that lags behind the stream: a fiftieth of
the weight of 5000. A book whose prices are crossed at the exchange too is not mended by snapshots, nor do lagging ones
end a lag, and both must leave the budget to the others. Once one has helped, all levels are fetched."""
HALTED_SPACING_S = 60.0
"""The spacing of a symbol that does not trade: orders may cross while nothing is matched, which is no fault."""
UNKNOWN_SYMBOL_WAIT_S = 300.0
"""Between two tries of a symbol that the exchange does not list."""
STALE_SNAPSHOT_MAX_S = 3.0
"""A snapshot that lags behind the stream is fetched again after at most this long: lags are of seconds."""


class SnapshotFetcher:
    """Fetches snapshots of one symbol, `depth_limit` levels a side, while its connection lives."""

    def __init__(
        self, symbol: str, rest: BinanceRest, sequencer: Sequencer, rng: random.Random, depth_limit: int
    ) -> None:
        self._symbol = symbol
        self._rest = rest
        self._sequencer = sequencer
        self._rng = rng
        self._depth_limit = self._limit = depth_limit
        self._wake = asyncio.Event()
        self._is_trading = True
        self._has_resumed = asyncio.Event()
        self._is_requested = False
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

    async def run(self) -> None:
        """Fetch for ever."""
        spacing_s = SNAPSHOT_SPACING_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_requested or self._sequencer.needs_snapshot:
                self._is_requested = False  # before the fetch: a request made meanwhile may need a later snapshot
                await self._fetch()
                await self._wait_or_resume(spacing_s if self._is_trading else HALTED_SPACING_S)
                if self._is_requested:
                    if spacing_s > SNAPSHOT_SPACING_S:  # one request may come soon after a snapshot by chance
                        self._limit = min(self._depth_limit, REPEATED_LEVELS)
                    spacing_s = min(spacing_s * 2, REPEATED_SPACING_MAX_S)
                    continue
                if self._limit < self._depth_limit:
                    self.request("a snapshot of few levels has helped; loading all levels")
                spacing_s, self._limit = SNAPSHOT_SPACING_S, self._depth_limit

    async def request_periodically(self, every_s: float) -> None:
        """Request a snapshot every `every_s` seconds for ever, to compare the whole book with it."""
        while True:
            await asyncio.sleep(every_s)
            self.request("periodic audit of the whole book")

    async def _wait_or_resume(self, most_s: float) -> None:
        """Wait this long, but no longer than until the symbol trades again."""
        self._has_resumed.clear()
        try:
            async with asyncio.timeout(most_s):
                await self._has_resumed.wait()
        except TimeoutError:
            pass

    async def _fetch(self) -> None:
        """Fetch until a snapshot joins; each failure waits longer, and diffs are kept meanwhile."""
        self._sequencer.expect_snapshot()
        for delay_s in backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng):
            try:
                snapshot = await self._rest.depth(self._symbol, self._limit)
                reason = await self._sequencer.judge_snapshot(snapshot)
                if not reason and await self._sequencer.put_snapshot(snapshot):
                    self._trouble.over()
                    return
                if not reason:
                    reason = "the exchange's snapshot is older than its stream of updates"
                    self._limit = min(self._depth_limit, REPEATED_LEVELS)
                wait_s = min(delay_s, STALE_SNAPSHOT_MAX_S)
            except (ExchangeBusy, ExchangeRefused) as fault:
                reason, wait_s = str(fault), fault.retry_after_s + delay_s
            except UnknownSymbol as fault:
                await self._report(str(fault), UNKNOWN_SYMBOL_WAIT_S)
                await self._wait_or_resume(UNKNOWN_SYMBOL_WAIT_S)
                continue
            except ExchangeError as fault:
                await self._report(str(fault), delay_s)
                await self._rest.wait_until_reachable(delay_s)
                continue
            await self._report(reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _report(self, reason: str, wait_s: float) -> None:
        """Log why there is no snapshot, and show it where the book waits for one."""
        self._trouble.warn(reason, self._symbol, reason, wait_s)
        if self._sequencer.needs_snapshot:
            await self._sequencer.put(BookLost(f"waiting for a usable snapshot: {reason}"))
