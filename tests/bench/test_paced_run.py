"""The engine at its real pace: that each phase does the work that it is measured for; never how fast."""

import asyncio
from itertools import pairwise

import pytest

from bench.diffs import even_book
from bench.paced_run import PERIOD_S, PacedEngine, PacedFloor, compare
from bench.processes import BenchError
from pulse.market.types import State
from pulse.market.view import Certificate
from tests.support.metrics import sample_of
from tests.support.virtual_time import at, run

REAL = even_book(50, 200)


def made(paced: PacedEngine) -> list[float]:
    """Return how many views each symbol has had."""
    return [sample_of("pulse_views_published_total", {"symbol": symbol}) or 0.0 for symbol in paced.symbols]


def test_symbols_have_a_view_a_second_or_with_each_diff() -> None:
    """Every one is live and at the newest diff, watched or not."""

    async def play() -> list[list[float]]:
        tasks, counts = paced.start(), []
        for tick in range(90):
            await at(tick * PERIOD_S)
            if tick == 50:
                for symbol in paced.symbols:
                    paced.engine.watch(symbol)
            if tick % 20 == 10:
                counts.append(made(paced))
            paced.take_next()
        await asyncio.sleep(0.01)
        certificates.extend(paced.engine.certificates().values())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return counts

    paced = PacedEngine(REAL, 3)
    certificates: list[Certificate] = []
    differences = [[after - before for before, after in zip(*pair, strict=True)] for pair in pairwise(run(play()))]

    assert differences == [[2.0] * 3, [2.0] * 3, [20.0] * 3]
    assert [(one.state, one.diffs_applied) for one in certificates] == [(State.LIVE, 90)] * 3


def test_a_session_that_ends_is_an_error() -> None:
    """A run that is too long would time nothing."""
    paced = PacedEngine(even_book(50, 2), 1)
    for _ in range(2):
        paced.take_next()

    with pytest.raises(BenchError, match="too few diffs"):
        paced.take_next()


def test_the_floor_goes_on_without_end() -> None:
    """It keeps no book."""
    floor = PacedFloor(even_book(50, 200), 1)
    for _ in range(500):
        floor.take_next()


def test_all_three_are_timed() -> None:
    """Each has a figure per diff."""
    found = asyncio.run(compare(REAL, 2, 1, 3))

    assert set(found) == {"unwatched", "watched", "floor"}
    assert min(found.values()) > 0
