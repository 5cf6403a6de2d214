"""Programs under measurement: started on given cores, waited for, weighed, and ended. Linux alone tells their weight.

A program is ready when its port answers or when it has said so on stdout; each wait has a bound.
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
LOOK_EVERY_S = 0.005
ROOT = Path(__file__).parent.parent


class BenchError(Exception):
    """A measurement could not be made; the text says why, and what was said last."""


class Program:
    """One process, pinned to its cores; a context manager that leaves none behind.

    Its stderr goes to `log`, whose end is quoted where the program fails.
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
        if hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(
                ProcessLookupError
            ):  # what it says when it fails comes from where it is waited for
                os.sched_setaffinity(self.process.pid, set(cores))
        self._unread = b""

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
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
        """Wait until it listens. Raises BenchError."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise BenchError(f"nothing listens on port {port}. {self._last_words()}")
            time.sleep(LOOK_EVERY_S)

    def read_object(self, timeout_s: float) -> dict[str, Any]:
        """The next line it writes, as JSON. Raises BenchError."""
        assert self.process.stdout is not None
        deadline_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise BenchError(f"no word from {self._name} in {timeout_s:.0f} s. {self._last_words()}")
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    raise BenchError(f"{self._name} ended. {self._last_words()}")
                self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def cpu_s(self) -> float:
        """CPU time that all its threads have used so far, user and system, to the nanosecond.

        The number of another process's clock is as clock_getcpuclockid(3) makes it. What /proc tells is sampled at
        each tick of the kernel, and misjudges a process whose own beat is near that.
        """
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident_mb(self) -> float:
        """Its resident memory, MB (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def open_files(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _last_words(self) -> str:
        return f"It said: {self._log.read_text(errors='replace')[-1500:]}"


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def free_port() -> int:
    """A port of loopback that is free, below those the system gives to clients."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no free port from 20000 to 29999 on 127.0.0.1")
