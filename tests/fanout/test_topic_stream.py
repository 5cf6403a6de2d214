"""The topics that a view makes: what each holds, when it is said, and how often."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import REPEAT_S, TopicStream, TradeCursor, ViewMessage
from pulse.fanout.trade_log import PER_MESSAGE_MAX, TradeLog
from pulse.server.ws_frames import EncodedMessage


def view(seq: int = 1, **fields: Any) -> ViewMessage:
    """A view of a live book of three levels a side."""
    levels = [[100.0 - n, 1.0] for n in range(3)]
    body = {"seq": seq, "instance": "ab", "symbol": "BTCUSDT", "state": "live", "last_update_id": 9, "bids": levels}
    return ViewMessage(
        orjson.dumps(body | {"asks": levels, "metrics": {"cvd": 1.5}, "candle": {"close": 1.0}} | fields)
    )


class Stage:
    """A stream, its clock, what is to be called later, and what one listener was told."""

    def __init__(self, kind: str, depth: int = 0, interval_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        choice = Topic(f"{kind}.BTCUSDT", kind, "BTCUSDT", depth, interval_s)
        self.stream = TopicStream(choice, lambda: self.now_s, self.call_later)
        self.stream.listeners.add(self)
        self.told: list[dict[str, Any]] = []

    def call_later(self, wait_s: float, act: Callable[[], None]) -> None:
        """Keep what is to be called, and when."""
        self.later.append((self.now_s + wait_s, act))

    def put(self, message: EncodedMessage) -> None:
        """Keep what was told."""
        self.told.append(orjson.loads(message.payload or b"{}"))

    def pass_until(self, at_s: float) -> None:
        """Let time pass, and do what is due on the way."""
        while self.later and self.later[0][0] <= 100.0 + at_s:
            self.now_s, act = self.later.pop(0)
            act()
        self.now_s = 100.0 + at_s

    def offer(self, at_s: float, **fields: Any) -> None:
        """A view comes at this time; what is due before it happens before it."""
        self.pass_until(at_s)
        self.stream.offer(view(**fields))


@pytest.mark.parametrize("depth", [1, 2, 20])
def test_a_book_is_as_deep_as_was_asked(depth: int) -> None:
    """At most as many levels as there are; with the id that they are true at."""
    body = orjson.loads(view().part(Topic("book.BTCUSDT", "book", "BTCUSDT", depth)).payload)

    assert len(body["bids"]) == len(body["asks"]) == min(depth, 3)
    assert (body["topic"], body["seq"], body["last_update_id"]) == ("book.BTCUSDT", 1, 9)


def test_a_topic_holds_its_own_part_alone() -> None:
    """Metrics have no book."""
    body = orjson.loads(view().part(Topic("metrics.BTCUSDT", "metrics", "BTCUSDT", 0)).payload)

    assert body["metrics"] == {"cvd": 1.5}
    assert "bids" not in body


def test_a_variant_is_made_once() -> None:
    """All who chose alike get the same bytes, whatever their rates."""
    one = view()
    fast, slow = (Topic("book.BTCUSDT", "book", "BTCUSDT", 5, interval_s) for interval_s in (0.0, 1.0))

    assert one.part(fast) is one.part(slow)


def test_every_picture_is_told_at_full_rate() -> None:
    """A book changes with each."""
    stage = Stage("book", 20)
    for seq in (1, 2, 3):
        stage.offer(0.0, seq=seq)

    assert [body["seq"] for body in stage.told] == [1, 2, 3]


def test_a_chosen_rate_is_kept() -> None:
    """Ten views a second, four messages: the first at once, then the newest of each interval."""
    stage = Stage("book", 20, 0.25)
    for seq in range(11):
        stage.offer(seq / 10, seq=seq)

    assert [body["seq"] for body in stage.told] == [0, 2, 4, 7, 9]


def test_the_last_picture_of_an_interval_is_told_at_its_end() -> None:
    """Nobody waits for another change to learn of this one."""
    stage = Stage("book", 20, 1.0)
    stage.offer(0.0, seq=1)
    stage.offer(0.1, seq=2)
    stage.pass_until(0.99)
    before = len(stage.told)
    stage.pass_until(1.01)

    assert before == 1
    assert [body["seq"] for body in stage.told] == [1, 2]


@pytest.mark.parametrize(("kind", "field"), [("kline", "candle"), ("proof", "proof"), ("status", "state")])
def test_what_has_not_changed_is_told_once_a_second(kind: str, field: str) -> None:
    """What has changed is told at once."""
    stage = Stage(kind)
    stage.offer(0.0, seq=1, **{field: "a"})
    stage.offer(REPEAT_S / 2, seq=2, **{field: "a"})
    stage.offer(REPEAT_S * 0.6, seq=3, **{field: "b"})
    stage.offer(REPEAT_S * 0.7, seq=4, **{field: "b"})
    stage.offer(REPEAT_S * 1.7, seq=5, **{field: "b"})

    assert [body["seq"] for body in stage.told] == [1, 3, 5]


def test_trades_are_owed_from_where_the_client_is() -> None:
    """A nudge is enough: the log knows the rest. More than a message takes is owed further."""
    log, notes = TradeLog("trades.BTCUSDT"), []
    trades = TradeCursor(log, 5, lambda: notes.append(1))
    log.extend([{"id": number} for number in range(1, PER_MESSAGE_MAX + 8)])
    nothing_yet = trades.take()
    trades.put(EncodedMessage(b""))
    bites = [trades.take() for _ in range(3)]

    assert nothing_yet is None
    assert [orjson.loads(bite.payload)["first_id"] for bite in bites if bite] == [5, PER_MESSAGE_MAX + 5]
    assert trades.next_id == PER_MESSAGE_MAX + 8
    assert len(notes) == 2
