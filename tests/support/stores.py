"""Candle stores for tests: the two real ones, and one in memory that can fail."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pulse.errors import StoreUnavailable
from pulse.market.coverage import DayCoverage
from pulse.market.intervals import HOUR, AggregatedCandle, Interval
from pulse.market.types import Candle, TradeGap
from pulse.store.postgres import PostgresStore
from pulse.store.sqlite import SqliteStore
from tests.support.candles import SQL_DIR, aggregated

T = TypeVar("T")
AnyStore = SqliteStore | PostgresStore

UNAVAILABLE = "the disk at /secret is full"
"""The error text of a `MemoryStore` that is unavailable."""


def make_store(place: str | Path, venue: str = "us", sql_dir: Path = SQL_DIR) -> AnyStore:
    """Return a store that is not open yet: SQLite at a path, PostgreSQL at an address."""
    if isinstance(place, Path):
        return SqliteStore(place, venue, sql_dir)
    return PostgresStore(place, venue, sql_dir)


class MemoryStore:
    """A `Store` in memory. A later candle of a minute always replaces the earlier one.

    Every call fails while `is_unavailable`, and so do the next `failing_writes` writes. `reads` has the arguments of
    each ranged read, `writes` the time by `clock` and the number of candles of each successful write.
    """

    kind = "sqlite"

    def __init__(
        self, candles: Iterable[Candle] = (), *, failing_writes: int = 0, write_delay_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.candles = {(row.symbol, row.open_time_ms): row for row in candles}
        self.gaps: list[TradeGap] = []
        self.coverage: dict[tuple[str, int], DayCoverage] = {}
        self.is_unavailable = False
        self.failing_writes = failing_writes
        self.reads: list[tuple[str, int | None, int | None, int]] = []
        self.writes: list[tuple[float, int]] = []
        self._write_delay_s = write_delay_s
        self._clock = clock

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Keep the candles, after the delay of a write."""
        await asyncio.sleep(self._write_delay_s)
        if self.failing_writes:
            self.failing_writes -= 1
            raise StoreUnavailable(UNAVAILABLE)
        self._require_available()
        self.writes.append((self._clock(), len(candles)))
        self.candles |= {(row.symbol, row.open_time_ms): row for row in candles}

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Return the first candles that open in the range, or without a start the last ones."""
        self._note_read(symbol, start_ms, end_ms, limit)
        return _page([(row.open_time_ms, row) for row in self._minutes(symbol)], start_ms, end_ms, limit)

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Return the same for the candles of an interval."""
        self._note_read(symbol, start_ms, end_ms, limit)
        found = aggregated(self._minutes(symbol), interval)
        return _page([(row.candle.open_time_ms, row) for row in found], start_ms, end_ms, limit)

    async def check(self) -> None:
        """Raise while the next write would fail."""
        self._require_available()
        if self.failing_writes:
            raise StoreUnavailable(UNAVAILABLE)

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Keep the gaps."""
        self._require_available()
        self.gaps += gaps

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Return the symbol's first gaps that touch the range."""
        self._note_read(symbol, start_ms, end_ms, limit)
        return [
            gap for gap in self.gaps if gap.symbol == symbol and gap.to_ms >= start_ms and gap.from_ms <= end_ms
        ][:limit]  # fmt: skip

    async def write_coverage(self, days: Sequence[DayCoverage]) -> None:
        """Keep the days."""
        self._require_available()
        self.coverage |= {(day.symbol, day.day_ms): day for day in days}

    async def read_coverage(self, symbol: str, from_ms: int, to_ms: int) -> list[DayCoverage]:
        """Return the symbol's days of the range."""
        self._require_available()
        keys = sorted(key for key in self.coverage if key[0] == symbol and from_ms <= key[1] <= to_ms)
        return [self.coverage[key] for key in keys]

    async def stored_hours(self) -> tuple[int, int] | None:
        """Return when the hours of the oldest and the newest minute open."""
        self._require_available()
        opens = [HOUR.floor(open_time_ms) for _, open_time_ms in self.candles]
        return (min(opens), max(opens)) if opens else None

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Refuse: no test that uses this store deletes."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def _minutes(self, symbol: str) -> list[Candle]:
        return sorted((row for row in self.candles.values() if row.symbol == symbol), key=lambda row: row.open_time_ms)

    def _note_read(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> None:
        self.reads.append((symbol, start_ms, end_ms, limit))
        self._require_available()

    def _require_available(self) -> None:
        if self.is_unavailable:
            raise StoreUnavailable(UNAVAILABLE)


def _page(rows: list[tuple[int, T]], start_ms: int | None, end_ms: int | None, limit: int) -> list[T]:
    """Return the first rows by time in [start_ms, end_ms], or without a start the last ones."""
    found = [
        row for at_ms, row in rows
        if (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)
    ]  # fmt: skip
    return found[:limit] if start_ms is not None else found[max(0, len(found) - limit) :]
