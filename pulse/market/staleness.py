"""Whether a connection's silence means trouble, and what to do about it. Pure: the clock is an argument.

Pings cannot tell: an exchange has been seen to answer them for hours while its data stood still. What tells is the
age of the data, against each stream's own habit, and one stream against another: a bookTicker or a partial depth
proves that the book changed, so a depth stream that does not follow has stalled, however quiet the market.
"""

from enum import Enum, auto

from pulse.market.pace import Pace

LEAD_MS = 3_000
"""How far bookTicker may run ahead of the depth stream: its diff follows within 100 ms."""
UNKNOWN_MS = 30_000
"""The silence allowed before the connection's habit is known."""


class Remedy(Enum):
    """What a silence calls for."""

    NONE = auto()
    RESUBSCRIBE = auto()  # one stream is silent while others flow: ask for it again
    RECONNECT = auto()  # asking again did not help, or everything is silent


class Watch:
    """Watches one connection of one symbol. Ids are those of the book, times ms of the caller's clock."""

    def __init__(self, floor_ms: float) -> None:
        self._pace = Pace(floor_ms, max(floor_ms, UNKNOWN_MS))
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

    def remedy(self, now_ms: float) -> Remedy:
        """What to do now; a resubscription is asked for once per stall."""
        if self._pace.is_broken(now_ms):
            return Remedy.RECONNECT
        if self._lead_since_ms is None or now_ms - self._lead_since_ms <= LEAD_MS:
            return Remedy.NONE
        if not self._asked_again:
            self._asked_again = True
            self._lead_since_ms = now_ms
            return Remedy.RESUBSCRIBE
        return Remedy.RECONNECT
