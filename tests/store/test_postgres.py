"""The server: away, killed, mute, refusing, and what is never done to it or said of it.

Each test that hurts a server has one of its own. Deadlines are shortened where only their existence matters.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pulse.errors import StoreUnavailable
from pulse.store import postgres as module
from pulse.store.postgres import PostgresStore, conninfo_of
from tests.support.candles import SQL_DIR, minute_candle, minutes
from tests.support.programs import free_port
from tests.support.proxy import Proxy
from tests.support.services import PostgresDatabases, PostgresServer

WRITER_DEADLINE_S = 8.0
RETURN_WITHIN_S = 2.0


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[PostgresStore]:
    """A store on this server, open."""
    store = PostgresStore(url, "us", SQL_DIR)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def unavailable(call: Awaitable[object]) -> tuple[str, float]:
    """What a call says that fails, and after how many seconds."""
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await call
    return str(caught.value), time.monotonic() - begin


MANY_MINUTES = """
INSERT INTO pulse.candles SELECT 'us', symbol, timestamptz '2024-01-01 00:00+00' + minute * interval '1 minute',
    1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, 'exchange', true
FROM unnest(ARRAY['BTCUSDT', 'ETHUSDT']) AS symbol, generate_series(0, 100000) AS minute
"""


def asking(url: str) -> closing[psycopg.Connection]:
    """A connection of the test's own."""
    return closing(psycopg.connect(url, autocommit=True))


# --- a server that is away


async def test_a_server_away_at_the_start(own_postgres: PostgresServer) -> None:
    """Opening does not wait for the server, a call says at once why it fails, and the return is noticed at once."""
    own_postgres.kill()
    begin = time.monotonic()
    async with store_at(own_postgres.url("postgres")) as store:
        opened_after = time.monotonic() - begin
        said, took = await unavailable(store.write_candles([minute_candle()]))
        own_postgres.start()
        begin = time.monotonic()
        await store.write_candles([minute_candle()])

        assert opened_after < 0.2
        assert took < 1.0
        assert "refused" in said
        assert time.monotonic() - begin < RETURN_WITHIN_S


async def test_a_restart_is_not_noticed(own_postgres: PostgresServer) -> None:
    """A server that was restarted between two calls costs no error, and has lost nothing."""
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles(minutes(100))
        own_postgres.restart()
        begin = time.monotonic()

        assert await store.read_candles("BTCUSDT", None, None, 1000) == minutes(100)
        assert time.monotonic() - begin < RETURN_WITHIN_S


async def test_a_long_outage(own_postgres: PostgresServer) -> None:
    """Once the outage is known a call fails quickly, and the first one after the return succeeds quickly."""
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles([minute_candle()])
        own_postgres.kill()
        took = [(await unavailable(store.write_candles(minutes(3))))[1] for _ in range(5)]
        own_postgres.start()
        begin = time.monotonic()
        await store.write_candles(minutes(3))

        assert took[0] < WRITER_DEADLINE_S
        assert max(took[1:]) < 1.0
        assert time.monotonic() - begin < RETURN_WITHIN_S
        assert await store.read_candles("BTCUSDT", None, None, 10) == minutes(3)


async def test_a_server_killed_in_the_middle_of_a_write(own_postgres: PostgresServer) -> None:
    """A write that the server was at work on fails at once, and succeeds whole when it is repeated."""
    url = own_postgres.url("postgres")
    async with store_at(url) as store:
        await store.write_candles([minute_candle()])
        with asking(url) as own:
            own.execute("BEGIN")
            own.execute("LOCK TABLE pulse.candles IN EXCLUSIVE MODE")
            writing = asyncio.create_task(store.write_candles(minutes(1000)))
            await until_somebody_waits(own)
            own_postgres.kill()
            said, took = await unavailable(writing)
        own_postgres.start()
        await store.write_candles(minutes(1000))

        assert took < RETURN_WITHIN_S
        assert await store.read_candles("BTCUSDT", None, None, 10_000) == minutes(1000)
    assert said.startswith("PostgreSQL: ")


async def until_somebody_waits(own: psycopg.Connection) -> None:
    """Wait until a statement of another connection waits for a lock."""
    async with asyncio.timeout(WRITER_DEADLINE_S):
        while True:
            row = own.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if row != (0,):
                return
            await asyncio.sleep(0.005)


# --- a server that says nothing


async def test_a_mute_server_costs_eight_seconds_at_most(own_postgres: PostgresServer) -> None:
    """A call on a way that has gone silent ends in time, and the next one after the silence succeeds at once."""
    async with Proxy(own_postgres.port) as proxy, store_at(f"postgresql://postgres@127.0.0.1:{proxy.port}/") as store:
        await store.write_candles([minute_candle(0)])
        proxy.mute()
        said, took = await unavailable(store.write_candles([minute_candle(1)]))
        proxy.unmute()
        begin = time.monotonic()
        await store.write_candles([minute_candle(1)])

        assert took < WRITER_DEADLINE_S
        assert said == "PostgreSQL did not answer within 7 s."
        assert time.monotonic() - begin < RETURN_WITHIN_S


async def test_a_paused_server_does_not_hold_up_the_end(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a call that is cancelled nor the close waits for a server that was stopped, and no task stays behind."""
    before = asyncio.all_tasks()
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.3)
    async with store_at(own_postgres.url("postgres")) as store:
        await store.write_candles([minute_candle()])
        own_postgres.pause()
        await unavailable(store.write_candles([minute_candle()]))
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.write_candles([minute_candle()]), 0.1)
        await store.aclose()

    assert time.monotonic() - begin < 0.1 + module.CLOSE_TIMEOUT_S + 0.3
    assert [task.get_name() for task in asyncio.all_tasks() - before if task.get_name().startswith("store")] == []


# --- a server that refuses


async def test_a_database_that_takes_no_writes(postgres_url: str) -> None:
    """What the server refuses is said in its words, in one line, and reading goes on."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
        with asking(postgres_url) as own:
            database = own.info.dbname
            own.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'.encode())
        try:
            async with store_at(postgres_url) as later:
                said, _ = await unavailable(later.write_candles([minute_candle(1)]))
                rows = await later.read_candles("BTCUSDT", None, None, 10)
        finally:
            with asking(postgres_url) as own:
                own.execute("SET default_transaction_read_only = off")
                own.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only'.encode())

    assert said == "PostgreSQL: cannot execute INSERT in a read-only transaction"
    assert rows == [minute_candle()]


async def test_a_schema_that_disappears_is_made_again(postgres: PostgresDatabases, postgres_url: str) -> None:
    """When the database was made anew under our feet, a write fails once and then finds its tables."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
        postgres.empty_database(postgres_url)
        said, _ = await unavailable(store.write_candles([minute_candle()]))
        await store.write_candles([minute_candle()])

    assert "does not exist" in said


async def test_a_role_that_may_not_change_the_schema(postgres_url: str) -> None:
    """Where the schema is up to date, the right to read and write rows is enough."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle(0)])
    with asking(postgres_url) as own:
        own.execute("DROP ROLE IF EXISTS pulse_test_writer")
        own.execute("CREATE ROLE pulse_test_writer LOGIN")
        own.execute("GRANT USAGE ON SCHEMA pulse TO pulse_test_writer")
        own.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA pulse TO pulse_test_writer")
    async with store_at(postgres_url.replace("postgres@", "pulse_test_writer@")) as store:
        await store.write_candles([minute_candle(1)])
        rows = await store.read_candles("BTCUSDT", None, None, 10)
    with asking(postgres_url) as own:
        own.execute("DROP OWNED BY pulse_test_writer")
        own.execute("DROP ROLE pulse_test_writer")

    assert rows == [minute_candle(0), minute_candle(1)]


async def test_a_writer_that_froze_frees_its_lock(postgres_url: str) -> None:
    """A process that stops in the middle of a write, holding the lock, keeps no other one from writing."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle(0)])
        with closing(psycopg.connect(postgres_url)) as frozen:  # its transaction is open until somebody ends it
            frozen.execute(module.LOCK, (module.WRITE_LOCK,))
            await store.write_candles([minute_candle(1)])
        rows = await store.read_candles("BTCUSDT", None, None, 10)

    assert rows == [minute_candle(0), minute_candle(1)]


# --- what is done to a database


async def test_everything_is_in_one_schema(postgres_url: str) -> None:
    """The tables are in the schema `pulse` alone, and the steps that made them are recorded."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
    with asking(postgres_url) as own:
        tables = own.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|inf)' ORDER BY 2")

        assert tables.fetchall() == [
            ("pulse", "candles"),
            ("pulse", "candles_1h"),
            ("pulse", "schema_version"),
            ("pulse", "trade_gaps"),
        ]
        assert own.execute("SELECT version, name FROM pulse.schema_version").fetchall() == [
            (1, "candles"),
            (2, "receipts"),
            (3, "hours"),
        ]


async def test_times_are_times(postgres_url: str) -> None:
    """A person who asks the database finds a date, whatever zone the server prefers."""
    async with store_at(f"{postgres_url}?options=-c%20timezone%3DAsia/Kathmandu") as store:
        await store.write_candles([minute_candle()])
        rows = await store.read_candles("BTCUSDT", minute_candle().open_time_ms, minute_candle().open_time_ms, 10)
    with asking(postgres_url) as own:
        cursor = own.execute("SELECT to_char(open_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM pulse.candles")

        assert cursor.fetchall() == [("2024-08-08 23:55",)]
    assert rows == [minute_candle()]


async def test_no_statement_is_prepared(postgres_url: str) -> None:
    """Nothing is left in a session that the next client of a pooler could trip over."""
    async with store_at(postgres_url) as store:
        for _ in range(20):
            await store.read_candles("BTCUSDT", None, None, 10)
        prepared = await store._call(
            lambda connection: module._ask(connection, "SELECT count(*) FROM pg_prepared_statements")
        )

    assert prepared == 0


async def test_a_unix_socket(own_postgres: PostgresServer) -> None:
    """An address without a host, as for a server on this machine, is followed too."""
    async with store_at(own_postgres.socket_url) as store:
        await store.write_candles([minute_candle()])

        assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]


async def test_a_large_table_is_read_by_its_index(postgres_url: str) -> None:
    """With statistics at hand, the planner still does not read all minutes to roll up, delete or show a few hours."""
    async with store_at(postgres_url) as store:
        await store.write_candles([minute_candle()])
    hour = datetime(2024, 2, 1, tzinfo=UTC)
    touched, hours = (["us"] * 10, ["BTCUSDT"] * 10, [hour] * 10), ("us", hour, 10)
    shown = ("us", "BTCUSDT", hour, hour + timedelta(hours=9))
    with asking(postgres_url) as own:
        own.execute(MANY_MINUTES)
        own.execute("ANALYZE")
        statements = [(module.ROLL_UP, touched), (module.DELETE_HOURS, hours), (module.READ_BARS["5m"], shown)]
        plans = [own.execute(f"EXPLAIN {text}".encode(), values).fetchall() for text, values in statements]

    assert [line for plan in plans for (line,) in plan if "Seq Scan on candles " in line] == []


# --- what is said


@pytest.mark.parametrize("end", ["127.0.0.1/db?nonsense=1", "127.0.0.1/db?sslmode", "[127.0.0.1/db"])
async def test_an_address_that_cannot_be_read(end: str) -> None:
    """A wrong address is refused at the start, and the password in it is not shown."""
    store = PostgresStore(f"postgresql://user:canary@{end}", "us", SQL_DIR)
    said, _ = await unavailable(store.open())

    assert said == "DATABASE_URL is not an address that a PostgreSQL client can read."


async def test_a_password_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error nor the log holds the password of an address where nobody answers."""
    caplog.set_level(logging.DEBUG)
    async with store_at(f"postgresql://user:canary@127.0.0.1:{free_port()}/db") as store:
        said, _ = await unavailable(store.read_candles("BTCUSDT", None, None, 1))

    assert "canary" not in said + caplog.text
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u@db.example.com/x", "require"),
        ("postgres://u@db.example.com/x", "require"),
        ("postgresql://u@10.0.0.7,127.0.0.1/x", "require"),
        ("postgresql://u@db.example.com/x?sslmode=verify-full", "verify-full"),
        ("postgresql://u@db.example.com/x?sslmode=disable", "disable"),
        ("postgresql://u@localhost/x", None),
        ("postgresql://u@127.0.0.1/x", None),
        ("postgresql://u@[::1]/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
        ("postgresql:///x", None),
    ],
)
def test_a_remote_server_is_reached_encrypted(url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the address does not say otherwise, what leaves this machine is encrypted."""
    monkeypatch.delenv("PGSSLMODE", raising=False)

    assert psycopg.conninfo.conninfo_to_dict(conninfo_of(url)).get("sslmode") == mode


def test_the_environment_of_libpq_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stricter mode that libpq's own variable asks for is not weakened."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")

    assert "sslmode" not in conninfo_of("postgresql://u@db.example.com/x")
