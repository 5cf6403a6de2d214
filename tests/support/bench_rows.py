"""Rows and outcomes for the tests of the benchmarks' pure parts."""

from bench.context import Context
from bench.rows import Budget, Outcome, Reading, Row

BASELINE = "the limit"


def row(budget: Budget | None = None, baseline: str = BASELINE) -> Row:
    """Return a row that is never measured."""
    return Row("cost", "CPU per message", "us", _never, budget, baseline)


def outcome(budget: Budget | None, *repeats: dict[str, float], notes: tuple[str, ...] = ()) -> Outcome:
    """Return the outcome of a row with these repeats."""
    return Outcome(row(budget), tuple(Reading(values, notes) for values in repeats))


def _never(_: Context) -> Reading:
    raise AssertionError("expected no measurement")
