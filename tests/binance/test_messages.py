"""Parsing one real example of each stream and of each REST answer."""

import copy
from typing import Any

import orjson
import pytest

from pulse.binance import messages
from pulse.binance.messages import Frame, Reply, ServerShutdown, parse
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
from tests.support.frames import AGG_TRADE, DEPTH, KLINE, TICKER, TRADE, changed, is_refused

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


def event_of(raw: bytes) -> object:
    """Return the event of a frame."""
    frame = parse(raw)
    assert isinstance(frame, Frame)
    return frame.event


# --- each stream


def test_depth_diff_is_parsed() -> None:
    """A diff has its ids, its event time and the changed levels of both sides."""
    assert parse(DEPTH) == Frame("BTCUSDT", "depth", DepthDiff(
        50093239203, 50093239207, 1723161255308,
        Levels([55653.87], [0.0]), Levels([61838.04, 61862.5], [0.32332, 0.05019]),
    ))  # fmt: skip


def test_depth_diff_of_the_slow_stream_is_parsed_the_same() -> None:
    """The stream of one diff a second has the same form."""
    assert parse(DEPTH.replace(b"@depth@100ms", b"@depth")) == parse(DEPTH)


def test_one_sided_diff_is_parsed() -> None:
    """A side without a change is an empty list."""
    assert event_of(changed(DEPTH, "a", [])) == DepthDiff(
        50093239203, 50093239207, 1723161255308, Levels([55653.87], [0.0]), Levels([], [])
    )


@pytest.mark.parametrize("stream", ["depth20", "depth20@100ms"])
def test_partial_depth_is_parsed(stream: str) -> None:
    """A partial depth has the exchange's best levels; only its stream names the symbol."""
    body = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"], ["0.0027", "1"]]}
    raw = orjson.dumps({"stream": f"bnbbtc@{stream}", "data": body})

    assert parse(raw) == Frame(
        "BNBBTC", "partial", PartialDepth(160, Levels([0.0024], [10.0]), Levels([0.0026, 0.0027], [100.0, 1.0]))
    )
    for name in body:
        assert is_refused(changed(raw, name, None))


def test_book_ticker_is_parsed() -> None:
    """A bookTicker has the best level of each side and the id of the book."""
    assert parse(TICKER) == Frame(
        "BTCUSDT", "bookTicker", BookTicker(50093239212, 61837.63, 3.78826, 61837.64, 1.54698)
    )


def test_trade_is_parsed() -> None:
    """Where the buyer is the maker, the seller is the aggressor."""
    trade = Trade(3735683259, 61837.63, 0.02, 1723161255342, Aggressor.SELLER, 3735683259, 3735683259, 1723161255343)

    assert parse(TRADE) == Frame("BTCUSDT", "trade", trade)


TIME_MS = 1_723_161_255_342


@pytest.mark.parametrize(("kind", "is_market"), [({}, True), ({"X": "MARKET"}, True), ({"X": "INSURANCE_FUND"}, False)])
def test_trade_outside_the_market_is_marked(kind: dict[str, str], is_market: bool) -> None:
    """A trade that the exchange leaves out of its candles keeps its id and is marked."""
    data = {"s": "BTCUSDT", "E": TIME_MS, "t": 5, "p": "1.0", "q": "2.0", "T": TIME_MS, "m": True, **kind}
    frame = messages.parse(orjson.dumps({"stream": "btcusdt@trade", "data": data}))

    assert isinstance(frame, messages.Frame)
    assert isinstance(frame.event, Trade)
    assert frame.event.is_market is is_market


def test_aggregate_trade_row_is_parsed() -> None:
    """A REST row has no event time; the trade's own time takes its place."""
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27790, "T": TIME_MS, "m": True, "M": True}

    assert messages.parse_agg_trade_row(row) == Trade(
        26129, 0.01633102, 4.70443515, TIME_MS, Aggressor.SELLER, 27781, 27790, TIME_MS
    )


def test_times_in_microseconds_are_read_as_such() -> None:
    """The exchange sends them on request; their number of digits tells them from milliseconds."""
    in_us = TRADE.replace(b'"E":1723161255343', b'"E":1723161255343999').replace(
        b'"T":1723161255342', b'"T":1723161255342001'
    )

    assert in_us != TRADE
    assert parse(in_us) == parse(TRADE)


@pytest.mark.parametrize("data", [b"[]", b'[{"e":"24hrMiniTicker"}]', b"null", b"1"])
def test_streams_of_all_markets_are_ignored(data: bytes) -> None:
    """Their data is a list, which is no fault of a stream that is not used."""
    assert parse(b'{"stream":"!miniTicker@arr","data":%b}' % data) is None


@pytest.mark.parametrize("row", [None, [], {"a": 1}])
def test_wrong_aggregate_trade_row_is_refused(row: object) -> None:
    """A row that is no aggregate trade raises MalformedFrame."""
    with pytest.raises(MalformedFrame):
        messages.parse_agg_trade_row(row)


def test_aggregate_trade_is_parsed() -> None:
    """It covers several fills of one taker at one price; where the seller is the maker, the buyer is the aggressor."""
    trade = Trade(15683430, 0.3528, 58.0, 1633998523963, Aggressor.BUYER, 19862789, 19862790, 1633998523963)

    assert parse(AGG_TRADE) == Frame("NKNUSDT", "trade", trade)


def test_kline_is_parsed() -> None:
    """A kline is the exchange's own candle with the time of its event."""
    candle = Candle("OMGBUSD", 1633998240000, 13.7212, 13.8076, 13.7212, 13.7664, 536.51, 7387.120735, 14, 231.6,
                    3187.75743, 439572, 439585, True, "exchange", True)  # fmt: skip

    assert parse(KLINE) == Frame("OMGBUSD", "kline", ExchangeCandle(candle, 1633998301755))


def test_kline_without_a_trade_is_parsed() -> None:
    """A minute without a trade has -1 for its trade ids."""
    event = event_of(changed(changed(KLINE, "k.f", -1), "k.L", -1))

    assert isinstance(event, ExchangeCandle)
    assert (event.candle.first_trade_id, event.candle.last_trade_id) == (-1, -1)


@pytest.mark.parametrize("raw", [DEPTH, TICKER, TRADE, AGG_TRADE, KLINE])
def test_text_and_bytes_are_parsed_the_same(raw: bytes) -> None:
    """A frame may be given as either."""
    assert parse(raw.decode()) == parse(raw)


# --- messages other than market data


@pytest.mark.parametrize("stream", ["btcusdt@avgPrice", "btcusdt@kline_5m", "!miniTicker@arr", "", "btcusdt"])
def test_unused_stream_is_ignored(stream: str) -> None:
    """A stream that is not used is no error."""
    assert parse(orjson.dumps({"stream": stream, "data": {"anything": 1}})) is None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1633998523963}}',
        b'{"stream":"btcusdt@depth","data":{"e":"serverShutdown","E":1633998523963}}',
        b'{"e":"serverShutdown","E":1633998523963}',
    ],
)
def test_announced_shutdown_is_recognised(raw: bytes) -> None:
    """The exchange announces a restart in a combined or a plain message."""
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
        (b'{"code":1,"msg":"a\\nb\\u001b"}', Reply(None, None, r"a\x0ab\x1b (code 1)")),
        (b'{"code":1,"msg":"' + b"x" * 500 + b'"}', Reply(None, None, "x" * 200 + " (code 1)")),
    ],
)
def test_answer_to_a_control_message_is_parsed(raw: bytes, reply: Reply) -> None:
    """It has a result, or an error, which comes flat or nested."""
    assert parse(raw) == reply


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b"null", b"\xff\xfe", b"{}", b'{"data":{}}', "\ud800"])
def test_unknown_message_is_refused(raw: bytes | str) -> None:
    """Anything that is not JSON, or none of the forms above, raises MalformedFrame."""
    with pytest.raises(MalformedFrame):
        parse(raw)


# --- REST answers


def test_snapshot_is_parsed() -> None:
    """A snapshot has its id, both sides, and the limit of the request."""
    body = {"lastUpdateId": 50093239218, "bids": [["1.5", "2.0"], ["1.4", "1.0"]], "asks": []}
    snapshot = messages.parse_snapshot(body, 1000)

    assert (snapshot.last_update_id, snapshot.limit) == (50093239218, 1000)
    assert (snapshot.bids, snapshot.asks) == (Levels([1.5, 1.4], [2.0, 1.0]), Levels([], []))


@pytest.mark.parametrize(
    "fault", [{"lastUpdateId": None}, {"lastUpdateId": True}, {"bids": None}, {"asks": [["1.0", "1"], ["1.00", "2"]]}]
)
def test_wrong_snapshot_is_refused(fault: dict[str, Any]) -> None:
    """A missing id or side, or a price that occurs twice, raises MalformedFrame."""
    with pytest.raises(MalformedFrame):
        messages.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": []} | fault, 100)


@pytest.mark.parametrize(("now_ms", "is_closed"), [(1723161659999, False), (1723161660000, True)])
def test_kline_row_is_parsed(now_ms: int, is_closed: bool) -> None:
    """A row is the exchange's candle; it is closed once its close time has passed."""
    assert messages.parse_kline_row("BTCUSDT", KLINE_ROW, now_ms) == Candle(
        "BTCUSDT", 1723161600000, 61710.0, 61720.0, 61700.0, 61715.1, 12.5, 771438.75, 321, 6.25, 385719.375,
        -1, -1, is_closed, "exchange", True,
    )  # fmt: skip


@pytest.mark.parametrize("column", range(11))
def test_wrong_kline_row_is_refused(column: int) -> None:
    """Every column in use is checked, and so is their number."""
    rows: list[Any] = [[*KLINE_ROW[:column], None, *KLINE_ROW[column + 1 :]], KLINE_ROW[:column], {}, None]
    for row in rows:
        with pytest.raises(MalformedFrame):
            messages.parse_kline_row("BTCUSDT", row, 0)


def test_instruments_are_parsed() -> None:
    """An instrument has assets, status and steps, and the decimals that the steps need."""
    assert messages.parse_instruments(EXCHANGE_INFO).found == {
        "BTCUSDT": Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    }


@pytest.mark.parametrize(
    ("step", "decimals"), [("1.00000000", 0), ("10.00000000", 0), ("0.50", 1), ("0.00000001", 8), ("0.00000000", 8)]
)
def test_decimals_follow_the_step(step: str, decimals: int) -> None:
    """A step of zero sets none; then there are 8 decimals, the finest there is."""
    body = copy.deepcopy(EXCHANGE_INFO)
    body["symbols"][0]["filters"][1]["tickSize"] = step

    assert messages.parse_instruments(body).found["BTCUSDT"].price_decimals == decimals


@pytest.mark.parametrize("filters", [None, [], {}, [None], [{"filterType": []}], [{"filterType": "ICEBERG_PARTS"}]])
def test_every_filter_is_optional(filters: object) -> None:
    """Without a filter no step is set."""
    row: dict[str, Any] = EXCHANGE_INFO["symbols"][0] | {"filters": filters}
    found = messages.parse_instruments({"symbols": [row]}).found["BTCUSDT"]

    assert (found.tick_size, found.lot_size, found.price_decimals, found.quantity_decimals) == (0.0, 0.0, 8, 8)


@pytest.mark.parametrize(
    "row",
    [{"symbol": "A", "status": 1}, {"symbol": "A", "baseAsset": {}},
     {"symbol": "A", "filters": [{"filterType": "PRICE_FILTER", "tickSize": 0.01}]}],
)  # fmt: skip
def test_wrong_instrument_is_its_own_symbols_matter(row: object) -> None:
    """A status or a step of a wrong type is the fault of that symbol; the others are parsed."""
    found, malformed = messages.parse_instruments({"symbols": [row, EXCHANGE_INFO["symbols"][0]]})

    assert (list(found), list(malformed)) == (["BTCUSDT"], ["A"])
    assert malformed["A"].startswith("expected a")


def test_instruments_must_be_a_list() -> None:
    """An answer without its list is refused; rows that are no symbol are ignored."""
    with pytest.raises(MalformedFrame):
        messages.parse_instruments({"symbols": {}})
    no_symbols = [None, 1, {}, {"symbol": None}, {"symbol": ["A"]}]
    assert messages.parse_instruments({"symbols": no_symbols}) == ({}, {})


def test_weight_limit_is_parsed() -> None:
    """It is the request weight per minute, as exchangeInfo states it."""
    assert messages.parse_weight_limit(EXCHANGE_INFO) == 1200


@pytest.mark.parametrize("limits", [None, {}, [], [None], [{"rateLimitType": "ORDERS"}]])
def test_missing_weight_limit_is_none(limits: object) -> None:
    """Where exchangeInfo states none, the published one stays."""
    assert messages.parse_weight_limit({"rateLimits": limits}) is None


@pytest.mark.parametrize("fault", [{"limit": None}, {"limit": "1200"}, {"intervalNum": "1"}])
def test_wrong_weight_limit_is_refused(fault: dict[str, object]) -> None:
    """A limit that is no number raises MalformedFrame."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 2, "limit": 1200}
    assert messages.parse_weight_limit({"rateLimits": [limit]}) == 600

    with pytest.raises(MalformedFrame):
        messages.parse_weight_limit({"rateLimits": [limit | fault]})


def test_names_that_are_not_ascii_are_listed_and_others_ignored() -> None:
    """In the exchange's order; what cannot be a symbol's name, or is no text, is left out."""
    chinese = "\u5e01\u5b89\u4eba\u751fUSDT"
    rows = [{"symbol": name} for name in ("BTCUSDT", chinese, "<b>", "\u202eUSDT", "\u017fOLUSDT", 7, None)]

    assert messages.parse_names([*rows, "ETHUSDT", {}]) == ["BTCUSDT", chinese]
