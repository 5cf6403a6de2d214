"""The task that deletes candles older than the retention period, a bounded number of hours at a time."""

import asyncio
import logging

from pulse.clock import Clock
from pulse.errors import StoreUnavailable
from pulse.market.intervals import DAY_MS
from pulse.store.contract import Store

log = logging.getLogger(__name__)

DELETE_EVERY_S = 3600.0
BATCH_HOURS = 200
"""Hours of a symbol deleted in one call, 12,000 minutes: no write waits long for it."""
PAUSE_S = 0.2
"""Between two calls, so that writes get their turn."""


class Retention:
    """Keeps the last `days` of candles and gaps in a store."""

    def __init__(self, store: Store, days: int, clock: Clock) -> None:
        self._store = store
        self._days = days
        self._clock = clock

    async def run(self) -> None:
        """Delete what is too old every DELETE_EVERY_S; never return."""
        while True:
            try:
                await self._delete_old()
            except StoreUnavailable as fault:
                log.debug("old candles not deleted reason=%s", fault)
            await asyncio.sleep(DELETE_EVERY_S)

    async def _delete_old(self) -> None:
        before_ms = int(self._clock.wall_s() * 1000) - self._days * DAY_MS
        total = 0
        while deleted := await self._store.delete_before(before_ms, BATCH_HOURS):
            total += deleted
            await asyncio.sleep(PAUSE_S)
        if total:
            log.info("old candles deleted hours=%s days_kept=%s", total, self._days)
