"""What the process runs on: the versions of its parts, and how much memory, disk and how many descriptors it may use.

It reads, and changes nothing. All of it is known on Linux; elsewhere what cannot be known is None.
"""

import platform
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from pulse import __version__

if sys.platform != "win32":
    import os
    import resource

LIBRARIES = ("aiohttp", "hypercorn", "orjson", "prometheus-client", "psycopg", "redis", "starlette", "wsproto")
"""Libraries whose versions are reported."""
UNLIMITED_BYTES = 1 << 60
"""A control group of the first version states a number above this where there is no limit."""


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of the program, Python, SQLite and the libraries; one that is not installed is left out."""
    found = {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in LIBRARIES:
        try:
            found[name.replace("-", "_")] = version(name)
        except PackageNotFoundError:
            continue
    return MappingProxyType(found)


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Return how much memory the process may use: the least limit of the machine, of its control groups and of its own.

    Its own (`ulimit -m`) is one that the kernel does not enforce, but an operator who sets it wants to know of more.
    """
    limits = [_machine_bytes(), _own_limit_bytes(), *_group_limits_bytes(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _machine_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _own_limit_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    soft = resource.getrlimit(resource.RLIMIT_RSS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _group_limits_bytes(root: Path) -> list[int]:
    """Return the memory limits of the control groups of this process, of either version."""
    mounts = root / "sys/fs/cgroup"
    files = [mounts / "memory/memory.limit_in_bytes"]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        base, name = (mounts, "memory.max") if not controllers else (mounts / "memory", "memory.limit_in_bytes")
        if not controllers or "memory" in controllers.split(","):
            group = Path(path.lstrip("/"))
            files += [base / each / name for each in (group, *group.parents)]
    texts = [_read(file).strip() for file in dict.fromkeys(files)]
    return [int(text) for text in texts if text.isascii() and text.isdigit() and int(text) < UNLIMITED_BYTES]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def descriptor_limit() -> int | None:
    """Return how many files and sockets the process may open once it has raised its soft limit; None: any number."""
    if sys.platform == "win32":
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def disk_free_bytes(folder: Path) -> int:
    """Return how much this process may still write to the disk of an existing folder. Raises OSError."""
    return shutil.disk_usage(folder).free
