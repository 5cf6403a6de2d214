"""One symbol's newest trades as clients get them: no trade is skipped without a word.

Pure. It is fed what the bus brings, which repeats itself, and asked by each client's own next id.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pulse.server.ws_frames import EncodedMessage

KEPT_MAX = 2_000
"""Trades kept for who comes back; of the busiest symbol about a minute."""
AT_FIRST = 30
"""Trades that a client gets at once if it does not say where to begin."""
PER_MESSAGE_MAX = 300
"""A client that is far behind catches up in bites that a slow line can take."""
SHARED_MAX = 64
"""Messages kept for several clients that are equally far."""


class TradesMessage(EncodedMessage):
    """Trades of one topic: whoever has been sent it lacks those from `next_id` on."""

    __slots__ = ("next_id", "topic")

    def __init__(self, payload: bytes, topic: str, next_id: int) -> None:
        super().__init__(payload)
        self.topic = topic
        self.next_id = next_id


class TradeLog:
    """The trades of one topic, by id."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._ids: list[int] = []
        self._texts: list[bytes] = []
        self._shared: dict[int, TradesMessage] = {}

    @property
    def next_id(self) -> int:
        """The id after the newest trade's; 0 before the first."""
        return self._ids[-1] + 1 if self._ids else 0

    def extend(self, trades: Iterable[Mapping[str, Any]]) -> bool:
        """Take trades, oldest first; those that are known are ignored. Whether any was new."""
        trades = list(trades)
        if self._ids and trades and trades[-1]["id"] < self._ids[0]:
            self._ids, self._texts = [], []  # another world: a simulation or a replay that began again
        new = [trade for trade in trades if trade["id"] >= self.next_id]
        if not new:
            return False
        self._ids += [trade["id"] for trade in new]
        self._texts += [orjson.dumps(trade) for trade in new]
        del self._ids[:-KEPT_MAX], self._texts[:-KEPT_MAX]
        self._shared.clear()
        return True

    def beginning(self) -> int:
        """Where a client begins that does not say where."""
        return self._ids[-AT_FIRST:][0] if self._ids else 0

    def since(self, next_id: int) -> tuple[TradesMessage | None, int]:
        """The message for who has all trades below `next_id`, and its next id after that; None if there is nothing."""
        if next_id > self.next_id + KEPT_MAX:
            next_id = self.beginning()  # its trades were another world's
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
        head = orjson.dumps({"topic": self._topic, "seq": last, "first_id": first, "last_id": last, "gap": gap})
        payload = head[:-1] + b',"trades":[' + b",".join(self._texts[start:end]) + b"]}"
        return TradesMessage(payload, self._topic, last + 1)
