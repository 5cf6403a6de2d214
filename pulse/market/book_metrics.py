"""Metrics of one book at one moment, as pure functions. What depends on the past is in `flow_metrics`.

Formulas: spread, mid and weighted mid are standard (the weighted mid is Stoikov's "microprice" of the top level,
Gatheral & Oomen 2010); queue imbalance is Gould & Bonart 2016; depth within x bps is how market-data vendors state
liquidity. A metric that cannot be known is None, never a guess.
"""

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import Level, Pairs, Price, Quantity
from pulse.market.view import Metrics

DEPTH_BPS = 10
"""How far from the mid the depth metrics reach."""
TOP_LEVELS = 20
"""Levels a side that a view shows, and that imbalance and `cvd` sum over."""


def mid_price(bid: Price, ask: Price) -> Price:
    """Return the price halfway between best bid and best ask."""
    return (bid + ask) / 2


def spread_bps(bid: Price, ask: Price) -> float:
    """Return the spread relative to the mid, in basis points (hundredths of a percent)."""
    return 1e4 * (ask - bid) / mid_price(bid, ask)


def microprice(bid: Level, ask: Level) -> Price:
    """Return the mid weighted by the opposite side's quantity: it leans to the side that is about to be used up."""
    return (ask.price * bid.quantity + bid.price * ask.quantity) / (bid.quantity + ask.quantity)


def imbalance(bid_quantity: Quantity, ask_quantity: Quantity) -> float | None:
    """Return (bid - ask) / (bid + ask), from -1 to 1; None where nothing rests on either side."""
    total = bid_quantity + ask_quantity
    return (bid_quantity - ask_quantity) / total if total else None


def book_metrics(book: OrderBook | None, bids: Pairs, asks: Pairs) -> Metrics:
    """Return every metric of a book; those that depend on the past stay at their defaults.

    `bids` and `asks` are its top levels, best first.
    """
    if book is None or not bids or not asks:
        return Metrics(
            best_bid=bids[0][0] if bids else None,
            best_ask=asks[0][0] if asks else None,
        )
    bid, ask = Level(*bids[0]), Level(*asks[0])
    mid = mid_price(bid.price, ask.price)
    bps = spread_bps(bid.price, ask.price)
    bid_volume = sum([quantity for _, quantity in bids])
    ask_volume = sum([quantity for _, quantity in asks])
    top_is_exact = _is_exact(bids, book.bids) and _is_exact(asks, book.asks)
    reach = mid * DEPTH_BPS / 1e4
    depth_bid, bid_is_exact = book.bids.quantity_within(mid - reach)
    depth_ask, ask_is_exact = book.asks.quantity_within(mid + reach)
    return Metrics(
        mid_price=mid,
        # Only a difference of two prices shows the double's last bits; eight decimals are the exchange's finest tick.
        spread_abs=round(ask.price - bid.price, 8),
        spread_pct=bps / 100,
        cvd=bid_volume - ask_volume if top_is_exact else None,
        best_bid=bid.price,
        best_ask=ask.price,
        spread_bps=bps,
        microprice=microprice(bid, ask),
        imbalance=imbalance(bid_volume, ask_volume) if top_is_exact else None,
        queue_imbalance=imbalance(bid.quantity, ask.quantity),
        depth_10bps_bid=depth_bid,
        depth_10bps_ask=depth_ask,
        depth_10bps_exact=bid_is_exact and ask_is_exact,
    )


def _is_exact(levels: Pairs, side: BookSide) -> bool:
    """Return whether these are the side's true top: fewer than TOP_LEVELS are only where the whole side is known."""
    return len(levels) == TOP_LEVELS or side.known_to() is None
