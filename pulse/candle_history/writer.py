"""The task that writes closed candles to the store in batches, and retries while the store is unavailable.

A minute may come more than once, corrected: the candle that takes precedence is pending, and the store's upsert
decides again. While the store is unavailable, candles are pending in memory and in the spool, a file that outlives a
restart; where the disk is full, in memory only.
"""

import asyncio
import logging
import random
import time

from pulse import stats
from pulse.candle_history.fences import FencedWrites
from pulse.candle_history.spool import Spool
from pulse.concurrency import backoff_delays
from pulse.errors import StoreUnavailable
from pulse.market.types import Candle
from pulse.queues import CandleQueue
from pulse.store.contract import Store
from pulse.store.schema import takes_precedence

log = logging.getLogger(__name__)

PENDING_CANDLES_MAX = 28_800
"""A day of one-minute candles of twenty symbols may be pending; beyond it the oldest are dropped."""
BATCH_DELAY_S = 1.0
"""The minutes of all symbols close together; this much later one statement writes them all."""
BATCH_CANDLES_MAX = 1000
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 10.0
CHECK_EVERY_S = 5.0
"""While no candle comes: trouble of the store is known this soon, and that it is over."""
FLUSH_TIMEOUT_S = 2.0
"""The most that the last flush of a stopping process takes."""


NO_LEASE = "Redis does not answer, so it is not known which process writes candles."


class CandleWriter:
    """Writes the candles of `queue` to `store`. Without a spool, pending candles are kept in memory only.

    With `fenced`, where processes share their symbols, candles wait while it is not known whether this process owns
    their symbol, and are dropped if another one does: it has its own, or fetches them from the exchange.
    """

    def __init__(
        self, queue: CandleQueue, store: Store, spool: Spool | None = None, fenced: FencedWrites | None = None
    ) -> None:
        self._queue = queue
        self._store = store
        self._spool = spool
        self._fenced = fenced
        self._is_spool_open = False
        self._pending: dict[tuple[str, int], Candle] = {}
        self._unspooled: dict[tuple[str, int], Candle] = {}  # the pending candles that are not in the spool
        self._store_trouble = self._spool_trouble = ""
        self._trouble_since_s = 0.0

    @property
    def pending(self) -> int:
        """How many closed candles are not written yet."""
        return len(self._pending) + self._queue.qsize()

    @property
    def trouble(self) -> str:
        """Why closed candles cannot be written now, as sentences; empty while they can."""
        if not self._store_trouble or not self._spool_trouble:
            return self._store_trouble
        return f"{self._store_trouble} Closed candles are kept in memory only: {self._spool_trouble}."

    @property
    def spool_trouble(self) -> str:
        """Why closed candles cannot wait on disk now; empty while they can."""
        return self._spool_trouble

    @property
    def trouble_since_s(self) -> float | None:
        """Since when closed candles cannot be written, in seconds since 1970; None while they can."""
        return self._trouble_since_s if self._store_trouble else None

    async def run(self) -> None:
        """Write what an earlier process left in the spool, then every batch of the queue; never return."""
        await self._open_spool()
        if self._pending:
            await self._flush()
        else:
            await self._check_store()
        while True:
            self._add_pending(await self._next_candle())
            await asyncio.sleep(BATCH_DELAY_S)
            await self._open_spool()  # another process may have used it until now
            await self._flush()

    async def aclose(self) -> None:
        """Flush the pending candles once, within FLUSH_TIMEOUT_S, spool the rest, and close the spool."""
        self._drain_queue()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self._pending:
                    await self._write_batch()
        except (StoreUnavailable, TimeoutError) as fault:
            await self._spool_pending()
            log.warning(
                "candles not written at shutdown candles=%s spooled=%s reason=%s",
                len(self._pending), len(self._pending) - len(self._unspooled), fault,
            )  # fmt: skip
        if self._spool is not None:
            self._spool.close()

    async def _next_candle(self) -> Candle:
        """Wait for a candle, and check the store meanwhile."""
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    return await self._queue.get()
            except TimeoutError:
                await self._check_store()

    async def _check_store(self) -> None:
        """Check the store, so that /readyz knows of trouble before the next minute closes. Nothing is pending."""
        try:
            await self._store.check()
        except StoreUnavailable as fault:
            self._set_store_trouble(str(fault))
        else:
            self._set_store_trouble("")

    async def _flush(self) -> None:
        """Write batches until nothing is pending, with a growing delay after each that fails."""
        delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        self._drain_queue()
        while self._pending:
            try:
                await self._write_batch()
            except StoreUnavailable as fault:
                await self._spool_pending()
                self._set_store_trouble(str(fault))
                await asyncio.sleep(next(delays))
            else:
                self._set_store_trouble("")
            self._drain_queue()

    async def _write_batch(self) -> None:
        for key, candle in (await self._write_some()).items():
            # A correction that came while the earlier candle was being written is still pending.
            if self._pending.get(key) is candle:
                del self._pending[key]
                self._unspooled.pop(key, None)
        stats.candles_pending.set(len(self._pending))
        if not self._pending:
            await self._clear_spool()

    async def _write_some(self) -> dict[tuple[str, int], Candle]:
        """Write the first of the pending candles; return those that are done with. Raise StoreUnavailable."""
        if self._fenced is None:
            batch = dict(list(self._pending.items())[:BATCH_CANDLES_MAX])
            await self._store.write_candles(list(batch.values()))
            stats.candles_written.inc(len(batch))
            return batch
        done = {key: candle for key, candle in self._pending.items() if self._fenced.is_elsewhere(candle.symbol)}
        stats.candles_left.inc(len(done))
        owned = [candle for candle in self._pending.values() if self._fenced.may_write(candle.symbol)]
        if owned:
            written = await self._fenced.write(owned[:BATCH_CANDLES_MAX])
            stats.candles_written.inc(len(written))
            done |= {(candle.symbol, candle.open_time_ms): candle for candle in written}
        if not done:
            raise StoreUnavailable(NO_LEASE)
        return done

    def _drain_queue(self) -> None:
        while not self._queue.empty():
            self._add_pending(self._queue.get_nowait())
        stats.candles_pending.set(len(self._pending))

    def _add_pending(self, candle: Candle) -> None:
        key = candle.symbol, candle.open_time_ms
        if key not in self._pending or takes_precedence(candle, self._pending[key]):
            self._pending[key] = self._unspooled[key] = candle
        while len(self._pending) > PENDING_CANDLES_MAX:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            self._unspooled.pop(oldest, None)
            stats.candles_dropped.inc()

    def _set_store_trouble(self, trouble: str) -> None:
        """Note why the store is unavailable, or with an empty text that it is not; log each change between the two."""
        if trouble and not self._store_trouble:
            self._trouble_since_s = time.time()
            log.warning("store unavailable, candles pending reason=%s", trouble)
        elif self._store_trouble and not trouble:
            log.info("store available again, candles written")
        self._store_trouble = trouble

    # --- the spool

    async def _open_spool(self) -> None:
        """Open and lock the spool unless it is open, and add what an earlier process left in it to what is pending."""
        if self._spool is None or self._is_spool_open:
            return
        try:
            found = await asyncio.to_thread(self._spool.open)
        except OSError as fault:
            self._set_spool_trouble(fault)
            return
        self._is_spool_open = True
        self._spool_trouble = ""
        for candle in found:
            self._add_pending(candle)
        spooled = {(candle.symbol, candle.open_time_ms): candle for candle in found}
        self._unspooled = {key: c for key, c in self._unspooled.items() if spooled.get(key) is not c}
        if found:
            log.info("candles found in the spool candles=%s", len(found))

    async def _spool_pending(self) -> None:
        """Add the pending candles that are not in the spool yet."""
        await self._open_spool()
        if self._spool is None or not self._is_spool_open or not self._unspooled:
            return
        batch = dict(self._unspooled)
        try:
            if self._spool.is_full:
                await asyncio.to_thread(self._spool.rewrite, list(self._pending.values()))
            else:
                await asyncio.to_thread(self._spool.append, batch.values())
        except OSError as fault:
            self._set_spool_trouble(fault)
            return
        self._spool_trouble = ""
        self._unspooled = {key: c for key, c in self._unspooled.items() if batch.get(key) is not c}

    async def _clear_spool(self) -> None:
        if self._spool is None or not self._is_spool_open or self._spool.is_empty:
            return
        try:
            await asyncio.to_thread(self._spool.clear)
        except OSError as fault:
            self._set_spool_trouble(fault)

    def _set_spool_trouble(self, fault: OSError) -> None:
        trouble = fault.strerror or str(fault)
        if trouble != self._spool_trouble:
            log.warning("spool unavailable, candles wait in memory alone reason=%s", fault)
        self._spool_trouble = trouble
