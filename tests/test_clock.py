"""The machine's clocks, the recording's clock, and the offset of the exchange's clock."""

import time

import pytest

from pulse.clock import EVENTS_WINDOW_MS, ROUND_TRIPS, ClockOffset, ReplayClock, SystemClock, elapsed_s


def test_system_clock_counts_milliseconds() -> None:
    """Intervals are measured by the monotonic clock."""
    before = time.monotonic() * 1000
    now = SystemClock().now_ms()

    assert before <= now <= time.monotonic() * 1000


def test_system_date_is_in_seconds() -> None:
    """Dates are taken from the clock that can be set."""
    before = time.time()
    now = SystemClock().wall_s()

    assert before <= now <= time.time()


def test_elapsed_time_goes_on() -> None:
    """By the clock that counts while the machine sleeps, where there is one; elsewhere by the monotonic one."""

    def read() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    before = read()
    now = elapsed_s()

    assert before <= now <= read()


def test_replay_clock_shows_the_newest_receive_time() -> None:
    """Both readings are the receive time of the newest line."""
    clock = ReplayClock()
    assert (clock.now_ms(), clock.wall_s()) == (0.0, 0.0)

    clock.advance(1_723_161_255_208.5)
    assert (clock.now_ms(), clock.wall_s()) == (1_723_161_255_208.5, 1_723_161_255.2085)


def test_replay_clock_never_goes_back() -> None:
    """A line that is out of order does not set the clock back."""
    clock = ReplayClock()
    clock.advance(2_000.0)
    clock.advance(1_000.0)

    assert clock.now_ms() == 2_000.0


def test_unknown_offset_is_zero() -> None:
    """Its error is None."""
    offset = ClockOffset()

    assert (offset.value_ms(), offset.error_ms()) == (0.0, None)


def test_quickest_round_trip_counts() -> None:
    """A slow one is mostly slow in one direction; the error is half of the quickest."""
    offset = ClockOffset()
    offset.add_round_trip(1000.0, 1560.0, 1200.0)  # 200 ms, nearly all of it on the way back
    offset.add_round_trip(2000.0, 2510.0, 2020.0)
    offset.add_round_trip(3000.0, 3500.0, 3300.0)

    assert (offset.value_ms(), offset.error_ms()) == (500.0, 10.0)


def test_old_round_trips_are_dropped() -> None:
    """Only the newest ROUND_TRIPS count, because clocks drift."""
    offset = ClockOffset()
    offset.add_round_trip(0.0, 901.0, 2.0)
    for at in range(1, ROUND_TRIPS + 1):
        offset.add_round_trip(at * 1000.0, at * 1000.0 + 105.0, at * 1000.0 + 10.0)

    assert offset.value_ms() == 100.0


def test_round_trip_of_negative_duration_is_ignored() -> None:
    """Our clock was set back between request and answer."""
    offset = ClockOffset()
    offset.add_round_trip(1000.0, 1000.0, 900.0)

    assert offset.error_ms() is None


@pytest.mark.parametrize("ahead_ms", [-250.0, 0.0, 40.0])
def test_no_delay_is_negative(ahead_ms: float) -> None:
    """The quickest event counts as received without delay, also where our clock runs behind as in a recording."""
    offset = ClockOffset()
    delays_ms = [30.0, 5.0, 80.0]
    for at, delay_ms in enumerate(delays_ms):
        offset.add_event(at * 100.0, at * 100.0 + ahead_ms - delay_ms)
    shown_ms = [at * 100.0 + offset.value_ms() - (at * 100.0 + ahead_ms - delay) for at, delay in enumerate(delays_ms)]

    assert shown_ms == pytest.approx([25.0, 0.0, 75.0])


def test_event_corrects_an_asymmetric_round_trip() -> None:
    """Where the request takes longer than the answer, the quickest event shows it."""
    offset = ClockOffset()
    offset.add_round_trip(0.0, 530.0, 100.0)
    offset.add_event(200.0, 695.0)

    assert offset.value_ms() == 495.0


def test_bound_set_by_events_expires() -> None:
    """It counts for two windows at most."""
    offset = ClockOffset()
    offset.add_event(0.0, 50.0)
    for window in (1, 2, 3):
        offset.add_event(window * (EVENTS_WINDOW_MS + 1), window * (EVENTS_WINDOW_MS + 1) + 20.0)

    assert offset.value_ms() == 20.0


def test_exchange_time_is_known_by_round_trips_alone() -> None:
    """An event, whose time may be false, does not count."""
    offset = ClockOffset()
    offset.add_event(received_ms=1_000.0, event_time_ms=10**15)
    assert offset.exchange_ms(1_000.0) is None

    offset.add_round_trip(sent_ms=1_000.0, exchange_ms=6_010.0, received_ms=1_020.0)
    assert offset.exchange_ms(2_000.0) == 7_000


@pytest.mark.proves("clock-differs")
@pytest.mark.parametrize(
    ("ahead_ms", "duration_ms", "text"),
    [
        (0.0, 20.0, ""),
        (1_990.0, 20.0, ""),
        (3_990.0, 4_000.0, ""),  # the round trip is too slow to tell
        (3_200.0, 20.0, "This machine's clock is 3.2 s behind the exchange's; synchronise it (NTP)."),
        (
            -94_608_000_000.0,
            20.0,
            "This machine's clock is 94608000.0 s ahead of the exchange's; synchronise it (NTP).",
        ),
    ],
)
def test_wrong_machine_clock_is_reported(ahead_ms: float, duration_ms: float, text: str) -> None:
    """Where the difference exceeds the bound by more than its own error."""
    offset = ClockOffset()
    assert offset.trouble() == ""

    offset.add_round_trip(1_000.0, 1_000.0 + duration_ms / 2 + ahead_ms, 1_000.0 + duration_ms)
    assert offset.trouble() == text


def test_round_trips_before_a_clock_was_set_do_not_count() -> None:
    """The next round trip, even a slower one, shows the new offset."""
    offset = ClockOffset()
    offset.add_round_trip(1_000.0, 10_005.0, 1_010.0)
    offset.add_round_trip(21_000.0, 21_020.0, 21_040.0)

    assert offset.trouble() == ""
    assert offset.value_ms() == 0.0


def test_it_is_known_since_when_the_clock_is_wrong() -> None:
    """From the round trip that first showed it, until one shows that it is right again."""
    offset = ClockOffset()
    seen = []
    for second, ahead_ms in enumerate([0.0, 60_000.0, 60_000.0, 30_000.0, 0.0, 60_000.0]):
        offset.add_round_trip(second * 1000.0, second * 1000.0 - ahead_ms, second * 1000.0)
        seen.append(offset.wrong_since_ms)

    assert seen == [None, 1000.0, 1000.0, 1000.0, None, 5000.0]
