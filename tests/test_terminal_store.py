"""The whole terminal with a store that cannot be used at the start: it serves, and takes the store up when it can."""

import resource
import shutil
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pytest

from pulse.candle_history.spool import Spool
from pulse.simulator.server import SimulatedExchange
from pulse.store.sqlite import SqliteStore
from pulse.web.api.status import SPOOL_TROUBLE, STATE_FILE_TROUBLE
from tests.support.candles import SQL_DIR, minutes
from tests.support.disk import file_size_limit
from tests.support.process import SYMBOLS, Pulse, terminal_on

FULL_BYTES = 8192
"""More than the log of a start, less than an empty store."""


class Fault(ABC):
    """A fault of the store's file; `words` of the error say what it is and what to do."""

    words: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    async def begin(self, pulse: Pulse) -> None:
        """Make the fault and start the process."""

    @abstractmethod
    async def mend(self, pulse: Pulse) -> None:
        """Do what the error says."""


class NoDatabase(Fault):
    """Another kind of file."""

    words = ("file is not a database", "move it away")
    content = b"the minutes of the last meeting " * 100

    async def begin(self, pulse: Pulse) -> None:
        """Write the file."""
        self.path.write_bytes(self.content)
        await pulse.start()

    async def mend(self, pulse: Pulse) -> None:
        """Move it away; it is as it was."""
        assert self.path.read_bytes() == self.content
        self.path.rename(self.path.with_name("kept"))


class Damaged(Fault):
    """A store whose pages were overwritten."""

    words = ("malformed", "move it away")

    async def begin(self, pulse: Pulse) -> None:
        """Make a store and overwrite all but its first page."""
        store = SqliteStore(self.path, "us", SQL_DIR)
        await store.open()
        await store.write_candles(minutes(1000))
        await store.aclose()
        whole = self.path.read_bytes()
        self.path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
        self.content = self.path.read_bytes()
        await pulse.start()

    async def mend(self, pulse: Pulse) -> None:
        """Move it away with what belongs to it; it still has what was in it."""
        assert self.path.read_bytes()[4096:] == self.content[4096:]
        kept = self.path.with_name("kept")
        kept.mkdir()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            shutil.move(file, kept)


class Locked(Fault):
    """A file that another process holds for itself."""

    words = ("database is locked", "end the other process")

    async def begin(self, pulse: Pulse) -> None:
        """Lock it."""
        self.other = sqlite3.connect(self.path, isolation_level=None)
        self.other.execute("BEGIN EXCLUSIVE")
        await pulse.start()

    async def mend(self, pulse: Pulse) -> None:
        """Unlock it."""
        self.other.close()


class ReadOnly(Fault):
    """A folder in which nothing may be written."""

    words = ("unable to open database file", "let the user of this process write")

    async def begin(self, pulse: Pulse) -> None:
        """Take the permission away."""
        self.path.parent.chmod(0o555)
        pulse.is_bound = True
        await pulse.start()

    async def mend(self, pulse: Pulse) -> None:
        """Give it back."""
        self.path.parent.chmod(0o755)


class Full(Fault):
    """A disk without space."""

    words = ("free space on its disk",)

    async def begin(self, pulse: Pulse) -> None:
        """Limit the size of every file of the process."""
        with file_size_limit(FULL_BYTES):
            await pulse.start()

    async def mend(self, pulse: Pulse) -> None:
        """Lift the limit."""
        resource.prlimit(pulse.pid, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))


@pytest.mark.proves("store-at-start")
@pytest.mark.parametrize("kind", [NoDatabase, Damaged, Locked, ReadOnly, Full])
async def test_a_store_that_cannot_be_used_at_the_start(kind: type[Fault], tmp_path: Path) -> None:
    """Books are live meanwhile, the reason and the remedy are logged once and shown; then the past is filled."""
    path = tmp_path / "data" / "pulse.sqlite3"
    path.parent.mkdir()
    fault = kind(path)
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as exchange:
        pulse = terminal_on(exchange, tmp_path, PULSE_SQLITE_PATH=str(path))
        try:
            await fault.begin(pulse)
            await pulse.until_live()
            report = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: not answer["store"]["ok"])
            problem = await pulse.get("/api/ohlcv", symbol="BTCUSDT")
            await fault.mend(pulse)
            ready = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])
            rows = await pulse.until(
                lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000"),
                lambda answer: isinstance(answer, list) and len(answer) >= 990,
            )
            code = await pulse.stop()
        finally:
            path.parent.chmod(0o755)
            await pulse.__aexit__(None, None, None)

    logged = pulse.log.read_text()
    assert all(word in report["store"]["detail"] for word in fault.words)
    assert all(word in logged for word in fault.words)
    assert problem["status"] == 503
    assert ready["store"]["ok"]
    assert rows
    assert code == 0
    assert logged.count("store unavailable, candles pending") == 1
    assert "Traceback" not in logged


async def test_candles_that_wait_in_the_spool_are_stored_once_the_store_can_be_used(tmp_path: Path) -> None:
    """They are counted as pending while the fault lasts, over a restart too."""
    path, left = tmp_path / "data" / "pulse.sqlite3", minutes(5)
    path.parent.mkdir()
    fault, spool = Locked(path), Spool(tmp_path / "spool.us.ndjson")
    spool.open()
    spool.append(left)
    spool.close()
    async with SimulatedExchange(["BTCUSDT"], seed=5) as exchange:
        pulse = terminal_on(
            exchange, tmp_path, PULSE_SYMBOLS="BTCUSDT", PULSE_SQLITE_PATH=str(path), PULSE_SPOOL_PATH="spool.ndjson"
        )
        try:
            await fault.begin(pulse)
            for _ in range(2):
                await pulse.until(lambda: pulse.get("/api/store"), lambda answer: answer["pending"] == 5)
                await pulse.stop()
                await pulse.start()
            await fault.mend(pulse)
            await pulse.until(lambda: pulse.get("/api/store"), lambda answer: answer["ok"])
            await pulse.stop()
        finally:
            await pulse.__aexit__(None, None, None)
    store = SqliteStore(path, "us", SQL_DIR)
    await store.open()
    stored = await store.read_candles("BTCUSDT", None, left[-1].open_time_ms, 100)
    await store.aclose()

    assert stored == left


async def test_files_that_cannot_be_written_are_named_at_the_start(tmp_path: Path) -> None:
    """The spool and the state file, each once in the log with its path and in /readyz without; books are live."""
    folder = tmp_path / "data"
    folder.mkdir()
    fault = ReadOnly(folder / "pulse.sqlite3")
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as exchange:
        files = {"PULSE_SPOOL_PATH": str(folder / "spool.ndjson"), "PULSE_STATE_PATH": str(folder / "state.json")}
        pulse = terminal_on(exchange, tmp_path, **files)
        try:
            await fault.begin(pulse)
            report = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])
        finally:
            await fault.mend(pulse)
            await pulse.__aexit__(None, None, None)

    logged = pulse.log.read_text()
    assert report["degraded"] == [SPOOL_TROUBLE, STATE_FILE_TROUBLE]
    assert logged.count("spool unavailable, candles wait in memory alone") == 1
    assert logged.count("state file cannot be written, bans end with the process") == 1
    assert logged.count(str(folder)) == 2
