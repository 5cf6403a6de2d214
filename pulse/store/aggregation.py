"""How the candles of every interval are put together, as SQL that both engines read, and how a page of them is found.

Minutes are rolled up into hours as they are written, in the same transaction; intervals of an hour or more are put
together from those, shorter ones from minutes. Prices come from candles with trades alone, because a minute without
any is flat at the previous close; an interval without any is flat as well.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pulse.concurrency import map_in_chunks
from pulse.market.intervals import HOUR, HOUR_MS, TIME_MAX_MS, AggregatedCandle, Interval
from pulse.store.schema import VALUES, candle_of

COLUMNS = ("venue", "symbol", "open_time", *VALUES[1:])
"""The columns of the table of minutes."""
SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
HOUR_COLUMNS = (*COLUMNS, "minutes", "last_minute")

FetchIntervals = Callable[[int, int], Awaitable[Sequence[Sequence[Any]]]]
"""Gives the rows of the bars whose minutes open in [from_ms, to_ms], oldest first."""
FindMinute = Callable[[int, int], Awaitable[int | None]]
"""Gives the open time of the first, or going back the last, minute in [from_ms, to_ms]."""


def is_of_hours(interval: Interval) -> bool:
    """Whether an interval's bars are put together from hours."""
    return not interval.length_ms or interval.length_ms >= HOUR_MS


def aggregate_statement(span: str, source: str, table: str, *, of_hours: bool, time: str = "{}") -> str:
    """The statement that puts candles together; its columns are HOUR_COLUMNS.

    `span` is the expression for the first moment of the span that a row belongs to; `source` is what follows FROM,
    with its WHERE; `table` is where single candles are looked up; `time` formats a time on its way out.
    """
    minutes, last_minute = ("minutes", "last_minute") if of_hours else ("1", "candles.open_time")
    sums = "".join(f"\n        {_exact_sum(name)} AS {name}," for name in SUMS)
    return f"""
WITH spans AS (
    SELECT candles.venue, candles.symbol, {span} AS span, max(candles.open_time) AS newest,
        min(candles.open_time) FILTER (WHERE trade_count > 0) AS first_traded,
        max(candles.open_time) FILTER (WHERE trade_count > 0) AS last_traded,
        max(high) FILTER (WHERE trade_count > 0) AS high, min(low) FILTER (WHERE trade_count > 0) AS low,{sums}
        CAST(sum(trade_count) AS bigint) AS trade_count,
        CASE WHEN min(source) = max(source) THEN min(source) ELSE 'mixed' END AS source,
        min(CASE WHEN reconciled THEN 1 ELSE 0 END) = 1 AS reconciled,
        CAST(sum({minutes}) AS bigint) AS minutes, max({last_minute}) AS last_minute
    FROM {source}
    GROUP BY 1, 2, 3
), priced AS (
    SELECT *,
        {_looked_up(table, "open", "coalesce(first_traded, newest)")},
        {_looked_up(table, "close", "newest")},
        {_looked_up(table, "first_trade_id", "coalesce(first_traded, newest)")},
        {_looked_up(table, "last_trade_id", "coalesce(last_traded, newest)")}
    FROM spans
)
SELECT venue, symbol, {time.format("span")}, open, coalesce(high, close), coalesce(low, close), close, volume,
    quote_volume, trade_count, taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, source,
    reconciled, minutes, {time.format("last_minute")}
FROM priced"""


def _looked_up(table: str, column: str, when: str) -> str:
    """What the candle of that moment has in this column."""
    return f"""(SELECT at.{column} FROM {table} AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = {when}) AS {column}"""


def _exact_sum(column: str) -> str:
    """The sum of decimals of at most eight places, without the errors that adding doubles would leave in it.

    Whole parts and hundred-millionths are added apart, both integers, which doubles hold exactly; below 9e7 one
    division gives the double nearest to their sum. Beyond it no double can tell a hundred-millionth.
    """
    whole, rest = f"sum(round({column}))", f"sum(round(({column} - round({column})) * 1e8))"
    return f"""CASE WHEN {whole} < 9e7
            THEN ({whole} * 1e8 + {rest}) / 1e8
            ELSE {whole} + {rest} / 1e8 END"""


def roll_up(minutes: str, hours: str, span: str, source: str) -> str:
    """The statement that writes hours anew from the minutes of `source`; see `aggregate_statement`."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in HOUR_COLUMNS[3:])
    return f"""
INSERT INTO {hours} ({", ".join(HOUR_COLUMNS)})
SELECT * FROM ({aggregate_statement(span, source, minutes, of_hours=False)}) AS rolled_up WHERE true
ON CONFLICT (venue, symbol, open_time) DO UPDATE SET {updates}
"""


def touched_hours(rows: Sequence[Sequence[Any]]) -> list[tuple[str, str, int]]:
    """The venue, symbol and first ms of each hour that rows of minutes belong to, in the order of the primary key."""
    return sorted({(venue, symbol, HOUR.floor(open_time_ms)) for venue, symbol, open_time_ms, *_ in rows})


def candle_of_interval_row(row: Sequence[Any]) -> AggregatedCandle:
    """The bar of a row that holds HOUR_COLUMNS with times in ms."""
    _, symbol, *values, minutes, last_minute_ms = row
    return AggregatedCandle(candle_of(symbol, values), minutes, last_minute_ms)


async def find_candles(
    interval: Interval, start_ms: int | None, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """The first `limit` bars that open in [start_ms, end_ms], or without a start the last; oldest first.

    `find` goes back where there is no start.
    """
    if start_ms is None:
        return await _last_bars(interval, end_ms, limit, find, fetch)
    return await _first_bars(interval, start_ms, end_ms, limit, find, fetch)


async def _first_bars(
    interval: Interval, start_ms: int, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """The first `limit` bars that open in [start_ms, end_ms], oldest first.

    What is read is bounded by `limit` intervals at a time, and holes in the record are leapt over.
    """
    bars: list[AggregatedCandle] = []
    at_ms, to_ms = interval.ceil(start_ms), _last_ms(interval, end_ms)
    while len(bars) < limit and (found_ms := await find(at_ms, to_ms)) is not None:
        from_ms = interval.floor(found_ms)
        at_ms = max(interval.after(from_ms, limit - len(bars)), found_ms + 1)
        bars += await map_in_chunks(candle_of_interval_row, await fetch(from_ms, min(at_ms - 1, to_ms)))
    return bars


async def _last_bars(
    interval: Interval, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """The last `limit` bars that open up to `end_ms`, oldest first."""
    bars: list[AggregatedCandle] = []
    to_ms = _last_ms(interval, end_ms)
    while len(bars) < limit and to_ms >= 0 and (found_ms := await find(0, to_ms)) is not None:
        from_ms = interval.after(interval.floor(found_ms), len(bars) - limit + 1)
        bars[:0] = await map_in_chunks(candle_of_interval_row, await fetch(from_ms, to_ms))
        to_ms = min(from_ms, found_ms) - 1
    return bars


def _last_ms(interval: Interval, end_ms: int | None) -> int:
    """The last ms of the interval that holds `end_ms`."""
    if end_ms is None or end_ms >= TIME_MAX_MS:
        return TIME_MAX_MS
    return interval.after(interval.floor(end_ms)) - 1 if end_ms >= 0 else -1
