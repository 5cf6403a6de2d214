"""Every buffer between the tasks of the process: what it holds, its bound, and what happens when it is full.

| queue | from → to | bound | when full |
| --- | --- | --- | --- |
| inbox | ingest → engine | INBOX_EVENTS_MAX events | the producer waits, and with it its socket (backpressure) |
| outbox | engine → relay | one view per bus channel | a newer view replaces the one that waits (conflation) |
| candle queue | engine, reconciler → writer | CANDLES_MAX candles | the engine drops and counts, the reconciler waits |
| snapshot requests | engine → ingest | one reason per symbol | a newer reason replaces the one that waits |
| silent streams | engine → ingest | one report per symbol and kind | a newer report replaces the one that waits |
| trade gaps | engine → reconciler (replay: gap writer) | TRADE_GAPS_MAX gaps | the engine drops it and logs a warning |

Inward, up to the book, nothing may be lost, so those queues make their producers wait. Outward, each item is a complete
view, so those queues keep the newest item per key.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from pulse.market.liquidity import LiquidityView
from pulse.market.types import Candle, TradeGap
from pulse.market.view import TradesView, View

INBOX_EVENTS_MAX = 4096
"""Events between ingest and engine."""
CANDLES_MAX = 10_000
"""Closed candles between engine and writer: more than a day of six symbols."""
TRADE_GAPS_MAX = 1000
"""Gaps that wait for the reconciler; only a broken exchange makes more."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ConflatingQueue(Generic[K, V]):
    """A queue of at most one item per key, in the order in which the keys first became due.

    Putting a key that still waits replaces its item in place and counts it in `replaced`. The bound is the number of
    keys, which the caller fixes by what it puts.
    """

    def __init__(self) -> None:
        self._items: dict[K, V] = {}
        self._filled = asyncio.Event()
        self.replaced = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, key: K, item: V) -> None:
        """Queue this item for the key, in place of any that has not been taken yet."""
        if key in self._items:
            self.replaced += 1
        self._items[key] = item
        self._filled.set()

    def discard(self, key: K) -> None:
        """Drop the item that waits under this key."""
        self._items.pop(key, None)

    async def get(self) -> tuple[K, V]:
        """Wait for an item and take the one whose key has waited longest."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._items))
        return key, self._items.pop(key)


class Received(NamedTuple):
    """One market event of one symbol, and when it was received, in ms of the process's clock."""

    symbol: str
    event: object
    received_ms: float


Inbox: TypeAlias = asyncio.Queue[Received]
Outbox: TypeAlias = ConflatingQueue[str, View | TradesView | LiquidityView]
"""By bus channel."""
CandleQueue: TypeAlias = asyncio.Queue[Candle]
SnapshotRequests: TypeAlias = ConflatingQueue[str, str]
"""Reasons, in words, by symbol."""
SilentStreams: TypeAlias = ConflatingQueue[tuple[str, str], str]
"""Reasons, in words, by symbol and kind of stream."""
GapQueue: TypeAlias = asyncio.Queue[TradeGap]


def make_inbox() -> Inbox:
    """Make the queue between every source of events and the engine."""
    return asyncio.Queue(INBOX_EVENTS_MAX)


def make_candle_queue() -> CandleQueue:
    """Make the queue of closed candles on their way to the writer."""
    return asyncio.Queue(CANDLES_MAX)


def make_gap_queue() -> GapQueue:
    """Make the queue of trade gaps on their way to the reconciler."""
    return asyncio.Queue(TRADE_GAPS_MAX)
