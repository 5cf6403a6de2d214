"""Parsing one real example of each REST answer."""

import copy
from typing import Any

import pytest

from pulse.binance import answers
from pulse.errors import MalformedFrame
from pulse.market.types import Aggressor, Candle, DayTicker, Instrument, Levels, Trade

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

TIME_MS = 1_723_161_255_342


def test_aggregate_trade_row_is_parsed() -> None:
    """A REST row has no event time; the trade's own time takes its place."""
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27790, "T": TIME_MS, "m": True, "M": True}

    assert answers.parse_agg_trade_row(row) == Trade(
        26129, 0.01633102, 4.70443515, TIME_MS, Aggressor.SELLER, 27781, 27790, TIME_MS
    )


@pytest.mark.parametrize("row", [None, [], {"a": 1}])
def test_wrong_aggregate_trade_row_is_refused(row: object) -> None:
    """A row that is no aggregate trade raises MalformedFrame."""
    with pytest.raises(MalformedFrame):
        answers.parse_agg_trade_row(row)


def test_snapshot_is_parsed() -> None:
    """A snapshot has its id, both sides, and the limit of the request."""
    body = {"lastUpdateId": 50093239218, "bids": [["1.5", "2.0"], ["1.4", "1.0"]], "asks": []}
    snapshot = answers.parse_snapshot(body, 1000)

    assert (snapshot.last_update_id, snapshot.limit) == (50093239218, 1000)
    assert (snapshot.bids, snapshot.asks) == (Levels([1.5, 1.4], [2.0, 1.0]), Levels([], []))


@pytest.mark.parametrize(
    "fault", [{"lastUpdateId": None}, {"lastUpdateId": True}, {"bids": None}, {"asks": [["1.0", "1"], ["1.00", "2"]]}]
)
def test_wrong_snapshot_is_refused(fault: dict[str, Any]) -> None:
    """A missing id or side, or a price that occurs twice, raises MalformedFrame."""
    with pytest.raises(MalformedFrame):
        answers.parse_snapshot({"lastUpdateId": 1, "bids": [], "asks": []} | fault, 100)


@pytest.mark.parametrize(("now_ms", "is_closed"), [(1723161659999, False), (1723161660000, True)])
def test_kline_row_is_parsed(now_ms: int, is_closed: bool) -> None:
    """A row is the exchange's candle; it is closed once its close time has passed."""
    assert answers.parse_kline_row("BTCUSDT", KLINE_ROW, now_ms) == Candle(
        "BTCUSDT", 1723161600000, 61710.0, 61720.0, 61700.0, 61715.1, 12.5, 771438.75, 321, 6.25, 385719.375,
        -1, -1, is_closed, "exchange", True,
    )  # fmt: skip


@pytest.mark.parametrize("column", range(11))
def test_wrong_kline_row_is_refused(column: int) -> None:
    """Every column in use is checked, and so is their number."""
    rows: list[Any] = [[*KLINE_ROW[:column], None, *KLINE_ROW[column + 1 :]], KLINE_ROW[:column], {}, None]
    for row in rows:
        with pytest.raises(MalformedFrame):
            answers.parse_kline_row("BTCUSDT", row, 0)


def test_instruments_are_parsed() -> None:
    """An instrument has assets, status and steps, and the decimals that the steps need."""
    assert answers.parse_instruments(EXCHANGE_INFO).found == {
        "BTCUSDT": Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    }


@pytest.mark.parametrize(
    ("step", "decimals"), [("1.00000000", 0), ("10.00000000", 0), ("0.50", 1), ("0.00000001", 8), ("0.00000000", 8)]
)
def test_decimals_follow_the_step(step: str, decimals: int) -> None:
    """A step of zero sets none; then there are 8 decimals, the finest there is."""
    body = copy.deepcopy(EXCHANGE_INFO)
    body["symbols"][0]["filters"][1]["tickSize"] = step

    assert answers.parse_instruments(body).found["BTCUSDT"].price_decimals == decimals


@pytest.mark.parametrize("filters", [None, [], {}, [None], [{"filterType": []}], [{"filterType": "ICEBERG_PARTS"}]])
def test_every_filter_is_optional(filters: object) -> None:
    """Without a filter no step is set."""
    row: dict[str, Any] = EXCHANGE_INFO["symbols"][0] | {"filters": filters}
    found = answers.parse_instruments({"symbols": [row]}).found["BTCUSDT"]

    assert (found.tick_size, found.lot_size, found.price_decimals, found.quantity_decimals) == (0.0, 0.0, 8, 8)


@pytest.mark.parametrize(
    "row",
    [{"symbol": "A", "status": 1}, {"symbol": "A", "baseAsset": {}},
     {"symbol": "A", "filters": [{"filterType": "PRICE_FILTER", "tickSize": 0.01}]}],
)  # fmt: skip
def test_wrong_instrument_is_its_own_symbols_matter(row: object) -> None:
    """A status or a step of a wrong type is the fault of that symbol; the others are parsed."""
    found, malformed = answers.parse_instruments({"symbols": [row, EXCHANGE_INFO["symbols"][0]]})

    assert (list(found), list(malformed)) == (["BTCUSDT"], ["A"])
    assert malformed["A"].startswith("expected a")


def test_instruments_must_be_a_list() -> None:
    """An answer without its list is refused; rows that are no symbol are ignored."""
    with pytest.raises(MalformedFrame):
        answers.parse_instruments({"symbols": {}})
    no_symbols = [None, 1, {}, {"symbol": None}, {"symbol": ["A"]}]
    assert answers.parse_instruments({"symbols": no_symbols}) == ({}, {})


def test_weight_limit_is_parsed() -> None:
    """It is the request weight per minute, as exchangeInfo states it."""
    assert answers.parse_weight_limit(EXCHANGE_INFO) == 1200


@pytest.mark.parametrize("limits", [None, {}, [], [None], [{"rateLimitType": "ORDERS"}]])
def test_missing_weight_limit_is_none(limits: object) -> None:
    """Where exchangeInfo states none, the published one stays."""
    assert answers.parse_weight_limit({"rateLimits": limits}) is None


@pytest.mark.parametrize("fault", [{"limit": None}, {"limit": "1200"}, {"intervalNum": "1"}])
def test_wrong_weight_limit_is_refused(fault: dict[str, object]) -> None:
    """A limit that is no number raises MalformedFrame."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 2, "limit": 1200}
    assert answers.parse_weight_limit({"rateLimits": [limit]}) == 600

    with pytest.raises(MalformedFrame):
        answers.parse_weight_limit({"rateLimits": [limit | fault]})


def test_names_that_are_not_ascii_are_listed_and_others_ignored() -> None:
    """In the exchange's order; what cannot be a symbol's name, or is no text, is left out."""
    chinese = "\u5e01\u5b89\u4eba\u751fUSDT"
    rows = [{"symbol": name} for name in ("BTCUSDT", chinese, "<b>", "\u202eUSDT", "\u017fOLUSDT", 7, None)]

    assert answers.parse_names([*rows, "ETHUSDT", {}]) == ["BTCUSDT", chinese]


DAY_TICKER: dict[str, Any] = {
    "symbol": "BNBBTC", "priceChange": "-94.99999800", "priceChangePercent": "-95.960", "openPrice": "99.00000000",
    "highPrice": "100.00000000", "lowPrice": "0.10000000", "lastPrice": "4.00000200", "volume": "8913.30000000",
    "quoteVolume": "15.30000000", "openTime": 1499783499040, "closeTime": 1499869899040, "firstId": 28385,
    "lastId": 28460, "count": 76,
}  # fmt: skip


def test_day_ticker_row_is_parsed() -> None:
    """The example of the exchange's documentation; what is not read may be missing."""
    ticker = DayTicker("BNBBTC", 99.0, 100.0, 0.1, 4.000002, 8913.3, 15.3, 1499869899040, 76)

    assert answers.parse_day_ticker(DAY_TICKER) == ticker
    assert answers.parse_day_ticker({k: v for k, v in DAY_TICKER.items() if k not in ("firstId", "openTime")}) == ticker


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "<b>"}, {"symbol": None}, {"lastPrice": 4.0}, {"lastPrice": "-4"}, {"count": "76"}, {"count": -1},
        {"closeTime": 0}, {"quoteVolume": "NaN"},
    ],
)  # fmt: skip
def test_malformed_day_ticker_row_is_refused(change: dict[str, Any]) -> None:
    """Each field that is read is checked for its form."""
    with pytest.raises(MalformedFrame):
        answers.parse_day_ticker(DAY_TICKER | change)
    with pytest.raises(MalformedFrame):
        answers.parse_day_ticker([DAY_TICKER])
