"""The task that brings closed candles into the store, and keeps them while the store is away.

A minute may come more than once, corrected: the better account waits, and the store's upsert makes it the row.
"""

import asyncio
import logging
import random

from pulse import stats
from pulse.backoff import delays
from pulse.errors import StoreUnavailable
from pulse.market.types import Candle
from pulse.store import Store
from pulse.store.schema import replaces

log = logging.getLogger(__name__)

QUEUE_CANDLES_MAX = 10_000
"""Closed candles between engine and ledger: more than a day of six symbols."""
PENDING_CANDLES_MAX = 28_800
"""A day of one-minute candles of twenty symbols waits for a database that is away; then the oldest goes."""
GATHER_S = 1.0
"""Minutes of all symbols close together; this much later one statement writes them all."""
BATCH_CANDLES_MAX = 1000
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 10.0
LAST_WRITE_S = 2.0
"""What a stopping process still waits for its last write."""


def make_candle_queue() -> asyncio.Queue[Candle]:
    """The queue of closed candles on their way to the ledger."""
    return asyncio.Queue(QUEUE_CANDLES_MAX)


class Ledger:
    """Writes what the queue brings. `trouble` says in words why it cannot, and is empty while it can."""

    def __init__(self, queue: asyncio.Queue[Candle], store: Store) -> None:
        self._queue = queue
        self._store = store
        self._pending: dict[tuple[str, int], Candle] = {}
        self.trouble = ""

    @property
    def pending(self) -> int:
        """How many closed candles wait to be written."""
        return len(self._pending) + self._queue.qsize()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            self._keep(await self._queue.get())
            await asyncio.sleep(GATHER_S)
            await self._write_until_empty()

    async def finish(self) -> None:
        """Write what is left, once, within LAST_WRITE_S; the process is stopping."""
        self._collect()
        try:
            async with asyncio.timeout(LAST_WRITE_S):
                while self._pending:
                    await self._write_batch()
        except (StoreUnavailable, TimeoutError) as fault:
            log.warning("candles not written before the end candles=%s reason=%s", len(self._pending), fault)

    async def _write_until_empty(self) -> None:
        waits = delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        self._collect()
        while self._pending:
            try:
                await self._write_batch()
            except StoreUnavailable as fault:
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
        stats.candles_pending.set(len(self._pending))

    def _collect(self) -> None:
        while not self._queue.empty():
            self._keep(self._queue.get_nowait())
        stats.candles_pending.set(len(self._pending))

    def _keep(self, candle: Candle) -> None:
        key = candle.symbol, candle.open_time_ms
        if key not in self._pending or replaces(candle, self._pending[key]):
            self._pending[key] = candle
        while len(self._pending) > PENDING_CANDLES_MAX:
            del self._pending[next(iter(self._pending))]
            stats.candles_dropped.inc()

    def _note_trouble(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.warning("store away, candles are kept reason=%s", trouble)
        elif self.trouble and not trouble:
            log.info("store back, candles written")
        self.trouble = trouble
