"""A market with a small book, and the events that make it."""

from pulse.market.depth_sync import BookAnchor
from pulse.market.liquidity import Interest, LiquidityView
from pulse.market.market import Market, Origin
from pulse.market.types import DepthDiff, FeedUp, Instrument, PartialDepth
from pulse.market.view import View
from tests.support.makers import Pairs, levels, snapshot, trade

BIDS = [(100.0, 5.0), (99.99, 3.0), (99.98, 2.0)]
ASKS = [(100.02, 2.0), (100.03, 4.0), (100.05, 4.0)]


def anchor(update_id: int, *diffs: DepthDiff, bids: Pairs = BIDS, asks: Pairs = ASKS, limit: int = 5000) -> BookAnchor:
    """Return a book at the last diff's id, or the snapshot's."""
    return BookAnchor(snapshot(update_id, bids, asks, limit), diffs)


def instrument(status: str) -> Instrument:
    """Return BTCUSDT with this status."""
    return Instrument("BTCUSDT", "BTC", "USDT", status, 0.01, 0.00001, 2, 5)


def market_after(*events: object, now_ms: float = 0.0) -> Market:
    """Return a market that has taken these events, all at one time."""
    market = Market("BTCUSDT", Origin("9f3ac21b", "exchange", "us"), levels_max=100, trades_kept=3, stale_after_ms=5000)
    for event in events:
        market.apply(event, now_ms)
    return market


def live_market(limit: int = 5000) -> Market:
    """Return a market with the book above at id 10, live since time 0."""
    return market_after(FeedUp(), anchor(10, limit=limit))


def view_of(market: Market, now_ms: float = 0.0) -> View:
    """Return the view at this time."""
    return market.view(now_ms, 1_700_000_000.25)


def liquidity_of(interest: Interest, limit: int = 5000) -> LiquidityView:
    """Return what is watched of the book above, with a trade of 0.5 bought at its best ask."""
    market = market_after(FeedUp(), instrument("TRADING"), anchor(10, limit=limit), trade(1, 100.02, 0.5))
    return market.liquidity_view(view_of(market), interest, 0.0)


def partial(update_id: int, bids: Pairs = BIDS, asks: Pairs = ASKS) -> PartialDepth:
    """Return the exchange's best levels at this id."""
    return PartialDepth(update_id, levels(bids), levels(asks))
