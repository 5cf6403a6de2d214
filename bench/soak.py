"""The soak: 3,000 clients for minutes, some of them slow, some stalled, some coming and going.

2,550 are healthy, 300 slow (10 KB/s, half of what is made), 150 stalled (they read nothing for 20 s, then come anew),
and five a second join and leave. Before that, as many clients that are all healthy and stay are measured for a fifth
of the time: that is the yardstick of the healthy ones' p99. Memory is compared between the second and the last quarter
of the soak, descriptors before anybody came and after all have left. The number of asyncio tasks shows from outside
only as memory.
"""

import time
from dataclasses import dataclass
from statistics import median

from bench.context import Context
from bench.load import PUBLISHED, Window, load
from bench.processes import BenchError
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.terminal import BOOK_PATH, Terminal, get, terminal

HEALTHY, SLOW, STALLED = 2550, 300, 150
SLOW_BYTES_S = 10_000
JOIN_EVERY_MS = 200
BOOK = BOOK_PATH.format(symbol="BTCUSDT")
WINDOWS = 40
MINUTES_MIN = 10.0
FILES_LEFT_MAX = 5
"""The terminal's own connections to its exchange come and go; a leak would leave one for each of hundreds."""
WARMUP_S, LEAVE_S = 5.0, 20.0
ALONE = "as many, all healthy"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was seen: resident memory in MB at the end of each window, the windows, and descriptors left over."""

    alone: list[Window]
    windows: list[Window]
    resident_mb: list[float]
    files_left: int
    cut: int

    def growth_mb(self) -> float:
        """How much more memory the last quarter holds than the second, which is past the warming up."""
        quarter = max(1, len(self.resident_mb) // 4)
        return median(self.resident_mb[-quarter:]) - median(self.resident_mb[quarter : 2 * quarter])


def soak(context: Context) -> Soaked:
    """3,000 clients, 10 % slow, 5 % stalled, five joins and leaves a second."""
    window_s = max(1.0, context.soak_minutes * 60 / WINDOWS)
    with terminal(context.folder, SYMBOLS) as ours:
        time.sleep(LEAVE_S)  # what the start asked of the exchange has closed its connections by then
        files_before = ours.program.open_files()
        alone, _ = _phase(context, ours, WINDOWS // 5, window_s, clients=HEALTHY + SLOW + STALLED)
        windows, resident_mb = _phase(
            context, ours, WINDOWS, window_s, clients=HEALTHY, slow=SLOW, stalled=STALLED, slow_bytes_s=SLOW_BYTES_S,
            join_every_ms=JOIN_EVERY_MS,
        )  # fmt: skip
        time.sleep(LEAVE_S)
        return Soaked(alone, windows, resident_mb, ours.program.open_files() - files_before, _cut(ours))


def _phase(
    context: Context, ours: Terminal, count: int, window_s: float, **clients: int
) -> tuple[list[Window], list[float]]:
    seen: list[Window] = []
    resident_mb: list[float] = []
    with load(
        context.folder, ours.port, BOOK, [ours.program], count, window_s, warmup_s=WARMUP_S,
        **PUBLISHED, **clients,
    ) as windows:  # fmt: skip
        for window in windows:
            seen.append(window)
            resident_mb.append(ours.program.resident_mb())
    return seen, resident_mb


def _cut(ours: Terminal) -> int:
    """How many clients the terminal cut because they took nothing, as it counts them itself."""
    return int(float(get(ours.port, "/metrics").partition(b"\npulse_clients_cut ")[2].split()[0]))


def _p99_ms(windows: list[Window]) -> float:
    """The middle of the windows' p99."""
    found = [window.healthy.p99_s * 1000 for window in windows if window.healthy]
    if not found:
        raise BenchError("the healthy clients got nothing")
    return median(found)


def _p99(context: Context) -> Reading:
    found = context.once(soak)
    notes = [_note(found)]
    if any(window.is_saturated for window in found.windows):
        notes.append("The load generator was saturated.")
    return Reading({PULSE: _p99_ms(found.windows), ALONE: _p99_ms(found.alone)}, tuple(notes))


def _note(found: Soaked) -> str:
    healthy = sum(window.cut_healthy for window in found.windows)
    minutes = sum(window.seconds for window in found.windows) / 60
    short = ", too short to say that memory stays flat" if minutes < MINUTES_MIN else ""
    return f"A soak of {minutes:.1f} minutes{short}; {found.cut:,} clients were cut, {healthy:,} of them healthy."


def _slow_age(context: Context) -> Reading:
    ages = [window.slow.p99_s for window in context.once(soak).windows if window.slow]
    if not ages:
        raise BenchError("the slow clients got nothing")
    return Reading({PULSE: median(ages)}, (_note(context.once(soak)),))


ROWS = (
    Row(
        "soak-memory", "soak: most resident memory", "MB",
        lambda c: Reading({PULSE: max(c.once(soak).resident_mb)}), Budget(250), is_long=True,
    ),
    Row(
        "soak-growth", "soak: growth of resident memory after warming up", "MB",
        lambda c: Reading({PULSE: c.once(soak).growth_mb()}, (_note(c.once(soak)),)), Budget(5), is_long=True,
    ),
    Row(
        "soak-files", "soak: descriptors left open after all clients have gone", "files",
        lambda c: Reading({PULSE: float(c.once(soak).files_left)}), Budget(FILES_LEFT_MAX), is_long=True,
    ),
    Row(
        "soak-p99", "soak: p99 of healthy clients, the sick ones among them", "ms", _p99,
        Budget(1.2, Against.TIMES), ALONE, is_long=True,
    ),
    Row("soak-slow", "soak: p99 of the age of what slow clients see", "s", _slow_age, is_long=True),
)  # fmt: skip
