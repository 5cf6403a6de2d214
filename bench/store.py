"""The speed of the candle stores with a million rows: `python -m bench.store`, which prints a table.

It measures a SQLite file and a PostgreSQL server of its own, on this machine, over loopback, flushing to disk as a real
server does: bulk writes, a minute's upsert of ten symbols, and the query of 1,000 candles of each interval. Everything
it creates is removed.
"""

import argparse
import asyncio
import os
import platform
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import quantiles

import psycopg

from pulse.market.intervals import INTERVALS
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.contract import Store
from pulse.store.postgres import PostgresStore
from pulse.store.sqlite import SqliteStore
from tests.support.services import PostgresServer

SQL_DIR = Path(__file__).parent.parent / "sql"
SYMBOL, OTHERS = "BTCUSDT", tuple(f"COIN{number}USDT" for number in range(10))
NEWEST_MS = 1_723_161_600_000
BATCH, QUERY_LIMIT = 1000, 1000
QUERIES, UPSERTS = 100, 200


def minute(symbol: str, open_time_ms: int, rng: random.Random) -> Candle:
    """Return a minute like those of a busy symbol."""
    price, volume = 60_000 + rng.randint(-100_000, 100_000) / 100, rng.randint(1, 10**10) / 10**8
    return Candle(
        symbol, open_time_ms, price, price + 10, price - 10, price + 1, volume, round(volume * price, 8),
        rng.randint(1, 2000), volume / 2, round(volume * price / 2, 8), -1, -1, True, "exchange", True,
    )  # fmt: skip


def history(rows: int) -> Iterator[list[Candle]]:
    """Yield minutes of one symbol up to NEWEST_MS, a batch at a time."""
    rng = random.Random(1)
    for begin in range(0, rows, BATCH):
        times = range(begin, min(begin + BATCH, rows))
        yield [minute(SYMBOL, NEWEST_MS - (rows - number) * MINUTE_MS, rng) for number in times]


async def times_ms(calls: Iterable[Callable[[], Awaitable[object]]]) -> list[float]:
    """Return how long each call takes, one after the other."""
    taken = []
    for call in calls:
        begin_s = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begin_s) * 1000)
    return taken


def line(store: Store, what: str, taken: list[float], note: str = "") -> None:
    """Print one row of the table."""
    cuts = quantiles(taken, n=100, method="inclusive")
    print(f"| {store.kind} | {what} | {cuts[49]:.2f} | {cuts[98]:.2f} | {note} |", flush=True)


def analyse(url: str) -> None:
    """Update the planner's statistics, as the server itself does after a minute."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


async def measure(store: Store, rows: int, settle: Callable[[], None]) -> None:
    """Fill the store, let it settle, query it, write to it; print a row for each."""
    await store.open()
    begin_s = time.perf_counter()
    taken = await times_ms(partial(store.write_candles, batch) for batch in history(rows))
    rate = rows / (time.perf_counter() - begin_s)
    line(store, f"bulk write of {BATCH:,} minutes", taken, f"{rate:,.0f} rows/s over {rows:,} rows")
    settle()
    for name, interval in INTERVALS.items():
        query = partial(store.read_intervals, SYMBOL, interval, None, None, QUERY_LIMIT)
        found = await query()
        line(
            store,
            f"query of {QUERY_LIMIT:,} {name} candles",
            await times_ms([query] * QUERIES),
            f"{len(found):,} found",
        )
    rng = random.Random(2)
    batches = [[minute(symbol, NEWEST_MS + number * MINUTE_MS, rng) for symbol in OTHERS] for number in range(UPSERTS)]
    taken = await times_ms(partial(store.write_candles, batch) for batch in batches)
    line(store, f"a minute's upsert of {len(OTHERS)} symbols", taken)
    await store.aclose()


async def run(rows: int) -> None:
    """Measure both stores, one after the other."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {rows:,} rows\n")
    print("| store | what | p50 ms | p99 ms | |\n| --- | --- | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        path = Path(folder) / "candles.sqlite3"
        await measure(SqliteStore(path, "us", SQL_DIR), rows, lambda: None)
        print(f"| sqlite | size of the file | | | {path.stat().st_size / rows:.0f} bytes a row |")
    server = PostgresServer(is_durable=True)
    try:
        server.start()
        url = server.url("postgres")
        await measure(PostgresStore(url, "us", SQL_DIR), rows, lambda: analyse(url))
    finally:
        server.discard()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(run(parser.parse_args().rows))
