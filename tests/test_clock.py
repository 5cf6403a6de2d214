"""Two clocks: the machine's for a live feed, the recording's for a replay."""

import time

from pulse.clock import ReplayClock, SystemClock


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
