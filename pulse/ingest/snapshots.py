"""Fetching one symbol's depth snapshots: when its book needs one, when one is requested, and again at a fixed interval.

It decides how often the exchange is asked. Whether a snapshot joins the stream is the sequencer's decision.
"""

import asyncio
import logging
import random

from pulse.binance.rest import BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused
from pulse.ingest.sequencer import Sequencer
from pulse.market.types import BookLost

log = logging.getLogger(__name__)

SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S = 0.25, 30.0
SNAPSHOT_SPACING_S = 1.0
"""Even where no snapshot can be used, the exchange is asked no more often than this."""
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
        self._depth_limit = depth_limit
        self._wake = asyncio.Event()
        self._is_requested = False
        self._logged_reason = ""

    def request(self, reason: str) -> None:
        """Fetch a snapshot soon, also while the book is being continued."""
        log.info("snapshot requested symbol=%s reason=%s", self._symbol, reason)
        self._is_requested = True
        self._wake.set()

    def wake_if_needed(self) -> None:
        """Fetch a snapshot soon if the book cannot be continued without one."""
        if self._sequencer.needs_snapshot:
            self._wake.set()

    async def run(self) -> None:
        """Fetch for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_requested or self._sequencer.needs_snapshot:
                self._is_requested = False  # before the fetch: a request made meanwhile may need a later snapshot
                await self._fetch()
                await asyncio.sleep(SNAPSHOT_SPACING_S)

    async def request_periodically(self, every_s: float) -> None:
        """Request a snapshot every `every_s` seconds for ever, to compare the whole book with it."""
        while True:
            await asyncio.sleep(every_s)
            self.request("periodic audit of the whole book")

    async def _fetch(self) -> None:
        """Fetch until a snapshot joins; each failure waits longer, and diffs are kept meanwhile."""
        self._sequencer.expect_snapshot()
        for delay_s in backoff_delays(SNAPSHOT_FIRST_S, SNAPSHOT_MAX_S, self._rng):
            try:
                if await self._sequencer.put_snapshot(await self._rest.depth(self._symbol, self._depth_limit)):
                    return
                reason = "the exchange's snapshot is older than its stream of updates"
                wait_s = min(delay_s, STALE_SNAPSHOT_MAX_S)
            except (ExchangeBusy, ExchangeRefused) as fault:
                reason, wait_s = str(fault), fault.retry_after_s + delay_s
            except ExchangeError as fault:
                await self._report(str(fault), delay_s)
                await self._rest.wait_until_reachable(delay_s)
                continue
            await self._report(reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _report(self, reason: str, wait_s: float) -> None:
        """Log why there is no snapshot, as a warning once per reason, and show it where the book waits for one."""
        level = logging.DEBUG if reason == self._logged_reason else logging.WARNING
        self._logged_reason = reason
        log.log(level, "no snapshot symbol=%s reason=%s next_try_s=%.1f", self._symbol, reason, wait_s)
        if self._sequencer.needs_snapshot:
            await self._sequencer.put(BookLost(f"waiting for a usable snapshot: {reason}"))
