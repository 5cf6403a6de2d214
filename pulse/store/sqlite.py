"""Candles in an SQLite file: the default, which needs no server. One worker thread owns the connection.

Another process may use the same file at the same time: the write-ahead log lets it read during a write, and a second
writer waits for the first. A file that was deleted, replaced or overwritten while in use is noticed at the next call
and opened again: without that, SQLite would go on with a file that nothing can read after the process. One that cannot
be opened is tried again by each write and check, and left as it is. What is SQL of SQLite alone is here.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pulse.concurrency import map_in_chunks
from pulse.errors import StoreUnavailable
from pulse.market.coverage import DayCoverage, day_of
from pulse.market.intervals import HOUR, INTERVALS, MINUTE, AggregatedCandle, Interval, one_minute_aggregate
from pulse.market.types import Candle, TradeGap
from pulse.store.aggregation import aggregate_statement, read_page, reads_hours, roll_up_statement, touched_hours
from pulse.store.schema import (
    COVERAGE_DAYS,
    ON_CONFLICT,
    Migration,
    candle_from_row,
    coverage_from_row,
    coverage_rows,
    gap_rows,
    read_migrations,
    rows_to_write,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]

BUSY_TIMEOUT_S = 2.0
"""The most that a write waits for another process's; a minute's rows take less than a millisecond."""
BUSY_RETRY_S = 0.01
READS_QUEUED_MAX = 32
"""Beyond it a read is rejected: the longest take a third of a second, and writes wait in the same queue."""
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""The range of an SQLite integer."""
LET_WRITE = "let the user of this process write to it and to its folder"
MOVE_AWAY = (
    "move it away together with its -wal and -shm files, and a new one is made and filled from the exchange, or set"
    " PULSE_SQLITE_PATH to another file"
)
REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on its disk",
    sqlite3.SQLITE_IOERR: "free space on its disk, or check the disk",
    sqlite3.SQLITE_READONLY: LET_WRITE,
    sqlite3.SQLITE_CANTOPEN: LET_WRITE,
    sqlite3.SQLITE_PERM: LET_WRITE,
    sqlite3.SQLITE_BUSY: "end the other process that holds it",
    sqlite3.SQLITE_CORRUPT: MOVE_AWAY,
    sqlite3.SQLITE_NOTADB: MOVE_AWAY,
}
"""What to do about an error, by its primary code."""
PRIMARY_CODE = 0xFF
APPLICATION_ID = 0x50554C53
"""Marks a file as ours in its header (SQLite's `application_id`; "PULS")."""
HEADER_BYTES = 100
ID_IN_HEADER = slice(68, 72)
FIXED_IN_HEADER = slice(0, 18)
"""What never changes in the header of a file: SQLite's name and the page size."""

UPSERT = f"""
INSERT INTO candles AS kept (
    venue, symbol, open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
{ON_CONFLICT}"""
ROLL_UP = roll_up_statement(
    "candles", "candles_1h", "open_time - open_time % 3600000",
    "candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ? + 3599999",
)  # fmt: skip
READ_FIRST = """
SELECT open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
FROM candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ? ORDER BY open_time LIMIT ?
"""
READ_LAST = """
SELECT open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
FROM candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ? ORDER BY open_time DESC LIMIT ?
"""
FIND_FIRST = """
SELECT open_time FROM candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ? ORDER BY open_time LIMIT 1
"""
FIND_LAST = FIND_FIRST.replace("LIMIT", "DESC LIMIT")
WRITE_GAPS = "INSERT INTO trade_gaps VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
READ_GAPS = """
SELECT symbol, first_trade_id, last_trade_id, from_time, to_time, noted_at FROM trade_gaps
WHERE venue = ? AND symbol = ? AND to_time >= ? AND from_time <= ? ORDER BY first_trade_id, last_trade_id LIMIT ?
"""
WRITE_COVERAGE = """
INSERT INTO coverage VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET since = excluded.since, until = excluded.until, holes = excluded.holes
"""
READ_COVERAGE = """
SELECT day, since, until, holes FROM coverage WHERE venue = ? AND symbol = ? AND day BETWEEN ? AND ? ORDER BY day
"""
DELETE_COVERAGE = "DELETE FROM coverage WHERE venue = ? AND day < ?"
DELETE_SURPLUS_COVERAGE = f"""
DELETE FROM coverage WHERE venue = ?1 AND symbol = ?2 AND day <= (
    SELECT day FROM coverage WHERE venue = ?1 AND symbol = ?2 ORDER BY day DESC LIMIT 1 OFFSET {COVERAGE_DAYS}
)
"""
STORED_HOURS = "SELECT min(open_time), max(open_time) FROM candles_1h WHERE venue = ?"
READ_OLD_HOURS = """
SELECT venue, symbol, open_time FROM candles_1h WHERE venue = ? AND open_time < ? ORDER BY open_time LIMIT ?
"""
DELETE_HOUR = "DELETE FROM candles_1h WHERE venue = ? AND symbol = ? AND open_time = ?"
DELETE_MINUTES = "DELETE FROM candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ? + 3599999"
DELETE_GAPS = "DELETE FROM trade_gaps WHERE venue = ? AND to_time < ?"
CHANGE_NOTHING = "UPDATE schema_version SET name = name WHERE version = 1"
"""Writes a page all the same."""
CREATE_SCHEMA_VERSION = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL)"


class SqliteStore:
    """A `Store` in one file, whose folder must exist.

    While the file cannot be opened, reads fail at once; writes and `check`, which their caller repeats, try again.
    """

    kind = "sqlite"

    def __init__(self, path: Path, venue: str, sql_dir: Path) -> None:
        self._path = path
        self._venue = venue
        self._sql_dir = sql_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._file: _OpenFile | None = None
        self._migrations: list[Migration] = []
        self._open_error = ""  # why the last attempt to open the file failed
        self._is_closed = False
        self._reads_queued = 0

    async def open(self) -> None:
        """Have the first call open the file, created if needed, and migrate its schema.

        Raises StoreUnavailable for what no waiting mends: a folder that is missing or may not be looked into, a folder
        in the file's place, invalid migrations.
        """
        try:
            has_folder, is_folder = self._path.absolute().parent.is_dir(), self._path.is_dir()
        except OSError as fault:  # a folder above it that this user may not look into, or a name that is too long
            raise StoreUnavailable(f"The SQLite file {self._path} cannot be looked for: {fault.strerror}.") from fault
        if not has_folder:
            raise StoreUnavailable(f"The SQLite file {self._path} cannot be made: its folder does not exist.")
        if is_folder:
            raise StoreUnavailable(f"The SQLite file {self._path} cannot be made: a folder has this name.")
        self._migrations = read_migrations(self._sql_dir, self.kind)

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Upsert all candles or none. Raise StoreUnavailable, or ValueError for a candle that is not closed."""
        rows = rows_to_write(self._venue, candles)
        hours = [(*key, key[-1]) for key in touched_hours(rows)]
        await self._write((UPSERT, rows), (ROLL_UP, hours))

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Return the first `limit` candles that open in [start_ms, end_ms], or without a start the last; oldest first.

        Raises StoreUnavailable.
        """
        start, end = INTEGER_MIN if start_ms is None else start_ms, INTEGER_MAX if end_ms is None else end_ms
        rows = await self._fetch(READ_LAST if start_ms is None else READ_FIRST, symbol, start, end, limit)
        return await map_in_chunks(partial(candle_from_row, symbol), rows[::-1] if start_ms is None else rows)

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Return the same for any interval, aggregated from the stored minutes. Raise StoreUnavailable."""
        if interval is MINUTE:
            return await map_in_chunks(one_minute_aggregate, await self.read_candles(symbol, start_ms, end_ms, limit))

        async def find(from_ms: int, to_ms: int) -> int | None:
            rows = await self._fetch(FIND_LAST if start_ms is None else FIND_FIRST, symbol, from_ms, to_ms)
            return rows[0][0] if rows else None

        async def fetch(from_ms: int, to_ms: int) -> list[Row]:
            return await self._fetch(READ_INTERVALS[interval.name], symbol, from_ms, to_ms)

        return await read_page(interval, start_ms, end_ms, limit, find, fetch)

    async def check(self) -> None:
        """Write to the file. Raise StoreUnavailable if that fails."""

        def write() -> None:
            with self._transaction() as connection:
                connection.execute(CHANGE_NOTHING)

        await self._in_thread(write)

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Write all gaps or none; one that is stored already stays as it is. Raise StoreUnavailable."""
        await self._write((WRITE_GAPS, gap_rows(self._venue, gaps)))

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Return the first `limit` gaps that touch [start_ms, end_ms], by their ids. Raise StoreUnavailable."""
        return [TradeGap(*row) for row in await self._fetch(READ_GAPS, symbol, start_ms, end_ms, limit)]

    async def write_coverage(self, days: Sequence[DayCoverage]) -> None:
        """Upsert all days or none, and delete those beyond the newest COVERAGE_DAYS. Raise StoreUnavailable."""
        symbols = [(self._venue, symbol) for symbol in sorted({day.symbol for day in days})]
        await self._write((WRITE_COVERAGE, coverage_rows(self._venue, days)), (DELETE_SURPLUS_COVERAGE, symbols))

    async def read_coverage(self, symbol: str, from_ms: int, to_ms: int) -> list[DayCoverage]:
        """Return the days that begin in [from_ms, to_ms], oldest first. Raise StoreUnavailable."""
        return [coverage_from_row(symbol, row) for row in await self._fetch(READ_COVERAGE, symbol, from_ms, to_ms)]

    async def stored_hours(self) -> tuple[int, int] | None:
        """Return when the oldest and the newest stored hour open; None while there is none. Raise StoreUnavailable."""
        values = (self._venue,)
        self._check_was_opened()
        oldest, newest = await self._in_thread(
            lambda: self._require_connection().execute(STORED_HOURS, values).fetchone()
        )
        return None if oldest is None else (oldest, newest)

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Delete at most `hours_max` hours, the oldest, that end by this time; return how many.

        Raises StoreUnavailable.
        """
        before, hour = _clamp(time_ms), HOUR.floor(time_ms)

        def delete() -> int:
            with self._transaction() as connection:
                hours = connection.execute(READ_OLD_HOURS, (self._venue, hour, hours_max)).fetchall()
                connection.executemany(DELETE_MINUTES, [(*key, key[-1]) for key in hours])
                connection.executemany(DELETE_HOUR, hours)
                connection.execute(DELETE_GAPS, (self._venue, before))
                connection.execute(DELETE_COVERAGE, (self._venue, _clamp(day_of(time_ms))))
            return len(hours)

        return await self._in_thread(delete)

    async def aclose(self) -> None:
        """Close the file after the calls under way. Closing twice does no harm."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _write(self, *statements: tuple[str, Sequence[Sequence[Any]]]) -> None:
        """Execute each statement once per row of its own, all in one transaction."""

        def write() -> None:
            with self._transaction() as connection:
                for statement, rows in statements:
                    connection.executemany(statement, rows)

        if any(rows for _, rows in statements):
            await self._in_thread(write)

    async def _fetch(self, query: str, symbol: str, *numbers: int) -> list[Row]:
        values = (self._venue, symbol, *map(_clamp, numbers))
        self._check_was_opened()
        if self._reads_queued >= READS_QUEUED_MAX:
            raise StoreUnavailable(f"The SQLite file {self._path} is busy: {READS_QUEUED_MAX} reads are queued.")
        self._reads_queued += 1
        try:
            return await self._in_thread(lambda: self._require_connection().execute(query, values).fetchall())
        finally:
            self._reads_queued -= 1

    def _check_was_opened(self) -> None:
        """Raise StoreUnavailable where the last attempt to open the file failed: a read does not wait for another."""
        if self._open_error and not self._is_closed:
            raise StoreUnavailable(self._open_error)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run a function in the worker thread. Raise StoreUnavailable in place of what SQLite raises."""
        if self._is_closed:
            raise StoreUnavailable(f"The SQLite file {self._path} is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as fault:
            raise StoreUnavailable(self._error_text(fault)) from fault

    def _error_text(self, fault: Exception) -> str:
        remedy = REMEDIES.get(getattr(fault, "sqlite_errorcode", 0) & PRIMARY_CODE)
        return f"The SQLite file {self._path} cannot be used: {fault}{f'; {remedy}' if remedy else ''}."

    # --- in the thread

    def _open(self) -> None:
        try:
            self._connect()
        except (sqlite3.Error, OSError) as fault:
            self._open_error = self._error_text(fault)
            raise
        self._open_error = ""

    def _connect(self) -> None:
        # Transactions are begun explicitly: Python's implicit ones begin too late to see what another process changed.
        self._connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _enable_write_ahead_log(self._connection)
            if self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            with self._transaction(self._connection) as connection:
                connection.execute(CREATE_SCHEMA_VERSION)
                version: int = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0]
                for migration in self._migrations[version:]:
                    for statement in _split_statements(migration.text):
                        connection.execute(statement)
                    connection.execute("INSERT INTO schema_version VALUES (?, ?)", (migration.version, migration.name))
            self._connection.execute("PRAGMA wal_checkpoint")  # the header is in the file
            self._file = _OpenFile(self._path)
        except BaseException:
            self._close()
            raise

    def _require_connection(self) -> sqlite3.Connection:
        """Return the connection to the file that has the name now, which is opened again if it was replaced."""
        if not self._migrations:
            raise RuntimeError("expected an open store, got one before open(): call open() first")
        if self._file is not None and (reason := self._file.difference()):
            log.warning("store file lost, opening it again path=%s reason=%s", self._path, reason)
            self._file.leave()
            self._close()
        if self._connection is None:
            self._open()
        assert self._connection is not None  # noqa: S101  # _open has set it or raised
        return self._connection

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
        """Commit what is executed within, or roll it back; no other process can write meanwhile."""
        connection = connection or self._require_connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._file is not None:
            self._file.close()
            self._file = None


class _OpenFile:
    """The database file that a connection has open: whether its name still leads to it, with its content.

    It keeps a descriptor of its own until `close`, which must come after that of the connection: closing any
    descriptor of a file releases the locks that SQLite holds on it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = path.with_name(path.name + "-wal")
        self._descriptor = os.open(path, os.O_RDONLY)
        self._id = _file_id(path)
        self._log_id = _file_id(self._log_path)
        header = self._header()
        self._fixed = header[FIXED_IN_HEADER]
        self._had_our_id = _has_our_id(header)  # a busy second process may keep it in the log for a while

    def difference(self) -> str:
        """Return how the file differs from the one that was opened, empty if it does not; takes some microseconds.

        Not noticed: another file of ours that was copied over it in place.
        """
        found_id = _file_id(self._path)
        if found_id is None:
            return "it was deleted"
        if found_id != self._id:
            return "it was replaced by another file"
        header = self._header()
        has_our_id = _has_our_id(header)
        if header[FIXED_IN_HEADER] != self._fixed or (self._had_our_id and not has_our_id):
            return "it was overwritten"
        self._had_our_id = has_our_id
        return ""

    def leave(self) -> None:
        """Keep what is at the path now from being mixed with what SQLite still has of the file that was there.

        SQLite, when its connection closes, writes its log into a file that still has its name, and recovers a log that
        lies beside a file.
        """
        if _file_id(self._path) == self._id:
            copy = self._path.with_name(self._path.name + ".new")
            shutil.copyfile(self._path, copy)
            copy.replace(self._path)
        if self._log_id is not None and _file_id(self._log_path) == self._log_id:
            self._log_path.unlink()
            self._path.with_name(self._path.name + "-shm").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def _header(self) -> bytes:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, HEADER_BYTES)


def _has_our_id(header: bytes) -> bool:
    return int.from_bytes(header[ID_IN_HEADER]) == APPLICATION_ID


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other that gets its name; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _intervals_statement(interval: Interval) -> str:
    """Return the statement that reads the candles of an interval, from hours or from minutes."""
    table = "candles_1h" if reads_hours(interval) else "candles"
    # Three days before 1970-01-01 was a Monday; intervals of a day or less divide a day, so the offset has no effect.
    span = f"open_time - (open_time + 259200000) % {interval.length_ms}"
    if not interval.length_ms:
        span = "CAST(strftime('%s', open_time / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000"
    source = f"{table} AS candles WHERE venue = ? AND symbol = ? AND open_time BETWEEN ? AND ?"
    return aggregate_statement(span, source, table, from_hours=reads_hours(interval)) + " ORDER BY span"


READ_INTERVALS = {name: _intervals_statement(interval) for name, interval in INTERVALS.items()}


def _clamp(number: int) -> int:
    return min(max(number, INTEGER_MIN), INTEGER_MAX)


def _enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, with retries: SQLite itself does not wait while another process does the same."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(BUSY_RETRY_S)
        else:
            return


def _split_statements(text: str) -> Iterator[str]:
    """Yield the statements of a migration one by one: the driver's `executescript` would commit our transaction."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
