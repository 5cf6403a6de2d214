"""Ladders: groups of prices compared with exact fractions, sums with brute force, and the edge of what is known."""

from fractions import Fraction
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.ladder import (
    MULTIPLES,
    ROWS,
    ROWS_MAX,
    FittingMultiple,
    Grid,
    Ladder,
    LadderSide,
    Row,
    Traded,
    covering_multiple,
    fitting_multiples,
    ladder,
    tick_of,
)
from pulse.market.order_book import OrderBook
from pulse.market.types import Instrument
from pulse.market.view import TradeView
from tests.support.makers import snapshot, unhurried

TICK = Fraction("0.01")
BIDS = [(100.0, 5.0), (99.99, 3.0), (99.98, 2.0)]
ASKS = [(100.02, 2.0), (100.03, 4.0), (100.05, 4.0)]
NO_TRADES = Traded([])


def book_of(bids: list[tuple[float, float]], asks: list[tuple[float, float]], limit: int = 5000) -> OrderBook:
    """Make a book from the answer to a request for `limit` levels."""
    return OrderBook(snapshot(10, bids, asks, limit), 5000)


def trade(price: float, quantity: float, aggressor: str) -> TradeView:
    """Make a trade of a view."""
    return TradeView(1, price, quantity, aggressor, 0, 1)


def sides_of(made: Ladder) -> tuple[LadderSide, LadderSide]:
    """Return both sides of a ladder that has them."""
    assert made.bids is not None
    assert made.asks is not None
    return made.bids, made.asks


def shown(rows: list[Row]) -> list[tuple[float, float, float]]:
    """Return price, base and quote of rows."""
    return [row[:3] for row in rows]


def test_groups_of_one_tick_are_the_levels() -> None:
    """Nothing is rounded."""
    bids, asks = sides_of(ladder(book_of(BIDS, ASKS), TICK, 1, NO_TRADES))

    assert shown(bids.rows) == [(100.0, 5.0, 500.0), (99.99, 3.0, 299.97), (99.98, 2.0, 199.96)]
    assert shown(asks.rows) == [(100.02, 2.0, 200.04), (100.03, 4.0, 400.12), (100.05, 4.0, 400.2)]


def test_bids_are_rounded_down_and_asks_up() -> None:
    """A group is never better than its levels: 99.99 counts at 99.98, 100.02 at 100.02, 100.03 at 100.04."""
    made = ladder(book_of(BIDS, ASKS), TICK, 2, NO_TRADES)
    bids, asks = sides_of(made)

    assert made.step == 0.02
    assert shown(bids.rows) == [(100.0, 5.0, 500.0), (99.98, 5.0, 499.93)]
    assert shown(asks.rows) == [(100.02, 2.0, 200.04), (100.04, 4.0, 400.12), (100.06, 4.0, 400.2)]


def test_group_at_the_known_edge_is_stated_apart() -> None:
    """Part of it lies outside the known range: what is known of it is a lower bound, and no row."""
    bids, asks = sides_of(ladder(book_of(BIDS, ASKS, limit=3), TICK, 5, NO_TRADES))

    assert shown(bids.rows) == [(100.0, 5.0, 500.0)]
    assert bids.partial is not None
    assert bids.partial[:3] == (99.95, 5.0, 499.93)
    # The group of asks ends with the last known price: all of it is known.
    assert shown(asks.rows) == [(100.05, 10.0, 1000.36)]
    assert asks.partial is None


def test_rows_beyond_the_most_are_left_out_and_that_is_stated() -> None:
    """A reader can tell a ladder that ends from one that was cut."""
    bids = [(100.0 - at, 1.0) for at in range(ROWS_MAX + 1)]
    asks = [(101.0 + at, 1.0) for at in range(ROWS_MAX)]
    bid_side, ask_side = sides_of(ladder(book_of(bids, asks), Fraction(1), 1, NO_TRADES))

    assert (len(bid_side.rows), bid_side.is_whole, bid_side.partial) == (ROWS_MAX, False, None)
    assert (len(ask_side.rows), ask_side.is_whole, ask_side.partial) == (ROWS_MAX, True, None)


def test_bid_below_one_step_is_in_the_group_at_zero() -> None:
    """Cheap symbols have coarse groups too."""
    bids, _ = sides_of(ladder(book_of([(0.0004, 3.0)], [(0.0005, 1.0)]), Fraction("0.0001"), 100, NO_TRADES))

    assert bids.rows == [(0.0, 3.0, 0.0012, 0.0, 0.0)]


def test_there_is_no_ladder_without_a_book_or_a_tick() -> None:
    """Null, not empty: an empty side would say that nothing is quoted."""
    assert ladder(None, TICK, 10, NO_TRADES) == Ladder(10, None, None, None)
    assert ladder(book_of(BIDS, ASKS), None, 10, NO_TRADES) == Ladder(10, None, None, None)


def test_trades_count_in_the_group_of_their_price() -> None:
    """Rounded as the side's levels are; 100.00 is a bid's group, and 100.01 and 100.02 that of asks at 100.02."""
    traded = Traded([trade(100.0, 1.5, "seller"), trade(100.01, 0.5, "buyer"), trade(100.02, 0.25, "buyer")])
    bids, asks = sides_of(ladder(book_of(BIDS, ASKS), TICK, 2, traded))

    assert bids.rows[0][3:] == (0.5, 1.5)  # 100.00 and 100.01
    assert asks.rows[0][3:] == (0.75, 0.0)  # 100.01 and 100.02
    assert bids.rows[1][3:] == (0.0, 0.0)


def test_tick_is_that_of_the_exchange() -> None:
    """Where it sets none, the last decimal of its prices."""
    instrument = Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)
    without = Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.0, 0.00001, 3, 5)

    assert (tick_of(instrument), tick_of(without), tick_of(None)) == (TICK, Fraction(1, 1000), None)


def test_fitting_groups_fill_the_rows() -> None:
    """The coarsest of which both sides have as many as wanted; here 1,000 ticks a side, and a span of 2 % at most."""
    bids = [(100.0 - at / 100, 1.0) for at in range(1000)]
    asks = [(100.01 + at / 100, 1.0) for at in range(1000)]
    # 10 rows of 20 ticks a side span 4 %, of 50 ticks 10 %: more than 6 %. The fewest ticks have the most rows.
    fitting = [FittingMultiple(10, 20), FittingMultiple(20, 10), FittingMultiple(50, 5), FittingMultiple(100, 2)]

    assert fitting_multiples(book_of(bids, asks), TICK) == fitting


def test_the_finest_groups_fit_where_none_fill_the_rows() -> None:
    """All levels are shown then; also of a book with one side."""
    finest = [FittingMultiple(rows, 1) for rows in ROWS]

    assert fitting_multiples(book_of(BIDS, ASKS), TICK) == finest
    assert fitting_multiples(book_of(BIDS, []), TICK) == finest
    assert fitting_multiples(book_of([], ASKS), TICK) == finest
    assert fitting_multiples(None, TICK) == fitting_multiples(book_of(BIDS, ASKS), None) == []


def test_fitting_groups_are_known_wholly() -> None:
    """The group at the known edge fills no row: without the hundredth bid the tenth group of ten ticks is none."""
    bids = [((9999 - at) / 100, 1.0) for at in range(100)]
    asks = [((10001 + at) / 100, 1.0) for at in range(100)]

    assert fitting_multiples(book_of(bids, asks, limit=100), TICK)[0] == FittingMultiple(10, 10)
    assert fitting_multiples(book_of(bids[:99], asks, limit=99), TICK)[0] == FittingMultiple(10, 5)


def test_covering_groups_hold_all_that_is_known() -> None:
    """The finest of which the most rows hold both sides."""
    bids = [(100.0 - at / 100, 1.0) for at in range(1000)]

    assert covering_multiple(book_of(BIDS, ASKS), TICK) == 1
    assert covering_multiple(book_of(bids, ASKS), TICK) == 20  # 51 groups; of 10 ticks there are 101
    assert covering_multiple(book_of([(float(at * 10**4), 1.0) for at in range(1, 200)], []), TICK) == MULTIPLES[-1]
    assert covering_multiple(None, TICK) is covering_multiple(book_of(BIDS, ASKS), None) is None


ticks = st.sampled_from([Fraction(text) for text in ("0.00000001", "0.0001", "0.01", "0.05", "0.25", "1", "10")])


@unhurried
@given(ticks, st.sampled_from(MULTIPLES), st.integers(1, 10**9), st.sampled_from([1, -1]))
def test_steps_are_those_of_exact_arithmetic(tick: Fraction, multiple: int, count: int, sign: int) -> None:
    """For each price on a tick, and for the doubles next to it, which belong to no decimal."""
    grid = Grid(tick * multiple)
    exact = count * tick
    price = sign * float(exact)

    index = grid.index(price)

    assert index == (sign * exact) // (tick * multiple)
    assert grid.floor(price) == float(index * tick * multiple)
    for other in (nextafter(price, 1e300), nextafter(price, -1e300)):
        assert grid.price(grid.index(other)) <= other < grid.price(grid.index(other) + 1)


sides = st.dictionaries(st.integers(1, 400), st.integers(1, 10**6), max_size=80)


@unhurried
@given(sides, sides, st.sampled_from([1, 2, 5, 10, 50, 100]), st.integers(1, 90))
def test_ladder_is_the_sum_of_its_levels(bids: dict[int, int], asks: dict[int, int], multiple: int, limit: int) -> None:
    """Compared with exact fractions over the true book, inside what a snapshot of `limit` levels shows of it."""
    bids = {10_000 - at: lots for at, lots in bids.items()}
    asks = {10_000 + at: lots for at, lots in asks.items()}
    top_bids, top_asks = sorted(bids, reverse=True)[:limit], sorted(asks)[:limit]
    book = OrderBook(
        snapshot(
            1,
            [(at / 100, bids[at] / 1e5) for at in top_bids],
            [(at / 100, asks[at] / 1e5) for at in top_asks],
            limit,
        ),
        5000,
    )
    bid_side, ask_side = sides_of(ladder(book, TICK, multiple, NO_TRADES))

    for side, truth, known, sign in ((bid_side, bids, top_bids, 1), (ask_side, asks, top_asks, -1)):
        groups: dict[int, list[int]] = {}
        for at in sorted(truth, reverse=sign > 0):
            groups.setdefault(sign * (sign * at // multiple) * multiple, []).append(at)
        for row, (price, members) in zip(side.rows, groups.items(), strict=False):
            assert row[0] == price / 100
            assert row[1] == float(Fraction(sum(truth[at] for at in members), 10**5))
            assert row[2] == pytest.approx(sum(truth[at] * at for at in members) / 1e7, rel=1e-15, abs=1e-8)
        assert side.is_whole
        missing = list(groups.items())[len(side.rows) :]
        if side.partial is not None:
            price, members = missing[0]
            seen = [at for at in members if at in known]
            assert side.partial[:2] == (price / 100, sum(truth[at] for at in seen) / 1e5)
        assert not missing or len(known) == limit
