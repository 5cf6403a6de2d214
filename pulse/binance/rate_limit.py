"""Rate limiting of REST calls: a request-weight budget, bans that outlive the process, and the order of the callers.

Rules: the exchange counts weight per address in fixed minutes and reports its count in each answer; that count decides,
because other programs may share the address. Half of the limit is ours to use, which also makes it harmless that our
minutes do not begin with the exchange's. HTTP 429 and 418 block every call until the time they name. No clock is read
here: times are arguments.
"""

import asyncio
import heapq
import itertools
import logging
from enum import IntEnum
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

USABLE_SHARE = 0.5
"""The part of the exchange's limit that this process may use."""
MINUTE_S = 60.0
BAN_MAX_S = 3 * 24 * 3600.0
"""The longest ban that the exchange documents; a longer one in the file or in an answer is taken for this long."""


class Priority(IntEnum):
    """Who goes first where the budget is short: the lowest number."""

    PINNED_BOOK = 0  # the snapshot of a symbol of the settings
    WATCHED_BOOK = 1  # that of a symbol that a client follows
    TRADES = 2  # missing ones, for which later ones wait
    DEFAULT = 3  # the clock, and the list of instruments
    OTHER_BOOK = 4  # the snapshot of a symbol that no client follows
    HISTORY = 5  # candles, and the trades of past minutes

    @property
    def share(self) -> float:
        """The part of the usable weight that may be spent, by all callers, before one of this priority has to wait."""
        return SHARES.get(self, OTHERS_SHARE)


OTHERS_SHARE = 0.75
"""The rest is there for the snapshots of pinned symbols alone, whatever clients ask for: three whole ones at Binance.US
and Binance.com."""
HISTORY_SHARE = 0.5
"""The next quarter is there for books that clients open."""
SHARES = {Priority.PINNED_BOOK: 1.0, Priority.HISTORY: HISTORY_SHARE}


class WeightBudget:
    """The request weight of one venue. Times are seconds of one clock that the caller passes in."""

    def __init__(self, weight_per_minute: int) -> None:
        self._limit = int(weight_per_minute * USABLE_SHARE)
        self._minute = -1
        self._used = 0
        self._blocked_until_s = 0.0

    @property
    def limit(self) -> int:
        """The weight a minute that this process may use."""
        return self._limit

    def used(self, now_s: float) -> int:
        """Return the weight of the running minute, by the exchange's count where that is higher than ours."""
        self._start_minute(now_s)
        return self._used

    def set_limit(self, weight_per_minute: int) -> None:
        """Replace the limit by the one that the exchange has stated."""
        self._limit = int(weight_per_minute * USABLE_SHARE)

    def wait_s(self, weight: int, now_s: float, share: float = 1.0) -> float:
        """Return the seconds until a call of this weight may be made, 0 for now.

        `share` is the part of the usable weight that may be spent before this call has to wait.
        """
        if now_s < self._blocked_until_s:
            return self._blocked_until_s - now_s
        self._start_minute(now_s)
        # A call heavier than the whole usable share still goes through, alone in its minute.
        if self._used == 0 or self._used + weight <= self._limit * share:
            return 0.0
        return MINUTE_S - now_s % MINUTE_S

    def spend(self, weight: int, now_s: float) -> None:
        """Count a call of this weight."""
        self._start_minute(now_s)
        self._used += weight

    def observe(self, used_weight: int, now_s: float) -> None:
        """Take over the exchange's own count of the current minute, where it is higher than ours."""
        self._start_minute(now_s)
        self._used = max(self._used, used_weight)

    def block(self, retry_after_s: float, now_s: float) -> None:
        """Block all requests for Retry-After seconds; a block that ends later stays."""
        self._blocked_until_s = max(self._blocked_until_s, now_s + retry_after_s)

    def blocked_for_s(self, now_s: float) -> float:
        """Return for how many seconds all requests are still blocked."""
        return max(0.0, self._blocked_until_s - now_s)

    def _start_minute(self, now_s: float) -> None:
        """Reset the count where a new minute has begun."""
        minute = int(now_s // MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._used = 0


class BanFile:
    """The bans of past runs in one small file: host to the ban's end, seconds since the epoch.

    Without a path nothing is kept. A file that cannot be read or written is never an error.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def remaining_s(self, host: str, wall_s: float) -> float:
        """Return for how many seconds this host's ban goes on, at most BAN_MAX_S."""
        until_s = self._read().get(host, 0.0)
        return min(max(0.0, until_s - wall_s), BAN_MAX_S)

    def save(self, host: str, until_s: float) -> None:
        """Write the end of a host's ban; the file is replaced as a whole."""
        if self._path is None:
            return
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_bytes(orjson.dumps(self._read() | {host: until_s}))
            temporary.replace(self._path)
        except OSError as fault:
            log.warning("ban cannot be saved path=%s reason=%s", self._path, fault.strerror)

    def _read(self) -> dict[str, float]:
        if self._path is None:
            return {}
        try:
            body = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        if not isinstance(body, dict):
            return {}
        return {host: float(until) for host, until in body.items() if isinstance(until, int | float)}


class PriorityLock:
    """A lock with one holder at a time. The waiter of the lowest priority number is next, equals in their order."""

    def __init__(self) -> None:
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_held = False

    async def acquire(self, priority: int) -> None:
        """Wait for the lock; every holder must `release` it."""
        if not self._is_held:
            self._is_held = True
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (priority, next(self._numbers), granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Pass the lock to the next waiter."""
        while self._waiters:
            granted = heapq.heappop(self._waiters)[2]
            if not granted.done():
                granted.set_result(None)
                return
        self._is_held = False
