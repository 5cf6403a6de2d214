"""The bound, in bytes for the whole process, of the frames that wait.

Diffs wait for a snapshot, trades for those before them, and the frames of a second connection for its turn.
The bounds by count are per symbol, so with many symbols whose snapshots are refused together they would not fit into
the memory. Where the bound is reached the symbol that holds most releases its oldest: diffs that are minutes old are of
no use to a new snapshot, which is at most seconds old, whoever watches the symbol.
"""

import logging
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
    """Bounds what all holders hold together."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._holders: list[Holder] = []
        self._trouble = RepeatedTrouble(log, "held events released symbol=%s held_bytes=%s")
        stats.held_bytes.set_function(lambda: self.held_bytes)

    @property
    def held_bytes(self) -> int:
        """What all holders hold; O(holders)."""
        return sum(holder.held_bytes for holder in self._holders)

    def add(self, holder: Holder) -> None:
        """Count a holder in."""
        self._holders.append(holder)

    def remove(self, holder: Holder) -> None:
        """Count a holder out."""
        self._holders.remove(holder)

    async def make_room(self) -> None:
        """Have those that hold most release their oldest until all fit; call it after each event that is held."""
        while (held_bytes := self.held_bytes) > self._bytes_max:
            holder = max(self._holders, key=lambda holder: holder.held_bytes)
            stats.held_released.labels(holder.symbol).inc()
            self._trouble.warn(holder.symbol, held_bytes)
            await holder.release_oldest()
