"""One symbol's newest trades, ordered by id, for clients that read them with a cursor: a gap is always reported.

Pure. It is fed from the bus, where messages repeat trades, and read by each client's own next id.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from pulse.server.ws_frames import EncodedMessage

KEPT_MAX = 2_000
"""Trades kept for clients that reconnect; of the busiest symbol about a minute."""
TRADE_BYTES = 300
"""About the memory of a trade: its text, its place, and their places in two lists."""
DEFAULT_COUNT = 30
"""Trades that a client gets at once if it gives no `from_id`."""
PER_MESSAGE_MAX = 300
"""A client that is far behind catches up in messages that a slow connection can take."""
SHARED_MAX = 64
"""Messages cached for several clients with the same next id."""


class Position(NamedTuple):
    """A place in the order of trades: before the trade of this id, or of its fills from `first_trade_id` on.

    The second number matters only where the exchange has used one id twice.
    """

    trade_id: int
    first_trade_id: int = 0

    @property
    def next_id(self) -> int:
        """The first id of which no trade is before this place."""
        return self.trade_id + (self.first_trade_id > 0)


class TradesMessage(EncodedMessage):
    """Trades of one topic: after it a client's place is `end`."""

    __slots__ = ("end", "topic_name")

    def __init__(self, payload: bytes, topic_name: str, end: Position) -> None:
        super().__init__(payload)
        self.topic_name = topic_name
        self.end = end


class TradeLog:
    """The newest trades of one topic, at most `kept_max`, in the order of their ids."""

    def __init__(self, topic_name: str, kept_max: int = KEPT_MAX) -> None:
        self._topic_name = topic_name
        self._kept_max = kept_max
        self._places: list[Position] = []  # of each trade: its id and that of its first fill
        self._encoded: list[bytes] = []
        self._shared: dict[Position, TradesMessage] = {}

    @property
    def end(self) -> Position:
        """The place after the newest trade; before the first one the lowest of all."""
        return _after(self._places[-1]) if self._places else Position(0)

    def extend(self, trades: Sequence[tuple[Position, object]]) -> bool:
        """Add trades, each its place and what it is encoded from, oldest first; return whether any was new."""
        if self._places and trades and trades[-1][0] < self._places[0]:
            self._places, self._encoded = [], []  # ids began anew: a simulation or a replay was started again
        end = self.end
        new = [(place, trade) for place, trade in trades if place >= end]
        if not new:
            return False
        self._places += [place for place, _ in new]
        # Copied, because the library's own bytes keep the 4 KB that they were written into.
        self._encoded += [bytes(memoryview(orjson.dumps(trade))) for _, trade in new]
        del self._places[: -self._kept_max], self._encoded[: -self._kept_max]
        self._shared.clear()
        return True

    def default_start(self) -> Position:
        """Return the place of the first trade for a client that gives none."""
        return self._places[-DEFAULT_COUNT:][0] if self._places else Position(0)

    def since(self, start: Position) -> tuple[TradesMessage | None, Position]:
        """Return the message for a client that has all trades before `start`, and its place after that.

        The message is None if there are no such trades.
        """
        end = self.end
        if start.trade_id > end.next_id + KEPT_MAX:
            start = self.default_start()  # its ids were of another session
        if start >= end:
            # One that asks for the next id also gets a second trade of the newest id.
            return None, end if start == Position(end.next_id) else start
        if start not in self._shared:
            if len(self._shared) == SHARED_MAX:
                self._shared.clear()
            self._shared[start] = self._message(start)
        message = self._shared[start]
        return message, message.end

    def _message(self, start: Position) -> TradesMessage:
        at = bisect_left(self._places, start)
        stop = at + 1
        while stop < min(len(self._places), at + PER_MESSAGE_MAX) and self._is_contiguous(stop):
            stop += 1
        first, last = self._places[at].trade_id, self._places[stop - 1].trade_id
        # Nothing is missing before a client's first trade.
        gap = {"first_id": start.next_id, "last_id": first - 1} if 0 < start.next_id < first else None
        head = orjson.dumps({"topic": self._topic_name, "seq": last, "first_id": first, "last_id": last, "gap": gap})
        payload = head[:-1] + b',"trades":[' + b",".join(self._encoded[at:stop]) + b"]}"
        return TradesMessage(payload, self._topic_name, _after(self._places[stop - 1]))

    def _is_contiguous(self, at: int) -> bool:
        """Return whether no id is missing before the trade at this index."""
        return self._places[at].trade_id <= self._places[at - 1].trade_id + 1


def _after(place: Position) -> Position:
    """Return the place right after the trade of this one."""
    return Position(place.trade_id, place.first_trade_id + 1)
