"""The book in groups of prices: 1, 2, 5, 10, ... ticks a group, from all that is known of it, as pure functions.

Bids are rounded down and asks up, so that a group never looks better than its levels. A group of which a part lies
outside the known range is no row: it is stated apart, as a lower bound. Prices are compared as the doubles that the
exchange's decimals are parsed to, so a level is never put into its neighbour's group by a rounding error.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import fsum
from operator import mul
from typing import TypeAlias

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import Aggressor, Instrument, Price, Quantity
from pulse.market.view import TradeView

MULTIPLES: tuple[int, ...] = (*(step * 10**power for power in range(5) for step in (1, 2, 5)), 100_000)
"""Sizes of a group, in ticks. The largest is 1 % of a price of ten million ticks, as bitcoin's is."""
ROWS = (10, 20, 50, 100)
"""How many groups a side a client may choose."""
ROWS_MAX = ROWS[-1]
SPAN_MAX = 0.06
"""What the rows of both sides may span at most with an automatic choice, as a part of the price."""
TRADED_MS = 300_000
"""What was bought and sold at a price counts for so long."""

Row: TypeAlias = tuple[Price, Quantity, float, Quantity, Quantity]
"""A group: its price, the base and quote quantity resting in it, and what was bought and sold at its prices lately."""


@dataclass
class LadderSide:
    """One side in groups, best first, without those in which nothing rests.

    `partial` is the group in which the known range ends: what is known of it, a lower bound. `is_whole`: the rows and
    `partial` hold all that is known; false where more groups are known than rows were wanted.
    """

    rows: list[Row]
    partial: Row | None
    is_whole: bool


@dataclass
class Ladder:
    """The book in groups of `multiple` ticks; None while there is no book, or the size of a tick is not known."""

    multiple: int
    step: Price | None
    bids: LadderSide | None
    asks: LadderSide | None


@dataclass
class FittingMultiple:
    """The size of a group that suits a number of rows."""

    rows: int
    multiple: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Prices in whole steps, each as the double that its decimal is parsed to. For asks a price is negative."""

    step: Fraction

    def price(self, index: int) -> Price:
        """Return the price of a step: the quotient of two whole numbers is rounded once, as a parsed decimal is."""
        return (index * self.step.numerator) / self.step.denominator

    def index(self, price: Price) -> int:
        """Return the last step at or below a price."""
        nearest = round(price * self.step.denominator / self.step.numerator)
        return nearest if self.price(nearest) <= price else nearest - 1

    def floor(self, price: Price) -> Price:
        """Return the price of the last step at or below a price."""
        return self.price(self.index(price))


class Traded:
    """What was bought and sold at each price, so that the sums of a range cost two look-ups."""

    def __init__(self, trades: Iterable[TradeView]) -> None:
        at_price: dict[Price, list[Quantity]] = {}
        for trade in trades:
            sums = at_price.setdefault(trade.price, [0.0, 0.0])
            sums[trade.aggressor != Aggressor.BUYER.value] += trade.quantity
        self._prices = sorted(at_price)
        self._sums = [[0.0, *accumulate(at_price[price][side] for price in self._prices)] for side in range(2)]

    def in_group(self, grid: Grid, price: Price, sign: float) -> tuple[Quantity, Quantity]:
        """Return what was bought and sold at the prices of a group of bids (`sign` is 1.0) or of asks (-1.0)."""
        better = sign * grid.price(grid.index(sign * price) + 1)
        if sign > 0:
            start, end = bisect_left(self._prices, price), bisect_left(self._prices, better)
        else:
            start, end = bisect_right(self._prices, better), bisect_right(self._prices, price)
        bought, sold = (round(sums[end] - sums[start], 8) for sums in self._sums)
        return bought, sold


def tick_of(instrument: Instrument | None) -> Fraction | None:
    """Return the step of a symbol's prices, exactly; None while the exchange has not described the symbol."""
    if instrument is None:
        return None
    return Fraction(repr(instrument.tick_size)) if instrument.tick_size else Fraction(1, 10**instrument.price_decimals)


def ladder(book: OrderBook | None, tick: Fraction | None, multiple: int, traded: Traded) -> Ladder:
    """Return the book in groups of so many ticks."""
    if book is None or tick is None:
        return Ladder(multiple, None, None, None)
    grid = Grid(tick * multiple)
    sides = (_grouped(side, sign, grid, traded) for side, sign in ((book.bids, 1.0), (book.asks, -1.0)))
    return Ladder(multiple, grid.price(1), *sides)


def _grouped(side: BookSide, sign: float, grid: Grid, traded: Traded) -> LadderSide:
    rows: list[Row] = []
    for price, prices, quantities in side.groups(grid.floor, ROWS_MAX + 1):
        if len(rows) == ROWS_MAX:
            return LadderSide(rows, None, is_whole=False)
        base, quote = round(fsum(quantities), 8), round(abs(fsum(map(mul, prices, quantities))), 8)
        row = (price, base, quote, *traded.in_group(grid, price, sign))
        if not side.is_known(price):
            return LadderSide(rows, row, is_whole=True)
        rows.append(row)
    return LadderSide(rows, None, is_whole=True)


def fitting_multiples(book: OrderBook | None, tick: Fraction | None) -> list[FittingMultiple]:
    """Return for each number of rows the coarsest groups that fill them on both sides and span at most SPAN_MAX."""
    if book is None or tick is None:
        return []
    return [FittingMultiple(rows, _fitting(book, tick, rows)) for rows in ROWS]


def _fitting(book: OrderBook, tick: Fraction, rows: int) -> int:
    bid, ask = book.bids.best(), book.asks.best()
    if bid is None or ask is None:
        return MULTIPLES[0]
    most = SPAN_MAX * (bid.price + ask.price) / 2 / (2 * rows * float(tick))
    for multiple in reversed(MULTIPLES[1:]):
        grid = Grid(tick * multiple)
        if multiple <= most and all(_count_whole(side, grid, rows) == rows for side in (book.bids, book.asks)):
            return multiple
    return MULTIPLES[0]


def _count_whole(side: BookSide, grid: Grid, most: int) -> int:
    return sum(side.is_known(price) for price, _, _ in side.groups(grid.floor, most))


def covering_multiple(book: OrderBook | None, tick: Fraction | None) -> int | None:
    """Return the finest groups of which ROWS_MAX a side hold all that is known; the coarsest if none do."""
    if book is None or tick is None:
        return None
    for multiple in MULTIPLES[:-1]:
        grid = Grid(tick * multiple)
        if all(len(list(side.groups(grid.floor, ROWS_MAX + 1))) <= ROWS_MAX for side in (book.bids, book.asks)):
            return multiple
    return MULTIPLES[-1]
