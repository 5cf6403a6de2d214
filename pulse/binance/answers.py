"""Parsing of Binance's REST answers: decoded JSON in, market values out. No I/O, and no state between answers.

Checked as strictly as the streams' messages are. Whether the values can be true is up to `market.answer_plausibility`.
"""

from typing import Any, NamedTuple

from pulse.binance.messages import (
    read_agg_trade,
    read_id,
    read_levels,
    read_price,
    read_quantity,
    read_time,
    shown,
)
from pulse.errors import MalformedFrame
from pulse.market.symbol_names import is_symbol_name
from pulse.market.types import Candle, DayTicker, DepthSnapshot, Instrument, Trade

SYMBOLS_MAX = 20_000
"""Names that are read from a list, several times as many as any exchange lists; the rest is ignored."""


def parse_names(rows: list[Any]) -> list[str]:
    """Return the symbols of a list of prices, in its order; anything that is not a symbol's name is ignored."""
    names = (row.get("symbol") for row in rows[:SYMBOLS_MAX] if isinstance(row, dict))
    return [name for name in names if isinstance(name, str) and is_symbol_name(name)]


def parse_snapshot(body: dict[str, Any], limit: int) -> DepthSnapshot:
    """Parse the answer of GET /api/v3/depth; `limit` is that of the request, 0 if unknown. Raises MalformedFrame."""
    snapshot = DepthSnapshot(
        last_update_id=read_id(body.get("lastUpdateId")),
        bids=read_levels(body.get("bids")),
        asks=read_levels(body.get("asks")),
        limit=limit,
    )
    for levels in (snapshot.bids, snapshot.asks):
        if len(set(levels.prices)) != len(levels.prices):
            raise MalformedFrame("expected each price once in a snapshot")
    return snapshot


def parse_kline_row(symbol: str, row: Any, now_ms: float) -> Candle:
    """Parse one row of GET /api/v3/klines; it is closed when its close time has passed. Raises MalformedFrame."""
    if not isinstance(row, list) or len(row) < 11:
        raise MalformedFrame("expected a kline row of at least 11 columns")
    return Candle(
        symbol=symbol,
        open_time_ms=read_time(row[0]),
        open=read_price(row[1]),
        high=read_price(row[2]),
        low=read_price(row[3]),
        close=read_price(row[4]),
        volume=read_quantity(row[5]),
        quote_volume=read_quantity(row[7]),
        trade_count=read_id(row[8]),
        taker_buy_volume=read_quantity(row[9]),
        taker_buy_quote_volume=read_quantity(row[10]),
        first_trade_id=-1,
        last_trade_id=-1,
        is_closed=read_time(row[6]) < now_ms,
        source="exchange",
        reconciled=True,
    )


def parse_agg_trade_row(row: Any) -> Trade:
    """Parse one row of GET /api/v3/aggTrades, which carries no event time. Raises MalformedFrame."""
    if not isinstance(row, dict):
        raise MalformedFrame("expected an aggregate trade as an object")
    return read_agg_trade(row | {"E": row.get("T")})


def parse_day_ticker(row: Any) -> DayTicker:
    """Parse one row of GET /api/v3/ticker/24hr; prices are 0 where nothing was traded. Raises MalformedFrame."""
    if not isinstance(row, dict):
        raise MalformedFrame("expected a ticker as an object")
    symbol = row.get("symbol")
    if not isinstance(symbol, str) or not is_symbol_name(symbol):
        raise MalformedFrame(f"expected a symbol's name, got {shown(symbol)}")
    return DayTicker(
        symbol=symbol,
        open=read_quantity(row.get("openPrice")),
        high=read_quantity(row.get("highPrice")),
        low=read_quantity(row.get("lowPrice")),
        last=read_quantity(row.get("lastPrice")),
        volume=read_quantity(row.get("volume")),
        quote_volume=read_quantity(row.get("quoteVolume")),
        close_time_ms=read_time(row.get("closeTime")),
        trade_count=read_id(row.get("count")),
    )


class InstrumentRows(NamedTuple):
    """The instruments of an answer by symbol, and the symbols whose rows are malformed, each with its fault."""

    found: dict[str, Instrument]
    malformed: dict[str, str]


def parse_instruments(body: dict[str, Any]) -> InstrumentRows:
    """Parse GET /api/v3/exchangeInfo. A malformed row is its own symbol's matter. Raises MalformedFrame without a list.

    Rows that name no symbol are ignored.
    """
    rows = body.get("symbols")
    if not isinstance(rows, list):
        raise MalformedFrame("expected a list under `symbols`")
    found, malformed = {}, {}
    for row in rows:
        symbol = row.get("symbol") if isinstance(row, dict) else None
        if not isinstance(symbol, str):
            continue
        try:
            found[symbol] = _instrument(row)
        except MalformedFrame as fault:
            malformed[symbol] = str(fault)
    return InstrumentRows(found, malformed)


def parse_weight_limit(body: dict[str, Any]) -> int | None:
    """Return the request weight per minute of exchangeInfo, None where it states none. Raises MalformedFrame."""
    limits = body.get("rateLimits")
    for limit in limits if isinstance(limits, list) else []:
        if not isinstance(limit, dict) or limit.get("rateLimitType") != "REQUEST_WEIGHT":
            continue
        if limit.get("interval") == "MINUTE":
            return read_id(limit.get("limit")) // max(1, read_id(limit.get("intervalNum", 1)))
    return None


def _instrument(row: dict[str, Any]) -> Instrument:
    tick = _filter(row, "PRICE_FILTER").get("tickSize", "0")
    lot = _filter(row, "LOT_SIZE").get("stepSize", "0")
    return Instrument(
        symbol=row["symbol"],
        base_asset=_text(row.get("baseAsset", "")),
        quote_asset=_text(row.get("quoteAsset", "")),
        status=_text(row.get("status", "")),
        tick_size=read_quantity(tick),
        lot_size=read_quantity(lot),
        price_decimals=_decimals(tick),
        quantity_decimals=_decimals(lot),
    )


def _filter(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a symbol's filter of this type; empty where it has none, because every filter is optional."""
    filters = row.get("filters")
    rows = filters if isinstance(filters, list) else []
    return next((f for f in rows if isinstance(f, dict) and f.get("filterType") == name), {})


def _decimals(step: str) -> int:
    """Return how many decimals a multiple of this step needs; 8, the exchange's finest, where it sets no step."""
    if not float(step):
        return 8
    return len(step.rstrip("0").partition(".")[2])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedFrame(f"expected a string, got {shown(value)}")
    return value
