"""Latency of each hop from the exchange to the client, so that a breach of a budget names its hop.

Pure: times are arguments. Counting costs no memory: buckets are fixed. Quantiles are of the newest one to two minutes;
for Prometheus, which takes differences itself, the same buckets count from the start on.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from operator import add
from typing import Any

from pulse.clock import ClockOffset

WINDOW_MS = 60_000.0
ECHO_MAX_MS = 60_000.0
"""An echo that claims a longer delay than this is ignored."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop: its name, from what to what it lasts, and the budget of its p99."""

    name: str
    meaning: str
    budget_ms: float


HOPS = (
    Hop("exchange", "the exchange's event time to received here", 500.0),
    Hop("applied", "received to applied to the book", 10.0),
    Hop("published", "applied to handed to the bus, the wait for the next view included", 150.0),
    Hop("bus", "handed to the bus to delivered by it", 10.0),
    Hop("socket", "delivered by the bus to written to the last client that is ready", 100.0),
    Hop("echo", "view made to a client's report that it was shown", 1_000.0),
)
EXCHANGE, APPLIED, PUBLISHED, BUS, SOCKET, ECHO = (hop.name for hop in HOPS)

COARSE, FINE = (1.0, 2.0, 5.0), (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
LEAST_MS, MOST_MS = 0.02, 100_000.0


def _bounds_ms(steps: tuple[float, ...]) -> tuple[float, ...]:
    """Return bounds at these steps of each decade from LEAST_MS to MOST_MS, and at each budget."""
    decades = {round(step * 10.0**power, 4) for power in range(-2, 6) for step in steps}
    return tuple(sorted({hop.budget_ms for hop in HOPS} | {at for at in decades if LEAST_MS <= at <= MOST_MS}))


BOUNDS_MS = _bounds_ms(FINE)
"""Upper ends of the histogram buckets: from 20 us to 100 s, each at most 28 % wider than the one before."""
_EXPORTED = tuple(BOUNDS_MS.index(bound_ms) for bound_ms in _bounds_ms(COARSE))
"""The buckets that Prometheus gets: each costs a time series per hop."""


class Histogram:
    """Delays counted in buckets: those of the newest one to two windows, and all of them."""

    def __init__(self) -> None:
        self._closed = [0] * (len(BOUNDS_MS) + 1)  # of the windows before the two newest
        self._sum_ms = 0.0
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._previous = [0] * (len(BOUNDS_MS) + 1)
        self._window_ends_ms = 0.0

    def observe(self, delay_ms: float, now_ms: float) -> None:
        """Count one delay; a negative one counts as zero."""
        if now_ms >= self._window_ends_ms:
            self._closed = list(map(add, self._closed, self._previous))
            self._previous, self._counts = self._counts, [0] * (len(BOUNDS_MS) + 1)
            self._window_ends_ms = now_ms + WINDOW_MS
        self._counts[bisect_left(BOUNDS_MS, delay_ms)] += 1
        if delay_ms > 0.0:
            self._sum_ms += delay_ms

    def count(self) -> int:
        """Return how many delays are counted."""
        return sum(self._counts) + sum(self._previous)

    def quantile_ms(self, share: float) -> float | None:
        """Return the delay that this share of them does not exceed, to a bucket's width; None if there are none."""
        total = self.count()
        if not total:
            return None
        sums = list(accumulate(map(add, self._counts, self._previous)))
        at = bisect_left(sums, share * total)
        return BOUNDS_MS[min(at, len(BOUNDS_MS) - 1)]

    def since_start(self) -> tuple[list[tuple[float, int]], float]:
        """Return how many delays did not exceed each exported bound since the start, and their sum; in seconds."""
        sums = list(accumulate(map(sum, zip(self._closed, self._previous, self._counts, strict=True))))
        buckets = [(BOUNDS_MS[at] / 1000, sums[at]) for at in _EXPORTED]
        return [*buckets, (inf, sums[-1])], self._sum_ms / 1000


class Latency:
    """Delays of one process; `instance` is its id. `now_ms` is a monotonic clock's, `wall_ms` since the epoch.

    Without `is_real_time` these are clocks of a replay that is not played at the recorded pace: what they show between
    two moments in this process is no delay, so of the hops only `exchange`, both of whose ends are recorded, and
    `socket`, which is measured elsewhere, are counted.
    """

    def __init__(self, instance: str, *, is_real_time: bool = True) -> None:
        self.offset = ClockOffset()
        self._instance = instance
        self._is_real_time = is_real_time
        self._hops = {hop.name: Histogram() for hop in HOPS}
        self._applied_ms: dict[str, float] = {}  # per symbol, when the oldest change that is in no view yet was applied
        self._published: dict[str, tuple[int, float]] = {}  # per symbol, the newest view's number, and when it was made

    def open(self, symbol: str) -> None:
        """Begin to measure a symbol: nothing is kept before its first event."""

    def close(self, symbol: str) -> None:
        """Drop what is kept of a symbol."""
        self._applied_ms.pop(symbol, None)
        self._published.pop(symbol, None)

    def applied(self, symbol: str, received_ms: float, event_time_ms: int, now_ms: float, wall_ms: float) -> None:
        """Note that a change of the book, received at `received_ms`, has been applied now."""
        received_wall_ms = wall_ms - (now_ms - received_ms)
        self.offset.add_event(received_wall_ms, event_time_ms)
        self._hops[EXCHANGE].observe(received_wall_ms + self.offset.value_ms() - event_time_ms, now_ms)
        if not self._is_real_time:
            return
        self._hops[APPLIED].observe(now_ms - received_ms, now_ms)
        self._applied_ms.setdefault(symbol, now_ms)

    def published(self, symbol: str, seq: int, now_ms: float) -> None:
        """Note that the engine has made view number `seq`."""
        if not self._is_real_time:
            return
        applied_ms = self._applied_ms.pop(symbol, None)
        if applied_ms is not None:
            self._hops[PUBLISHED].observe(now_ms - applied_ms, now_ms)
        self._published[symbol] = seq, now_ms

    def arrived(self, symbol: str, seq: int, now_ms: float) -> None:
        """Note that the bus has delivered view number `seq` of this process."""
        published = self._published.get(symbol)
        if published is not None and published[0] == seq:
            del self._published[symbol]
            self._hops[BUS].observe(now_ms - published[1], now_ms)

    def written(self, delay_ms: float, now_ms: float) -> None:
        """Note that a flush has ended, `delay_ms` after its first message came."""
        self._hops[SOCKET].observe(delay_ms, now_ms)

    def echoed(self, instance: str, made_wall_ms: float, now_ms: float, wall_ms: float) -> None:
        """Note that a client reports to have shown the view made at `made_wall_ms`."""
        delay_ms = wall_ms - made_wall_ms
        if self._is_real_time and instance == self._instance and 0 <= delay_ms < ECHO_MAX_MS:
            self._hops[ECHO].observe(delay_ms, now_ms)

    def quantile_ms(self, hop: str, share: float) -> float | None:
        """Return a hop's delay that this share does not exceed; None before the first."""
        return self._hops[hop].quantile_ms(share)

    def since_start(self, hop: str) -> tuple[list[tuple[float, int]], float]:
        """Return a hop's cumulative histogram since the start, in seconds."""
        return self._hops[hop].since_start()

    def report(self) -> dict[str, Any]:
        """Return the object of /api/latency: each hop with its figures in ms, and the hops over their budget."""
        hops: list[dict[str, Any]] = [
            {
                "hop": hop.name,
                "meaning": hop.meaning,
                "count": self._hops[hop.name].count(),
                "p50_ms": _rounded(self.quantile_ms(hop.name, 0.5)),
                "p99_ms": _rounded(self.quantile_ms(hop.name, 0.99)),
                "budget_ms": hop.budget_ms,
            }
            for hop in HOPS
        ]
        return {
            "hops": hops,
            "over_budget": [row["hop"] for row in hops if (row["p99_ms"] or 0.0) > row["budget_ms"]],
            "clock_offset_ms": _rounded(self.offset.value_ms()),
            "clock_error_ms": _rounded(self.offset.error_ms()),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
