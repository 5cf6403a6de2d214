"""The terminal within 512 MB: `python -m bench.confined`, under a memory limit that the kernel sets.

Ten simulated symbols, 500 clients, and 30 days of minutes fetched into SQLite, 432,000 in all. The terminal alone is in
the limited control group (cgroup v2 `memory.max`, or v1 `memory.limit_in_bytes`), which counts its memory, its page
cache and the kernel's buffers for it; what exceeds the limit is killed. Needs Linux and root.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.load import load
from bench.machine import cores, describe, usable
from bench.processes import BenchError, Program, free_port, python
from bench.terminal import BOOK_PATH, SIMULATED, Terminal, running
from pulse.simulator.market import Retention
from pulse.simulator.server import KNOWN_SYMBOLS, STEP_S, SimulatedExchange

LIMIT_BYTES = 512 * 1024 * 1024
DAYS, CLIENTS = 30, 500
MINUTES = DAYS * 1440
EXCHANGE_READY_TIMEOUT_S = 300.0
"""The exchange draws its history before it listens."""
FETCH_TIMEOUT_S = 1800.0
BEHIND_MS = 100
"""The exchange begins when its market is no further behind the clock than this."""
AFTER_S = 60.0
"""Measured on after the last minute has been fetched, and at least that long."""
WINDOW_S = 2.0
ROOT = Path("/sys/fs/cgroup")
EXIT_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A control group with a memory limit, and the names of its files in its version of the interface."""

    folder: Path
    limit: str
    peak: str
    swap_limit: str

    def peak_mb(self) -> float:
        """Return the most that it has held, MB."""
        return int((self.folder / self.peak).read_text()) / 1e6

    def limit_mb(self) -> float:
        """Return the limit as the kernel has it, MB."""
        return int((self.folder / self.limit).read_text()) / 1e6


@contextmanager
def control_group(limit_bytes: int) -> Iterator[ControlGroup]:
    """Make a group with this limit and without swap, and remove it. Raise BenchError where that is impossible."""
    name = f"pulse-bench-{os.getpid()}"
    if "memory" in _text(ROOT / "cgroup.subtree_control").split():
        group = ControlGroup(ROOT / name, "memory.max", "memory.peak", "memory.swap.max")
    elif (ROOT / "memory" / "memory.limit_in_bytes").exists():
        group = ControlGroup(
            ROOT / "memory" / name, "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.swappiness"
        )
    else:
        raise BenchError(f"no memory controller under {ROOT}: expected cgroup v2 with memory in its subtree, or v1")
    try:
        group.folder.mkdir()
    except OSError as fault:
        raise BenchError(f"a control group cannot be made: {fault}. Run as root, outside of a container.") from fault
    try:
        (group.folder / group.limit).write_text(str(limit_bytes))
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            (group.folder / group.swap_limit).write_text("0")
        yield group
    finally:
        group.folder.rmdir()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@dataclass(slots=True)
class Confined:
    """What was seen: of the terminal, its group, its store and its clients."""

    group: str
    limit_mb: float
    resident_peak_mb: float = 0.0
    group_peak_mb: float = 0.0
    minutes: int = 0
    fetch_s: float = 0.0
    seconds: float = 0.0
    clients_min: int = CLIENTS
    messages: int = 0
    cut: int = 0
    exit_code: int | None = None

    def reasons(self) -> list[str]:
        """Return why it failed, empty when all was fetched and served within the limit."""
        reasons = []
        if self.minutes < MINUTES * len(KNOWN_SYMBOLS):
            reasons.append(f"expected {MINUTES * len(KNOWN_SYMBOLS):,} minutes in the store, got {self.minutes:,}")
        if self.clients_min < CLIENTS:
            reasons.append(f"expected {CLIENTS} clients throughout, got {self.clients_min} at least")
        if self.exit_code != 0:
            reasons.append(f"expected exit code 0 after SIGTERM, got {self.exit_code}")
        return reasons


def confined(folder: Path) -> Confined:
    """Run it. Raise BenchError when something cannot be started, or the kernel kills the terminal."""
    port, (_, driving) = free_port(), cores()
    settings = {
        **SIMULATED,
        "PULSE_BACKFILL_DAYS": str(DAYS),
        "PULSE_CLIENTS_MAX": "1000",
        "PULSE_CLIENTS_PER_ADDRESS_MAX": "1000",
        "PULSE_SPOOL_PATH": str(folder / "spool.ndjson"),
    }
    with (
        control_group(LIMIT_BYTES) as group,
        Program(python("bench.confined", "--exchange", port), driving, folder / "exchange.log") as exchange,
    ):
        exchange.read_object(EXCHANGE_READY_TIMEOUT_S)
        exchange.run_on(usable())
        found = Confined(str(group.folder / group.limit), group.limit_mb())
        with running(folder, KNOWN_SYMBOLS, port, settings, group.folder / "cgroup.procs") as ours:
            ours.program.run_on(usable())
            _measure(folder, ours, found)
            found.resident_peak_mb = ours.program.resident_peak_mb()
        found.exit_code = ours.program.process.returncode
        found.group_peak_mb = group.peak_mb()
        return found


def _measure(folder: Path, ours: Terminal, found: Confined) -> None:
    """Serve the clients until every minute is stored, and AFTER_S longer."""
    paths = ",".join(BOOK_PATH.format(symbol=symbol) for symbol in KNOWN_SYMBOLS)
    began_s, fetched_s = time.monotonic(), 0.0
    windows_max = int((FETCH_TIMEOUT_S + AFTER_S) / WINDOW_S)
    with load(folder, ours.port, paths, [ours.program], windows_max, WINDOW_S, clients=CLIENTS) as windows:
        for window in windows:
            now_s = time.monotonic() - began_s
            found.seconds, found.messages = now_s, found.messages + window.messages
            found.clients_min, found.cut = min(found.clients_min, window.clients), found.cut + window.cut_healthy
            found.minutes = _stored(folder)
            if not fetched_s and found.minutes >= MINUTES * len(KNOWN_SYMBOLS):
                fetched_s = found.fetch_s = now_s
            if fetched_s and now_s - fetched_s >= AFTER_S:
                return


def _stored(folder: Path) -> int:
    """Return how many minutes the terminal's file has."""
    with closing(sqlite3.connect(f"file:{folder / 'candles.sqlite3'}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM candles").fetchone()[0]
        return count


async def _serve(port: int) -> None:
    """Run the simulated exchange, which has the minutes of DAYS and one more."""
    retention = Retention(history_minutes=MINUTES + 1440)
    async with SimulatedExchange(KNOWN_SYMBOLS, port=port, retention=retention) as exchange:
        # The history was drawn meanwhile. The exchange has no event for having caught up.
        while exchange.core.now_ms < time.time() * 1000 - BEHIND_MS:  # noqa: ASYNC110
            await asyncio.sleep(STEP_S)
        print('{"event":"ready"}', flush=True)
        await exchange.watch()


def report(found: Confined, load_before: float) -> str:
    """Return the figures of a run, as lines of text."""
    lines = (
        f"{datetime.now(UTC):%Y-%m-%d}, {describe()}, load {load_before:.1f} before",
        f"limit: {found.limit_mb:.1f} MB by {found.group}",
        f"symbols: {len(KNOWN_SYMBOLS)}; clients: {found.clients_min} at least; cut: {found.cut}; "
        f"messages: {found.messages:,} in {found.seconds:.0f} s",
        f"minutes in the store: {found.minutes:,}, the history within {found.fetch_s:.0f} s",
        f"resident memory at most: {found.resident_peak_mb:.1f} MB",
        f"the group's memory at most, page cache included: {found.group_peak_mb:.1f} MB",
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with the command line's arguments; print the figures, and return 1, with the reasons, if it failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.confined", description=__doc__, allow_abbrev=False)
    parser.add_argument("--exchange", type=int, metavar="PORT", help="be its simulated exchange, on this port")
    options = parser.parse_args(arguments)
    if options.exchange is not None:
        asyncio.run(_serve(options.exchange))
        return 0
    # SIGTERM must also end the programs started by the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="pulse-confined-") as folder:
        try:
            found = confined(Path(folder))
        except BenchError as fault:
            print(f"failed: {fault}")
            return 1
    print(report(found, load_before))
    reasons = found.reasons()
    print("\n".join(f"failed: {reason}" for reason in reasons) or "passed")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
