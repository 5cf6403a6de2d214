"""Walks backwards through one symbol's history once, page by page, and compares each page with the exchange.

It knows how far it has come, and nothing of other symbols, of time or of retries.
"""

import logging

from pulse.binance.rest import KLINES_MAX
from pulse.candle_history.exchange_comparison import ExchangeComparison
from pulse.market.types import MINUTE_MS
from pulse.store.contract import Store

log = logging.getLogger(__name__)


class HistoryWalk:
    """The walk from the minute that opens at `newest_ms` back over `total` minutes, of which `done` are compared."""

    def __init__(self, symbol: str, newest_ms: int, minutes: int, store: Store, comparison: ExchangeComparison) -> None:
        self._symbol = symbol
        self._newest_ms = newest_ms
        self._store = store
        self._comparison = comparison
        self.total = minutes
        self.done = 0

    @property
    def is_done(self) -> bool:
        """Whether no page is left."""
        return self.done >= self.total

    async def step(self) -> None:
        """Compare the next page; do nothing when none is left.

        Raises ExchangeError or StoreUnavailable; the next call then repeats the page.
        """
        if self.is_done:
            return
        start_ms, end_ms = self._next_page()
        rows = await self._store.read_candles(self._symbol, start_ms, end_ms, KLINES_MAX)
        due = set(range(start_ms, end_ms + 1, MINUTE_MS)) - {row.open_time_ms for row in rows if row.reconciled}
        if due:
            theirs = await self._comparison.compare(self._symbol, {row.open_time_ms: row for row in rows}, due)
            if not theirs and not rows and not await self._has_older(start_ms):
                self.total = self.done  # the exchange did not list the symbol yet
        self.done = min(self.total, self.done + KLINES_MAX)
        if self.is_done:
            log.info("history complete symbol=%s minutes=%s", self._symbol, self.total)

    def _next_page(self) -> tuple[int, int]:
        """Return the open times of the first and the last minute of the next page."""
        end_ms = self._newest_ms - self.done * MINUTE_MS
        return end_ms - (min(KLINES_MAX, self.total - self.done) - 1) * MINUTE_MS, end_ms

    async def _has_older(self, before_ms: int) -> bool:
        """Return whether the exchange has any candle of the walk that opens before this time."""
        oldest_ms = self._newest_ms - (self.total - 1) * MINUTE_MS
        return before_ms > oldest_ms and bool(await self._comparison.fetch(self._symbol, oldest_ms, before_ms - 1))
