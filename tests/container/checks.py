"""What the image is, and that it runs as strictly confined as it can be, with real servers beside it.

Run by `python -m tests.container`. Its name keeps it out of the suite.
"""

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import redis
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pulse.market.types import MINUTE_MS
from pulse.simulator.server import SimulatedExchange
from tests.container.contained import ContainedPulse, run_contained
from tests.container.image import IMAGE, RELEASE, ROOT, Builder, Image, run
from tests.support.process import Pulse
from tests.support.services import PostgresServer, ValkeyServer, free_port

SYMBOLS = "BTCUSDT,LINKUSDT"
COLUMNS = ("open", "high", "low", "close", "volume")
DOWN_S = (45.0, 300.0)
"""How long nothing listens after each end. The exchange's own candles count as final after a minute and a half."""
BEFORE_MINUTE_MS = 10_000
"""How long before a minute begins the exchange's session does, so that the program is live when it begins."""
CANDLE_WAIT_S = 180.0
"""For a minute that is wholly live, which is two minutes away where the start took long."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Make the folder of the storage, which is removed whatever happens."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def builder(folder: Path) -> Builder:
    """Make the base image."""
    made = Builder(folder)
    made.make_base()
    return made


@pytest.fixture(scope="module")
def image(builder: Builder) -> Image:
    """Build the image."""
    return builder.build()


def report(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print a measured figure, whether or not the output of tests is shown."""
    with capsys.disabled():
        print(f"\n{text}", end=" ")  # noqa: T201 - this is what the command is run for


# --- what is in it


def test_the_dockerfiles_base_is_the_one_that_is_built_on() -> None:
    """By default it is Debian's slim image of the release that the checks use."""
    assert f"ARG BASE=debian:{RELEASE}-slim\n" in (ROOT / "Dockerfile").read_text()


def test_the_image_tells_an_engine_how_to_run_it(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """An ordinary user, one volume, one port, a health check without curl, and arguments go to the program."""
    config = image.config

    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/data"]
    assert (config["WorkingDir"], list(config["ExposedPorts"])) == ("/data", ["8000/tcp"])
    assert config["Entrypoint"] == ["python", "-m", "pulse"]
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    report(capsys, f"image: {image.size_bytes / 1e6:.0f} MB, {image.compressed_bytes / 1e6:.0f} MB compressed")


def test_the_image_has_exactly_the_locked_packages(image: Image, tmp_path: Path) -> None:
    """Each package of requirements.lock that this platform needs, in its version, and no other: no pip, no compiler."""
    lines = re.findall(r"^\S+==[^\\\n]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    python = {"python_full_version": run_contained(image, tmp_path, "python", "-V").stdout.split()[1]}
    entries = [entry for entry in map(Requirement, lines) if entry.marker is None or entry.marker.evaluate(python)]
    listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"

    listed = run_contained(image, tmp_path, "python", "-c", listing).stdout.split()
    found = run_contained(image, tmp_path, "sh", "-c", "command -v pip pip3 gcc cc make git curl wget")

    assert {canonicalize_name(name) for name in listed} == {
        canonicalize_name(f"{entry.name}{entry.specifier}") for entry in entries
    }
    assert found.stdout == ""


def test_nothing_of_the_build_machine_is_in_the_image(image: Image) -> None:
    """What the build was lent, an index and a certificate authority, is not in it, and no file is writable by all."""
    root = image.root
    writable = [
        path
        for path in root.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o002 and not path.stat().st_mode & 0o1000
    ]

    assert not (root / "etc/pip.conf").exists()
    assert not any((root / "run/secrets").glob("*"))
    assert [path for path in writable if not path.is_char_device()] == []
    assert {path.name for path in (root / "opt/pulse/app").iterdir()} == {"LICENSE", "deploy", "pulse", "sql", "static"}


# --- confined


def test_its_root_is_read_only_even_for_root(image: Image, tmp_path: Path) -> None:
    """Here root writes nowhere but to the data, and the ordinary user to the data."""
    denied = [
        run_contained(image, tmp_path, "touch", f"{place}/file", user="0:0")
        for place in ("", "/tmp", "/opt/pulse/app/pulse", "/var/log", "/etc")
    ]
    allowed = run_contained(image, tmp_path, "touch", "/data/file")

    assert {answer.returncode for answer in denied} == {1}
    assert all("Read-only file system" in answer.stderr for answer in denied)
    assert allowed.returncode == 0
    assert (tmp_path / "data/file").stat().st_uid == 10001


async def test_it_serves_with_a_read_only_root_and_no_rights(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo runs as an ordinary user without capabilities; the health check agrees, and disagrees when it ended."""
    pulse = ContainedPulse(image, tmp_path, "--demo")
    began_s = time.monotonic()
    async with pulse:
        started_s = time.monotonic() - began_s
        status = status_of(pulse.pid)
        await pulse.until_live()
        live_s = time.monotonic() - began_s
        page = await pulse.text("/")
        script = await pulse.text("/app.js")
        alive = run_contained(image, tmp_path, *image.config["Healthcheck"]["Test"][1:], PORT=str(pulse.port))
        code = await pulse.stop()
    dead = run_contained(image, tmp_path, *image.config["Healthcheck"]["Test"][1:], PORT=str(pulse.port))

    assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert "<title>" in page
    assert "import" in script
    assert (alive.returncode, alive.stderr) == (0, "")
    assert dead.returncode == 1
    assert "no answer from /healthz" in dead.stderr
    assert code == 0, pulse.log.read_text()
    report(capsys, f"from start to /healthz: {started_s:.2f} s, to a live demo book: {live_s:.2f} s")


async def test_buildah_runs_it_as_it_is(builder: Builder, image: Image, tmp_path: Path) -> None:
    """An engine's own run, with the image's user, answers /healthz."""
    port = free_port()
    container = builder.buildah("from", IMAGE)
    line = builder.command("run", "--isolation", "chroot", "--env", f"PORT={port}", container, "--")
    process = await asyncio.create_subprocess_exec(*line, "python", "-m", "pulse", "--demo", start_new_session=True)
    try:
        async with aiohttp.ClientSession() as session:
            answer = await first_answer(session, f"http://127.0.0.1:{port}/healthz")
        users = {user_of(pid) for pid in map(int, run("pgrep", "-s", str(process.pid), "^python").split())}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    assert answer == {"status": "ok"}
    assert users == {10001}


def status_of(pid: int) -> str:
    """Return what the kernel knows of a process."""
    return Path(f"/proc/{pid}/status").read_text()


def user_of(pid: int) -> int:
    """Return the id of a process's user."""
    return Path(f"/proc/{pid}").stat().st_uid


async def first_answer(session: aiohttp.ClientSession, url: str) -> Any:
    """Ask until there is an answer, and return its JSON."""
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    return await response.json()
            await asyncio.sleep(0.05)


# --- the whole


class Downtime:
    """The exchange's clock, which can be put forward while nothing listens, as if that time had passed."""

    def __init__(self) -> None:
        self._added_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return time.monotonic() + self._added_s

    def pass_time(self, duration_s: float) -> None:
        """Let time pass at once."""
        self._added_s += duration_s


def whole_minute(time_ms: int) -> int:
    """Return when the next minute begins."""
    return (time_ms // MINUTE_MS + 1) * MINUTE_MS


def iso(time_ms: int) -> str:
    """Return a time as the API writes it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


async def test_stopped_and_killed_it_has_no_hole(
    image: Image, own_postgres: PostgresServer, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    """With Valkey and PostgreSQL: views pass, candles are stored; after SIGTERM, and after SIGKILL, none is missing."""
    # The exchange begins in the past, so that its time is this machine's after the times in which nothing listens.
    start_ms = whole_minute(int((time.time() - sum(DOWN_S)) * 1000)) - BEFORE_MINUTE_MS
    clock = Downtime()
    start_s = clock()
    database = own_postgres.create_database()
    async with SimulatedExchange(SYMBOLS.split(","), seed=3, start_ms=start_ms, clock=clock) as exchange:
        pulse = ContainedPulse(
            image, tmp_path,
            PULSE_SYMBOLS=SYMBOLS, PULSE_BACKFILL_DAYS="0", REDIS_URL=own_valkey.url, DATABASE_URL=database,
            PULSE_REST_URL=exchange.rest_url, PULSE_STREAM_URL=exchange.stream_url,
        )  # fmt: skip
        async with pulse:
            await pulse.until_live()
            page = await pulse.text("/")
            ready = await pulse.get("/readyz")
            with redis.Redis.from_url(own_valkey.url) as client:
                passed_on = {key.decode() for key in client.keys("*latest:book:*")}
            began_ms = whole_minute(start_ms + int((clock() - start_s) * 1000))
            live = await candle_of(pulse, began_ms)
            stopped = await pulse.stop()
            clock.pass_time(DOWN_S[0])

            await pulse.start()
            await pulse.until_live()
            await pulse.stop(signal.SIGKILL)
            clock.pass_time(DOWN_S[1])

            await pulse.start()
            await pulse.until_live()
            await candle_of(pulse, began_ms + 3 * MINUTE_MS)
            rows = await pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000")
            await pulse.stop()
        truth = {iso(row[0]): [float(value) for value in row[1:6]] for row in exchange.core.klines("BTCUSDT")}

    stored = {row["timestamp"]: [row[name] for name in COLUMNS] for row in rows if row["is_closed"]}
    with psycopg.connect(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM pulse.candles WHERE symbol = 'BTCUSDT'").fetchone() or (0,)
    assert "<title>" in page
    assert (ready["bus"]["ok"], ready["store"]["ok"]) == (True, True)
    assert {name.rpartition(":")[2] for name in passed_on} == set(SYMBOLS.split(","))
    assert live["source"] in ("live", "repaired")
    assert stopped == 0
    assert count >= len(stored) > 990
    newest_ms = max(int(datetime.fromisoformat(name).timestamp() * 1000) for name in stored)
    assert newest_ms >= began_ms + 3 * MINUTE_MS
    assert sorted(stored) == [iso(newest_ms - MINUTE_MS * n) for n in reversed(range(len(stored)))]
    known = stored.keys() & truth.keys()  # the exchange keeps as many minutes as were asked for, and may be one ahead
    assert len(known) > 990
    assert {name: (stored[name], truth[name]) for name in known if stored[name] != truth[name]} == {}
    assert " ERROR " not in pulse.log.read_text()


async def candle_of(pulse: Pulse, open_ms: int) -> dict[str, Any]:
    """Wait until a closed minute is stored, and return it."""
    rows: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(CANDLE_WAIT_S):
            while True:
                rows = await pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000")
                found = [row for row in rows or () if row["timestamp"] == iso(open_ms) and row["is_closed"]]
                if found:
                    row: dict[str, Any] = found[0]
                    return row
                await asyncio.sleep(0.5)
    raise AssertionError(f"no candle of {iso(open_ms)}, the last is {rows[-1:]}\n{pulse.log.read_text()[-3000:]}")
