"""Candles for the tests of the store: awkward numbers, so that nothing is rounded on the way unnoticed."""

from dataclasses import replace
from pathlib import Path

from pulse.market.types import MINUTE_MS, Candle, TradeGap

SQL_DIR = Path(__file__).parent.parent.parent / "sql"
BEGIN_MS = 1_723_161_300_000
"""The first minute of every test: 2024-08-08 23:55 UTC."""


def candle(
    minute: int = 0,
    close: float = 61837.64,
    symbol: str = "BTCUSDT",
    source: str = "live",
    reconciled: bool | None = None,
) -> Candle:
    """A closed candle of the minute with this number, counted from BEGIN_MS; the exchange's own is reconciled."""
    return Candle(
        symbol=symbol,
        open_time_ms=BEGIN_MS + minute * MINUTE_MS,
        open=0.1 + 0.2,
        high=1.7976931348623157e308,
        low=5e-324,
        close=close,
        volume=0.00001,
        quote_volume=123456789012345.67,
        trade_count=2**40 + 1,
        taker_buy_volume=1 / 3,
        taker_buy_quote_volume=2 / 3,
        first_trade_id=3_735_683_259,
        last_trade_id=-1,
        is_closed=True,
        source=source,
        reconciled=source == "exchange" if reconciled is None else reconciled,
    )


def minutes(count: int, symbol: str = "BTCUSDT") -> list[Candle]:
    """So many candles in a row."""
    return [candle(minute, close=100.0 + minute, symbol=symbol) for minute in range(count)]


def gap(first_trade_id: int, from_minute: int = 0, symbol: str = "BTCUSDT", noted_ms: int = BEGIN_MS) -> TradeGap:
    """A gap of ten trades within the minute with this number."""
    from_ms = BEGIN_MS + from_minute * MINUTE_MS
    return TradeGap(symbol, first_trade_id, first_trade_id + 9, from_ms, from_ms + 59_999, noted_ms)


def running(minute: int = 0) -> Candle:
    """A candle that is not closed yet."""
    return replace(candle(minute), is_closed=False)
