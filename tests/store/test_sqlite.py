"""The SQLite file: what happens if it cannot be opened, is no database, is busy, or its process is killed."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from pulse.errors import StoreUnavailable
from pulse.market.types import Candle
from pulse.store import sqlite as module
from pulse.store.sqlite import READS_QUEUED_MAX, SqliteStore
from tests.support.candles import SQL_DIR, minute_candle, minutes
from tests.support.disk import file_size_limit

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
    with pytest.raises(StoreUnavailable, match=r"nowhere/candles\.sqlite3 cannot be made: its folder does not exist"):
        await store_at(tmp_path / "nowhere" / "candles.sqlite3").open()


async def test_a_path_that_cannot_be_looked_for(tmp_path: Path) -> None:
    """The system refuses even to say whether it exists: a name that is too long, or a folder that is closed to us."""
    with pytest.raises(StoreUnavailable, match="cannot be looked for: File name too long"):
        await store_at(tmp_path / ("a" * 300) / "candles.sqlite3").open()


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    """A path that is a folder is rejected by open()."""
    with pytest.raises(StoreUnavailable, match="a folder has this name"):
        await store_at(tmp_path).open()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another kind of file is left as it is; the error says what to do, and once that is done the store works."""
    path = tmp_path / "candles.sqlite3"
    path.write_text("the minutes of the last meeting " * 100)
    store = store_at(path)
    await store.open()
    for call in (store.check, partial(store.write_candles, [minute_candle()]), partial(read, store)):
        with pytest.raises(StoreUnavailable, match="file is not a database; move it away together with its -wal"):
            await call()
    assert path.read_text() == "the minutes of the last meeting " * 100
    path.rename(tmp_path / "minutes.txt")
    await store.check()
    await store.write_candles([minute_candle()])

    assert await read(store) == [minute_candle()]
    await store.aclose()


async def read(store: SqliteStore) -> list[Candle]:
    """Read the newest candles."""
    return await store.read_candles("BTCUSDT", None, None, 10)


async def test_a_full_disk_at_the_start(tmp_path: Path) -> None:
    """The error says that space is needed; with space the store is made and used."""
    store = store_at(tmp_path / "candles.sqlite3")
    await store.open()
    with file_size_limit(1000), pytest.raises(StoreUnavailable, match="free space on its disk"):
        await store.write_candles([minute_candle()])
    with pytest.raises(StoreUnavailable, match="free space on its disk"):
        await read(store)
    await store.write_candles([minute_candle()])

    assert await read(store) == [minute_candle()]
    await store.aclose()


async def test_a_file_that_another_process_holds_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write waits, up to a timeout; reads after it fail at once, and all work once the file is free."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="database is locked; end the other process that holds it"):
            await store.check()
        monkeypatch.setattr(store, "_in_thread", None)  # a read that waited for another attempt would call it
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await read(store)
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await store.stored_hours()
        monkeypatch.undo()
    await store.check()

    assert await read(store) == []
    await store.aclose()


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


@pytest.mark.proves("read-flood")
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


# --- a file that is lost while in use


def stored_in(path: Path) -> list[tuple[int]]:
    """Return the open times of the minutes that another program finds in the file."""
    with closing(sqlite3.connect(path)) as other:
        return other.execute("SELECT open_time FROM candles ORDER BY open_time").fetchall()


def made(path: Path, count: int) -> Path:
    """Make a database of another program, with this many rows."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
        other.executemany("INSERT INTO notes VALUES (?)", [("x" * 1000,)] * count)
        other.commit()
    return path


@pytest.mark.parametrize("has_log", [False, True])
async def test_a_deleted_file_is_made_again(tmp_path: Path, has_log: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What is written after that is in a file of that name, for any program; the log says what happened, once."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    await store.write_candles(minutes(100))
    for name in ("", "-wal", "-shm") if has_log else ("",):
        path.with_name(path.name + name).unlink()
    await store.check()
    await store.write_candles([minute_candle(200)])
    rows = await store.read_candles("BTCUSDT", None, None, 1000)
    found = stored_in(path)
    await store.aclose()

    assert rows == [minute_candle(200)]
    assert found == [(minute_candle(200).open_time_ms,)]
    assert [record.getMessage() for record in caplog.records] == [
        f"store file lost, opening it again path={path} reason=it was deleted"
    ]


@pytest.mark.proves("sqlite-swapped")
async def test_a_replaced_file_is_used_from_then_on(tmp_path: Path) -> None:
    """It is another database of ours: its minutes are read, and what was written to the lost one is not mixed in."""
    path, other = tmp_path / "candles.sqlite3", tmp_path / "other.sqlite3"
    for place, count in ((other, 3), (path, 0)):
        store = store_at(place)
        await store.open()
        await store.write_candles(minutes(count))
        if place is other:
            await store.aclose()
    await store.write_candles(minutes(500))
    other.replace(path)
    rows = await store.read_candles("BTCUSDT", None, None, 1000)
    await store.write_candles([minute_candle(3)])
    await store.aclose()

    assert rows == minutes(3)
    assert len(stored_in(path)) == 4


@pytest.mark.proves("sqlite-overwritten")
@pytest.mark.parametrize("content", [b"", b"the minutes of the last meeting " * 1000])
async def test_an_overwritten_file_is_noticed(tmp_path: Path, content: bytes) -> None:
    """An empty file becomes a database again; any other is refused and left as it is, until it is taken away."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    await store.write_candles(minutes(100))
    path.write_bytes(content)
    if content:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="not a database"):
                await store.check()
        assert path.read_bytes() == content
        path.unlink()
    await store.write_candles([minute_candle()])
    await store.aclose()

    assert stored_in(path) == [(minute_candle().open_time_ms,)]


@pytest.mark.proves("sqlite-swapped")
async def test_a_database_copied_over_the_file_stays_whole(tmp_path: Path) -> None:
    """Nothing of ours that SQLite still has is written into it; our tables are added to it as to any at the start."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    await store.write_candles(minutes(1000))
    path.write_bytes(made(tmp_path / "notes.sqlite3", 50).read_bytes())
    await store.write_candles([minute_candle()])
    await store.aclose()

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert other.execute("SELECT count(*) FROM notes").fetchall() == [(50,)]
    assert stored_in(path) == [(minute_candle().open_time_ms,)]


async def test_a_check_writes(tmp_path: Path) -> None:
    """It fails while nothing can be written, though reads go on."""
    path = tmp_path / "candles.sqlite3"
    store = store_at(path)
    await store.open()
    await store.write_candles([minute_candle()])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.check()
    rows = await store.read_candles("BTCUSDT", None, None, 10)
    other.execute("ROLLBACK")
    other.close()
    await store.check()
    await store.aclose()

    assert rows == [minute_candle()]
