"""Whether a connection's silence means trouble, and what to do about it. Pure: the clock is an argument.

Pings cannot tell: an exchange has been seen to answer them for hours while its data stood still. What tells is the
age of the data, against each stream's own habit, and one stream against another: a bookTicker or a partial depth
proves that the book changed, so a depth stream that does not follow has stalled, however quiet the market.
"""

from collections import deque
from enum import Enum, auto

GAPS_KEPT = 64
GAPS_MIN = 8
LIMIT_MAX_MS = 600_000.0


class SilenceLimit:
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


LEAD_MS = 3_000
"""How far bookTicker may run ahead of the depth stream: its diff follows within 100 ms."""
UNKNOWN_MS = 30_000
"""The silence allowed before the connection's habit is known."""


class SilenceAction(Enum):
    """What a silence calls for."""

    NONE = auto()
    RESUBSCRIBE = auto()  # one stream is silent while others flow: ask for it again
    RECONNECT = auto()  # asking again did not help, or everything is silent


class StreamWatchdog:
    """Watches one connection of one symbol. Ids are those of the book, times ms of the caller's clock."""

    def __init__(self, floor_ms: float) -> None:
        self._pace = SilenceLimit(floor_ms, max(floor_ms, UNKNOWN_MS))
        self._depth_id = 0
        self._lead_since_ms: float | None = None
        self._asked_again = False

    def restart(self, now_ms: float) -> None:
        """A connection begins."""
        self._pace.restart(now_ms)
        self._depth_id = 0
        self._lead_since_ms = None
        self._asked_again = False

    def heard(self, now_ms: float) -> None:
        """Anything arrived."""
        self._pace.heard(now_ms)

    def heard_depth(self, final_update_id: int) -> None:
        """The depth stream has reached this id."""
        self._depth_id = final_update_id
        self._lead_since_ms = None
        self._asked_again = False

    def heard_ticker(self, update_id: int, now_ms: float) -> None:
        """The bookTicker stream has reached this id."""
        if self._lead_since_ms is None and update_id > self._depth_id:
            self._lead_since_ms = now_ms

    def heard_top(self, update_id: int, now_ms: float) -> None:
        """The partial depth stream has stated the book at this id, which it also does when nothing has changed."""
        if not self._depth_id:
            self._depth_id = update_id  # a connection begins: what changes from here on must come as a diff
        self.heard_ticker(update_id, now_ms)

    def remedy(self, now_ms: float) -> SilenceAction:
        """What to do now; a resubscription is asked for once per stall."""
        if self._pace.is_broken(now_ms):
            return SilenceAction.RECONNECT
        if self._lead_since_ms is None or now_ms - self._lead_since_ms <= LEAD_MS:
            return SilenceAction.NONE
        if not self._asked_again:
            self._asked_again = True
            self._lead_since_ms = now_ms
            return SilenceAction.RESUBSCRIBE
        return SilenceAction.RECONNECT
