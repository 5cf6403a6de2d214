"""The SQL of the PostgreSQL store, as constants; each says what a reader of it could not see. Nothing here runs it."""

from pulse.market.intervals import INTERVALS, Interval
from pulse.store.aggregation import aggregate_statement, reads_hours, roll_up_statement
from pulse.store.schema import COVERAGE_DAYS, ON_CONFLICT

UPSERT = f"""
INSERT INTO pulse.candles AS kept (
    venue, symbol, open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
) SELECT * FROM unnest(
    %s::text[], %s::text[], %s::timestamptz[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[],
    %s::float8[], %s::bigint[], %s::float8[], %s::float8[], %s::bigint[], %s::bigint[], %s::text[], %s::boolean[]
)
{ON_CONFLICT}"""
TAKE_WRITE_LOCK = "SELECT pg_advisory_xact_lock(%s), set_config('idle_in_transaction_session_timeout', '5s', true)"
"""Held while minutes are written, so that each hour is rolled up from all its minutes, whichever process wrote them. A
process that stops in the middle of a transaction loses it after the timeout."""
RAISE_FENCES = """
INSERT INTO pulse.fences AS kept (venue, symbol, token)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])
ON CONFLICT (venue, symbol) DO UPDATE SET token = excluded.token WHERE kept.token < excluded.token
"""
READ_FENCES = "SELECT symbol, token FROM pulse.fences WHERE venue = %s AND symbol = ANY(%s)"
MINUTES_OF_HOUR = """LATERAL (
    SELECT *, ctid FROM pulse.candles WHERE venue = hours.venue AND symbol = hours.symbol
        AND open_time >= hour AND open_time < hour + interval '1 hour' OFFSET 0
)"""
"""OFFSET 0 makes the planner use the index hour by hour; with statistics it would prefer to scan the whole table."""
ROLL_UP = roll_up_statement(
    "pulse.candles", "pulse.candles_1h", "hour",
    "unnest(%s::text[], %s::text[], %s::timestamptz[]) AS hours (venue, symbol, hour)"
    f" CROSS JOIN {MINUTES_OF_HOUR} AS candles",
)  # fmt: skip
READ_FIRST = """
SELECT (extract(epoch FROM open_time) * 1000)::bigint, open, high, low, close, volume, quote_volume, trade_count,
    taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
FROM pulse.candles WHERE venue = %s AND symbol = %s AND open_time BETWEEN %s AND %s ORDER BY open_time LIMIT %s
"""
READ_LAST = """
SELECT (extract(epoch FROM open_time) * 1000)::bigint, open, high, low, close, volume, quote_volume, trade_count,
    taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
FROM pulse.candles WHERE venue = %s AND symbol = %s AND open_time BETWEEN %s AND %s ORDER BY open_time DESC LIMIT %s
"""
FIND_FIRST = """
SELECT (extract(epoch FROM open_time) * 1000)::bigint FROM pulse.candles
WHERE venue = %s AND symbol = %s AND open_time BETWEEN %s AND %s ORDER BY open_time LIMIT 1
"""
FIND_LAST = FIND_FIRST.replace("LIMIT", "DESC LIMIT")
WRITE_GAPS = """
INSERT INTO pulse.trade_gaps (venue, symbol, first_trade_id, last_trade_id, from_time, to_time, noted_at)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]
) ON CONFLICT DO NOTHING
"""
READ_GAPS = """
SELECT symbol, first_trade_id, last_trade_id, (extract(epoch FROM from_time) * 1000)::bigint,
    (extract(epoch FROM to_time) * 1000)::bigint, (extract(epoch FROM noted_at) * 1000)::bigint
FROM pulse.trade_gaps WHERE venue = %s AND symbol = %s AND to_time >= %s AND from_time <= %s
ORDER BY first_trade_id, last_trade_id LIMIT %s
"""
WRITE_COVERAGE = """
INSERT INTO pulse.coverage (venue, symbol, day, since, until, holes)
SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::text[])
ON CONFLICT (venue, symbol, day) DO UPDATE
SET since = excluded.since, until = excluded.until, holes = excluded.holes
"""
READ_COVERAGE = """
SELECT (extract(epoch FROM day) * 1000)::bigint, (extract(epoch FROM since) * 1000)::bigint,
    (extract(epoch FROM until) * 1000)::bigint, holes
FROM pulse.coverage WHERE venue = %s AND symbol = %s AND day BETWEEN %s AND %s ORDER BY day
"""
DELETE_COVERAGE = "DELETE FROM pulse.coverage WHERE venue = %s AND day < %s"
DELETE_SURPLUS_COVERAGE = f"""
DELETE FROM pulse.coverage AS old WHERE venue = %s AND symbol = ANY(%s) AND day <= (
    SELECT day FROM pulse.coverage AS kept WHERE kept.venue = old.venue AND kept.symbol = old.symbol
    ORDER BY day DESC LIMIT 1 OFFSET {COVERAGE_DAYS}
)
"""
STORED_HOURS = """
SELECT (extract(epoch FROM min(open_time)) * 1000)::bigint, (extract(epoch FROM max(open_time)) * 1000)::bigint
FROM pulse.candles_1h WHERE venue = %s
"""
DELETE_HOURS = f"""
WITH hours AS (
    DELETE FROM pulse.candles_1h WHERE (venue, symbol, open_time) IN (
        SELECT venue, symbol, open_time FROM pulse.candles_1h WHERE venue = %s AND open_time < %s
        ORDER BY open_time LIMIT %s
    ) RETURNING venue, symbol, open_time AS hour
), minutes AS (
    DELETE FROM pulse.candles WHERE ctid = ANY (ARRAY (SELECT ctid FROM hours CROSS JOIN {MINUTES_OF_HOUR} AS minutes))
)
SELECT count(*) FROM hours
"""
NEWEST_OF_VENUES = """
SELECT venue, (extract(epoch FROM max(newest)) * 1000)::bigint FROM (
    SELECT venue, open_time AS newest FROM pulse.candles_1h UNION ALL SELECT venue, to_time FROM pulse.trade_gaps
    UNION ALL SELECT venue, until FROM pulse.coverage
) AS times GROUP BY venue
"""
"""Of minutes no venue is missing: each is rolled up into its hour as it is written."""
DELETE_GAPS = "DELETE FROM pulse.trade_gaps WHERE venue = %s AND to_time < %s"
IS_READ_ONLY = "SELECT current_setting('transaction_read_only')::boolean"
CREATE_SCHEMA_VERSION = """
CREATE TABLE IF NOT EXISTS pulse.schema_version (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def _intervals_statement(interval: Interval) -> str:
    """Return the statement that reads the candles of an interval, from hours or from minutes."""
    table = "pulse.candles_1h" if reads_hours(interval) else "pulse.candles"
    span = f"date_bin('{interval.length_ms} milliseconds', candles.open_time, timestamptz '1970-01-05 00:00:00+00')"
    if not interval.length_ms:
        span = "date_trunc('month', candles.open_time, 'UTC')"
    source = f"{table} AS candles WHERE venue = %s AND symbol = %s AND open_time BETWEEN %s AND %s"
    time = "(extract(epoch FROM {}) * 1000)::bigint"
    return aggregate_statement(span, source, table, from_hours=reads_hours(interval), time=time) + " ORDER BY span"


READ_INTERVALS = {name: _intervals_statement(interval) for name, interval in INTERVALS.items()}
