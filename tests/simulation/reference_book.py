"""The exchange's book, kept diff by diff as it was before any fault: the reference for live books.

Naive on purpose: a dictionary and a sorted list per side, nothing shared with the code under test.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import Any

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import Pairs
from pulse.simulator.exchange import Exchange
from pulse.simulator.payloads import JsonObject

TOP_LEVELS = 20
ALL_LEVELS = 10**6


class ReferenceSide:
    """All levels of one side; keys are prices, negated for asks, so that the best is last."""

    def __init__(self, sign: float, pairs: list[list[str]]) -> None:
        self.sign = sign
        self.quantities = {sign * float(price): float(quantity) for price, quantity in pairs}
        self.keys = sorted(self.quantities)

    def apply(self, pairs: list[list[str]]) -> None:
        """Set absolute quantities; 0 removes a level."""
        for price, quantity in pairs:
            key = self.sign * float(price)
            is_held = key in self.quantities
            if float(quantity):
                self.quantities[key] = float(quantity)
                if not is_held:
                    insort(self.keys, key)
            elif is_held:
                del self.quantities[key]
                del self.keys[bisect_left(self.keys, key)]

    def top(self, count: int, horizon: float) -> Pairs:
        """Return up to `count` levels no worse than a horizon, best first."""
        start = max(bisect_left(self.keys, horizon), len(self.keys) - count)
        return [(self.sign * key, self.quantities[key]) for key in reversed(self.keys[start:])]


class ReferenceBook:
    """One symbol's reference book at the id last asked for; ids may only rise."""

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        self._exchange = exchange
        self._symbol = symbol
        start = exchange.book(symbol)
        self.update_id = start.update_id
        self._bids, self._asks = ReferenceSide(1.0, start.bids), ReferenceSide(-1.0, start.asks)
        self._pending: deque[JsonObject] = deque()

    def append(self, diff: JsonObject) -> None:
        """Add a diff that the exchange produced."""
        self._pending.append(diff)

    def sides_at(self, update_id: int) -> tuple[ReferenceSide, ReferenceSide]:
        """Return both sides after this change; the current ones for a future id, which only falsified data can have."""
        while self._pending and self._pending[0]["u"] <= update_id:
            diff = self._pending.popleft()
            self._bids.apply(diff["b"])
            self._asks.apply(diff["a"])
            self.update_id = diff["u"]
        if self.update_id == update_id or update_id > self._exchange.book(self._symbol).update_id:
            return self._bids, self._asks
        # Inside a diff, where a snapshot may be: the exchange keeps the levels of that id.
        reference = self._exchange.book_at(self._symbol, update_id, ALL_LEVELS)
        assert reference is not None, f"update {update_id} is no longer kept, or in the future"
        return ReferenceSide(1.0, reference.bids), ReferenceSide(-1.0, reference.asks)


def differences(
    book: OrderBook, reference: tuple[ReferenceSide, ReferenceSide], count: int
) -> dict[str, tuple[Any, Any]]:
    """Return where the first `count` levels of a book differ from the reference: side -> (ours, theirs)."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, ours, theirs in (("bids", book.bids, reference[0]), ("asks", book.asks, reference[1])):
        held, expected = _levels(ours, count), theirs.top(count, ours.horizon)
        if held != expected:
            found[name] = ([x for x in held if x not in expected][:3], [x for x in expected if x not in held][:3])
    return found


def best_levels_match(book: OrderBook, reference: tuple[ReferenceSide, ReferenceSide]) -> bool:
    """Return whether the best levels, price and quantity, equal the reference."""
    return not differences(book, reference, 1)


def _levels(side: BookSide, count: int) -> Pairs:
    return side.top(min(count, len(side)))
