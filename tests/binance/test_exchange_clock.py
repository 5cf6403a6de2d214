"""The exchange's clock from its answers: every reading leaves the true time within the bounds."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.binance.exchange_clock import DRIFT, ExchangeClock
from pulse.market.plausibility import ExchangeDate
from tests.support.makers import MIDNIGHT_MS, ManualClock, unhurried
from tests.support.virtual_time import ScenarioClock, now_s, run

SECOND_MS = 1000.0
WHILE_UNDER_WAY_MS = 10_000 * DRIFT
"""How far the clocks may drift apart while an answer of the test is under way."""


def test_before_any_answer_the_machines_own_date_counts() -> None:
    """It is not called measured."""
    clock = ExchangeClock(ManualClock(wall_s=77.0))

    assert (clock.is_known, clock.date()) == (False, ExchangeDate(77_000.0, 77_000.0, is_measured=False))


def test_an_answer_was_made_between_its_request_and_its_receipt() -> None:
    """Whole seconds leave one more, and so does every moment that it was under way."""
    ours = ManualClock(now_ms=400.0, wall_s=0.0)
    clock = ExchangeClock(ours)
    clock.note(MIDNIGHT_MS, SECOND_MS, 100.0, 400.0)

    assert clock.is_known
    assert clock.date() == (MIDNIGHT_MS, MIDNIGHT_MS + 1_300, True)
    assert clock.date(100.0) == pytest.approx((MIDNIGHT_MS - 300, MIDNIGHT_MS + 1_000, True), abs=DRIFT * 300)


def test_answers_narrow_the_bounds_and_time_widens_them() -> None:
    """Two dates in whole seconds, half a second apart, leave half a second."""
    ours = ManualClock()
    clock = ExchangeClock(ours)
    clock.note(MIDNIGHT_MS, SECOND_MS, 0.0, 0.0)
    clock.note(MIDNIGHT_MS, SECOND_MS, 500.0, 500.0)
    ours.at_ms = 500.0
    earliest_ms, latest_ms, _ = clock.date()
    assert (earliest_ms, latest_ms) == pytest.approx((MIDNIGHT_MS + 500, MIDNIGHT_MS + 1_000), abs=1.0)

    ours.at_ms += 3_600_000.0
    earliest_ms, latest_ms, _ = clock.date()
    assert latest_ms - earliest_ms == pytest.approx(500 + 2 * DRIFT * 3_600_000, abs=2.0)


@pytest.mark.parametrize("error_ms", [-(10.0**14), -60_000.0, 60_000.0, 10.0**14])
def test_false_answer_is_forgotten_with_the_next_true_one(error_ms: float) -> None:
    """It contradicts what is known, and so does the true one after it."""
    ours = ManualClock()
    clock = ExchangeClock(ours)
    for at_ms, wrong_ms in ((0.0, 0.0), (1_000.0, error_ms), (2_000.0, 0.0)):
        ours.at_ms = at_ms
        clock.note(MIDNIGHT_MS + at_ms + wrong_ms, 1.0, at_ms, at_ms)

    assert clock.date() == pytest.approx((MIDNIGHT_MS + 2_000, MIDNIGHT_MS + 2_001, True), abs=2.0)


@unhurried
@given(
    st.lists(
        st.tuples(st.floats(0, 60_000), st.floats(0, 5_000), st.floats(0, 5_000), st.sampled_from([1.0, SECOND_MS])),
        min_size=1,
        max_size=30,
    ),
    st.floats(-DRIFT / 2, DRIFT / 2),
)
def test_true_time_is_always_within_the_bounds(answers: list[tuple[float, float, float, float]], drift: float) -> None:
    """However long each answer took on its way, and whichever clock runs faster."""
    ours = ManualClock()
    clock = ExchangeClock(ours)

    def true_ms(at_ms: float) -> float:
        return MIDNIGHT_MS + at_ms * (1 + drift)

    for pause_ms, there_ms, back_ms, resolution_ms in answers:
        sent_ms = ours.at_ms + pause_ms
        made_ms = true_ms(sent_ms + there_ms)
        ours.at_ms = sent_ms + there_ms + back_ms
        clock.note(made_ms - made_ms % resolution_ms, resolution_ms, sent_ms, ours.at_ms)
        earliest_ms, latest_ms, _ = clock.date()

        assert earliest_ms - WHILE_UNDER_WAY_MS <= true_ms(ours.at_ms) <= latest_ms + WHILE_UNDER_WAY_MS


def test_wait_ends_with_the_first_answer_or_the_most_that_is_waited() -> None:
    """Whichever comes first; then there is nothing to wait for."""

    async def scenario() -> list[float]:
        clock, ended_s = ExchangeClock(ScenarioClock()), list[float]()
        await clock.wait_until_known(2.0)
        ended_s.append(now_s())
        asyncio.get_running_loop().call_later(1.0, clock.note, MIDNIGHT_MS, 1.0, 0.0, 0.0)
        for _ in range(2):
            await clock.wait_until_known(2.0)
            ended_s.append(now_s())
        return ended_s

    assert run(scenario()) == [2.0, 3.0, 3.0]
