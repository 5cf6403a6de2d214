"""What it costs to buy or sell for a sum of the quote asset now, over all that is known of the book.

The sum is walked through the levels from the best one on; the last level is used in part. Cost is the implementation
shortfall against the mid (Perold 1988). Formulas and check values are in docs/metrics.md.
"""

from dataclasses import dataclass

from pulse.market.book_metrics import mid_price
from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import Price, Quantity


@dataclass
class Fill:
    """One direction. All but `unfilled` and `is_lower_bound` are None where nothing can be filled.

    `average` and `worst` are prices. `mid_bps` and `touch_bps` are how much worse than the mid and than the best price
    the average is, and `cost` is what that is in the quote asset, against the mid. `unfilled` is the part of the sum
    that the known levels do not fill; `is_lower_bound`: there may be levels for it beyond the known range.
    """

    quantity: Quantity | None
    average: Price | None
    worst: Price | None
    mid_bps: float | None
    touch_bps: float | None
    cost: float | None
    unfilled: float
    is_lower_bound: bool


@dataclass
class Cost:
    """Both directions of a sum, `notional`, of the quote asset; None while there is no book with two sides."""

    notional: float
    buy: Fill | None
    sell: Fill | None


def cost_of(book: OrderBook | None, notional: float) -> Cost:
    """Return what it costs to buy and to sell for this sum."""
    bid, ask = (book.bids.best(), book.asks.best()) if book else (None, None)
    if book is None or bid is None or ask is None:
        return Cost(notional, None, None)
    mid = mid_price(bid.price, ask.price)
    return Cost(notional, _fill(book.asks, notional, mid, 1.0), _fill(book.bids, notional, mid, -1.0))


def _fill(side: BookSide, notional: float, mid: Price, sign: float) -> Fill:
    """Walk one side, which is not empty; `sign` is 1.0 to buy, -1.0 to sell."""
    left, quantity, best, worst = notional, 0.0, 0.0, 0.0
    for worst, resting in side.levels():
        best = best or worst
        value = worst * resting
        if value >= left:
            quantity += left / worst
            left = 0.0
            break
        quantity += resting
        left -= value
    left = round(left, 8)  # what is below that is a rounding error of the sum
    filled = notional - left
    average = filled / quantity
    return Fill(
        quantity=round(quantity, 8),
        average=average,
        worst=worst,
        mid_bps=1e4 * sign * (average / mid - 1),
        touch_bps=1e4 * sign * (average / best - 1),
        cost=sign * (filled - quantity * mid),
        unfilled=left,
        is_lower_bound=left > 0.0 and side.known_to() is not None,
    )
