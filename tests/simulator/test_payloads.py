"""Binance's JSON: exact decimal text and the documented fields."""

from typing import Any

from pulse.simulator import payloads
from pulse.simulator.book import BookDiff
from pulse.simulator.candles import AggregateTrade, flat_candle
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.market import BestPriceChange, CandleUpdate, DepthUpdate, TradeMade

BITCOIN = INSTRUMENTS["BTCUSDT"]
TRADE = AggregateTrade(1_000, agg_id=7, ticks=6_183_763, fills=(2_000, 500), first_trade_id=70, taker_sold=True)


def stream_data(event: Any, streams: set[str] | None = None) -> dict[str, list[Any]]:
    """Return the data of the messages that an event makes, by stream."""
    data: dict[str, list[Any]] = {}
    for message in payloads.stream_events(BITCOIN, event, streams):
        data.setdefault(message.stream, []).append(message.data)
    return data


def test_amounts_have_eight_decimals() -> None:
    """Text is exact and always has eight decimals."""
    assert payloads.decimal_text(0) == "0.00000000"
    assert payloads.price_text(BITCOIN, 6_183_763) == "61837.63000000"
    assert payloads.quantity_text(BITCOIN, 1) == "0.00001000"
    assert payloads.quote_text(BITCOIN, 6_183_763 * 1) == "0.61837630"


def test_a_day_without_trades_is_all_zeros_and_a_fall_has_a_sign() -> None:
    """As on the exchange, whose ids are -1 then."""
    empty = payloads.day_ticker_row(BITCOIN, [], 86_400_000)
    fallen = flat_candle(0, 200)
    fallen.add(TRADE._replace(ticks=100))
    fallen.open = 200
    row = payloads.day_ticker_row(BITCOIN, [fallen], 86_400_000)

    assert {empty[name] for name in ("openPrice", "lastPrice", "volume", "quoteVolume")} == {"0.00000000"}
    assert (empty["count"], empty["firstId"], empty["lastId"]) == (0, -1, -1)
    assert (row["priceChange"], row["priceChangePercent"]) == ("-1.00000000", "-50.000")
    assert (row["firstId"], row["lastId"], row["count"]) == (70, 71, 2)


def test_diff_has_the_documented_fields() -> None:
    """U and u, both sides as pairs, zero for a removal."""
    diff = BookDiff(11, 14, bids=((100, 0),), asks=())
    data = stream_data(DepthUpdate(1_000, diff, 14, (), ()))["btcusdt@depth@100ms"]

    assert data == [
        {"e": "depthUpdate", "E": 1000, "s": "BTCUSDT", "U": 11, "u": 14, "b": [["1.00000000", "0.00000000"]], "a": []}
    ]


def test_partial_depth_has_no_symbol_and_no_time() -> None:
    """As on the exchange, it has only its id and its levels; without a change there is no diff."""
    data = stream_data(DepthUpdate(1_100, None, 14, ((100, 2),), ((101, 3),)))

    assert data == {
        "btcusdt@depth20@100ms": [
            {"lastUpdateId": 14, "bids": [["1.00000000", "0.00002000"]], "asks": [["1.01000000", "0.00003000"]]}
        ]
    }


def test_slow_partial_depth_comes_once_a_second() -> None:
    """Of ten diffs a second, the stream without a speed sends the first."""
    times_ms = [
        ms for ms in range(1_037, 3_037, 100) if "btcusdt@depth20" in stream_data(DepthUpdate(ms, None, 14, (), ()))
    ]

    assert times_ms == [1_037, 2_037]


def test_book_ticker_has_no_type_and_no_time() -> None:
    """It has its id, symbol, and both prices with their quantities."""
    data = stream_data(BestPriceChange(1_000, 14, (100, 2), (101, 3)))

    assert data == {
        "btcusdt@bookTicker": [
            {"u": 14, "s": "BTCUSDT", "b": "1.00000000", "B": "0.00002000", "a": "1.01000000", "A": "0.00003000"}
        ]
    }


def test_aggregate_spans_the_ids_of_its_trades() -> None:
    """A taker that sold means that the buyer was the maker."""
    data = stream_data(TradeMade(1_000, TRADE))
    (aggregate,) = data["btcusdt@aggTrade"]

    assert (aggregate["a"], aggregate["f"], aggregate["l"], aggregate["m"]) == (7, 70, 71, True)
    assert (aggregate["p"], aggregate["q"], aggregate["T"]) == ("61837.63000000", "0.02500000", 1_000)
    assert [(t["t"], t["q"]) for t in data["btcusdt@trade"]] == [(70, "0.02000000"), (71, "0.00500000")]


def test_candle_update_and_its_row_agree() -> None:
    """The stream's and the REST row's numbers are the same text."""
    candle = flat_candle(60_000, 6_183_000)
    candle.add(TRADE)
    (frame,) = stream_data(CandleUpdate(62_000, candle, closed=False))["btcusdt@kline_1m"]
    row, kline = payloads.kline_row(BITCOIN, candle), frame["k"]

    assert [kline[key] for key in "tohlcvTqnVQ"] == row[:11]
    assert (kline["x"], kline["f"], kline["L"], kline["q"]) == (False, 70, 71, "1545.94075000")


def test_only_subscribed_streams_are_built() -> None:
    """Streams without a subscriber cost nothing."""
    assert list(stream_data(TradeMade(1_000, TRADE), {"btcusdt@aggTrade"})) == ["btcusdt@aggTrade"]
    assert stream_data(TradeMade(1_000, TRADE), set()) == {}


def test_listing_names_its_steps_by_filter() -> None:
    """Tick and lot are found under the filters' names."""
    filters = {f["filterType"]: f for f in payloads.symbol_row(BITCOIN, "HALT")["filters"]}

    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
