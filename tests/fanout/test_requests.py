"""What a client may say, and each way of getting it wrong: the answer names the parameter and what is allowed."""

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
    read_query,
    read_request,
)
from pulse.market.intervals import INTERVALS
from pulse.symbols import SymbolRegistry

KLINES = tuple(f"kline.BTCUSDT.{name}" for name in INTERVALS)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
ROSTER = SymbolRegistry(SYMBOLS)


def said(**message: object) -> Request:
    """What this message asks for."""
    return read_request(orjson.dumps(message), ROSTER)


def subscribed(*topics: object, **options: object) -> Request:
    """What this subscription asks for."""
    return said(op="subscribe", topics=list(topics), **options)


def test_topics_are_named_by_kind_and_symbol() -> None:
    """With the best rate and depth unless others are asked for."""
    request = subscribed("book.BTCUSDT", "kline.ETHUSDT.1m", id=7)

    assert request == Request(
        "subscribe",
        7,
        (Topic("book.BTCUSDT", "book", "BTCUSDT", 20, 0.0), Topic("kline.ETHUSDT.1m", "kline", "ETHUSDT", 0, 0.0)),
    )


def test_rate_and_depth_are_chosen() -> None:
    """Depth is a book's alone, so that other topics are shared by who chose differently."""
    book, metrics = subscribed("book.BTCUSDT", "metrics.BTCUSDT", rate="4hz", depth=5).topics

    assert (book.depth, book.interval_s) == (5, 0.25)
    assert (metrics.depth, metrics.interval_s) == (0, 0.25)


def test_trades_begin_where_the_client_says() -> None:
    """At the first trade that it lacks."""
    assert subscribed("trades.BTCUSDT", from_id=4711).from_id == 4711


def test_a_ping_needs_nothing() -> None:
    """It may have an id."""
    assert said(op="ping", id="a") == Request("ping", "a")


def test_an_echo_names_what_was_shown() -> None:
    """By the message's own instance and timestamp."""
    assert said(op="echo", instance="ab", timestamp=1.5) == Request("echo", instance="ab", timestamp=1.5)


def test_an_address_says_the_same() -> None:
    """The parameters of /sse are those of a subscription."""
    request = read_query("book.BTCUSDT,trades.BTCUSDT", "1hz", "10", "5", ROSTER)

    assert request == subscribed("book.BTCUSDT", "trades.BTCUSDT", rate="1hz", depth=10, from_id=5)


@pytest.mark.parametrize("raw", [None, "", b"", "x", "[]", "1", "null", '{"op":', b"\xff", "[" * 5000])
def test_what_is_not_an_object_is_refused(raw: str | bytes | None) -> None:
    """Whatever it is."""
    with pytest.raises(RequestError) as caught:
        read_request(raw, ROSTER)

    assert caught.value.parameter == "message"


@pytest.mark.parametrize(
    ("message", "parameter", "allowed"),
    [
        ({}, "op", OPS),
        ({"op": "sing"}, "op", OPS),
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
        ({"op": "subscribe", "topics": ["moon.BTCUSDT"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book.BTCUSDT.1m"]}, "topics", FORMS),
        ({"op": "subscribe", "topics": ["book.btcusdt"]}, "topics", SYMBOLS),
        ({"op": "subscribe", "topics": ["book.DOGEUSDT"]}, "topics", SYMBOLS),
        (
            {"op": "subscribe", "topics": ["kline.BTCUSDT.7m"]},
            "topics",
            tuple(f"kline.BTCUSDT.{name}" for name in INTERVALS),
        ),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "2hz"}, "rate", ("full", "4hz", "1hz")),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": []}, "rate", ("full", "4hz", "1hz")),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": 7}, "depth", DEPTHS),
        ({"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": True}, "depth", DEPTHS),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": -1}, "from_id", None),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": "5"}, "from_id", None),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": 2**60}, "from_id", None),
    ],
)
def test_what_is_wrong_is_named(message: dict[str, object], parameter: str, allowed: object) -> None:
    """With what it may be."""
    with pytest.raises(RequestError) as caught:
        read_request(orjson.dumps(message), ROSTER)

    assert caught.value.parameter == parameter
    assert allowed is None or caught.value.allowed == allowed
    assert len(caught.value.detail) < 300


def test_deeply_nested_value_is_refused() -> None:
    """The parser takes deeper nesting than a JSON writer does, and the error text repeats the value."""
    with pytest.raises(RequestError) as caught:
        read_request('{"op":' + "[" * 1000 + "]" * 1000 + "}", ROSTER)

    assert caught.value.parameter == "op"
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (("", "", "", ""), "topics"),
        (("book.BTCUSDT", "x", "", ""), "rate"),
        (("book.BTCUSDT", "", "x", ""), "depth"),
        (("book.BTCUSDT", "", "\N{ARABIC-INDIC DIGIT FIVE}", ""), "depth"),
        (("trades.BTCUSDT", "", "", "1e3"), "from_id"),
        (("trades.BTCUSDT", "", "", "9" * 20), "from_id"),
    ],
)
def test_what_is_wrong_in_an_address_is_named(query: tuple[str, str, str, str], parameter: str) -> None:
    """As it is on the socket."""
    with pytest.raises(RequestError) as caught:
        read_query(*query, ROSTER)

    assert caught.value.parameter == parameter
