"""The task that records trade gaps where there is no exchange to ask for the missing trades: in a replay."""

import asyncio
import logging

from pulse import stats
from pulse.errors import StoreUnavailable
from pulse.market.types import TradeGap
from pulse.queues import TRADE_GAPS_MAX, GapQueue
from pulse.store.contract import Store

log = logging.getLogger(__name__)

RETRY_S = 5.0


class GapWriter:
    """Writes each gap to the store as it is."""

    def __init__(self, gaps: GapQueue, store: Store) -> None:
        self._gaps = gaps
        self._store = store

    async def run(self) -> None:
        """Write what comes, at most TRADE_GAPS_MAX gaps at once, for ever."""
        while True:
            batch = [await self._gaps.get()]
            while not self._gaps.empty() and len(batch) < TRADE_GAPS_MAX:
                batch.append(self._gaps.get_nowait())
            await self._write(batch)

    async def _write(self, batch: list[TradeGap]) -> None:
        is_logged = False
        while True:
            try:
                await self._store.write_gaps(batch)
            except StoreUnavailable as fault:
                if not is_logged:
                    log.warning("trade gaps wait for the store gaps=%s reason=%s", len(batch), fault)
                is_logged = True
                await asyncio.sleep(RETRY_S)
                continue
            for gap in batch:
                stats.trades_lost.labels(gap.symbol).inc(gap.last_trade_id - gap.first_trade_id + 1)
            return
