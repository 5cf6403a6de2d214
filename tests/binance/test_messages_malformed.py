"""Frames that are wrong in any part are refused as malformed: none is misread, none raises another error."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.binance import answers, messages
from pulse.binance.messages import Frame, parse
from pulse.errors import MalformedFrame
from pulse.market.types import BookTicker, DepthDiff, ExchangeCandle, Trade
from tests.support.frames import ABSENT, AGG_TRADE, DEPTH, KLINE, TICKER, TRADE, changed, is_refused
from tests.support.makers import unhurried

NOT_A_STRING: list[Any] = [None, 1, 1.5, True, [], {}, ["1"]]
NOT_A_DECIMAL = [
    "", " ", "1_000", "NaN", "Infinity", "-1", "1,0", "1e5", "+1", " 1", "1\n", "１", "٣", "0x1", "1.", ".5",  # noqa: RUF001
]  # fmt: skip
NOT_AN_ID: list[Any] = [None, "1", 1.0, 1.5, True, False, -1, 2**63, 2**64, [], {}]
NOT_A_TIME: list[Any] = [*NOT_AN_ID, 0, 1723161255, 10**13, 17231612553080000, 1723161255308000000]
NOT_A_LEVEL_DECIMAL = [*(text for text in NOT_A_DECIMAL if text not in ("1.", ".5")), "9" * 400]

IDS = [(DEPTH, "U"), (DEPTH, "u"), (TICKER, "u"), (TRADE, "t"), (AGG_TRADE, "a"), (AGG_TRADE, "f"), (AGG_TRADE, "l"),
       (KLINE, "k.n")]  # fmt: skip
TIMES = [(DEPTH, "E"), (TRADE, "E"), (TRADE, "T"), (AGG_TRADE, "E"), (AGG_TRADE, "T"), (KLINE, "E"), (KLINE, "k.t")]
QUANTITIES = [(TICKER, "B"), (TICKER, "A"), (TRADE, "q"), (AGG_TRADE, "q"),
              (KLINE, "k.v"), (KLINE, "k.q"), (KLINE, "k.V"), (KLINE, "k.Q")]  # fmt: skip
PRICES = [(TICKER, "b"), (TICKER, "a"), (TRADE, "p"), (AGG_TRADE, "p"),
          (KLINE, "k.o"), (KLINE, "k.h"), (KLINE, "k.l"), (KLINE, "k.c")]  # fmt: skip
FLAGS = [(TRADE, "m"), (AGG_TRADE, "m"), (KLINE, "k.x")]
UNUSED = [(DEPTH, "e"), (TRADE, "e"), (TRADE, "M"), (AGG_TRADE, "e"), (AGG_TRADE, "M"), (KLINE, "e"), (KLINE, "k.T"),
          (KLINE, "k.i"), (KLINE, "k.B"), (TICKER, "new")]  # fmt: skip


# --- every field, wrong in every way


def each_field(fields: list[tuple[bytes, str]], values: list[Any]) -> list[Any]:
    """Return every field with its wrong values, one of which is that it is absent."""
    return [
        pytest.param(raw, path, [ABSENT, *values], id=f"{orjson.loads(raw)['stream'].partition('@')[2]}-{path}")
        for raw, path in fields
    ]


@pytest.mark.parametrize(
    ("raw", "path", "wrong"),
    [
        *each_field(IDS, NOT_AN_ID),
        *each_field(TIMES, NOT_A_TIME),
        *each_field(QUANTITIES, [*NOT_A_STRING, *NOT_A_DECIMAL, "9" * 21]),
        *each_field(PRICES, [*NOT_A_STRING, *NOT_A_DECIMAL, "0", "0.00000000"]),
        *each_field(FLAGS, [None, 0, 1, "true", "", []]),
        *each_field([(KLINE, "k.f"), (KLINE, "k.L")], ["1", 1.5, True, -2, None, 2**64]),
        *each_field([(KLINE, "k")], [None, [], "k", 1]),
        *each_field(
            [(raw, "s") for raw in (DEPTH, TICKER, TRADE, AGG_TRADE, KLINE)], ["ETHUSDT", "btcusdt", None, 1, []]
        ),
        *each_field(
            [(DEPTH, "b"), (DEPTH, "a")], [None, {}, "12", 1, [None], [1], ["12"], [[]], [["1"]], [{"0": "1"}]]
        ),
    ],
)
def test_wrong_field_is_refused(raw: bytes, path: str, wrong: list[Any]) -> None:
    """A frame is refused for a field in use that is missing, of another type, or no plain number."""
    assert [value for value in wrong if not is_refused(changed(raw, path, value))] == []


@pytest.mark.parametrize("place", [0, 1])
def test_wrong_level_is_refused(place: int) -> None:
    """A diff is refused for one wrong number in one level."""
    wrong = [*NOT_A_STRING, *NOT_A_LEVEL_DECIMAL]

    assert [v for v in wrong if not is_refused(changed(DEPTH, "b", levels_with(v, place)))] == []


@pytest.mark.parametrize("value", [*NOT_A_LEVEL_DECIMAL, None, 1.5])
def test_snapshot_is_parsed_as_strictly(value: object) -> None:
    """The numbers of a REST answer are checked like those of the stream."""
    with pytest.raises(MalformedFrame):
        answers.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": levels_with(value, 0)}, 100)


def levels_with(value: object, place: int) -> list[list[object]]:
    """Return a good level, and one with this value as its price or quantity."""
    level: list[object] = ["1.5", "1.5"]
    level[place] = value
    return [["1.0", "1.0"], level]


@pytest.mark.parametrize("price", ["0", "0.00000000"])
def test_level_without_a_price_is_refused(price: str) -> None:
    """A quantity may be zero, a price may not."""
    with pytest.raises(MalformedFrame):
        parse(changed(DEPTH, "b", [[price, "1.0"]]))


@pytest.mark.parametrize("text", [rb"1\u005f000", rb"\uff11", rb"1\n"])
def test_escaped_characters_are_checked_too(text: bytes) -> None:
    """A character that JSON escapes is checked like any other."""
    with pytest.raises(MalformedFrame):
        parse(DEPTH.replace(b"61838.04000000", text))


@pytest.mark.parametrize(("raw", "path", "anything"), each_field(UNUSED, [None, -1, "", "x", [], {}, True]))
def test_unused_field_may_hold_anything(raw: bytes, path: str, anything: list[Any]) -> None:
    """The exchange adds and removes fields without notice."""
    assert [value for value in anything if parse(changed(raw, path, value)) != parse(raw)] == []


def test_further_columns_of_a_level_are_ignored() -> None:
    """A level may have a third column."""
    assert parse(changed(DEPTH, "b", [["55653.87000000", "0.00000000", []]])) == parse(DEPTH)


def test_ids_out_of_order_are_refused() -> None:
    """The first id of a diff, and of an aggregate's fills, is never above the last."""
    for raw, path in ((DEPTH, "U"), (AGG_TRADE, "f")):
        with pytest.raises(MalformedFrame):
            parse(changed(raw, path, 2**62))


@pytest.mark.proves("upstream-size")
def test_too_many_levels_are_refused() -> None:
    """A message holds at most LEVELS_MAX levels a side."""
    rows = [["1.0", "1.0"]] * messages.LEVELS_MAX
    assert isinstance(parse(changed(DEPTH, "b", rows)), Frame)

    with pytest.raises(MalformedFrame):
        parse(changed(DEPTH, "b", [*rows, ["1.0", "1.0"]]))


@pytest.mark.proves("nested")
@pytest.mark.parametrize("path", ["s", "U", "E", "b"])
def test_deeply_nested_value_is_refused_like_any_other(path: str) -> None:
    """The error text does not contain a value whose repr() would exhaust the stack."""
    deep: list[Any] = []
    for _ in range(240):
        deep = [deep]
    raw = changed(DEPTH, path, deep).replace(json.dumps(deep).encode(), b"[" * 1000 + b"]" * 1000)

    with pytest.raises(MalformedFrame):
        parse(raw)


REAL_FRAMES = [DEPTH, TICKER, TRADE, AGG_TRADE, KLINE]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NOT_A_DECIMAL)
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))


@unhurried
@given(st.sampled_from(REAL_FRAMES), st.data())
def test_frame_with_any_value_anywhere_is_parsed_or_refused(raw: bytes, data: st.DataObject) -> None:
    """Whatever replaces a value of a real frame, only MalformedFrame is raised, and parsed values are possible ones."""
    body = orjson.loads(raw)
    place, key = data.draw(st.sampled_from(list(places(body))))
    place[key] = data.draw(values)

    assert is_parsed_or_refused(json.dumps(body).encode())


@pytest.mark.proves("mutated-frame")
@unhurried
@given(st.sampled_from(REAL_FRAMES), st.integers(0, 400), st.integers(0, 9), st.binary(max_size=9))
def test_frame_with_any_bytes_changed_is_parsed_or_refused(raw: bytes, at: int, cut: int, put: bytes) -> None:
    """The same holds for bytes removed, added and changed anywhere in a real frame."""
    at = min(at, len(raw))

    assert is_parsed_or_refused(raw[:at] + put + raw[at + cut :])


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every value inside a JSON value as its container and key."""
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


def is_parsed_or_refused(raw: bytes) -> bool:
    """Return whether a message is refused as malformed, or parsed into possible values."""
    if is_refused(raw):
        return True
    message = parse(raw)
    return not isinstance(message, Frame) or IS_POSSIBLE[type(message.event)](message.event)


def is_possible_diff(event: Any) -> bool:
    """Return whether a diff's ids and numbers are possible ones."""
    prices = [*event.bids.prices, *event.asks.prices]
    quantities = [*event.bids.quantities, *event.asks.quantities]
    are_possible = all(p > 0 and isfinite(p) for p in prices) and all(q >= 0 and isfinite(q) for q in quantities)
    return are_possible and 0 <= event.first_update_id <= event.final_update_id


IS_POSSIBLE: dict[type, Callable[[Any], bool]] = {
    DepthDiff: is_possible_diff,
    BookTicker: lambda t: t.bid_price > 0 and t.ask_price > 0 and t.bid_quantity >= 0 and t.ask_quantity >= 0,
    Trade: lambda t: t.price > 0 and t.quantity >= 0 and t.first_trade_id <= t.last_trade_id,
    ExchangeCandle: lambda e: e.candle.low > 0 and e.candle.volume >= 0 and isinstance(e.candle.is_closed, bool),
}
