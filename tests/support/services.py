"""Real servers for the tests, started as any user, killed, paused and restarted. A missing one is a failure.

Where their programs come from is in `programs`; the fixtures are in `conftest`.
"""

import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.support.programs import (
    NoServer,
    free_port,
    home,
    launched,
    pgbouncer_installation,
    postgres_installation,
    run,
    valkey_program,
)

__all__ = ["NoServer", "PgBouncer", "PostgresDatabases", "PostgresServer", "Server", "ValkeyServer", "free_port"]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01


def _descendants(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants, its own first."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for known in found:  # grows as it goes
        found += children.get(known, [])
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Iterate over the ids of every process and its parent."""
    if sys.platform != "linux":
        listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
        return
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


class Server(ABC):
    """A server process on one port of loopback, which a test may kill, pause and start again.

    Call `start` from the main thread, or from one that lives as long as the server should: the kernel kills the
    server when the thread that started it ends. Every call blocks until it has had its effect.
    """

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.folder = home() / f"{name}-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process exists; it may be paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers. Raises NoServer with the end of its log if it does not."""
        if self.is_running:
            return
        self._prepare()
        command, mode = self._server_command()
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                launched(command, mode), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._wait_for(self._answers, START_TIMEOUT_S)

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self._stop_signal())
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to all its processes, as a machine does that runs out of memory."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def pause(self) -> None:
        """Send SIGSTOP: it keeps its connections and sends nothing."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT: it goes on where it was."""
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it and start it again, on the same port and with what it had stored."""
        self.kill()
        self.start()

    def discard(self) -> None:
        """Stop it and remove what it stored; the port is not used again."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)

    @abstractmethod
    def _server_command(self) -> tuple[list[str | Path], str]:
        """Return what to run, and the mode of `launch`."""

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it can be used by now."""

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None or not self.is_running:
            return
        for pid in _descendants(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.is_running or time.monotonic() > deadline:
                end_of_log = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise NoServer(f"{self.folder.name} did not start. Its log ends with: {end_of_log}")
            time.sleep(POLL_S)


class PostgresDatabases:
    """A running PostgreSQL, known by the address of one of its databases; others can be made."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str) -> str:
        """Return the address of another database of the same server."""
        start, _, query = self._url.partition("?")
        return f"{start.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")

    def create_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"pulse_test_{secrets.token_hex(4)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def empty_database(self, url: str) -> None:
        """Make a database as it was when it was new, which takes less time; connections to it are ended."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA IF EXISTS pulse CASCADE")

    def drop_database(self, url: str) -> None:
        """Remove a database, and end connections to it."""
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


class PostgresServer(Server, PostgresDatabases):
    """A PostgreSQL of our own, on TCP and on a Unix socket in its folder. What it has committed survives `kill`.

    One that `is_durable` flushes to disk as a server outside of tests does, and takes as long.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        Server.__init__(self, "pg")
        self._is_durable = is_durable
        PostgresDatabases.__init__(self, f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self.socket_url = f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def _prepare(self) -> None:
        if self.folder.exists():
            return
        installation = postgres_installation()
        self.folder.mkdir()
        if installation.mode == "nobody":
            shutil.chown(self.folder, "nobody")
        copied = run(["/bin/cp", "-R", _fresh_cluster(), self.folder / "data"], installation.mode)
        if copied.returncode != 0:
            raise NoServer(f"A new PostgreSQL cluster could not be copied. cp said: {copied.stderr}")

    def _server_command(self) -> tuple[list[str | Path], str]:
        # No flushing to disk, which only a crash of the machine would need; but each commit reaches the system
        # before it is confirmed, so a test that kills the server finds every row.
        options = ["shared_buffers=128MB", "max_connections=40"]
        if not self._is_durable:
            options = [
                "fsync=off",
                "full_page_writes=off",
                "shared_buffers=16MB",
                "max_connections=40",
                "autovacuum=off",
            ]
        installation = postgres_installation()
        command: list[str | Path] = [installation.programs / "postgres", "-D", self.folder / "data"]
        command += ["-k", self.folder, "-h", "127.0.0.1", "-p", str(self.port)]
        for option in options:
            command += ["-c", option]
        return command, installation.mode

    def limit_file_size(self, size_bytes: int) -> None:
        """Let no file of it grow beyond this size from now on, as on a disk that is full (Linux only)."""
        assert self._process is not None
        mode = postgres_installation().mode
        for pid in _descendants(self._process.pid):
            # As the server's own user: in a container even root may not limit the processes of others.
            limited = run(["/usr/bin/prlimit", f"--pid={pid}", f"--fsize={size_bytes}:"], mode)
            assert limited.returncode == 0, limited.stderr

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT  # "fast": clients are cut, data is written

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self._url, connect_timeout=2):
            return True
        return False


@functools.cache
def _fresh_cluster() -> Path:
    """Make a cluster to copy: that takes half a second, and copying it a tenth."""
    installation = postgres_installation()
    folder = home() / "cluster"
    folder.mkdir()
    if installation.mode == "nobody":
        shutil.chown(folder, "nobody")
    command: list[str | Path] = [
        installation.programs / "initdb",
        "-D",
        folder / "data",
        "-A",
        "trust",
        "-U",
        "postgres",
    ]
    command += ["-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
    made = run(command, installation.mode)
    if made.returncode != 0:
        raise NoServer(f"initdb failed. It said: {made.stderr[-2000:]}")
    return folder / "data"


class PgBouncer(Server, PostgresDatabases):
    """A transaction pooler in front of a running server, with fewer connections than it has clients."""

    def __init__(self, databases: PostgresDatabases) -> None:
        Server.__init__(self, "pgbouncer")
        PostgresDatabases.__init__(self, f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        behind = conninfo_to_dict(databases.url("postgres"))
        self._behind = " ".join(f"{key}={behind[key]}" for key in ("host", "port", "user", "password") if key in behind)

    def _prepare(self) -> None:
        super()._prepare()
        if pgbouncer_installation().mode == "nobody":
            shutil.chown(self.folder, "nobody")
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = {self._behind}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
        )

    def _server_command(self) -> tuple[list[str | Path], str]:
        installation = pgbouncer_installation()
        return [installation.programs / "pgbouncer", self.folder / "pgbouncer.ini"], installation.mode

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres"), connect_timeout=2):
            return True
        return False


class ValkeyServer(Server):
    """A Valkey of our own that stores nothing on disk, alone or as another `kind`: "cluster" or "sentinel"."""

    def __init__(self, kind: str = "") -> None:
        super().__init__("valkey")
        self._kind = kind
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def _server_command(self) -> tuple[list[str | Path], str]:
        if self._kind == "sentinel":
            config = self.folder / "sentinel.conf"  # a sentinel starts only with a file that it can write
            config.write_text(f"port {self.port}\nbind 127.0.0.1\n")
            return [valkey_program(), config, "--sentinel"], "plain"
        command: list[str | Path] = [valkey_program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        of_cluster = ["--cluster-enabled", "yes"] if self._kind == "cluster" else []
        return [*command, "--save", "", "--appendonly", "no", *of_cluster], "plain"

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False
