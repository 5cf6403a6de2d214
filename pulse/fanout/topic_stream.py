"""The topics of the feed, made from views: each variant encoded once, when it is due, and only if somebody listens.

No I/O. Time, and the way to be called later, are given.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from pulse.fanout.requests import Topic
from pulse.fanout.trade_log import TradeLog
from pulse.market.intervals import MINUTE
from pulse.server.ws_frames import EncodedMessage

REPEAT_S = 1.0
"""What has not changed is said again after this long: silence on a topic always means trouble."""
HEAD = ("seq", "instance", "symbol", "state", "last_update_id", "event_time_ms", "timestamp")
"""What every message made from a view tells of it."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "book": ("state_reason", "data_age_ms", "bids", "asks"),
    "metrics": ("session_start_ms", "metrics"),
    "kline": ("candle", "closed_candle"),
    "proof": ("window", "proof"),
    "status": ("state_reason", "source", "venue", "data_age_ms", "instrument"),
}
"""What the message of a kind holds besides."""
MOVES: Mapping[str, tuple[str, ...]] = {
    "kline": ("state", "candle", "closed_candle"),
    "proof": ("state", "window", "proof"),
    "status": ("state", "state_reason", "source", "venue", "instrument"),
}
"""What of it must have changed to be said before REPEAT_S; the other kinds change with every view."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls something in so many seconds."""


RunningCandles = Callable[[str, str], Mapping[str, Any]]
"""`candle` and `closed_candle` of a symbol's interval, as they are now."""


def no_bars(symbol: str, interval: str) -> Mapping[str, Any]:
    """Where only minutes are known."""
    return {"candle": None, "closed_candle": None}


class Listener(Protocol):
    """Who joined a topic."""

    def put(self, message: EncodedMessage) -> None:
        """Take the newest message."""


class ViewMessage:
    """One view as it came by the bus; decoded when the first part of it is asked for.

    It holds the minute's candle; `bars` knows those of longer intervals.
    """

    def __init__(self, payload: bytes, bars: RunningCandles = no_bars) -> None:
        self.message = EncodedMessage(payload)
        self._bars = bars
        self._fields: dict[str, Any] = {}
        self._parts: dict[tuple[str, int], EncodedMessage] = {}

    def field(self, name: str) -> Any:
        """One field of it; None where it has no such field."""
        if not self._fields:
            self._fields = orjson.loads(self.message.payload)
        return self._fields.get(name)

    def part(self, choice: Topic) -> EncodedMessage:
        """The message that a topic makes of it."""
        if choice.kind == "view":
            return self.message
        key = (choice.topic, choice.depth)
        if key not in self._parts:
            self._parts[key] = EncodedMessage(orjson.dumps(self._body(choice)))
        return self._parts[key]

    def _body(self, choice: Topic) -> dict[str, Any]:
        body = {"topic": choice.topic} | {name: self.field(name) for name in (*HEAD, *PARTS[choice.kind])}
        if choice.kind == "kline" and choice.span != MINUTE.name:
            body |= self._bars(choice.symbol, choice.span)
        if choice.kind == "book":
            body |= {side: (body[side] or [])[: choice.depth] for side in ("bids", "asks")}
        return body


class TopicStream:
    """One choice of one topic: who listens, and when they are told."""

    def __init__(self, choice: Topic, clock: Callable[[], float], later: Later) -> None:
        self.listeners: set[Listener] = set()
        self._choice = choice
        self._clock = clock
        self._later = later
        self._told_at_s = -REPEAT_S
        self._waiting: Callable[[], None] | None = None
        self._is_timed = False
        self._moves: list[Any] = []

    def offer(self, view: ViewMessage) -> None:
        """A new view is there."""
        if self._is_news(view):
            self._pace(lambda: self._tell(view.part(self._choice)))

    def nudge(self) -> None:
        """There are new trades; each listener asks its log for those it lacks."""
        self._pace(lambda: self._tell(NUDGE))

    def _is_news(self, view: ViewMessage) -> bool:
        names = MOVES.get(self._choice.kind)
        if names is None:
            return True
        moves = [view.field(name) for name in names]
        if moves == self._moves and self._clock() - self._told_at_s < REPEAT_S:
            return False
        self._moves = moves
        return True

    def _pace(self, tell: Callable[[], None]) -> None:
        wait_s = self._told_at_s + self._choice.interval_s - self._clock()
        if wait_s <= 0:
            self._waiting = None
            tell()
            return
        self._waiting = tell
        if not self._is_timed:
            self._is_timed = True
            self._later(wait_s, self._overdue)

    def _overdue(self) -> None:
        self._is_timed = False
        if self._waiting is not None:
            self._pace(self._waiting)

    def _tell(self, message: EncodedMessage) -> None:
        self._told_at_s = self._clock()
        for listener in self.listeners:
            listener.put(message)


NUDGE = EncodedMessage(b"")
"""Stands for "there are new trades": what each client lacks is its own."""


class TradeCursor:
    """The new trades that one client is owed: where it is in the log, and whether it is to be told."""

    __slots__ = ("_is_due", "_log", "_next_id", "_note")

    def __init__(self, log: TradeLog, from_id: int | None, note: Callable[[], None]) -> None:
        self._log = log
        self._next_id = from_id
        self._note = note
        self._is_due = False

    @property
    def next_id(self) -> int:
        """The first trade that the client has not been sent."""
        return self._log.beginning() if self._next_id is None else self._next_id

    def put(self, _: EncodedMessage) -> None:
        """There are new trades."""
        self._is_due = True
        self._note()

    def go_on_after(self, other: "TradeCursor") -> None:
        """The client was sent what the other was."""
        self._next_id = other.next_id
        self._is_due = False

    def take(self) -> EncodedMessage | None:
        """Those that the client lacks, as far as one message takes them."""
        if not self._is_due:
            return None
        message, self._next_id = self._log.since(self.next_id)
        self._is_due = self._next_id < self._log.next_id
        if self._is_due:
            self._note()  # there is more than one message takes
        return message
