"""When a stream counts as stalled, and which remedy is asked for: a new subscription first, then a new connection."""

import pytest

from pulse.market.staleness import (
    GAPS_KEPT,
    LEAD_MAX_MS,
    LIMIT_MAX_MS,
    UNKNOWN_MS,
    DepthStaleness,
    SilenceAction,
    SilenceLimit,
    StreamWatchdog,
)

# --- the silence that is normal for a stream


def limit_after(gaps: list[float], floor_ms: float = 5_000.0) -> SilenceLimit:
    """Return the limit of a stream that has shown these gaps, in ms."""
    limit, now_ms = SilenceLimit(floor_ms, 30_000.0), 0.0
    limit.restart(now_ms)
    for gap in gaps:
        now_ms += gap
        limit.on_data(now_ms)
    return limit


def test_unknown_habit_allows_the_long_silence() -> None:
    """With fewer than eight gaps the limit is the one for an unknown stream."""
    assert limit_after([100.0] * 7).limit_ms() == 30_000.0


@pytest.mark.parametrize(
    ("gaps", "limit_ms"),
    [
        ([100.0] * 8, 5_000.0),  # the floor
        ([2_000.0] * 8, 20_000.0),  # ten times the usual gap
        ([100.0] * 8 + [20_000.0], 80_000.0),  # four times the longest
        ([200_000.0] * 8, LIMIT_MAX_MS),
    ],
)
def test_limit_follows_the_habit(gaps: list[float], limit_ms: float) -> None:
    """A busy stream stays at the floor, a slow one is allowed more, up to a bound."""
    assert limit_after(gaps).limit_ms() == limit_ms


def test_only_recent_gaps_count() -> None:
    """A long silence no longer counts once enough gaps have followed it."""
    assert limit_after([100_000.0] + [100.0] * GAPS_KEPT).limit_ms() == 5_000.0


def test_silence_runs_from_the_newest_data() -> None:
    """Silence is the time since data arrived, and none before the first connection."""
    limit = SilenceLimit(5_000.0, 30_000.0)
    assert limit.silence_ms(99_000.0) == 0.0

    limit.on_data(1_000.0)
    assert limit.silence_ms(1_500.0) == 500.0


def test_restart_is_not_a_gap() -> None:
    """The outage between two connections does not become part of the stream's habit, which is kept."""
    limit = limit_after([100.0] * 8)
    limit.restart(1_000_000.0)
    limit.on_data(1_000_100.0)

    assert limit.limit_ms() == 5_000.0


# --- a depth stream that has stalled


@pytest.fixture
def staleness() -> DepthStaleness:
    """Return a depth stream that has sent data at 0."""
    staleness = DepthStaleness(5_000.0)
    staleness.restart(0.0)
    return staleness


def test_silence_beyond_the_limit_is_stale(staleness: DepthStaleness) -> None:
    """A stream of unknown habit may be silent for UNKNOWN_MS."""
    assert not staleness.is_stale(UNKNOWN_MS)
    assert staleness.is_stale(UNKNOWN_MS + 1.0)
    assert staleness.silence.silence_ms(UNKNOWN_MS) == UNKNOWN_MS


def test_silence_can_be_counted_anew(staleness: DepthStaleness) -> None:
    """A silence that is explained by other means starts again, and a lead goes on."""
    staleness.on_other_stream(101, 100, 20_000.0)
    staleness.silence.restart(20_000.0)

    assert not staleness.silence.is_exceeded(20_000.0 + UNKNOWN_MS)
    assert staleness.is_behind(20_000.0 + UNKNOWN_MS)


@pytest.mark.proves("depth-stalls")
def test_stream_that_stays_behind_another_is_stale(staleness: DepthStaleness) -> None:
    """Another stream may be ahead for LEAD_MAX_MS, counted from the first id that is."""
    staleness.on_other_stream(101, 100, 10.0)
    staleness.on_other_stream(105, 100, 2_000.0)

    assert not staleness.is_stale(10.0 + LEAD_MAX_MS)
    assert staleness.is_stale(10.0 + LEAD_MAX_MS + 1)


@pytest.mark.parametrize(("reached_id", "is_behind"), [(100, True), (101, False), (102, False)])
def test_depth_that_reaches_the_other_stream_ends_the_lead(
    staleness: DepthStaleness, reached_id: int, is_behind: bool
) -> None:
    """Only a diff at or beyond the other stream's id shows that nothing is missing."""
    staleness.on_other_stream(101, 100, 0.0)
    staleness.on_depth(reached_id)

    assert staleness.is_behind(LEAD_MAX_MS + 1) is is_behind


def test_restart_ends_silence_and_lead(staleness: DepthStaleness) -> None:
    """A new connection is as fresh as its beginning."""
    staleness.on_other_stream(101, 100, 0.0)
    staleness.restart(50_000.0)

    assert not staleness.is_stale(50_000.0 + LEAD_MAX_MS + 1)


# --- the remedies for a connection


@pytest.fixture
def watchdog() -> StreamWatchdog:
    """Watch a connection that began at 0 with a diff up to id 100."""
    watchdog = StreamWatchdog(5_000.0)
    watchdog.restart(0.0)
    watchdog.on_frame(0.0)
    watchdog.on_diff(100)
    return watchdog


def test_silence_within_the_limit_needs_no_action(watchdog: StreamWatchdog) -> None:
    """A quiet symbol is left alone."""
    assert watchdog.action(UNKNOWN_MS) is SilenceAction.NONE


@pytest.mark.proves("silent")
def test_silence_beyond_the_limit_reconnects(watchdog: StreamWatchdog) -> None:
    """A connection without any data is given up."""
    assert watchdog.action(UNKNOWN_MS + 1.0) is SilenceAction.RECONNECT


def test_busy_connection_reconnects_sooner(watchdog: StreamWatchdog) -> None:
    """Once its habit is known, a busy connection may be silent for the floor alone."""
    for count in range(1, 20):
        watchdog.on_frame(count * 100.0)

    assert watchdog.action(1_900.0 + 5_000.0) is SilenceAction.NONE
    assert watchdog.action(1_900.0 + 5_001.0) is SilenceAction.RECONNECT


def test_ticker_that_a_diff_follows_is_normal(watchdog: StreamWatchdog) -> None:
    """A ticker ahead of the depth stream is followed by its diff, and nothing is wrong."""
    watchdog.on_ticker(101, 10.0)
    watchdog.on_diff(101)

    assert watchdog.action(10.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE


def test_any_diff_ends_the_stall(watchdog: StreamWatchdog) -> None:
    """A depth stream that flows is not stalled, even where it has not reached the ticker yet."""
    watchdog.on_ticker(105, 10.0)
    watchdog.on_diff(101)

    assert watchdog.action(10.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE


def test_ticker_at_the_depth_streams_id_shows_no_stall(watchdog: StreamWatchdog) -> None:
    """Only a ticker beyond the depth stream shows that a diff is missing."""
    watchdog.on_ticker(100, 10.0)

    assert watchdog.action(10.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE


@pytest.mark.proves("depth-stalls")
def test_stalled_depth_stream_is_resubscribed_once_then_reconnected(watchdog: StreamWatchdog) -> None:
    """While tickers run ahead the depth stream is subscribed once more; where that does not help, reconnect."""
    watchdog.on_ticker(101, 10.0)
    watchdog.on_ticker(105, 2_000.0)  # the first one's time counts
    assert watchdog.action(10.0 + LEAD_MAX_MS) is SilenceAction.NONE

    asked_ms = 10.0 + LEAD_MAX_MS + 1
    assert watchdog.action(asked_ms) is SilenceAction.RESUBSCRIBE
    assert watchdog.action(asked_ms + LEAD_MAX_MS) is SilenceAction.NONE
    assert watchdog.action(asked_ms + LEAD_MAX_MS + 1) is SilenceAction.RECONNECT


def test_each_stall_has_its_own_resubscription(watchdog: StreamWatchdog) -> None:
    """A stream that came back and stalls again is subscribed once more."""
    watchdog.on_ticker(101, 10.0)
    watchdog.action(4_000.0)
    watchdog.on_diff(101)
    watchdog.on_ticker(102, 5_000.0)

    assert watchdog.action(9_000.0) is SilenceAction.RESUBSCRIBE


def test_partial_depth_beyond_the_depth_stream_shows_a_stall(watchdog: StreamWatchdog) -> None:
    """The book's id runs ahead in the partial depth as in a ticker; at the depth stream's own id nothing is missing."""
    watchdog.on_partial(100, 10.0)
    assert watchdog.action(10.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE

    watchdog.on_partial(101, 4_000.0)
    assert watchdog.action(4_000.0 + LEAD_MAX_MS + 1) is SilenceAction.RESUBSCRIBE


def test_first_partial_depth_of_a_connection_is_its_start(watchdog: StreamWatchdog) -> None:
    """It is sent without any change, so only what comes after it must come as a diff too."""
    watchdog.restart(20_000.0)
    watchdog.on_partial(500, 20_000.0)
    assert watchdog.action(20_000.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE

    watchdog.on_partial(501, 24_000.0)
    assert watchdog.action(24_000.0 + LEAD_MAX_MS + 1) is SilenceAction.RESUBSCRIBE


def test_new_connection_starts_afresh(watchdog: StreamWatchdog) -> None:
    """Neither the lead nor the ids of the old connection count in the new one."""
    watchdog.on_ticker(101, 10.0)
    watchdog.restart(20_000.0)

    assert watchdog.action(24_000.0) is SilenceAction.NONE
    watchdog.on_ticker(50, 24_000.0)
    assert watchdog.action(28_000.0) is SilenceAction.RESUBSCRIBE


@pytest.mark.parametrize(
    ("later_id", "depth_id", "is_behind"),
    [(11, 10, True), (10, 10, False), (11, 11, False), (10**9, 11, True)],
    ids=["still ahead", "level", "reached", "not contradicted"],
)
def test_false_lead_ends_with_the_next_frame(later_id: int, depth_id: int, is_behind: bool) -> None:
    """A later frame with a lower id shows what the depth stream has truly to reach."""
    staleness = DepthStaleness(5_000.0)
    staleness.on_other_stream(10**9, 10, 0.0)
    staleness.on_other_stream(later_id, 10, 1.0)
    staleness.on_depth(depth_id)

    assert staleness.is_behind(LEAD_MAX_MS + 2.0) == is_behind


def test_lost_diff_is_no_stall(watchdog: StreamWatchdog) -> None:
    """A diff that was quarantined shows that the stream flows; how far it came, the others show for some seconds."""
    watchdog.on_diff(10)
    watchdog.on_ticker(12, 1_000.0)
    watchdog.on_lost_diff(1_010.0)
    watchdog.on_ticker(12, 1_020.0)
    watchdog.on_partial(12, 2_000.0)
    assert watchdog.action(2_000.0 + LEAD_MAX_MS + 1) is SilenceAction.NONE

    later_ms = 1_010.0 + LEAD_MAX_MS
    watchdog.on_partial(13, later_ms)
    assert watchdog.action(later_ms + LEAD_MAX_MS + 1) is SilenceAction.RESUBSCRIBE
