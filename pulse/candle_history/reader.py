"""Reads candles of any interval: those of the store, and the newest minutes, which the store does not have yet.

`RunningCandles` caches the end of the intervals that clients follow. It knows no request and no client.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pulse.clock import Clock
from pulse.errors import StoreUnavailable
from pulse.market.intervals import INTERVALS, AggregatedCandle, Interval, Newest, merge_newer_minutes
from pulse.market.types import TradeGap
from pulse.store.contract import Store
from pulse.wire import candle_row

log = logging.getLogger(__name__)

REFRESH_EVERY_S = 5.0
"""Much less than a minute: the cached candles then lack at most the newest closed minute, which is merged in."""
IDLE_AFTER_S = 30.0
"""A followed interval is asked for at each view; one that nothing has asked for so long is followed no more."""
CANDLES_CACHED = 2
"""The running candle and the newest closed one."""

Key = tuple[str, str]
"""A symbol and the name of an interval."""


class CandleReader:
    """Reads from `store`, and merges in what `newest` returns: a symbol's newest closed minute and its running one."""

    def __init__(self, store: Store, newest: Callable[[str], Newest], clock: Clock) -> None:
        self._store = store
        self._newest = newest
        self._clock = clock

    def now_s(self) -> float:
        """Return the wall-clock time that minutes are aligned to, in seconds since 1970."""
        return self._clock.wall_s()

    def running_ms(self, symbol: str) -> int:
        """Return the open time of the symbol's running minute; all minutes before it are over."""
        return self._newest(symbol).running_ms

    async def read(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Return the first `limit` candles that open in [start_ms, end_ms], or without a start the last; oldest first.

        The running candle is included, with the minutes that it has so far. Raises StoreUnavailable.
        """
        stored = await self._store.read_intervals(symbol, interval, start_ms, end_ms, limit)
        return merge_newer_minutes(stored, interval, self._newest(symbol).minutes, start_ms, end_ms, limit)

    async def pages(
        self, symbol: str, interval: Interval, start_ms: int, end_ms: int | None, limit: int, page: int
    ) -> AsyncIterator[list[AggregatedCandle]]:
        """Yield what `read` returns from a start on, at most `page` candles at a time, and no empty page."""
        at_ms = start_ms
        while limit > 0 and (candles := await self.read(symbol, interval, at_ms, end_ms, min(limit, page))):
            yield candles
            limit -= len(candles)
            at_ms = interval.after(candles[-1].candle.open_time_ms)

    async def read_stored(self, symbol: str, interval: Interval, limit: int) -> list[AggregatedCandle]:
        """Return the last `limit` candles of the store alone, oldest first. Raise StoreUnavailable."""
        return await self._store.read_intervals(symbol, interval, None, None, limit)

    def merge_newest(
        self, symbol: str, interval: Interval, stored: Sequence[AggregatedCandle], limit: int
    ) -> list[AggregatedCandle]:
        """Return candles read from the store a moment ago with the newest minutes merged in: the last `limit`."""
        return merge_newer_minutes(stored, interval, self._newest(symbol).minutes, None, None, limit)

    async def gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Return the first `limit` gaps in the trades that touch [start_ms, end_ms]. Raise StoreUnavailable."""
        return await self._store.read_gaps(symbol, start_ms, end_ms, limit)


class RunningCandles:
    """A read-through cache of the running candles that clients follow. `clock` returns monotonic seconds.

    The stored part of each is read again every REFRESH_EVERY_S, the newest minutes are merged in at each call.
    """

    def __init__(self, reader: CandleReader, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._stored: dict[Key, Sequence[AggregatedCandle]] = {}
        self._last_used_s: dict[Key, float] = {}
        self._has_new_key = asyncio.Event()

    def now(self, symbol: str, interval: str) -> dict[str, Any]:
        """Return the rows `candle`, the running one, and `closed_candle`, the newest closed one; null where unknown.

        The first call for an interval returns nulls and starts to follow it.
        """
        key = symbol, interval
        self._last_used_s[key] = self._clock()
        if key not in self._stored:
            self._has_new_key.set()
            return {"candle": None, "closed_candle": None}
        span, running_ms = INTERVALS[interval], self._reader.running_ms(symbol)
        candles = self._reader.merge_newest(symbol, span, self._stored[key], CANDLES_CACHED)
        rows = [candle_row(candle, span, running_ms) for candle in candles]
        return {
            "candle": next((row for row in reversed(rows) if not row["is_closed"]), None),
            "closed_candle": next((row for row in reversed(rows) if row["is_closed"]), None),
        }

    async def run(self) -> None:
        """Refresh what is followed, at once for a new interval, and evict what is idle; never return."""
        while True:
            self._has_new_key.clear()
            for key, last_used_s in list(self._last_used_s.items()):
                if self._clock() - last_used_s > IDLE_AFTER_S:
                    del self._last_used_s[key]
                    self._stored.pop(key, None)
                else:
                    await self._refresh(key)
            try:
                async with asyncio.timeout(REFRESH_EVERY_S):
                    await self._has_new_key.wait()
            except TimeoutError:
                pass

    async def _refresh(self, key: Key) -> None:
        symbol, interval = key
        try:
            self._stored[key] = await self._reader.read_stored(symbol, INTERVALS[interval], CANDLES_CACHED)
        except StoreUnavailable as fault:
            # The cached candles stay; their rows count the minutes that are missing.
            log.debug("running candle not refreshed symbol=%s interval=%s reason=%s", symbol, interval, fault)
