"""Where closed candles are kept: one contract, two rooms.

`sqlite` keeps them in a file, `postgres` on a server that may be away. Neither knows where a candle comes from.
"""

from collections.abc import Sequence
from typing import Protocol

from pulse.market.intervals import AggregatedCandle, Interval
from pulse.market.types import Candle, TradeGap


class Store(Protocol):
    """Closed candles of one venue. Every method is bounded in time and raises StoreUnavailable for trouble.

    `kind` is "sqlite" or "postgres".
    """

    kind: str

    async def open(self) -> None:
        """Make ready, and bring the schema up to date. A server that is away does not matter: it is used when there."""

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Write all of them or none; of a minute that is there already the better account stays (see `schema`).

        Writing the same again changes nothing, so a call that failed may be repeated. Raises ValueError for a candle
        that is not closed.
        """

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """At most `limit` candles, oldest first, that open in [start_ms, end_ms].

        The first ones of that range, or without `start_ms` the last ones.
        """

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """The same for the candles of any interval, put together from the minutes that are there."""

    async def check(self) -> None:
        """See whether it answers."""

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Keep all of them or none; one that is known by its ids stays as it was noted first."""

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """The first `limit` gaps that touch [start_ms, end_ms], in the order of their ids."""

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Delete the oldest hours of candles that end by this time, and the gaps that end before it.

        At most `hours_max` hours of a symbol at a time, with their minutes; returns how many.
        """

    async def aclose(self) -> None:
        """Let go of the file or the server. Nothing may be asked afterwards."""
