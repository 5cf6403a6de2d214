"""One symbol's newest trades, ordered by id, for clients that read them with a cursor: a gap is always reported.

Pure. It is fed from the bus, where messages repeat trades, and read by each client's own next id.
"""

from bisect import bisect_left
from collections.abc import Sequence

import orjson

from pulse.server.ws_frames import EncodedMessage

KEPT_MAX = 2_000
"""Trades kept for clients that reconnect; of the busiest symbol about a minute."""
DEFAULT_COUNT = 30
"""Trades that a client gets at once if it gives no `from_id`."""
PER_MESSAGE_MAX = 300
"""A client that is far behind catches up in messages that a slow connection can take."""
SHARED_MAX = 64
"""Messages cached for several clients with the same next id."""


class TradesMessage(EncodedMessage):
    """Trades of one topic: after it a client's next trade is `next_id`."""

    __slots__ = ("next_id", "topic_name")

    def __init__(self, payload: bytes, topic_name: str, next_id: int) -> None:
        super().__init__(payload)
        self.topic_name = topic_name
        self.next_id = next_id


class TradeLog:
    """The newest trades of one topic, by id."""

    def __init__(self, topic_name: str) -> None:
        self._topic_name = topic_name
        self._ids: list[int] = []
        self._encoded: list[bytes] = []
        self._shared: dict[int, TradesMessage] = {}

    @property
    def next_id(self) -> int:
        """The id after the newest trade's; 0 before the first."""
        return self._ids[-1] + 1 if self._ids else 0

    def extend(self, trades: Sequence[tuple[int, object]]) -> bool:
        """Add trades, each its id and what it is encoded from, oldest first; return whether any was new."""
        if self._ids and trades and trades[-1][0] < self._ids[0]:
            self._ids, self._encoded = [], []  # ids began anew: a simulation or a replay was started again
        new = [(trade_id, trade) for trade_id, trade in trades if trade_id >= self.next_id]
        if not new:
            return False
        self._ids += [trade_id for trade_id, _ in new]
        self._encoded += [orjson.dumps(trade) for _, trade in new]
        del self._ids[:-KEPT_MAX], self._encoded[:-KEPT_MAX]
        self._shared.clear()
        return True

    def default_start(self) -> int:
        """Return the first id for a client that gives none."""
        return self._ids[-DEFAULT_COUNT:][0] if self._ids else 0

    def since(self, next_id: int) -> tuple[TradesMessage | None, int]:
        """Return the message for a client that has all trades below `next_id`, and its next id after that.

        The message is None if there are no such trades.
        """
        if next_id > self.next_id + KEPT_MAX:
            next_id = self.default_start()  # its ids were of another session
        if next_id >= self.next_id:
            return None, next_id
        if next_id not in self._shared:
            if len(self._shared) == SHARED_MAX:
                self._shared.clear()
            self._shared[next_id] = self._message(next_id)
        message = self._shared[next_id]
        return message, message.next_id

    def _message(self, next_id: int) -> TradesMessage:
        start = bisect_left(self._ids, next_id)
        end = start + 1
        while end < min(len(self._ids), start + PER_MESSAGE_MAX) and self._ids[end] == self._ids[end - 1] + 1:
            end += 1
        first, last = self._ids[start], self._ids[end - 1]
        # Nothing is missing before a client's first trade.
        gap = {"first_id": next_id, "last_id": first - 1} if 0 < next_id < first else None
        head = orjson.dumps({"topic": self._topic_name, "seq": last, "first_id": first, "last_id": last, "gap": gap})
        payload = head[:-1] + b',"trades":[' + b",".join(self._encoded[start:end]) + b"]}"
        return TradesMessage(payload, self._topic_name, last + 1)
