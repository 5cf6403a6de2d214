"""The memory-limited run: what fails it, and the group that limits it."""

import sys
from pathlib import Path

import pytest

from bench.confined import CLIENTS, MINUTES, Confined, ControlGroup
from bench.machine import usable
from bench.processes import Program
from bench.terminal import joining
from pulse.simulator.server import KNOWN_SYMBOLS

GOOD = Confined("group", 536.9, minutes=MINUTES * len(KNOWN_SYMBOLS), exit_code=0)


def test_all_minutes_and_clients_pass() -> None:
    """432,000 minutes, and every client served throughout."""
    assert GOOD.minutes == 432_000
    assert GOOD.reasons() == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"minutes": 431_999}, "expected 432,000 minutes in the store, got 431,999"),
        ({"clients_min": CLIENTS - 1}, "expected 500 clients throughout, got 499 at least"),
        ({"exit_code": -9}, "expected exit code 0 after SIGTERM, got -9"),
    ],
)
def test_each_failure_has_its_reason(fields: dict[str, int], reason: str) -> None:
    """A minute or a client less, and a process that the kernel has killed."""
    found = Confined("group", 536.9, minutes=GOOD.minutes, exit_code=0)
    for name, value in fields.items():
        setattr(found, name, value)

    assert found.reasons() == [reason]


def test_figures_of_a_group_are_those_of_its_files(tmp_path: Path) -> None:
    """In MB of a million bytes."""
    (tmp_path / "memory.max").write_text("536870912\n")
    (tmp_path / "memory.peak").write_text("200000000\n")
    group = ControlGroup(tmp_path, "memory.max", "memory.peak", "memory.swap.max")

    assert (group.limit_mb(), group.peak_mb()) == (536.870912, 200.0)


def test_program_joins_its_group_before_it_begins(tmp_path: Path) -> None:
    """The id written to the group's file is that of the program itself."""
    own = "import os, pathlib; print(int(pathlib.Path('procs').read_text()) == os.getpid())"

    with Program(joining(tmp_path / "procs", [sys.executable, "-c", own]), usable(), tmp_path / "log") as program:
        assert program.process.stdout is not None
        assert program.process.stdout.read() == b"True\n"
