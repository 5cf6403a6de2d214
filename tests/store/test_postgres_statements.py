"""The plans of the statements on a large table, which has statistics."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg

from pulse.store.postgres import PostgresStore
from pulse.store.postgres_statements import DELETE_HOURS, READ_INTERVALS, ROLL_UP
from tests.support.candles import SQL_DIR, minute_candle

MANY_MINUTES = """
INSERT INTO pulse.candles SELECT 'us', symbol, timestamptz '2024-01-01 00:00+00' + minute * interval '1 minute',
    1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, 'exchange', true
FROM unnest(ARRAY['BTCUSDT', 'ETHUSDT']) AS symbol, generate_series(0, 100000) AS minute
"""


async def test_a_large_table_is_not_scanned(postgres_url: str) -> None:
    """With statistics the planner still uses the index of the minutes to roll up, delete or read a few hours."""
    store = PostgresStore(postgres_url, "us", SQL_DIR)
    await store.open()
    await store.write_candles([minute_candle()])
    await store.aclose()
    hour = datetime(2024, 2, 1, tzinfo=UTC)
    touched, hours = (["us"] * 10, ["BTCUSDT"] * 10, [hour] * 10), ("us", hour, 10)
    shown = ("us", "BTCUSDT", hour, hour + timedelta(hours=9))
    with closing(psycopg.connect(postgres_url, autocommit=True)) as own:
        own.execute(MANY_MINUTES)
        own.execute("ANALYZE")
        read_and_written = [(ROLL_UP, touched), (DELETE_HOURS, hours), (READ_INTERVALS["5m"], shown)]
        plans = [own.execute(f"EXPLAIN {text}".encode(), values).fetchall() for text, values in read_and_written]

    assert [line for plan in plans for (line,) in plan if "Seq Scan on candles " in line] == []
