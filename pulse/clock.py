"""What time it is: the machine's for a live feed, the recording's for a replay. Nothing else reads a clock."""

import time
from collections import deque
from typing import Protocol


class Clock(Protocol):
    """Two readings: one for intervals, one for dates."""

    def now_ms(self) -> float:
        """Milliseconds from any fixed start, never backwards."""

    def wall_s(self) -> float:
        """Seconds since the epoch."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> float:
        """Milliseconds of the monotonic clock, which no one sets."""
        return time.monotonic() * 1000

    def wall_s(self) -> float:
        """Seconds since the epoch by the machine's clock."""
        return time.time()


class ReplayClock:
    """The receive time of the newest line of a recording."""

    def __init__(self) -> None:
        self._now_ms = 0.0

    def advance(self, received_ms: float) -> None:
        """The recording has reached this receive time, in ms since the epoch."""
        self._now_ms = max(self._now_ms, received_ms)

    def now_ms(self) -> float:
        """Milliseconds since the epoch, as recorded."""
        return self._now_ms

    def wall_s(self) -> float:
        """Seconds since the epoch, as recorded."""
        return self._now_ms / 1000


ROUND_TRIPS = 8
"""Of so many newest round trips the quickest counts: clocks drift, so an old one does not."""
EVENTS_WINDOW_MS = 60_000.0
"""What events betray is forgotten after one to two of these."""


class ClockOffset:
    """The estimate, and how far off it may be."""

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=ROUND_TRIPS)  # how long it took, and the offset it shows
        self._least: float | None = None  # what the events of this window demand
        self._least_before: float | None = None  # and those of the one before
        self._window_ends_ms = 0.0

    def round_trip(self, sent_ms: float, exchange_ms: float, received_ms: float) -> None:
        """The exchange said what time it was, in answer to what was sent and received then by our clock."""
        took_ms = received_ms - sent_ms
        if took_ms >= 0:
            self._trips.append((took_ms, exchange_ms - (sent_ms + received_ms) / 2))

    def event(self, received_ms: float, event_time_ms: float) -> None:
        """An event of this exchange time has been received then by our clock."""
        if received_ms >= self._window_ends_ms:
            self._least_before, self._least = self._least, None
            self._window_ends_ms = received_ms + EVENTS_WINDOW_MS
        ahead_ms = event_time_ms - received_ms
        if self._least is None or ahead_ms > self._least:
            self._least = ahead_ms

    def value_ms(self) -> float:
        """What to add to our clock to read theirs; 0 while nothing is known."""
        known = [bound for bound in (self._least, self._least_before) if bound is not None]
        least = max(known, default=None)
        if not self._trips:
            return 0.0 if least is None else least
        _, shown = min(self._trips)
        return shown if least is None else max(shown, least)

    def error_ms(self) -> float | None:
        """How far off it may be, either way; None without a round trip: then delays count from the quickest event's."""
        return min(self._trips)[0] / 2 if self._trips else None
