"""Whether a depth stream has stalled, and what to do about its connection. Pure: the clock is an argument.

Pings cannot show it: an exchange has been seen to answer them for hours while its data stood still. What does is the
age of the data, against each stream's own habit, and one stream against another: a bookTicker or a partial depth
proves that the book changed, so a depth stream that does not follow has stalled, however quiet the market.
"""

from collections import deque
from enum import Enum, auto

GAPS_KEPT = 64
GAPS_MIN = 8
LIMIT_MAX_MS = 600_000.0
LEAD_MAX_MS = 3_000
"""How long another stream may run ahead of the depth stream: a diff follows its bookTicker within 100 ms."""
UNKNOWN_MS = 30_000
"""The silence allowed before the stream's habit is known."""


class SilenceLimit:
    """The silence that is still normal for one stream, in ms of the clock that the caller passes in."""

    def __init__(self, floor_ms: float, unknown_ms: float) -> None:
        self._floor_ms = floor_ms
        self._unknown_ms = unknown_ms
        self._gaps: deque[float] = deque(maxlen=GAPS_KEPT)
        self._last_ms: float | None = None  # when the newest data arrived

    def restart(self, now_ms: float) -> None:
        """Count the silence from now on; the time before it is no gap, and the habit is kept."""
        self._last_ms = now_ms

    def on_data(self, now_ms: float) -> None:
        """Note that data has arrived."""
        if self._last_ms is not None:
            self._gaps.append(now_ms - self._last_ms)
        self._last_ms = now_ms

    def silence_ms(self, now_ms: float) -> float:
        """Return how long no data has arrived; 0 before the first connection."""
        return 0.0 if self._last_ms is None else now_ms - self._last_ms

    def is_exceeded(self, now_ms: float) -> bool:
        """Return whether the silence is beyond the limit. The floor, which costs nothing to compare, comes first."""
        silence_ms = self.silence_ms(now_ms)
        return silence_ms > self._floor_ms and silence_ms > self.limit_ms()

    def limit_ms(self) -> float:
        """Return the silence beyond which the stream counts as stalled."""
        if len(self._gaps) < GAPS_MIN:
            return self._unknown_ms
        ordered = sorted(self._gaps)
        usual = 10 * ordered[len(ordered) // 2]
        # A lone long silence is part of a thin market's habit too. Where events come by chance, the next gap exceeds
        # k times the longest of n once in C(n + k, k) gaps: twice it, every 2,145; four times it, every 814,385.
        rare = 4 * ordered[-1]
        return min(max(self._floor_ms, usual, rare), LIMIT_MAX_MS)


class DepthStaleness:
    """Whether a depth stream has stalled: too long a silence, or another stream too long ahead of its update ids.

    `floor_ms` is the silence that is allowed to any stream. Ids are those of the book, times ms of the caller's clock.
    """

    def __init__(self, floor_ms: float) -> None:
        self.silence = SilenceLimit(floor_ms, max(floor_ms, UNKNOWN_MS))
        self._lead_id = 0
        self._lead_since_ms: float | None = None

    def restart(self, now_ms: float) -> None:
        """Begin with a new connection: neither the silence nor the lead of the old one counts."""
        self.silence.restart(now_ms)
        self._lead_since_ms = None

    def restart_lead(self, now_ms: float) -> None:
        """Count a lead that there is from now on."""
        self._lead_since_ms = now_ms

    def on_other_stream(self, update_id: int, depth_id: int, now_ms: float) -> None:
        """Note that another stream shows the book at `update_id`, while the depth stream has reached `depth_id`."""
        if self._lead_since_ms is None:
            if update_id > depth_id:
                self._lead_id, self._lead_since_ms = update_id, now_ms
        elif update_id <= depth_id:
            self._lead_since_ms = None  # a later frame shows nothing beyond the depth stream: the lead was false
        elif update_id < self._lead_id:
            self._lead_id = update_id  # and the lowest id that is beyond it is the one to reach

    def on_depth(self, update_id: int) -> None:
        """Note that the depth stream has reached this id: it ends a lead up to it."""
        if self._lead_since_ms is not None and update_id >= self._lead_id:
            self._lead_since_ms = None

    def end_lead(self) -> None:
        """End a lead, whatever its id."""
        self._lead_since_ms = None

    def is_behind(self, now_ms: float) -> bool:
        """Return whether another stream has been ahead for longer than LEAD_MAX_MS."""
        return self._lead_since_ms is not None and now_ms - self._lead_since_ms > LEAD_MAX_MS

    def is_stale(self, now_ms: float) -> bool:
        """Return whether the stream has stalled, for either reason."""
        return self.silence.is_exceeded(now_ms) or self.is_behind(now_ms)


class SilenceAction(Enum):
    """What a silence calls for."""

    NONE = auto()
    RESUBSCRIBE = auto()  # one stream is silent while others flow: ask for it again
    RECONNECT = auto()  # asking again did not help, or everything is silent


class StreamWatchdog:
    """Watches one connection of one symbol: all its streams for silence, the depth stream for a stall."""

    def __init__(self, floor_ms: float) -> None:
        self._staleness = DepthStaleness(floor_ms)
        self._depth_id = 0
        self._unknown_until_ms = 0.0  # until then the id that the depth stream has reached is not known
        self._is_resubscribed = False  # during this stall

    def restart(self, now_ms: float) -> None:
        """Begin with a new connection."""
        self._staleness.restart(now_ms)
        self._depth_id = 0
        self._is_resubscribed = False

    def on_frame(self, now_ms: float) -> None:
        """Note that a frame of any stream has arrived."""
        self._staleness.silence.on_data(now_ms)

    def on_diff(self, final_update_id: int) -> None:
        """Note that the depth stream has reached this id."""
        self._depth_id = final_update_id
        self._is_resubscribed = False
        # A stream that flows has not stalled, even where this diff has not reached the other stream's id yet.
        self._staleness.end_lead()

    def on_lost_diff(self, now_ms: float) -> None:
        """Note that a diff has arrived that is not applied: the stream flows, and others show how far it has come."""
        self.on_diff(self._depth_id)
        self._unknown_until_ms = now_ms + LEAD_MAX_MS

    def on_ticker(self, update_id: int, now_ms: float) -> None:
        """Note that the bookTicker stream has reached this id."""
        if now_ms < self._unknown_until_ms:
            self._depth_id = max(self._depth_id, update_id)
        self._staleness.on_other_stream(update_id, self._depth_id, now_ms)

    def on_partial(self, update_id: int, now_ms: float) -> None:
        """Note that the partial depth stream has sent the book at this id; it also does when nothing has changed."""
        if not self._depth_id or now_ms < self._unknown_until_ms:
            # A connection begins, or a diff was lost: what changes from here on must come as a diff.
            self._depth_id = max(self._depth_id, update_id)
        self._staleness.on_other_stream(update_id, self._depth_id, now_ms)

    def action(self, now_ms: float) -> SilenceAction:
        """Return what to do now; a resubscription is asked for once per stall."""
        if self._staleness.silence.is_exceeded(now_ms):
            return SilenceAction.RECONNECT
        if not self._staleness.is_behind(now_ms):
            return SilenceAction.NONE
        if self._is_resubscribed:
            return SilenceAction.RECONNECT
        self._is_resubscribed = True
        self._staleness.restart_lead(now_ms)
        return SilenceAction.RESUBSCRIBE
