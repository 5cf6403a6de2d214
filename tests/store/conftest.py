"""Fixtures for both stores, each empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stores import AnyStore, make_store


@pytest.fixture(params=["sqlite", "postgres_url", "pooled_postgres_url"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Return a path for SQLite or an address for PostgreSQL, directly and behind a transaction pooler."""
    if request.param == "sqlite":
        return tmp_path / "candles.sqlite3"
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def store(place: str | Path) -> AsyncIterator[AnyStore]:
    """Yield an open, empty store."""
    made = make_store(place)
    await made.open()
    yield made
    await made.aclose()
