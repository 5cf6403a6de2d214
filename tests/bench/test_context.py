"""The context of a run: experiments are shared within a repeat, and only there."""

from pathlib import Path

import pytest

from bench.context import Context
from bench.processes import BenchError

calls: list[str] = []


@pytest.fixture
def context() -> Context:
    """A run in which nothing was measured yet."""
    calls.clear()
    return Context(Path(), True, Path(), 1.0, calls.append)


def experiment(_: Context) -> int:
    """Counts how often it was made."""
    calls.append("made")
    return calls.count("made")


def failing(_: Context) -> int:
    """Cannot be made."""
    calls.append("made")
    raise BenchError("no such server")


def test_an_experiment_runs_once_in_a_repeat(context: Context) -> None:
    """Rows that look at the same experiment see the same figures."""
    assert [context.once(experiment), context.once(experiment)] == [1, 1]


def test_the_next_repeat_measures_anew(context: Context) -> None:
    """What was measured before is not measured again by being remembered."""
    context.once(experiment)
    context.forget()

    assert context.once(experiment) == 2


def test_a_failed_experiment_is_not_tried_again_for_the_next_row(context: Context) -> None:
    """Each of its rows is told the same."""
    for _ in range(2):
        with pytest.raises(BenchError, match="no such server"):
            context.once(failing)

    assert calls.count("made") == 1


def test_a_quick_run_looks_for_less_long(context: Context) -> None:
    """The short time is taken."""
    assert context.seconds(10.0, 2.0) == 2.0
