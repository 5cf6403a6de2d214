"""The load generator for the experiments: load.c where there is a C compiler, else the same in Python.

It starts the generator and parses its reports; the experiments interpret them.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.machine import cores
from bench.processes import BenchError, Program, python

HERE = Path(__file__).parent
CONNECT_S = 60.0
"""Clients that are not served by then keep trying while the others are measured."""
GRACE_S = 30.0
FIRST_SOURCE = 2
"""The first generator of several connects from 127.0.0.2: Linux takes any address of 127.0.0.0/8 as its own."""
SATURATED_SHARE = 0.8
"""Generators that use more of their cores than this may themselves delay messages."""
ID_S = 1e-5
"""The paced exchange's ids are times of sending in this unit."""
PUBLISHED: dict[str, Any] = {"stamp": '"timestamp":'}
SENT: dict[str, Any] = {"stamp": '"last_update_id":', "scale": ID_S}
"""The stamps of a view: when it was made, and when the exchange sent the diff behind it."""


class Refused(BenchError):
    """The server refused the first WebSocket; `status` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server refused the WebSocket with status {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Ages:
    """The age of messages when read: quantiles in seconds."""

    count: int
    p50_s: float
    p99_s: float
    worst_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """The results of a measuring window, and the server's CPU in it. `healthy` None: no message had a stamp."""

    seconds: float
    clients: int
    messages: int
    bytes: int
    compressed: int
    generator_share: float
    server_cpu_s: float
    refused: int
    cut_healthy: int
    cut_slow: int
    cut_stalled: int
    healthy: Ages | None
    slow: Ages | None

    @property
    def server_us(self) -> float:
        """Server CPU per delivered message, us."""
        return self.server_cpu_s / self.messages * 1e6 if self.messages else float("nan")

    @property
    def is_saturated(self) -> bool:
        """Whether the generator may have been the bottleneck."""
        return self.generator_share > SATURATED_SHARE


@cache
def compiler() -> str | None:
    """Return the C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def compiled(source: Path, folder: Path) -> Path:
    """Build one of bench's C programs. Raise BenchError with the compiler's output."""
    program = folder / source.stem
    if not program.exists():
        command = [compiler() or "cc", "-O2", "-o", str(program), str(source)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise BenchError(f"{source.name} does not compile: {made.stderr[-1500:]}")
    return program


@contextmanager
def load(
    folder: Path,
    port: int,
    path: str,
    servers: Sequence[Program],
    windows: int = 1,
    window_s: float = 1.0,
    **options: Any,
) -> Iterator[Iterator[Window]]:
    """Connect the clients; yield the windows as they are measured, while the clients stay. Raise Refused.

    With several paths, separated by commas, the clients use them in turn. `servers` are the programs whose CPU counts.
    The options are those of load.c.
    """
    with _generator(folder, "load", port, path, windows=windows, window_s=window_s, **options) as program:
        _wait_connected(program)
        program.read_object(GRACE_S + float(options.get("warmup_s", 1.0)))
        yield (_window([program], servers, window_s) for _ in range(windows))


@dataclass(frozen=True, slots=True)
class Target:
    """What one of several generators connects to: port, path and number of clients."""

    port: int
    path: str
    clients: int


@contextmanager
def loads(
    folder: Path, targets: Sequence[Target], servers: Sequence[Program], windows: int = 1, window_s: float = 1.0,
    **options: Any,
) -> Iterator[Iterator[Window]]:  # fmt: skip
    """Do what `load` does with a generator for each target, which connects from a loopback address of its own.

    They connect one after the other, and measure together. A window then has the sums of theirs, and of the ages the
    worst quantile of any.
    """
    with ExitStack() as running:
        programs = [
            running.enter_context(
                _generator(
                    folder, f"load-{at}", target.port, target.path, windows=windows, window_s=window_s,
                    clients=target.clients, source=f"127.0.0.{FIRST_SOURCE + at}", gate=1, **options,
                )
            )
            for at, target in enumerate(targets)
        ]  # fmt: skip
        for program in programs:
            _wait_connected(program)
        time.sleep(float(options.get("warmup_s", 1.0)))
        for program in programs:
            assert program.process.stdin is not None
            program.process.stdin.write(b"\n")
        for program in programs:
            program.read_object(GRACE_S)
        yield (_window(programs, servers, window_s) for _ in range(windows))


def _generator(folder: Path, name: str, port: int, path: str, **options: Any) -> Program:
    """Start a generator on the driving cores."""
    arguments = [f"{key}={value}" for key, value in {"connect_s": CONNECT_S, **options}.items()]
    if compiler():
        command: list[str | Path] = [compiled(HERE / "load.c", folder)]
    else:
        command = [*python("bench.load_asyncio")]
    _, driving = cores()
    return Program([*command, str(port), path, *arguments], driving, folder / f"{name}.log")


def _wait_connected(program: Program) -> None:
    message = program.read_object(CONNECT_S + GRACE_S)
    if message["event"] == "refused":
        raise Refused(message["status"])


def _window(programs: Sequence[Program], servers: Sequence[Program], window_s: float) -> Window:
    before_s = sum(server.cpu_s() for server in servers)
    messages = [program.read_object(window_s + GRACE_S) for program in programs]
    used_s = sum(server.cpu_s() for server in servers) - before_s
    names = ("clients", "messages", "bytes", "compressed", "refused", "cut_healthy", "cut_slow", "cut_stalled")
    seconds = max(message["seconds"] for message in messages)
    _, driving = cores()
    share = sum(message["cpu_s"] for message in messages) / seconds / min(len(driving), len(programs))
    return Window(
        **{name: sum(message[name] for message in messages) for name in names},
        seconds=seconds, generator_share=share, server_cpu_s=used_s,
        healthy=_ages([message["healthy"] for message in messages]),
        slow=_ages([message["slow"] for message in messages]),
    )  # fmt: skip


def _ages(messages: Sequence[dict[str, Any] | None]) -> Ages | None:
    """Join the ages that several generators report; None where none has any."""
    known = [message for message in messages if message is not None]
    if not known:
        return None
    worst = {name: max(message[name] for message in known) for name in ("p50_s", "p99_s", "worst_s")}
    return Ages(count=sum(message["count"] for message in known), **worst)
