"""Frames that are wrong in any part: refused as malformed, never misread, and never a crash."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.binance import messages
from pulse.binance.messages import Frame, parse
from pulse.errors import MalformedFrame
from pulse.market.types import BookTicker, DepthDiff, ExchangeCandle, Trade
from tests.support.frames import ABSENT, AGG_TRADE, DEPTH, KLINE, TICKER, TRADE, changed, is_refused
from tests.support.makers import unhurried

NO_TEXT: list[Any] = [None, 1, 1.5, True, [], {}, ["1"]]
NO_NUMBER = ["", " ", "1_000", "NaN", "Infinity", "-1", "1,0", "1e5", "+1", " 1", "1\n", "１", "٣", "0x1", "1.", ".5"]  # noqa: RUF001
NO_ID: list[Any] = [None, "1", 1.0, 1.5, True, False, -1, 2**63, 2**64, [], {}]
NO_TIME: list[Any] = [*NO_ID, 0, 1723161255, 1723161255308000, 10**13]
NO_LEVEL_NUMBER = [*(text for text in NO_NUMBER if text not in ("1.", ".5")), "9" * 400]

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


def each(fields: list[tuple[bytes, str]], values: list[Any]) -> list[Any]:
    """Every field with the values that are wrong for it; to be absent is one of them."""
    return [
        pytest.param(raw, path, [ABSENT, *values], id=f"{orjson.loads(raw)['stream'].partition('@')[2]}-{path}")
        for raw, path in fields
    ]


@pytest.mark.parametrize(
    ("raw", "path", "wrong"),
    [
        *each(IDS, NO_ID),
        *each(TIMES, NO_TIME),
        *each(QUANTITIES, [*NO_TEXT, *NO_NUMBER, "9" * 21]),
        *each(PRICES, [*NO_TEXT, *NO_NUMBER, "0", "0.00000000"]),
        *each(FLAGS, [None, 0, 1, "true", "", []]),
        *each([(KLINE, "k.f"), (KLINE, "k.L")], ["1", 1.5, True, -2, None, 2**64]),
        *each([(KLINE, "k")], [None, [], "k", 1]),
        *each([(raw, "s") for raw in (DEPTH, TICKER, TRADE, AGG_TRADE, KLINE)], ["ETHUSDT", "btcusdt", None, 1, []]),
        *each([(DEPTH, "b"), (DEPTH, "a")], [None, {}, "12", 1, [None], [1], ["12"], [[]], [["1"]], [{"0": "1"}]]),
    ],
)
def test_a_wrong_field_is_refused(raw: bytes, path: str, wrong: list[Any]) -> None:
    """A field in use that is missing, of another type, or no plain number, refuses the frame."""
    assert [value for value in wrong if not is_refused(changed(raw, path, value))] == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_level_is_refused(place: int) -> None:
    """One wrong number in one level refuses the diff."""
    wrong = [*NO_TEXT, *NO_LEVEL_NUMBER]

    assert [v for v in wrong if not is_refused(changed(DEPTH, "b", levels_with(v, place)))] == []


@pytest.mark.parametrize("value", [*NO_LEVEL_NUMBER, None, 1.5])
def test_a_snapshot_is_read_as_strictly(value: object) -> None:
    """The numbers of a REST answer are judged like those of the stream."""
    with pytest.raises(MalformedFrame):
        messages.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": levels_with(value, 0)}, 100)


def levels_with(value: object, place: int) -> list[list[object]]:
    """A good level, and one with this price or quantity."""
    level: list[object] = ["1.5", "1.5"]
    level[place] = value
    return [["1.0", "1.0"], level]


@pytest.mark.parametrize("price", ["0", "0.00000000"])
def test_a_level_without_a_price_is_refused(price: str) -> None:
    """Quantity may be zero, a price may not."""
    with pytest.raises(MalformedFrame):
        parse(changed(DEPTH, "b", [[price, "1.0"]]))


@pytest.mark.parametrize("text", [rb"1\u005f000", rb"\uff11", rb"1\n"])
def test_escapes_hide_nothing(text: bytes) -> None:
    """A character that JSON escapes is judged like any other."""
    with pytest.raises(MalformedFrame):
        parse(DEPTH.replace(b"61838.04000000", text))


@pytest.mark.parametrize(("raw", "path", "anything"), each(UNUSED, [None, -1, "", "x", [], {}, True]))
def test_a_field_that_nothing_uses_may_be_anything(raw: bytes, path: str, anything: list[Any]) -> None:
    """The exchange adds and drops fields without notice."""
    assert [value for value in anything if parse(changed(raw, path, value)) != parse(raw)] == []


def test_further_columns_of_a_level_are_ignored() -> None:
    """A level may grow a third column."""
    assert parse(changed(DEPTH, "b", [["55653.87000000", "0.00000000", []]])) == parse(DEPTH)


def test_ids_out_of_order_are_refused() -> None:
    """A diff ends at or after its beginning, and so do an aggregate's fills."""
    for raw, path in ((DEPTH, "U"), (AGG_TRADE, "f")):
        with pytest.raises(MalformedFrame):
            parse(changed(raw, path, 2**62))


def test_too_many_levels_are_refused() -> None:
    """A frame may hold four times the deepest snapshot, and no more."""
    rows = [["1.0", "1.0"]] * messages.LEVELS_MAX
    assert isinstance(parse(changed(DEPTH, "b", rows)), Frame)

    with pytest.raises(MalformedFrame):
        parse(changed(DEPTH, "b", [*rows, ["1.0", "1.0"]]))


@pytest.mark.parametrize("path", ["s", "U", "E", "b"])
def test_a_value_nested_without_end_is_refused_like_any_other(path: str) -> None:
    """A refusal does not try to print what would exhaust the stack."""
    deep: list[Any] = []
    for _ in range(240):
        deep = [deep]
    raw = changed(DEPTH, path, deep).replace(json.dumps(deep).encode(), b"[" * 1000 + b"]" * 1000)

    with pytest.raises(MalformedFrame):
        parse(raw)


FORMS = [DEPTH, TICKER, TRADE, AGG_TRADE, KLINE]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NO_NUMBER)
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))


@unhurried
@given(st.sampled_from(FORMS), st.data())
def test_a_frame_with_any_value_anywhere_is_read_or_refused(raw: bytes, data: st.DataObject) -> None:
    """Whatever stands in a real frame's place, nothing but MalformedFrame is raised, and what is read makes sense."""
    body = orjson.loads(raw)
    place, key = data.draw(st.sampled_from(list(places(body))))
    place[key] = data.draw(values)

    assert is_read_or_refused(json.dumps(body).encode())


@unhurried
@given(st.sampled_from(FORMS), st.integers(0, 400), st.integers(0, 9), st.binary(max_size=9))
def test_a_frame_with_any_bytes_changed_is_read_or_refused(raw: bytes, at: int, cut: int, put: bytes) -> None:
    """The same for bytes lost, added and changed, at any place of a real frame."""
    at = min(at, len(raw))

    assert is_read_or_refused(raw[:at] + put + raw[at + cut :])


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON value that may be replaced, as its holder and key."""
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


def is_read_or_refused(raw: bytes) -> bool:
    """Whether a message is refused as malformed, or read into values that can be."""
    if is_refused(raw):
        return True
    message = parse(raw)
    return not isinstance(message, Frame) or CAN_BE[type(message.event)](message.event)


def can_be_diff(event: Any) -> bool:
    """Whether a diff's ids and numbers are possible ones."""
    prices = [*event.bids.prices, *event.asks.prices]
    quantities = [*event.bids.quantities, *event.asks.quantities]
    numbers_can_be = all(p > 0 and isfinite(p) for p in prices) and all(q >= 0 and isfinite(q) for q in quantities)
    return numbers_can_be and 0 <= event.first_update_id <= event.final_update_id


CAN_BE: dict[type, Callable[[Any], bool]] = {
    DepthDiff: can_be_diff,
    BookTicker: lambda t: t.bid_price > 0 and t.ask_price > 0 and t.bid_quantity >= 0 and t.ask_quantity >= 0,
    Trade: lambda t: t.price > 0 and t.quantity >= 0 and t.first_trade_id <= t.last_trade_id,
    ExchangeCandle: lambda e: e.candle.low > 0 and e.candle.volume >= 0 and isinstance(e.candle.is_closed, bool),
}
