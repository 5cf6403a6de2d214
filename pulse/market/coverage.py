"""Coverage: which part of each UTC day a symbol's book was proven and its minutes are whole, each hole with its cause.

A `ProofRecord` notes the state of a running book; a `DayCoverage` is what is kept of a day: from when to when it was
watched, and the holes in between. What was not watched was not proven, so the union of several processes' days claims
nothing that none of them saw. Times are ms since the epoch.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from pulse.market.types import MINUTE_MS, TradeGap

DAY_MS = 86_400_000
HOLES_MAX = 200
"""Holes kept of a day. Beyond it those that are nearest to each other become one, with the proven time between them:
a book that was more often lost is not shown as better than it was."""
STALLED_MS = 5_000
"""A running book is noted at least every second; a longer pause means that the process stood still."""
RUNNING_DAYS_MAX = 7
"""Days that a record is read for at most: a clock that is set years ahead makes no row for each day in between."""
REASON_CHARS_MAX = 120
NOT_RUNNING, TRADES_LOST, NOT_FETCHED = "not running", "trades lost", "not fetched"
"""Causes of a hole beside the states of a book."""


class Hole(NamedTuple):
    """A part of a day that is not covered: from, to, its cause, and the reason in words where there is one."""

    from_ms: int
    to_ms: int
    cause: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DayCoverage:
    """What is known of the book of one UTC day: watched in [since, until], proven there outside of the holes."""

    symbol: str
    day_ms: int
    since_ms: int
    until_ms: int
    holes: tuple[Hole, ...]


class ProofRecord:
    """The holes of one running book, cut into days where they are read."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.since_ms = self.until_ms = 0  # 0: nothing was noted yet
        self._holes: deque[Hole] = deque()
        self._cause = self._reason = ""
        self._cause_since_ms = 0

    def note(self, cause: str, reason: str, now_ms: int) -> None:
        """Note the book's state now: no cause means that it is proven. To be called at least once a second."""
        if now_ms < self.until_ms - STALLED_MS:
            self._holes.clear()  # the clock was set back: what was noted by the old one has no place in the day
            self.until_ms = 0
        if not self.until_ms:
            self.since_ms = self.until_ms = self._cause_since_ms = now_ms
            self._cause, self._reason = cause, reason
        if now_ms - self.until_ms > STALLED_MS:
            self._end_hole(self.until_ms)
            self._holes.append(Hole(self.until_ms, now_ms, NOT_RUNNING))
            self._cause_since_ms = now_ms
        self.until_ms = max(self.until_ms, now_ms)  # a clock that goes back a little takes nothing away
        if cause != self._cause:
            self._end_hole(self.until_ms)
            self._cause, self._reason, self._cause_since_ms = cause, reason, self.until_ms
        if len(self._holes) > 2 * HOLES_MAX:
            self._holes = deque(joined(self._holes))

    def _end_hole(self, now_ms: int) -> None:
        if self._cause and now_ms > self._cause_since_ms:
            self._holes.append(Hole(self._cause_since_ms, now_ms, self._cause, self._reason[:REASON_CHARS_MAX]))

    def days(self, from_ms: int) -> list[DayCoverage]:
        """Return the days from the one of this time on, as far as they were watched."""
        if not self.until_ms:
            return []
        running = [Hole(self._cause_since_ms, self.until_ms, self._cause, self._reason[:REASON_CHARS_MAX])]
        holes = [*self._holes, *(running if self._cause else ())]
        first_ms = max(day_of(max(from_ms, self.since_ms)), day_of(self.until_ms) - (RUNNING_DAYS_MAX - 1) * DAY_MS)
        return [
            DayCoverage(
                self.symbol, day_ms, max(self.since_ms, day_ms), min(self.until_ms, day_ms + DAY_MS),
                joined(_cut(holes, day_ms, day_ms + DAY_MS)),
            )
            for day_ms in range(first_ms, self.until_ms + 1, DAY_MS)
        ]  # fmt: skip

    def forget_before(self, time_ms: int) -> None:
        """Drop what lies before this time: it is kept elsewhere."""
        while self._holes and self._holes[0].to_ms <= time_ms:
            self._holes.popleft()
        self.since_ms = min(max(self.since_ms, time_ms), self.until_ms)


def day_of(time_ms: int) -> int:
    """Return when the UTC day of a time begins."""
    return time_ms - time_ms % DAY_MS


def joined(holes: Iterable[Hole]) -> tuple[Hole, ...]:
    """Return at most HOLES_MAX holes: those with the least proven time between them are joined, with one's cause."""
    kept = list(holes)
    excess = len(kept) - HOLES_MAX
    if excess <= 0:
        return tuple(kept)
    by_distance = sorted(range(1, len(kept)), key=lambda at: kept[at].from_ms - kept[at - 1].to_ms)
    absorbed = set(by_distance[:excess])
    found: list[Hole] = []
    for at, hole in enumerate(kept):
        if at not in absorbed:
            found.append(hole)
            continue
        before = found[-1]
        longer = max(before, hole, key=lambda one: one.to_ms - one.from_ms)
        found[-1] = longer._replace(from_ms=before.from_ms, to_ms=hole.to_ms)
    return tuple(found)


def merge_days(one: DayCoverage, other: DayCoverage) -> DayCoverage:
    """Return what both know of the same day: proven where either says so, else a hole; unwatched in between, too."""
    since_ms, until_ms = min(one.since_ms, other.since_ms), max(one.until_ms, other.until_ms)
    edges = {since_ms, until_ms}
    for day in (one, other):
        edges |= {day.since_ms, day.until_ms, *(at for hole in day.holes for at in (hole.from_ms, hole.to_ms))}
    holes = [
        Hole(from_ms, to_ms, *cause)
        for from_ms, to_ms in pairwise(sorted(edges))
        if (cause := _cause_of_both(_found(one, from_ms), _found(other, from_ms))) is not None
    ]
    return replace(one, since_ms=since_ms, until_ms=until_ms, holes=joined(_contiguous(holes)))


PROVEN = ("", "")


def _found(day: DayCoverage, at_ms: int) -> tuple[str, str] | None:
    """Return cause and reason at a time, PROVEN without a hole, None where the day was not watched."""
    if not day.since_ms <= at_ms < day.until_ms:
        return None
    at = bisect_right(day.holes, at_ms, key=lambda hole: hole.from_ms) - 1
    if at >= 0 and at_ms < day.holes[at].to_ms:
        return day.holes[at].cause, day.holes[at].reason
    return PROVEN


def _cause_of_both(one: tuple[str, str] | None, other: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return cause and reason of a hole that both have or do not know; None where either has proven the book."""
    if PROVEN in (one, other):
        return None
    return one or other or (NOT_RUNNING, "")


def _contiguous(holes: Iterable[Hole]) -> Iterator[Hole]:
    """Join holes of the same cause that follow each other without a pause."""
    last: Hole | None = None
    for hole in holes:
        if last is not None and (last.to_ms, last[2:]) == (hole.from_ms, hole[2:]):
            last = last._replace(to_ms=hole.to_ms)
            continue
        if last is not None:
            yield last
        last = hole
    if last is not None:
        yield last


def _cut(holes: Iterable[Hole], from_ms: int, to_ms: int) -> Iterator[Hole]:
    """Cut holes to a range; those outside of it vanish."""
    for hole in holes:
        if hole.from_ms < to_ms and hole.to_ms > from_ms:
            yield hole._replace(from_ms=max(hole.from_ms, from_ms), to_ms=min(hole.to_ms, to_ms))


def holes_between(days: Sequence[DayCoverage], from_ms: int, to_ms: int) -> list[Hole]:
    """Return every hole of a range, what no day has watched included; the days are in their order."""
    found: list[Hole] = []
    at_ms = from_ms
    for day in days:
        since_ms, until_ms = max(day.since_ms, from_ms), min(day.until_ms, to_ms)
        if since_ms >= until_ms:
            continue
        if since_ms > at_ms:
            found.append(Hole(at_ms, since_ms, NOT_RUNNING))
        found += _cut(day.holes, since_ms, until_ms)
        at_ms = until_ms
    if at_ms < to_ms:
        found.append(Hole(at_ms, to_ms, NOT_RUNNING))
    return list(_contiguous(found))


def missing_minutes(stored: Iterable[int], from_ms: int, to_ms: int) -> list[Hole]:
    """Return the minutes of a range that are not among the stored ones, by their open times, as holes."""
    known = set(stored)
    minutes = (at_ms for at_ms in range(from_ms, to_ms, MINUTE_MS) if at_ms not in known)
    return list(_contiguous(Hole(at_ms, at_ms + MINUTE_MS, NOT_FETCHED) for at_ms in minutes))


def with_causes(missing: Iterable[Hole], book_holes: Sequence[Hole], gaps: Sequence[TradeGap]) -> list[Hole]:
    """Return missing minutes with their causes: lost trades, else the longest hole of the book in them, if any."""
    return [_with_cause(hole, book_holes, gaps) for hole in missing]


def _with_cause(hole: Hole, book_holes: Sequence[Hole], gaps: Sequence[TradeGap]) -> Hole:
    if any(gap.from_ms < hole.to_ms and gap.to_ms >= hole.from_ms for gap in gaps):
        return hole._replace(cause=TRADES_LOST)
    inside = list(_cut(book_holes, hole.from_ms, hole.to_ms))
    if not inside:
        return hole
    longest = max(inside, key=lambda one: one.to_ms - one.from_ms)
    return hole._replace(cause=longest.cause, reason=longest.reason)


def share(holes: Iterable[Hole], from_ms: int, to_ms: int) -> float | None:
    """Return which part of a range is in none of its holes; None for an empty range."""
    if to_ms <= from_ms:
        return None
    return 1 - sum(hole.to_ms - hole.from_ms for hole in holes) / (to_ms - from_ms)
