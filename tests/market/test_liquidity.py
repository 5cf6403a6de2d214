"""What is watched of a book: it goes with a view, and shows the same book."""

from pulse.market.depth_sync import BookAnchor
from pulse.market.ladder import TRADED_MS
from pulse.market.liquidity import FIT_EVERY_MS, NO_INTEREST, Interest
from pulse.market.market import Market, Origin
from pulse.market.types import Aggressor, FeedUp, Instrument, TradeGap
from pulse.market.view import TRADES_MAX
from tests.support.makers import MIDNIGHT_MS, diff, snapshot, trade

INSTRUMENT = Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
BOTH = Interest(frozenset({10, 1}), frozenset({500.0, 20.0}))


def market(*events: object) -> Market:
    """Make a market that has taken these events."""
    made = Market("BTCUSDT", Origin("9f3ac21b", "replay", "com"), levels_max=100, trades_kept=3, stale_after_ms=5000)
    for event in (FeedUp(), *events):
        made.apply(event, 0.0)
    return made


ANCHOR = BookAnchor(snapshot(7, [(100.0, 5.0), (99.99, 3.0)], [(100.02, 2.0)]), ())


def test_interests_are_united() -> None:
    """Of several processes that watch one book."""
    assert not NO_INTEREST
    assert Interest(frozenset({1})) | Interest(frozenset({2}), frozenset({5.0})) == Interest(
        frozenset({1, 2}), frozenset({5.0})
    )


def test_it_carries_the_number_of_its_view() -> None:
    """And the same state, time and update id."""
    made = market(INSTRUMENT, ANCHOR)
    view = made.view(0.0, 1.5)
    watched = made.liquidity_view(view, BOTH, 0.0)

    shared = ("seq", "instance", "symbol", "state", "state_reason", "last_update_id", "event_time_ms", "timestamp")
    assert [getattr(watched, name) for name in shared] == [getattr(view, name) for name in shared]
    assert (watched.window, watched.mid_price) == (view.window, view.metrics.mid_price)


def test_each_watched_ladder_and_cost_is_in_it_in_order() -> None:
    """And no other."""
    made = market(INSTRUMENT, ANCHOR)
    watched = made.liquidity_view(made.view(0.0, 1.5), BOTH, 0.0)

    assert [each.multiple for each in watched.ladders] == [1, 10]
    assert [each.notional for each in watched.costs] == [20.0, 500.0]


def test_without_a_book_or_an_instrument_it_says_so() -> None:
    """Each that is watched is there, with nulls."""
    watched = (made := market()).liquidity_view(made.view(0.0, 1.5), BOTH, 0.0)

    assert [each.bids for each in watched.ladders] == [None, None]
    assert [each.buy for each in watched.costs] == [None, None]
    assert (watched.fitting, watched.covering_multiple, watched.traded_since_ms) == ([], None, 0)


def test_trades_of_the_newest_minutes_stand_beside_their_price() -> None:
    """Older ones do not, and the time from which on they count is stated."""
    made = market(
        INSTRUMENT, ANCHOR,
        trade(1, 100.0, 7.0, MIDNIGHT_MS, Aggressor.SELLER),
        trade(2, 100.0, 1.5, MIDNIGHT_MS + 1000, Aggressor.SELLER),
        trade(3, 100.02, 0.5, MIDNIGHT_MS + TRADED_MS + 500, Aggressor.BUYER),
    )  # fmt: skip
    watched = made.liquidity_view(made.view(0.0, 1.5), BOTH, 0.0)
    bids, asks = watched.ladders[0].bids, watched.ladders[0].asks

    assert bids is not None
    assert asks is not None
    assert (bids.rows[0][3:], asks.rows[0][3:]) == ((0.0, 1.5), (0.5, 0.0))
    assert watched.traded_since_ms == MIDNIGHT_MS + 500


def test_lost_trades_begin_the_sums_anew() -> None:
    """Sums that lack trades would be wrong."""
    lost = TradeGap("BTCUSDT", 2, 8, MIDNIGHT_MS, MIDNIGHT_MS + 500, MIDNIGHT_MS + 600)
    made = market(INSTRUMENT, ANCHOR, trade(1), lost, trade(9, 100.0, 2.0, MIDNIGHT_MS + 500, Aggressor.SELLER))
    watched = made.liquidity_view(made.view(0.0, 1.5), BOTH, 0.0)
    bids = watched.ladders[0].bids

    assert bids is not None
    assert (watched.traded_since_ms, bids.rows[0][3:]) == (MIDNIGHT_MS + 500, (0.0, 2.0))


def test_trades_that_are_no_longer_kept_shorten_the_time() -> None:
    """Others of the oldest kept one's moment may have been dropped, so it counts from the next moment on."""
    trades = [trade(at, time_ms=MIDNIGHT_MS + at) for at in range(TRADES_MAX + 5)]
    made = market(INSTRUMENT, ANCHOR, *trades)

    assert made.liquidity_view(made.view(0.0, 1.5), BOTH, 0.0).traded_since_ms == MIDNIGHT_MS + 6


def test_fitting_groups_are_looked_for_once_a_second() -> None:
    """They change with the book, and nobody needs them at once."""
    made = market(INSTRUMENT, ANCHOR)
    before = made.liquidity_view(made.view(0.0, 1.5), BOTH, 0.0).covering_multiple
    made.apply(diff(8, 8, bids=[(100.0 - at / 10, 1.0) for at in range(1, 99)]), 0.0)
    made.apply(diff(9, 9, bids=[(50.0 - at / 10, 1.0) for at in range(1, 40)]), 0.0)
    soon = made.liquidity_view(made.view(0.0, 1.5), BOTH, FIT_EVERY_MS - 1).covering_multiple
    later = made.liquidity_view(made.view(0.0, 1.5), BOTH, FIT_EVERY_MS).covering_multiple

    assert (before, soon) == (1, 1)
    assert later is not None
    assert later >= 1
