"""What clients have of the past: candles, those of the store and the minutes that it does not have yet, and gaps."""

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


class CandleReader:
    """Reads bars. `newest` gives the end of a symbol's record as it stands now."""

    def __init__(self, store: Store, newest: Callable[[str], Newest], clock: Clock) -> None:
        self._store = store
        self._newest = newest
        self._clock = clock

    def now_s(self) -> float:
        """The time of day by which minutes open, in seconds since 1970."""
        return self._clock.wall_s()

    def running_ms(self, symbol: str) -> int:
        """When the symbol's running minute opens: what lies before it is over."""
        return self._newest(symbol).running_ms

    async def read(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """The first `limit` bars that open in [start_ms, end_ms], without a start the last ones; oldest first.

        The running one is among them, as far as it has come. Raises StoreUnavailable.
        """
        stored = await self._store.read_intervals(symbol, interval, start_ms, end_ms, limit)
        return merge_newer_minutes(stored, interval, self._newest(symbol).minutes, start_ms, end_ms, limit)

    async def stored(self, symbol: str, interval: Interval, limit: int) -> list[AggregatedCandle]:
        """The store's last `limit` bars, oldest first. Raises StoreUnavailable."""
        return await self._store.read_intervals(symbol, interval, None, None, limit)

    async def gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """The first `limit` holes in the symbol's trades that touch [start_ms, end_ms]. Raises StoreUnavailable."""
        return await self._store.read_gaps(symbol, start_ms, end_ms, limit)

    def brought_up(
        self, symbol: str, interval: Interval, stored: Sequence[AggregatedCandle], limit: int
    ) -> list[AggregatedCandle]:
        """Bars that were read a moment ago, with the minutes since then, the last `limit` of them."""
        return merge_newer_minutes(stored, interval, self._newest(symbol).minutes, None, None, limit)

    async def pages(
        self, symbol: str, interval: Interval, start_ms: int, end_ms: int | None, limit: int, page: int
    ) -> AsyncIterator[list[AggregatedCandle]]:
        """The same as `read` from a start on, `page` of them at a time, and no page after the last."""
        at_ms = start_ms
        while limit > 0 and (bars := await self.read(symbol, interval, at_ms, end_ms, min(limit, page))):
            yield bars
            limit -= len(bars)
            at_ms = interval.after(bars[-1].candle.open_time_ms)


log = logging.getLogger(__name__)

READ_EVERY_S = 5.0
"""Much shorter than a minute: what the store lacks is then never more than the newest closed minute."""
FORGOTTEN_AFTER_S = 30.0
"""Who follows an interval asks at each view; where nobody has asked for so long, nobody does."""
BARS_KEPT = 2

Key = tuple[str, str]


class RunningCandles:
    """`clock` gives monotonic seconds."""

    def __init__(self, bars: CandleReader, clock: Callable[[], float]) -> None:
        self._bars = bars
        self._clock = clock
        self._stored: dict[Key, Sequence[AggregatedCandle]] = {}
        self._asked_s: dict[Key, float] = {}
        self._has_new = asyncio.Event()

    def now(self, symbol: str, interval: str) -> dict[str, Any]:
        """`candle`, the running bar, and `closed_candle`, the newest closed one, as rows; null while not known."""
        key = symbol, interval
        self._asked_s[key] = self._clock()
        if key not in self._stored:
            self._has_new.set()
            return {"candle": None, "closed_candle": None}
        span, running_ms = INTERVALS[interval], self._bars.running_ms(symbol)
        bars = self._bars.brought_up(symbol, span, self._stored[key], BARS_KEPT)
        rows = [candle_row(bar, span, running_ms) for bar in bars]
        return {
            "candle": next((row for row in reversed(rows) if not row["is_closed"]), None),
            "closed_candle": next((row for row in reversed(rows) if row["is_closed"]), None),
        }

    async def run(self) -> None:
        """Read for ever what is followed."""
        while True:
            self._has_new.clear()
            for key, asked_s in list(self._asked_s.items()):
                if self._clock() - asked_s > FORGOTTEN_AFTER_S:
                    del self._asked_s[key]
                    self._stored.pop(key, None)
                else:
                    await self._read(key)
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._has_new.wait()
            except TimeoutError:
                pass

    async def _read(self, key: Key) -> None:
        symbol, interval = key
        try:
            self._stored[key] = await self._bars.stored(symbol, INTERVALS[interval], BARS_KEPT)
        except StoreUnavailable as fault:
            # What was read before stays, and says itself which minutes it lacks.
            log.debug("running bar not read symbol=%s interval=%s reason=%s", symbol, interval, fault)
