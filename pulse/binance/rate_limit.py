"""Rate limiting of REST calls: a request-weight budget, bans that outlive the process, and the order of the callers.

Rules: the exchange counts weight per address in fixed minutes and reports its count in each answer; that count decides,
because other programs may share the address. Half of the limit is ours to use, which also makes it harmless that our
minutes do not begin with the exchange's. HTTP 429 and 418 block every call until the time they name. No clock is read
here: times are arguments, and a ban's file is given the machine's uptime as a function.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pulse.clock import Uptime, system_uptime

log = logging.getLogger(__name__)

USABLE_SHARE = 0.5
"""The part of the exchange's limit that this process may use."""
MINUTE_S = 60.0
BAN_MAX_S = 3 * 24 * 3600.0
"""The longest ban that the exchange documents; a longer one in the file or in an answer is taken for this long."""


class Priority(IntEnum):
    """The order of callers where the budget is short: the lowest number goes first."""

    PINNED_BOOK = 0  # the first snapshot, of few levels, of a symbol of the settings
    WATCHED_BOOK = 1  # that of a symbol that a client follows
    TRADES = 2  # missing ones, for which later ones wait
    DEFAULT = 3  # the clock, and the list of instruments
    OTHER_BOOK = 4  # the first snapshot of a symbol that no client follows
    PINNED_WIDENING = 5  # a snapshot of all levels, of a symbol of the settings whose book has joined
    OTHER_WIDENING = 6  # that of any other
    HISTORY = 7  # candles, and the trades of past minutes

    @property
    def widening(self) -> "Priority":
        """The priority of a snapshot of all levels, where this is the one of the symbol's first."""
        return Priority.PINNED_WIDENING if self is Priority.PINNED_BOOK else Priority.OTHER_WIDENING

    @property
    def share(self) -> float:
        """The part of the usable weight that may be spent, by all callers, before one of this priority has to wait."""
        return SHARES.get(self, OTHERS_SHARE)

    @property
    def counted_share(self) -> float:
        """The same by the exchange's own count, which has what was spent before our minute began and by others too."""
        return COUNTED_SHARE if self is Priority.PINNED_BOOK else self.share


OTHERS_SHARE = 0.97
"""The rest is there for the first snapshots of pinned symbols alone, whatever clients ask for: eighteen of them."""
WIDENING_SHARE, OTHER_WIDENING_SHARE = 0.95, 0.75
"""Snapshots of all levels cost fifty times as much, and leave room for first ones and missing trades. Those of books
that clients open leave room for those of pinned ones too."""
HISTORY_SHARE = 0.5
"""The next quarter is there for books that clients open."""
COUNTED_SHARE = 0.9 / USABLE_SHARE
"""For a pinned book's first snapshot the exchange's count may come near to its limit: else what others have spent in
the overlap of the exchange's minute and ours would make it wait after all."""
SHARES = {
    Priority.PINNED_BOOK: 1.0,
    Priority.PINNED_WIDENING: WIDENING_SHARE,
    Priority.OTHER_WIDENING: OTHER_WIDENING_SHARE,
    Priority.HISTORY: HISTORY_SHARE,
}


class WeightBudget:
    """The request weight of one venue. Times are seconds of one clock that the caller passes in."""

    def __init__(self, weight_per_minute: int) -> None:
        self._limit = int(weight_per_minute * USABLE_SHARE)
        self._minute = -1
        self._spent = 0  # by us, in our minute
        self._counted = 0  # by the exchange, at the newest answer of our minute
        self._blocked_until_s = 0.0

    @property
    def limit(self) -> int:
        """The weight a minute that this process may use."""
        return self._limit

    def used(self, now_s: float) -> int:
        """Return the weight of the running minute, by the exchange's count where that is higher than ours."""
        self._start_minute(now_s)
        return max(self._spent, self._counted)

    def set_limit(self, weight_per_minute: int) -> None:
        """Replace the limit by the one that the exchange has stated."""
        self._limit = int(weight_per_minute * USABLE_SHARE)

    def wait_s(self, weight: int, now_s: float, share: float = 1.0, counted_share: float | None = None) -> float:
        """Return the seconds until a call of this weight may be made, 0 for now.

        `share` is the part of the usable weight that may be spent before this call has to wait; `counted_share` that by
        the exchange's own count, the same if it is not given.
        """
        if now_s < self._blocked_until_s:
            return self._blocked_until_s - now_s
        self._start_minute(now_s)
        counted_max = self._limit * (share if counted_share is None else counted_share)
        # A call heavier than the whole usable share still goes through, alone in its minute.
        if self._counted == 0 or (
            self._spent + weight <= self._limit * share and self._counted + weight <= counted_max
        ):
            return 0.0
        return MINUTE_S - now_s % MINUTE_S

    def spend(self, weight: int, now_s: float) -> None:
        """Count a call of this weight."""
        self._start_minute(now_s)
        self._spent += weight
        self._counted += weight  # until its answer has the exchange's count

    def observe(self, used_weight: int, now_s: float) -> None:
        """Take over the exchange's own count of the current minute, where it is higher than ours."""
        self._start_minute(now_s)
        self._counted = max(self._counted, used_weight)

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
            self._spent = self._counted = 0


class BanFile:
    """The bans of past runs in one small file: host to when the ban ends.

    Each end is written twice: by the machine's uptime, which counts where the machine has not been started again since,
    because its date may have been set meanwhile; and as a date, which is all there is after another start, right or
    wrong. Without a path nothing is kept. A file that cannot be read or written is never an error; `trouble` is why it
    cannot be written, empty while it can.
    """

    def __init__(self, path: Path | None, uptime: Callable[[], Uptime] = system_uptime) -> None:
        self._path = path
        self._uptime = uptime
        self.trouble = ""

    def check(self) -> None:
        """Find out whether the file can be written, before there is a ban to be kept."""
        if self._path is None:
            return
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_bytes(b"{}")
            temporary.unlink()
        except OSError as fault:
            self._set_trouble(fault)

    def remaining_s(self, host: str, wall_s: float) -> float:
        """Return for how many seconds this host's ban goes on, at most BAN_MAX_S; `wall_s` is the machine's date."""
        ban, uptime = self._read().get(host), self._uptime()
        if ban is None:
            return 0.0
        is_same_start = uptime.boot_id != "" and ban.boot_id == uptime.boot_id
        left_s = ban.until_uptime_s - uptime.seconds if is_same_start else ban.until_s - wall_s
        return min(max(0.0, left_s), BAN_MAX_S)

    def save(self, host: str, wait_s: float, wall_s: float) -> None:
        """Write that a host's ban ends in this many seconds; the file is replaced as a whole."""
        if self._path is None:
            return
        uptime = self._uptime()
        bans = self._read() | {host: _Ban(wall_s + wait_s, uptime.boot_id, uptime.seconds + wait_s)}
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_bytes(orjson.dumps({name: ban._asdict() for name, ban in bans.items()}))
            temporary.replace(self._path)
        except OSError as fault:
            self._set_trouble(fault)
        else:
            self.trouble = ""

    def _set_trouble(self, fault: OSError) -> None:
        trouble = fault.strerror or str(fault)
        if trouble != self.trouble:
            log.warning(
                "state file cannot be written, bans end with the process path=%s reason=%s", self._path, trouble
            )
        self.trouble = trouble

    def _read(self) -> dict[str, "_Ban"]:
        if self._path is None:
            return {}
        try:
            body = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        bans = {host: _read_ban(fields) for host, fields in body.items()} if isinstance(body, dict) else {}
        return {host: ban for host, ban in bans.items() if ban is not None}


class _Ban(NamedTuple):
    """The end of a ban: as a date in s since the epoch, and by the uptime of one start of the machine."""

    until_s: float
    boot_id: str
    until_uptime_s: float


def _read_ban(fields: Any) -> _Ban | None:
    if isinstance(fields, int | float):
        return _Ban(float(fields), "", 0.0)  # as files of earlier versions have it: the date alone
    if not isinstance(fields, dict):
        return None
    until_s, boot_id, until_uptime_s = (fields.get(name) for name in _Ban._fields)
    if not isinstance(until_s, int | float) or not isinstance(until_uptime_s, int | float):
        return None
    return _Ban(float(until_s), boot_id, float(until_uptime_s)) if isinstance(boot_id, str) else None


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
