"""The topics that views are turned into: each variant is encoded once, when it is due, and only if it has subscribers.

No I/O. The clock and the timer are given.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from pulse.fanout.requests import Topic
from pulse.fanout.trade_log import Position, TradeLog
from pulse.market.intervals import MINUTE
from pulse.market.ladder import Ladder, LadderSide
from pulse.market.view import TradesView
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import AnyView

REPEAT_S = 1.0
"""A message that has not changed is sent again after this long: silence on a topic always means trouble."""
HEAD = ("seq", "instance", "symbol", "state", "last_update_id", "event_time_ms", "timestamp")
"""The fields of a view that every message made from it begins with."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    "book": ("state_reason", "data_age_ms", "bids", "asks"),
    "metrics": ("session_start_ms", "metrics"),
    "kline": ("candle", "closed_candle"),
    "proof": ("window", "proof"),
    "status": ("state_reason", "source", "venue", "data_age_ms", "streams", "instrument"),
    "ladder": ("state_reason", "data_age_ms", "window", "traded_since_ms", "fitting", "covering_multiple"),
    "cost": ("state_reason", "data_age_ms", "mid_price"),
}
"""The fields of a view that the messages of a kind carry besides."""
CHANGE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "kline": ("state", "candle", "closed_candle"),
    "proof": ("state", "window", "proof"),
    "status": ("state", "state_reason", "source", "venue", "instrument"),
}
"""The fields of which one must have changed for a message before REPEAT_S; other kinds change with every view."""

OWN_PARTS: Mapping[str, tuple[str, str, Callable[[str], float]]] = {
    "ladder": ("ladders", "multiple", int),
    "cost": ("costs", "notional", float),
}
"""Kinds that show one entry of a field's list: the field, the entry's key, and how the topic's name states it."""

CallLater = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds."""
RunningCandles = Callable[[str, str], Mapping[str, Any]]
"""Returns `candle` and `closed_candle` of a symbol's interval, as they are now."""


class Listener(Protocol):
    """A subscriber of a topic stream."""

    def put(self, message: EncodedMessage) -> None:
        """Take the newest message."""


class ViewMessage:
    """One view as the bus delivered it, and the messages that topics make of it, each encoded when first asked for.

    `view` is the object that `payload` encodes, where this process has made it; otherwise the payload is decoded when
    the first field is asked for. A view holds the minute's candle; `running_candles` knows those of longer intervals.
    """

    def __init__(self, payload: bytes, view: AnyView | None, running_candles: RunningCandles) -> None:
        self.whole = EncodedMessage(payload)
        self._view = view
        self._running_candles = running_candles
        self._fields: dict[str, Any] = {}
        self._parts: dict[tuple[str, int], EncodedMessage] = {}

    def field(self, name: str) -> Any:
        """Return one field of the view; None where it has no such field."""
        if self._view is not None:
            return getattr(self._view, name, None)
        if not self._fields:
            self._fields = orjson.loads(self.whole.payload)
        return self._fields.get(name)

    def carries(self, topic: Topic) -> bool:
        """Return whether the view has what a topic shows; a ladder or a cost is only there while it is watched."""
        return topic.kind not in OWN_PARTS or self._own_part(topic) is not None

    def _own_part(self, topic: Topic) -> Any:
        """Return the ladder or the cost of a topic; None where the view has none."""
        name, key, read = OWN_PARTS[topic.kind]
        wanted = read(topic.variant)
        for part in self.field(name) or ():
            if (part[key] if isinstance(part, dict) else getattr(part, key)) == wanted:
                return part
        return None

    def trades(self) -> list[tuple[Position, object]]:
        """Return the trades of a trades view, oldest first: the place of each, and what it is encoded from."""
        if isinstance(self._view, TradesView):
            return [(Position(trade.id, trade.first_trade_id), trade) for trade in self._view.trades]
        # A process of an earlier version, which shares the bus for a minute at a deploy, has no ids of fills.
        return [(Position(trade["id"], trade.get("first_trade_id", 0)), trade) for trade in self.field("trades")]

    def part(self, topic: Topic) -> EncodedMessage:
        """Return the message that a topic makes of the view."""
        if topic.kind == "view":
            return self.whole
        key = (topic.name, topic.depth)
        if key not in self._parts:
            self._parts[key] = EncodedMessage(orjson.dumps(self._body(topic)))
        return self._parts[key]

    def _body(self, topic: Topic) -> dict[str, Any]:
        body = {"topic": topic.name} | {name: self.field(name) for name in (*HEAD, *FIELDS[topic.kind])}
        if topic.kind == "kline" and topic.candle_interval != MINUTE.name:
            body |= self._running_candles(topic.symbol, topic.candle_interval)
        if topic.kind == "cost":
            body["cost"] = self._own_part(topic)
        if topic.kind == "ladder":
            body["ladder"] = cut_ladder(self._own_part(topic), topic.depth)
        if topic.kind == "book":
            body |= {side: (body[side] or [])[: topic.depth] for side in ("bids", "asks")}
        return body


def cut_ladder(ladder: Ladder | dict[str, Any], rows: int) -> dict[str, Any]:
    """Return a ladder with so many rows a side at most, as JSON holds it."""
    whole: dict[str, Any] = ladder if isinstance(ladder, dict) else dict(vars(ladder))
    return whole | {side: _cut_side(whole[side], rows) for side in ("bids", "asks")}


def _cut_side(side: LadderSide | dict[str, Any] | None, rows: int) -> dict[str, Any] | None:
    if side is None:
        return None
    whole: dict[str, Any] = side if isinstance(side, dict) else vars(side)
    known = whole["rows"]
    # The partial group comes after all rows.
    return whole if len(known) <= rows else {"rows": known[:rows], "partial": None, "is_whole": False}


class TopicStream:
    """One variant of one topic: its subscribers, and when they get the next message."""

    def __init__(self, topic: Topic, clock: Callable[[], float], call_later: CallLater) -> None:
        self.listeners: set[Listener] = set()
        self._topic = topic
        self._clock = clock
        self._call_later = call_later
        self._sent_at_s = -REPEAT_S
        self._waiting: Callable[[], None] | None = None
        self._has_timer = False
        self._last_values: list[Any] = []

    def offer(self, view: ViewMessage) -> None:
        """Take a new view, and send the message that it makes as soon as the topic's rate allows."""
        if view.carries(self._topic) and self._has_changed(view):
            self._pace(lambda: self._send(view.part(self._topic)))

    def notify(self) -> None:
        """Send word of new trades as soon as the topic's rate allows; each cursor reads the log by itself."""
        self._pace(lambda: self._send(NEW_TRADES))

    def _has_changed(self, view: ViewMessage) -> bool:
        names = CHANGE_FIELDS.get(self._topic.kind)
        if names is None:
            return True
        values = [view.field(name) for name in names]
        if values == self._last_values and self._clock() - self._sent_at_s < REPEAT_S:
            return False
        self._last_values = values
        return True

    def _pace(self, send: Callable[[], None]) -> None:
        wait_s = self._sent_at_s + self._topic.interval_s - self._clock()
        if wait_s <= 0:
            self._waiting = None
            send()
            return
        self._waiting = send
        if not self._has_timer:
            self._has_timer = True
            self._call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._has_timer = False
        if self._waiting is not None:
            self._pace(self._waiting)

    def _send(self, message: EncodedMessage) -> None:
        self._sent_at_s = self._clock()
        for listener in self.listeners:
            listener.put(message)


NEW_TRADES = EncodedMessage(b"")
"""Tells cursors that there are new trades; which of them a client lacks, its cursor knows."""


class TradeCursor:
    """One client's place in a trade log: the trades it has not been sent, and whether to send them."""

    __slots__ = ("_is_due", "_log", "_schedule", "_start")

    def __init__(self, log: TradeLog, start: Position | None, schedule: Callable[[], None]) -> None:
        self._log = log
        self._start = start
        self._schedule = schedule
        self._is_due = False

    @property
    def position(self) -> Position:
        """The place of the first trade that the client has not been sent."""
        return self._log.default_start() if self._start is None else self._start

    def put(self, _: EncodedMessage) -> None:
        """Take the news that there are new trades."""
        self._is_due = True
        self._schedule()

    def move_to(self, other: "TradeCursor") -> None:
        """Continue where another cursor is: the client was sent what the other's clients were."""
        self._start = other.position
        self._is_due = False

    def take(self) -> EncodedMessage | None:
        """Return the trades that the client lacks, as many as one message holds; None if there are none now."""
        if not self._is_due:
            return None
        message, self._start = self._log.since(self.position)
        self._is_due = self._start < self._log.end
        if self._is_due:
            self._schedule()  # there are more than one message holds
        return message
