"""Starts the rivals of the fan-out, each with a text of the terminal's size and rate."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench.load import HERE, compiled, compiler
from bench.machine import cores
from bench.processes import Program, free_port, python
from bench.services import valkey


@dataclass(frozen=True, slots=True)
class Rival:
    """A running rival."""

    program: Program
    port: int
    path: str = "/ws"


Starter: TypeAlias = Callable[[Path, int, float], AbstractContextManager[Rival]]
"""Takes a folder, the size of a message in bytes and the rate in Hz."""


@contextmanager
def hard_limit(folder: Path, size: int, rate_hz: float) -> Iterator[Rival]:
    """Run the broadcaster in C, or the raw asyncio one where there is no compiler."""
    command: list[str | Path] = [*python("bench.rivals.raw_asyncio")]
    if compiler():
        command = [compiled(HERE / "rivals" / "epoll.c", folder)]
    with _run(folder, "limit", command, size, rate_hz) as rival:
        yield rival


@contextmanager
def raw_asyncio(folder: Path, size: int, rate_hz: float) -> Iterator[Rival]:
    """Run the raw asyncio broadcaster."""
    with _run(folder, "asyncio", python("bench.rivals.raw_asyncio"), size, rate_hz) as rival:
        yield rival


@contextmanager
def starlette_hypercorn(folder: Path, size: int, rate_hz: float) -> Iterator[Rival]:
    """Run unmodified Starlette on Hypercorn."""
    with _run(folder, "starlette", python("bench.rivals.starlette_hypercorn"), size, rate_hz) as rival:
        yield rival


@contextmanager
def fastapi_redis(folder: Path, size: int, rate_hz: float) -> Iterator[Rival]:
    """Run FastAPI on Uvicorn with a Redis subscription per client, a real Valkey and its publisher."""
    _, driving = cores()
    with (
        valkey(folder) as url,
        _run(folder, "fastapi", python("bench.rivals.fastapi_redis"), url) as rival,
        Program(python("bench.rivals.publisher", url, size, rate_hz), driving, folder / "publisher.log"),
    ):
        yield rival


@contextmanager
def _run(folder: Path, name: str, command: list[str | Path] | list[str], *arguments: object) -> Iterator[Rival]:
    port = free_port()
    measured, _ = cores()
    full_command = [*map(str, command), str(port), *map(str, arguments)]
    with Program(full_command, measured, folder / f"{name}.log") as program:
        program.wait_for_port(port)
        yield Rival(program, port)
