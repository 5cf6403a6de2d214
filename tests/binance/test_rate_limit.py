"""The request budget: half of a minute's weight, the exchange's own count, and silence when it is demanded."""

import asyncio
from pathlib import Path

import pytest

from pulse.binance.rate_limit import BAN_MAX_S, BanFile, PriorityLock, WeightBudget


@pytest.fixture
def budget() -> WeightBudget:
    """A venue that allows 1200 a minute, 600 of it ours."""
    return WeightBudget(1200)


def test_half_of_the_limit_is_ours(budget: WeightBudget) -> None:
    """Calls go through until our share is spent, then wait for the next minute."""
    budget.spend(550, 610.0)

    assert budget.wait_s(50, 610.0) == 0.0
    assert budget.wait_s(51, 610.0) == 50.0


def test_a_part_of_our_share_can_be_kept_from_some(budget: WeightBudget) -> None:
    """Who may use three quarters waits earlier, whoever spent them."""
    budget.spend(430, 610.0)

    assert budget.wait_s(20, 610.0, share=0.75) == 0.0
    assert budget.wait_s(21, 610.0, share=0.75) == 50.0
    assert budget.wait_s(170, 610.0) == 0.0


def test_each_minute_starts_anew(budget: WeightBudget) -> None:
    """What was spent in one minute does not count in the next."""
    budget.spend(600, 659.0)

    assert budget.wait_s(250, 659.5) == 0.5
    assert budget.wait_s(250, 660.0) == 0.0


def test_a_call_beyond_our_share_goes_alone(budget: WeightBudget) -> None:
    """A call heavier than the whole share goes through in a minute in which nothing else was spent."""
    assert budget.wait_s(700, 600.0) == 0.0

    budget.spend(1, 600.0)
    assert budget.wait_s(700, 600.0) == 60.0


def test_the_exchanges_count_rules(budget: WeightBudget) -> None:
    """What others spent from the same address counts too, and a lower count takes nothing back."""
    budget.observe(590, 600.0)
    budget.observe(10, 601.0)

    assert budget.wait_s(20, 602.0) == 58.0
    assert budget.wait_s(10, 602.0) == 0.0


def test_the_exchange_may_state_another_limit(budget: WeightBudget) -> None:
    """The limit of exchangeInfo replaces the published one."""
    budget.set_limit(6000)
    budget.spend(2000, 600.0)

    assert budget.wait_s(1000, 600.0) == 0.0
    assert budget.wait_s(1001, 600.0) == 60.0


def test_a_demanded_silence_stops_every_call(budget: WeightBudget) -> None:
    """Until the time named nothing goes through, whatever its weight and the minute."""
    budget.close(120.0, 600.0)

    assert budget.wait_s(1, 650.0) == budget.closed_for_s(650.0) == 70.0
    assert (budget.wait_s(1, 720.0), budget.closed_for_s(720.0)) == (0.0, 0.0)


def test_a_shorter_silence_does_not_end_a_longer_one(budget: WeightBudget) -> None:
    """Of two demands the later end counts."""
    budget.close(120.0, 600.0)
    budget.close(10.0, 605.0)

    assert budget.closed_for_s(605.0) == 115.0


HOST = "api.binance.us"


def test_a_ban_outlives_the_process(tmp_path: Path) -> None:
    """Another one that reads the same file knows how long to wait."""
    BanFile(tmp_path / "state.json").remember(HOST, 1000.0)

    assert BanFile(tmp_path / "state.json").remaining_s(HOST, 940.0) == 60.0
    assert BanFile(tmp_path / "state.json").remaining_s("other", 940.0) == 0.0


def test_a_past_ban_is_over(tmp_path: Path) -> None:
    """Nothing is waited for after its end."""
    bans = BanFile(tmp_path / "state.json")
    bans.remember(HOST, 1000.0)

    assert bans.remaining_s(HOST, 1001.0) == 0.0


@pytest.mark.parametrize("content", ["", "[]", "{broken", '{"api.binance.us": "soon"}'])
def test_a_file_that_is_not_ours_is_no_ban(tmp_path: Path, content: str) -> None:
    """Whatever it holds, the process starts."""
    (tmp_path / "state.json").write_text(content)

    assert BanFile(tmp_path / "state.json").remaining_s(HOST, 0.0) == 0.0


def test_no_ban_is_believed_to_last_for_ever(tmp_path: Path) -> None:
    """A clock that was wrong when the ban was written cannot silence the terminal for years."""
    bans = BanFile(tmp_path / "state.json")
    bans.remember(HOST, 10.0**12)

    assert bans.remaining_s(HOST, 0.0) == BAN_MAX_S


def test_a_path_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full or read-only disk does not stop the feed."""
    BanFile(tmp_path / "absent" / "state.json").remember(HOST, 1000.0)

    assert "cannot be remembered" in caplog.text


def test_without_a_path_nothing_is_kept() -> None:
    """The demo has nothing to remember."""
    bans = BanFile(None)
    bans.remember(HOST, 1000.0)

    assert bans.remaining_s(HOST, 0.0) == 0.0


async def test_the_most_urgent_waiter_goes_first() -> None:
    """Lower ranks overtake, equals keep their order."""
    turns, order = PriorityLock(), []

    async def caller(name: str, rank: int) -> None:
        await turns.take(rank)
        order.append(name)
        turns.give_back()

    await turns.take(0)
    waiting = [asyncio.create_task(caller(name, rank)) for name, rank in (("late", 3), ("a", 1), ("b", 1), ("now", 0))]
    await asyncio.sleep(0)
    turns.give_back()
    await asyncio.gather(*waiting)

    assert order == ["now", "a", "b", "late"]


async def test_a_waiter_that_gives_up_is_passed_over() -> None:
    """A cancelled one neither gets the turn nor keeps it."""
    turns = PriorityLock()
    await turns.take(0)
    gone = asyncio.create_task(turns.take(0))
    next_one = asyncio.create_task(turns.take(1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    turns.give_back()

    await asyncio.wait_for(next_one, 1)


async def test_a_turn_given_to_one_that_was_just_cancelled_goes_on() -> None:
    """Cancelled in the moment of being let in, it hands the turn to the next."""
    turns = PriorityLock()
    await turns.take(0)
    gone = asyncio.create_task(turns.take(0))
    next_one = asyncio.create_task(turns.take(1))
    await asyncio.sleep(0)
    turns.give_back()
    gone.cancel()

    await asyncio.wait_for(next_one, 1)
