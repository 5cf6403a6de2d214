"""The writer with real files: candles that wait on disk over a restart, and disks without room."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

import pulse.candle_history.writer as module
from pulse.candle_history.spool import Spool
from pulse.candle_history.writer import CandleWriter
from pulse.market.types import Candle
from pulse.queues import make_candle_queue
from pulse.store.postgres import PostgresStore
from pulse.store.sqlite import SqliteStore
from tests.support.candles import SQL_DIR, minutes
from tests.support.disk import file_size_limit
from tests.support.services import PostgresServer
from tests.support.stores import AnyStore
from tests.support.web import until

FULL_BYTES = 20_000
"""Neither the database nor the spool of a test can grow beyond it."""
POSTGRES_FULL_BYTES = 2**20
"""No table of a server can; its log of changes is in segments of just this size."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short where time is real."""
    monkeypatch.setattr(module, "GATHER_S", 0.01)
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.05)


@asynccontextmanager
async def running(
    store: AnyStore, folder: Path
) -> AsyncIterator[tuple[CandleWriter, Callable[[Sequence[Candle]], None]]]:
    """A writer at work and a way to give it candles; at the end it is killed, not stopped."""
    queue, spool = make_candle_queue(), Spool(folder / "spool.ndjson")

    def give(candles: Sequence[Candle]) -> None:
        for candle in candles:
            queue.put_nowait(candle)

    writer = CandleWriter(queue, store, spool)
    task = asyncio.create_task(writer.run())
    yield writer, give
    task.cancel()
    await asyncio.wait([task])
    spool.close()  # as the kernel does when a process is gone


async def open_sqlite(folder: Path) -> SqliteStore:
    """A store in this folder."""
    store = SqliteStore(folder / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    return store


async def all_rows(store: AnyStore) -> list[Candle]:
    """What is in the store."""
    return await store.read_candles("BTCUSDT", None, None, 10_000)


async def test_candles_wait_on_disk_over_restarts(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """A server is away, the process is killed twice meanwhile, and the third finds everything and writes it."""
    url = own_postgres.url("postgres")
    own_postgres.kill()
    for begin in (0, 50):
        store = PostgresStore(url, "us", SQL_DIR)
        await store.open()
        async with running(store, tmp_path) as (writer, give):
            give(minutes(100)[begin : begin + 50])
            await until(partial(waits_on_disk, writer, tmp_path, begin + 50))
        await store.aclose()
    own_postgres.start()
    store = PostgresStore(url, "us", SQL_DIR)
    await store.open()
    async with running(store, tmp_path) as (writer, give):
        give(minutes(101)[100:])
        await until(lambda: writer.pending == 0 and on_disk(tmp_path) == 0, 20.0)
        rows = await all_rows(store)
    await store.aclose()

    assert rows == minutes(101)
    assert writer.trouble == ""


def waits_on_disk(writer: CandleWriter, folder: Path, lines: int) -> bool:
    """Whether a writer has told of trouble, and its spool holds this many lines."""
    return writer.trouble != "" and on_disk(folder) >= lines


def on_disk(folder: Path) -> int:
    """How many lines the spool holds."""
    path = folder / "spool.ndjson"
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def test_stopping_leaves_on_disk_what_could_not_be_written(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """At the end nothing is lost with the process."""
    own_postgres.kill()
    store = PostgresStore(own_postgres.url("postgres"), "us", SQL_DIR)
    await store.open()
    queue = make_candle_queue()
    for candle in minutes(5):
        queue.put_nowait(candle)
    await CandleWriter(queue, store, Spool(tmp_path / "spool.ndjson")).finish()
    await store.aclose()
    left = Spool(tmp_path / "spool.ndjson")

    assert left.open() == minutes(5)
    left.close()


async def test_a_full_disk_under_sqlite(tmp_path: Path) -> None:
    """Candles wait in memory where the disk takes none, the trouble says so, and all are written when there is room."""
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, give):
        with file_size_limit(FULL_BYTES):
            give(minutes(500))
            await until(lambda: "memory alone" in writer.trouble)
            trouble, pending = writer.trouble, writer.pending
        await until(lambda: writer.pending == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert trouble.startswith(f"The SQLite file {tmp_path / 'candles.sqlite3'} cannot be used: ")
    assert trouble.endswith("Closed candles wait in memory alone: File too large.")
    assert (pending, writer.trouble) == (500, "")
    assert rows == minutes(500)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process's files")
async def test_postgres_out_of_disk(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """What it cannot take waits on our own disk, the trouble says so, and all is written when there is room."""
    store = PostgresStore(own_postgres.url("postgres"), "us", SQL_DIR)
    await store.open()
    async with running(store, tmp_path) as (writer, give):
        give(minutes(1))
        await until(lambda: writer.pending == 0)
        own_postgres.limit_file_size(POSTGRES_FULL_BYTES)
        give(minutes(9000)[1:])
        await until(lambda: writer.trouble != "" and on_disk(tmp_path) == writer.pending, 30.0)
        trouble, pending = writer.trouble, writer.pending
        own_postgres.limit_file_size(resource.RLIM_INFINITY)
        await until(lambda: writer.pending == 0, 30.0)
        rows = await all_rows(store)
    await store.aclose()

    assert trouble.startswith("PostgreSQL: could not extend file")
    assert pending > 0
    assert rows == minutes(9000)


async def test_what_was_written_leaves_the_disk(tmp_path: Path) -> None:
    """A writer whose store is there puts nothing on disk."""
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, give):
        give(minutes(10))
        await until(lambda: writer.pending == 0)

        assert on_disk(tmp_path) == 0
    await store.aclose()


async def test_a_spool_that_another_process_has(tmp_path: Path) -> None:
    """Two processes overlap, as during a deploy: the later one takes the file, and what is in it, when it is free."""
    other = Spool(tmp_path / "spool.ndjson")
    other.open()
    other.append(minutes(3))
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, give):
        give(minutes(5)[3:4])
        await until(lambda: writer.pending == 0)
        other.close()
        give(minutes(5)[4:])
        await until(lambda: writer.pending == 0 and on_disk(tmp_path) == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert rows == minutes(5)
