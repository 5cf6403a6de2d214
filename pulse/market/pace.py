"""How long a stream may be silent before silence means trouble, learned from the stream's own habit.

A fixed limit reconnects for ever on quiet symbols and sleeps through a stall on busy ones; this one follows the
gaps that the stream has shown.
"""

from collections import deque

GAPS_KEPT = 64
GAPS_MIN = 8
LIMIT_MAX_MS = 600_000.0


class Pace:
    """The silence that is still normal for one stream, in ms of the clock that the caller passes in."""

    def __init__(self, floor_ms: float, unknown_ms: float) -> None:
        self._floor_ms = floor_ms
        self._unknown_ms = unknown_ms
        self._gaps: deque[float] = deque(maxlen=GAPS_KEPT)
        self.heard_ms: float | None = None

    def restart(self, now_ms: float) -> None:
        """A connection begins: silence counts from now, and the habit is kept."""
        self.heard_ms = now_ms

    def heard(self, now_ms: float) -> None:
        """Something arrived."""
        if self.heard_ms is not None:
            self._gaps.append(now_ms - self.heard_ms)
        self.heard_ms = now_ms

    def silence_ms(self, now_ms: float) -> float:
        """How long nothing has arrived; 0 before the first connection."""
        return 0.0 if self.heard_ms is None else now_ms - self.heard_ms

    def is_broken(self, now_ms: float) -> bool:
        """Whether the silence is beyond the limit; the floor, which costs nothing to compare with, mostly tells."""
        silence_ms = self.silence_ms(now_ms)
        return silence_ms > self._floor_ms and silence_ms > self.limit_ms()

    def limit_ms(self) -> float:
        """The silence beyond which the stream counts as stalled."""
        if len(self._gaps) < GAPS_MIN:
            return self._unknown_ms
        ordered = sorted(self._gaps)
        usual = 10 * ordered[len(ordered) // 2]
        # A lone long silence is part of a thin market's habit too. Where events come by chance, the next gap exceeds
        # k times the longest of n once in C(n + k, k) gaps: twice it, every 2,145; four times it, every 814,385.
        rare = 4 * ordered[-1]
        return min(max(self._floor_ms, usual, rare), LIMIT_MAX_MS)
