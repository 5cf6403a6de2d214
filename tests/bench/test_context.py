"""The context of a run: experiments are shared within a repeat, and only there."""

from pathlib import Path

import pytest

from bench.context import Context
from bench.processes import BenchError

calls: list[str] = []


@pytest.fixture
def context() -> Context:
    """Return a run without results."""
    calls.clear()
    return Context(Path(), True, Path(), 1.0, calls.append)


def experiment(_: Context) -> int:
    """Return how often it was run."""
    calls.append("made")
    return calls.count("made")


def failing(_: Context) -> int:
    """Raise BenchError."""
    calls.append("made")
    raise BenchError("no such server")


def test_experiment_runs_once_in_a_repeat(context: Context) -> None:
    """Rows of the same experiment get the same figures."""
    assert [context.once(experiment), context.once(experiment)] == [1, 1]


def test_next_repeat_measures_again(context: Context) -> None:
    """Results of an earlier repeat are not used again."""
    context.once(experiment)
    context.forget()

    assert context.once(experiment) == 2


def test_failed_experiment_is_not_repeated_for_the_next_row(context: Context) -> None:
    """Each of its rows gets the same error."""
    for _ in range(2):
        with pytest.raises(BenchError, match="no such server"):
            context.once(failing)

    assert calls.count("made") == 1


def test_quick_run_measures_for_less_time(context: Context) -> None:
    """The short time is used."""
    assert context.seconds(10.0, 2.0) == 2.0
