"""The view's shape: what a client may rely on to be there, under which name."""

from dataclasses import fields

from pulse.market.types import Instrument
from pulse.market.view import (
    REPEATS,
    TRADES_MAX,
    CandleView,
    Metrics,
    ProofView,
    TradeRepeatBuffer,
    TradeView,
    View,
    WindowView,
)


def names(kind: type) -> list[str]:
    """The fields of a kind of view, in the order in which they are written."""
    return [field.name for field in fields(kind)]


def test_a_picture_begins_with_its_stamp() -> None:
    """Sequence number, instance and symbol come first, so that they can be read without decoding the rest."""
    assert names(View)[:3] == ["seq", "instance", "symbol"]


def test_a_picture_is_complete() -> None:
    """A view carries state, book, measures, prints, candles, window, proof, instrument and its times."""
    assert names(View)[3:] == [
        "state", "state_reason", "source", "venue", "last_update_id", "bids", "asks", "metrics", "session_start_ms",
        "trades", "candle", "closed_candle", "window", "proof", "instrument", "timestamp", "event_time_ms",
        "data_age_ms",
    ]  # fmt: skip


def test_the_four_first_measures_keep_their_names() -> None:
    """The measures that the feed has always had lead the others."""
    assert names(Metrics)[:4] == ["mid_price", "spread_abs", "spread_pct", "cvd"]


def test_the_parts_of_a_picture() -> None:
    """Trades, candles, the window, the proof and the instrument have these fields."""
    assert names(TradeView) == ["id", "price", "quantity", "aggressor", "time_ms"]
    assert names(CandleView) == ["symbol", "timestamp", "open", "high", "low", "close", "volume", "is_closed"]
    assert names(WindowView) == ["bid_floor", "ask_ceiling", "bid_levels", "ask_levels"]
    assert names(ProofView) == [
        "contiguous_since_ms", "touch_compared", "touch_equal", "top_compared", "top_equal", "audits", "audited_ms",
        "levels_compared", "levels_differing", "resyncs", "incidents",
    ]  # fmt: skip
    assert names(Instrument)[-4:] == ["tick_size", "lot_size", "price_decimals", "quantity_decimals"]


def shown(trade_id: int) -> TradeView:
    """A trade with this id."""
    return TradeView(trade_id, 100.0, 1.0, "buyer", 0)


def fed(tape: TradeRepeatBuffer, *ids: int) -> list[int]:
    """The ids of the message after these trades."""
    for trade_id in ids:
        tape.add(shown(trade_id))
    return [trade.id for trade in tape.take()]


def test_new_trades_are_given_oldest_first() -> None:
    """As they came."""
    assert fed(TradeRepeatBuffer(), 1, 2, 3) == [1, 2, 3]


def test_without_a_new_trade_there_is_nothing() -> None:
    """Before the first one, and after it was given."""
    tape = TradeRepeatBuffer()

    assert fed(tape) == []
    assert fed(tape, 1) == [1]
    assert fed(tape) == []


def test_a_message_repeats_those_before() -> None:
    """All but REPEATS - 1 in a row may be lost."""
    tape = TradeRepeatBuffer()
    messages = [fed(tape, number) for number in range(1, 2 * REPEATS)]

    assert messages[1] == [1, 2]
    assert messages[-1] == list(range(REPEATS, 2 * REPEATS))


def test_a_message_has_a_bound() -> None:
    """The oldest are left out."""
    message = fed(TradeRepeatBuffer(), *range(TRADES_MAX + 5))

    assert (len(message), message[0]) == (TRADES_MAX, 5)
