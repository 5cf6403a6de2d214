"""What a frame means, by one real example of each stream and of each REST answer."""

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


TIME_MS = 1_723_161_255_342


@pytest.mark.parametrize(("kind", "is_market"), [({}, True), ({"X": "MARKET"}, True), ({"X": "INSURANCE_FUND"}, False)])
def test_a_print_outside_the_market_is_marked(kind: dict[str, str], is_market: bool) -> None:
    """What the exchange leaves out of its candles keeps its id and says so."""
    data = {"s": "BTCUSDT", "E": TIME_MS, "t": 5, "p": "1.0", "q": "2.0", "T": TIME_MS, "m": True, **kind}
    frame = messages.parse(orjson.dumps({"stream": "btcusdt@trade", "data": data}))

    assert isinstance(frame, messages.Frame)
    assert isinstance(frame.event, Trade)
    assert frame.event.is_market is is_market


def test_a_row_of_aggregate_trades() -> None:
    """REST gives no event time: the trade's own stands for it."""
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27790, "T": TIME_MS, "m": True, "M": True}

    assert messages.parse_agg_trade_row(row) == Trade(
        26129, 0.01633102, 4.70443515, TIME_MS, Aggressor.SELLER, 27781, 27790, TIME_MS
    )


@pytest.mark.parametrize("row", [None, [], {"a": 1}])
def test_a_wrong_row_of_aggregate_trades_is_refused(row: object) -> None:
    """What is not an aggregate trade is not taken for one."""
    with pytest.raises(MalformedFrame):
        messages.parse_agg_trade_row(row)


def test_an_aggregate_trade() -> None:
    """Several fills of one taker at one price; the seller being the maker, the buyer took."""
    trade = Trade(15683430, 0.3528, 58.0, 1633998523963, Aggressor.BUYER, 19862789, 19862790, 1633998523963)

    assert parse(AGG_TRADE) == Frame("NKNUSDT", "trade", trade)


def test_a_kline() -> None:
    """The exchange's own candle, closed, and when it was told."""
    candle = Candle("OMGBUSD", 1633998240000, 13.7212, 13.8076, 13.7212, 13.7664, 536.51, 7387.120735, 14, 231.6,
                    3187.75743, 439572, 439585, True, "exchange", True)  # fmt: skip

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


# --- REST answers


def test_a_snapshot() -> None:
    """Id, both sides, and the limit that was asked for."""
    body = {"lastUpdateId": 50093239218, "bids": [["1.5", "2.0"], ["1.4", "1.0"]], "asks": []}
    snapshot = messages.parse_snapshot(body, 1000)

    assert (snapshot.last_update_id, snapshot.limit) == (50093239218, 1000)
    assert (snapshot.bids, snapshot.asks) == (Levels([1.5, 1.4], [2.0, 1.0]), Levels([], []))


@pytest.mark.parametrize(
    "fault", [{"lastUpdateId": None}, {"lastUpdateId": True}, {"bids": None}, {"asks": [["1.0", "1"], ["1.00", "2"]]}]
)
def test_a_wrong_snapshot_is_refused(fault: dict[str, Any]) -> None:
    """A missing id or side, or a price that stands twice."""
    with pytest.raises(MalformedFrame):
        messages.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": []} | fault, 100)


@pytest.mark.parametrize(("now_ms", "is_closed"), [(1723161659999, False), (1723161660000, True)])
def test_a_kline_row(now_ms: int, is_closed: bool) -> None:
    """A row is the exchange's candle, closed once its close time has passed."""
    assert messages.parse_kline_row("BTCUSDT", KLINE_ROW, now_ms) == Candle(
        "BTCUSDT", 1723161600000, 61710.0, 61720.0, 61700.0, 61715.1, 12.5, 771438.75, 321, 6.25, 385719.375,
        -1, -1, is_closed, "exchange", True,
    )  # fmt: skip


@pytest.mark.parametrize("column", range(11))
def test_a_wrong_kline_row_is_refused(column: int) -> None:
    """Every column in use is checked, and that there are enough."""
    rows: list[Any] = [[*KLINE_ROW[:column], None, *KLINE_ROW[column + 1 :]], KLINE_ROW[:column], {}, None]
    for row in rows:
        with pytest.raises(MalformedFrame):
            messages.parse_kline_row("BTCUSDT", row, 0)


def test_instruments() -> None:
    """Assets, status and steps, and how many decimals the steps need."""
    assert messages.parse_instruments(EXCHANGE_INFO) == {
        "BTCUSDT": Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    }


@pytest.mark.parametrize(
    ("step", "decimals"), [("1.00000000", 0), ("10.00000000", 0), ("0.50", 1), ("0.00000001", 8), ("0.00000000", 8)]
)
def test_decimals_follow_the_step(step: str, decimals: int) -> None:
    """A step of zero sets none: then the finest there is."""
    body = copy.deepcopy(EXCHANGE_INFO)
    body["symbols"][0]["filters"][1]["tickSize"] = step

    assert messages.parse_instruments(body)["BTCUSDT"].price_decimals == decimals


@pytest.mark.parametrize("filters", [None, [], {}, [None], [{"filterType": []}], [{"filterType": "ICEBERG_PARTS"}]])
def test_every_filter_is_optional(filters: object) -> None:
    """Without a filter no step is set."""
    row: dict[str, Any] = EXCHANGE_INFO["symbols"][0] | {"filters": filters}
    found = messages.parse_instruments({"symbols": [row]})["BTCUSDT"]

    assert (found.tick_size, found.lot_size, found.price_decimals, found.quantity_decimals) == (0.0, 0.0, 8, 8)


@pytest.mark.parametrize(
    "row",
    [{"symbol": None}, {"symbol": ["A"]}, {"symbol": "A", "status": 1}, {"symbol": "A", "baseAsset": {}},
     {"symbol": "A", "filters": [{"filterType": "PRICE_FILTER", "tickSize": 0.01}]}],
)  # fmt: skip
def test_a_wrong_instrument_is_refused(row: object) -> None:
    """A name, a status or a step of another type."""
    with pytest.raises(MalformedFrame):
        messages.parse_instruments({"symbols": [row]})


def test_instruments_must_be_a_list() -> None:
    """An answer without its list is refused; rows that are no symbol are passed over."""
    with pytest.raises(MalformedFrame):
        messages.parse_instruments({"symbols": {}})
    assert messages.parse_instruments({"symbols": [None, 1, {}]}) == {}


def test_the_weight_limit() -> None:
    """The request weight a minute, as exchangeInfo states it."""
    assert messages.parse_weight_limit(EXCHANGE_INFO) == 1200


@pytest.mark.parametrize("limits", [None, {}, [], [None], [{"rateLimitType": "ORDERS"}]])
def test_no_weight_limit_is_stated(limits: object) -> None:
    """Where it states none, the published one stays."""
    assert messages.parse_weight_limit({"rateLimits": limits}) is None


@pytest.mark.parametrize("fault", [{"limit": None}, {"limit": "1200"}, {"intervalNum": "1"}])
def test_a_wrong_weight_limit_is_refused(fault: dict[str, object]) -> None:
    """A limit that is no number."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 2, "limit": 1200}
    assert messages.parse_weight_limit({"rateLimits": [limit]}) == 600

    with pytest.raises(MalformedFrame):
        messages.parse_weight_limit({"rateLimits": [limit | fault]})
