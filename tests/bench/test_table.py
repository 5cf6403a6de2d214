"""The table as text."""

import pytest

from bench.rows import PULSE, Against, Budget, Outcome, Spread
from bench.table import budget_text, figure, render, spread_text
from tests.support.bench_rows import BASELINE, outcome, row

TIMES = Budget(1.4, Against.TIMES)


def line_of(found: Outcome) -> str:
    """Return the row's own line of a table."""
    return render([found], "a machine", "a run").splitlines()[4]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0912, "0.0912"), (1.3999, "1.4"), (12.345, "12.3"), (152.4, "152"), (2169.0, "2170"),
     (100.0, "100"), (-3.456, "-3.46"), (float("nan"), "-")],
)  # fmt: skip
def test_figure_has_three_significant_digits(value: float, text: str) -> None:
    """No more digits than another repeat would reproduce."""
    assert figure(value) == text


def test_spread_shows_its_ends() -> None:
    """The median first, then the range."""
    assert spread_text(Spread(1.0, 2.0, 4.0)) == "2 (1-4)"


def test_spread_without_width_is_one_figure() -> None:
    """Ends that round to the same are shown once."""
    assert spread_text(Spread(2.0001, 2.0, 2.0)) == "2"


@pytest.mark.parametrize(
    ("budget", "text"),
    [(None, ""), (TIMES, "<= 1.4 x"), (Budget(2, Against.ABOVE), "<= 2 ms above"), (Budget(90), "<= 90 ms")],
)
def test_budget_text_names_its_kind(budget: Budget | None, text: str) -> None:
    """Each kind of budget states what it bounds."""
    assert budget_text(budget, "ms") == text


def test_row_shows_both_sides_the_ratio_and_the_verdict() -> None:
    """One line has everything needed to judge it."""
    line = line_of(outcome(TIMES, {PULSE: 10.0, BASELINE: 8.0}))

    assert line == "| CPU per message | us | 10 | the limit 8 | x 1.25 | <= 1.4 x | yes |"


def test_difference_is_labelled() -> None:
    """It may be negative, when the baseline was measured in a slower period."""
    line = line_of(outcome(Budget(2, Against.ABOVE), {PULSE: 1.0, BASELINE: 1.5}))

    assert "| difference -0.5 | <= 2 us above | yes |" in line


def test_missed_budget_stands_out() -> None:
    """A missed budget is set in bold."""
    assert line_of(outcome(TIMES, {PULSE: 12.0, BASELINE: 8.0})).endswith("| **no** |")


def test_failed_row_shows_its_reason() -> None:
    """The reason is in place of the figures."""
    line = line_of(Outcome(row(TIMES), (), "no C compiler"))

    assert line == "| CPU per message | us | not measured: no C compiler |  |  | <= 1.4 x |  |"


def test_note_of_two_rows_has_one_number() -> None:
    """Notes are listed below the table, each once."""
    found = outcome(TIMES, {PULSE: 1.0, BASELINE: 1.0}, notes=("The core was full.",))
    lines = render([found, found], "a machine", "a run").splitlines()

    assert [line.count("[1]") for line in lines[4:6]] == [1, 1]
    assert lines[-1] == "1. The core was full."


def test_bar_in_a_cell_is_escaped() -> None:
    """Text from outside cannot break the table."""
    line = line_of(Outcome(row(None), (), "a|b"))

    assert "a\\|b" in line


def test_machine_and_run_come_first() -> None:
    """The first line names the run and the machine."""
    assert render([], "a machine", "a run").startswith("a run, on a machine.\n")
