"""The SQL that aggregates candles of every interval, for both engines, and keyset paging over the result.

Minutes are rolled up into hours as they are written, in the same transaction; intervals of an hour or more are
aggregated from those, shorter ones from minutes. Prices come only from candles with trades, because a minute without
any is flat at the previous close; an interval without any is flat as well.

Sums are exactly those of the printed decimals: SQL adds whole parts and hundred-millionths apart, both of which doubles
hold exactly, and Python joins them. Hours keep both, because an hour's own double may not resolve its sum. An hour that
an earlier version of this program wrote has none, or those of an earlier roll-up: they count only where they join to
the hour's double.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pulse.concurrency import map_in_chunks
from pulse.market.candles import SCALE
from pulse.market.intervals import HOUR, HOUR_MS, TIME_MAX_MS, AggregatedCandle, Interval
from pulse.store.schema import FIELDS, candle_from_row

COLUMNS = ("venue", "symbol", "open_time", *FIELDS[1:])
"""The columns of the table of minutes."""
SUMMED = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
SUM_PARTS = tuple(f"{name}_{part}" for name in SUMMED for part in ("whole", "rest"))
"""The whole part of each sum, and its hundred-millionths."""
HOUR_COLUMNS = (*COLUMNS, "minutes", "last_minute", *SUM_PARTS)
RESOLVED_MAX = str(2**26)
"""Below it a double resolves a hundred-millionth: two neighbours are closer than that."""
WHOLE_UNITS_MAX = "9e7"
"""Below it a double holds a number of hundred-millionths."""
PLACES = {f"1e{digits}": f"1e{15 - digits}" for digits in range(8, 15)}
"""By upper bound of a number, 10 to the power of the decimal places that its fifteen digits leave; 1 beyond."""
SUM_INDEXES = tuple(FIELDS.index(name) for name in SUMMED)
FLOAT_MAX = 1.7976931348623157e308

FetchIntervals = Callable[[int, int], Awaitable[Sequence[Sequence[Any]]]]
"""Returns the rows of the interval candles whose minutes open in [from_ms, to_ms], oldest first."""
FindMinute = Callable[[int, int], Awaitable[int | None]]
"""Returns the open time of the first minute in [from_ms, to_ms], or when paging backwards of the last one."""


def reads_hours(interval: Interval) -> bool:
    """Return whether the candles of an interval are aggregated from hours."""
    return not interval.length_ms or interval.length_ms >= HOUR_MS


def aggregate_statement(span: str, source: str, table: str, *, from_hours: bool, time: str = "{}") -> str:
    """Return the statement that aggregates candles; its columns are HOUR_COLUMNS.

    `span` is the expression for the open time of the span that a row belongs to; `source` is what follows FROM, with
    its WHERE; `table` is where the first and the last candle of a span are looked up; `time` formats a selected time.
    """
    minutes, last_minute = ("minutes", "last_minute") if from_hours else ("1", "candles.open_time")
    sums = "".join(
        f"\n        sum({part}) AS {name}_{kind},"
        for name in SUMMED
        for kind, part in zip(("whole", "rest"), _parts(name, from_hours=from_hours), strict=True)
    )
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
        {_lookup(table, "open", "coalesce(first_traded, newest)")},
        {_lookup(table, "close", "newest")},
        {_lookup(table, "first_trade_id", "coalesce(first_traded, newest)")},
        {_lookup(table, "last_trade_id", "coalesce(last_traded, newest)")}
    FROM spans
)
SELECT venue, symbol, {time.format("span")}, open, coalesce(high, close), coalesce(low, close), close,
    {_joined("volume")}, {_joined("quote_volume")}, trade_count, {_joined("taker_buy_volume")},
    {_joined("taker_buy_quote_volume")}, first_trade_id, last_trade_id, source, reconciled, minutes,
    {time.format("last_minute")}, {", ".join(SUM_PARTS)}
FROM priced"""


def _lookup(table: str, column: str, when: str) -> str:
    """Return the subquery for this column of the candle that opens at this time."""
    return f"""(SELECT at.{column} FROM {table} AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = {when}) AS {column}"""


def _parts(column: str, *, from_hours: bool) -> tuple[str, str]:
    """Return the expressions of the whole part of a row's number and of its hundred-millionths, both whole numbers."""
    whole, rest = f"round({column})", _rest(column)
    if not from_hours:
        return whole, rest
    has_parts = f"{_joined(column)} = {column}"
    return (
        f"CASE WHEN {has_parts} THEN {column}_whole ELSE {whole} END",
        f"CASE WHEN {has_parts} THEN {column}_rest ELSE {rest} END",
    )


def _rest(column: str) -> str:
    """Return the expression of the hundred-millionths of a double, as they were printed.

    Beyond what a double resolves they are those of its first fifteen or sixteen digits that read back as the same
    double, which are the printed ones.
    """
    fraction = f"({column} - round({column}))"
    places = "CASE " + " ".join(f"WHEN {column} < {bound} THEN {power}" for bound, power in PLACES.items())
    shown = [f"({places} ELSE 1e0 END)", f"({places} ELSE 1e0 END * 1e1)"]
    choices = " ".join(
        f"WHEN round({column}) + round({fraction} * {power}) / {power} = {column}"
        f" THEN round(round({fraction} * {power}) * (1e8 / {power}))"
        for power in shown
    )
    return f"""CASE WHEN {column} < {RESOLVED_MAX} THEN round({fraction} * 1e8)
            {choices} ELSE round({fraction} * 1e8) END"""


def _joined(column: str) -> str:
    """Return the expression of the double nearest to a sum in parts; off by a unit in the last place in rare cases."""
    whole, rest = f"{column}_whole", f"{column}_rest"
    return f"CASE WHEN {whole} < {WHOLE_UNITS_MAX} THEN ({whole} * 1e8 + {rest}) / 1e8 ELSE {whole} + {rest} / 1e8 END"


def roll_up_statement(minutes: str, hours: str, span: str, source: str) -> str:
    """Return the statement that upserts hours from the minutes of `source`; see `aggregate_statement`."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in HOUR_COLUMNS[3:])
    return f"""
INSERT INTO {hours} ({", ".join(HOUR_COLUMNS)})
SELECT * FROM ({aggregate_statement(span, source, minutes, from_hours=False)}) AS rolled_up WHERE true
ON CONFLICT (venue, symbol, open_time) DO UPDATE SET {updates}
"""


def touched_hours(rows: Sequence[Sequence[Any]]) -> list[tuple[str, str, int]]:
    """Return venue, symbol and open time of each hour that rows of minutes belong to, ordered by the primary key."""
    return sorted({(venue, symbol, HOUR.floor(open_time_ms)) for venue, symbol, open_time_ms, *_ in rows})


def aggregate_from_row(row: Sequence[Any]) -> AggregatedCandle:
    """Return the interval candle of a row of HOUR_COLUMNS, with times in ms."""
    _, symbol, *values = row[: -len(SUM_PARTS)]
    minutes, last_minute_ms = values[-2:]
    parts = row[-len(SUM_PARTS) :]
    sums = (
        _exact(parts[0], parts[1]), _exact(parts[2], parts[3]), _exact(parts[4], parts[5]), _exact(parts[6], parts[7])
    )  # fmt: skip
    for at, total in zip(SUM_INDEXES, sums, strict=True):
        values[at] = total / SCALE
    return AggregatedCandle(candle_from_row(symbol, values[:-2]), minutes, last_minute_ms, sums)


def _exact(whole: float, rest: float) -> int:
    """Return a sum in units of 1e-8; one beyond any double as the largest."""
    return int(min(whole, FLOAT_MAX)) * SCALE + int(rest)


async def read_page(
    interval: Interval, start_ms: int | None, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """Return the first `limit` candles that open in [start_ms, end_ms], or without a start the last; oldest first.

    Without a start `find` must return the last minute of its range.
    """
    if start_ms is None:
        return await _read_backwards(interval, end_ms, limit, find, fetch)
    return await _read_forwards(interval, start_ms, end_ms, limit, find, fetch)


async def _read_forwards(
    interval: Interval, start_ms: int, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """Return the first `limit` candles that open in [start_ms, end_ms], oldest first.

    Each fetch is bounded by `limit` intervals, and begins at the next stored minute, so that a hole costs one lookup.
    """
    candles: list[AggregatedCandle] = []
    at_ms, to_ms = interval.ceil(start_ms), _last_ms(interval, end_ms)
    while len(candles) < limit and (found_ms := await find(at_ms, to_ms)) is not None:
        from_ms = interval.floor(found_ms)
        at_ms = max(interval.after(from_ms, limit - len(candles)), found_ms + 1)
        candles += await map_in_chunks(aggregate_from_row, await fetch(from_ms, min(at_ms - 1, to_ms)))
    return candles


async def _read_backwards(
    interval: Interval, end_ms: int | None, limit: int, find: FindMinute, fetch: FetchIntervals
) -> list[AggregatedCandle]:
    """Return the last `limit` candles that open up to `end_ms`, oldest first."""
    candles: list[AggregatedCandle] = []
    to_ms = _last_ms(interval, end_ms)
    while len(candles) < limit and to_ms >= 0 and (found_ms := await find(0, to_ms)) is not None:
        from_ms = interval.after(interval.floor(found_ms), len(candles) - limit + 1)
        candles[:0] = await map_in_chunks(aggregate_from_row, await fetch(from_ms, to_ms))
        to_ms = min(from_ms, found_ms) - 1
    return candles


def _last_ms(interval: Interval, end_ms: int | None) -> int:
    """Return the last ms of the interval that contains `end_ms`; -1 before 1970."""
    if end_ms is None or end_ms >= TIME_MAX_MS:
        return TIME_MAX_MS
    return interval.after(interval.floor(end_ms)) - 1 if end_ms >= 0 else -1
