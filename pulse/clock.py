"""What time it is: the machine's for a live feed, the recording's for a replay. Nothing else reads a clock."""

import time
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
