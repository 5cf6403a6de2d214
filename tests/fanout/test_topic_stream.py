"""Topic streams: what the message of each kind holds, when it is sent, and how often."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pulse.fanout.requests import Topic, cost_topic, ladder_topic
from pulse.fanout.topic_stream import REPEAT_S, TopicStream, TradeCursor, ViewMessage
from pulse.fanout.trade_log import PER_MESSAGE_MAX, Position, TradeLog
from pulse.market.liquidity import Interest
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import encode_view
from tests.support.makers import trade
from tests.support.market import liquidity_of, live_market, market_after, view_of
from tests.support.web import no_candles


def view(seq: int = 1, **fields: Any) -> ViewMessage:
    """Make the view of another process: a live book of three levels a side."""
    levels = [[100.0 - n, 1.0] for n in range(3)]
    body = {"seq": seq, "instance": "ab", "symbol": "BTCUSDT", "state": "live", "last_update_id": 9, "bids": levels}
    payload = orjson.dumps(body | {"asks": levels, "metrics": {"cvd": 1.5}, "candle": {"close": 1.0}} | fields)
    return ViewMessage(payload, None, no_candles)


def every_topic() -> list[Topic]:
    """Return a topic of each kind."""
    names = [(kind, f"{kind}.BTCUSDT") for kind in ("book", "metrics", "proof", "status")]
    return [Topic(name, kind, "BTCUSDT", 5) for kind, name in [*names, ("kline", "kline.BTCUSDT.1m")]]


class StreamRun:
    """A stream, its clock, its timers, and what one subscriber was sent."""

    def __init__(self, kind: str, depth: int = 0, interval_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        topic = Topic(f"{kind}.BTCUSDT", kind, "BTCUSDT", depth, interval_s)
        self.stream = TopicStream(topic, lambda: self.now_s, self.call_later)
        self.stream.listeners.add(self)
        self.sent: list[dict[str, Any]] = []

    def call_later(self, wait_s: float, act: Callable[[], None]) -> None:
        """Keep a timer."""
        self.later.append((self.now_s + wait_s, act))

    def put(self, message: EncodedMessage) -> None:
        """Keep a message."""
        self.sent.append(orjson.loads(message.payload or b"{}"))

    def pass_until(self, at_s: float) -> None:
        """Advance the clock, and call what is due on the way."""
        while self.later and self.later[0][0] <= 100.0 + at_s:
            self.now_s, act = self.later.pop(0)
            act()
        self.now_s = 100.0 + at_s

    def offer(self, at_s: float, **fields: Any) -> None:
        """Offer a view at this time, after the timers due before it."""
        self.pass_until(at_s)
        self.stream.offer(view(**fields))


@pytest.mark.parametrize("depth", [1, 2, 20])
def test_a_book_has_at_most_depth_levels(depth: int) -> None:
    """It names the update id that its levels are of."""
    body = orjson.loads(view().part(Topic("book.BTCUSDT", "book", "BTCUSDT", depth)).payload)

    assert len(body["bids"]) == len(body["asks"]) == min(depth, 3)
    assert (body["topic"], body["seq"], body["last_update_id"]) == ("book.BTCUSDT", 1, 9)


def test_a_topic_holds_only_its_own_fields() -> None:
    """A metrics message has no levels."""
    body = orjson.loads(view().part(Topic("metrics.BTCUSDT", "metrics", "BTCUSDT", 0)).payload)

    assert body["metrics"] == {"cvd": 1.5}
    assert "bids" not in body


def test_a_variant_is_encoded_once() -> None:
    """Clients with the same topic and depth get the same message, whatever their rates."""
    one = view()
    fast, slow = (Topic("book.BTCUSDT", "book", "BTCUSDT", 5, interval_s) for interval_s in (0.0, 1.0))

    assert one.part(fast) is one.part(slow)


def test_every_view_is_sent_at_full_rate() -> None:
    """A book changes with every view."""
    run = StreamRun("book", 20)
    for seq in (1, 2, 3):
        run.offer(0.0, seq=seq)

    assert [body["seq"] for body in run.sent] == [1, 2, 3]


def test_a_topics_rate_is_kept() -> None:
    """Ten views a second, four messages: the first at once, then the newest of each interval."""
    run = StreamRun("book", 20, 0.25)
    for seq in range(11):
        run.offer(seq / 10, seq=seq)

    assert [body["seq"] for body in run.sent] == [0, 2, 4, 7, 9]


def test_the_last_view_of_an_interval_is_sent_at_its_end() -> None:
    """It does not wait for the next change."""
    run = StreamRun("book", 20, 1.0)
    run.offer(0.0, seq=1)
    run.offer(0.1, seq=2)
    run.pass_until(0.99)
    before = len(run.sent)
    run.pass_until(1.01)

    assert before == 1
    assert [body["seq"] for body in run.sent] == [1, 2]


@pytest.mark.parametrize(("kind", "field"), [("kline", "candle"), ("proof", "proof"), ("status", "state")])
def test_an_unchanged_topic_is_sent_once_a_second(kind: str, field: str) -> None:
    """A changed one is sent at once."""
    run = StreamRun(kind)
    run.offer(0.0, seq=1, **{field: "a"})
    run.offer(REPEAT_S / 2, seq=2, **{field: "a"})
    run.offer(REPEAT_S * 0.6, seq=3, **{field: "b"})
    run.offer(REPEAT_S * 0.7, seq=4, **{field: "b"})
    run.offer(REPEAT_S * 1.7, seq=5, **{field: "b"})

    assert [body["seq"] for body in run.sent] == [1, 3, 5]


@pytest.mark.parametrize("topic", every_topic(), ids=lambda topic: topic.kind)
def test_a_view_of_this_process_makes_the_same_bytes_without_being_decoded(topic: Topic) -> None:
    """Made from the object or from its decoded encoding, a message is the same."""
    made = view_of(live_market())
    own = ViewMessage(encode_view(made), made, no_candles)
    foreign = ViewMessage(encode_view(made), None, no_candles)

    assert own.part(topic).payload == foreign.part(topic).payload
    assert own._fields == {}


def test_trades_of_this_process_and_of_another_are_encoded_alike() -> None:
    """By id, and with the same fields."""
    market = live_market()
    market.apply(trade(7), 0.0)
    made = market.trades_view()
    assert made is not None
    own = ViewMessage(encode_view(made), made, no_candles)
    foreign = ViewMessage(encode_view(made), None, no_candles)

    assert [(number, orjson.dumps(one)) for number, one in own.trades()] == [
        (number, orjson.dumps(one)) for number, one in foreign.trades()
    ]


def test_a_cursor_reads_on_from_its_own_place() -> None:
    """The news that there are trades is enough: the log has them. What one message cannot hold is scheduled again."""
    log, scheduled = TradeLog("trades.BTCUSDT"), []
    cursor = TradeCursor(log, Position(5), lambda: scheduled.append(1))
    log.extend([(Position(number, number), {"id": number}) for number in range(1, PER_MESSAGE_MAX + 8)])
    not_yet = cursor.take()
    cursor.put(EncodedMessage(b""))
    messages = [cursor.take() for _ in range(3)]

    assert not_yet is None
    assert [orjson.loads(one.payload)["first_id"] for one in messages if one] == [5, PER_MESSAGE_MAX + 5]
    assert cursor.position.next_id == PER_MESSAGE_MAX + 8
    assert len(scheduled) == 2


@pytest.mark.parametrize("is_own", [True, False])
def test_ladder_has_its_groups_and_rows(is_own: bool) -> None:
    """Of the book at the view's number, whether this process has made it or another one."""
    made = liquidity_of(Interest(frozenset({1, 2})))
    message = ViewMessage(encode_view(made), made if is_own else None, no_candles)
    body = orjson.loads(message.part(ladder_topic("BTCUSDT", 2, 10)).payload)

    assert (body["topic"], body["seq"], body["last_update_id"]) == ("ladder.BTCUSDT.2", 1, 10)
    assert (body["ladder"]["multiple"], body["ladder"]["step"]) == (2, 0.02)
    assert body["ladder"]["asks"]["rows"][0] == [100.02, 2.0, 200.04, 0.5, 0.0]
    assert body["ladder"]["bids"] == {
        "rows": [[100.0, 5.0, 500.0, 0.0, 0.0], [99.98, 5.0, 499.93, 0.0, 0.0]], "partial": None, "is_whole": True,
    }  # fmt: skip
    assert body["fitting"][0] == {"rows": 10, "multiple": 1}


def test_ladder_that_is_cut_says_so() -> None:
    """A group that is known in part comes after all rows, so it is cut with them."""
    made = liquidity_of(Interest(frozenset({1, 5})), limit=3)
    message = ViewMessage(encode_view(made), made, no_candles)
    whole, cut = (orjson.loads(message.part(ladder_topic("BTCUSDT", 5, rows)).payload)["ladder"] for rows in (10, 0))

    assert whole["bids"]["partial"][:2] == [99.95, 5.0]
    assert whole["bids"]["is_whole"]
    assert cut["bids"] == {"rows": [], "partial": None, "is_whole": False}
    assert made.ladders[1].bids is not None
    assert len(made.ladders[1].bids.rows) == 1  # the view itself is not cut: others show more of it


def test_cost_is_that_of_its_sum() -> None:
    """And no other."""
    made = liquidity_of(Interest(frozenset(), frozenset({500.13, 20.0})))
    body = orjson.loads(ViewMessage(encode_view(made), None, no_candles).part(cost_topic("BTCUSDT", "500.13")).payload)

    assert body["cost"]["notional"] == 500.13
    assert body["cost"]["buy"]["quantity"] == pytest.approx(5.0)


def test_ladder_without_a_book_is_null_and_not_empty() -> None:
    """An empty side would say that nothing is quoted."""
    market = market_after()
    made = market.liquidity_view(view_of(market), Interest(frozenset({1})), 0.0)
    body = orjson.loads(ViewMessage(encode_view(made), made, no_candles).part(ladder_topic("BTCUSDT", 1, 10)).payload)

    assert body["ladder"] == {"multiple": 1, "step": None, "bids": None, "asks": None}


def test_view_without_a_watched_ladder_makes_no_message() -> None:
    """The engine made it before it knew of the subscriber; the next one has the ladder."""
    run = StreamRun("ladder")
    topic = ladder_topic("BTCUSDT", 10, 20)
    stream = TopicStream(topic, lambda: run.now_s, run.call_later)
    stream.listeners.add(run)
    for multiples in ({5}, {5, 10}):
        made = liquidity_of(Interest(frozenset(multiples)))
        stream.offer(ViewMessage(encode_view(made), made, no_candles))

    assert [body["ladder"]["multiple"] for body in run.sent] == [10]
