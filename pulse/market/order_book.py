"""One symbol's order book: exact inside a known price window, without a claim about prices outside it.

Rules (the exchange's documentation of local order books, and arithmetic):
1. A snapshot requested with N levels that has fewer holds the whole side; one that has N shows nothing beyond its
   worst price, which is the side's horizon.
2. Every later change is sent, so inside the horizon the side stays exact for ever, prices without an order included;
   applying diffs never moves the horizon.
3. A change beyond the horizon shows nothing about the prices next to it: it is dropped.
4. Dropping the worst levels, to stay within a bound, moves the horizon to the worst level kept.

Prices are kept as signed keys (bid +price, ask -price), so that for both sides larger is better, in two parallel arrays
with the best level last: most changes are near the best price, where an insert then moves little memory. Arrays,
because a list has a float object of each number, which takes five times the memory. A search makes a float object of
every number that it compares, but the numbers are in one place: with many books, whose levels are not in the caches,
arrays are faster too.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf
from operator import neg

from pulse.market.types import DepthDiff, DepthSnapshot, Level, Levels, Pairs, Price, Quantity

LEVEL_BYTES = 18
"""The memory of a level: two numbers, and what an array that grows has spare."""
SPARE_PART = 8
"""A side that grows beyond its bound drops this part of it more than it must."""
NEAR_REUSED_MAX = 1000
"""A running sum is computed anew after so many uses: each change may leave a rounding error of 1e-16 of it."""
NEAR_FALL_MAX = 1e-4
"""And when it has fallen to this part of its peak: a large sum's rounding error is a larger part of a small one."""


class BookSide:
    """The resting levels of one side. `sign` is +1.0 for bids and -1.0 for asks."""

    __slots__ = (
        "_keys", "_levels_max", "_near", "_near_key", "_near_peak", "_near_reused", "_quantities", "_sign", "horizon",
    )  # fmt: skip

    def __init__(self, sign: float, levels: Levels, is_complete: bool, levels_max: int) -> None:
        self._sign = sign
        self._levels_max = levels_max
        ordered = sorted(zip((sign * p for p in levels.prices), levels.quantities, strict=True))
        ordered = [(key, quantity) for key, quantity in ordered if quantity]
        # A sentinel better than any price saves every look-up a bounds check.
        self._keys = array("d", (*(key for key, _ in ordered), inf))
        self._quantities = array("d", (*(quantity for _, quantity in ordered), 0.0))
        # The quantity at `_near_key` or better, kept up to date with each change.
        self._near, self._near_peak, self._near_key, self._near_reused = 0.0, 0.0, inf, NEAR_REUSED_MAX
        self.horizon = -inf if is_complete else self._keys[0]
        # Exactly to the bound: a book that is compared with a running one must reach as far as that can.
        self._drop_excess(spare=0)

    def __len__(self) -> int:
        return len(self._keys) - 1

    def apply(self, levels: Levels) -> None:
        """Set absolute quantities, 0 removes a level, in O(levels changed x log levels held)."""
        keys, quantities, horizon = self._keys, self._quantities, self.horizon
        near, near_key = self._near, self._near_key
        signed = levels.prices if self._sign > 0 else map(neg, levels.prices)
        for key, quantity in zip(signed, levels.quantities, strict=True):
            if key < horizon:
                continue
            index = bisect_left(keys, key)
            if keys[index] == key:
                if key >= near_key:
                    near += quantity - quantities[index]
                if quantity:
                    quantities[index] = quantity
                else:
                    del keys[index], quantities[index]
            elif quantity:
                if key >= near_key:
                    near += quantity
                keys.insert(index, key)
                quantities.insert(index, quantity)
        self._near = near
        self._near_peak = max(self._near_peak, near)
        if len(keys) > self._levels_max + 1:
            # More than needed, so that a side at its bound does not move its lists every time.
            self._drop_excess(spare=self._levels_max // SPARE_PART)

    def best(self) -> Level | None:
        """Return the best level, or None where none is known."""
        if len(self._keys) == 1:
            return None
        return Level(self._sign * self._keys[-2], self._quantities[-2])

    def top(self, count: int) -> Pairs:
        """Return up to `count` known levels, best first."""
        keys = self._keys[-2 : -2 - count : -1]
        quantities = self._quantities[-2 : -2 - count : -1]
        return list(zip(keys if self._sign > 0 else map(neg, keys), quantities, strict=True))

    def levels(self) -> Iterator[tuple[Price, Quantity]]:
        """Iterate over the known levels, best first."""
        keys = islice(reversed(self._keys), 1, None)
        return zip(keys if self._sign > 0 else map(neg, keys), islice(reversed(self._quantities), 1, None), strict=True)

    def groups(
        self, floor: Callable[[float], float], count: int
    ) -> Iterator[tuple[Price, Sequence[float], Sequence[Quantity]]]:
        """Yield up to `count` groups of known levels, best first: the group's price, its levels' keys and quantities.

        `floor` returns the key of the group that a level's key belongs to: at or below it.
        """
        keys, quantities, end = self._keys, self._quantities, len(self)
        while end and count:
            key = floor(keys[end - 1])
            start = bisect_left(keys, key, 0, end)
            yield self._sign * key, keys[start:end], quantities[start:end]
            end, count = start, count - 1

    def quantity_within(self, price: Price) -> tuple[Quantity, bool]:
        """Return the quantity resting at `price` or better, and whether all of that range is known.

        The sum is kept: a call with a price nearby costs the levels between the two, not all of them.
        """
        key, before = self._sign * price, self._near_key
        start = bisect_left(self._keys, key)
        if self._near_reused >= NEAR_REUSED_MAX or self._near < NEAR_FALL_MAX * self._near_peak:
            self._near = self._near_peak = sum(self._quantities[start:-1])
            self._near_reused = 0
        elif key < before:
            self._near += sum(self._quantities[start : bisect_left(self._keys, before)])
        else:
            self._near -= sum(self._quantities[bisect_left(self._keys, before) : start])
        self._near_key = key
        self._near_reused += 1
        return self._near, key >= self.horizon

    def contents(self) -> tuple[list[float], list[Quantity], float]:
        """Return copies of the signed keys and the quantities, the best level last, and the horizon."""
        return self._keys[:-1].tolist(), self._quantities[:-1].tolist(), self.horizon

    def is_known(self, price: Price) -> bool:
        """Return whether the side is exact at this price: at or inside its horizon."""
        return self._sign * price >= self.horizon

    def known_between(self, best: Price, worst: Price) -> dict[Price, Quantity]:
        """Return the known levels from one price to a worse one, both included."""
        sign = self._sign
        start, end = bisect_left(self._keys, sign * worst), bisect_right(self._keys, sign * best)
        end = min(end, len(self))
        return {sign * k: q for k, q in zip(self._keys[start:end], self._quantities[start:end], strict=True)}

    def known_to(self) -> Price | None:
        """Return the worst price up to which the side is exact; None when the whole side is known."""
        return None if self.horizon == -inf else self._sign * self.horizon

    def differences(self, other: "BookSide") -> tuple[int, list[tuple[Price, Quantity, Quantity]]]:
        """Compare with another side at the same update id, in the range that both know.

        Returns the number of levels compared, and price, our quantity and theirs of those that differ, best first.
        """
        horizon = max(self.horizon, other.horizon)
        ours, theirs = self._known_from(horizon), other._known_from(horizon)
        shared = sorted(ours.keys() | theirs.keys(), reverse=True)
        return len(shared), [
            (self._sign * key, ours.get(key, 0.0), theirs.get(key, 0.0))
            for key in shared
            if ours.get(key) != theirs.get(key)
        ]

    def extend_with(self, other: "BookSide") -> None:
        """Extend the known range with the levels that another side, at the same update id, has beyond our horizon."""
        if other.horizon >= self.horizon:
            return
        cut = bisect_left(other._keys, self.horizon)
        self._keys[:0] = other._keys[:cut]
        self._quantities[:0] = other._quantities[:cut]
        self.horizon = other.horizon
        self._near_reused = NEAR_REUSED_MAX
        self._drop_excess(spare=0)

    def _known_from(self, horizon: float) -> dict[float, float]:
        start = bisect_left(self._keys, horizon)
        return dict(zip(self._keys[start:-1], self._quantities[start:-1], strict=True))

    def _drop_excess(self, spare: int) -> None:
        """Drop the worst levels beyond the bound, and `spare` more."""
        if len(self) <= self._levels_max:
            return
        excess = len(self) - self._levels_max + spare
        del self._keys[:excess], self._quantities[:excess]
        self.horizon = self._keys[0]
        self._near_reused = NEAR_REUSED_MAX


class OrderBook:
    """Both sides of a book at `last_update_id`, the final id of the last diff applied."""

    __slots__ = ("asks", "bids", "last_update_id")

    def __init__(self, snapshot: DepthSnapshot, levels_max: int) -> None:
        self.bids = _side(1.0, snapshot.bids, snapshot.limit, levels_max)
        self.asks = _side(-1.0, snapshot.asks, snapshot.limit, levels_max)
        self.last_update_id = snapshot.last_update_id

    def apply(self, diff: DepthDiff) -> None:
        """Apply a diff that joins; whether it does is decided before (`depth_sync`)."""
        self.bids.apply(diff.bids)
        self.asks.apply(diff.asks)
        self.last_update_id = diff.final_update_id

    def is_crossed(self) -> bool:
        """Return whether the best bid is not below the best ask, which no true book shows."""
        bids, asks = self.bids._keys, self.asks._keys
        return len(bids) > 1 and len(asks) > 1 and bids[-2] >= -asks[-2]


def _side(sign: float, levels: Levels, limit: int, levels_max: int) -> BookSide:
    # With an unknown limit, 0, nothing is claimed beyond the last level.
    return BookSide(sign, levels, len(levels.prices) < limit, levels_max)
