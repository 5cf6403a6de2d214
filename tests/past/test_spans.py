"""What there is of a past: spans, holes with their causes, and what was proven."""

from typing import Any

import pytest

from pulse.past.block import BlockMeta
from pulse.past.recording import CLOCK_SET, STARTED
from pulse.past.spans import (
    KILLED,
    LISTED_MAX,
    MISSING,
    Hole,
    PastReport,
    Unproven,
    hole_at,
    in_order,
    report_of,
    row_of,
)

MINUTE = 60_000


def meta(number: int, **changes: Any) -> BlockMeta:
    """Return a block of a live minute."""
    values: dict[str, Any] = {
        "symbol": "BTCUSDT", "venue": "us", "run": "a", "number": number, "from_ms": number * MINUTE,
        "to_ms": (number + 1) * MINUTE, "clock_ms": 0, "last_update_id": 0, "rows": 1, "after": "", "ends": "",
    } | changes  # fmt: skip
    values.setdefault("states", [[values["from_ms"], "live", ""]])
    return BlockMeta(**values)


def report(*metas: BlockMeta, from_ms: int = 0, to_ms: int = 10 * MINUTE) -> PastReport:
    """Return the report of these blocks."""
    return report_of("BTCUSDT", in_order(metas), from_ms, to_ms)


def test_blocks_that_continue_each_other_are_one_span() -> None:
    """Also where a synchronised clock has moved a little between two of them."""
    found = report(meta(0), meta(1), meta(2, from_ms=2 * MINUTE + 500))

    assert (found.spans, found.holes) == ([(0, 3 * MINUTE)], [])
    assert (found.coverage, found.proven, found.blocks) == (1.0, 1.0, 3)


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (meta(0), meta(0, run="b", from_ms=5 * MINUTE, to_ms=6 * MINUTE, after=STARTED), KILLED),
        (meta(0, ends="stopped"), meta(0, run="b", from_ms=5 * MINUTE, to_ms=6 * MINUTE, after=STARTED), "stopped"),
        (meta(0), meta(5, after="too fast"), "too fast"),
        (meta(0), meta(5), MISSING),
        (meta(0), meta(1, from_ms=5 * MINUTE, to_ms=6 * MINUTE, after=CLOCK_SET), CLOCK_SET),
    ],
)
def test_hole_has_its_cause(before: BlockMeta, after: BlockMeta, cause: str) -> None:
    """A kill, a stop, a block that was dropped, one that is missing, a clock that was set forward."""
    found = report(before, after)

    assert found.holes == [Hole(MINUTE, 5 * MINUTE, cause)]
    assert found.spans == [(0, MINUTE), (5 * MINUTE, 6 * MINUTE)]
    assert found.coverage == pytest.approx(2 / 6)
    assert hole_at(in_order([before, after]), 3 * MINUTE) == found.holes[0]
    assert hole_at(in_order([before, after]), 30_000) is None


def test_block_that_differs_is_a_hole() -> None:
    """It shows nothing; the one after it says what differed."""
    found = report(meta(0), meta(1, flaw="the book differs"), meta(2, after="the book differs"))

    assert found.holes == [Hole(MINUTE, 2 * MINUTE, "the book differs")]


def test_clock_that_was_set_back_makes_no_hole() -> None:
    """What overlaps is recorded twice."""
    found = report(meta(0), meta(1, from_ms=30_000, to_ms=90_000, after=CLOCK_SET), meta(2, from_ms=90_000))

    assert (found.spans, found.holes, found.coverage) == ([(0, 3 * MINUTE)], [], 1.0)


def test_short_block_within_a_longer_one_hides_no_hole() -> None:
    """A hole begins where the farthest block ends."""
    found = report(meta(0, to_ms=3 * MINUTE), meta(1, from_ms=MINUTE, to_ms=MINUTE + 1), meta(9, after="too fast"))

    assert found.holes == [Hole(3 * MINUTE, 9 * MINUTE, "too fast")]


def test_unproven_times_are_rows_of_their_own() -> None:
    """One that goes on in the next block is one row; a halt is as it should be."""
    found = report(
        meta(0, states=[[0, "live", ""], [30_000, "offline", "cut"]]),
        meta(1, states=[[MINUTE, "offline", "cut"], [90_000, "halted", "no trading"], [100_000, "stale", "silent"]]),
    )

    assert found.unproven == [Unproven(30_000, 90_000, "offline", "cut"), Unproven(100_000, 120_000, "stale", "silent")]
    assert found.coverage == 1.0
    assert found.proven == pytest.approx(1 / 3)


def test_range_is_cut() -> None:
    """Only what lies in it counts, and only from the first block on."""
    found = report(meta(1), meta(2, states=[[2 * MINUTE, "stale", ""]]), from_ms=0, to_ms=150_000)

    assert (found.from_ms, found.to_ms) == (MINUTE, 150_000)
    assert found.unproven == [Unproven(2 * MINUTE, 150_000, "stale", "")]
    later = report(meta(0, states=[[0, "stale", ""]]), from_ms=MINUTE)
    assert (later.unproven, later.coverage, later.proven) == ([], None, None)


def test_nothing_is_recorded() -> None:
    """There is no share of nothing."""
    found = report()

    assert (found.coverage, found.proven, found.spans, found.holes, found.blocks) == (None, None, [], [], 0)
    assert hole_at([], 5) is None


def test_each_block_counts_once() -> None:
    """One that is in memory and on the disk."""
    assert in_order([meta(1), meta(0), meta(1)]) == [meta(0), meta(1)]


def test_lists_are_bounded() -> None:
    """The newest rows are kept."""
    found = report(*(meta(2 * number) for number in range(LISTED_MAX + 10)), to_ms=10**9)

    assert len(found.holes) == len(found.spans) == LISTED_MAX
    assert found.holes[-1].to_ms == 2 * (LISTED_MAX + 9) * MINUTE


def test_row_of_a_report() -> None:
    """As the API has it."""
    row = row_of(report(meta(0, incidents=[[1, "gap", "ids", 5]]), meta(2, states=[[2 * MINUTE, "stale", "x"]])))

    assert row == {
        "symbol": "BTCUSDT", "from_ms": 0, "to_ms": 3 * MINUTE, "blocks": 2, "coverage": pytest.approx(2 / 3),
        "proven": pytest.approx(1 / 3),
        "spans": [{"from_ms": 0, "to_ms": MINUTE}, {"from_ms": 2 * MINUTE, "to_ms": 3 * MINUTE}],
        "holes": [{"from_ms": MINUTE, "to_ms": 2 * MINUTE, "cause": MISSING}],
        "unproven": [{"from_ms": 2 * MINUTE, "to_ms": 3 * MINUTE, "state": "stale", "reason": "x"}],
        "incidents": [{"time_ms": 1, "cause": "gap", "reason": "ids", "update_id": 5}],
    }  # fmt: skip
