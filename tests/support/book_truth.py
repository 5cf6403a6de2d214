"""An exchange's true book, change by change: the naive model that property tests compare the real code with."""

from itertools import pairwise
from typing import TypeAlias

from hypothesis import strategies as st

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import BookTicker, DepthDiff, DepthSnapshot, Pairs
from tests.support.makers import diff, levels

Side: TypeAlias = dict[float, float]
Change: TypeAlias = tuple[bool, int, int]
"""Whether it is a bid, its distance from the best price in ticks, and the new quantity; 0 removes, if there is one."""

FIRST_ID = 1000

# One drawn number per change; its digits are the parts.
changes = st.lists(st.integers(0, 127), min_size=2, max_size=40).map(
    lambda codes: [(code < 64, code // 4 % 16, code % 4) for code in codes]
)
cuts = st.lists(st.integers(1, 7), max_size=12)


class Truth:
    """Both sides at every id from FIRST_ID on. Bids are at 100 and below, asks at 101 and above: never crossed."""

    def __init__(self, start: list[Change], stream: list[Change]) -> None:
        self._changes = stream
        self.bids: list[Side] = [{}]
        self.asks: list[Side] = [{}]
        for change in start:
            self._apply(self.bids[0], self.asks[0], change)
        for change in stream:
            bids, asks = dict(self.bids[-1]), dict(self.asks[-1])
            self._apply(bids, asks, change)
            self.bids.append(bids)
            self.asks.append(asks)
        self.last_id = FIRST_ID + len(stream)

    @staticmethod
    def _apply(bids: Side, asks: Side, change: Change) -> None:
        is_bid, _, quantity = change
        side = bids if is_bid else asks
        side[price_of(change)] = float(quantity)
        if not quantity:
            del side[price_of(change)]

    def at(self, update_id: int) -> tuple[Side, Side]:
        """Return bids and asks after the change with this id."""
        return self.bids[update_id - FIRST_ID], self.asks[update_id - FIRST_ID]

    def snapshot(self, update_id: int, limit: int = 5000) -> DepthSnapshot:
        """Return the best `limit` levels a side at this id, as REST does."""
        bids, asks = self.at(update_id)
        top_bids = sorted(bids.items(), reverse=True)[:limit]
        return DepthSnapshot(update_id, levels(top_bids), levels(sorted(asks.items())[:limit]), limit)

    def diff(self, first: int, final: int) -> DepthDiff:
        """Return the stream's diff of the changes from `first` to `final`: each price once, with its final quantity."""
        touched = self._changes[first - FIRST_ID - 1 : final - FIRST_ID]
        bids, asks = self.at(final)
        changed_bids = {price_of(c): bids.get(price_of(c), 0.0) for c in touched if c[0]}
        changed_asks = {price_of(c): asks.get(price_of(c), 0.0) for c in touched if not c[0]}
        return diff(first, final, changed_bids.items(), changed_asks.items())

    def diffs(self, sizes: list[int]) -> list[DepthDiff]:
        """Return the whole stream, cut into diffs of these sizes."""
        bounds = [FIRST_ID]
        for size in sizes:
            bounds.append(min(bounds[-1] + size, self.last_id))
        bounds.append(self.last_id)
        return [self.diff(before + 1, final) for before, final in pairwise(bounds) if final > before]

    def tickers(self) -> list[BookTicker]:
        """Return a bookTicker for the start and for every change of the best levels, where both sides have one."""
        tickers: list[BookTicker] = []
        shown: tuple[float, ...] = ()
        for update_id in range(FIRST_ID, self.last_id + 1):
            bids, asks = self.at(update_id)
            if not bids or not asks:
                continue
            touch = (max(bids), bids[max(bids)], min(asks), asks[min(asks)])
            if touch != shown:
                tickers.append(BookTicker(update_id, *touch))
            shown = touch
        return tickers


def price_of(change: Change) -> float:
    """Return the price of a change."""
    is_bid, ticks, _ = change
    return 100.0 - ticks if is_bid else 101.0 + ticks


def held(side: BookSide) -> Pairs:
    """Return every level that a side holds, best first."""
    return side.top(len(side))


def is_true(book: OrderBook, truth: Truth) -> bool:
    """Return whether the book is the true one at its id, inside its known window."""
    bids, asks = truth.at(book.last_update_id)
    floor, ceiling = book.bids.known_to(), book.asks.known_to()
    known_bids = [(p, q) for p, q in sorted(bids.items(), reverse=True) if floor is None or p >= floor]
    known_asks = [(p, q) for p, q in sorted(asks.items()) if ceiling is None or p <= ceiling]
    return held(book.bids) == known_bids and held(book.asks) == known_asks
