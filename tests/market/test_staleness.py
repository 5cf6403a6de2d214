"""When silence calls for a remedy: a silent connection is left, a silent depth stream is asked for once more first."""

import pytest

from pulse.market.staleness import (
    GAPS_KEPT,
    LEAD_MS,
    LIMIT_MAX_MS,
    UNKNOWN_MS,
    SilenceAction,
    SilenceLimit,
    StreamWatchdog,
)


@pytest.fixture
def watch() -> StreamWatchdog:
    """A connection that began at 0 with a diff up to id 100."""
    watch = StreamWatchdog(5_000.0)
    watch.restart(0.0)
    watch.heard(0.0)
    watch.heard_depth(100)
    return watch


def test_a_quiet_symbol_is_left_alone(watch: StreamWatchdog) -> None:
    """Silence within the allowance needs no remedy."""
    assert watch.remedy(UNKNOWN_MS) is SilenceAction.NONE


def test_a_silent_connection_is_given_up(watch: StreamWatchdog) -> None:
    """Silence beyond the allowance means a new connection."""
    assert watch.remedy(UNKNOWN_MS + 1.0) is SilenceAction.RECONNECT


def test_a_busy_connection_is_given_up_sooner(watch: StreamWatchdog) -> None:
    """Once its habit is known, a busy connection may be silent for the floor alone."""
    for count in range(1, 20):
        watch.heard(count * 100.0)

    assert watch.remedy(1_900.0 + 5_000.0) is SilenceAction.NONE
    assert watch.remedy(1_900.0 + 5_001.0) is SilenceAction.RECONNECT


def test_a_ticker_that_the_depth_follows_is_normal(watch: StreamWatchdog) -> None:
    """A ticker ahead of the book is followed by its diff, and nothing is wrong."""
    watch.heard_ticker(101, 10.0)
    watch.heard_depth(101)

    assert watch.remedy(10.0 + LEAD_MS + 1) is SilenceAction.NONE


def test_a_ticker_at_the_books_id_proves_nothing(watch: StreamWatchdog) -> None:
    """Only a ticker beyond the depth stream shows that a diff is missing."""
    watch.heard_ticker(100, 10.0)

    assert watch.remedy(10.0 + LEAD_MS + 1) is SilenceAction.NONE


def test_a_stalled_depth_stream_is_asked_for_again_then_left(watch: StreamWatchdog) -> None:
    """While tickers run ahead the depth stream is subscribed once more; where that does not help, reconnect."""
    watch.heard_ticker(101, 10.0)
    watch.heard_ticker(105, 2_000.0)  # the first one's time counts
    assert watch.remedy(10.0 + LEAD_MS) is SilenceAction.NONE

    asked_ms = 10.0 + LEAD_MS + 1
    assert watch.remedy(asked_ms) is SilenceAction.RESUBSCRIBE
    assert watch.remedy(asked_ms + LEAD_MS) is SilenceAction.NONE
    assert watch.remedy(asked_ms + LEAD_MS + 1) is SilenceAction.RECONNECT


def test_a_stream_that_came_back_may_be_asked_for_again(watch: StreamWatchdog) -> None:
    """Each stall has its own resubscription."""
    watch.heard_ticker(101, 10.0)
    watch.remedy(4_000.0)
    watch.heard_depth(101)
    watch.heard_ticker(102, 5_000.0)

    assert watch.remedy(9_000.0) is SilenceAction.RESUBSCRIBE


def test_a_partial_depth_beyond_the_depth_stream_proves_a_stall(watch: StreamWatchdog) -> None:
    """The book's id runs ahead in the partial depth as in a ticker; at the depth stream's own id nothing is missing."""
    watch.heard_top(100, 10.0)
    assert watch.remedy(10.0 + LEAD_MS + 1) is SilenceAction.NONE

    watch.heard_top(101, 4_000.0)
    assert watch.remedy(4_000.0 + LEAD_MS + 1) is SilenceAction.RESUBSCRIBE


def test_the_first_partial_depth_of_a_connection_is_where_it_begins(watch: StreamWatchdog) -> None:
    """It is told without any change, so only what comes after it must come as a diff too."""
    watch.restart(20_000.0)
    watch.heard_top(500, 20_000.0)
    assert watch.remedy(20_000.0 + LEAD_MS + 1) is SilenceAction.NONE

    watch.heard_top(501, 24_000.0)
    assert watch.remedy(24_000.0 + LEAD_MS + 1) is SilenceAction.RESUBSCRIBE


def test_a_new_connection_starts_afresh(watch: StreamWatchdog) -> None:
    """Neither the lead nor the ids of the old connection count in the new one."""
    watch.heard_ticker(101, 10.0)
    watch.restart(20_000.0)

    assert watch.remedy(24_000.0) is SilenceAction.NONE
    watch.heard_ticker(50, 24_000.0)
    assert watch.remedy(28_000.0) is SilenceAction.RESUBSCRIBE


def paced(gaps: list[float], floor_ms: float = 5_000.0) -> SilenceLimit:
    """A stream that has shown these gaps, in ms."""
    pace, now = SilenceLimit(floor_ms, 30_000.0), 0.0
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
    pace = SilenceLimit(5_000.0, 30_000.0)
    assert pace.silence_ms(99_000.0) == 0.0

    pace.heard(1_000.0)
    assert pace.silence_ms(1_500.0) == 500.0


def test_a_new_connection_is_not_a_gap() -> None:
    """The outage between two connections does not become the stream's habit, which is kept."""
    pace = paced([100.0] * 8)
    pace.restart(1_000_000.0)
    pace.heard(1_000_100.0)

    assert pace.limit_ms() == 5_000.0
