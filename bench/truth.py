"""Compares what the terminal shows with the exact books and candles of the simulated exchange, both read over HTTP.

A view is compared at its own update id, of which the exchange keeps the book of the last seconds; a minute is compared
once it has closed. Nothing is compared that one of the two cannot answer at that moment.
"""

import math
import time
import urllib.error
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from bench.terminal import get

LEVELS = 20
MINUTE_MS = 60_000
RECENT = 5
"""Minutes that every check compares; the last check compares all since the beginning."""
MINUTES_MAX = 1000
"""What both answer at once: more than a soak lasts."""
DIVERGENCES_MAX = 20
"""Kept of the texts; the rest are counted."""
VOLUME_TOLERANCE = 1e-9
"""Volumes are sums of floats, in another order than the exchange's."""

Row = dict[str, Any]


class Truth:
    """The comparisons so far: how many of each kind, and the divergences found, as texts."""

    def __init__(self, terminal_port: int, exchange_port: int) -> None:
        self._terminal_port = terminal_port
        self._exchange_port = exchange_port
        self.books: Counter[str] = Counter()  # compared, by symbol
        self.minutes: dict[str, set[int]] = {}  # compared, by symbol
        self.divergences: list[str] = []
        self.diverged = 0

    def compare_book(self, symbol: str) -> bool:
        """Compare a live view with the exchange's book at its id; return whether it could be compared."""
        view = self._ask(self._terminal_port, f"/orderbook?symbol={symbol}")
        if view is None or view.get("state") != "live":
            return False
        path = f"/simulator/book?symbol={symbol}&update_id={view['last_update_id']}&limit={LEVELS}"
        book = self._ask(self._exchange_port, path)
        if book is None:
            return False
        self.books[symbol] += 1
        for side in ("bids", "asks"):
            theirs = [[float(price), float(quantity)] for price, quantity in book[side]]
            if difference := book_difference(view[side], theirs):
                self._note(f"{symbol} {side} at {view['last_update_id']}: {difference}")
        return True

    def compare_candles(self, symbol: str, since_ms: int | None = None, until_ms: int = 0) -> bool:
        """Compare the newest closed minutes; with `since_ms` all from then on, of which those until then must be there.

        Return whether they could be compared and none is missing.
        """
        theirs, wanted = ("", "") if since_ms is None else (f"&startTime={since_ms}", f"&start={since_ms}")
        limit = RECENT if since_ms is None else MINUTES_MAX
        klines = self._ask(self._exchange_port, f"/simulator/klines?symbol={symbol}&limit={limit}{theirs}")
        rows = self._ask(self._terminal_port, f"/api/ohlcv?symbol={symbol}&interval=1m&limit={limit}{wanted}")
        if klines is None or rows is None:
            return False
        closed = {kline[0]: kline for kline in klines[:-1]}
        ours = {open_ms_of(row): row for row in rows if row["is_closed"]}
        compared = self.minutes.setdefault(symbol, set())
        for open_ms in ours.keys() & closed.keys():
            compared.add(open_ms)
            if difference := candle_difference(ours[open_ms], closed[open_ms]):
                self._note(f"{symbol} minute {open_ms}: {difference}")
        return (
            since_ms is None
            or {open_ms for open_ms in closed if since_ms <= open_ms <= until_ms - MINUTE_MS} <= ours.keys()
        )

    def is_ready(self) -> bool:
        """Return whether the terminal says that books, bus and store are in order."""
        return self._ask(self._terminal_port, "/readyz") is not None

    def late_s(self) -> float:
        """Return how far the exchange's market is behind this machine's clock; 0 where it does not answer."""
        sent_s, answer = time.time(), self._ask(self._exchange_port, "/simulator/time")
        return 0.0 if answer is None else sent_s - answer["serverTime"] / 1000

    def _note(self, text: str) -> None:
        self.diverged += 1
        if len(self.divergences) < DIVERGENCES_MAX:
            self.divergences.append(text)

    def _ask(self, port: int, path: str) -> Any:
        """Return the JSON of a path, None where it is refused or not answered now."""
        try:
            return orjson.loads(get(port, path))
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return None


def open_ms_of(row: Row) -> int:
    """Return when a row of /api/ohlcv opens."""
    return round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000)


def book_difference(ours: Iterable[list[float]], theirs: Iterable[list[float]]) -> str:
    """Return the first level that differs, empty when none does. Ours may show fewer: those it knows exactly."""
    for rank, (own, their) in enumerate(zip(ours, theirs, strict=False)):
        if own != their:
            return f"level {rank} is {own}, and {their} on the exchange"
    return ""


def candle_difference(row: Row, kline: list[Any]) -> str:
    """Return the first value that differs from the exchange's candle, empty when none does."""
    exact = {name: float(kline[1 + at]) for at, name in enumerate(("open", "high", "low", "close"))}
    exact["trade_count"] = kline[8]
    sums = {
        "volume": kline[5],
        "quote_volume": kline[7],
        "taker_buy_volume": kline[9],
        "taker_buy_quote_volume": kline[10],
    }
    for name, value in exact.items():
        if row[name] != value:
            return f"{name} is {row[name]}, and {value} on the exchange"
    for name, text in sums.items():
        if not math.isclose(row[name], float(text), rel_tol=VOLUME_TOLERANCE, abs_tol=VOLUME_TOLERANCE):
            return f"{name} is {row[name]}, and {text} on the exchange"
    return ""
