"""The SQLite store in virtual time: the same statements on the same kind of file, without a thread."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pulse.market.types import Candle
from pulse.store.sqlite import SqliteStore
from tests.simulation.checker import Checker

T = TypeVar("T")
SQL = Path(__file__).parents[2] / "sql"


class InlineStore(SqliteStore):
    """Runs each statement at once instead of in a thread; the checker sees each candle before it is written."""

    def __init__(self, path: Path, checker: Checker) -> None:
        super().__init__(path, "us", SQL)
        self._checker = checker

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Check each candle, then write."""
        for candle in candles:
            self._checker.check_candle(candle)
        await super().write_candles(candles)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return work()

    def drop(self) -> None:
        """Close the file, as when the process is gone; what was written stays."""
        self._close()
