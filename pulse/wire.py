"""Our spelling: views into the JSON that a client reads, and bars into the rows of the API. No I/O."""

from typing import Any

import orjson

from pulse.market.intervals import AggregatedCandle, Interval, iso_time, missing_minutes
from pulse.market.types import TradeGap
from pulse.market.view import TradesView, View

BOOK, TRADES = "book:", "trades:"


def book_topic(symbol: str) -> str:
    """The name under which a symbol's views travel."""
    return BOOK + symbol


def trades_topic(symbol: str) -> str:
    """The name under which a symbol's newest trades travel."""
    return TRADES + symbol


def topics_of(symbol: str) -> tuple[str, str]:
    """All names under which something of a symbol travels."""
    return book_topic(symbol), trades_topic(symbol)


def encode_view(view: View | TradesView) -> bytes:
    """What travels as JSON; it begins with `seq` and `instance`, so that both can be read without decoding it."""
    return orjson.dumps(view)


CANDLE_FIELDS = (
    "symbol", "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "source", "reconciled", "is_closed", "missing_minutes",
)  # fmt: skip
"""What a row of GET /api/ohlcv holds, in its order."""


def candle_row(bar: AggregatedCandle, interval: Interval, running_ms: int) -> dict[str, Any]:
    """One row of GET /api/ohlcv, while the running minute opens at `running_ms`.

    `timestamp` is the interval's open, ISO 8601, UTC; a trade id that is not known is null.
    """
    candle = bar.candle
    return {
        "symbol": candle.symbol,
        "timestamp": iso_time(candle.open_time_ms),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "quote_volume": candle.quote_volume,
        "trade_count": candle.trade_count,
        "taker_buy_volume": candle.taker_buy_volume,
        "taker_buy_quote_volume": candle.taker_buy_quote_volume,
        "first_trade_id": candle.first_trade_id if candle.first_trade_id >= 0 else None,
        "last_trade_id": candle.last_trade_id if candle.last_trade_id >= 0 else None,
        "source": candle.source,
        "reconciled": candle.reconciled,
        "is_closed": interval.after(candle.open_time_ms) <= running_ms,
        "missing_minutes": missing_minutes(bar, interval, running_ms),
    }


def gap_row(gap: TradeGap) -> dict[str, Any]:
    """One row of GET /api/gaps. Its times are ISO 8601, UTC: of the trades around the hole, and of giving it up."""
    return {
        "symbol": gap.symbol,
        "first_trade_id": gap.first_trade_id,
        "last_trade_id": gap.last_trade_id,
        "from": iso_time(gap.from_ms),
        "to": iso_time(gap.to_ms),
        "noted": iso_time(gap.noted_ms),
    }
