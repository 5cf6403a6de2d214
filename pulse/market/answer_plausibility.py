"""Whether the rows of a REST answer can be true: in the range that was asked for, in order, each of a possible shape.

A row of candles stands by itself, so one that fails is left out; trades are asked for by id or time and belong
together, so one that fails makes the answer worthless. Values against the market as it is are `plausibility`'s.
Pure: times are exchange times, in ms since the epoch.
"""

from collections.abc import Iterable, Sequence

from pulse.market.plausibility import refuse_candle_shape
from pulse.market.types import Candle, DayTicker, Trade

DAY_MS = 86_400_000
QUOTE_VOLUME_ERROR = 0.01
"""Relative error of a day's quote volume against its prices: the edges of the window may be cut in another way."""


def refuse_day_ticker(ticker: DayTicker, date_ms: int, latest_ms: float) -> str:
    """Return why a day's prices and volumes cannot be true in an answer of this date, empty where they can.

    `latest_ms` is how late the answer can have been made.
    """
    if ticker.close_time_ms > latest_ms:
        return f"its day ends at {ticker.close_time_ms}, after the answer"
    if not was_traded(ticker, date_ms):
        return ""
    if not 0 < ticker.low <= min(ticker.open, ticker.last) <= max(ticker.open, ticker.last) <= ticker.high:
        return f"open {ticker.open} and last {ticker.last} are not between {ticker.low} and {ticker.high}"
    least, most = ticker.volume * ticker.low, ticker.volume * ticker.high
    if not least * (1 - QUOTE_VOLUME_ERROR) <= ticker.quote_volume <= most * (1 + QUOTE_VOLUME_ERROR):
        return f"quote volume {ticker.quote_volume} of {ticker.volume} is not at its prices"
    return ""


def was_traded(ticker: DayTicker, date_ms: int) -> bool:
    """Return whether a symbol was traded in the 24 hours before this date; its prices are older otherwise."""
    return ticker.trade_count > 0 and ticker.close_time_ms > date_ms - DAY_MS


def possible_candles(rows: Iterable[Candle], start_ms: int, end_ms: float) -> tuple[list[Candle], str]:
    """Return the candles that can be true, in order, and why the first other one cannot, empty if there is none."""
    found: list[Candle] = []
    reason = ""
    for row in rows:
        fault = refuse_candle_shape(row)
        if not start_ms <= row.open_time_ms <= end_ms:
            fault = fault or f"it opens at {row.open_time_ms}, outside of what was asked for"
        elif found and row.open_time_ms <= found[-1].open_time_ms:
            fault = fault or f"it opens at {row.open_time_ms}, not after the one before"
        reason = reason or fault
        if not fault:
            found.append(row)
    return found, reason


def refuse_trades(trades: Sequence[Trade], from_id: int, start_ms: int, end_ms: float) -> str:
    """Return why fetched trades cannot be true, empty where they can: ids from `from_id` on, times in [start, end]."""
    last: Trade | None = None
    for trade in trades:
        if trade.trade_id < from_id or (last is not None and not trade.is_after(last)):
            return f"id {trade.trade_id} is not in the order that was asked for"
        if last is not None and trade.first_trade_id <= last.last_trade_id:
            return f"trade {trade.trade_id} has ids inside that are of the one before"
        if not start_ms <= trade.time_ms <= end_ms:
            return f"trade {trade.trade_id} was traded at {trade.time_ms}, outside of what was asked for"
        last = trade
    return ""
