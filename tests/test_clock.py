"""Two clocks: the machine's for a live feed, the recording's for a replay."""

import time

import pytest

from pulse.clock import EVENTS_WINDOW_MS, ROUND_TRIPS, ClockOffset, ReplayClock, SystemClock


def test_the_machines_clock_runs_forward_in_milliseconds() -> None:
    """Intervals come from the monotonic clock."""
    before = time.monotonic() * 1000
    now = SystemClock().now_ms()

    assert before <= now <= time.monotonic() * 1000


def test_the_machines_date_is_in_seconds() -> None:
    """Dates come from the clock that people set."""
    before = time.time()
    now = SystemClock().wall_s()

    assert before <= now <= time.time()


def test_a_replays_clock_stands_where_the_recording_is() -> None:
    """Both readings are the receive time of the newest line."""
    clock = ReplayClock()
    assert (clock.now_ms(), clock.wall_s()) == (0.0, 0.0)

    clock.advance(1_723_161_255_208.5)
    assert (clock.now_ms(), clock.wall_s()) == (1_723_161_255_208.5, 1_723_161_255.2085)


def test_a_replays_clock_never_goes_back() -> None:
    """A line that is out of order does not turn time back."""
    clock = ReplayClock()
    clock.advance(2_000.0)
    clock.advance(1_000.0)

    assert clock.now_ms() == 2_000.0


def test_before_anything_is_known_there_is_none() -> None:
    """And nobody claims to know how good that is."""
    offset = ClockOffset()

    assert (offset.value_ms(), offset.error_ms()) == (0.0, None)


def test_the_quickest_round_trip_counts() -> None:
    """A slow one is slow one way only; the error is half of the quickest."""
    offset = ClockOffset()
    offset.round_trip(1000.0, 1560.0, 1200.0)  # 200 ms there and back, nearly all of it on the way back
    offset.round_trip(2000.0, 2510.0, 2020.0)
    offset.round_trip(3000.0, 3500.0, 3300.0)

    assert (offset.value_ms(), offset.error_ms()) == (500.0, 10.0)


def test_old_round_trips_are_forgotten() -> None:
    """Clocks drift."""
    offset = ClockOffset()
    offset.round_trip(0.0, 901.0, 2.0)
    for at in range(1, ROUND_TRIPS + 1):
        offset.round_trip(at * 1000.0, at * 1000.0 + 105.0, at * 1000.0 + 10.0)

    assert offset.value_ms() == 100.0


def test_a_clock_that_was_set_back_meanwhile_is_no_round_trip() -> None:
    """It took less than no time."""
    offset = ClockOffset()
    offset.round_trip(1000.0, 1000.0, 900.0)

    assert offset.error_ms() is None


@pytest.mark.parametrize("ahead_ms", [-250.0, 0.0, 40.0])
def test_no_event_is_received_before_it_was_sent(ahead_ms: float) -> None:
    """As in recordings, whose own clock runs behind: the quickest event then took no time, and no other takes less."""
    offset = ClockOffset()
    delays_ms = [30.0, 5.0, 80.0]
    for at, delay_ms in enumerate(delays_ms):
        offset.event(at * 100.0, at * 100.0 + ahead_ms - delay_ms)
    told = [at * 100.0 + offset.value_ms() - (at * 100.0 + ahead_ms - delay) for at, delay in enumerate(delays_ms)]

    assert told == pytest.approx([25.0, 0.0, 75.0])


def test_an_event_corrects_a_round_trip_that_is_off() -> None:
    """The way there is longer than the way back, and the quickest event shows it."""
    offset = ClockOffset()
    offset.round_trip(0.0, 530.0, 100.0)
    offset.event(200.0, 695.0)

    assert offset.value_ms() == 495.0


def test_what_events_betrayed_is_forgotten() -> None:
    """After two windows without such an event."""
    offset = ClockOffset()
    offset.event(0.0, 50.0)
    for window in (1, 2, 3):
        offset.event(window * (EVENTS_WINDOW_MS + 1), window * (EVENTS_WINDOW_MS + 1) + 20.0)

    assert offset.value_ms() == 20.0
