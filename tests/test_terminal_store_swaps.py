"""A real process whose store is swapped, broken or closed to writes while it runs: it says so, and goes on."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pulse.simulator.server import SimulatedExchange
from tests.support.process import Pulse, terminal_on
from tests.support.services import PostgresServer

SYMBOL = "LINKUSDT"
FILE = "pulse.sqlite3"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal under test streams."""
    async with SimulatedExchange([SYMBOL], seed=5) as running:
        yield running


async def until_stored(pulse: Pulse) -> list[dict[str, Any]]:
    """Wait until an hour of candles is stored, and return them."""
    rows: list[dict[str, Any]] = await pulse.until(
        lambda: pulse.get("/api/ohlcv", symbol=SYMBOL, limit="60"),
        lambda rows: isinstance(rows, list) and len([row for row in rows if row["is_closed"]]) >= 59,
    )
    return rows


async def until_ok(pulse: Pulse) -> None:
    """Wait until /readyz says that the store can be written to."""
    await pulse.until(lambda: pulse.get("/readyz"), lambda report: report["store"]["ok"])


async def until_broken(pulse: Pulse, reason: str) -> None:
    """Wait until /readyz says that it cannot be, with this reason."""
    await pulse.until(
        lambda: pulse.get("/readyz"), lambda report: not report["store"]["ok"] and reason in report["store"]["detail"]
    )


def delete(path: Path) -> None:
    """Delete the database and its log."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def empty(path: Path) -> None:
    """Write over it with nothing."""
    path.write_bytes(b"")


def replace(path: Path) -> None:
    """Put another program's database in its place."""
    other = path.with_name("other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.commit()
    other.replace(path)


@pytest.mark.proves("sqlite-swapped")
@pytest.mark.parametrize("swap", [delete, empty, replace])
async def test_a_file_that_is_swapped(
    exchange: SimulatedExchange, tmp_path: Path, swap: Callable[[Path], None]
) -> None:
    """The new file gets our tables within seconds, one line says what happened, and views are not affected."""
    path = tmp_path / FILE
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL) as pulse:
        await pulse.until_live(SYMBOL)
        await until_stored(pulse)
        swap(path)
        await pulse.until(lambda: pulse.view(SYMBOL), lambda _: "store file lost" in pulse.log.read_text())
        await until_ok(pulse)
        rows = await pulse.get("/api/ohlcv", symbol=SYMBOL)
        view = await pulse.view(SYMBOL)
        code = await pulse.stop()

    assert (view["state"], code) == ("live", 0)
    assert isinstance(rows, list)
    assert pulse.log.read_text().count("store file lost") == 1
    assert "Traceback" not in pulse.log.read_text()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "candles" in names
    assert ("notes" in names) == (swap is replace)


@pytest.mark.proves("sqlite-overwritten")
async def test_a_file_that_is_overwritten_with_something_else(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """It is not touched, and /readyz says why nothing can be written, until it is taken away."""
    path, text = tmp_path / FILE, b"the minutes of the last meeting " * 1000
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL) as pulse:
        await pulse.until_live(SYMBOL)
        await until_stored(pulse)
        path.write_bytes(text)
        await until_broken(pulse, "not a database")
        kept = path.read_bytes()
        view = await pulse.view(SYMBOL)
        delete(path)
        await until_ok(pulse)
        code = await pulse.stop()

    assert kept == text
    assert (view["state"], code) == ("live", 0)
    assert "Traceback" not in pulse.log.read_text()


@pytest.mark.proves("postgres-read-only")
async def test_a_database_that_becomes_read_only(
    exchange: SimulatedExchange, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Its sessions may not write any more, as at a managed host's quota: new ones are made once they may again."""
    url = own_postgres.create_database()
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL, DATABASE_URL=url) as pulse:
        await pulse.until_live(SYMBOL)
        await until_stored(pulse)
        set_read_only(own_postgres, url, "on")
        await until_broken(pulse, "read-only")
        rows = await pulse.get("/api/ohlcv", symbol=SYMBOL, limit="60")
        set_read_only(own_postgres, url, "off")
        await until_ok(pulse)
        view = await pulse.view(SYMBOL)
        code = await pulse.stop()

    assert len(rows) == 60
    assert (view["state"], code) == ("live", 0)
    assert "Traceback" not in pulse.log.read_text()


@pytest.mark.proves("postgres-anew")
async def test_a_database_that_is_made_anew(
    exchange: SimulatedExchange, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Dropped and created again while running: our tables are in the new one within seconds."""
    url = own_postgres.create_database()
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL, DATABASE_URL=url) as pulse:
        await pulse.until_live(SYMBOL)
        await until_stored(pulse)
        own_postgres.drop_database(url)
        await until_broken(pulse, "does not exist")
        create_database(own_postgres, url)
        await until_ok(pulse)
        rows = await pulse.until(lambda: pulse.get("/api/ohlcv", symbol=SYMBOL), lambda rows: isinstance(rows, list))
        view = await pulse.view(SYMBOL)
        code = await pulse.stop()

    assert isinstance(rows, list)
    assert (view["state"], code) == ("live", 0)
    assert "Traceback" not in pulse.log.read_text()


def set_read_only(server: PostgresServer, url: str, value: str) -> None:
    """Let new sessions of a database write or not, and end those that there are."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as own:
        own.execute(f'ALTER DATABASE "{name_of(url)}" SET default_transaction_read_only = {value}'.encode())
        own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name_of(url)])


def create_database(server: PostgresServer, url: str) -> None:
    """Create an empty database with the name in this address."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as own:
        own.execute(f'CREATE DATABASE "{name_of(url)}"'.encode())


def name_of(url: str) -> str:
    """Return the database's name in an address."""
    return url.partition("?")[0].rpartition("/")[2]
