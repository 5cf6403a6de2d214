"""One symbol's true order book: orders in price-time order, in integer ticks and lots, with an id for every change.

It remembers its recent changes, so it can also say what it held at an earlier id. It knows no time, no randomness and
nobody's spelling; who sends orders and why is the market's affair.
"""

from bisect import bisect_left
from collections import deque
from itertools import islice
from typing import NamedTuple

BID = 0
ASK = 1

ORDERS_PER_LEVEL_MAX = 12  # beyond it an order joins the last one of its level
CHANGES_KEPT = 16_384  # how far back `at` can look: over a minute of a busy market

LevelLots = tuple[int, int]  # price in ticks, quantity in lots


class BookCut(NamedTuple):
    """The levels that changed between two ids, both included; lots are absolute and 0 removes the level."""

    first_update_id: int
    final_update_id: int
    bids: tuple[LevelLots, ...]
    asks: tuple[LevelLots, ...]


class Take(NamedTuple):
    """What a taker took at one price: the lots of each resting order it met, oldest first."""

    ticks: int
    fills: tuple[int, ...]


class BookSide:
    """One side. A key is the price in ticks, negated for asks, so that on both sides the greatest key is the best."""

    __slots__ = ("keys", "orders")

    def __init__(self) -> None:
        self.keys: list[int] = []  # ascending: the best is last, where lists are cheap
        self.orders: dict[int, list[int]] = {}  # the lots of each order at a key, oldest first

    def lots_at(self, key: int) -> int:
        """The whole quantity at a key, 0 when there is no such level."""
        orders = self.orders.get(key)
        return sum(orders) if orders else 0


class Book:
    """Both sides and the id of the newest change. A change of one level is one id."""

    def __init__(self, update_id: int) -> None:
        self.update_id = update_id
        self.sides = (BookSide(), BookSide())
        self._cut_id = update_id
        self._changed: tuple[dict[int, None], dict[int, None]] = ({}, {})
        self._log: deque[tuple[int, int, int]] = deque(maxlen=CHANGES_KEPT)  # side, key, lots before

    @property
    def oldest_id(self) -> int:
        """The earliest id that `at` still knows."""
        return self.update_id - len(self._log)

    def settle(self) -> None:
        """Call the book as it is now the beginning: what built it is neither reported nor remembered."""
        self._log.clear()
        self.cut()

    def rest(self, side: int, key: int, lots: int) -> None:
        """Add an order behind those already at its price; ValueError when it would meet the other side."""
        other = self.sides[1 - side].keys
        if lots <= 0 or (other and key + other[-1] >= 0):
            raise ValueError(f"expected a resting order of some lots that does not cross, got {key}, {lots}")
        mine = self.sides[side]
        orders = mine.orders.get(key)
        self._note(side, key, sum(orders) if orders else 0)
        if orders is None:
            mine.orders[key] = [lots]
            mine.keys.insert(bisect_left(mine.keys, key), key)
        elif len(orders) < ORDERS_PER_LEVEL_MAX:
            orders.append(lots)
        else:
            orders[-1] += lots

    def cancel(self, side: int, key: int, position: int) -> None:
        """Remove the order at a position of a level's queue; KeyError or IndexError when there is none."""
        mine = self.sides[side]
        orders = mine.orders[key]
        before = sum(orders)
        del orders[position]
        self._note(side, key, before)
        if not orders:
            del mine.orders[key]
            del mine.keys[bisect_left(mine.keys, key)]

    def take(self, side: int, lots: int, worst_key: int) -> list[Take]:
        """Match a taker against this side, best price and oldest order first, no worse than `worst_key`."""
        mine = self.sides[side]
        takes: list[Take] = []
        while lots and mine.keys and mine.keys[-1] >= worst_key:
            key = mine.keys[-1]
            orders = mine.orders[key]
            self._note(side, key, sum(orders))
            fills = _fill(orders, lots)
            lots -= sum(fills)
            takes.append(Take(abs(key), fills))
            if not orders:
                del mine.orders[key]
                mine.keys.pop()
        return takes

    def best(self, side: int) -> LevelLots:
        """The best level of a side; IndexError when the side is empty."""
        mine = self.sides[side]
        key = mine.keys[-1]
        return abs(key), sum(mine.orders[key])

    def top(self, side: int, count: int) -> tuple[LevelLots, ...]:
        """The best levels of a side, best first."""
        orders = self.sides[side].orders
        return tuple((abs(key), sum(orders[key])) for key in islice(reversed(self.sides[side].keys), count))

    def cut(self) -> BookCut | None:
        """Everything that changed since the last cut, None when nothing did."""
        if self.update_id == self._cut_id:
            return None
        bids, asks = (self._changed_levels(side) for side in (BID, ASK))
        cut = BookCut(self._cut_id + 1, self.update_id, bids, asks)
        self._cut_id = self.update_id
        for changed in self._changed:
            changed.clear()
        return cut

    def at(self, update_id: int, count: int) -> tuple[tuple[LevelLots, ...], tuple[LevelLots, ...]] | None:
        """The best levels (bids, asks) as they were after a change; None when it is forgotten or still to come."""
        if not self.oldest_id <= update_id <= self.update_id:
            return None
        before: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for side, key, lots in islice(reversed(self._log), self.update_id - update_id):
            before[side][key] = lots  # the walk goes back in time, so the last one written is the oldest
        return self._top_before(BID, before[BID], count), self._top_before(ASK, before[ASK], count)

    def _top_before(self, side: int, before: dict[int, int], count: int) -> tuple[LevelLots, ...]:
        mine = self.sides[side]
        # Of today's levels only this many can be among the best of then: each changed one hides one at most.
        near = islice(reversed(mine.keys), count + len(before))
        keys = sorted(before.keys() | set(near), reverse=True)
        levels = ((abs(key), before[key] if key in before else mine.lots_at(key)) for key in keys)
        return tuple(islice((level for level in levels if level[1]), count))

    def _note(self, side: int, key: int, lots_before: int) -> None:
        self.update_id += 1
        self._changed[side][key] = None
        self._log.append((side, key, lots_before))

    def _changed_levels(self, side: int) -> tuple[LevelLots, ...]:
        lots_at = self.sides[side].lots_at
        # Best first on both sides, as the exchange prints them.
        return tuple((abs(key), lots_at(key)) for key in sorted(self._changed[side], reverse=True))


def _fill(orders: list[int], lots: int) -> tuple[int, ...]:
    """Take lots from the front of a queue, in place; give back what each order lost."""
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
