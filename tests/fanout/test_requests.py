"""Requests of clients, and each way to get one wrong: the error names the parameter and its valid values."""

import orjson
import pytest

from pulse.errors import RequestError
from pulse.fanout.requests import (
    DEPTHS,
    FORMS,
    OPS,
    TOPICS_MAX,
    Request,
    Topic,
    cost_topic,
    ladder_topic,
    read_query,
    read_request,
)
from pulse.fanout.trade_log import Position
from pulse.market.intervals import INTERVALS
from pulse.market.ladder import MULTIPLES, ROWS
from pulse.symbols import SymbolRegistry

KLINES = tuple(f"kline.BTCUSDT.{name}" for name in INTERVALS)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
REGISTRY = SymbolRegistry(SYMBOLS)


def request_in(**message: object) -> Request:
    """Return the request in a message."""
    return read_request(orjson.dumps(message), REGISTRY)


def subscribed(*topics: object, **options: object) -> Request:
    """Return the request to subscribe to these topics."""
    return request_in(op="subscribe", topics=list(topics), **options)


def test_topic_name_has_kind_and_symbol() -> None:
    """Rate and depth have their best values by default."""
    request = subscribed("book.BTCUSDT", "kline.ETHUSDT.1m", id=7)

    assert request == Request(
        "subscribe",
        7,
        (Topic("book.BTCUSDT", "book", "BTCUSDT", 20, 0.0), Topic("kline.ETHUSDT.1m", "kline", "ETHUSDT", 0, 0.0)),
    )


def test_a_symbol_may_be_requested_again_before_the_listing_is_known() -> None:
    """It is not called wrong; the error says after how many seconds."""
    registry = SymbolRegistry(SYMBOLS, running_max=3)
    with pytest.raises(RequestError, match="has not answered yet which symbols it lists") as raised:
        read_request(orjson.dumps({"op": "subscribe", "topics": ["book.DOGEUSDT"]}), registry)

    assert (raised.value.status, raised.value.retry_after_s) == (503, 2)


def test_depth_applies_to_books_only() -> None:
    """So clients that differ in depth alone share the messages of other topics."""
    book, metrics = subscribed("book.BTCUSDT", "metrics.BTCUSDT", rate="4hz", depth=5).topics

    assert (book.depth, book.interval_s) == (5, 0.25)
    assert (metrics.depth, metrics.interval_s) == (0, 0.25)


def test_from_id_is_the_first_trade() -> None:
    """A client continues with the first trade that it lacks."""
    assert subscribed("trades.BTCUSDT", from_id=4711).start == Position(4711)
    assert subscribed("trades.BTCUSDT", from_id=4711, from_first_trade_id=99).start == Position(4711, 99)
    assert subscribed("trades.BTCUSDT").start is None


def test_ladders_and_costs_have_a_third_part() -> None:
    """The ticks of a group, and a sum, which may have decimals. Rows are an option of ladders alone."""
    ladder, cost, book = subscribed("ladder.BTCUSDT.10", "cost.BTCUSDT.0.25", "book.BTCUSDT", rows=20).topics

    assert (ladder.variant, ladder.depth) == ("10", 20)
    assert (cost.variant, cost.depth, book.depth) == ("0.25", 0, 20)
    assert ladder == ladder_topic("BTCUSDT", 10, 20)
    assert cost == cost_topic("BTCUSDT", "0.25")


@pytest.mark.parametrize("notional", ["1", "10000", "999999999999.99999999", "0.00000001", "1.5"])
def test_sum_has_one_name(notional: str) -> None:
    """Its only decimal, so that all who ask for a sum share it."""
    assert subscribed(f"cost.BTCUSDT.{notional}").topics[0].variant == notional


def test_ping_needs_no_parameter() -> None:
    """It may have an id."""
    assert request_in(op="ping", id="a") == Request("ping", "a")


def test_echo_has_instance_and_timestamp() -> None:
    """Those of the message that was shown."""
    assert request_in(op="echo", instance="ab", timestamp=1.5) == Request("echo", instance="ab", timestamp=1.5)


def test_query_is_a_subscription() -> None:
    """The parameters of /sse are those of a subscription."""
    request = read_query("book.BTCUSDT,trades.BTCUSDT", "1hz", "10", "", "5", REGISTRY)

    assert request == subscribed("book.BTCUSDT", "trades.BTCUSDT", rate="1hz", depth=10, from_id=5)


@pytest.mark.parametrize("raw", [None, "", b"", "x", "[]", "1", "null", '{"op":', b"\xff", "[" * 5000])
def test_message_that_is_not_an_object_is_refused(raw: str | bytes | None) -> None:
    """Also if it is not JSON at all."""
    with pytest.raises(RequestError) as caught:
        read_request(raw, REGISTRY)

    assert caught.value.parameter == "message"


@pytest.mark.parametrize(
    ("message", "parameter", "allowed"),
    [
        ({}, "op", OPS),
        ({"op": "unknown"}, "op", OPS),
        ({"op": ["subscribe"]}, "op", OPS),
        ({"op": "ping", "id": {}}, "id", None),
        ({"op": "ping", "id": True}, "id", None),
        ({"op": "ping", "id": "x" * 65}, "id", None),
        ({"op": "echo", "timestamp": 1.5}, "instance", None),
        ({"op": "echo", "instance": "ab", "timestamp": "1"}, "timestamp", None),
        ({"op": "subscribe"}, "topics", FORMS),
        ({"op": "subscribe", "topics": "book.BTCUSDT"}, "topics", FORMS),
        ({"op": "subscribe", "topics": []}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"] * (TOPICS_MAX + 1)}, "topics", FORMS),
        ({"op": "subscribe", "topics": [1]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["unknown.BTCUSDT"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book.BTCUSDT.1m"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book.btcusdt"]}, "topics", SYMBOLS),
        ({"op": "subscribe", "topics": ["book.DOGEUSDT"]}, "topics", SYMBOLS),
        (
            {"op": "subscribe", "topics": ["kline.BTCUSDT.7m"]},
            "topics",
            tuple(f"kline.BTCUSDT.{name}" for name in INTERVALS),
        ),
        ({"op": "subscribe", "topics": ["ladder.BTCUSDT"]}, "topics", FORMS),
        (
            {"op": "subscribe", "topics": ["ladder.BTCUSDT.3"]},
            "topics",
            tuple(f"ladder.BTCUSDT.{multiple}" for multiple in MULTIPLES),
        ),
        ({"op": "subscribe", "topics": ["ladder.BTCUSDT.010"]}, "topics", None),
        ({"op": "subscribe", "topics": ["ladder.BTCUSDT.10"], "rows": 11}, "rows", ROWS),
        ({"op": "subscribe", "topics": ["ladder.BTCUSDT.10"], "rows": True}, "rows", ROWS),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT.0"]}, "topics", None),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT.010"]}, "topics", None),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT.10.50"]}, "topics", None),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT.1000000000000"]}, "topics", None),
        ({"op": "subscribe", "topics": ["cost.BTCUSDT.1e5"]}, "topics", None),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "2hz"}, "rate", ("full", "4hz", "1hz")),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": []}, "rate", ("full", "4hz", "1hz")),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": 7}, "depth", DEPTHS),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": True}, "depth", DEPTHS),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": -1}, "from_id", None),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": "5"}, "from_id", None),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": 2**60}, "from_id", None),
        (
            {"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": 1, "from_first_trade_id": "x"},
            "from_first_trade_id",
            None,
        ),
    ],
)
def test_wrong_parameter_is_named(message: dict[str, object], parameter: str, allowed: object) -> None:
    """With its valid values."""
    with pytest.raises(RequestError) as caught:
        read_request(orjson.dumps(message), REGISTRY)

    assert caught.value.parameter == parameter
    assert allowed is None or caught.value.allowed == allowed
    assert len(caught.value.detail) < 300


@pytest.mark.proves("nested")
def test_deeply_nested_value_is_refused() -> None:
    """The parser takes deeper nesting than a JSON writer does, and the error text repeats the value."""
    with pytest.raises(RequestError) as caught:
        read_request('{"op":' + "[" * 1000 + "]" * 1000 + "}", REGISTRY)

    assert caught.value.parameter == "op"
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (("", "", "", "", ""), "topics"),
        (("book.BTCUSDT", "x", "", "", ""), "rate"),
        (("book.BTCUSDT", "", "x", "", ""), "depth"),
        (("book.BTCUSDT", "", "\N{ARABIC-INDIC DIGIT FIVE}", "", ""), "depth"),
        (("ladder.BTCUSDT.10", "", "", "30", ""), "rows"),
        (("trades.BTCUSDT", "", "", "", "1e3"), "from_id"),
        (("trades.BTCUSDT", "", "", "", "9" * 20), "from_id"),
    ],
)
def test_wrong_query_parameter_is_named(query: tuple[str, str, str, str, str], parameter: str) -> None:
    """As on the WebSocket."""
    with pytest.raises(RequestError) as caught:
        read_query(*query, REGISTRY)

    assert caught.value.parameter == parameter
