"""The soak's schedule of faults, what it found, and its verdict. Pure: no process, no clock.

Faults are spread over the run in proportion to its length: in the two hours, Redis and PostgreSQL are killed every ten
minutes and the exchange is cut every twenty; in a shorter run as often, and closer together.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression
from typing import Any, NamedTuple

FULL_MINUTES = 120.0
PERIODS = 12
"""Of ten minutes each, in the two hours."""
DOWN_MAX_S, DOWN_SHARE = 15.0, 0.15
"""How long a server is down or the exchange cut, and at most which share of a period."""
SLOPE_S = 90 * 60.0
SLOPE_SHARE = 0.75
"""Memory is judged over the last 90 minutes, in a run shorter than two hours over its last three quarters."""
SLOPE_MAX_MB_H = 1.0
JUDGED_MINUTES_MIN = 20.0
"""In a shorter run memory and speed are printed and not judged: what a process keeps for good comes in its first
minutes, and a test must pass on a machine that has other work."""
LEFT_MAX = 5
"""Tasks and descriptors above the baseline: the terminal's own connections vary; a leak leaves one for each client."""


class Fault(NamedTuple):
    """One fault: when it begins and ends, from the start of the run, and which part it hits."""

    begin_s: float
    end_s: float
    part: str


REDIS, POSTGRES, EXCHANGE = "redis", "postgres", "exchange"


def schedule(minutes: float) -> list[Fault]:
    """Return the faults of a run, in the order of their beginning; no two at the same time."""
    period_s = minutes * 60 / PERIODS
    down_s = min(DOWN_MAX_S, DOWN_SHARE * period_s)
    faults: list[Fault] = []
    for number in range(PERIODS):
        parts = (REDIS, POSTGRES, EXCHANGE) if number % 2 else (REDIS, POSTGRES)
        for position, part in enumerate(parts, start=1):
            begin_s = (number + position / 4) * period_s
            faults.append(Fault(begin_s, begin_s + down_s, part))
    return faults


# --- memory


def slope_mb_h(samples: Sequence[tuple[float, float]], minutes: float) -> float:
    """Return the slope of (seconds, MB) by least squares over the last part of the run, MB an hour."""
    end_s = samples[-1][0]
    part_s = SLOPE_S if minutes >= FULL_MINUTES else SLOPE_SHARE * end_s
    late = [(at_s, mb) for at_s, mb in samples if at_s >= end_s - part_s]
    return linear_regression([at_s / 3600 for at_s, _ in late], [mb for _, mb in late]).slope


# --- the log

ALWAYS, LATE = "always", "late"
LATE_MAX_S = 1.0
"""The exchange's market further behind than this means that the machine is too slow for the load."""
EXPECTED: dict[str, tuple[str, ...]] = {
    "symbol opened": (ALWAYS,),
    "instrument": (ALWAYS,),
    "feed up": (ALWAYS,),
    "book": (ALWAYS,),
    "snapshot requested": (ALWAYS,),
    "candles backfilled": (ALWAYS,),
    "history complete": (ALWAYS,),
    "full gc": (ALWAYS,),
    "leases": (ALWAYS,),
    "stopping": (ALWAYS,),
    "connections aborted at stop": (ALWAYS,),
    "feed down": (EXCHANGE,),
    "no snapshot": (EXCHANGE,),
    "trades missing": (EXCHANGE,),
    "instruments not loaded": (EXCHANGE,),
    "rotation failed to open a connection": (EXCHANGE,),
    "connection rotated": (EXCHANGE, LATE),
    "stream silent": (EXCHANGE, LATE),
    "stream no longer silent": (EXCHANGE, LATE),
    "streams silent, subscribing again": (EXCHANGE, LATE),
    "reconciling postponed": (EXCHANGE, POSTGRES),
    "bus lost, views stay within this process": (REDIS,),
    "bus back, views travel between processes again": (REDIS,),
    "redis connections closed with an error": (REDIS,),
    "leases not renewed": (REDIS,),
    "leases renewed again": (REDIS,),
    "leases not given back": (REDIS,),
    "lease connection closed with an error": (REDIS,),
    "store unavailable, candles pending": (POSTGRES,),
    "store available again, candles written": (POSTGRES,),
    "coverage not written": (POSTGRES,),
    "trade gaps wait for the store": (POSTGRES,),
    "machine clock is wrong": (LATE,),
    "machine clock is right again": (LATE,),
}
"""The messages that the log may have, and what explains them: a part that failed in the run, or a machine too slow."""
LEVELS = ("info", "warning")


def unexpected_lines(lines: Iterable[str], causes: Collection[str]) -> list[str]:
    """Return the lines of a JSON log that none of these causes explains; an error or a traceback never is."""
    return [line for line in lines if not _is_expected(_parsed(line), {ALWAYS, *causes})]


def message_counts(lines: Iterable[str]) -> Counter[str]:
    """Return how often each message is in a JSON log."""
    return Counter(str(_parsed(line).get("message", line)) for line in lines)


def _is_expected(entry: dict[str, Any], causes: set[str]) -> bool:
    explained = not causes.isdisjoint(EXPECTED.get(entry.get("message", ""), ()))
    return explained and entry.get("level") in LEVELS and "traceback" not in entry


def _parsed(line: str) -> dict[str, Any]:
    """Return a line's object; empty for what is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


# --- the verdict


@dataclass
class Findings:
    """What a run found. `samples` are seconds and resident MB."""

    minutes: float
    times: float
    late_s: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    cut_healthy: int = 0
    cut_sick: int = 0
    frames_s: float = 0.0
    tasks_before: int = 0
    tasks_after: int = 0
    files_before: int = 0
    files_after: int = 0
    books: dict[str, int] = field(default_factory=dict)
    minutes_compared: dict[str, int] = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)
    divergences: list[str] = field(default_factory=list)
    diverged: int = 0
    log: list[str] = field(default_factory=list)
    exit_code: int | None = None

    def slope_mb_h(self) -> float:
        """Return the slope of the resident memory, MB an hour."""
        return slope_mb_h(self.samples, self.minutes)

    def is_judged(self) -> bool:
        """Return whether memory and speed are judged: not in a short run."""
        return self.minutes >= JUDGED_MINUTES_MIN

    def reasons(self) -> list[str]:
        """Return why the run failed, empty when it passed."""
        return [*self._of_resources(), *self._of_truth(), *self._of_process()]

    def _of_resources(self) -> list[str]:
        slope, reasons = self.slope_mb_h(), []
        if self.is_judged() and slope >= SLOPE_MAX_MB_H:
            reasons.append(f"resident memory grew by {slope:.2f} MB an hour; expected less than {SLOPE_MAX_MB_H:g}")
        for name, before, after in (
            ("tasks", self.tasks_before, self.tasks_after),
            ("descriptors", self.files_before, self.files_after),
        ):
            if after > before + LEFT_MAX:
                reasons.append(f"{after} {name} at the end; expected at most {LEFT_MAX} more than the {before} before")
        return reasons

    def _of_truth(self) -> list[str]:
        reasons = [f"differs from the exchange: {text}" for text in self.divergences]
        if self.diverged > len(self.divergences):
            reasons.append(f"{self.diverged} differences from the exchange in all")
        reasons += [f"no book of {symbol} could be compared" for symbol, count in self.books.items() if not count]
        return reasons + [f"not right again at the end: {what}" for what in self.incomplete]

    def _of_process(self) -> list[str]:
        causes = {part for part, count in self.faults.items() if count}
        is_late = self.late_s > LATE_MAX_S
        if is_late or not self.is_judged():
            causes.add(LATE)
        reasons = [f"unexpected log line: {line}" for line in unexpected_lines(self.log, causes)]
        if is_late and self.is_judged():
            reasons.append(f"the exchange was {self.late_s:.1f} s behind: the machine is too slow for this load")
        if self.exit_code != 0:
            reasons.append(f"expected exit code 0 after SIGTERM, got {self.exit_code}")
        if not self.messages:
            reasons.append("the clients received nothing")
        return reasons
