"""A minute of trades in exact integers."""

from pulse.simulator.candles import AggregateTrade, flat_candle

BOUGHT = AggregateTrade(1_005, agg_id=50, ticks=100, fills=(2, 3), first_trade_id=900, taker_sold=False)
SOLD = AggregateTrade(2_000, agg_id=51, ticks=90, fills=(4,), first_trade_id=902, taker_sold=True)


def test_aggregate_trade_has_its_sum_and_last_id() -> None:
    """Its quantity is the sum of its fills, whose ids are contiguous."""
    assert (BOUGHT.lots, BOUGHT.last_trade_id) == (5, 901)


def test_a_minute_without_trades_is_flat() -> None:
    """It stays at the price before it, with no volume and no trade ids."""
    minute = flat_candle(60_000, 95)

    assert (minute.open, minute.high, minute.low, minute.close, minute.lots, minute.count) == (95, 95, 95, 95, 0, 0)
    assert (minute.first_trade_id, minute.last_trade_id) == (-1, -1)


def test_trades_make_the_candle() -> None:
    """Prices, volumes, counts and ids follow from the trades; only buyers' trades count as taker buys."""
    minute = flat_candle(60_000, 95)
    minute.add(BOUGHT)
    minute.add(SOLD)

    assert (minute.open, minute.high, minute.low, minute.close) == (100, 100, 90, 90)
    assert (minute.lots, minute.quote, minute.count) == (9, 860, 3)
    assert (minute.taker_buy_lots, minute.taker_buy_quote) == (5, 500)
    assert (minute.first_trade_id, minute.last_trade_id) == (900, 902)


def test_the_price_before_the_first_trade_is_not_in_the_range() -> None:
    """A minute that began at a high price before its first trade does not keep that as its high."""
    minute = flat_candle(60_000, 500)
    minute.add(SOLD)

    assert minute.high == 90
