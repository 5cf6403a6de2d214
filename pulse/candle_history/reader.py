"""What clients have of the past: candles, those of the store and the minutes that it does not have yet, and gaps."""

from collections.abc import AsyncIterator, Callable, Sequence

from pulse.clock import Clock
from pulse.market.intervals import Bar, Interval, Newest, with_newest
from pulse.market.types import TradeGap
from pulse.store.contract import Store


class Bars:
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
    ) -> list[Bar]:
        """The first `limit` bars that open in [start_ms, end_ms], without a start the last ones; oldest first.

        The running one is among them, as far as it has come. Raises StoreUnavailable.
        """
        stored = await self._store.read_bars(symbol, interval, start_ms, end_ms, limit)
        return with_newest(stored, interval, self._newest(symbol).minutes, start_ms, end_ms, limit)

    async def stored(self, symbol: str, interval: Interval, limit: int) -> list[Bar]:
        """The store's last `limit` bars, oldest first. Raises StoreUnavailable."""
        return await self._store.read_bars(symbol, interval, None, None, limit)

    async def gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """The first `limit` holes in the symbol's trades that touch [start_ms, end_ms]. Raises StoreUnavailable."""
        return await self._store.read_gaps(symbol, start_ms, end_ms, limit)

    def brought_up(self, symbol: str, interval: Interval, stored: Sequence[Bar], limit: int) -> list[Bar]:
        """Bars that were read a moment ago, with the minutes since then, the last `limit` of them."""
        return with_newest(stored, interval, self._newest(symbol).minutes, None, None, limit)

    async def pages(
        self, symbol: str, interval: Interval, start_ms: int, end_ms: int | None, limit: int, page: int
    ) -> AsyncIterator[list[Bar]]:
        """The same as `read` from a start on, `page` of them at a time, and no page after the last."""
        at_ms = start_ms
        while limit > 0 and (bars := await self.read(symbol, interval, at_ms, end_ms, min(limit, page))):
            yield bars
            limit -= len(bars)
            at_ms = interval.after(bars[-1].candle.open_time_ms)
