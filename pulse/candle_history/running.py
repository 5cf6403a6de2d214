"""The task that keeps the running bars that somebody follows: each interval's newest closed bar and the one after it.

What is closed comes from the store, read anew every few seconds while anybody asks; the minutes since then are added
at each question. Nothing is read for intervals that nobody follows.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pulse.candle_history.reader import Bars
from pulse.errors import StoreUnavailable
from pulse.market.intervals import INTERVALS, Bar
from pulse.wire import bar_row

log = logging.getLogger(__name__)

READ_EVERY_S = 5.0
"""Much shorter than a minute: what the store lacks is then never more than the newest closed minute."""
FORGOTTEN_AFTER_S = 30.0
"""Who follows an interval asks at each picture; where nobody has asked for so long, nobody does."""
BARS_KEPT = 2

Key = tuple[str, str]


class RunningBars:
    """`clock` gives monotonic seconds."""

    def __init__(self, bars: Bars, clock: Callable[[], float]) -> None:
        self._bars = bars
        self._clock = clock
        self._stored: dict[Key, Sequence[Bar]] = {}
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
        rows = [bar_row(bar, span, running_ms) for bar in bars]
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
