"""The PostgreSQL server: unavailable, killed, unresponsive or rejecting, and what the store must never do or show.

Each test that disturbs a server has one of its own. Deadlines are shortened where only their existence matters.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing

import psycopg
import pytest

from pulse.errors import StoreUnavailable
from pulse.store import postgres as module
from pulse.store.postgres import PostgresStore
from pulse.store.postgres_statements import TAKE_WRITE_LOCK
from tests.support.candles import SQL_DIR, minute_candle, minutes
from tests.support.programs import free_port
from tests.support.proxy import Proxy
from tests.support.services import PostgresDatabases, PostgresServer
from tests.support.waiting import WAIT_S, until


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[PostgresStore]:
    """Yield an open store on this server."""
    store = PostgresStore(url, "us", SQL_DIR)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def error_of(call: Awaitable[object]) -> str:
    """Return the text of the error that a call fails with."""
    with pytest.raises(StoreUnavailable) as caught:
        await call
    return str(caught.value)


def connection_to(url: str) -> closing[psycopg.Connection]:
    """Return a connection of the test's own."""
    return closing(psycopg.connect(url, autocommit=True))


def waiting_for_a_lock(url: str) -> int:
    """Return how many sessions of the database wait for an advisory lock."""
    with connection_to(url) as own:
        rows = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        )
        return int(rows.fetchall()[0][0])


# --- a server that is unavailable


def set_endless_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all deadlines longer than the test may take: what ends, or fails, does so without reaching one."""
    for name in ("CALL_TIMEOUT_S", "POOL_TIMEOUT_S"):
        monkeypatch.setattr(module, name, 10 * WAIT_S)


def test_a_call_takes_at_most_8_s() -> None:
    """The deadline of a call is longer than that of getting a connection, whose error gives the reason."""
    assert module.CONNECT_TIMEOUT_S <= module.POOL_TIMEOUT_S < module.CALL_TIMEOUT_S < 8


async def test_a_server_that_is_unavailable_at_the_start(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open() does not wait for it, a call fails at once with the reason, and succeeds once the server is back."""
    set_endless_deadlines(monkeypatch)
    own_postgres.kill()
    async with store_at(own_postgres.url("postgres")) as store:
        error = await error_of(store.write_candles([minute_candle()]))
        own_postgres.start()
        await store.write_candles([minute_candle()])

    assert "refused" in error


async def test_a_restart_between_two_calls(own_postgres: PostgresServer) -> None:
    """It causes no error, and nothing is lost."""
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles(minutes(100))
        own_postgres.restart()

        assert await store.read_candles("BTCUSDT", None, None, 1000) == minutes(100)


@pytest.mark.proves("postgres-killed")
async def test_a_long_outage(own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the outage is known calls fail without reaching their deadlines, and the first one after it succeeds."""
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles([minute_candle()])
        own_postgres.kill()
        await error_of(store.write_candles(minutes(3)))
        set_endless_deadlines(monkeypatch)
        errors = [await error_of(store.write_candles(minutes(3))) for _ in range(4)]
        own_postgres.start()
        await store.write_candles(minutes(3))

        assert all("refused" in error for error in errors)
        assert await store.read_candles("BTCUSDT", None, None, 10) == minutes(3)


async def test_a_server_killed_during_a_write(own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails at once, and succeeds when it is repeated."""
    set_endless_deadlines(monkeypatch)
    url = own_postgres.url("postgres")
    async with store_at(url) as store:
        await store.write_candles([minute_candle()])
        with connection_to(url) as own:
            own.execute("BEGIN")
            own.execute("LOCK TABLE pulse.candles IN EXCLUSIVE MODE")
            writing = asyncio.create_task(store.write_candles(minutes(1000)))
            await until_a_lock_is_awaited(own)
            own_postgres.kill()
            error = await error_of(writing)
        own_postgres.start()
        await store.write_candles(minutes(1000))

        assert await store.read_candles("BTCUSDT", None, None, 10_000) == minutes(1000)
    assert error.startswith("PostgreSQL: ")


async def until_a_lock_is_awaited(own: psycopg.Connection) -> None:
    """Wait until a statement of another connection waits for a lock."""
    await until(lambda: own.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,))


# --- a server that does not respond


@pytest.mark.proves("postgres-hangs")
async def test_a_call_to_an_unresponsive_server_meets_its_deadline(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call on a connection that has gone silent fails, and the next one after the silence succeeds."""
    async with Proxy(own_postgres.port) as proxy, store_at(f"postgresql://postgres@127.0.0.1:{proxy.port}/") as store:
        await store.write_candles([minute_candle(0)])
        proxy.mute()
        with monkeypatch.context() as short:
            short.setattr(module, "CALL_TIMEOUT_S", 0.3)
            error = await error_of(store.write_candles([minute_candle(1)]))
        proxy.unmute()
        await store.write_candles([minute_candle(1)])

    assert error == "PostgreSQL did not answer within 0.3 s."


async def test_a_paused_server_does_not_delay_the_close(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a cancelled call nor the close waits for a server that was stopped, and no task is left."""
    before = asyncio.all_tasks()
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles([minute_candle()])
        own_postgres.pause()
        monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.3)
        await error_of(store.write_candles([minute_candle()]))
        set_endless_deadlines(monkeypatch)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.write_candles([minute_candle()]), 0.1)
        await asyncio.wait_for(store.aclose(), WAIT_S)

    assert [task.get_name() for task in asyncio.all_tasks() - before if task.get_name().startswith("store")] == []


# --- a server that rejects


async def test_a_read_only_database(postgres_url: str) -> None:
    """The error of a write has the server's own message in one line, and reads go on."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
        with connection_to(postgres_url) as own:
            database = own.info.dbname
            own.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'.encode())
        try:
            async with store_at(postgres_url) as later:
                error = await error_of(later.write_candles([minute_candle(1)]))
                rows = await later.read_candles("BTCUSDT", None, None, 10)
        finally:
            with connection_to(postgres_url) as own:
                own.execute("SET default_transaction_read_only = off")
                own.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only'.encode())

    assert error == "PostgreSQL: cannot execute INSERT in a read-only transaction"
    assert rows == [minute_candle()]


@pytest.mark.proves("postgres-read-only")
@pytest.mark.parametrize("notices", ["check", "write_candles"])
async def test_sessions_that_became_read_only_are_replaced(postgres_url: str, notices: str) -> None:
    """The call that finds it fails, and the next one has a new session, which may write."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle(0)])
    async with store_at(postgres_url) as store:
        with connection_to(postgres_url) as own:
            own.execute(f'ALTER DATABASE "{own.info.dbname}" SET default_transaction_read_only = on'.encode())
            await store.read_candles("BTCUSDT", None, None, 10)
            await asyncio.sleep(0.2)  # the pool may still open a second session
            own.execute(f'ALTER DATABASE "{own.info.dbname}" RESET default_transaction_read_only'.encode())
        call = store.check() if notices == "check" else store.write_candles([minute_candle(1)])
        error = await error_of(call)
        await store.check()
        await store.write_candles([minute_candle(2)])
        rows = await store.read_candles("BTCUSDT", None, None, 10)

    assert "read-only" in error
    assert rows == [minute_candle(0), minute_candle(2)]


@pytest.mark.proves("postgres-hangs")
async def test_reads_of_a_dead_server_fail_at_once(own_postgres: PostgresServer) -> None:
    """Once a call has found that it does not answer, until a check or a write finds that it does."""
    async with Proxy(own_postgres.port) as proxy, store_at(f"postgresql://postgres@127.0.0.1:{proxy.port}/") as store:
        await store.write_candles([minute_candle()])
        proxy.mute()
        error = await error_of(store.check())
        reads = [asyncio.ensure_future(store.read_candles("BTCUSDT", None, None, 10)) for _ in range(100)]
        for _ in range(10):
            await asyncio.sleep(0)
        failed_at_once = sum(read.done() for read in reads)
        results = await asyncio.gather(*reads, return_exceptions=True)
        proxy.unmute()
        await store.check()
        rows = await store.read_candles("BTCUSDT", None, None, 10)

    assert {str(result) for result in results} == {error}
    assert error == f"PostgreSQL did not answer within {module.CHECK_TIMEOUT_S:g} s."
    assert failed_at_once == len(reads)
    assert rows == [minute_candle()]


async def test_a_dropped_schema_is_created_again(postgres: PostgresDatabases, postgres_url: str) -> None:
    """After the database was recreated, a write fails once, and the next one creates the tables."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
        postgres.empty_database(postgres_url)
        error = await error_of(store.write_candles([minute_candle()]))
        await store.write_candles([minute_candle()])

    assert "does not exist" in error


@pytest.mark.proves("postgres-anew")
async def test_a_dropped_database_is_named(postgres: PostgresDatabases) -> None:
    """A check gives the server's own reason, not that it does not answer, and passes once there is a database again."""
    url = postgres.create_database()
    async with store_at(url) as store:
        await store.write_candles([minute_candle()])
        postgres.drop_database(url)
        error = await error_of(store.check())
        with connection_to(postgres.url("postgres")) as own:
            own.execute(f'CREATE DATABASE "{url.partition("?")[0].rpartition("/")[2]}"'.encode())
        await store.check()
    postgres.drop_database(url)

    assert error.endswith("does not exist")


async def test_a_role_that_may_not_change_the_schema(postgres_url: str) -> None:
    """If the schema is up to date, the right to read and write rows is enough."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle(0)])
    with connection_to(postgres_url) as own:
        own.execute("DROP ROLE IF EXISTS pulse_test_writer")
        own.execute("CREATE ROLE pulse_test_writer LOGIN")
        own.execute("GRANT USAGE ON SCHEMA pulse TO pulse_test_writer")
        own.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA pulse TO pulse_test_writer")
    async with store_at(postgres_url.replace("postgres@", "pulse_test_writer@")) as store:
        await store.write_candles([minute_candle(1)])
        rows = await store.read_candles("BTCUSDT", None, None, 10)
    with connection_to(postgres_url) as own:
        own.execute("DROP OWNED BY pulse_test_writer")
        own.execute("DROP ROLE pulse_test_writer")

    assert rows == [minute_candle(0), minute_candle(1)]


async def test_a_frozen_writer_loses_its_lock(postgres_url: str) -> None:
    """A process that stops in a transaction with the advisory lock does not block other writers for long."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle(0)])
        with closing(psycopg.connect(postgres_url)) as frozen:  # its transaction stays open until the server ends it
            frozen.execute(TAKE_WRITE_LOCK, (module.WRITE_LOCK,))
            await store.write_candles([minute_candle(1)])
        rows = await store.read_candles("BTCUSDT", None, None, 10)

    assert rows == [minute_candle(0), minute_candle(1)]


# --- what is in the database


async def test_everything_is_in_one_schema(postgres_url: str) -> None:
    """All tables are in the schema `pulse`, and the migrations that made them are recorded."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
    with connection_to(postgres_url) as own:
        tables = own.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|inf)' ORDER BY 2")

        assert tables.fetchall() == [
            ("pulse", "candles"),
            ("pulse", "candles_1h"),
            ("pulse", "coverage"),
            ("pulse", "fences"),
            ("pulse", "schema_version"),
            ("pulse", "trade_gaps"),
        ]
        assert own.execute("SELECT version, name FROM pulse.schema_version").fetchall() == [
            (1, "candles"),
            (2, "receipts"),
            (3, "hours"),
            (4, "exact_sums"),
            (5, "coverage"),
            (6, "fences"),
        ]


async def test_times_are_dates_in_the_database(postgres_url: str) -> None:
    """A query by hand shows a date in UTC, whatever time zone the server is set to."""
    async with store_at(f"{postgres_url}?options=-c%20timezone%3DAsia/Kathmandu") as store:
        await store.write_candles([minute_candle()])
        rows = await store.read_candles("BTCUSDT", minute_candle().open_time_ms, minute_candle().open_time_ms, 10)
    with connection_to(postgres_url) as own:
        cursor = own.execute("SELECT to_char(open_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM pulse.candles")

        assert cursor.fetchall() == [("2024-08-08 23:55",)]
    assert rows == [minute_candle()]


async def test_no_statement_is_prepared(postgres_url: str) -> None:
    """Nothing is left in a session that would break the next client of a pooler."""
    async with store_at(postgres_url) as store:
        for _ in range(20):
            await store.read_candles("BTCUSDT", None, None, 10)
        prepared = await store._call(
            lambda connection: module._fetch_value(connection, "SELECT count(*) FROM pg_prepared_statements")
        )

    assert prepared == 0


async def test_a_unix_socket(own_postgres: PostgresServer) -> None:
    """An address without a host, as for a server on this machine, works too."""
    async with store_at(own_postgres.socket_url) as store:
        await store.write_candles([minute_candle()])

        assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]


# --- leases


@pytest.mark.proves("owner-gone")
async def test_a_stale_token_writes_nothing(postgres_url: str) -> None:
    """The deposed owner is told the newer token; symbols whose token is the highest are written in the same call."""
    btc, eth = minute_candle(close=1.0), minute_candle(symbol="ETHUSDT", close=1.0)
    async with store_at(postgres_url) as store:
        assert await store.write_fenced([btc], {"BTCUSDT": 8}) == {}
        newer = await store.write_fenced([minute_candle(close=2.0), eth], {"BTCUSDT": 7, "ETHUSDT": 3})

        assert newer == {"BTCUSDT": 8}
        assert await store.read_candles("BTCUSDT", None, None, 9) == [btc]
        assert await store.read_candles("ETHUSDT", None, None, 9) == [eth]


async def test_a_token_counts_before_its_first_candle(postgres_url: str) -> None:
    """A new owner claims a symbol at once: the old one has no time left in which it could still write."""
    async with store_at(postgres_url) as store:
        assert await store.write_fenced([], {"BTCUSDT": 8}) == {}
        assert await store.write_fenced([minute_candle()], {"BTCUSDT": 7}) == {"BTCUSDT": 8}
        assert await store.read_candles("BTCUSDT", None, None, 9) == []


async def test_a_higher_token_writes_on(postgres_url: str) -> None:
    """From owner to owner; a write with the same token may be repeated."""
    first, second = minutes(2)
    async with store_at(postgres_url) as store:
        for token, candle in ((7, first), (7, first), (8, second)):
            assert await store.write_fenced([candle], {"BTCUSDT": token}) == {}

        assert await store.read_candles("BTCUSDT", None, None, 9) == [first, second]


async def test_venues_have_their_own_tokens(postgres_url: str) -> None:
    """The leases of two venues have nothing to do with each other."""
    other = PostgresStore(postgres_url, "com", SQL_DIR)
    await other.open()
    async with store_at(postgres_url) as store:
        assert await store.write_fenced([], {"BTCUSDT": 8}) == {}
        assert await other.write_fenced([minute_candle()], {"BTCUSDT": 1}) == {}
    await other.aclose()


@pytest.mark.proves("owner-gone")
async def test_a_write_that_waited_for_the_lock_is_checked_after_it(postgres_url: str) -> None:
    """The old owner's statement has been on the server since before the new owner claimed the symbol."""
    async with store_at(postgres_url) as store:
        await store.write_fenced([], {"BTCUSDT": 7})
        with connection_to(postgres_url) as other, other.transaction():
            other.execute(TAKE_WRITE_LOCK, (module.WRITE_LOCK,))
            waiting = asyncio.create_task(store.write_fenced([minute_candle()], {"BTCUSDT": 7}))
            await until(lambda: bool(waiting_for_a_lock(postgres_url)))
            other.execute("UPDATE pulse.fences SET token = 8")

        assert await waiting == {"BTCUSDT": 8}
        assert await store.read_candles("BTCUSDT", None, None, 9) == []


# --- addresses and error texts


@pytest.mark.parametrize(
    "end",
    [
        "127.0.0.1/db?sslmode",
        "[127.0.0.1/db",
        "127.0.0.1/db?%zz=1",
        "127.0.0.1/%ff",
        "127.0.0.1/\udcff",
        "127.0.0.1/db?s3 cret",
    ],
)
async def test_an_invalid_address(end: str) -> None:
    """It is rejected by open(), and the error does not show the password in it."""
    store = PostgresStore(f"postgresql://user:canary@{end}", "us", SQL_DIR)
    error = await error_of(store.open())

    assert error == (
        "DATABASE_URL is not an address that a PostgreSQL client can read; expected "
        "postgresql://user:password@host:port/database, its user name and password percent-encoded (@ as %40)."
    )


@pytest.mark.proves("database-address")
async def test_an_unknown_parameter_is_named() -> None:
    """Its name is in the error, its value is not."""
    error = await error_of(
        PostgresStore("postgresql://user:canary@127.0.0.1/db?sslaccept=canary", "us", SQL_DIR).open()
    )

    assert error == (
        "DATABASE_URL has a parameter that a PostgreSQL client does not know: sslaccept. Remove it from the address; "
        "if it is part of the password, percent-encode that (? as %3F, & as %26)."
    )


@pytest.mark.proves("database-address")
async def test_a_server_with_parameters_of_other_clients(postgres_url: str) -> None:
    """An address as a managed host prints it is used unchanged."""
    async with store_at(
        f"{postgres_url}{'&' if '?' in postgres_url else '?'}pgbouncer=true&connection_limit=1"
    ) as store:
        await store.write_candles([minute_candle()])

        assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]


async def test_a_password_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor the log has the password of an address where no server answers."""
    caplog.set_level(logging.DEBUG)
    async with store_at(f"postgresql://user:canary@127.0.0.1:{free_port()}/db") as store:
        error = await error_of(store.read_candles("BTCUSDT", None, None, 1))

    assert "canary" not in error + caplog.text
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
