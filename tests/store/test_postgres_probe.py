"""What is found of a real PostgreSQL before it is used, through poolers and with rights that are missing."""

import re
import secrets

import psycopg
import pytest

from pulse.errors import CheckFailed
from pulse.store.postgres_probe import RIGHTS, probe
from pulse.store.schema import read_migrations
from tests.support.candles import SQL_DIR, minute_candle
from tests.support.services import PgBouncer, PostgresDatabases, PostgresServer
from tests.support.stores import make_store

MIGRATIONS = len(read_migrations(SQL_DIR, "postgres"))


def execute(url: str, *statements: str) -> None:
    """Execute statements as the owner of the server."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def filled(url: str) -> None:
    """Have the schema made."""
    store = make_store(url)
    await store.open()
    await store.write_candles([minute_candle()])
    await store.aclose()


def as_role(url: str, role: str) -> str:
    """Return the address for another role, which needs no password here."""
    return re.sub(r"//[^@/]*@", f"//{role}@", url)


@pytest.fixture
def role(postgres_url: str) -> str:
    """Make a role without rights, dropped with the database's end of use."""
    name = f"pulse_test_{secrets.token_hex(4)}"
    execute(postgres_url, f'CREATE ROLE "{name}" LOGIN')
    return name


async def test_version_tls_pooler_and_schema_are_named(postgres_url: str) -> None:
    """Before and after the schema was made; nothing is made by looking."""
    before = await probe(postgres_url, MIGRATIONS)
    again = await probe(postgres_url, MIGRATIONS)
    await filled(postgres_url)

    assert re.fullmatch(r"PostgreSQL [0-9.]+, without TLS, no pooler, schema not made yet", before)
    assert again == before
    assert (await probe(postgres_url, MIGRATIONS)).endswith(f"schema version {MIGRATIONS}")
    assert (await probe(postgres_url, MIGRATIONS + 1)).endswith(f"{MIGRATIONS}, to be raised to {MIGRATIONS + 1}")


async def test_a_transaction_pooler_is_recognised(pooled_postgres_url: str) -> None:
    """Two clients share its session."""
    assert "pooler in transaction mode" in await probe(pooled_postgres_url, MIGRATIONS)


@pytest.mark.parametrize(("mode", "words"), [("session", "pooler in session mode"), ("statement", "")])
async def test_other_modes_of_a_pooler(
    postgres: PostgresDatabases, postgres_url: str, mode: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session mode works; statement mode has no transactions, and is refused."""
    pooler = PgBouncer(postgres)
    prepare = PgBouncer._prepare

    def prepare_in_mode(self: PgBouncer) -> None:
        prepare(self)
        config = self.folder / "pgbouncer.ini"
        config.write_text(config.read_text().replace("pool_mode = transaction", f"pool_mode = {mode}"))

    monkeypatch.setattr(PgBouncer, "_prepare", prepare_in_mode)
    pooler.start()
    try:
        url = pooler.url(postgres_url.partition("?")[0].rpartition("/")[2])
        if words:
            assert words in await probe(url, MIGRATIONS)
        else:
            with pytest.raises(CheckFailed, match="statement mode; use its transaction or session mode"):
                await probe(url, MIGRATIONS)
    finally:
        pooler.discard()


async def test_a_role_that_may_not_make_the_schema(postgres_url: str, role: str) -> None:
    """The statement that helps is named, and helps."""
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    with pytest.raises(CheckFailed, match="may not create the schema") as failed:
        await probe(as_role(postgres_url, role), MIGRATIONS)
    execute(postgres_url, str(failed.value).rpartition("or: ")[2])
    helped = await probe(as_role(postgres_url, role), MIGRATIONS)
    execute(postgres_url, f'REVOKE CREATE ON DATABASE "{database}" FROM "{role}"', f'DROP ROLE "{role}"')

    assert "schema not made yet" in helped


async def test_a_role_without_rights_in_the_schema(postgres_url: str, role: str) -> None:
    """Each right that is missing, one after the other; each statement is followed as it is given."""
    await filled(postgres_url)
    seen: list[str] = []
    for _ in range(3):
        try:
            await probe(as_role(postgres_url, role), MIGRATIONS + len(seen) // 2)
        except CheckFailed as failed:
            seen.append(str(failed))
            execute(postgres_url, re.findall(r"run: (.*?;)", str(failed))[0])
    found = await probe(as_role(postgres_url, role), MIGRATIONS + 1)
    execute(postgres_url, "DROP SCHEMA pulse CASCADE", f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')

    assert "may not use the schema" in seen[0]
    assert f"may not {RIGHTS[3]} in pulse.candles;" in seen[1]
    assert f"this program needs {MIGRATIONS + 1}" in seen[2]
    assert f"to be raised to {MIGRATIONS + 1}" in found


async def test_a_read_only_database_is_reported(postgres_url: str) -> None:
    """As of a standby."""
    with pytest.raises(CheckFailed, match="read-only; DATABASE_URL must name the primary"):
        await probe(f"{postgres_url}?options=-c%20default_transaction_read_only%3Don", MIGRATIONS)


async def test_an_unreachable_server_is_reported(own_postgres: PostgresServer) -> None:
    """And an address that cannot be read."""
    own_postgres.kill()
    with pytest.raises(CheckFailed, match="Check DATABASE_URL"):
        await probe(own_postgres.url("postgres"), MIGRATIONS)
    with pytest.raises(CheckFailed, match="a parameter that a PostgreSQL client does not know: nonsense"):
        await probe("postgres://u@h/d?nonsense=1", MIGRATIONS)
