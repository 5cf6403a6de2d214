"""Candles on a PostgreSQL server that may be unavailable, unresponsive or full, also behind a transaction pooler.

Hence no session state, no prepared statements, one statement per write, and a deadline around each call that does not
depend on the driver: cancelling its own calls takes seconds more when the server does not respond.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from pulse.concurrency import map_in_chunks
from pulse.errors import StoreUnavailable
from pulse.market.coverage import DayCoverage, day_of
from pulse.market.intervals import (
    HOUR,
    MINUTE,
    TIME_MAX_MS,
    AggregatedCandle,
    Interval,
    one_minute_aggregate,
)
from pulse.market.types import Candle, TradeGap
from pulse.store.aggregation import read_page, touched_hours
from pulse.store.postgres_address import conninfo_of
from pulse.store.postgres_statements import (
    CREATE_SCHEMA_VERSION,
    DELETE_COVERAGE,
    DELETE_GAPS,
    DELETE_HOURS,
    DELETE_SURPLUS_COVERAGE,
    FIND_FIRST,
    FIND_LAST,
    IS_READ_ONLY,
    NEWEST_OF_VENUES,
    RAISE_FENCES,
    READ_COVERAGE,
    READ_FENCES,
    READ_FIRST,
    READ_GAPS,
    READ_INTERVALS,
    READ_LAST,
    ROLL_UP,
    STORED_HOURS,
    TAKE_WRITE_LOCK,
    UPSERT,
    WRITE_COVERAGE,
    WRITE_GAPS,
)
from pulse.store.schema import (
    Migration,
    candle_from_row,
    coverage_from_row,
    coverage_rows,
    gap_rows,
    read_migrations,
    rows_to_write,
)

T = TypeVar("T")
Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

CALL_TIMEOUT_S = 7.0
"""The deadline of a call, whatever the server does."""
CHECK_TIMEOUT_S = 3.0
"""The deadline of `check`, so that an outage is known soon."""
POOL_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5
CLOSE_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 4
"""Two processes overlap at each deploy, and the smallest plan of a hosted pooler allows fifteen connections in all."""
CALLS_WAITING_MAX = 32
IDLE_MAX_S, LIFETIME_MAX_S = 300, 1800
RECONNECT_MAX_S = 60
SCHEMA_LOCK, WRITE_LOCK = 7_041_776_137, 7_041_776_138
"""The keys of our advisory locks: one is held to migrate the schema, the other to write minutes."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresStore:
    """A `Store` on a server. The schema is migrated on the first connection, and again after any error.

    While the server does not answer, reads fail at once; writes and `check`, which their caller repeats, find out when
    it does again.
    """

    kind = "postgres"

    def __init__(self, url: str, venue: str, sql_dir: Path) -> None:
        self._url = url
        self._venue = venue
        self._sql_dir = sql_dir
        self._migrations: list[Migration] = []
        self._has_schema = False
        self._pool: Pool | None = None
        self._connect_error = ""
        self._outage = ""  # why the server does not answer; empty while it does
        self._background_tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        # It logs each failed attempt; what matters is in the error of the call that needed the connection.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

    async def open(self) -> None:
        """Start to connect, and return at once. Raise StoreUnavailable for an invalid address or invalid migrations."""
        self._conninfo = conninfo_of(self._url)
        self._migrations = read_migrations(self._sql_dir, self.kind)
        await self._open_pool()

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Upsert all candles or none. Raise StoreUnavailable, or ValueError for a candle that is not closed."""
        rows = rows_to_write(self._venue, candles)

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(TAKE_WRITE_LOCK, (WRITE_LOCK,))
                await _upsert(connection, rows)

        if rows:
            await self._call(write)

    async def write_fenced(self, candles: Sequence[Candle], tokens: Mapping[str, int]) -> dict[str, int]:
        """Upsert all candles of the symbols whose token is the highest one known, which this makes it for later calls.

        Returns the higher tokens of the other symbols, of which nothing is written. Raises StoreUnavailable, or
        ValueError for a candle that is not closed. `tokens` has that of each symbol.
        """
        rows = rows_to_write(self._venue, candles)
        symbols = sorted(tokens)
        fences = [self._venue] * len(symbols), symbols, [tokens[symbol] for symbol in symbols]

        async def write(connection: Connection) -> dict[str, int]:
            async with connection.transaction():
                await connection.execute(TAKE_WRITE_LOCK, (WRITE_LOCK,))
                await connection.execute(RAISE_FENCES, fences)
                cursor = await connection.execute(READ_FENCES, (self._venue, symbols))
                newer = {symbol: token for symbol, token in await cursor.fetchall() if token > tokens[symbol]}
                await _upsert(connection, [row for row in rows if row[1] not in newer])
                return newer

        return await self._call(write)

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Return the first `limit` candles that open in [start_ms, end_ms], or without a start the last; oldest first.

        Raises StoreUnavailable.
        """
        start, end = _timestamp(start_ms or 0), _timestamp(TIME_MAX_MS if end_ms is None else end_ms)
        rows = await self._fetch(
            READ_LAST if start_ms is None else READ_FIRST, (self._venue, symbol, start, end, limit)
        )
        return await map_in_chunks(partial(candle_from_row, symbol), rows[::-1] if start_ms is None else rows)

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Return the same for any interval, aggregated from the stored minutes. Raise StoreUnavailable."""
        if interval is MINUTE:
            return await map_in_chunks(one_minute_aggregate, await self.read_candles(symbol, start_ms, end_ms, limit))

        async def find(from_ms: int, to_ms: int) -> int | None:
            query = FIND_LAST if start_ms is None else FIND_FIRST
            rows = await self._fetch(query, (self._venue, symbol, _timestamp(from_ms), _timestamp(to_ms)))
            return rows[0][0] if rows else None

        async def fetch(from_ms: int, to_ms: int) -> list[TupleRow]:
            values = self._venue, symbol, _timestamp(from_ms), _timestamp(to_ms)
            return await self._fetch(READ_INTERVALS[interval.name], values)

        return await read_page(interval, start_ms, end_ms, limit, find, fetch)

    async def check(self) -> None:
        """Query whether the server takes writes. Raise StoreUnavailable if it does not, or does not answer."""
        is_read_only = await self._call(partial(_fetch_value, query=IS_READ_ONLY), CHECK_TIMEOUT_S)
        if is_read_only:
            self._discard(self._pool)  # sessions may have become read-only that new ones are not
            raise StoreUnavailable("PostgreSQL: the database is read-only")

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Write all gaps or none; one that is stored already stays as it is. Raise StoreUnavailable."""
        columns = _columns(gap_rows(self._venue, gaps), times=(4, 5, 6))

        async def write(connection: Connection) -> None:
            await connection.execute(WRITE_GAPS, columns)

        if columns:
            await self._call(write)

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Return the first `limit` gaps that touch [start_ms, end_ms], by their ids. Raise StoreUnavailable."""
        values = (self._venue, symbol, _timestamp(start_ms), _timestamp(end_ms), limit)
        return [TradeGap(*row) for row in await self._fetch(READ_GAPS, values)]

    async def write_coverage(self, days: Sequence[DayCoverage]) -> None:
        """Upsert all days or none, and delete those beyond the newest COVERAGE_DAYS. Raise StoreUnavailable."""
        columns = _columns(coverage_rows(self._venue, days), times=(2, 3, 4))
        symbols = self._venue, sorted({day.symbol for day in days})

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(TAKE_WRITE_LOCK, (WRITE_LOCK,))
                await connection.execute(WRITE_COVERAGE, columns)
                await connection.execute(DELETE_SURPLUS_COVERAGE.encode(), symbols)

        if columns:
            await self._call(write)

    async def read_coverage(self, symbol: str, from_ms: int, to_ms: int) -> list[DayCoverage]:
        """Return the days that begin in [from_ms, to_ms], oldest first. Raise StoreUnavailable."""
        values = (self._venue, symbol, _timestamp(from_ms), _timestamp(to_ms))
        return [coverage_from_row(symbol, row) for row in await self._fetch(READ_COVERAGE, values)]

    async def stored_hours(self) -> tuple[int, int] | None:
        """Return when the oldest and the newest stored hour open; None while there is none. Raise StoreUnavailable."""
        oldest, newest = (await self._fetch(STORED_HOURS, (self._venue,)))[0]
        return None if oldest is None else (oldest, newest)

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Delete at most `hours_max` hours, the oldest, that end by this time; return how many.

        Raises StoreUnavailable.
        """
        return await self._delete(self._venue, time_ms, hours_max)

    async def newest_ms(self) -> dict[str, int]:
        """Return the time of the newest candle or gap of each venue. Raise StoreUnavailable."""
        return dict(await self._fetch(NEWEST_OF_VENUES, ()))

    async def delete_venue(self, venue: str, hours_max: int) -> int:
        """Delete at most `hours_max` hours of a venue, the oldest, and all of its gaps; return how many hours.

        Raises StoreUnavailable.
        """
        return await self._delete(venue, TIME_MAX_MS, hours_max)

    async def _delete(self, venue: str, time_ms: int, hours_max: int) -> int:
        before, hour, day = _timestamp(time_ms), _timestamp(HOUR.floor(time_ms)), _timestamp(day_of(time_ms))

        async def delete(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute(TAKE_WRITE_LOCK, (WRITE_LOCK,))
                await connection.execute(DELETE_GAPS, (venue, before))
                await connection.execute(DELETE_COVERAGE, (venue, day))
                cursor = await connection.execute(DELETE_HOURS.encode(), (venue, hour, hours_max))
                deleted: int = (await cursor.fetchall())[0][0]
                return deleted

        return await self._call(delete)

    async def aclose(self) -> None:
        """Close all connections within CLOSE_TIMEOUT_S. Closing twice does no harm."""
        self._is_closed = True
        self._discard(self._pool)
        for _ in range(2):  # the first time they may end by themselves
            if self._background_tasks:
                await asyncio.wait(self._background_tasks, timeout=CLOSE_TIMEOUT_S / 2)
            for task in self._background_tasks:
                task.cancel()

    # --- one call

    async def _fetch(self, query: str, values: Sequence[Any]) -> list[TupleRow]:
        async def fetch(connection: Connection) -> list[TupleRow]:
            async with connection.cursor(binary=True) as cursor:  # reads 500 candles in a third of the time
                await cursor.execute(query.encode(), values)
                return await cursor.fetchall()

        if self._outage:
            raise StoreUnavailable(self._outage)
        return await self._call(fetch)

    async def _call(self, work: Callable[[Connection], Awaitable[T]], timeout_s: float | None = None) -> T:
        """Run a function with a connection within CALL_TIMEOUT_S. Raise StoreUnavailable for psycopg's errors."""
        timeout_s = CALL_TIMEOUT_S if timeout_s is None else timeout_s
        pool = self._pool or await self._open_pool()
        task = asyncio.create_task(self._attempt(pool, work), name="store-call")
        try:
            # Not asyncio.timeout: it would wait until the driver has ended the cancelled call, which takes another five
            # seconds when the server does not respond.
            await asyncio.wait({task}, timeout=timeout_s)
            if not task.done():
                self._discard(pool)
                # One that refuses each connection has answered, though the pool still waits for another answer.
                self._outage = self._connect_error or f"PostgreSQL did not answer within {timeout_s:g} s."
                raise StoreUnavailable(self._outage)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                self._keep_until_done(task)

    async def _attempt(self, pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with pool.connection() as connection:
                if not self._has_schema:
                    await self._migrate(connection)
                    self._has_schema = True
                self._outage = ""
                return await work(connection)
        except (PoolTimeout, PoolClosed):
            # The pool retries less and less often, and may give up; a new one connects at once.
            self._discard(pool)
            reason = self._connect_error or f"PostgreSQL gave no connection within {POOL_TIMEOUT_S:g} s."
            self._outage = reason
            raise StoreUnavailable(reason) from None
        except psycopg.errors.ReadOnlySqlTransaction as fault:
            self._discard(pool)  # its sessions have become read-only; new ones may not be
            raise StoreUnavailable(_error_text(fault)) from fault
        except psycopg.Error as fault:
            self._has_schema = False  # the next connection may be to another database
            raise StoreUnavailable(_error_text(fault)) from fault

    async def _migrate(self, connection: Connection) -> None:
        if await self._version(connection) >= len(self._migrations):
            return  # before the lock, for a role that may not change the schema
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if await _fetch_value(connection, "SELECT to_regnamespace('pulse') IS NULL"):
                await connection.execute("CREATE SCHEMA pulse")
            await connection.execute(CREATE_SCHEMA_VERSION)
            for migration in self._migrations[await self._version(connection) :]:
                await connection.execute(migration.text.encode())
                values = migration.version, migration.name
                await connection.execute("INSERT INTO pulse.schema_version (version, name) VALUES (%s, %s)", values)

    async def _version(self, connection: Connection) -> int:
        if await _fetch_value(connection, "SELECT to_regclass('pulse.schema_version') IS NULL"):
            return 0
        version: int = await _fetch_value(connection, "SELECT coalesce(max(version), 0) FROM pulse.schema_version")
        return version

    # --- the pool

    async def _open_pool(self) -> Pool:
        """Return a new pool, which starts to connect. Raise StoreUnavailable after aclose()."""
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        settings = {
            "autocommit": True,
            "prepare_threshold": None,  # behind a pooler the next transaction may be on another session
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "pulse",
            "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        }  # fmt: skip
        has_connected = False

        def note(error: str) -> None:
            nonlocal has_connected
            self._connect_error = error
            has_connected = has_connected or not error
            if not has_connected:
                # A waiting call then fails now, not when the pool has used up its retries.
                self._discard(pool)

        self._pool = pool = AsyncConnectionPool(
            self._conninfo,
            connection_class=_connection_class(note),
            kwargs=settings,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=POOL_TIMEOUT_S,
            max_waiting=CALLS_WAITING_MAX,
            max_idle=IDLE_MAX_S,
            max_lifetime=LIFETIME_MAX_S,
            reconnect_timeout=RECONNECT_MAX_S,
            check=AsyncConnectionPool.check_connection,  # a dropped connection costs a round trip, not an error
            name="pulse",
            open=False,
        )
        await pool.open(wait=False)
        return pool

    def _discard(self, pool: Pool | None) -> None:
        """Stop using this pool, and close it in the background: on an unresponsive server that takes a while."""
        if pool is None or pool.closed:
            return
        if self._pool is pool:
            self._pool = None
        self._keep_until_done(asyncio.create_task(pool.close(timeout=CLOSE_TIMEOUT_S / 2), name="store-close"))

    def _keep_until_done(self, task: asyncio.Task[Any]) -> None:
        """Keep a reference to a background task until it has ended, and ignore its result."""

        def forget(ended: asyncio.Task[Any]) -> None:
            self._background_tasks.discard(ended)
            if not ended.cancelled():
                ended.exception()  # retrieved, or asyncio would log that it never was

        self._background_tasks.add(task)
        task.add_done_callback(forget)


async def _upsert(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Upsert minutes and roll up their hours, within a transaction that holds the lock."""
    if rows:
        await connection.execute(UPSERT.encode(), _columns(rows, times=(2,)))
        await connection.execute(ROLL_UP.encode(), _columns(touched_hours(rows), times=(2,)))


async def _fetch_value(connection: Connection, query: str) -> Any:
    """Return the first value of the first row of a query, or None without a row."""
    cursor = await connection.execute(query.encode())
    row = await cursor.fetchone()
    return None if row is None else row[0]


def _connection_class(note: Callable[[str], None]) -> type[Connection]:
    """Return a connection class that calls `note` with each connect error, or "" on success.

    The pool does not report why it could not connect.
    """

    class ReportingConnection(AsyncConnection[TupleRow]):
        @classmethod
        async def connect(cls, conninfo: str = "", **settings: Any) -> Connection:  # type: ignore[override]
            try:
                connection = await super().connect(conninfo, **settings)
            except psycopg.Error as fault:
                note(_error_text(fault))
                raise
            note("")
            return connection

    return ReportingConnection


def _columns(rows: Sequence[Sequence[Any]], times: tuple[int, ...]) -> list[list[Any]]:
    """Return rows as the columns that `unnest` takes; `times` are the indexes of those in ms."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    for column in times if rows else ():
        columns[column] = [_timestamp(time_ms) for time_ms in columns[column]]
    return columns


def _timestamp(time_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=min(max(time_ms, 0), TIME_MAX_MS))


def _error_text(fault: psycopg.Error) -> str:
    """Return an error of the server or the driver as one line for a person."""
    lines = (fault.diag.message_primary or str(fault)).splitlines()
    return f"PostgreSQL: {lines[0] if lines else type(fault).__name__}"
