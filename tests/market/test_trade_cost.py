"""The cost of a sum: check values of docs/metrics.md and of other programs, and brute force over small lots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.order_book import OrderBook
from pulse.market.trade_cost import Cost, Fill, cost_of
from tests.support.makers import snapshot, unhurried

BIDS = [(100.0, 5.0), (99.99, 3.0), (99.98, 2.0)]
ASKS = [(100.02, 2.0), (100.03, 4.0), (100.05, 4.0)]


def both(notional: float, limit: int = 5000) -> tuple[Fill, Fill]:
    """Return what it costs to buy and to sell for this sum in the book above."""
    cost = cost_of(OrderBook(snapshot(1, BIDS, ASKS, limit), 100), notional)
    assert cost.buy is not None
    assert cost.sell is not None
    return cost.buy, cost.sell


def test_check_value_of_buying_five() -> None:
    """500.13 of the quote asset buy 5 at 100.026 on average, 1.59984 bps above the mid."""
    buy, _ = both(500.13)

    assert buy.quantity == pytest.approx(5.0)
    assert buy.average == pytest.approx(100.026)
    assert buy.worst == 100.03
    assert buy.mid_bps == pytest.approx(1.59984, abs=1e-5)
    assert buy.touch_bps == pytest.approx(1e4 * (100.026 / 100.02 - 1))
    assert buy.cost == pytest.approx(500.13 - 5 * 100.01)
    assert (buy.unfilled, buy.is_lower_bound) == (0.0, False)


def test_check_values_of_eight() -> None:
    """Buying 8 costs 2.24978 bps, selling 8 costs 1.37486 bps."""
    buy, _ = both(8 * 100.0325)
    _, sell = both(8 * 99.99625)

    assert (buy.quantity, buy.mid_bps) == pytest.approx((8.0, 2.24978), abs=1e-5)
    assert (sell.quantity, sell.mid_bps) == pytest.approx((8.0, 1.37486), abs=1e-5)
    assert sell.touch_bps == pytest.approx(1e4 * (1 - 99.99625 / 100.0))
    assert sell.cost == pytest.approx(8 * 100.01 - 8 * 99.99625)


def test_check_values_of_nautilus() -> None:
    """Of its tests of an order book: buying 1.5 at 2.0033333, selling 1.5 at 0.9966667 on average."""
    book = OrderBook(snapshot(1, [(1.0, 1.0), (0.99, 2.0)], [(2.0, 1.0), (2.01, 2.0)]), 100)
    bought, sold = cost_of(book, 3.005), cost_of(book, 1.495)

    assert bought.buy is not None
    assert (bought.buy.quantity, bought.buy.average) == pytest.approx((1.5, 2.0033333))
    assert sold.sell is not None
    assert (sold.sell.quantity, sold.sell.average) == pytest.approx((1.5, 0.9966667))


def test_sum_of_whole_levels_ends_with_the_last_of_them() -> None:
    """Not with the next one, of which nothing is used."""
    buy, _ = both(200.04)

    assert (buy.worst, buy.quantity, buy.unfilled) == pytest.approx((100.02, 2.0, 0.0))


def test_what_the_whole_book_does_not_fill_is_stated() -> None:
    """Ten are offered for 1,000.36; the book is known wholly, so there is no more."""
    buy, _ = both(2000.36)

    assert buy.quantity == pytest.approx(10.0)
    assert buy.average == pytest.approx(100.036)
    assert buy.unfilled == pytest.approx(1000.0)
    assert not buy.is_lower_bound


def test_what_lies_beyond_the_known_range_makes_a_lower_bound() -> None:
    """There may be more for the rest, at prices that are not known, and worse."""
    buy, sell = both(2000.0, limit=3)

    assert (buy.is_lower_bound, sell.is_lower_bound) == (True, True)


def test_there_is_no_cost_without_two_sides() -> None:
    """The mid is not known then, nor what is paid against it."""
    for book in (None, OrderBook(snapshot(1, BIDS, []), 9), OrderBook(snapshot(1, [], ASKS), 9)):
        assert cost_of(book, 100.0) == Cost(100.0, None, None)


@unhurried
@given(st.dictionaries(st.integers(1, 50), st.integers(1, 30), min_size=1), st.integers(1, 20_000))
def test_cost_is_that_of_taking_lot_by_lot(asks: dict[int, int], notional: int) -> None:
    """Brute force: one lot after the other from the best price on, until the sum is spent."""
    cost = cost_of(
        OrderBook(snapshot(1, [(1.0, 1.0)], [(float(at + 1), float(n)) for at, n in asks.items()]), 99), notional
    )
    lots = [at + 1 for at in sorted(asks) for _ in range(asks[at])]
    left, quantity, worst = float(notional), 0.0, 0
    for price in lots:
        if not left:
            break
        part = min(1.0, left / price)
        quantity, left, worst = quantity + part, max(0.0, left - price) if part == 1.0 else 0.0, price

    assert cost.buy is not None
    assert cost.buy.quantity == pytest.approx(quantity)
    assert cost.buy.unfilled == pytest.approx(left, abs=1e-6)
    assert cost.buy.worst == worst
