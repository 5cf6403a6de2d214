"""Request weights: a fixed window on the minute, then 429, then a growing ban."""

import pytest

from pulse.simulator.limits import BAN_FIRST_MS, REFUSALS_MAX, WeightMeter, depth_weight
from tests.support.simulator import MINUTE_MS, START_MS


def banned() -> WeightMeter:
    """Return a meter that was banned at START_MS."""
    meter = WeightMeter(per_minute=10)
    for _ in range(REFUSALS_MAX + 1):
        meter.charge(11, START_MS)
    return meter


def test_weight_adds_up_within_a_minute_and_resets() -> None:
    """The used weight is counted per whole minute of the clock."""
    meter = WeightMeter(per_minute=10)
    meter.charge(4, START_MS + 100)

    assert meter.charge(3, START_MS + 59_999).used == 7
    assert meter.charge(3, START_MS + MINUTE_MS).used == 3


def test_beyond_the_limit_comes_429_until_the_minute_ends() -> None:
    """The limit itself may be used up; one more is refused, with the time to wait rounded up."""
    meter = WeightMeter(per_minute=10)

    assert meter.charge(10, START_MS + 30_001).status == 200
    assert meter.charge(1, START_MS + 30_001)[:3] == (429, 11, 30)


def test_continuing_leads_to_a_ban_that_outlasts_the_minute() -> None:
    """After too many refusals the address is banned; further requests do not change the end of the ban."""
    meter = banned()
    charge = meter.charge(1, START_MS + MINUTE_MS)

    assert (charge.status, charge.retry_after_s) == (418, 60)
    assert charge.banned_until_ms == START_MS + BAN_FIRST_MS
    assert meter.charge(1, START_MS + BAN_FIRST_MS).status == 200


def test_the_next_ban_is_longer() -> None:
    """A client that does the same again is banned for twice as long."""
    meter, later_ms = banned(), START_MS + 10 * MINUTE_MS
    for _ in range(REFUSALS_MAX):
        meter.charge(11, later_ms)

    assert meter.charge(11, later_ms).retry_after_s == 2 * BAN_FIRST_MS // 1000


@pytest.mark.parametrize(("limit", "weight"), [(1, 1), (100, 1), (101, 5), (1000, 10), (1001, 50), (99999, 50)])
def test_deeper_snapshots_weigh_more(limit: int, weight: int) -> None:
    """The weights of depth are those of Binance.US."""
    assert depth_weight(limit) == weight
