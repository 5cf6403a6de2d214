"""The process's Prometheus metrics, each updated where the thing happens or read from its owner at /metrics.

Units are base units (seconds, bytes), counters end in `_total`, and what only grows is a counter, also where another
part keeps the count: `promtool check metrics` has nothing to say about them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import TypeAlias

from prometheus_client import Counter, Gauge, Info, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

disable_created_metrics()  # type: ignore[no-untyped-call]
"""Else each counter has a twin with the time at which it was made, which nothing here needs."""

Buckets: TypeAlias = tuple[Sequence[tuple[float, int]], float]
"""A cumulative histogram in seconds: counts up to each upper end, the last being infinite; and the sum of all."""


class CounterOf(Collector):
    """A counter that another part keeps: it is read at the time of the request."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._readers: dict[tuple[str, ...], Callable[[], float]] = {}
        REGISTRY.register(self)

    def read(self, reader: Callable[[], float], *labels: str) -> None:
        """Have the count of these labels read by this function, which may never return less than before."""
        self._readers[labels] = reader

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Remove what has all of these labels."""
        wanted = set(labels.items())
        for values in list(self._readers):
            if wanted <= set(zip(self._labels, values, strict=True)):
                del self._readers[values]

    def describe(self) -> Iterator[Metric]:
        """Name the metric, for the check that no name is used twice."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """Read every count."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, reader in self._readers.items():
            family.add_metric(labels, reader())
        yield family


class HistogramOf(Collector):
    """A histogram that another part keeps in buckets of its own: it is read at the time of the request."""

    def __init__(self, name: str, documentation: str, label: str) -> None:
        self._name, self._documentation, self._label = name, documentation, label
        self._readers: dict[str, Callable[[], Buckets]] = {}
        REGISTRY.register(self)

    def read(self, reader: Callable[[], Buckets], label: str) -> None:
        """Have the buckets of this label read by this function."""
        self._readers[label] = reader

    def describe(self) -> Iterator[Metric]:
        """Name the metric, for the check that no name is used twice."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=[self._label])

    def collect(self) -> Iterator[Metric]:
        """Read every histogram."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        for label, reader in self._readers.items():
            buckets, sum_s = reader()
            family.add_metric(
                [label], [("+Inf" if end_s == inf else repr(end_s), count) for end_s, count in buckets], sum_s
            )
        yield family


# --- the exchange
frames_received = Counter("pulse_frames_received", "Frames received from the exchange.", ["symbol", "kind"])
frames_malformed = Counter("pulse_frames_malformed", "Frames refused as malformed.", ["symbol"])
frames_quarantined = Counter(
    "pulse_frames_quarantined", "Frames not applied because their values cannot be true.", ["symbol", "kind"]
)
feed_connections = Counter("pulse_feed_connections", "Connections opened to the exchange.", ["symbol"])
rest_weight = Counter("pulse_rest_weight", "Request weight spent at the exchange.")
rest_weight_used = Gauge(
    "pulse_rest_weight_used", "Request weight of the running minute, the use of others from this address included."
)
rest_weight_limit = Gauge("pulse_rest_weight_limit", "Request weight a minute that this process may use.")
rest_blocked = Gauge("pulse_rest_blocked_seconds", "How long the exchange still blocks every request; 0: it does not.")
rest_errors = Counter("pulse_rest_errors", "REST calls that failed.", ["path"])
clock_offset = Gauge("pulse_clock_offset_seconds", "How far the exchange's clock is ahead of this machine's.")
clock_is_right = Gauge("pulse_clock_is_right", "1 while this machine's clock is within 2 s of the exchange's.")

# --- the book
depth_gaps = Counter("pulse_depth_gaps", "Gaps in the ids of depth diffs.", ["symbol"])
snapshots_joined = Counter("pulse_snapshots_joined", "Depth snapshots joined to a book.", ["symbol"])
windows_narrow = Gauge("pulse_windows_narrow", "Symbols whose book is about to become known further than it is.")
book_is_live = Gauge("pulse_book_is_live", "1 while the newest view's state is live.", ["symbol"])
book_is_good = Gauge(
    "pulse_book_is_good", "1 while the newest view's state is live, or halted by the exchange.", ["symbol"]
)
book_data_age = Gauge("pulse_book_data_age_seconds", "Age of the data of the newest view.", ["symbol"])
coverage_book = Gauge(
    "pulse_coverage_book_ratio", "Share of the last 24 hours in which the book was proven.", ["symbol"]
)
stream_age = Gauge("pulse_stream_age_seconds", "Age of the newest frame of a stream.", ["symbol", "stream"])
stream_is_silent = Gauge(
    "pulse_stream_is_silent", "1 while a stream is silent for longer than is usual for it.", ["symbol", "stream"]
)
book_resyncs = CounterOf("pulse_book_resyncs", "Times a live book was lost since the start.", ["symbol"])
book_incidents = Counter(
    "pulse_book_incidents", "Gaps, crossed prices and checks that differed, by cause.", ["symbol", "cause"]
)
touch_compared = CounterOf("pulse_touch_compared", "Diffs compared with the exchange's bookTicker.", ["symbol"])
touch_differing = CounterOf("pulse_touch_differing", "Of those, how many differed.", ["symbol"])
top_compared = CounterOf("pulse_top_compared", "Partial depths of the exchange compared with the book.", ["symbol"])
top_differing = CounterOf("pulse_top_differing", "Of those, how many differed.", ["symbol"])
book_audits = CounterOf("pulse_book_audits", "Whole books compared with a snapshot.", ["symbol"])
levels_compared = CounterOf("pulse_levels_compared", "Levels compared in those audits.", ["symbol"])
levels_differing = CounterOf("pulse_levels_differing", "Of those, how many differed.", ["symbol"])

# --- trades and candles
trade_holes = Counter("pulse_trade_holes", "Jumps in the ids of trades.", ["symbol"])
trades_repaired = Counter("pulse_trades_repaired", "Missing trades that were fetched by id.", ["symbol"])
trades_given_up = Counter("pulse_trades_given_up", "Missing trades that could not be fetched in time.", ["symbol"])
held_released = Counter(
    "pulse_held_released", "Times the oldest held diffs or trades were released at the bound in bytes.", ["symbol"]
)
held_bytes = Gauge("pulse_held_bytes", "About the memory of diffs that wait for a snapshot, and of held trades.")
trades_refilled = Counter("pulse_trades_refilled", "Trades that the bus did not bring, fetched by id for clients.")
trades_lost = Counter("pulse_trades_lost", "Trades recorded as a gap: the exchange no longer has them.", ["symbol"])
candles_written = Counter("pulse_candles_written", "Closed candles written to the store.")
candles_dropped = Counter("pulse_candles_dropped", "Closed candles dropped because a queue was full.")
candles_left = Counter("pulse_candles_left", "Closed candles not written because another process owns their symbol.")
owned_work = Counter("pulse_owned_work", "Work that only the owner of a symbol does, by kind.", ["work"])
candles_pending = Gauge("pulse_candles_pending", "Closed candles that wait for the store.")
candles_differing = CounterOf(
    "pulse_candles_differing", "Minutes in which our candle differed from the exchange's.", ["symbol"]
)
candles_missing = Gauge(
    "pulse_candles_missing",
    "Closed minutes of the last 24 hours, from the first that is stored, that are not.",
    ["symbol"],
)
coverage_candles = Gauge(
    "pulse_coverage_candles_ratio", "Share of the minutes of the last 24 hours that are stored.", ["symbol"]
)
store_is_up = Gauge("pulse_store_is_up", "1 while closed candles can be written to the store.")

# --- the recorded past
history_blocks = Counter(
    "pulse_history_blocks", "Blocks of the recorded past by what became of them: written is of the disk.", ["outcome"]
)
history_is_up = Gauge("pulse_history_is_up", "1 while the recorded past can be written where it is to be kept.")
history_bytes = Gauge("pulse_history_bytes", "Bytes of the recorded past, in memory and on the disk.", ["place"])

# --- views and clients
views_published = Counter("pulse_views_published", "Views made.", ["symbol"])
views_replaced = CounterOf("pulse_views_replaced", "Views replaced by a newer one before they were sent on.")
bus_is_up = Gauge("pulse_bus_is_up", "1 while views travel through the configured bus.")
hub_dropped = CounterOf("pulse_hub_dropped", "Bus messages dropped: out of date, of another instance, or not a view.")
connections_open = Gauge("pulse_connections_open", "Open TCP connections to this server.")
connections_limit = Gauge("pulse_connections_limit", "How many of them are admitted.")
connections_refused = Counter(
    "pulse_connections_refused", "Connections refused before HTTP, by the limit that was reached.", ["limit"]
)
clients_open = Gauge("pulse_clients_open", "Open WebSockets and event streams.")
clients_limit = Gauge("pulse_clients_limit", "How many of them are admitted.")
clients_refused = CounterOf("pulse_clients_refused", "Clients that were not admitted.")
shares_refused = Counter(
    "pulse_shares_refused", "Requests beyond a limit for all clients or for one address.", ["share", "limit"]
)
clients_cut = CounterOf("pulse_clients_cut", "Clients disconnected because they read nothing in time.")
client_messages_replaced = CounterOf(
    "pulse_client_messages_replaced", "Messages replaced by a newer one before their client took them."
)
requests_refused = Counter("pulse_requests_refused", "Requests refused by the rate limit of their address.")
tokens_refused = Counter("pulse_tokens_refused", "Wrong tokens and cookies that clients sent.")
latency = HistogramOf("pulse_latency_seconds", "Delay of one hop from the exchange to the client.", "hop")
latency_budget = Gauge("pulse_latency_budget_seconds", "What 99 % of a hop's delays may last.", ["hop"])

# --- the process
is_ready = Gauge("pulse_is_ready", "1 while /readyz has no trouble.")
tasks = Gauge("pulse_tasks", "Tasks of the event loop.")
memory_limit = Gauge("pulse_memory_limit_bytes", "Memory that this process may use.")
build = Info("pulse_build", "The versions that run.")

COUNTERS_BY_SYMBOL = (
    frames_malformed, feed_connections, depth_gaps, snapshots_joined, trade_holes, trades_repaired, trades_given_up,
    trades_lost, held_released, views_published,
)  # fmt: skip
"""The counters whose only label is the symbol."""
BY_SYMBOL: Sequence[Counter | Gauge | CounterOf] = (
    *COUNTERS_BY_SYMBOL, frames_received, frames_quarantined, book_resyncs, touch_compared, touch_differing,
    top_compared, top_differing, book_audits, levels_compared, levels_differing, book_incidents, book_is_live,
    book_is_good, book_data_age, candles_differing, candles_missing, coverage_book, coverage_candles,
    stream_age, stream_is_silent,
)  # fmt: skip
"""The metrics that are labelled with a symbol."""


class SymbolMetrics:
    """The lifecycle of the metrics that are labelled with a symbol."""

    def open(self, symbol: str) -> None:
        """Begin to count for a symbol, at 0: Prometheus sees no increase in a counter that begins with 1."""
        for counter in COUNTERS_BY_SYMBOL:
            counter.labels(symbol)

    def close(self, symbol: str) -> None:
        """Remove a symbol's label from every metric."""
        for metric in BY_SYMBOL:
            metric.remove_by_labels({"symbol": symbol})
