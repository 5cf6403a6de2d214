"""Candles for the tests of the store: minutes counted from BEGIN_MS, and values that any rounding would change."""

from collections.abc import Iterable
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

from pulse.market.intervals import AggregatedCandle, Interval, add_minute, start_aggregate
from pulse.market.types import MINUTE_MS, Candle, TradeGap
from tests.support.makers import candle

SQL_DIR = Path(__file__).parent.parent.parent / "sql"
BEGIN_MS = 1_723_161_300_000
"""The minute with the number 0: 2024-08-08 23:55 UTC."""
PRICES = (0.1 + 0.2, 1.7976931348623157e308, 5e-324, 61837.64)
"""Open, high, low and close: a sum with a rounding error, the largest double, the smallest one, and a usual price."""
EXACT: dict[str, Any] = {
    "quote_volume": 123456789012345.67, "trade_count": 2**40 + 1, "taker_buy_volume": 1 / 3,
    "taker_buy_quote_volume": 2 / 3, "first_trade_id": 3_735_683_259, "source": "live",
}  # fmt: skip


def minute_candle(minute: int = 0, **fields: Any) -> Candle:
    """Return the closed candle of the minute with this number; `fields` sets any field of it."""
    return candle(BEGIN_MS + minute * MINUTE_MS, PRICES, 0.00001, **(EXACT | fields))


def minutes(count: int, symbol: str = "BTCUSDT") -> list[Candle]:
    """Return this many consecutive closed candles."""
    return [minute_candle(minute, close=100.0 + minute, symbol=symbol) for minute in range(count)]


def running(minute: int = 0) -> Candle:
    """Return a candle that is not closed yet."""
    return minute_candle(minute, is_closed=False)


def gap(first_trade_id: int, from_minute: int = 0, symbol: str = "BTCUSDT", noted_ms: int = BEGIN_MS) -> TradeGap:
    """Return a gap of ten trades within the minute with this number."""
    from_ms = BEGIN_MS + from_minute * MINUTE_MS
    return TradeGap(symbol, first_trade_id, first_trade_id + 9, from_ms, from_ms + 59_999, noted_ms)


def aggregated(minutes: Iterable[Candle], interval: Interval) -> list[AggregatedCandle]:
    """Return the candles of an interval, each added up from minutes that come oldest first."""
    groups = groupby(minutes, lambda minute: interval.floor(minute.open_time_ms))
    return [reduce(add_minute, rest, start_aggregate(first, interval)) for _, (first, *rest) in groups]


def live_candle(
    open_time_ms: int, volume: float = 1.0, trade_id: int = 5, *, source: str = "live", reconciled: bool = False
) -> Candle:
    """Return a minute that was built here from one trade."""
    return candle(
        open_time_ms, volume=volume, source=source, reconciled=reconciled, first_trade_id=trade_id,
        last_trade_id=trade_id, trade_count=1,
    )  # fmt: skip
