"""The program's own counters and gauges, each moved where the thing happens and read at /metrics."""

from prometheus_client import Counter, Gauge

frames_received = Counter("pulse_frames_received", "Frames received from the exchange.", ["symbol", "kind"])
frames_malformed = Counter("pulse_frames_malformed", "Frames refused because they cannot be right.", ["symbol"])
feed_connections = Counter("pulse_feed_connections", "Connections opened to the exchange.", ["symbol"])
depth_gaps = Counter("pulse_depth_gaps", "Gaps in the ids of depth diffs.", ["symbol"])
snapshots_joined = Counter("pulse_snapshots_joined", "Depth snapshots joined to a book.", ["symbol"])
book_resyncs = Gauge("pulse_book_resyncs", "Times a live book was lost since the start.", ["symbol"])
touch_compared = Gauge("pulse_touch_compared", "Diffs compared with the exchange's bookTicker.", ["symbol"])
touch_differing = Gauge("pulse_touch_differing", "Of those, how many differed.", ["symbol"])
book_is_live = Gauge("pulse_book_is_live", "1 while the newest picture's state is live.", ["symbol"])
pictures_published = Counter("pulse_pictures_published", "Pictures made.", ["symbol"])
pictures_replaced = Gauge("pulse_pictures_replaced", "Pictures replaced by a newer one before they were sent on.")
rest_weight = Counter("pulse_rest_weight", "Request weight spent at the exchange.")
rest_errors = Counter("pulse_rest_errors", "REST calls that failed.", ["path"])
candles_written = Counter("pulse_candles_written", "Closed candles written to the store.")
candles_dropped = Counter("pulse_candles_dropped", "Closed candles given up because the spool was full.")
candles_pending = Gauge("pulse_candles_pending", "Closed candles that wait for the store.")
candles_differing = Gauge("pulse_candles_differing", "Minutes in which our candle was not the exchange's.", ["symbol"])
bus_is_up = Gauge("pulse_bus_is_up", "1 while pictures travel through the configured bus.")
