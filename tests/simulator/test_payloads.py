"""Binance's spelling: exact decimal text and the documented fields."""

from typing import Any

from pulse.simulator import payloads
from pulse.simulator.book import BookCut
from pulse.simulator.candles import Print, flat_minute
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.market import BestChange, CandleFrame, Depth, Traded

BITCOIN = INSTRUMENTS["BTCUSDT"]
TRADE = Print(1_000, agg_id=7, ticks=6_183_763, fills=(2_000, 500), first_trade_id=70, seller=True)


def told(happening: Any, wanted: set[str] | None = None) -> dict[str, list[Any]]:
    """The data of the events that a happening makes, by stream."""
    data: dict[str, list[Any]] = {}
    for event in payloads.events(BITCOIN, happening, wanted):
        data.setdefault(event.stream, []).append(event.data)
    return data


def test_amounts_have_eight_decimals() -> None:
    """Text is exact and always has eight decimals."""
    assert payloads.decimal_text(0) == "0.00000000"
    assert payloads.price_text(BITCOIN, 6_183_763) == "61837.63000000"
    assert payloads.quantity_text(BITCOIN, 1) == "0.00001000"
    assert payloads.quote_text(BITCOIN, 6_183_763 * 1) == "0.61837630"


def test_a_diff_has_the_documented_fields() -> None:
    """U and u, both sides as pairs, zero for a removal."""
    cut = BookCut(11, 14, bids=((100, 0),), asks=())
    data = told(Depth(1_000, cut, 14, (), ()))["btcusdt@depth@100ms"]

    assert data == [
        {"e": "depthUpdate", "E": 1000, "s": "BTCUSDT", "U": 11, "u": 14, "b": [["1.00000000", "0.00000000"]], "a": []}
    ]


def test_partial_depth_has_no_symbol_and_no_time() -> None:
    """As on the exchange, it says only its id and its levels; without a change there is no diff."""
    data = told(Depth(1_100, None, 14, ((100, 2),), ((101, 3),)))

    assert data == {
        "btcusdt@depth20@100ms": [
            {"lastUpdateId": 14, "bids": [["1.00000000", "0.00002000"]], "asks": [["1.01000000", "0.00003000"]]}
        ]
    }


def test_the_slow_partial_depth_comes_once_a_second() -> None:
    """Of ten cuts a second, the stream without a speed tells the first."""
    told_at = [ms for ms in range(1_037, 3_037, 100) if "btcusdt@depth20" in told(Depth(ms, None, 14, (), ()))]

    assert told_at == [1_037, 2_037]


def test_a_best_change_has_no_type_and_no_time() -> None:
    """The book ticker carries its id, symbol, and both prices with their quantities."""
    data = told(BestChange(1_000, 14, (100, 2), (101, 3)))

    assert data == {
        "btcusdt@bookTicker": [
            {"u": 14, "s": "BTCUSDT", "b": "1.00000000", "B": "0.00002000", "a": "1.01000000", "A": "0.00003000"}
        ]
    }


def test_an_aggregate_and_its_trades() -> None:
    """One aggregate spans its trades' ids; a taker that sold means that the buyer was the maker."""
    data = told(Traded(1_000, TRADE))
    (aggregate,) = data["btcusdt@aggTrade"]

    assert (aggregate["a"], aggregate["f"], aggregate["l"], aggregate["m"]) == (7, 70, 71, True)
    assert (aggregate["p"], aggregate["q"], aggregate["T"]) == ("61837.63000000", "0.02500000", 1_000)
    assert [(t["t"], t["q"]) for t in data["btcusdt@trade"]] == [(70, "0.02000000"), (71, "0.00500000")]


def test_a_candle_frame_and_its_row_agree() -> None:
    """The stream's and the REST row's numbers are the same text."""
    minute = flat_minute(60_000, 6_183_000)
    minute.add(TRADE)
    (frame,) = told(CandleFrame(62_000, minute, closed=False))["btcusdt@kline_1m"]
    row, kline = payloads.kline_row(BITCOIN, minute), frame["k"]

    assert [kline[key] for key in "tohlcvTqnVQ"] == row[:11]
    assert (kline["x"], kline["f"], kline["L"], kline["q"]) == (False, 70, 71, "1545.94075000")


def test_only_wanted_streams_are_spelled() -> None:
    """Streams that nobody listens to cost nothing."""
    assert list(told(Traded(1_000, TRADE), {"btcusdt@aggTrade"})) == ["btcusdt@aggTrade"]
    assert told(Traded(1_000, TRADE), set()) == {}


def test_a_listing_names_its_steps_by_filter() -> None:
    """Tick and lot are found under the filters' names."""
    filters = {f["filterType"]: f for f in payloads.symbol_row(BITCOIN, "HALT")["filters"]}

    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
