"""The crowd: 3,000 clients for minutes, some of them slow, some stalled, some joining and leaving.

2,550 are healthy, 300 slow (10 KB/s, half of what is sent or less), 150 stalled (they read nothing for 20 s, then
reconnect), and five a second join and leave. Before that, the same number of clients, all healthy and staying, is
measured for a fifth of the time: that is the baseline of the healthy clients' p99. Memory is compared between the
second and the last quarter, tasks and descriptors before the first client came and after all have left.

It runs twice: with the paced exchange and three symbols, and with the busy one, five symbols, and a real browser that
stays from before the first client until after the last.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.busy import SYMBOLS as BUSY_SYMBOLS
from bench.context import Context
from bench.load import PUBLISHED, Window, load
from bench.machine import cores
from bench.processes import BenchError, Program, python
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.terminal import BOOK_PATH, Terminal, busy_terminal, counted, get, terminal

HEALTHY, SLOW, STALLED = 2550, 300, 150
SLOW_BYTES_S = 10_000
JOIN_EVERY_MS = 200
WINDOWS = 40
MINUTES_MIN = 10.0
LEFT_MAX = 5
"""The terminal's own connections to its exchange vary; a leak would leave one for each of hundreds of clients."""
WARMUP_S, LEAVE_S = 5.0, 20.0
PAGE_TIMEOUT_S = 60.0
ALONE = "the same number, all healthy"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass(frozen=True, slots=True)
class CrowdResult:
    """The results: resident memory in MB at the end of each window, the windows, and what was left over."""

    alone: list[Window]
    windows: list[Window]
    resident_mb: list[float]
    files_left: int
    tasks_left: int
    cut: int
    frames_s: float

    def growth_mb(self) -> float:
        """Return how much more memory the last quarter holds than the second, which is past the warm-up."""
        quarter = max(1, len(self.resident_mb) // 4)
        return median(self.resident_mb[-quarter:]) - median(self.resident_mb[quarter : 2 * quarter])


@dataclass(frozen=True, slots=True)
class PageDelay:
    """The page's delay in ms, from making a view to the page's confirmation that it was shown; and its heap."""

    p50_ms: float
    p99_ms: float
    heap_mb: float


def crowd(context: Context) -> CrowdResult:
    """Run 3,000 clients, 10 % slow, 5 % stalled, five joins and leaves a second."""
    with terminal(context.folder, SYMBOLS) as ours:
        return _crowd(context, ours, BOOK_PATH.format(symbol=SYMBOLS[0]))


def busy_crowd(context: Context) -> tuple[CrowdResult, PageDelay]:
    """Run the same on five symbols three times as busy as the recorded BTCUSDT, with Chromium's page as a client."""
    _, driving = cores()
    with (
        busy_terminal(context.folder) as ours,
        Program(
            python("bench.browser", f"http://127.0.0.1:{ours.port}/"), driving, context.folder / "browser.log"
        ) as page,
    ):
        page.read_object(PAGE_TIMEOUT_S)
        found = _crowd(context, ours, ",".join(BOOK_PATH.format(symbol=symbol) for symbol in BUSY_SYMBOLS))
        return found, _page_delay(ours, page)


def _crowd(context: Context, ours: Terminal, paths: str) -> CrowdResult:
    window_s = max(1.0, context.crowd_minutes * 60 / WINDOWS)
    time.sleep(LEAVE_S)  # the connections of the start-up requests are closed by then
    files_before, tasks_before = ours.program.open_files(), counted(ours.port, "pulse_tasks")
    alone, _ = _phase(context, ours, paths, WINDOWS // 5, window_s, clients=HEALTHY + SLOW + STALLED)
    frames_before, began_s = counted(ours.port, "pulse_frames_received_total"), time.monotonic()
    windows, resident_mb = _phase(
        context, ours, paths, WINDOWS, window_s, clients=HEALTHY, slow=SLOW, stalled=STALLED,
        slow_bytes_s=SLOW_BYTES_S, join_every_ms=JOIN_EVERY_MS,
    )  # fmt: skip
    frames_s = (counted(ours.port, "pulse_frames_received_total") - frames_before) / (time.monotonic() - began_s)
    time.sleep(LEAVE_S)
    return CrowdResult(
        alone, windows, resident_mb, ours.program.open_files() - files_before,
        int(counted(ours.port, "pulse_tasks") - tasks_before),
        int(counted(ours.port, "pulse_clients_cut_total")), frames_s,
    )  # fmt: skip


def _page_delay(ours: Terminal, page: Program) -> PageDelay:
    """Read the page's state. Raise BenchError unless it is live, and was so on one compressed connection."""
    assert page.process.stdin is not None
    page.process.stdin.write(b"\n")
    message = page.read_object(PAGE_TIMEOUT_S)
    state, sockets, compressed = (message[name] for name in ("state", "sockets", "compressed"))
    if (state, sockets, compressed) != ("live", 1, 1):
        raise BenchError(
            f"expected the page live on 1 compressed socket, got {state} on {sockets} sockets, {compressed} compressed"
        )
    hops = {hop["hop"]: hop for hop in json.loads(get(ours.port, "/api/latency"))["hops"]}
    return PageDelay(hops["echo"]["p50_ms"], hops["echo"]["p99_ms"], message["heap_mb"])


def _phase(
    context: Context, ours: Terminal, paths: str, count: int, window_s: float, **clients: int
) -> tuple[list[Window], list[float]]:
    seen: list[Window] = []
    resident_mb: list[float] = []
    with load(
        context.folder, ours.port, paths, [ours.program], count, window_s, warmup_s=WARMUP_S,
        **PUBLISHED, **clients,
    ) as windows:  # fmt: skip
        for window in windows:
            seen.append(window)
            resident_mb.append(ours.program.resident_mb())
    return seen, resident_mb


def _p99_ms(windows: list[Window]) -> float:
    """Return the median of the windows' p99."""
    found = [window.healthy.p99_s * 1000 for window in windows if window.healthy]
    if not found:
        raise BenchError("the healthy clients got nothing")
    return median(found)


def _p99(found: CrowdResult) -> Reading:
    notes = [_note(found)]
    if any(window.is_saturated for window in found.windows):
        notes.append("The load generator was saturated.")
    return Reading({PULSE: _p99_ms(found.windows), ALONE: _p99_ms(found.alone)}, tuple(notes))


def _note(found: CrowdResult) -> str:
    healthy = sum(window.cut_healthy for window in found.windows)
    minutes = sum(window.seconds for window in found.windows) / 60
    short = ", too short to show that memory stays flat" if minutes < MINUTES_MIN else ""
    return (
        f"A crowd for {minutes:.1f} minutes{short}, {found.frames_s:,.0f} frames a second from the exchange; "
        f"{found.cut:,} clients were cut, {healthy:,} of them healthy."
    )


def _slow_age(found: CrowdResult) -> Reading:
    ages = [window.slow.p99_s for window in found.windows if window.slow]
    if not ages:
        raise BenchError("the slow clients got nothing")
    return Reading({PULSE: median(ages)}, (_note(found),))


def _figure(value: float, found: CrowdResult) -> Reading:
    return Reading({PULSE: value}, (_note(found),))


def _page(context: Context) -> Reading:
    _, page = context.once(busy_crowd)
    note = (
        f"Over the last two minutes, including the clients' leaving; p50 {page.p50_ms:.0f} ms. "
        f"The page's scripts then held {page.heap_mb:.0f} MB."
    )
    return Reading({PULSE: page.p99_ms}, (note,))


def _rows(name: str, what: str, found: Callable[[Context], CrowdResult]) -> tuple[Row, ...]:
    def row(part: str, text: str, unit: str, read: Callable[[CrowdResult], Reading], **bound: Any) -> Row:
        return Row(
            f"{name}-{part}", f"{what}: {text}", unit, lambda context: read(found(context)), is_long=True, **bound
        )

    return (
        row("memory", "peak resident memory", "MB", lambda s: _figure(max(s.resident_mb), s), budget=Budget(250)),
        row(
            "growth", "growth of resident memory after warming up", "MB", lambda s: _figure(s.growth_mb(), s),
            budget=Budget(5),
        ),
        row(
            "files", "descriptors left open after all clients have gone", "files",
            lambda s: _figure(float(s.files_left), s), budget=Budget(LEFT_MAX),
        ),
        row(
            "tasks", "tasks left after all clients have gone", "tasks", lambda s: _figure(float(s.tasks_left), s),
            budget=Budget(LEFT_MAX),
        ),
        row(
            "p99", "p99 of healthy clients, with slow and stalled ones connected", "ms", _p99,
            budget=Budget(1.2, Against.TIMES), baseline=ALONE,
        ),
        row("slow", "p99 of the age of the data slow clients receive", "s", _slow_age),
    )  # fmt: skip


ROWS = (
    *_rows("crowd", "crowd", lambda context: context.once(crowd)),
    *_rows("busy-crowd", "busy crowd with a browser", lambda context: context.once(busy_crowd)[0]),
    Row(
        "busy-crowd-page", "busy crowd, browser: p99 from making a view to its confirmed display on the page", "ms",
        _page, Budget(1000), is_long=True,
    ),
)  # fmt: skip
