"""The contract of a candle store, which has two implementations.

`sqlite` keeps the candles in a file, `postgres` on a server that may be unavailable. Neither knows where a candle comes
from, and neither has state per symbol.
"""

from collections.abc import Sequence
from typing import Protocol

from pulse.market.coverage import DayCoverage
from pulse.market.intervals import AggregatedCandle, Interval
from pulse.market.types import Candle, TradeGap


class Store(Protocol):
    """Closed candles of one venue. Every method is bounded in time, and raises StoreUnavailable when it fails.

    `kind` is "sqlite" or "postgres".
    """

    kind: str

    async def open(self) -> None:
        """Prepare the store, whose schema the first call migrates, and wait for nothing.

        A server or file that is unavailable is no error: it is used once it can be. Raises StoreUnavailable for what no
        waiting mends.
        """

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Upsert all candles or none; a stored one may take precedence (see `schema`).

        Idempotent, so a call that failed may be repeated. Raises ValueError for a candle that is not closed.
        """

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Return the first `limit` candles that open in [start_ms, end_ms], oldest first; without a start the last."""

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Return the same for the candles of any interval, aggregated from the stored minutes."""

    async def check(self) -> None:
        """Raise StoreUnavailable unless the store can be written to now."""

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Write all gaps or none; one whose ids are stored already stays as it is."""

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Return the first `limit` gaps that touch [start_ms, end_ms], in the order of their ids."""

    async def write_coverage(self, days: Sequence[DayCoverage]) -> None:
        """Upsert all days or none, and delete those beyond the newest COVERAGE_DAYS of a symbol."""

    async def read_coverage(self, symbol: str, from_ms: int, to_ms: int) -> list[DayCoverage]:
        """Return the days that begin in [from_ms, to_ms], oldest first."""

    async def stored_hours(self) -> tuple[int, int] | None:
        """Return when the oldest and the newest stored hour of any symbol open; None while there is none."""

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Delete the oldest hours that end by this time, with their minutes, and the gaps and days before it.

        At most `hours_max` hours of a symbol; returns how many were deleted.
        """

    async def aclose(self) -> None:
        """Close the file or the connections. Calls after it raise StoreUnavailable."""
