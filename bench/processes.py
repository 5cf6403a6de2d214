"""Programs under measurement: started on given cores, waited for, measured and stopped. Measuring needs Linux.

A program is ready when its port accepts connections or when it has printed so on stdout; each wait has a bound.
"""

import contextlib
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.005
ROOT = Path(__file__).parent.parent


class BenchError(Exception):
    """A measurement could not be made; the text has the reason and the end of the program's log."""


class Program:
    """One process, pinned to its cores; a context manager that always stops it.

    Its stderr goes to `log`, whose end is quoted when the program fails.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        cores: Iterable[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._name = log.stem
        own = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=log.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, env={**own, "PYTHONPATH": str(ROOT), **(environment or {})}, bufsize=0,
            )  # fmt: skip
        self.run_on(cores)
        self._unread = b""

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run_on(self, cores: Iterable[int]) -> None:
        """Pin it to these cores, where the system can."""
        # A process that already ended is reported where it is waited for.
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(self.process.pid, set(cores))

    def stop(self) -> None:
        """Terminate it, and kill it when it does not end in time."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_for_port(self, port: int) -> None:
        """Wait until it listens. Raise BenchError when it ends or takes too long."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise BenchError(f"nothing listens on port {port}. {self._log_tail()}")
            time.sleep(POLL_S)

    def read_object(self, timeout_s: float) -> dict[str, Any]:
        """Return the next line it prints, parsed as JSON. Raise BenchError when there is none in time."""
        assert self.process.stdout is not None
        deadline_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise BenchError(f"no line from {self._name} within {timeout_s:.0f} s. {self._log_tail()}")
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    raise BenchError(f"{self._name} ended. {self._log_tail()}")
                self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far, user and system, to the nanosecond.

        The clock id of another process is computed as by clock_getcpuclockid(3). The times in /proc are sampled at each
        kernel tick, which misjudges a process with a period near that of the tick.
        """
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident_mb(self) -> float:
        """Return its resident memory, MB (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def resident_peak_mb(self) -> float:
        """Return the most resident memory it has had, MB (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def open_files(self) -> int:
        """Return its number of open descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _log_tail(self) -> str:
        return f"End of its log: {self._log.read_text(errors='replace')[-1500:]}"


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def free_port() -> int:
    """Return a free loopback port below the range that the system gives to clients."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no free port from 20000 to 29999 on 127.0.0.1")
