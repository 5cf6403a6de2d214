"""What the process runs on, read from this machine and from files as the kernel writes them."""

import platform
import sys
from pathlib import Path

import pytest

from pulse import __version__
from pulse.machine import descriptor_limit, disk_free_bytes, memory_limit_bytes, versions

MEBIBYTE = 2**20


def test_versions_are_those_that_run() -> None:
    """The program's, Python's, and each library's."""
    found = versions()

    assert (found["version"], found["python"]) == (__version__, platform.python_version())
    assert {"sqlite", "aiohttp", "orjson", "psycopg", "redis", "prometheus_client"} <= found.keys()


@pytest.mark.parametrize(
    ("groups", "files", "expected_mebibytes"),
    [
        ("0::/a.slice/a.service\n", {"a.slice/memory.max": 512, "a.slice/a.service/memory.max": 600}, 512),
        ("0::/\n", {"memory.max": 384}, 384),
        ("9:cpu:/x\n5:memory:/docker/ab\n", {"memory/docker/ab/memory.limit_in_bytes": 256}, 256),
        ("", {"memory/memory.limit_in_bytes": 128}, 128),
    ],
)  # fmt: skip
def test_memory_limit_is_the_least_of_the_control_groups(
    tmp_path: Path, groups: str, files: dict[str, int], expected_mebibytes: int
) -> None:
    """A container or a unit has less than the machine, by either version of control groups."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, mebibytes in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{mebibytes * MEBIBYTE}\n")

    assert memory_limit_bytes(tmp_path) == expected_mebibytes * MEBIBYTE


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", "not a number"])
def test_a_group_without_a_limit_leaves_the_machines(tmp_path: Path, text: str) -> None:
    """The words and the number that mean "none" are no limit."""
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(text)
    machine = memory_limit_bytes(tmp_path / "nowhere")

    assert machine is not None
    assert machine > 100 * MEBIBYTE
    assert memory_limit_bytes(tmp_path) == machine


def test_descriptors_and_disk_are_this_machines(tmp_path: Path) -> None:
    """A folder that is not there is an error of the system."""
    limit = descriptor_limit()

    assert limit is None or limit > 0 or sys.platform == "win32"
    assert disk_free_bytes(tmp_path) > 0
    with pytest.raises(OSError, match="No such file"):
        disk_free_bytes(tmp_path / "nowhere")
