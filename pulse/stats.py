"""The process's Prometheus metrics, each updated where the thing happens and read at /metrics."""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge

frames_received = Counter("pulse_frames_received", "Frames received from the exchange.", ["symbol", "kind"])
frames_malformed = Counter("pulse_frames_malformed", "Frames refused as malformed.", ["symbol"])
frames_quarantined = Counter(
    "pulse_frames_quarantined", "Frames not applied because their values cannot be true.", ["symbol", "kind"]
)
feed_connections = Counter("pulse_feed_connections", "Connections opened to the exchange.", ["symbol"])
depth_gaps = Counter("pulse_depth_gaps", "Gaps in the ids of depth diffs.", ["symbol"])
snapshots_joined = Counter("pulse_snapshots_joined", "Depth snapshots joined to a book.", ["symbol"])
trade_holes = Counter("pulse_trade_holes", "Jumps in the ids of trades.", ["symbol"])
trades_repaired = Counter("pulse_trades_repaired", "Missing trades that were fetched by id.", ["symbol"])
trades_given_up = Counter("pulse_trades_given_up", "Missing trades that could not be fetched in time.", ["symbol"])
held_released = Counter(
    "pulse_held_released", "Times the oldest held diffs or trades were released at the bound in bytes.", ["symbol"]
)
held_bytes = Gauge("pulse_held_bytes", "About the memory of diffs that wait for a snapshot, and of held trades.")
trades_lost = Counter("pulse_trades_lost", "Trades recorded as a gap: the exchange no longer has them.", ["symbol"])
book_resyncs = Gauge("pulse_book_resyncs", "Times a live book was lost since the start.", ["symbol"])
touch_compared = Gauge("pulse_touch_compared", "Diffs compared with the exchange's bookTicker.", ["symbol"])
touch_differing = Gauge("pulse_touch_differing", "Of those, how many differed.", ["symbol"])
top_compared = Gauge("pulse_top_compared", "Partial depths of the exchange compared with the book.", ["symbol"])
top_differing = Gauge("pulse_top_differing", "Of those, how many differed.", ["symbol"])
book_audits = Gauge("pulse_book_audits", "Whole books compared with a snapshot.", ["symbol"])
levels_compared = Gauge("pulse_levels_compared", "Levels compared in those audits.", ["symbol"])
levels_differing = Gauge("pulse_levels_differing", "Of those, how many differed.", ["symbol"])
book_incidents = Counter(
    "pulse_book_incidents", "Gaps, crossed prices and checks that differed, by cause.", ["symbol", "cause"]
)
book_is_live = Gauge("pulse_book_is_live", "1 while the newest view's state is live.", ["symbol"])
pictures_published = Counter("pulse_pictures_published", "Views made.", ["symbol"])
pictures_replaced = Gauge("pulse_pictures_replaced", "Views replaced by a newer one before they were sent on.")
rest_weight = Counter("pulse_rest_weight", "Request weight spent at the exchange.")
rest_errors = Counter("pulse_rest_errors", "REST calls that failed.", ["path"])
candles_written = Counter("pulse_candles_written", "Closed candles written to the store.")
candles_dropped = Counter("pulse_candles_dropped", "Closed candles dropped because a queue was full.")
candles_pending = Gauge("pulse_candles_pending", "Closed candles that wait for the store.")
candles_differing = Gauge(
    "pulse_candles_differing", "Minutes in which our candle differed from the exchange's.", ["symbol"]
)
clients_open = Gauge("pulse_clients_open", "Open WebSockets and event streams.")
connections_refused = Counter(
    "pulse_connections_refused", "Connections refused before HTTP, by the limit that was reached.", ["limit"]
)
clients_refused = Gauge("pulse_clients_refused", "Clients that were not admitted.")
shares_refused = Counter(
    "pulse_shares_refused", "Requests beyond a limit for all clients or for one address.", ["share", "limit"]
)
requests_refused = Counter("pulse_requests_refused", "Requests refused by the rate limit of their address.")
clients_cut = Gauge("pulse_clients_cut", "Clients disconnected because they read nothing in time.")
client_pictures_replaced = Gauge(
    "pulse_client_pictures_replaced", "Messages replaced by a newer one before their client took them."
)
hub_dropped = Gauge("pulse_hub_dropped", "Bus messages dropped: out of date, of another instance, or not a view.")
latency_ms = Gauge("pulse_latency_ms", "Delay of one hop over the last minutes.", ["hop", "quantile"])
clock_offset_ms = Gauge("pulse_clock_offset_ms", "How far the exchange's clock is ahead of ours.")
tasks = Gauge("pulse_tasks", "Tasks of the event loop.")
bus_is_up = Gauge("pulse_bus_is_up", "1 while views travel through the configured bus.")

BY_SYMBOL: Sequence[Counter | Gauge] = (
    frames_received, frames_malformed, frames_quarantined, feed_connections, depth_gaps, snapshots_joined, trade_holes,
    trades_repaired, trades_given_up, held_released, trades_lost, book_resyncs, touch_compared, touch_differing,
    top_compared, top_differing, book_audits, levels_compared, levels_differing, book_incidents, book_is_live,
    pictures_published, candles_differing,
)  # fmt: skip
"""The metrics that are labelled with a symbol."""


class SymbolMetrics:
    """The lifecycle of the metrics that are labelled with a symbol."""

    def open(self, symbol: str) -> None:
        """Begin to count for a symbol: each metric appears with its first value."""

    def close(self, symbol: str) -> None:
        """Remove a symbol's label from every metric."""
        for metric in BY_SYMBOL:
            metric.remove_by_labels({"symbol": symbol})
