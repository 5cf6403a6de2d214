"""Candles on a PostgreSQL server that may be away, mute or full, and may stand behind a transaction pooler.

Hence no state of a session, no prepared statements, one statement a write, and a deadline around each call that does
not depend on the driver: against a server that says nothing the driver's own ends take seconds more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from pulse.concurrency import map_in_chunks
from pulse.errors import StoreUnavailable
from pulse.market.intervals import (
    HOUR,
    INTERVALS,
    MINUTE,
    TIME_MAX_MS,
    AggregatedCandle,
    Interval,
    one_minute_aggregate,
)
from pulse.market.types import Candle, TradeGap
from pulse.store.aggregation import aggregate_statement, find_candles, is_of_hours, roll_up, touched_hours
from pulse.store.schema import KEEP_BEST, Migration, candle_of, gap_rows, read_migrations, rows_to_write

T = TypeVar("T")
Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

CALL_TIMEOUT_S = 7.0
"""The most that a call takes, whatever the server does."""
POOL_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5
CLOSE_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 4
"""Two processes overlap at each deploy, and a pooler's smallest plan gives fifteen connections to all of them."""
CALLS_WAITING_MAX = 32
IDLE_MAX_S, LIFETIME_MAX_S = 300, 1800
RECONNECT_MAX_S = 60
SCHEMA_LOCK, WRITE_LOCK = 7_041_776_137, 7_041_776_138
"""Numbers of our own: who holds the one advisory lock may change the schema, who holds the other writes minutes."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UPSERT = f"""
INSERT INTO pulse.candles AS kept (
    venue, symbol, open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, first_trade_id, last_trade_id, source, reconciled
) SELECT * FROM unnest(
    %s::text[], %s::text[], %s::timestamptz[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[],
    %s::float8[], %s::bigint[], %s::float8[], %s::float8[], %s::bigint[], %s::bigint[], %s::text[], %s::boolean[]
)
{KEEP_BEST}"""
LOCK = "SELECT pg_advisory_xact_lock(%s), set_config('idle_in_transaction_session_timeout', '5s', true)"
"""Who writes minutes holds it, so that each hour is rolled up from all its minutes, whoever wrote them; one that
stops in the middle loses it."""
MINUTES_OF_HOUR = """LATERAL (
    SELECT *, ctid FROM pulse.candles WHERE venue = hours.venue AND symbol = hours.symbol
        AND open_time >= hour AND open_time < hour + interval '1 hour' OFFSET 0
)"""
"""OFFSET keeps the planner to the index, hour by hour; once it has statistics it would rather read the whole table."""
ROLL_UP = roll_up(
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
DELETE_GAPS = "DELETE FROM pulse.trade_gaps WHERE venue = %s AND to_time < %s"
VERSIONS = """
CREATE TABLE IF NOT EXISTS pulse.schema_version (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class PostgresStore:
    """The contract of `Store` on a server. The schema is applied at the first contact after any trouble."""

    kind = "postgres"

    def __init__(self, url: str, venue: str, sql_dir: Path) -> None:
        self._url = url
        self._venue = venue
        self._sql_dir = sql_dir
        self._steps: list[Migration] = []
        self._has_schema = False
        self._pool: Pool | None = None
        self._why_no_connection = ""
        self._leftovers: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        # It warns of each failed attempt; we say what matters once, in the error of the call that needed it.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

    async def open(self) -> None:
        """Begin to connect, and return at once. Raises StoreUnavailable for an address or a schema it cannot read."""
        self._conninfo = conninfo_of(self._url)
        self._steps = read_migrations(self._sql_dir, self.kind)
        await self._open_pool()

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Write all of them or none. Raises StoreUnavailable; ValueError for a candle that is not closed."""
        rows = rows_to_write(self._venue, candles)
        if not rows:
            return
        upserted = _columns(rows, times=(2,))
        touched = _columns(touched_hours(rows), times=(2,))

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(LOCK, (WRITE_LOCK,))
                await connection.execute(UPSERT.encode(), upserted)
                await connection.execute(ROLL_UP.encode(), touched)

        await self._call(write)

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """The first `limit` candles that open in [start_ms, end_ms], or without a start the last; oldest first."""
        start, end = _moment(start_ms or 0), _moment(TIME_MAX_MS if end_ms is None else end_ms)
        rows = await self._fetch(
            READ_LAST if start_ms is None else READ_FIRST, (self._venue, symbol, start, end, limit)
        )
        return await map_in_chunks(partial(candle_of, symbol), rows[::-1] if start_ms is None else rows)

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """The same for the candles of any interval, put together from the minutes that are there."""
        if interval is MINUTE:
            return list(map(one_minute_aggregate, await self.read_candles(symbol, start_ms, end_ms, limit)))

        async def find(from_ms: int, to_ms: int) -> int | None:
            query = FIND_LAST if start_ms is None else FIND_FIRST
            rows = await self._fetch(query, (self._venue, symbol, _moment(from_ms), _moment(to_ms)))
            return rows[0][0] if rows else None

        async def fetch(from_ms: int, to_ms: int) -> list[TupleRow]:
            values = self._venue, symbol, _moment(from_ms), _moment(to_ms)
            return await self._fetch(READ_BARS[interval.name], values)

        return await find_candles(interval, start_ms, end_ms, limit, find, fetch)

    async def check(self) -> None:
        """See whether the server answers. Raises StoreUnavailable."""
        await self._fetch("SELECT 1", ())

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Keep all of them or none; one that is known stays as it was. Raises StoreUnavailable."""
        columns = _columns(gap_rows(self._venue, gaps), times=(4, 5, 6))

        async def write(connection: Connection) -> None:
            await connection.execute(WRITE_GAPS, columns)

        if columns:
            await self._call(write)

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """The first `limit` gaps that touch [start_ms, end_ms], in the order of their ids. Raises StoreUnavailable."""
        values = (self._venue, symbol, _moment(start_ms), _moment(end_ms), limit)
        return [TradeGap(*row) for row in await self._fetch(READ_GAPS, values)]

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Delete the oldest hours that end by this time, at most so many; returns how many. Raises StoreUnavailable."""
        before, hour = _moment(time_ms), _moment(HOUR.floor(time_ms))

        async def delete(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute(LOCK, (WRITE_LOCK,))
                await connection.execute(DELETE_GAPS, (self._venue, before))
                cursor = await connection.execute(DELETE_HOURS.encode(), (self._venue, hour, hours_max))
                deleted: int = (await cursor.fetchall())[0][0]
                return deleted

        return await self._call(delete)

    async def aclose(self) -> None:
        """Let go of the server within CLOSE_TIMEOUT_S. Closing twice does no harm."""
        self._is_closed = True
        self._discard(self._pool)
        for _ in range(2):  # first let them end by themselves
            if self._leftovers:
                await asyncio.wait(self._leftovers, timeout=CLOSE_TIMEOUT_S / 2)
            for task in self._leftovers:
                task.cancel()

    # --- one call

    async def _fetch(self, query: str, values: Sequence[Any]) -> list[TupleRow]:
        async def fetch(connection: Connection) -> list[TupleRow]:
            async with connection.cursor(binary=True) as cursor:  # reads 500 candles in a third of the time
                await cursor.execute(query.encode(), values)
                return await cursor.fetchall()

        return await self._call(fetch)

    async def _call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do this on a connection, within CALL_TIMEOUT_S. Raises StoreUnavailable in place of what psycopg raises."""
        pool = self._pool or await self._open_pool()
        task = asyncio.create_task(self._attempt(pool, work), name="store-call")
        try:
            # Not asyncio.timeout: it would wait until the driver has ended what was cancelled, on a mute server
            # for another five seconds.
            await asyncio.wait({task}, timeout=CALL_TIMEOUT_S)
            if not task.done():
                self._discard(pool)
                raise StoreUnavailable(f"PostgreSQL did not answer within {CALL_TIMEOUT_S:g} s.")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                self._let_end(task)

    async def _attempt(self, pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with pool.connection() as connection:
                if not self._has_schema:
                    await self._bring_up_to_date(connection)
                    self._has_schema = True
                return await work(connection)
        except (PoolTimeout, PoolClosed):
            # The pool's own attempts grow rare, and may stop; a new one tries at once.
            self._discard(pool)
            reason = self._why_no_connection or f"PostgreSQL gave no connection within {POOL_TIMEOUT_S:g} s."
            raise StoreUnavailable(reason) from None
        except psycopg.Error as fault:
            self._has_schema = False  # it may be another database that answers next time
            raise StoreUnavailable(_sentence(fault)) from fault

    async def _bring_up_to_date(self, connection: Connection) -> None:
        if await self._version(connection) >= len(self._steps):
            return  # also where our role may not change the schema
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if await _ask(connection, "SELECT to_regnamespace('pulse') IS NULL"):
                await connection.execute("CREATE SCHEMA pulse")
            await connection.execute(VERSIONS)
            for step in self._steps[await self._version(connection) :]:
                await connection.execute(step.text.encode())
                values = step.version, step.name
                await connection.execute("INSERT INTO pulse.schema_version (version, name) VALUES (%s, %s)", values)

    async def _version(self, connection: Connection) -> int:
        if await _ask(connection, "SELECT to_regclass('pulse.schema_version') IS NULL"):
            return 0
        version: int = await _ask(connection, "SELECT coalesce(max(version), 0) FROM pulse.schema_version")
        return version

    # --- the pool

    async def _open_pool(self) -> Pool:
        """A new pool, which begins to connect. Raises StoreUnavailable after aclose()."""
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        settings = {
            "autocommit": True,
            "prepare_threshold": None,  # behind a pooler a prepared statement may be another client's
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "pulse",
            "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        }  # fmt: skip
        has_connected = False

        def note(why_not: str) -> None:
            nonlocal has_connected
            self._why_no_connection = why_not
            has_connected = has_connected or not why_not
            if not has_connected:
                # Who waits for it learns it now, not when the pool has tried again and again.
                self._discard(pool)

        self._pool = pool = AsyncConnectionPool(
            self._conninfo,
            connection_class=_noting_connection(note),
            kwargs=settings,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=POOL_TIMEOUT_S,
            max_waiting=CALLS_WAITING_MAX,
            max_idle=IDLE_MAX_S,
            max_lifetime=LIFETIME_MAX_S,
            reconnect_timeout=RECONNECT_MAX_S,
            check=AsyncConnectionPool.check_connection,  # a link that dropped costs a round trip, not an error
            name="pulse",
            open=False,
        )
        await pool.open(wait=False)
        return pool

    def _discard(self, pool: Pool | None) -> None:
        """Use this pool no more. It closes in the background, which on a mute server takes a while."""
        if pool is None or pool.closed:
            return
        if self._pool is pool:
            self._pool = None
        self._let_end(asyncio.create_task(pool.close(timeout=CLOSE_TIMEOUT_S / 2), name="store-close"))

    def _let_end(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task whose result nobody waits for, until it has ended."""

        def forget(ended: asyncio.Task[Any]) -> None:
            self._leftovers.discard(ended)
            if not ended.cancelled():
                ended.exception()  # looked at, so that nobody complains that it was not

        self._leftovers.add(task)
        task.add_done_callback(forget)


async def _ask(connection: Connection, query: str) -> Any:
    """The one value that a query gives."""
    cursor = await connection.execute(query.encode())
    row = await cursor.fetchone()
    return None if row is None else row[0]


def _noting_connection(note: Callable[[str], None]) -> type[Connection]:
    """Connections that say why they could not be made: the pool keeps it to itself."""

    class NotingConnection(AsyncConnection[TupleRow]):
        @classmethod
        async def connect(cls, conninfo: str = "", **settings: Any) -> Connection:  # type: ignore[override]
            try:
                connection = await super().connect(conninfo, **settings)
            except psycopg.Error as fault:
                note(_sentence(fault))
                raise
            note("")
            return connection

    return NotingConnection


def conninfo_of(url: str) -> str:
    """The address as libpq takes it; encrypted where it leaves this machine and says nothing of that itself.

    Raises StoreUnavailable for an address that libpq cannot read.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own text may quote the address, and with it the password.
        raise StoreUnavailable("DATABASE_URL is not an address that a PostgreSQL client can read.") from None
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    # "prefer" is what libpq has when neither the address nor its own environment says anything.
    unsaid = any(option.keyword == b"sslmode" and option.val == b"prefer" for option in Conninfo.get_defaults())
    if "sslmode" not in given and unsaid and not all(_is_local(host) for host in hosts):
        given["sslmode"] = "require"
    return make_conninfo("", **given)


def _is_local(host: str) -> bool:
    if not host or host[0] in "/@" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _columns(rows: Sequence[Sequence[Any]], times: tuple[int, ...]) -> list[list[Any]]:
    """Rows as the columns that `unnest` takes; `times` says which of them are ms."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    for column in times if rows else ():
        columns[column] = [_moment(time_ms) for time_ms in columns[column]]
    return columns


def _statement_of_bars(interval: Interval) -> str:
    """What reads the bars of an interval, from hours or from minutes."""
    table = "pulse.candles_1h" if is_of_hours(interval) else "pulse.candles"
    span = f"date_bin('{interval.length_ms} milliseconds', candles.open_time, timestamptz '1970-01-05 00:00:00+00')"
    if not interval.length_ms:
        span = "date_trunc('month', candles.open_time, 'UTC')"
    chosen = f"{table} AS candles WHERE venue = %s AND symbol = %s AND open_time BETWEEN %s AND %s"
    time = "(extract(epoch FROM {}) * 1000)::bigint"
    return aggregate_statement(span, chosen, table, of_hours=is_of_hours(interval), time=time) + " ORDER BY span"


READ_BARS = {name: _statement_of_bars(interval) for name, interval in INTERVALS.items()}


def _moment(time_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=min(max(time_ms, 0), TIME_MAX_MS))


def _sentence(fault: psycopg.Error) -> str:
    """A fault in words for a person, in one line."""
    lines = (fault.diag.message_primary or str(fault)).splitlines()
    return f"PostgreSQL: {lines[0] if lines else type(fault).__name__}"
