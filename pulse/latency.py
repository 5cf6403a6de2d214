"""The latency report: how long each hop from the exchange to the reader takes, so that a breach names its hop.

Pure: times are arguments. Counting costs no memory: buckets are fixed, and the newest one to two minutes count.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import nan
from typing import Any

from pulse.clock import ClockOffset

BOUNDS_MS = tuple(0.02 * 1.25**step for step in range(70))
"""Upper ends of the buckets: from 20 us to 98 s, each a quarter wider than the one before."""
WINDOW_MS = 60_000.0
ECHO_MAX_MS = 60_000.0
"""What a reader claims to have been shown longer ago than this is not believed."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One leg of the way, what it lasts from and to, and what its p99 should stay below."""

    name: str
    meaning: str
    budget_ms: float


HOPS = (
    Hop("exchange", "the exchange's event time to received here", 500.0),
    Hop("applied", "received to applied to the book", 10.0),
    Hop("published", "applied to handed to the bus, the wait for the next view included", 150.0),
    Hop("bus", "handed to the bus to taken from it", 10.0),
    Hop("socket", "taken from the bus to written to the last client that is ready", 100.0),
    Hop("echo", "view made to a reader's word that it was shown", 1_000.0),
)
EXCHANGE, APPLIED, PUBLISHED, BUS, SOCKET, ECHO = (hop.name for hop in HOPS)


class Histogram:
    """Delays of the newest one to two windows, counted in buckets."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._before = [0] * (len(BOUNDS_MS) + 1)
        self._window_ends_ms = 0.0

    def observe(self, delay_ms: float, now_ms: float) -> None:
        """Count one; a negative one is none at all."""
        if now_ms >= self._window_ends_ms:
            self._before, self._counts = self._counts, [0] * (len(BOUNDS_MS) + 1)
            self._window_ends_ms = now_ms + WINDOW_MS
        self._counts[bisect_left(BOUNDS_MS, delay_ms)] += 1

    def count(self) -> int:
        """How many are counted."""
        return sum(self._counts) + sum(self._before)

    def quantile_ms(self, share: float) -> float | None:
        """The delay that this share of them does not exceed, to a bucket's width; None if there are none."""
        total = self.count()
        if not total:
            return None
        sums = list(accumulate(now + before for now, before in zip(self._counts, self._before, strict=True)))
        at = bisect_left(sums, share * total)
        return BOUNDS_MS[min(at, len(BOUNDS_MS) - 1)]


class Latency:
    """One process's writer; `instance` is its stamp. `now_ms` is a monotonic clock's, `wall_ms` since the epoch."""

    def __init__(self, instance: str) -> None:
        self.offset = ClockOffset()
        self._instance = instance
        self._hops = {hop.name: Histogram() for hop in HOPS}
        self._applied_ms: dict[str, float] = {}  # the oldest change of each symbol that is in no view yet
        self._sent: dict[str, tuple[bytes, float]] = {}  # how the newest message of each topic begins, and when it went

    def applied(self, symbol: str, received_ms: float, event_time_ms: int, now_ms: float, wall_ms: float) -> None:
        """A change of the book that was received then has been applied now."""
        received_wall_ms = wall_ms - (now_ms - received_ms)
        self.offset.add_event(received_wall_ms, event_time_ms)
        self._hops[EXCHANGE].observe(received_wall_ms + self.offset.value_ms() - event_time_ms, now_ms)
        self._hops[APPLIED].observe(now_ms - received_ms, now_ms)
        self._applied_ms.setdefault(symbol, now_ms)

    def published(self, symbol: str, topic: str, seq: int, now_ms: float) -> None:
        """A view has been handed over."""
        applied_ms = self._applied_ms.pop(symbol, None)
        if applied_ms is not None:
            self._hops[PUBLISHED].observe(now_ms - applied_ms, now_ms)
        self._sent[topic] = b'{"seq":%d,"instance":"%s",' % (seq, self._instance.encode()), now_ms

    def forget(self, symbol: str, topics: Iterable[str]) -> None:
        """This symbol is not followed any more."""
        self._applied_ms.pop(symbol, None)
        for topic in topics:
            self._sent.pop(topic, None)

    def arrived(self, topic: str, payload: bytes, now_ms: float) -> None:
        """A message has come by the bus; only this process's own tell how long they took."""
        sent = self._sent.get(topic)
        if sent is not None and payload.startswith(sent[0]):
            del self._sent[topic]
            self._hops[BUS].observe(now_ms - sent[1], now_ms)

    def written(self, delay_ms: float, now_ms: float) -> None:
        """A round of writes has ended, so long after the first message of it came."""
        self._hops[SOCKET].observe(delay_ms, now_ms)

    def echoed(self, instance: str, made_wall_ms: float, now_ms: float, wall_ms: float) -> None:
        """A reader says that it was shown the view of that time."""
        delay_ms = wall_ms - made_wall_ms
        if instance == self._instance and 0 <= delay_ms < ECHO_MAX_MS:
            self._hops[ECHO].observe(delay_ms, now_ms)

    def quantile_ms(self, hop: str, share: float) -> float | None:
        """A hop's delay that this share does not exceed; None before the first."""
        return self._hops[hop].quantile_ms(share)

    def gauge_ms(self, hop: str, share: float) -> float:
        """The same for a gauge, to which "not a number" means that there is none."""
        delay_ms = self.quantile_ms(hop, share)
        return nan if delay_ms is None else delay_ms

    def report(self) -> dict[str, Any]:
        """The writer as JSON: each hop with its figures in ms, and the names of those over their budget."""
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
