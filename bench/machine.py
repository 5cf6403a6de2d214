"""The machine of a measurement, and which of its cores run what."""

import os
import platform
import re
import sysconfig
from pathlib import Path


def cores() -> tuple[set[int], set[int]]:
    """Return the cores of what is measured, and of everything that drives it; the same ones when there is only one."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return ({usable[0]}, set(usable[1:])) if len(usable) > 1 else ({usable[0]}, {usable[0]})


def usable() -> set[int]:
    """Return all cores that this process may use."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else {0}


def describe() -> str:
    """Return CPU model, cores, kernel and Python, in one line."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_cpu_model()}, {count} core{'s' if count != 1 else ''}, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}{_build()}"
    )


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.machine()


def _build() -> str:
    """Return a note when the interpreter is known to be built with profile-guided optimisation, which matters a lot.

    Packagers may enable it in a way of their own that is not visible here.
    """
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return " (optimised build)" if "--enable-optimizations" in options else ""
