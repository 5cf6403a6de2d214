"""Whose book is fetched with all levels next: first snapshots before all, watched symbols first, few audits."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from pulse.binance.rest import BinanceRest
from pulse.binance.venues import VENUES
from pulse.ingest.snapshot_schedule import AUDIT_SHARE, JOIN_FIRST_S, JOIN_LEVELS, SnapshotSchedule
from tests.support.metrics import sample_of
from tests.support.rest import make_schedule
from tests.support.virtual_time import at, now_s, run


def schedule_of(
    venue: str = "com", *, depth_limit: int = 5000, audit_every_s: float = 600.0, watched: Sequence[str] = ()
) -> SnapshotSchedule:
    """Make a schedule of a venue of which half of the weight is ours."""
    limit = VENUES[venue].weight_per_minute // 2
    rest = cast(BinanceRest, SimpleNamespace(venue=VENUES[venue], weight=lambda: (0, limit)))
    return make_schedule(rest, depth_limit=depth_limit, audit_every_s=audit_every_s, watched=watched)


def test_first_snapshots_go_before_all_others() -> None:
    """A turn waits until every symbol that is about to join has joined or has failed."""

    async def scenario() -> list[float]:
        schedule, turns_s = schedule_of(), []
        for symbol in ("A", "B", "C"):
            schedule.begin(symbol)
        schedule.joined("A", is_full=False)

        async def widen() -> None:
            async with schedule.turn("A", JOIN_LEVELS):
                turns_s.append(now_s())

        task = asyncio.create_task(widen())
        await at(1.0)
        schedule.joined("B", is_full=False)
        await at(2.0)
        assert not turns_s
        schedule.give_up("C")
        await task
        return turns_s

    assert run(scenario()) == [2.0]


def test_symbol_that_does_not_join_holds_up_no_other() -> None:
    """The others wait for JOIN_FIRST_S."""

    async def scenario() -> float:
        schedule = schedule_of()
        schedule.begin("A")
        async with schedule.turn("B", JOIN_LEVELS):
            return now_s()

    assert run(scenario()) == pytest.approx(JOIN_FIRST_S)


def test_watched_symbols_go_first_then_books_known_least() -> None:
    """Of equals, the one that has waited longest."""

    async def scenario() -> list[str]:
        schedule, order = schedule_of(watched=["WATCHED", "WATCHED DEEP"]), []

        async def widen(symbol: str, levels: int) -> None:
            async with schedule.turn(symbol, levels):
                order.append(symbol)

        waiting = [
            ("DEEP", 5000), ("SECOND", 100), ("THIRD", 100), ("WATCHED DEEP", 5000), ("WATCHED", 100),
        ]  # fmt: skip
        async with schedule.turn("FIRST", JOIN_LEVELS):
            tasks = [asyncio.create_task(widen(symbol, levels)) for symbol, levels in waiting]
            await asyncio.sleep(0)
        await asyncio.wait(tasks)
        return order

    assert run(scenario()) == ["WATCHED", "WATCHED DEEP", "SECOND", "THIRD", "DEEP"]


@pytest.mark.parametrize("is_granted", [False, True], ids=["waiting", "granted"])
def test_turn_of_a_symbol_that_was_closed_goes_to_the_next(is_granted: bool) -> None:
    """Also where it has just been given the turn."""

    async def scenario() -> list[str]:
        schedule, order = schedule_of(), []

        async def widen(symbol: str) -> None:
            async with schedule.turn(symbol, JOIN_LEVELS):
                order.append(symbol)

        async with schedule.turn("FIRST", JOIN_LEVELS):
            closed, other = (asyncio.create_task(widen(symbol)) for symbol in ("CLOSED", "OTHER"))
            await asyncio.sleep(0)
            if not is_granted:
                closed.cancel()
        closed.cancel()
        await asyncio.wait([closed, other])
        async with schedule.turn("LAST", JOIN_LEVELS):
            order.append("LAST")
        return order

    assert run(scenario()) == ["OTHER", "LAST"]


@pytest.mark.parametrize(
    ("venue", "symbols", "every_s"),
    [("com", 3, 600.0), ("com", 40, 600.0), ("com", 100, 1500.0), ("us", 100, 1500.0), ("us", 500, 7500.0)],
)
def test_interval_of_audits_grows_with_the_number_of_symbols(venue: str, symbols: int, every_s: float) -> None:
    """A third of our weight is what they take at most; few symbols have the interval that is asked for."""

    async def scenario() -> float:
        schedule = schedule_of(venue)
        for number in range(symbols + 1):
            schedule.open(f"S{number}")
        schedule.close("S0")
        return schedule.audit_every_s

    assert run(scenario()) == pytest.approx(every_s)


def test_audits_keep_to_their_share_also_where_many_are_due() -> None:
    """In each minute they take a third of our weight at most."""

    async def scenario() -> int:
        schedule, begun = schedule_of(), 0
        while now_s() < 600.0:
            wait_s = schedule.begin_audit()
            begun += wait_s == 0
            await asyncio.sleep(wait_s or 0.001)
        return begun

    weight = VENUES["com"].weights.depth_weight(5000)
    assert run(scenario()) == 10 * int(3000 * AUDIT_SHARE / weight)


def test_history_may_begin_when_every_book_is_known_or_cannot_be() -> None:
    """A book is widened from the moment it is opened until all levels are there, or its snapshot has failed."""

    async def scenario() -> list[bool]:
        schedule, seen = schedule_of(), []
        schedule.open("A")
        schedule.open("B")
        schedule.begin("A")
        schedule.begin("B")
        assert sample_of("pulse_windows_narrow") == 2.0
        schedule.joined("A", is_full=False)
        schedule.give_up("B")
        seen.append(schedule.is_widening())
        schedule.joined("A", is_full=True)
        seen.append(schedule.is_widening())
        schedule.joined("B", is_full=False)
        seen.append(schedule.is_widening())
        schedule.close("B")
        seen.append(schedule.is_widening())
        return seen

    assert run(scenario()) == [True, False, True, False]


def test_first_snapshot_is_the_whole_one_where_few_levels_are_asked_for() -> None:
    """With PULSE_DEPTH_LIMIT=100 there is nothing to be widened."""
    assert (schedule_of(depth_limit=50).join_levels, schedule_of().join_levels) == (50, JOIN_LEVELS)
