"""Fixtures for every test: real servers, shared or of one test. How they are found and run is in `services`."""

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.support.services import NoServer, PgBouncer, PostgresDatabases, PostgresServer, Server, ValkeyServer


def pytest_unconfigure() -> None:
    """Remove pytest's own folder in the temporary folder, unless a failed test or another run has left files there."""
    with suppress(OSError):
        (Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}").rmdir()


def start(server: Server) -> None:
    """Start a server; where that fails, fail the test with the remedy alone."""
    try:
        server.start()
    except NoServer as fault:
        raise pytest.fail.Exception(str(fault), pytrace=False) from None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """Return the PostgreSQL that tests share: PULSE_TEST_DATABASE_URL, or a server of this worker process."""
    given = os.environ.get("PULSE_TEST_DATABASE_URL")
    if given:
        yield PostgresDatabases(given)
        return
    server = PostgresServer()
    start(server)
    yield server
    server.discard()


@pytest.fixture(scope="session")
def postgres_database(postgres: PostgresDatabases) -> Iterator[str]:
    """Make the database that tests use one after the other; ask for `postgres_url`, which empties it first."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def postgres_url(postgres: PostgresDatabases, postgres_database: str) -> str:
    """Return the address of an empty database, which is this test's while it runs."""
    postgres.empty_database(postgres_database)
    return postgres_database


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresDatabases) -> Iterator[PgBouncer]:
    """Run a PgBouncer in transaction mode in front of the shared PostgreSQL."""
    server = PgBouncer(postgres)
    start(server)
    yield server
    server.discard()


@pytest.fixture
def pooled_postgres_url(pgbouncer: PgBouncer, postgres_url: str) -> str:
    """Return the address of an empty database behind a transaction pooler."""
    return pgbouncer.url(postgres_url.partition("?")[0].rpartition("/")[2])


@pytest.fixture(scope="session")
def restartable_postgres() -> Iterator[PostgresServer]:
    """Make the server behind `own_postgres`, which is started again for each test: quicker than a new one."""
    server = PostgresServer()
    yield server
    server.discard()


@pytest.fixture
def own_postgres(restartable_postgres: PostgresServer) -> PostgresServer:
    """Run an empty PostgreSQL for this test alone, which may kill, pause and restart it."""
    server = restartable_postgres
    server.resume()
    start(server)
    server.empty_database(server.url("postgres"))
    return server


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """Return the address of the Valkey that tests share: PULSE_TEST_REDIS_URL, or one of this worker process."""
    given = os.environ.get("PULSE_TEST_REDIS_URL")
    if given:
        if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
            pytest.fail("Tests empty the server of PULSE_TEST_REDIS_URL: run them without -n.", pytrace=False)
        yield given
        return
    server = ValkeyServer()
    start(server)
    yield server.url
    server.discard()


@pytest.fixture
def redis_url(valkey: str) -> str:
    """Empty the shared Valkey and return its address."""
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    return valkey


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """Run a Valkey for this test alone, which may kill, pause and restart it."""
    server = ValkeyServer()
    start(server)
    yield server
    server.discard()
