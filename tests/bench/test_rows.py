"""The arithmetic of a row: ratios within a repeat, spread over repeats, the verdict."""

import pytest

from bench.rows import PULSE, Against, Budget, Spread, spread_of
from tests.support.bench_rows import BASELINE, outcome

TIMES = Budget(1.4, Against.TIMES)
ABOVE = Budget(2.0, Against.ABOVE)
ALONE = Budget(90.0)


def test_spread_is_lowest_median_and_highest() -> None:
    """An outlier moves the ends, not the median."""
    assert spread_of([3.0, 1.0, 100.0]) == Spread(1.0, 3.0, 100.0)


def test_no_values_have_no_spread() -> None:
    """Without a figure the spread is None."""
    assert spread_of([]) is None


def test_ratio_is_computed_within_a_repeat() -> None:
    """A machine that is twice as slow in one repeat leaves the ratio as it was."""
    found = outcome(TIMES, {PULSE: 10.0, BASELINE: 8.0}, {PULSE: 20.0, BASELINE: 16.0})

    assert found.against() == Spread(1.25, 1.25, 1.25)


def test_difference_is_computed_within_a_repeat() -> None:
    """A budget above a floor bounds what is added to that floor."""
    found = outcome(ABOVE, {PULSE: 1.5, BASELINE: 0.5}, {PULSE: 4.0, BASELINE: 1.0})

    assert found.against() == Spread(1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("budget", "own", "is_met"),
    [(TIMES, 14.0, True), (TIMES, 14.1, False), (ABOVE, 12.0, True), (ABOVE, 12.1, False), (ALONE, 90.0, True),
     (ALONE, 90.1, False)],
)  # fmt: skip
def test_budget_includes_its_bound(budget: Budget, own: float, is_met: bool) -> None:
    """A figure at the bound is within the budget."""
    assert outcome(budget, {PULSE: own, BASELINE: 10.0}).is_met() is is_met


def test_median_repeat_decides() -> None:
    """One bad repeat of three does not break a budget."""
    found = outcome(ALONE, {PULSE: 80.0}, {PULSE: 85.0}, {PULSE: 200.0})

    assert found.is_met() is True


def test_ratio_is_unknown_without_its_baseline() -> None:
    """There is no verdict when the baseline was not measured."""
    found = outcome(TIMES, {PULSE: 10.0})

    assert (found.against(), found.is_met()) == (None, None)


def test_baseline_of_zero_gives_no_ratio() -> None:
    """A division by zero has no result."""
    assert outcome(TIMES, {PULSE: 10.0, BASELINE: 0.0}).against() is None


def test_row_without_budget_has_no_verdict() -> None:
    """A figure shown for itself is neither met nor missed."""
    assert outcome(None, {PULSE: 10.0, BASELINE: 8.0}).is_met() is None


def test_baseline_is_first_among_the_others() -> None:
    """The contender that the budget refers to is read first."""
    assert outcome(TIMES, {"a rival": 40.0, PULSE: 10.0, BASELINE: 8.0}).others() == [BASELINE, "a rival"]


def test_note_appears_once() -> None:
    """The same note from every repeat is one note."""
    found = outcome(TIMES, {PULSE: 1.0}, {PULSE: 2.0}, notes=("The core was full.",))

    assert found.notes() == ["The core was full."]
