"""The task that deletes candles that are older than their owner wants to keep, a bounded number at a time."""

import asyncio
import logging

from pulse.clock import Clock
from pulse.errors import StoreUnavailable
from pulse.market.intervals import DAY_MS
from pulse.store.contract import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0
BATCH_HOURS = 200
"""Hours of a symbol in one call, 12,000 minutes: no write waits long behind it."""
PAUSE_S = 0.2


class Retention:
    """Keeps the last `days` of candles in a store."""

    def __init__(self, store: Store, days: int, clock: Clock) -> None:
        self._store = store
        self._days = days
        self._clock = clock

    async def run(self) -> None:
        """Delete what is too old, every hour, for ever."""
        while True:
            try:
                await self._delete_all()
            except StoreUnavailable as fault:
                log.debug("old candles not deleted reason=%s", fault)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _delete_all(self) -> None:
        before_ms = int(self._clock.wall_s() * 1000) - self._days * DAY_MS
        total = 0
        while deleted := await self._store.delete_before(before_ms, BATCH_HOURS):
            total += deleted
            await asyncio.sleep(PAUSE_S)
        if total:
            log.info("old candles deleted hours=%s days_kept=%s", total, self._days)
