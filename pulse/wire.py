"""The wire format: views as JSON, the names of bus channels, and candles and gaps as rows of the API. No I/O."""

import re
from typing import Any, NamedTuple, TypeAlias

import orjson

from pulse.market.intervals import AggregatedCandle, Interval, iso_time, missing_minutes
from pulse.market.liquidity import LiquidityView
from pulse.market.types import TradeGap
from pulse.market.view import TradesView, View

AnyView: TypeAlias = View | TradesView | LiquidityView
"""What travels over the bus."""
BOOK, TRADES, LIQUIDITY, REPORT = "book:", "trades:", "liquidity:", "report:"
STAMP = re.compile(rb'\{"seq":([0-9]{1,18}),"instance":"([0-9a-f]{1,32})",(?:"token":([0-9]{1,18}),)?')
"""How every encoded view begins: it can be judged without decoding it. Those of earlier versions have no token."""


def book_channel(symbol: str) -> str:
    """Return the bus channel of a symbol's views."""
    return BOOK + symbol


def trades_channel(symbol: str) -> str:
    """Return the bus channel of a symbol's newest trades."""
    return TRADES + symbol


def liquidity_channel(symbol: str) -> str:
    """Return the bus channel of what is watched of a symbol's book: its ladders and the costs of sums."""
    return LIQUIDITY + symbol


def channels_of(symbol: str) -> tuple[str, str, str]:
    """Return the bus channels of a symbol that carry views."""
    return book_channel(symbol), trades_channel(symbol), liquidity_channel(symbol)


def report_channel(symbol: str) -> str:
    """Return the bus channel of what a symbol's owner reports to those that follow it."""
    return REPORT + symbol


def bus_prefix(namespace: str, venue: str, source: str) -> str:
    """Return what every name of one source on a shared server begins with.

    Processes hear one another only under the same prefix, so only where namespace, venue and source are all the same.
    """
    return f"{namespace}:{venue}:{source}:"


def encode_view(view: AnyView) -> bytes:
    """Encode a view as JSON; it begins with what `read_stamp` reads without decoding it."""
    return orjson.dumps(view)


class Stamp(NamedTuple):
    """Which view an encoded view is: its number, the instance that made it, the token under which it was published."""

    seq: int
    instance: str
    token: int


def read_stamp(payload: bytes) -> Stamp:
    """Return the stamp of an encoded view without decoding the rest.

    Raises ValueError for a payload that does not begin as an encoded view does.
    """
    match = STAMP.match(payload)
    if match is None:
        raise ValueError(f'expected a view that begins with {{"seq":...,"instance":"...", got {payload[:40]!r}')
    return Stamp(int(match[1]), match[2].decode(), int(match[3] or 0))


CANDLE_FIELDS = (
    "symbol", "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "source", "reconciled", "is_closed", "missing_minutes",
)  # fmt: skip
"""The columns of a row of GET /api/ohlcv, in their order."""


def candle_row(bar: AggregatedCandle, interval: Interval, running_ms: int) -> dict[str, Any]:
    """Return one row of GET /api/ohlcv, while the running minute opens at `running_ms`.

    `timestamp` is the interval's open, ISO 8601, UTC; an unknown trade id is null.
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
    """Return one row of GET /api/gaps; times are ISO 8601, UTC: of the trades around the gap, and of giving it up."""
    return {
        "symbol": gap.symbol,
        "first_trade_id": gap.first_trade_id,
        "last_trade_id": gap.last_trade_id,
        "from": iso_time(gap.from_ms),
        "to": iso_time(gap.to_ms),
        "noted": iso_time(gap.noted_ms),
    }
