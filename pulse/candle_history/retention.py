"""The task that deletes candles older than the retention period: by the exchange's time, a bounded span at a time.

What is deleted cannot be fetched again from here, so two clocks must agree that it is old: the exchange's, and the
newest stored minute. This machine's clock decides nothing.
"""

import asyncio
import logging
from collections.abc import Callable

from pulse import stats
from pulse.errors import StoreUnavailable
from pulse.market.intervals import DAY_MS, HOUR_MS, iso_time
from pulse.store.contract import Store

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600.0
SWEEP_HOURS_MAX = 24
"""The most that one sweep deletes, from the oldest stored hour on. Only one hour gets old between two sweeps; the rest
is for what was left while nothing ran, or was kept by a longer period."""
RETRY_S = 60.0
"""While the exchange's time is unknown, or the work is another process's."""
BATCH_HOURS = 200
"""Hours of all symbols deleted in one call, 12,000 minutes: no write waits long for it."""
PAUSE_S = 0.2
"""Between two calls, so that writes get their turn."""


class Retention:
    """Keeps the last `days` of candles and gaps in a store.

    `exchange_ms` returns the exchange's time in ms since the epoch; None while it is unknown. While `is_ours` is false
    another process does it.
    """

    def __init__(
        self, store: Store, days: int, exchange_ms: Callable[[], int | None], is_ours: Callable[[], bool] = lambda: True
    ) -> None:
        self._store = store
        self._days = days
        self._exchange_ms = exchange_ms
        self._is_ours = is_ours

    async def run(self) -> None:
        """Delete what is too old every SWEEP_EVERY_S; never return."""
        while True:
            now_ms = self._exchange_ms()
            if now_ms is None or not self._is_ours():
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._sweep(now_ms)
            except StoreUnavailable as fault:
                log.debug("old candles not deleted reason=%s", fault)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _sweep(self, now_ms: int) -> None:
        stats.owned_work.labels("retention").inc()
        stored = await self._store.stored_hours()
        if stored is None:
            return
        oldest_ms, newest_ms = stored
        due_ms = min(now_ms, newest_ms + HOUR_MS) - self._days * DAY_MS
        before_ms = min(due_ms, oldest_ms + SWEEP_HOURS_MAX * HOUR_MS)
        total = 0
        while deleted := await self._store.delete_before(before_ms, BATCH_HOURS):
            total += deleted
            await asyncio.sleep(PAUSE_S)
        if total:
            log.info(
                "old candles deleted hours=%s from=%s before=%s days_kept=%s left_for_later=%s",
                total, iso_time(oldest_ms), iso_time(before_ms), self._days, before_ms < due_ms,
            )  # fmt: skip
