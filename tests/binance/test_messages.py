"""Parsing one real example of each stream."""

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
    Levels,
    PartialDepth,
    Trade,
)
from tests.support.frames import AGG_TRADE, DEPTH, KLINE, TICKER, TRADE, changed, is_refused


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
