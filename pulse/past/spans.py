"""What there is of the past of one symbol: spans without a hole, holes with their causes, and what was proven. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pulse.market.types import State
from pulse.past.block import BlockMeta
from pulse.past.recording import CLOCK_SET, STARTED

JOINT_MS = 1_000
"""Between a block and the one that continues it: a clock that is being synchronised moves a little."""
LISTED_MAX = 1_000
"""Spans, holes and unproven spans in a report; the newest are kept."""
GOOD_STATES = (State.LIVE.value, State.HALTED.value)
KILLED = "the process ended without ending its recording; up to a minute before is lost"
MISSING = "blocks are missing: damaged, deleted, or of another program"


class Hole(NamedTuple):
    """A time of which nothing is recorded, and why; ms since the epoch."""

    from_ms: int
    to_ms: int
    cause: str


class Unproven(NamedTuple):
    """A time that is recorded, in which the book was not proven: its state and the reason."""

    from_ms: int
    to_ms: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class PastReport:
    """The past of a symbol from the first to the last recorded ms of a range; shares are None where there is none.

    `coverage` is which part of it is recorded, `proven` in which part the book was proven too.
    """

    symbol: str
    from_ms: int
    to_ms: int
    blocks: int
    coverage: float | None
    proven: float | None
    spans: list[tuple[int, int]]
    holes: list[Hole]
    unproven: list[Unproven]
    incidents: list[list[Any]]


def in_order(metas: Iterable[BlockMeta]) -> list[BlockMeta]:
    """Return blocks by their time, each once; those that show nothing are left out."""
    unique = {(meta.run, meta.from_ms, meta.number): meta for meta in metas if not meta.flaw}
    return sorted(unique.values(), key=lambda meta: (meta.from_ms, meta.to_ms))


def report_of(symbol: str, metas: Sequence[BlockMeta], from_ms: int, to_ms: int) -> PastReport:
    """Return what blocks, in their order, say of a range."""
    inside = [meta for meta in metas if meta.to_ms >= from_ms and meta.from_ms <= to_ms]
    if not inside:
        return PastReport(symbol, from_ms, to_ms, 0, None, None, [], [], [], [])
    begin_ms, end_ms = max(from_ms, inside[0].from_ms), min(to_ms, max(meta.to_ms for meta in inside))
    holes = _holes(inside)
    unproven = [cut for part in _unproven(inside) if (cut := _cut(part, begin_ms, end_ms)) is not None]
    length_ms = end_ms - begin_ms
    missing_ms = sum(hole.to_ms - hole.from_ms for hole in holes)
    doubtful_ms = sum(part.to_ms - part.from_ms for part in unproven)
    return PastReport(
        symbol=symbol,
        from_ms=begin_ms,
        to_ms=end_ms,
        blocks=len(inside),
        coverage=1 - missing_ms / length_ms if length_ms > 0 else None,
        proven=1 - (missing_ms + doubtful_ms) / length_ms if length_ms > 0 else None,
        spans=_between(holes, begin_ms, end_ms)[-LISTED_MAX:],
        holes=holes[-LISTED_MAX:],
        unproven=unproven[-LISTED_MAX:],
        incidents=[incident for meta in inside for incident in meta.incidents][-LISTED_MAX:],
    )


def hole_at(metas: Sequence[BlockMeta], time_ms: int) -> Hole | None:
    """Return the hole between blocks that holds this time; None where it is before, after or within them."""
    return next((hole for hole in _holes(metas) if hole.from_ms < time_ms < hole.to_ms), None)


def row_of(report: PastReport) -> dict[str, Any]:
    """Return a report as the API has it."""
    row = asdict(report)
    row["spans"] = [{"from_ms": from_ms, "to_ms": to_ms} for from_ms, to_ms in report.spans]
    row["holes"] = [hole._asdict() for hole in report.holes]
    row["unproven"] = [part._asdict() for part in report.unproven]
    row["incidents"] = [
        dict(zip(("time_ms", "cause", "reason", "update_id"), one, strict=True)) for one in report.incidents
    ]
    return row


def _holes(metas: Sequence[BlockMeta]) -> list[Hole]:
    """Return the times between blocks of which nothing is recorded."""
    holes: list[Hole] = []
    if not metas:
        return holes
    reached = metas[0]
    for after in metas[1:]:
        gap_ms = after.from_ms - reached.to_ms
        follows = after.run == reached.run and after.number == reached.number + 1 and after.after in ("", CLOCK_SET)
        if gap_ms > (JOINT_MS if follows else 0):
            holes.append(Hole(reached.to_ms, after.from_ms, _cause(reached, after)))
        reached = after if after.to_ms >= reached.to_ms else reached
    return holes


def _cause(before: BlockMeta, after: BlockMeta) -> str:
    if after.after not in ("", STARTED):
        return after.after
    if before.ends:
        return before.ends
    return KILLED if after.after == STARTED else MISSING


def _unproven(metas: Sequence[BlockMeta]) -> list[Unproven]:
    """Return the times in which the book was not proven, by the states in the blocks."""
    found: list[Unproven] = []
    for meta in metas:
        ends = [*(state[0] for state in meta.states[1:]), meta.to_ms]
        for (begin_ms, state, reason), end_ms in zip(meta.states, ends, strict=True):
            if state in GOOD_STATES or end_ms <= begin_ms:
                continue
            last = found[-1] if found else None
            if last is not None and last.to_ms == begin_ms and last[2:] == (state, reason):
                found[-1] = last._replace(to_ms=end_ms)
            else:
                found.append(Unproven(begin_ms, end_ms, state, reason))
    return found


def _cut(part: Unproven, from_ms: int, to_ms: int) -> Unproven | None:
    begin_ms, end_ms = max(part.from_ms, from_ms), min(part.to_ms, to_ms)
    return part._replace(from_ms=begin_ms, to_ms=end_ms) if end_ms > begin_ms else None


def _between(holes: Sequence[Hole], from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    edges = [from_ms, *(edge for hole in holes for edge in hole[:2]), to_ms]
    return [(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end >= begin]
