"""The newest blocks of all symbols in memory, within a bound in bytes: what a reader finds without the disk."""

from collections import deque

from pulse.past.block import Block, BlockMeta

META_BYTES = 2_000
"""About the memory of a block's description."""


class Ring:
    """Holds blocks in the order in which they were recorded; at the bound the oldest of any symbol goes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._blocks: deque[Block] = deque()
        self.total_bytes = 0

    def add(self, block: Block) -> None:
        """Add the newest block of its symbol."""
        self._blocks.append(block)
        self.total_bytes += _bytes_of(block)
        while self.total_bytes > self._bytes_max:
            self.total_bytes -= _bytes_of(self._blocks.popleft())

    def find(self, symbol: str, time_ms: int) -> Block | None:
        """Return the block of this time; where a clock was set back, the one that was recorded last."""
        return next((block for block in reversed(self._blocks) if is_of(block.meta, symbol, time_ms)), None)

    def metas(self, symbol: str) -> list[BlockMeta]:
        """Return what is known of the blocks of a symbol, in the order in which they were recorded."""
        return [block.meta for block in self._blocks if block.meta.symbol == symbol]


def is_of(meta: BlockMeta, symbol: str, time_ms: int) -> bool:
    """Return whether a block holds this time of a symbol."""
    return meta.symbol == symbol and meta.from_ms <= time_ms <= meta.to_ms


def _bytes_of(block: Block) -> int:
    return META_BYTES + len(block.keyframe) + len(block.rows)
