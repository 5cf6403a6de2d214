"""Addresses of PostgreSQL servers: parameters of other clients, and TLS by default where the server is remote."""

import psycopg
import pytest

from pulse.store.postgres_address import conninfo_of


@pytest.mark.parametrize(
    "query",
    [
        "pgbouncer=true&connection_limit=1", "schema=public", "supa=base-pooler.x", "sslmode=no-verify", "ssl=true",
        "uselibpqcompat=true&sslmode=require", "sslmode=require&channel_binding=require&pool_timeout=0",
    ],
)  # fmt: skip
def test_parameters_that_managed_hosts_print(query: str) -> None:
    """Those of other clients are left out, libpq's are kept."""
    found = psycopg.conninfo.conninfo_to_dict(conninfo_of(f"postgres://u:p@db.example.com:6543/postgres?{query}"))

    assert (found["host"], found["port"], found["dbname"]) == ("db.example.com", "6543", "postgres")
    assert found["sslmode"] == "require"
    assert found.get("channel_binding") == ("require" if "channel_binding" in query else None)


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
def test_a_remote_server_needs_tls(url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the address sets a mode, connections that leave this machine are encrypted."""
    monkeypatch.delenv("PGSSLMODE", raising=False)

    assert psycopg.conninfo.conninfo_to_dict(conninfo_of(url)).get("sslmode") == mode


def test_the_environment_of_libpq_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stricter mode in libpq's own variable is not weakened."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")

    assert "sslmode" not in conninfo_of("postgresql://u@db.example.com/x")
