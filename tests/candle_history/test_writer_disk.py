"""The writer with real stores and files: candles that stay in the spool over a restart, and full disks."""

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
from tests.support.waiting import until

FULL_BYTES = 20_000
"""The size that neither the SQLite file nor the spool of a test can exceed."""
POSTGRES_FULL_BYTES = 2**20
"""The same for a table of PostgreSQL; its write-ahead log has segments of just this size."""


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the writer's delays short, because time is real here."""
    monkeypatch.setattr(module, "BATCH_DELAY_S", 0.01)
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.05)


@asynccontextmanager
async def running(
    store: AnyStore, folder: Path
) -> AsyncIterator[tuple[CandleWriter, Callable[[Sequence[Candle]], None]]]:
    """Run a writer and yield it with a function that queues candles; at the end it is killed, not closed."""
    queue, spool = make_candle_queue(), Spool(folder / "spool.ndjson")

    def put(candles: Sequence[Candle]) -> None:
        for candle in candles:
            queue.put_nowait(candle)

    writer = CandleWriter(queue, store, spool)
    task = asyncio.create_task(writer.run())
    yield writer, put
    task.cancel()
    await asyncio.wait([task])
    spool.close()  # as the kernel does when a process is gone


async def open_sqlite(folder: Path) -> SqliteStore:
    """Return an open store in this folder."""
    store = SqliteStore(folder / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    return store


async def all_rows(store: AnyStore) -> list[Candle]:
    """Return all candles of the store."""
    return await store.read_candles("BTCUSDT", None, None, 10_000)


@pytest.mark.proves("spool")
async def test_candles_stay_in_the_spool_over_restarts(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """While the server is unavailable two processes are killed; the third finds their candles and writes them."""
    url = own_postgres.url("postgres")
    own_postgres.kill()
    for begin in (0, 50):
        store = PostgresStore(url, "us", SQL_DIR)
        await store.open()
        async with running(store, tmp_path) as (writer, put):
            put(minutes(100)[begin : begin + 50])
            await until(partial(is_spooled, writer, tmp_path, begin + 50))
        await store.aclose()
    own_postgres.start()
    store = PostgresStore(url, "us", SQL_DIR)
    await store.open()
    async with running(store, tmp_path) as (writer, put):
        put(minutes(101)[100:])
        await until(lambda: writer.pending == 0 and lines_spooled(tmp_path) == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert rows == minutes(101)
    assert writer.trouble == ""


def is_spooled(writer: CandleWriter, folder: Path, lines: int) -> bool:
    """Return whether a writer reports trouble and its spool has at least this many lines."""
    return writer.trouble != "" and lines_spooled(folder) >= lines


def lines_spooled(folder: Path) -> int:
    """Return the number of lines in the spool."""
    path = folder / "spool.ndjson"
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def test_closing_spools_what_could_not_be_written(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """Nothing is lost with the process."""
    own_postgres.kill()
    store = PostgresStore(own_postgres.url("postgres"), "us", SQL_DIR)
    await store.open()
    queue = make_candle_queue()
    for candle in minutes(5):
        queue.put_nowait(candle)
    await CandleWriter(queue, store, Spool(tmp_path / "spool.ndjson")).aclose()
    await store.aclose()
    left = Spool(tmp_path / "spool.ndjson")

    assert left.open() == minutes(5)
    left.close()


@pytest.mark.proves("disk-full")
async def test_a_full_disk_under_sqlite(tmp_path: Path) -> None:
    """Candles are kept in memory, the trouble says so, and all are written when there is room again."""
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, put):
        with file_size_limit(FULL_BYTES):
            put(minutes(500))
            await until(lambda: "memory only" in writer.trouble)
            trouble, pending = writer.trouble, writer.pending
        await until(lambda: writer.pending == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert trouble.startswith(f"The SQLite file {tmp_path / 'candles.sqlite3'} cannot be used: ")
    assert trouble.endswith("Closed candles are kept in memory only: File too large.")
    assert (pending, writer.trouble) == (500, "")
    assert rows == minutes(500)


@pytest.mark.proves("disk-full")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process's files")
async def test_postgres_out_of_disk(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """What it cannot store stays in the spool, the trouble says so, and all is written when there is room again."""
    store = PostgresStore(own_postgres.url("postgres"), "us", SQL_DIR)
    await store.open()
    async with running(store, tmp_path) as (writer, put):
        put(minutes(1))
        await until(lambda: writer.pending == 0)
        own_postgres.limit_file_size(POSTGRES_FULL_BYTES)
        put(minutes(9000)[1:])
        await until(lambda: writer.trouble != "" and lines_spooled(tmp_path) == writer.pending)
        trouble, pending = writer.trouble, writer.pending
        own_postgres.limit_file_size(resource.RLIM_INFINITY)
        await until(lambda: writer.pending == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert trouble.startswith("PostgreSQL: could not extend file")
    assert pending > 0
    assert rows == minutes(9000)


async def test_an_available_store_needs_no_spool(tmp_path: Path) -> None:
    """After the write the spool is empty."""
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, put):
        put(minutes(10))
        await until(lambda: writer.pending == 0)

        assert lines_spooled(tmp_path) == 0
    await store.aclose()


async def test_a_spool_that_another_process_uses(tmp_path: Path) -> None:
    """Two processes overlap, as during a deploy: the later one opens the file, and reads it, once it is free."""
    other = Spool(tmp_path / "spool.ndjson")
    other.open()
    other.append(minutes(3))
    store = await open_sqlite(tmp_path)
    async with running(store, tmp_path) as (writer, put):
        put(minutes(5)[3:4])
        await until(lambda: writer.pending == 0)
        other.close()
        put(minutes(5)[4:])
        await until(lambda: writer.pending == 0 and lines_spooled(tmp_path) == 0)
        rows = await all_rows(store)
    await store.aclose()

    assert rows == minutes(5)
