"""What a frame means, by one real example of each stream, and what happens when any part of it is wrong."""

import copy
import json
from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.binance import frames
from pulse.binance.frames import Frame, Reply, ServerShutdown, parse
from pulse.errors import MalformedFrame
from pulse.market.types import (
    Aggressor,
    BookTicker,
    Candle,
    DepthDiff,
    ExchangeCandle,
    Instrument,
    Levels,
    PartialDepth,
    Trade,
)
from tests.makers import unhurried

DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":50093239203,'
    b'"u":50093239207,"b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"],["61862.50000000",'
    b'"0.05019000"]]}}'
)
TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
AGG_TRADE = (
    b'{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,'
    b'"p":"0.35280000","q":"58.00000000","f":19862789,"l":19862790,"T":1633998523963,"m":false,"M":true}}'
)
KLINE = (
    b'{"stream":"omgbusd@kline_1m","data":{"e":"kline","E":1633998301755,"s":"OMGBUSD","k":{"t":1633998240000,'
    b'"T":1633998299999,"s":"OMGBUSD","i":"1m","f":439572,"L":439585,"o":"13.72120000","c":"13.76640000",'
    b'"h":"13.80760000","l":"13.72120000","v":"536.51000000","n":14,"x":true,"q":"7387.12073500",'
    b'"V":"231.60000000","Q":"3187.75743000","B":"0"}}}'
)
KLINE_ROW: list[Any] = [
    1723161600000, "61710.00", "61720.00", "61700.00", "61715.10", "12.5", 1723161659999, "771438.75", 321, "6.25",
    "385719.375", "0",
]  # fmt: skip
EXCHANGE_INFO: dict[str, Any] = {
    "rateLimits": [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "DAY", "intervalNum": 1, "limit": 9},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    ],
    "symbols": [
        {
            "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
            "filters": [
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "stepSize": "0.00001000"},
                {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "tickSize": "0.01000000"},
            ],
        }
    ],
}  # fmt: skip

NO_TEXT: list[Any] = [None, 1, 1.5, True, [], {}, ["1"]]
NO_NUMBER = ["", " ", "1_000", "NaN", "Infinity", "-1", "1,0", "1e5", "+1", " 1", "1\n", "１", "٣", "0x1", "1.", ".5"]  # noqa: RUF001
NO_ID: list[Any] = [None, "1", 1.0, 1.5, True, False, -1, 2**63, 2**64, [], {}]
NO_TIME: list[Any] = [*NO_ID, 0, 1723161255, 1723161255308000, 10**13]
NO_LEVEL_NUMBER = [*(text for text in NO_NUMBER if text not in ("1.", ".5")), "9" * 400]
ABSENT = object()

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


def changed(raw: bytes, path: str, value: object) -> bytes:
    """The frame with one field of its data changed, or taken away."""
    body = orjson.loads(raw)
    *parents, name = ["data", *path.split(".")]
    place = body
    for parent in parents:
        place = place[parent]
    place.pop(name, None)
    if value is not ABSENT:
        place[name] = value
    return json.dumps(body).encode()


def event_of(raw: bytes) -> object:
    """What a frame says."""
    frame = parse(raw)
    assert isinstance(frame, Frame)
    return frame.event


# --- each stream


def test_a_depth_diff() -> None:
    """Ids, event time and the changed levels of both sides."""
    assert parse(DEPTH) == Frame("BTCUSDT", "depth", DepthDiff(
        50093239203, 50093239207, 1723161255308,
        Levels([55653.87], [0.0]), Levels([61838.04, 61862.5], [0.32332, 0.05019]),
    ))  # fmt: skip


def test_a_depth_diff_of_the_slow_stream() -> None:
    """The stream of one diff a second has the same form."""
    assert parse(DEPTH.replace(b"@depth@100ms", b"@depth")) == parse(DEPTH)


def test_a_one_sided_diff() -> None:
    """A side without a change is an empty list."""
    assert event_of(changed(DEPTH, "a", [])) == DepthDiff(
        50093239203, 50093239207, 1723161255308, Levels([55653.87], [0.0]), Levels([], [])
    )


@pytest.mark.parametrize("stream", ["depth20", "depth20@100ms"])
def test_a_partial_depth(stream: str) -> None:
    """The exchange's own best levels; the stream alone names the symbol."""
    body = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"], ["0.0027", "1"]]}
    raw = orjson.dumps({"stream": f"bnbbtc@{stream}", "data": body})

    assert parse(raw) == Frame(
        "BNBBTC", "partial", PartialDepth(160, Levels([0.0024], [10.0]), Levels([0.0026, 0.0027], [100.0, 1.0]))
    )
    for name in body:
        assert is_refused(changed(raw, name, None))


def test_a_book_ticker() -> None:
    """The best levels and the id of the book."""
    assert parse(TICKER) == Frame(
        "BTCUSDT", "bookTicker", BookTicker(50093239212, 61837.63, 3.78826, 61837.64, 1.54698)
    )


def test_a_trade() -> None:
    """A single print; the buyer being the maker, the seller took."""
    trade = Trade(3735683259, 61837.63, 0.02, 1723161255342, Aggressor.SELLER, 3735683259, 3735683259, 1723161255343)

    assert parse(TRADE) == Frame("BTCUSDT", "trade", trade)


def test_an_aggregate_trade() -> None:
    """Several fills of one taker at one price; the seller being the maker, the buyer took."""
    trade = Trade(15683430, 0.3528, 58.0, 1633998523963, Aggressor.BUYER, 19862789, 19862790, 1633998523963)

    assert parse(AGG_TRADE) == Frame("NKNUSDT", "trade", trade)


def test_a_kline() -> None:
    """The exchange's own candle, closed, and when it was told."""
    candle = Candle("OMGBUSD", 1633998240000, 13.7212, 13.8076, 13.7212, 13.7664, 536.51, 7387.120735, 14, 231.6,
                    3187.75743, 439572, 439585, True, "exchange")  # fmt: skip

    assert parse(KLINE) == Frame("OMGBUSD", "kline", ExchangeCandle(candle, 1633998301755))


def test_a_kline_without_a_trade() -> None:
    """A minute without a trade has -1 for its trade ids."""
    event = event_of(changed(changed(KLINE, "k.f", -1), "k.L", -1))

    assert isinstance(event, ExchangeCandle)
    assert (event.candle.first_trade_id, event.candle.last_trade_id) == (-1, -1)


@pytest.mark.parametrize("raw", [DEPTH, TICKER, TRADE, AGG_TRADE, KLINE])
def test_text_and_bytes_mean_the_same(raw: bytes) -> None:
    """A frame may come as either."""
    assert parse(raw.decode()) == parse(raw)


# --- what is no market data


@pytest.mark.parametrize("stream", ["btcusdt@avgPrice", "btcusdt@kline_5m", "!miniTicker@arr", "", "btcusdt"])
def test_an_unused_stream_is_ignored(stream: str) -> None:
    """A stream that nothing here uses is no fault."""
    assert parse(orjson.dumps({"stream": stream, "data": {"anything": 1}})) is None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1633998523963}}',
        b'{"stream":"btcusdt@depth","data":{"e":"serverShutdown","E":1633998523963}}',
        b'{"e":"serverShutdown","E":1633998523963}',
    ],
)
def test_a_coming_restart_is_announced(raw: bytes) -> None:
    """The exchange says that it is about to close, combined or plain."""
    assert parse(raw) == ServerShutdown()


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b'{"result":null,"id":7}', Reply(7, None, "")),
        (b'{"result":["btcusdt@depth"],"id":null}', Reply(None, ["btcusdt@depth"], "")),
        (b'{"code":2,"msg":"Invalid request","id":"a"}', Reply("a", None, "Invalid request (code 2)")),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":1}', Reply(1, None, "Invalid JSON (code 3)")),
        (b'{"error":{"code":3,"msg":[1]}}', Reply(None, None, "a list (code 3)")),
        (b'{"code":1}', Reply(None, None, " (code 1)")),
    ],
)
def test_the_answer_to_a_request(raw: bytes, reply: Reply) -> None:
    """Accepted with a result, or refused with words, which come flat or nested."""
    assert parse(raw) == reply


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b"null", b"\xff\xfe", b"{}", b'{"data":{}}', "\ud800"])
def test_what_is_no_message_at_all(raw: bytes | str) -> None:
    """Neither JSON nor one of the forms above."""
    with pytest.raises(MalformedFrame):
        parse(raw)


# --- every field, wrong in every way


def each(fields: list[tuple[bytes, str]], values: list[Any]) -> list[Any]:
    """Every field with the values that are wrong for it; to be absent is one of them."""
    return [
        pytest.param(raw, path, [ABSENT, *values], id=f"{orjson.loads(raw)['stream'].partition('@')[2]}-{path}")
        for raw, path in fields
    ]


def is_refused(raw: bytes) -> bool:
    """Whether a message is refused as malformed."""
    try:
        parse(raw)
    except MalformedFrame:
        return True
    return False


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
        frames.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": levels_with(value, 0)}, 100)


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
    assert event_of(changed(DEPTH, "b", [["55653.87000000", "0.00000000", []]])) == event_of(DEPTH)


def test_ids_out_of_order_are_refused() -> None:
    """A diff ends at or after its beginning, and so do an aggregate's fills."""
    for raw, path in ((DEPTH, "U"), (AGG_TRADE, "f")):
        with pytest.raises(MalformedFrame):
            parse(changed(raw, path, 2**62))


def test_too_many_levels_are_refused() -> None:
    """A frame may hold four times the deepest snapshot, and no more."""
    rows = [["1.0", "1.0"]] * frames.LEVELS_MAX
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


# --- REST answers


def test_a_snapshot() -> None:
    """Id, both sides, and the limit that was asked for."""
    body = {"lastUpdateId": 50093239218, "bids": [["1.5", "2.0"], ["1.4", "1.0"]], "asks": []}
    snapshot = frames.parse_snapshot(body, 1000)

    assert (snapshot.last_update_id, snapshot.limit) == (50093239218, 1000)
    assert (snapshot.bids, snapshot.asks) == (Levels([1.5, 1.4], [2.0, 1.0]), Levels([], []))


@pytest.mark.parametrize(
    "fault", [{"lastUpdateId": None}, {"lastUpdateId": True}, {"bids": None}, {"asks": [["1.0", "1"], ["1.00", "2"]]}]
)
def test_a_wrong_snapshot_is_refused(fault: dict[str, Any]) -> None:
    """A missing id or side, or a price that stands twice."""
    with pytest.raises(MalformedFrame):
        frames.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": []} | fault, 100)


@pytest.mark.parametrize(("now_ms", "is_closed"), [(1723161659999, False), (1723161660000, True)])
def test_a_kline_row(now_ms: int, is_closed: bool) -> None:
    """A row is the exchange's candle, closed once its close time has passed."""
    assert frames.parse_kline_row("BTCUSDT", KLINE_ROW, now_ms) == Candle(
        "BTCUSDT", 1723161600000, 61710.0, 61720.0, 61700.0, 61715.1, 12.5, 771438.75, 321, 6.25, 385719.375,
        -1, -1, is_closed, "exchange",
    )  # fmt: skip


@pytest.mark.parametrize("column", range(11))
def test_a_wrong_kline_row_is_refused(column: int) -> None:
    """Every column in use is checked, and that there are enough."""
    for row in ([*KLINE_ROW[:column], None, *KLINE_ROW[column + 1 :]], KLINE_ROW[:column], {}, None):
        with pytest.raises(MalformedFrame):
            frames.parse_kline_row("BTCUSDT", row, 0)


def test_instruments() -> None:
    """Assets, status and steps, and how many decimals the steps need."""
    assert frames.parse_instruments(EXCHANGE_INFO) == {
        "BTCUSDT": Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    }


@pytest.mark.parametrize(
    ("step", "decimals"), [("1.00000000", 0), ("10.00000000", 0), ("0.50", 1), ("0.00000001", 8), ("0.00000000", 8)]
)
def test_decimals_follow_the_step(step: str, decimals: int) -> None:
    """A step of zero sets none: then the finest there is."""
    body = copy.deepcopy(EXCHANGE_INFO)
    body["symbols"][0]["filters"][1]["tickSize"] = step

    assert frames.parse_instruments(body)["BTCUSDT"].price_decimals == decimals


@pytest.mark.parametrize("filters", [None, [], {}, [None], [{"filterType": []}], [{"filterType": "ICEBERG_PARTS"}]])
def test_every_filter_is_optional(filters: object) -> None:
    """Without a filter no step is set."""
    row = EXCHANGE_INFO["symbols"][0] | {"filters": filters}
    found = frames.parse_instruments({"symbols": [row]})["BTCUSDT"]

    assert (found.tick_size, found.lot_size, found.price_decimals, found.quantity_decimals) == (0.0, 0.0, 8, 8)


@pytest.mark.parametrize(
    "row",
    [{"symbol": None}, {"symbol": ["A"]}, {"symbol": "A", "status": 1}, {"symbol": "A", "baseAsset": {}},
     {"symbol": "A", "filters": [{"filterType": "PRICE_FILTER", "tickSize": 0.01}]}],
)  # fmt: skip
def test_a_wrong_instrument_is_refused(row: object) -> None:
    """A name, a status or a step of another type."""
    with pytest.raises(MalformedFrame):
        frames.parse_instruments({"symbols": [row]})


def test_instruments_must_be_a_list() -> None:
    """An answer without its list is refused; rows that are no symbol are passed over."""
    with pytest.raises(MalformedFrame):
        frames.parse_instruments({"symbols": {}})
    assert frames.parse_instruments({"symbols": [None, 1, {}]}) == {}


def test_the_weight_limit() -> None:
    """The request weight a minute, as exchangeInfo states it."""
    assert frames.parse_weight_limit(EXCHANGE_INFO) == 1200


@pytest.mark.parametrize("limits", [None, {}, [], [None], [{"rateLimitType": "ORDERS"}]])
def test_no_weight_limit_is_stated(limits: object) -> None:
    """Where it states none, the published one stays."""
    assert frames.parse_weight_limit({"rateLimits": limits}) is None


@pytest.mark.parametrize("fault", [{"limit": None}, {"limit": "1200"}, {"intervalNum": "1"}])
def test_a_wrong_weight_limit_is_refused(fault: dict[str, object]) -> None:
    """A limit that is no number."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 2, "limit": 1200}
    assert frames.parse_weight_limit({"rateLimits": [limit]}) == 600

    with pytest.raises(MalformedFrame):
        frames.parse_weight_limit({"rateLimits": [limit | fault]})
