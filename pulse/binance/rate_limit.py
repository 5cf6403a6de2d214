"""One request-weight budget for every REST call of the process. Pure: the clock is an argument.

Rules: the exchange counts weight per address in fixed minutes and reports what it has counted in each answer; its
figure rules, for others may share the address. Half of the limit is ours to use, which also makes it harmless that
our minutes do not begin with the exchange's. HTTP 429 and 418 stop every call until the time they name.
"""

import asyncio
import heapq
import itertools
import logging
from pathlib import Path

import orjson

OUR_SHARE = 0.5
MINUTE_S = 60.0


class WeightBudget:
    """Tells how long a call must wait. Times are seconds of one clock that the caller passes in."""

    def __init__(self, weight_per_minute: int) -> None:
        self._limit = int(weight_per_minute * OUR_SHARE)
        self._minute = -1
        self._used = 0
        self._closed_until_s = 0.0

    def set_limit(self, weight_per_minute: int) -> None:
        """The exchange has stated its limit."""
        self._limit = int(weight_per_minute * OUR_SHARE)

    def wait_s(self, weight: int, now_s: float, share: float = 1.0) -> float:
        """Seconds until a call of this weight may be made by who may use this share of what is ours; 0 means now."""
        if now_s < self._closed_until_s:
            return self._closed_until_s - now_s
        self._turn(now_s)
        # A call heavier than our whole share still goes through, alone in its minute.
        if self._used == 0 or self._used + weight <= self._limit * share:
            return 0.0
        return MINUTE_S - now_s % MINUTE_S

    def spend(self, weight: int, now_s: float) -> None:
        """A call of this weight is being made."""
        self._turn(now_s)
        self._used += weight

    def observe(self, used_weight: int, now_s: float) -> None:
        """The exchange's own count for the current minute."""
        self._turn(now_s)
        self._used = max(self._used, used_weight)

    def close(self, seconds: float, now_s: float) -> None:
        """The exchange demands silence for this long."""
        self._closed_until_s = max(self._closed_until_s, now_s + seconds)

    def closed_for_s(self, now_s: float) -> float:
        """How much of a demanded silence is left."""
        return max(0.0, self._closed_until_s - now_s)

    def _turn(self, now_s: float) -> None:
        minute = int(now_s // MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._used = 0


log = logging.getLogger(__name__)

BAN_MAX_S = 3 * 24 * 3600.0
"""The longest ban that the exchange documents: whatever the file says beyond it is not believed."""


class BanFile:
    """One small file: host -> end of its ban, seconds since the epoch. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def remaining_s(self, host: str, wall_s: float) -> float:
        """How much of a remembered ban of this host is left."""
        until_s = self._read().get(host, 0.0)
        return min(max(0.0, until_s - wall_s), BAN_MAX_S)

    def remember(self, host: str, until_s: float) -> None:
        """Keep the end of a ban, before anything else is done."""
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_bytes(orjson.dumps(self._read() | {host: until_s}))
            beside.replace(self._path)
        except OSError as fault:
            log.warning("ban cannot be remembered path=%s reason=%s", self._path, fault.strerror)

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
    """At most one holder; `take` with the lowest rank goes first, and among equals who came first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    async def take(self, rank: int) -> None:
        """Wait for the turn; whoever has it must `give_back`."""
        if not self._is_taken:
            self._is_taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one in."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
