"""Latency of each hop from the exchange to the client, so that a breach of a budget names its hop.

Pure: times are arguments. Counting costs no memory: buckets are fixed. Quantiles are of the newest one to two minutes;
for Prometheus, which takes differences itself, the same buckets count from the start on. What clients report is bounded
by their number, and checked: it shows what they claim, not what was measured here, so Prometheus does not get it.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, inf
from operator import add
from statistics import median_low
from typing import Any

from pulse.clock import ClockOffset

WINDOW_MS = 60_000.0
ECHO_MAX_MS = 10_000.0
"""An echo that claims a longer delay than this is ignored: a client that takes nothing is cut before."""
ECHOED_VIEWS_MAX = 128
"""Views of a symbol that may be echoed: those of ECHO_MAX_MS at the default interval."""
ECHOES_PER_ADDRESS = 8
ECHO_ADDRESSES_MAX = 1_000
ECHO_ADDRESSES_MIN = 3
"""Reports of fewer addresses are not shown, unless one of them is this machine: a single client could choose them."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop: its name, from what to what it lasts, and the budget of its p99."""

    name: str
    meaning: str
    budget_ms: float


HOPS = (
    Hop("exchange", "the exchange's event time to received here", 500.0),
    Hop("applied", "received to applied to the book", 10.0),
    Hop("published", "of watched symbols: applied to handed to the bus, the wait for the next view included", 150.0),
    Hop("bus", "handed to the bus to delivered by it", 10.0),
    Hop("socket", "delivered by the bus to written to the last client that is ready", 100.0),
    Hop("echo", "view made to a client's report that it was shown", 1_000.0),
)
EXCHANGE, APPLIED, PUBLISHED, BUS, SOCKET, ECHO = (hop.name for hop in HOPS)
MEASURED_HOPS = HOPS[:-1]
"""Those that this process measures itself; an echo is a client's claim."""

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


class Echoes:
    """Delays that clients report of themselves, so that no client decides the figures: each address counts once.

    Of each address the newest ECHOES_PER_ADDRESS are kept, while the newest of them is not older than two windows. A
    figure is the middle one of all addresses, the lower of two.
    """

    def __init__(self) -> None:
        self._delays_ms: dict[str, deque[float]] = {}  # by address, the latest to report last
        self._newest_ms: dict[str, float] = {}
        self._local: set[str] = set()

    def observe(self, address: str, delay_ms: float, now_ms: float, *, is_local: bool = False) -> None:
        """Count a delay that a client at this address reports; `is_local` means that it runs on this machine."""
        delays_ms = self._delays_ms.pop(address, None) or deque(maxlen=ECHOES_PER_ADDRESS)
        delays_ms.append(delay_ms)
        self._delays_ms[address] = delays_ms
        self._newest_ms[address] = now_ms
        if is_local:
            self._local.add(address)
        while self._is_oldest_expired(now_ms):
            oldest = next(iter(self._delays_ms))
            del self._delays_ms[oldest], self._newest_ms[oldest]
            self._local.discard(oldest)

    def _is_oldest_expired(self, now_ms: float) -> bool:
        oldest = next(iter(self._delays_ms))
        return len(self._delays_ms) > ECHO_ADDRESSES_MAX or now_ms - self._newest_ms[oldest] > 2 * WINDOW_MS

    def count(self) -> int:
        """Return how many delays are kept."""
        return sum(map(len, self._delays_ms.values()))

    def quantile_ms(self, share: float) -> float | None:
        """Return the middle one of the addresses' delays at this share; None while too few addresses report."""
        addresses = self._delays_ms if len(self._delays_ms) >= ECHO_ADDRESSES_MIN else self._local
        if not addresses:
            return None
        return median_low(_quantile(self._delays_ms[address], share) for address in addresses)


def _quantile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


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
        self._hops = {hop.name: Histogram() for hop in MEASURED_HOPS}
        self._echoes = Echoes()
        # Per symbol, the timestamps of the newest views.
        self._made_s: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ECHOED_VIEWS_MAX))
        self._applied_ms: dict[str, float] = {}  # per symbol, when the oldest change that is in no view yet was applied
        self._published: dict[str, tuple[int, float]] = {}  # per symbol, the newest view's number, and when it was made

    def open(self, symbol: str) -> None:
        """Begin to measure a symbol: nothing is kept before its first event."""

    def close(self, symbol: str) -> None:
        """Drop what is kept of a symbol."""
        self._applied_ms.pop(symbol, None)
        self._published.pop(symbol, None)
        self._made_s.pop(symbol, None)

    def applied(
        self, symbol: str, received_ms: float, event_time_ms: int, now_ms: float, wall_ms: float,
        *, is_awaited: bool = True,
    ) -> None:  # fmt: skip
        """Note that a change of the book, received at `received_ms`, has been applied now.

        One that is not awaited, because nothing watches its symbol, is shown with the view of its second: that wait is
        no delay.
        """
        received_wall_ms = wall_ms - (now_ms - received_ms)
        self.offset.add_event(received_wall_ms, event_time_ms)
        self._hops[EXCHANGE].observe(received_wall_ms + self.offset.value_ms() - event_time_ms, now_ms)
        if not self._is_real_time:
            return
        self._hops[APPLIED].observe(now_ms - received_ms, now_ms)
        if is_awaited:
            self._applied_ms.setdefault(symbol, now_ms)

    def published(self, symbol: str, seq: int, timestamp_s: float, now_ms: float) -> None:
        """Note that the engine has made view number `seq`, which carries this timestamp."""
        if not self._is_real_time:
            return
        applied_ms = self._applied_ms.pop(symbol, None)
        if applied_ms is not None:
            self._hops[PUBLISHED].observe(now_ms - applied_ms, now_ms)
        self._published[symbol] = seq, now_ms
        self._made_s[symbol].append(timestamp_s)

    def arrived(self, symbol: str, seq: int, now_ms: float) -> None:
        """Note that the bus has delivered view number `seq` of this process."""
        published = self._published.get(symbol)
        if published is not None and published[0] == seq:
            del self._published[symbol]
            self._hops[BUS].observe(now_ms - published[1], now_ms)

    def written(self, delay_ms: float, now_ms: float) -> None:
        """Note that a flush has ended, `delay_ms` after its first message came."""
        self._hops[SOCKET].observe(delay_ms, now_ms)

    def echoed(
        self, address: str, instance: str, timestamp_s: float, symbols: Iterable[str], now_ms: float, wall_ms: float,
        *, is_local: bool = False,
    ) -> None:  # fmt: skip
        """Note that a client at `address`, subscribed to `symbols`, reports to have shown a view.

        It counts only if this process made such a view of one of them within ECHO_MAX_MS.
        """
        delay_ms = wall_ms - timestamp_s * 1000
        if instance != self._instance or not 0 <= delay_ms < ECHO_MAX_MS:
            return
        if any(timestamp_s in self._made_s.get(symbol, ()) for symbol in symbols):
            self._echoes.observe(address, delay_ms, now_ms, is_local=is_local)

    def _hop(self, name: str) -> "Histogram | Echoes":
        return self._echoes if name == ECHO else self._hops[name]

    def quantile_ms(self, hop: str, share: float) -> float | None:
        """Return a hop's delay that this share does not exceed; None before the first."""
        return self._hop(hop).quantile_ms(share)

    def since_start(self, hop: str) -> tuple[list[tuple[float, int]], float]:
        """Return the cumulative histogram of a measured hop since the start, in seconds."""
        return self._hops[hop].since_start()

    def report(self) -> dict[str, Any]:
        """Return the object of /api/latency: each hop with its figures in ms, and the hops over their budget."""
        hops: list[dict[str, Any]] = [
            {
                "hop": hop.name,
                "meaning": hop.meaning,
                "count": self._hop(hop.name).count(),
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
