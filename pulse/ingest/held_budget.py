"""The bound, in bytes for the whole process, of the frames that wait.

Diffs wait for a snapshot, trades for those before them, and the frames of a second connection for its turn.
The bounds by count are per symbol, so with many symbols whose snapshots are refused together they would not fit into
the memory. Where the bound is reached, the symbol that holds most among those that no client watches releases its
oldest, a watched one only where no other holds anything. Diffs that are minutes old are of no use to a new snapshot,
which is at most seconds old: the book joins anew.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from pulse import stats
from pulse.logs import RepeatedTrouble

log = logging.getLogger(__name__)

HELD_BYTES_MAX = 64 * 1024 * 1024
"""An eighth of an instance of 512 MB, two and a half minutes of ten of the busiest recorded symbols; a snapshot that is
not refused takes seconds."""


class Holder(Protocol):
    """What holds events of one symbol. `held_bytes` is about the memory that they take."""

    symbol: str

    @property
    def held_bytes(self) -> int:
        """About the memory that is held."""
        ...

    async def release_oldest(self) -> None:
        """Hold less than before."""


class HeldBudget:
    """Bounds what all holders hold together. `is_watched(symbol)` tells whether any client follows a symbol."""

    def __init__(self, is_watched: Callable[[str], bool] = lambda _: False, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._is_watched = is_watched
        self._bytes_max = bytes_max
        self._bytes: dict[Holder, int] = {}  # as last noted
        self._trouble = RepeatedTrouble(log, "held events released symbol=%s held_bytes=%s")
        self.held_bytes = 0
        stats.held_bytes.set_function(lambda: self.held_bytes)

    def add(self, holder: Holder) -> None:
        """Count a holder in."""
        self._bytes[holder] = 0
        self.note(holder)

    def remove(self, holder: Holder) -> None:
        """Count a holder out."""
        self.held_bytes -= self._bytes.pop(holder)

    def note(self, holder: Holder) -> None:
        """Count what a holder holds now, unless it was counted out; O(1)."""
        if holder in self._bytes:
            held_bytes = holder.held_bytes
            self.held_bytes += held_bytes - self._bytes[holder]
            self._bytes[holder] = held_bytes

    async def make_room(self) -> None:
        """Have holders release their oldest until all fit; O(1) where all fit. Call it after `note`."""
        while self.held_bytes > self._bytes_max:
            holder = max(self._bytes, key=self._expendable)
            stats.held_released.labels(holder.symbol).inc()
            self._trouble.warn(holder.symbol, self.held_bytes)
            await holder.release_oldest()
            self.note(holder)

    def _expendable(self, holder: Holder) -> tuple[bool, int]:
        """Return a rank that is highest for the holder to release next."""
        held_bytes = self._bytes[holder]
        return held_bytes > 0 and not self._is_watched(holder.symbol), held_bytes
