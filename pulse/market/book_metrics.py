"""Measures of one book at one moment, as pure functions; they say nothing of the past (`flow` does).

Formulas: spread, mid and weighted mid are standard (the weighted mid is Stoikov's "microprice" of the top level,
Gatheral & Oomen 2010); queue imbalance is Gould & Bonart 2016; depth within x bps is how market-data vendors state
liquidity. A measure that cannot be known is None, never a guess.
"""

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import Level, Pairs, Price, Quantity
from pulse.market.view import Metrics

DEPTH_BPS = 10
TOP_LEVELS = 20


def mid_price(bid: Price, ask: Price) -> Price:
    """Halfway between best bid and best ask."""
    return (bid + ask) / 2


def spread_bps(bid: Price, ask: Price) -> float:
    """The spread relative to the mid, in hundredths of a percent."""
    return 1e4 * (ask - bid) / mid_price(bid, ask)


def microprice(bid: Level, ask: Level) -> Price:
    """The mid weighted by the opposite side's quantity: nearer to the side that is about to be used up."""
    return (ask.price * bid.quantity + bid.price * ask.quantity) / (bid.quantity + ask.quantity)


def imbalance(bid_quantity: Quantity, ask_quantity: Quantity) -> float | None:
    """(bid - ask) / (bid + ask), None where nothing rests on either side."""
    total = bid_quantity + ask_quantity
    return (bid_quantity - ask_quantity) / total if total else None


def book_metrics(book: OrderBook | None, bids: Pairs, asks: Pairs) -> Metrics:
    """Every measure of a book, those of the past left out.

    `bids` and `asks` are its top levels.
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
    """Whether these are truly the side's best TOP_LEVELS: fewer are so only where the whole side is known."""
    return len(levels) == TOP_LEVELS or side.known_to() is None
