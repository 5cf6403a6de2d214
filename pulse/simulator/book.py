"""The exact order book of one symbol: orders in price-time priority, in integer ticks and lots, one id per change.

It keeps its recent changes, so it can also return the levels at an earlier id. It does not know time, randomness or
wire formats; which orders arrive is decided in `flow`.
"""

from bisect import bisect_left
from collections import deque
from itertools import islice
from typing import NamedTuple

BID = 0
ASK = 1

ORDERS_PER_LEVEL_MAX = 12  # beyond it an order is merged into the last one of its level
CHANGES_KEPT = 16_384  # how far back `levels_at` can look: over a minute of a busy market

LevelLots = tuple[int, int]  # price in ticks, quantity in lots


class BookDiff(NamedTuple):
    """The levels that changed between two ids, both inclusive; lots are absolute and 0 removes the level."""

    first_update_id: int
    final_update_id: int
    bids: tuple[LevelLots, ...]
    asks: tuple[LevelLots, ...]


class LevelFill(NamedTuple):
    """What a taker bought or sold at one price: the lots of each resting order filled, oldest first."""

    ticks: int
    fills: tuple[int, ...]


class SimulatedBookSide:
    """One side. A key is the price in ticks, negated for asks, so that on both sides the greatest key is the best."""

    __slots__ = ("keys", "orders")

    def __init__(self) -> None:
        self.keys: list[int] = []  # ascending: the best is last, where insertion and removal are cheap
        self.orders: dict[int, list[int]] = {}  # the lots of each order at a key, oldest first

    def lots_at(self, key: int) -> int:
        """Return the total quantity at a key, 0 when there is no such level."""
        orders = self.orders.get(key)
        return sum(orders) if orders else 0


class SimulatedBook:
    """Both sides and the id of the newest change. Each change of one level takes one id."""

    def __init__(self, update_id: int) -> None:
        self.update_id = update_id
        self.sides = (SimulatedBookSide(), SimulatedBookSide())
        self._diff_id = update_id
        self._changed_keys: tuple[dict[int, None], dict[int, None]] = ({}, {})
        self._changes: deque[tuple[int, int, int]] = deque(maxlen=CHANGES_KEPT)  # side, key, lots before

    @property
    def oldest_id(self) -> int:
        """The earliest id that `levels_at` can return."""
        return self.update_id - len(self._changes)

    def clear_changes(self) -> None:
        """Make the current book the starting point: drop recorded changes and the pending diff."""
        self._changes.clear()
        self.take_diff()

    def add(self, side: int, key: int, lots: int) -> None:
        """Add an order at the end of its level's queue. Raise ValueError when it would cross the other side."""
        other = self.sides[1 - side].keys
        if lots <= 0 or (other and key + other[-1] >= 0):
            raise ValueError(f"expected a resting order of some lots that does not cross, got {key}, {lots}")
        own = self.sides[side]
        orders = own.orders.get(key)
        self._record(side, key, sum(orders) if orders else 0)
        if orders is None:
            own.orders[key] = [lots]
            own.keys.insert(bisect_left(own.keys, key), key)
        elif len(orders) < ORDERS_PER_LEVEL_MAX:
            orders.append(lots)
        else:
            orders[-1] += lots

    def cancel(self, side: int, key: int, position: int) -> None:
        """Remove the order at a position of a level's queue. Raise KeyError or IndexError when there is none."""
        own = self.sides[side]
        orders = own.orders[key]
        before = sum(orders)
        del orders[position]
        self._record(side, key, before)
        if not orders:
            del own.orders[key]
            del own.keys[bisect_left(own.keys, key)]

    def match(self, side: int, lots: int, worst_key: int) -> list[LevelFill]:
        """Match a taker against this side, best price and oldest order first, no worse than `worst_key`."""
        own = self.sides[side]
        fills: list[LevelFill] = []
        while lots and own.keys and own.keys[-1] >= worst_key:
            key = own.keys[-1]
            orders = own.orders[key]
            self._record(side, key, sum(orders))
            taken = _fill_orders(orders, lots)
            lots -= sum(taken)
            fills.append(LevelFill(abs(key), taken))
            if not orders:
                del own.orders[key]
                own.keys.pop()
        return fills

    def best(self, side: int) -> LevelLots:
        """Return the best level of a side. Raise IndexError when the side is empty."""
        own = self.sides[side]
        key = own.keys[-1]
        return abs(key), sum(own.orders[key])

    def top(self, side: int, count: int) -> tuple[LevelLots, ...]:
        """Return the best levels of a side, best first."""
        orders = self.sides[side].orders
        return tuple((abs(key), sum(orders[key])) for key in islice(reversed(self.sides[side].keys), count))

    def take_diff(self) -> BookDiff | None:
        """Return the changes since the last diff, None when there are none."""
        if self.update_id == self._diff_id:
            return None
        bids, asks = (self._changed_levels(side) for side in (BID, ASK))
        diff = BookDiff(self._diff_id + 1, self.update_id, bids, asks)
        self._diff_id = self.update_id
        for changed in self._changed_keys:
            changed.clear()
        return diff

    def levels_at(self, update_id: int, count: int) -> tuple[tuple[LevelLots, ...], tuple[LevelLots, ...]] | None:
        """Return the best levels (bids, asks) after a change; None when the id is too old or in the future."""
        if not self.oldest_id <= update_id <= self.update_id:
            return None
        before: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for side, key, lots in islice(reversed(self._changes), self.update_id - update_id):
            before[side][key] = lots  # iterates backwards in time, so the last write per key is the oldest state
        return self._top_before(BID, before[BID], count), self._top_before(ASK, before[ASK], count)

    def _top_before(self, side: int, before: dict[int, int], count: int) -> tuple[LevelLots, ...]:
        own = self.sides[side]
        # Only this many current levels can be among the best of then: each changed level hides at most one.
        near = islice(reversed(own.keys), count + len(before))
        keys = sorted(before.keys() | set(near), reverse=True)
        levels = ((abs(key), before[key] if key in before else own.lots_at(key)) for key in keys)
        return tuple(islice((level for level in levels if level[1]), count))

    def _record(self, side: int, key: int, lots_before: int) -> None:
        self.update_id += 1
        self._changed_keys[side][key] = None
        self._changes.append((side, key, lots_before))

    def _changed_levels(self, side: int) -> tuple[LevelLots, ...]:
        lots_at = self.sides[side].lots_at
        # Best first on both sides, as the exchange sends them.
        return tuple((abs(key), lots_at(key)) for key in sorted(self._changed_keys[side], reverse=True))


def _fill_orders(orders: list[int], lots: int) -> tuple[int, ...]:
    """Take lots from the front of a queue, in place, and return what each order lost."""
    fills: list[int] = []
    while lots and orders:
        fill = min(lots, orders[0])
        lots -= fill
        fills.append(fill)
        if fill == orders[0]:
            orders.pop(0)
        else:
            orders[0] -= fill
    return tuple(fills)
