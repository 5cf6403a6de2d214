"""The task that brings closed candles into the store, and keeps them while the store is away.

A minute may come more than once, corrected: the better account waits, and the store's upsert makes it the row. While
the store is away candles wait in memory, and on disk across a restart; where the disk is full, in memory alone.
"""

import asyncio
import logging
import random

from pulse import stats
from pulse.candle_history.spool import Spool
from pulse.concurrency import backoff_delays
from pulse.errors import StoreUnavailable
from pulse.market.types import Candle
from pulse.store.contract import Store
from pulse.store.schema import replaces

log = logging.getLogger(__name__)

PENDING_CANDLES_MAX = 28_800
"""A day of one-minute candles of twenty symbols waits for a database that is away; then the oldest goes."""
GATHER_S = 1.0
"""Minutes of all symbols close together; this much later one statement writes them all."""
BATCH_CANDLES_MAX = 1000
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 10.0
LAST_WRITE_S = 2.0
"""What a stopping process still waits for its last write."""


class CandleWriter:
    """Writes what the queue brings. `trouble` says in words why it cannot, and is empty while it can."""

    def __init__(self, queue: asyncio.Queue[Candle], store: Store, spool: Spool | None = None) -> None:
        self._queue = queue
        self._store = store
        self._spool = spool
        self._has_spool = False  # whether it is ours, and what it held is among those that wait
        self._pending: dict[tuple[str, int], Candle] = {}
        self._unspooled: dict[tuple[str, int], Candle] = {}  # those of them that are not on disk
        self._store_trouble = self._spool_trouble = ""

    @property
    def pending(self) -> int:
        """How many closed candles wait to be written."""
        return len(self._pending) + self._queue.qsize()

    @property
    def trouble(self) -> str:
        """Why closed candles cannot be written now, and where they wait."""
        if not self._store_trouble or not self._spool_trouble:
            return self._store_trouble
        return f"{self._store_trouble} Closed candles wait in memory alone: {self._spool_trouble}."

    async def run(self) -> None:
        """Write for ever, first what an earlier process could not."""
        await self._open_spool()
        if self._pending:
            await self._write_until_empty()
        else:
            await self._look_at_store()
        while True:
            self._keep(await self._queue.get())
            await asyncio.sleep(GATHER_S)
            await self._open_spool()  # another process may have had it
            await self._write_until_empty()

    async def _look_at_store(self) -> None:
        """See whether the store is there: whoever asks whether we are ready need not wait for the first minute."""
        try:
            await self._store.check()
        except StoreUnavailable as fault:
            self._note_trouble(str(fault))

    async def finish(self) -> None:
        """Write what is left, once, within LAST_WRITE_S; the process is stopping."""
        self._collect()
        try:
            async with asyncio.timeout(LAST_WRITE_S):
                while self._pending:
                    await self._write_batch()
        except (StoreUnavailable, TimeoutError) as fault:
            await self._keep_on_disk()
            log.warning(
                "candles not written before the end candles=%s on_disk=%s reason=%s",
                len(self._pending), len(self._pending) - len(self._unspooled), fault,
            )  # fmt: skip
        if self._spool is not None:
            self._spool.close()

    async def _write_until_empty(self) -> None:
        waits = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        self._collect()
        while self._pending:
            try:
                await self._write_batch()
            except StoreUnavailable as fault:
                await self._keep_on_disk()
                self._note_trouble(str(fault))
                await asyncio.sleep(next(waits))
            else:
                self._note_trouble("")
            self._collect()

    async def _write_batch(self) -> None:
        batch = dict(list(self._pending.items())[:BATCH_CANDLES_MAX])
        await self._store.write_candles(list(batch.values()))
        stats.candles_written.inc(len(batch))
        for key, candle in batch.items():
            # A corrected account that came while the old one was being written still has to be.
            if self._pending.get(key) is candle:
                del self._pending[key]
                self._unspooled.pop(key, None)
        stats.candles_pending.set(len(self._pending))
        if not self._pending:
            await self._clear_disk()

    # --- on disk

    async def _open_spool(self) -> None:
        """Make the spool ours, and take what an earlier process left there."""
        if self._spool is None or self._has_spool:
            return
        try:
            left = await asyncio.to_thread(self._spool.open)
        except OSError as fault:
            self._note_spool_trouble(fault)
            return
        self._has_spool = True
        for candle in left:
            self._keep(candle)
        on_disk = {(candle.symbol, candle.open_time_ms): candle for candle in left}
        self._unspooled = {key: c for key, c in self._unspooled.items() if on_disk.get(key) is not c}
        if left:
            log.info("candles of an earlier process found candles=%s", len(left))

    async def _keep_on_disk(self) -> None:
        """Bring to disk what waits and is not there yet."""
        await self._open_spool()
        if self._spool is None or not self._has_spool or not self._unspooled:
            return
        batch = dict(self._unspooled)
        try:
            if self._spool.is_full:
                await asyncio.to_thread(self._spool.rewrite, list(self._pending.values()))
            else:
                await asyncio.to_thread(self._spool.append, batch.values())
        except OSError as fault:
            self._note_spool_trouble(fault)
            return
        self._spool_trouble = ""
        self._unspooled = {key: c for key, c in self._unspooled.items() if batch.get(key) is not c}

    async def _clear_disk(self) -> None:
        if self._spool is None or not self._has_spool or self._spool.is_empty:
            return
        try:
            await asyncio.to_thread(self._spool.clear)
        except OSError as fault:
            self._note_spool_trouble(fault)

    def _note_spool_trouble(self, fault: OSError) -> None:
        trouble = fault.strerror or str(fault)
        if trouble != self._spool_trouble:
            log.warning("spool cannot be used reason=%s", trouble)
        self._spool_trouble = trouble

    def _collect(self) -> None:
        while not self._queue.empty():
            self._keep(self._queue.get_nowait())
        stats.candles_pending.set(len(self._pending))

    def _keep(self, candle: Candle) -> None:
        key = candle.symbol, candle.open_time_ms
        if key not in self._pending or replaces(candle, self._pending[key]):
            self._pending[key] = self._unspooled[key] = candle
        while len(self._pending) > PENDING_CANDLES_MAX:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            self._unspooled.pop(oldest, None)
            stats.candles_dropped.inc()

    def _note_trouble(self, trouble: str) -> None:
        if trouble and not self._store_trouble:
            log.warning("store away, candles are kept reason=%s", trouble)
        elif self._store_trouble and not trouble:
            log.info("store back, candles written")
        self._store_trouble = trouble
