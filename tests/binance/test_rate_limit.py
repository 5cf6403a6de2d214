"""The request budget: half of a minute's weight, the exchange's own count, and silence when it is demanded."""

import pytest

from pulse.binance.rate_limit import WeightBudget


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
