"""Fixtures of the stores: one of each kind, empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stores import AnyStore, make_store


@pytest.fixture(params=["sqlite", "postgres_url", "pooled_postgres_url"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where each of the two rooms keeps its candles; PostgreSQL also behind a transaction pooler."""
    if request.param == "sqlite":
        return tmp_path / "candles.sqlite3"
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def store(place: str | Path) -> AsyncIterator[AnyStore]:
    """An open store with nothing in it."""
    made = make_store(place)
    await made.open()
    yield made
    await made.aclose()
