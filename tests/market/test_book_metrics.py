"""Metrics of one book against published and hand-computed check values; None where a value cannot be known."""

import pytest

from pulse.market.book_metrics import book_metrics, imbalance, microprice, mid_price, spread_bps
from pulse.market.order_book import OrderBook
from pulse.market.types import Level
from pulse.market.view import Metrics
from tests.support.makers import Pairs, snapshot

BIDS = [(100.0, 5.0), (99.99, 3.0), (99.98, 2.0)]
ASKS = [(100.02, 2.0), (100.03, 4.0), (100.05, 4.0)]


def metrics_of(bids: Pairs = BIDS, asks: Pairs = ASKS, limit: int = 5000, count: int = 20) -> Metrics:
    """Return the metrics of a book made of these levels, its top being `count` levels."""
    book = OrderBook(snapshot(1, bids, asks, limit), 1000)
    return book_metrics(book, book.bids.top(count), book.asks.top(count))


@pytest.mark.parametrize(
    ("bid", "ask", "bps"),
    [
        (100.0, 100.02, 1.99980),
        (64_490.0, 64_510.0, 3.1008),
        (61_044.82, 61_044.83, 0.0016381),
    ],
)
def test_spread_in_basis_points(bid: float, ask: float, bps: float) -> None:
    """The spread relative to the mid, at the check values."""
    assert spread_bps(bid, ask) == pytest.approx(bps, rel=1e-4)


def test_mid_price() -> None:
    """Halfway between best bid and best ask."""
    assert mid_price(100.0, 100.02) == pytest.approx(100.01)


@pytest.mark.parametrize(
    ("bid", "ask", "price"),
    [
        (Level(100.0, 5.0), Level(100.02, 2.0), 100.0142857),
        (Level(64_490.0, 1.750), Level(64_510.0, 2.450), 64_498.3333333),
        (Level(100.0, 500.0), Level(100.1, 50.0), 100.0909091),
    ],
)
def test_microprice_leans_to_the_thin_side(bid: Level, ask: Level, price: float) -> None:
    """The mid weighted by the opposite side's quantity, at the check values."""
    assert microprice(bid, ask) == pytest.approx(price, rel=1e-9)


@pytest.mark.parametrize(
    ("bid", "ask", "value"),
    [(5.0, 2.0, 0.428571), (8.0, 6.0, 0.142857), (10.0, 10.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, -1.0)],
)
def test_imbalance(bid: float, ask: float, value: float) -> None:
    """Queue imbalance and the depth imbalances of two and three levels, at the check values."""
    assert imbalance(bid, ask) == pytest.approx(value, abs=1e-6)


def test_imbalance_of_an_empty_book_is_unknown() -> None:
    """Without any quantity there is nothing to compare."""
    assert imbalance(0.0, 0.0) is None


def test_every_metric_of_the_check_book() -> None:
    """The whole set, from a book of three levels a side that is known whole."""
    values = metrics_of()

    assert values.mid_price == pytest.approx(100.01)
    assert values.spread_abs == 0.02
    assert values.spread_bps == pytest.approx(1.99980, rel=1e-5)
    assert values.spread_pct == pytest.approx(0.0199980, rel=1e-5)
    assert (values.best_bid, values.best_ask) == (100.0, 100.02)
    assert values.microprice == pytest.approx(100.0142857)
    assert values.queue_imbalance == pytest.approx(0.428571, abs=1e-6)
    assert (values.cvd, values.imbalance) == (0.0, 0.0)
    assert (values.depth_10bps_bid, values.depth_10bps_ask, values.depth_10bps_exact) == (10.0, 10.0, True)


@pytest.mark.parametrize(("count", "value"), [(1, 0.428571), (2, 0.142857), (3, 0.0)])
def test_depth_imbalance_of_the_first_levels(count: int, value: float) -> None:
    """The imbalance runs over the levels that it is given, at the check values."""
    assert metrics_of(count=count).imbalance == pytest.approx(value, abs=1e-6)


def test_spread_is_rounded_to_the_exchanges_digits() -> None:
    """The difference of two prices shows no binary rounding error."""
    values = metrics_of([(61602.01, 1.0)], [(61602.02, 1.0)])

    assert values.spread_abs == 0.01


def test_depth_counts_only_the_band() -> None:
    """What lies more than ten basis points from the mid does not count."""
    values = metrics_of([(100.0, 1.0), (99.92, 2.0), (99.90, 4.0)], [(100.02, 1.0), (100.11, 2.0), (100.12, 4.0)])

    assert (values.depth_10bps_bid, values.depth_10bps_ask) == (3.0, 3.0)


def test_depth_beyond_the_window_is_not_exact() -> None:
    """Where the band reaches beyond the known window, the depth is a lower bound and marked as not exact."""
    values = metrics_of(limit=3)

    assert (values.depth_10bps_bid, values.depth_10bps_exact) == (10.0, False)


def test_depth_is_exact_only_where_both_sides_are() -> None:
    """One side that reaches beyond its known window is enough to make it not exact."""
    values = metrics_of([*BIDS, (90.0, 1.0)], ASKS, limit=4)

    assert (values.depth_10bps_bid, values.depth_10bps_exact) == (10.0, True)
    assert not metrics_of([*BIDS, (90.0, 1.0)], [*ASKS, (100.06, 1.0)], limit=4).depth_10bps_exact


def test_twenty_levels_are_exact_in_any_window() -> None:
    """Twenty known levels a side are the true top, however far the window reaches."""
    bids = [(100.0 - i, 2.0) for i in range(20)]
    asks = [(101.0 + i, 1.0) for i in range(20)]
    values = metrics_of(bids, asks, limit=20)

    assert values.cvd == 20.0
    assert values.imbalance == pytest.approx(1 / 3)


@pytest.mark.parametrize("short", ["bids", "asks"])
def test_fewer_known_levels_leave_the_top_unknown(short: str) -> None:
    """With fewer than twenty known levels on one side, sums over twenty levels are unknown."""
    bids = [(100.0 - i, 2.0) for i in range(19 if short == "bids" else 20)]
    asks = [(101.0 + i, 1.0) for i in range(19 if short == "asks" else 20)]
    values = metrics_of(bids, asks, limit=19)

    assert (values.cvd, values.imbalance) == (None, None)
    assert values.mid_price == 100.5


@pytest.mark.parametrize(
    ("bids", "asks", "best"), [(BIDS, (), (100.0, None)), ((), ASKS, (None, 100.02)), ((), (), (None, None))]
)
def test_without_both_sides_only_the_best_is_known(
    bids: Pairs, asks: Pairs, best: tuple[float | None, float | None]
) -> None:
    """A book with an empty side has a best level at most, and no other metric."""
    assert metrics_of(bids, asks) == Metrics(best_bid=best[0], best_ask=best[1])


def test_without_a_book_every_metric_is_none() -> None:
    """Before the first book no metric is known."""
    assert book_metrics(None, [], []) == Metrics()
