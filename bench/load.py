"""The load generator for the experiments: load.c where there is a C compiler, else the same in Python.

It starts the generator and parses its reports; the experiments interpret them.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
SATURATED_SHARE = 0.8
"""A generator that uses more of its core than this may itself delay messages."""
PUBLISHED: dict[str, Any] = {"stamp": '"timestamp":'}
SENT: dict[str, Any] = {"stamp": '"last_update_id":', "scale": 1e-6}
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
    own = {"windows": windows, "window_s": window_s, "connect_s": CONNECT_S}
    arguments = [f"{name}={value}" for name, value in {**options, **own}.items()]

    if compiler():
        command: list[str | Path] = [compiled(HERE / "load.c", folder)]
    else:
        command = [*python("bench.load_asyncio")]
    _, driving = cores()
    with Program([*command, str(port), path, *arguments], driving, folder / "load.log") as program:
        message = program.read_object(CONNECT_S + GRACE_S)
        if message["event"] == "refused":
            raise Refused(message["status"])
        program.read_object(GRACE_S + float(options.get("warmup_s", 1.0)))
        yield (_window(program, servers, window_s) for _ in range(windows))


def _window(program: Program, servers: Sequence[Program], window_s: float) -> Window:
    before_s = sum(server.cpu_s() for server in servers)
    message = program.read_object(window_s + GRACE_S)
    used_s = sum(server.cpu_s() for server in servers) - before_s
    counts = {name: message[name] for name in ("seconds", "clients", "messages", "bytes", "compressed", "refused")}
    cuts = {name: message[name] for name in ("cut_healthy", "cut_slow", "cut_stalled")}
    return Window(
        **counts, **cuts, generator_share=message["cpu_s"] / message["seconds"], server_cpu_s=used_s,
        healthy=_ages(message["healthy"]), slow=_ages(message["slow"]),
    )  # fmt: skip


def _ages(message: dict[str, Any] | None) -> Ages | None:
    return None if message is None else Ages(**message)
