"""How much silence a stream may show: its floor, its habit, and no more than ten minutes."""

import pytest

from pulse.market.pace import GAPS_KEPT, LIMIT_MAX_MS, Pace


def paced(gaps: list[float], floor_ms: float = 5_000.0) -> Pace:
    """A stream that has shown these gaps, in ms."""
    pace, now = Pace(floor_ms, 30_000.0), 0.0
    pace.restart(now)
    for gap in gaps:
        now += gap
        pace.heard(now)
    return pace


def test_an_unknown_habit_gets_the_benefit_of_the_doubt() -> None:
    """With fewer than eight gaps the limit is the one for an unknown stream."""
    assert paced([100.0] * 7).limit_ms() == 30_000.0


@pytest.mark.parametrize(
    ("gaps", "limit_ms"),
    [
        ([100.0] * 8, 5_000.0),  # the floor
        ([2_000.0] * 8, 20_000.0),  # ten times the usual gap
        ([100.0] * 8 + [20_000.0], 80_000.0),  # four times the longest
        ([200_000.0] * 8, LIMIT_MAX_MS),
    ],
)
def test_the_limit_follows_the_habit(gaps: list[float], limit_ms: float) -> None:
    """A busy stream stays at the floor, a slow one earns more, up to a bound."""
    assert paced(gaps).limit_ms() == limit_ms


def test_only_recent_gaps_count() -> None:
    """A long silence is forgotten once enough gaps have followed it."""
    assert paced([100_000.0] + [100.0] * GAPS_KEPT).limit_ms() == 5_000.0


def test_silence_runs_from_the_last_word() -> None:
    """Silence is the time since anything came, and none before the first connection."""
    pace = Pace(5_000.0, 30_000.0)
    assert pace.silence_ms(99_000.0) == 0.0

    pace.heard(1_000.0)
    assert pace.silence_ms(1_500.0) == 500.0


def test_a_new_connection_is_not_a_gap() -> None:
    """The outage between two connections does not become the stream's habit, which is kept."""
    pace = paced([100.0] * 8)
    pace.restart(1_000_000.0)
    pace.heard(1_000_100.0)

    assert pace.limit_ms() == 5_000.0
