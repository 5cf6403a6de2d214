"""A queue that keeps the newest item per key: how everything behind the book stays fresh under a slow reader.

It knows nothing of what it carries. Its bound is the number of keys, which the caller fixes by what it puts.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ConflatingQueue(Generic[K, V]):
    """At most one item per key, given out in the order in which the keys first became due.

    Putting a key that still waits replaces its item in place and counts it in `replaced`.
    """

    def __init__(self) -> None:
        self._items: dict[K, V] = {}
        self._filled = asyncio.Event()
        self.replaced = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, key: K, item: V) -> None:
        """Keep this item for the key, in place of any that has not been taken yet."""
        if key in self._items:
            self.replaced += 1
        self._items[key] = item
        self._filled.set()

    def discard(self, key: K) -> None:
        """Forget what waits under this key."""
        self._items.pop(key, None)

    async def get(self) -> tuple[K, V]:
        """Wait for an item and take the one whose key has waited longest."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._items))
        return key, self._items.pop(key)
