"""What is found of a SQLite file before it is used."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pulse.errors import CheckFailed
from pulse.store.schema import read_migrations
from pulse.store.sqlite_probe import probe
from tests.support.candles import SQL_DIR
from tests.support.stores import make_store

MIGRATIONS = len(read_migrations(SQL_DIR, "sqlite"))


async def test_a_file_of_ours_is_named_with_its_version(tmp_path: Path) -> None:
    """One that is not there will be made; one of an earlier version will be raised; neither is touched."""
    path = tmp_path / "candles.sqlite3"
    before = probe(path, MIGRATIONS)
    assert not path.exists()
    store = make_store(path)
    await store.open()
    await store.check()  # makes the file
    await store.aclose()

    assert before == "no file yet, it will be made"
    assert probe(path, MIGRATIONS) == f"SQLite file of version {MIGRATIONS}"
    assert probe(path, MIGRATIONS + 1) == f"SQLite file of version {MIGRATIONS}, to be raised to {MIGRATIONS + 1}"
    path.write_bytes(b"")
    assert probe(path, MIGRATIONS) == f"SQLite file of version 0, to be raised to {MIGRATIONS}"


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """One with tables of its own, and one that is no database."""
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE notes (text)")
    with pytest.raises(CheckFailed, match="another program; set PULSE_SQLITE_PATH"):
        probe(path, MIGRATIONS)
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE schema_version (version)")
    assert probe(path, MIGRATIONS) == f"SQLite file of version 0, to be raised to {MIGRATIONS}"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(CheckFailed, match=r"file is not a database\. Let this user write"):
        probe(path, MIGRATIONS)


async def test_a_file_that_another_process_holds_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded wait."""
    monkeypatch.setattr("pulse.store.sqlite_probe.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "candles.sqlite3"
    store = make_store(path)
    await store.open()
    await store.check()  # makes the file
    await store.aclose()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CheckFailed, match="database is locked"):
            probe(path, MIGRATIONS)
