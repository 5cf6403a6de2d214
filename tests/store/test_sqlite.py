"""The SQLite file: what happens if it cannot be opened, is no database, is busy, or its process is killed."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from pulse.errors import StoreUnavailable
from pulse.store import sqlite as module
from pulse.store.sqlite import READS_QUEUED_MAX, SqliteStore
from tests.support.candles import SQL_DIR, minute_candle, minutes

WRITER = """
import asyncio, sys
from pathlib import Path
from pulse.store.sqlite import SqliteStore
from tests.support.candles import SQL_DIR, minute_candle

async def main():
    store = SqliteStore(Path(sys.argv[1]), "us", SQL_DIR)
    await store.open()
    for minute in range(100_000):
        await store.write_candles([minute_candle(minute)])
        print(minute, flush=True)

asyncio.run(main())
"""


def store_at(path: Path) -> SqliteStore:
    """Return a store in this file."""
    return SqliteStore(path, "us", SQL_DIR)


async def test_a_missing_folder(tmp_path: Path) -> None:
    """A path in a folder that does not exist is rejected by open(); the error names it."""
    with pytest.raises(StoreUnavailable, match=r"nowhere/candles\.sqlite3 cannot be used: unable to open"):
        await store_at(tmp_path / "nowhere" / "candles.sqlite3").open()


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    """A path that is a folder is rejected by open()."""
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await store_at(tmp_path).open()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another kind of file is rejected by open(), and left as it is."""
    path = tmp_path / "candles.sqlite3"
    path.write_text("the minutes of the last meeting " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store_at(path).open()

    assert path.read_text().startswith("the minutes")


async def test_a_damaged_database(tmp_path: Path) -> None:
    """A file damaged in its middle raises an error that says so, and returns no rows."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    await store.write_candles(minutes(1000))
    await store.aclose()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    store = store_at(path)
    with pytest.raises(StoreUnavailable, match="malformed"):
        await read_after_opening(store)
    await store.aclose()


async def read_after_opening(store: SqliteStore) -> None:
    """Open and read: either may notice the damage."""
    await store.open()
    await store.read_candles("BTCUSDT", None, None, 10)


async def test_a_file_that_another_process_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write waits for another process's, up to a timeout; once that has ended, it succeeds."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.1)
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.write_candles([minute_candle()])
    other.execute("ROLLBACK")
    other.close()
    await store.write_candles([minute_candle()])

    assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]
    await store.aclose()


async def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """After SIGKILL during a write, every candle whose write had returned is stored."""
    path = tmp_path / "candles.sqlite3"
    arguments = "-c", WRITER, str(path)
    writer = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, cwd=SQL_DIR.parent
    )
    assert writer.stdout is not None
    confirmed = [int(await writer.stdout.readline()) for _ in range(50)]
    writer.kill()
    await writer.communicate()
    store = store_at(path)
    await store.open()
    rows = await store.read_candles("BTCUSDT", None, None, 100_000)
    await store.aclose()

    assert rows[:50] == [minute_candle(minute) for minute in confirmed]


async def test_a_flood_of_reads_is_rejected_and_delays_no_write(tmp_path: Path) -> None:
    """Reads beyond the bound of the queue raise; those in it, and a write among them, are done."""
    store = store_at(tmp_path / "candles.sqlite3")
    await store.open()
    await store.write_candles(minutes(10))
    reads = [store.read_candles("BTCUSDT", None, None, 10) for _ in range(READS_QUEUED_MAX + 5)]
    *found, _ = await asyncio.gather(*reads, store.write_candles([minute_candle(10)]), return_exceptions=True)
    rows = await store.read_candles("BTCUSDT", None, None, 100)
    await store.aclose()

    assert sum(isinstance(result, StoreUnavailable) for result in found) == 5
    assert len(rows) == 11
