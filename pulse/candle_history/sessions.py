"""Where a demo or a replay keeps its candles on a shared server: under a venue of its own, which is deleted later.

Each process has its own venue, so nothing of one is ever read by the next, nor by one that runs beside it. The name
begins with the source and the second in which the process began. Knows no database.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from pulse import stats
from pulse.clock import Clock
from pulse.errors import StoreUnavailable

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600.0
"""A demo is deleted this long after its start and its newest candle: one that still runs must not lose its own."""
REPLAY_KEPT_S = 7 * KEPT_S
"""A replay is deleted this long after its start; its candles have the old times of the recording."""
DELETE_EVERY_S = 3600.0
RETRY_S = 60.0
"""While the work is another process's."""
BATCH_HOURS = 200
"""Hours of a symbol deleted in one call, 12,000 minutes: no write waits long for it."""
PAUSE_S = 0.2
"""Between two calls, so that writes get their turn."""
SESSION = re.compile(r"(simulation|replay)-([0-9]{10})-[0-9a-f]{1,32}", re.ASCII)
"""The name of a session's venue: source, start in s since the epoch, instance."""
FORMER = ("simulation", "replay")
"""The venues of all sessions before each had its own; nothing reads them."""


@runtime_checkable
class SessionStore(Protocol):
    """What a store of several venues offers beside the contract of `Store`. Its methods raise StoreUnavailable."""

    async def newest_ms(self) -> Mapping[str, int]:
        """Return the time of the newest candle or gap of each venue."""

    async def delete_venue(self, venue: str, hours_max: int) -> int:
        """Delete at most `hours_max` hours of a venue, the oldest, and all of its gaps; return how many hours."""


def session_venue(source: str, start_s: float, instance: str) -> str:
    """Return the venue of a session that begins now."""
    return f"{source}-{int(start_s):010d}-{instance}"


class PastSessions:
    """Deletes the candles and gaps of demos and replays that have ended; another process does while not `is_ours`."""

    def __init__(
        self, store: SessionStore, own_venue: str, clock: Clock, is_ours: Callable[[], bool] = lambda: True
    ) -> None:
        self._store = store
        self._own_venue = own_venue
        self._clock = clock
        self._is_ours = is_ours

    async def run(self) -> None:
        """Delete them now and every DELETE_EVERY_S; never return."""
        while True:
            if not self._is_ours():
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._delete()
            except StoreUnavailable as fault:
                log.debug("past sessions not deleted reason=%s", fault)
            await asyncio.sleep(DELETE_EVERY_S)

    async def _delete(self) -> None:
        stats.owned_work.labels("past_sessions").inc()
        now_s = self._clock.wall_s()
        for venue, newest_ms in (await self._store.newest_ms()).items():
            if venue == self._own_venue or not _has_ended(venue, newest_ms, now_s):
                continue
            total = 0
            while deleted := await self._store.delete_venue(venue, BATCH_HOURS):
                total += deleted
                await asyncio.sleep(PAUSE_S)
            log.info("past session deleted venue=%s hours=%s", venue, total)


def _has_ended(venue: str, newest_ms: int, now_s: float) -> bool:
    """Return whether a venue is that of a demo or replay that began, and last wrote, long enough ago."""
    has_stopped = newest_ms / 1000 < now_s - KEPT_S
    match = SESSION.fullmatch(venue)
    if match is None:
        return venue in FORMER and has_stopped
    kept_s = REPLAY_KEPT_S if match[1] == "replay" else KEPT_S
    return has_stopped and int(match[2]) < now_s - kept_s
