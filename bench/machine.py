"""The machine a figure was measured on, and which of its cores do what."""

import os
import platform
import re
import sysconfig
from pathlib import Path


def cores() -> tuple[set[int], set[int]]:
    """The cores of what is measured, and of everything that drives it; the same ones where there is only one."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return ({usable[0]}, set(usable[1:])) if len(usable) > 1 else ({usable[0]}, {usable[0]})


def describe() -> str:
    """CPU model, cores, kernel and Python, in one line."""
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
    """Says so where the interpreter is known to be built with profile-guided optimisation, which matters a great deal.

    Who makes packages may do so in a way of their own that does not show.
    """
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return " (optimised build)" if "--enable-optimizations" in options else ""
