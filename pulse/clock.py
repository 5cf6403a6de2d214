"""Clocks: the machine's for live data, the recording's for a replay, and the offset of the exchange's own clock."""

import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """A clock with two readings: one for intervals, one for dates."""

    def now_ms(self) -> float:
        """Return milliseconds since any fixed start; they never go back."""

    def wall_s(self) -> float:
        """Return seconds since the epoch."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> float:
        """Return milliseconds of the monotonic clock, which cannot be set."""
        return time.monotonic() * 1000

    def wall_s(self) -> float:
        """Return seconds since the epoch by the machine's clock."""
        return time.time()


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Uptime(NamedTuple):
    """Seconds since the machine was started, and which start that was; empty where the system does not tell."""

    boot_id: str
    seconds: float


def system_uptime() -> Uptime:
    """Return the machine's uptime: it outlives a process, goes on while the machine sleeps, and cannot be set."""
    try:
        return Uptime(BOOT_ID.read_text().strip(), time.clock_gettime(time.CLOCK_BOOTTIME))
    except (AttributeError, OSError):  # not Linux: neither the file nor the clock exists
        return Uptime("", 0.0)


def elapsed_s() -> float:
    """Return seconds of a clock that cannot be set and, where the system has such a one, goes on while it sleeps."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except AttributeError:  # not Linux; there the monotonic clock does not stop, or nothing better exists
        return time.monotonic()


class ReplayClock:
    """A clock that shows the receive time of the newest line of a recording."""

    def __init__(self) -> None:
        self._now_ms = 0.0

    def advance(self, received_ms: float) -> None:
        """Set the clock to the receive time of a line, in ms since the epoch, unless that would turn it back."""
        self._now_ms = max(self._now_ms, received_ms)

    def now_ms(self) -> float:
        """Return milliseconds since the epoch, as recorded."""
        return self._now_ms

    def wall_s(self) -> float:
        """Return seconds since the epoch, as recorded."""
        return self._now_ms / 1000


ROUND_TRIPS = 8
"""Round trips kept. The quickest of them counts; older ones do not, because clocks drift."""
EVENTS_WINDOW_MS = 60_000.0
"""The bound that events set is forgotten after one to two of these windows."""
DIFFERENCE_MAX_MS = 2_000.0
"""A machine's clock that is further off is reported: one that is synchronised is within a tenth of a second."""
DRIFT_MAX_MS = 500.0
"""Round trips that differ by more than this and their own errors were made before and after a clock was set."""


class ClockOffset:
    """Estimates the offset of the exchange's clock: their reading minus ours, in ms, and the error of that.

    Two sources: the quickest round trip of a time request (as NTP does it), and events, which cannot be received
    before the exchange sent them and so set a lower bound.
    """

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=ROUND_TRIPS)  # duration, and the offset it shows
        self.wrong_since_ms: float | None = None  # since when `trouble` says something, by this machine's clock
        self._bound_ms: float | None = None  # the lower bound by the events of this window
        self._previous_bound_ms: float | None = None  # and by those of the window before
        self._window_ends_ms = 0.0

    def add_round_trip(self, sent_ms: float, exchange_ms: float, received_ms: float) -> None:
        """Add a time request: sent and answered at these readings of our clock, with this reading of theirs."""
        duration_ms = received_ms - sent_ms
        if duration_ms < 0:
            return
        offset_ms = exchange_ms - (sent_ms + received_ms) / 2
        if self._trips:
            best_duration_ms, best_offset_ms = min(self._trips)
            if abs(offset_ms - best_offset_ms) > (duration_ms + best_duration_ms) / 2 + DRIFT_MAX_MS:
                self._trips.clear()
        self._trips.append((duration_ms, offset_ms))
        if not self.trouble():
            self.wrong_since_ms = None
        elif self.wrong_since_ms is None:
            self.wrong_since_ms = received_ms

    def add_event(self, received_ms: float, event_time_ms: float) -> None:
        """Add an event, received at this reading of our clock and stamped with this one of theirs."""
        if received_ms >= self._window_ends_ms:
            self._previous_bound_ms, self._bound_ms = self._bound_ms, None
            self._window_ends_ms = received_ms + EVENTS_WINDOW_MS
        ahead_ms = event_time_ms - received_ms
        if self._bound_ms is None or ahead_ms > self._bound_ms:
            self._bound_ms = ahead_ms

    def value_ms(self) -> float:
        """Return what to add to our clock to read theirs; 0 while nothing is known."""
        bounds_ms = [bound_ms for bound_ms in (self._bound_ms, self._previous_bound_ms) if bound_ms is not None]
        bound_ms = max(bounds_ms, default=None)
        if not self._trips:
            return 0.0 if bound_ms is None else bound_ms
        _, offset_ms = min(self._trips)
        return offset_ms if bound_ms is None else max(offset_ms, bound_ms)

    def error_ms(self) -> float | None:
        """Return how far off the estimate may be, either way; None without a round trip.

        Without one, delays count from that of the quickest event.
        """
        return min(self._trips)[0] / 2 if self._trips else None

    def exchange_ms(self, wall_ms: float) -> int | None:
        """Return the exchange's time at this reading of our clock, in ms since the epoch; None without a round trip.

        Events do not count here: one with a false time must not decide what is deleted.
        """
        return int(wall_ms + min(self._trips)[1]) if self._trips else None

    def trouble(self) -> str:
        """Return how wrong this machine's clock is, as a sentence; empty within DIFFERENCE_MAX_MS or if unknown."""
        if not self._trips:
            return ""
        duration_ms, offset_ms = min(self._trips)
        if abs(offset_ms) - duration_ms / 2 <= DIFFERENCE_MAX_MS:
            return ""
        side = "behind" if offset_ms > 0 else "ahead of"
        return f"This machine's clock is {abs(offset_ms) / 1000:.1f} s {side} the exchange's; synchronise it (NTP)."
