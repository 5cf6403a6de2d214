"""The two rooms a store may be, and where each keeps its candles in a test."""

from pathlib import Path

from pulse.store.postgres import PostgresStore
from pulse.store.sqlite import SqliteStore
from tests.support.candles import SQL_DIR

AnyStore = SqliteStore | PostgresStore


def make_store(place: str | Path, venue: str = "us", sql_dir: Path = SQL_DIR) -> AnyStore:
    """A store at this path or address."""
    if isinstance(place, Path):
        return SqliteStore(place, venue, sql_dir)
    return PostgresStore(place, venue, sql_dir)
