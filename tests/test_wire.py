"""The wire format: a view and a candle as JSON, and a view's stamp, which is read without decoding the rest."""

import json
import math
from dataclasses import replace

import pytest

from pulse.market.depth_sync import BookAnchor
from pulse.market.intervals import INTERVALS, start_aggregate
from pulse.market.market import Market, Origin
from pulse.market.types import FeedUp, Instrument
from pulse.wire import CANDLE_FIELDS, bus_prefix, candle_row, channels_of, encode_view, read_stamp
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, snapshot, trade

FIVE = INTERVALS["5m"]


def market() -> Market:
    """Make a live market with a book, a trade and an instrument."""
    market = Market("BTCUSDT", Origin("9f3ac21b", "replay", "com"), levels_max=100, trades_kept=3, stale_after_ms=5000)
    book = BookAnchor(snapshot(7, [(61837.63, 3.65427)], [(61837.64, 1.6052)]), ())
    instrument = Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    for event in (FeedUp(), instrument, book, trade(3, 61837.63, 0.02)):
        market.apply(event, 0.0)
    return market


def test_names_on_a_shared_server() -> None:
    """They begin with namespace, venue and source, none of which can hold the separator."""
    assert bus_prefix("pulse", "us", "exchange") == "pulse:us:exchange:"


def test_bus_channels_of_a_symbol() -> None:
    """One for views, one for trades, one for what is watched of the book besides."""
    assert channels_of("BTCUSDT") == ("book:BTCUSDT", "trades:BTCUSDT", "liquidity:BTCUSDT")


def test_an_encoded_view_begins_with_its_stamp() -> None:
    """Sequence number, instance, token and symbol stand first, byte for byte where a reader looks for them."""
    made = market()
    made.view(0.0, 1.0)
    raw = encode_view(made.view(0.0, 1.5))

    assert raw.startswith(b'{"seq":2,"instance":"9f3ac21b","token":0,"symbol":"BTCUSDT"')


def test_the_stamp_is_read_from_the_first_bytes() -> None:
    """An encoded view shows its instance and number without being decoded."""
    stamp = read_stamp(b'{"seq":1234,"instance":"ffff0000","symbol":"BTCUSDT"}')

    assert stamp == (1234, "ffff0000", 0)


def test_the_stamp_has_the_token() -> None:
    """An encoded view of this version has one."""
    payload = b'{"seq":1234,"instance":"ffff0000","token":1780000000000,"symbol":"BTCUSDT"}'

    assert read_stamp(payload) == (1234, "ffff0000", 1780000000000)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"seq":-1,"instance":"aa",',
        b'{"seq":1.5,"instance":"aa",',
        b'{"instance":"aa","seq":1}',
        b' {"seq":1,"instance":"aa",',
        '{"seq":\N{ARABIC-INDIC DIGIT ONE},"instance":"aa",'.encode(),
    ],
)
def test_a_payload_that_is_no_view_has_no_stamp(payload: bytes) -> None:
    """A foreign message is recognised by its first bytes."""
    with pytest.raises(ValueError, match="begins with"):
        read_stamp(payload)


def test_a_view_is_plain_json() -> None:
    """States are words, levels are pairs of numbers with the exchange's digits, what is unknown is null."""
    view = json.loads(encode_view(market().view(0.0, 1.5)))

    assert (view["state"], view["source"], view["venue"]) == ("live", "replay", "com")
    assert (view["bids"], view["asks"]) == ([[61837.63, 3.65427]], [[61837.64, 1.6052]])
    assert (view["metrics"]["spread_abs"], view["metrics"]["realised_volatility"]) == (0.01, None)
    assert view["trades"] == [
        {
            "id": 3,
            "price": 61837.63,
            "quantity": 0.02,
            "aggressor": "buyer",
            "time_ms": MIDNIGHT_MS,
            "first_trade_id": 3,
        }
    ]
    assert view["instrument"]["tick_size"] == 0.01
    assert (view["window"]["bid_floor"], view["timestamp"]) == (None, 1.5)


def test_no_number_is_beyond_json() -> None:
    """Even an empty view holds no NaN and no infinity, which JSON cannot spell."""
    empty = Market("BTCUSDT", Origin("9f3ac21b", "replay", "com"), levels_max=9, trades_kept=3, stale_after_ms=5000)
    raw = encode_view(empty.view(0.0, 1.5))

    def refuse(name: str) -> float:
        raise AssertionError(name)

    assert math.isfinite(json.loads(raw, parse_constant=refuse)["timestamp"])


def test_a_row_of_the_candles() -> None:
    """The interval's open in ISO 8601, UTC, every figure and receipt; an id that is not known is null."""
    row = candle_row(
        start_aggregate(candle(prices=(1.0, 4.0, 0.5, 2.0), volume=3.0), FIVE), FIVE, MIDNIGHT_MS + 3 * MINUTE_MS
    )

    assert row == {
        "symbol": "BTCUSDT",
        "timestamp": "2024-08-09T00:00:00+00:00",
        "open": 1.0,
        "high": 4.0,
        "low": 0.5,
        "close": 2.0,
        "volume": 3.0,
        "quote_volume": 6.0,
        "trade_count": 3,
        "taker_buy_volume": 3.0,
        "taker_buy_quote_volume": 6.0,
        "first_trade_id": None,
        "last_trade_id": None,
        "source": "exchange",
        "reconciled": True,
        "is_closed": False,
        "missing_minutes": 2,
    }
    assert tuple(row) == CANDLE_FIELDS


def test_a_row_of_what_is_over() -> None:
    """An interval that has ended is closed, and its trade ids are told where they are known."""
    minute = replace(candle(), first_trade_id=0, last_trade_id=7)
    row = candle_row(start_aggregate(minute, FIVE), FIVE, MIDNIGHT_MS + 5 * MINUTE_MS)

    assert (row["is_closed"], row["missing_minutes"], row["first_trade_id"], row["last_trade_id"]) == (True, 4, 0, 7)
