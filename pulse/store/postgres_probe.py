"""A look at a PostgreSQL server before it is used: version, TLS, pooler mode and rights. It changes nothing."""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from pulse.errors import CheckFailed, StoreUnavailable
from pulse.store.postgres_address import conninfo_of

VERSION_MIN = 15
CONNECT_TIMEOUT_S = 5
TABLES = ("candles", "candles_1h", "coverage", "fences", "trade_gaps", "schema_version")
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
REACH = "Check DATABASE_URL, and that the server runs and may be reached from here."

STATE = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
    current_setting('transaction_read_only')::boolean, to_regnamespace('pulse') IS NOT NULL,
    has_database_privilege(current_database(), 'CREATE'), current_user::text, current_database()::text
"""
SCHEMA_RIGHTS = "SELECT has_schema_privilege('pulse', 'USAGE'), has_schema_privilege('pulse', 'CREATE')"
MISSING_RIGHTS = """
SELECT tablename::text, wanted FROM pg_tables CROSS JOIN unnest(%s::text[]) AS wanted
WHERE schemaname = 'pulse' AND tablename = ANY(%s) AND NOT has_table_privilege('pulse.' || tablename, wanted)
ORDER BY 1, 2
"""
MIGRATED = "SELECT coalesce(max(version), 0) FROM pulse.schema_version"


async def probe(url: str, migrations: int) -> str:
    """Return what was found, in words; `migrations` is how many this program has. Raises CheckFailed."""
    try:
        conninfo = conninfo_of(url)
    except StoreUnavailable as fault:
        raise CheckFailed(str(fault)) from fault
    try:
        async with await _connect(conninfo) as connection:
            return await _look(connection, conninfo, migrations)
    except psycopg.Error as fault:
        lines = (fault.diag.message_primary or str(fault)).splitlines()
        reason = lines[0] if lines else type(fault).__name__
        raise CheckFailed(f"PostgreSQL: {reason.rstrip('.')}. {REACH}") from fault


async def _connect(conninfo: str) -> AsyncConnection[TupleRow]:
    return await AsyncConnection.connect(
        conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, prepare_threshold=None, application_name="pulse"
    )


async def _look(connection: AsyncConnection[TupleRow], conninfo: str, migrations: int) -> str:
    number, version, is_read_only, has_schema, may_create, user, database = await _row(connection, STATE)
    if number // 10_000 < VERSION_MIN:
        raise CheckFailed(f"PostgreSQL {version} is too old; version {VERSION_MIN} or later is needed.")
    if is_read_only:
        raise CheckFailed("The database is read-only; DATABASE_URL must name the primary server.")
    if not has_schema and not may_create:
        raise CheckFailed(
            f'The role "{user}" may not create the schema `pulse`; run as its owner: '
            f'CREATE SCHEMA pulse AUTHORIZATION "{user}"; or: GRANT CREATE ON DATABASE "{database}" TO "{user}";'
        )
    schema = "not made yet" if not has_schema else await _schema(connection, user, migrations)
    tls = "with TLS" if connection.pgconn.ssl_in_use else "without TLS"
    return f"PostgreSQL {version.split()[0]}, {tls}, {await _pooler(connection, conninfo)}, schema {schema}"


async def _schema(connection: AsyncConnection[TupleRow], user: str, migrations: int) -> str:
    """Return the state of the schema. Raises CheckFailed where the role lacks a right."""
    may_use, may_create = await _row(connection, SCHEMA_RIGHTS)
    if not may_use:
        raise CheckFailed(f'The role "{user}" may not use the schema; run: GRANT USAGE ON SCHEMA pulse TO "{user}";')
    cursor = await connection.execute(MISSING_RIGHTS.encode(), [list(RIGHTS), list(TABLES)])
    missing = await cursor.fetchall()
    if missing:
        table, right = missing[0]
        raise CheckFailed(
            f'The role "{user}" may not {right} in pulse.{table}; run: GRANT {", ".join(RIGHTS)} ON ALL TABLES IN '
            f'SCHEMA pulse TO "{user}";'
        )
    is_made = (await _row(connection, "SELECT to_regclass('pulse.schema_version') IS NOT NULL"))[0]
    version = (await _row(connection, MIGRATED))[0] if is_made else 0
    if version < migrations and not may_create:
        raise CheckFailed(
            f'The schema has version {version}, this program needs {migrations}, and the role "{user}" may not change '
            f'it; run: ALTER SCHEMA pulse OWNER TO "{user}"; or start once as its owner.'
        )
    return f"version {version}" + (f", to be raised to {migrations}" if version < migrations else "")


async def _pooler(connection: AsyncConnection[TupleRow], conninfo: str) -> str:
    """Return whether a pooler stands in between, and its mode: two clients of a session pooler share no session."""
    own = (await _row(connection, "SELECT pg_backend_pid()"))[0]
    if own == connection.pgconn.backend_pid:
        return "no pooler"
    try:
        async with await _connect(conninfo) as second, second.transaction():
            other = (await _row(second, "SELECT pg_backend_pid()"))[0]
    except psycopg.Error as fault:
        if "statement pooling" in str(fault):
            raise CheckFailed("The pooler is in statement mode; use its transaction or session mode.") from fault
        raise
    return "pooler in transaction mode" if other == own else "pooler in session mode"


async def _row(connection: AsyncConnection[TupleRow], query: str) -> tuple[Any, ...]:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None  # noqa: S101  # each of these queries has one row
    return row
