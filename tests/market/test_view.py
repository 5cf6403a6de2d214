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
    """Return the fields of a kind of view, in the order in which they are written."""
    return [field.name for field in fields(kind)]


def test_view_begins_with_sequence_instance_token_and_symbol() -> None:
    """They come first, so that they can be read without decoding the rest."""
    assert names(View)[:4] == ["seq", "instance", "token", "symbol"]


def test_view_is_complete() -> None:
    """A view has state, book, metrics, trades, candles, window, proof, instrument, its times and its streams."""
    assert names(View)[4:] == [
        "state", "state_reason", "source", "venue", "last_update_id", "bids", "asks", "metrics", "basis",
        "session_start_ms", "trades", "candle", "closed_candle", "window", "proof", "instrument", "timestamp",
        "event_time_ms", "data_age_ms", "streams",
    ]  # fmt: skip


def test_first_four_metrics_keep_their_names() -> None:
    """The metrics that the feed has always had come before the others."""
    assert names(Metrics)[:4] == ["mid_price", "spread_abs", "spread_pct", "cvd"]


def test_fields_of_the_parts_of_a_view() -> None:
    """Trades, candles, the window, the proof and the instrument have these fields."""
    assert names(TradeView) == ["id", "price", "quantity", "aggressor", "time_ms", "first_trade_id"]
    assert names(CandleView) == [
        "symbol", "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "source",
        "is_closed",
    ]  # fmt: skip
    assert names(WindowView) == ["bid_floor", "ask_ceiling", "bid_levels", "ask_levels"]
    assert names(ProofView) == [
        "contiguous_since_ms", "touch_compared", "touch_equal", "top_compared", "top_equal", "audits", "audited_ms",
        "levels_compared", "levels_differing", "resyncs", "incidents", "silent_checks",
    ]  # fmt: skip
    assert names(Instrument)[-4:] == ["tick_size", "lot_size", "price_decimals", "quantity_decimals"]


def shown(trade_id: int) -> TradeView:
    """Return a trade with this id."""
    return TradeView(trade_id, 100.0, 1.0, "buyer", 0, trade_id)


def next_message(buffer: TradeRepeatBuffer, *ids: int) -> list[int]:
    """Return the ids of the message after these trades."""
    for trade_id in ids:
        buffer.add(shown(trade_id))
    return [trade.id for trade in buffer.take()]


def test_new_trades_come_oldest_first() -> None:
    """A message has its trades in the order in which they were added."""
    assert next_message(TradeRepeatBuffer(), 1, 2, 3) == [1, 2, 3]


def test_without_a_new_trade_there_is_no_message() -> None:
    """Before the first one, and after it was taken."""
    buffer = TradeRepeatBuffer()

    assert next_message(buffer) == []
    assert next_message(buffer, 1) == [1]
    assert next_message(buffer) == []


def test_message_repeats_those_before() -> None:
    """Each trade is in REPEATS messages."""
    buffer = TradeRepeatBuffer()
    messages = [next_message(buffer, number) for number in range(1, 2 * REPEATS)]

    assert messages[1] == [1, 2]
    assert messages[-1] == list(range(REPEATS, 2 * REPEATS))


def test_message_is_bounded() -> None:
    """The oldest trades are left out."""
    message = next_message(TradeRepeatBuffer(), *range(TRADES_MAX + 5))

    assert (len(message), message[0]) == (TRADES_MAX, 5)


def test_trades_that_later_messages_carry() -> None:
    """What a state of the buffer needs for its messages; older ones are kept for the ladder alone."""
    buffer = TradeRepeatBuffer()
    for number in range(1, 3 * REPEATS):
        next_message(buffer, number)

    assert [trade.id for trade in buffer.to_repeat()] == list(range(2 * REPEATS + 1, 3 * REPEATS))
    assert len(buffer.recent(0)[0]) == 3 * REPEATS - 1
