"""Many symbols on one box: how soon all books are live and wholly known, and what they cost without viewers.

The exchange is the paced one, ten diffs a second for each symbol; the terminal keeps to the request weights of the
venue named, half of whose limit is its own. A ban is an exchange that refuses every REST call from the start, for some
minutes: what waits for its end must not grow with its length. The memory of a ban is the most that the process has had
in it.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.context import Context
from bench.machine import cores
from bench.processes import BenchError, Program, free_port, python
from bench.rows import PULSE, Budget, Reading, Row
from bench.terminal import counted, environment_of, exchange

SYMBOLS, QUICK_SYMBOLS, MORE_SYMBOLS = 100, 10, 300
RATE_HZ = 10.0
POLL_S = 0.25
LIVE_TIMEOUT_S, FULL_TIMEOUT_S, MORE_TIMEOUT_S = 420.0, 900.0, 2_700.0
"""Of 300 symbols half wait for five minutes: so many connections may be opened."""
CPU_WINDOW_S, QUICK_CPU_WINDOW_S = 60.0, 5.0
BAN_S, QUICK_BAN_S = 180.0, 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """Of one start: seconds until every book was live and wholly known, then MB resident, the most, and a core's %."""

    live_s: float
    full_s: float
    resident_mb: float
    peak_mb: float
    cpu_percent: float


def com(context: Context) -> Run:
    """Measure 100 symbols with the request weights of Binance.com."""
    return _measure(context, "com", _count(context), FULL_TIMEOUT_S)


def us(context: Context) -> Run:
    """Measure 100 symbols with the request weights of Binance.US."""
    return _measure(context, "us", _count(context), FULL_TIMEOUT_S)


def more(context: Context) -> Run:
    """Measure 300 symbols with the request weights of Binance.com."""
    count = 3 * QUICK_SYMBOLS if context.is_quick else MORE_SYMBOLS
    return _measure(context, "com", count, MORE_TIMEOUT_S)


def banned(context: Context) -> Run:
    """Measure 100 symbols whose exchange refuses every REST call for the first minutes."""
    ban_s = context.seconds(BAN_S, QUICK_BAN_S)
    return _measure(context, "com", _count(context), ban_s + FULL_TIMEOUT_S, ban_s)


def _count(context: Context) -> int:
    return QUICK_SYMBOLS if context.is_quick else SYMBOLS


def _measure(context: Context, venue: str, count: int, timeout_s: float, ban_s: float = 0.0) -> Run:
    symbols = [f"COIN{number}USDT" for number in range(count)]
    with exchange(context.folder, symbols, RATE_HZ, ban_s) as exchange_port:
        settings = environment_of(context.folder, symbols, exchange_port) | {
            "PORT": str(free_port()),
            "PULSE_VENUE": venue,
            "PULSE_SYMBOLS_MAX": str(count),
            "PULSE_PUBLISH_INTERVAL_MS": "80",
            "PULSE_SQLITE_PATH": str(context.folder / f"candles-{venue}-{count}.sqlite3"),
            "PULSE_STATE_PATH": str(context.folder / f"state-{time.monotonic_ns()}.json"),
        }
        with _terminal(context.folder, settings) as program:
            return _run(context, program, int(settings["PORT"]), count, timeout_s, ban_s)


def _terminal(folder: Path, settings: Mapping[str, str]) -> Program:
    measured, _ = cores()
    return Program(python("pulse"), measured, folder / "pulse.log", settings)


def _run(context: Context, program: Program, port: int, count: int, timeout_s: float, ban_s: float) -> Run:
    began_s = time.monotonic()
    program.wait_for_port(port)
    live_s = _until(lambda: counted(port, "pulse_book_is_live") == count, began_s, ban_s + LIVE_TIMEOUT_S, "live")
    peak_mb = program.resident_peak_mb()
    context.log(f"{count} symbols live after {live_s:.1f} s, {program.resident_mb():.0f} MB, at most {peak_mb:.0f} MB")
    full_s = _until(lambda: counted(port, "pulse_windows_narrow") == 0, began_s, timeout_s, "wholly known")
    cpu_s, window_s = program.cpu_s(), context.seconds(CPU_WINDOW_S, QUICK_CPU_WINDOW_S)
    time.sleep(window_s)
    cpu_percent = 100 * (program.cpu_s() - cpu_s) / window_s
    return Run(live_s - ban_s, full_s, program.resident_mb(), peak_mb, cpu_percent)


def _until(condition: Callable[[], bool], began_s: float, timeout_s: float, what: str) -> float:
    """Return how long after the start the condition held."""
    while True:
        with contextlib.suppress(TimeoutError):  # a start of many symbols may keep the loop busy for a while
            if condition():
                return time.monotonic() - began_s
        if time.monotonic() - began_s > timeout_s:
            raise BenchError(f"the books were not {what} within {timeout_s:.0f} s")
        time.sleep(POLL_S)


def _row(
    name: str, what: str, unit: str, of: Callable[[Context], Run], figure: Callable[[Run], float], limit: float
) -> Row:
    def measure(context: Context) -> Reading:
        return Reading({PULSE: figure(context.once(of))})

    return Row(name, what, unit, measure, Budget(limit), is_long=True)


ROWS = (
    _row("many-live", "100 symbols, `com`: start until all books are live", "s", com, lambda run: run.live_s, 15.0),
    _row("many-live-us", "100 symbols, `us`: start until all books are live", "s", us, lambda run: run.live_s, 15.0),
    _row(
        "many-full", "100 symbols, `com`: start until 5,000 levels are known", "s", com, lambda run: run.full_s, 600.0
    ),
    _row(
        "many-full-us", "100 symbols, `us`: start until 5,000 levels are known", "s", us, lambda run: run.full_s, 600.0
    ),
    _row("many-memory", "100 symbols, all known: resident memory", "MB", com, lambda run: run.resident_mb, 250.0),
    _row("many-cpu", "100 symbols at 10 Hz, no viewers: CPU", "% of a core", com, lambda run: run.cpu_percent, 25.0),
    _row("many-ban", "100 symbols, REST refused: most memory in it", "MB", banned, lambda run: run.peak_mb, 400.0),
    _row("many-ban-live", "100 symbols: end of the ban until live", "s", banned, lambda run: run.live_s, 60.0),
    _row("many-300-memory", "300 symbols, all known: resident memory", "MB", more, lambda run: run.resident_mb, 512.0),
    _row(
        "many-300-live", "300 symbols, `com`: start until all books are live", "s", more, lambda run: run.live_s, 330.0
    ),
)
