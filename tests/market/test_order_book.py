"""The book: exact inside its known window, without a claim outside; compared with a naive model of the truth."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.order_book import LEVEL_BYTES, NEAR_REUSED_MAX, BookSide, OrderBook
from pulse.market.types import DepthDiff, Level, Levels
from tests.support.book_truth import FIRST_ID, Change, Truth, changes, cuts, held, is_true
from tests.support.makers import diff, levels, snapshot, unhurried

BIDS = [(100.0, 5.0), (99.99, 3.0), (99.98, 2.0)]
ASKS = [(100.02, 2.0), (100.03, 4.0), (100.05, 4.0)]


def book_of(limit: int = 5000, levels_max: int = 1000) -> OrderBook:
    """Return a book of the three levels a side above, as the answer to a request for `limit`."""
    return OrderBook(snapshot(10, BIDS, ASKS, limit), levels_max)


def side_of(prices: range, *, is_complete: bool, levels_max: int = 1000) -> BookSide:
    """Return bids at these prices, each of quantity 1."""
    return BookSide(1.0, levels((float(p), 1.0) for p in prices), is_complete, levels_max)


def test_snapshot_shorter_than_its_limit_holds_the_whole_side() -> None:
    """Rule 1: fewer levels than requested means that there are no others."""
    book = book_of(limit=4)

    assert (book.bids.known_to(), book.asks.known_to()) == (None, None)


def test_snapshot_as_long_as_its_limit_ends_the_known_window() -> None:
    """Rule 1: as many levels as requested means that nothing is known beyond the worst."""
    book = book_of(limit=3)

    assert (book.bids.known_to(), book.asks.known_to()) == (99.98, 100.05)


def test_unknown_limit_ends_the_known_window_at_the_worst_level() -> None:
    """A snapshot of unknown limit may have been cut anywhere."""
    assert book_of(limit=0).bids.known_to() == 99.98


def test_empty_side_of_unknown_limit_is_unknown() -> None:
    """Where nothing is known, no level is added and no range is known."""
    side = BookSide(1.0, Levels([], []), False, 10)
    side.apply(levels([(100.0, 1.0)]))

    assert (len(side), side.best(), side.quantity_within(1e9)) == (0, None, (0, False))


def test_zero_quantities_of_a_snapshot_are_no_levels() -> None:
    """A level without quantity does not exist."""
    book = OrderBook(snapshot(10, [(100.0, 0.0), (99.0, 1.0)]), 10)

    assert held(book.bids) == [(99.0, 1.0)]


def test_a_diff_sets_absolute_quantities() -> None:
    """A known price gets the new quantity, a new one is inserted in order, zero removes."""
    book = book_of()
    book.apply(diff(11, 12, [(99.99, 7.0), (99.985, 1.0), (99.98, 0.0)], [(100.01, 6.0), (100.02, 0.0)]))

    assert held(book.bids) == [(100.0, 5.0), (99.99, 7.0), (99.985, 1.0)]
    assert held(book.asks) == [(100.01, 6.0), (100.03, 4.0), (100.05, 4.0)]
    assert book.last_update_id == 12


def test_removing_an_unknown_level_is_normal() -> None:
    """A zero for a price that is not held changes nothing."""
    book = book_of()
    book.apply(diff(11, 11, [(99.5, 0.0)]))

    assert held(book.bids) == BIDS


def test_diffs_never_move_the_horizon() -> None:
    """Rule 2: where the worst known level disappears, the window still reaches down to its price."""
    book = book_of(limit=3)
    book.apply(diff(11, 11, [(99.98, 0.0), (99.99, 0.0)]))

    assert (len(book.bids), book.bids.known_to()) == (1, 99.98)


def test_an_emptied_window_shows_no_best_level() -> None:
    """Where all known levels are removed, the best one is unknown, not the worst of those before."""
    book = book_of(limit=3)
    book.apply(diff(11, 11, [(price, 0.0) for price, _ in BIDS]))

    assert (book.bids.best(), book.bids.top(20)) == (None, [])


def test_a_change_beyond_the_horizon_is_dropped() -> None:
    """Rule 3: a level beyond the horizon is ignored, one at the horizon itself is applied."""
    book = book_of(limit=3)
    book.apply(diff(11, 11, [(99.97, 9.0), (99.98, 8.0)], [(100.06, 9.0), (100.05, 8.0)]))

    assert held(book.bids)[-1] == (99.98, 8.0)
    assert held(book.asks)[-1] == (100.05, 8.0)


def test_dropping_levels_moves_the_horizon_to_the_worst_kept() -> None:
    """Rule 4: a snapshot longer than the bound is cut, and the window with it."""
    side = side_of(range(1, 21), is_complete=True, levels_max=16)

    assert (len(side), side.known_to()) == (16, 5.0)


def test_a_second_book_reaches_as_far_as_a_running_one_at_its_bound() -> None:
    """Else its worst levels would be compared with no snapshot, however often one comes."""
    running = side_of(range(1, 21), is_complete=True, levels_max=16)
    running.apply(levels([(5.0, 2.0)]))

    assert running.differences(side_of(range(1, 21), is_complete=True, levels_max=16)) == (16, [(5.0, 2.0, 1.0)])


def test_dropped_levels_are_not_added_again() -> None:
    """A level below the cut stays out, for those between it and the cut were dropped."""
    side = side_of(range(1, 17), is_complete=True, levels_max=16)
    side.apply(levels([(17.0, 1.0), (0.5, 1.0)]))
    side.apply(levels([(2.5, 1.0)]))

    assert (len(side), side.known_to(), held(side)[-1]) == (14, 4.0, (4.0, 1.0))


def test_the_top_is_best_first() -> None:
    """The top levels come best first on both sides, and never more than there are."""
    book = book_of()

    assert book.bids.top(2) == [(100.0, 5.0), (99.99, 3.0)]
    assert book.asks.top(20) == ASKS
    assert book.asks.best() == Level(100.02, 2.0)


@pytest.mark.parametrize(("bps", "bid", "ask"), [(2, 8.0, 6.0), (1, 5.0, 2.0)])
def test_depth_within_a_band(bps: int, bid: float, ask: float) -> None:
    """Depth within 2 and 1 bps of the mid of the check book."""
    book, mid = book_of(), 100.01

    assert book.bids.quantity_within(mid * (1 - bps / 1e4)) == (bid, True)
    assert book.asks.quantity_within(mid * (1 + bps / 1e4)) == (ask, True)


def test_a_band_that_leaves_the_window_is_a_lower_bound() -> None:
    """What rests beyond the horizon is not counted, and the sum is marked as not exact."""
    book = book_of(limit=3)

    assert book.bids.quantity_within(99.98) == (10.0, True)
    assert book.bids.quantity_within(99.0) == (10.0, False)


steps = st.lists(
    st.tuples(st.integers(90, 110), st.integers(0, 3), st.sampled_from(["change", "change", "sum", "extend"])),
    max_size=60,
)


@unhurried
@given(st.sampled_from([1.0, -1.0]), steps)
def test_a_running_sum_is_the_sum(sign: float, steps: list[tuple[int, int, str]]) -> None:
    """However a side changes between calls, the result is the sum of all that rests in the range."""
    side = BookSide(sign, levels([(100.0, 1.5)]), True, 12)
    for price, quantity, step in steps:
        if step == "change":
            side.apply(levels([(float(price), quantity / 2)]))
        elif step == "extend" and side.known_to() is not None:
            side.extend_with(BookSide(sign, levels([(float(p), 1.0) for p in range(90, 111)]), True, 50))
        reach = float(price)
        resting = [q for p, q in side.top(50) if sign * p >= sign * reach]
        assert side.quantity_within(reach)[0] == sum(resting)


def test_running_sum_keeps_no_rounding_errors() -> None:
    """Rounding errors do not add up for long: after NEAR_REUSED_MAX uses the sum is computed anew."""
    side = BookSide(1.0, levels([(100.0, 0.1)]), True, 10)
    for _ in range(NEAR_REUSED_MAX):
        side.quantity_within(99.0)
        side.apply(levels([(100.0, 0.7), (99.5, 0.1)]))
        side.apply(levels([(100.0, 0.1), (99.5, 0.0)]))

    assert side.quantity_within(99.0) == (0.1, True)


def test_sum_that_falls_far_is_computed_anew_at_once() -> None:
    """The rounding error of a huge order goes with it."""
    side = BookSide(1.0, levels([(100.0, 0.1)]), True, 10)
    side.quantity_within(99.0)
    side.apply(levels([(99.5, 1e9)]))
    side.apply(levels([(99.5, 0.0)]))

    assert side.quantity_within(99.0) == (0.1, True)


@pytest.mark.parametrize(("bid", "is_crossed"), [(100.01, False), (100.02, True), (100.5, True)])
def test_crossed_is_a_best_bid_not_below_the_best_ask(bid: float, is_crossed: bool) -> None:
    """Equal best prices are as impossible as crossed ones."""
    book = book_of()
    book.apply(diff(11, 11, [(bid, 1.0)]))

    assert book.is_crossed() is is_crossed


def test_one_empty_side_is_not_crossed() -> None:
    """Without a best ask nothing is crossed."""
    assert not OrderBook(snapshot(1, BIDS), 10).is_crossed()


def test_differences_compare_only_what_both_know() -> None:
    """Levels beyond either horizon are no differences."""
    ours, theirs = side_of(range(5, 11), is_complete=False), side_of(range(1, 11), is_complete=False)

    assert ours.differences(theirs) == (6, [])
    assert theirs.differences(ours) == (6, [])


def test_differences_list_each_level_that_differs() -> None:
    """A missing level, an extra one and another quantity are three differences of the five compared, best first."""
    ours, theirs = side_of(range(1, 5), is_complete=True), side_of(range(1, 5), is_complete=True)
    ours.apply(levels([(1.0, 0.0), (5.0, 1.0), (2.0, 9.0)]))

    assert ours.differences(theirs) == (5, [(5.0, 1.0, 0.0), (2.0, 9.0, 1.0), (1.0, 0.0, 1.0)])


def test_differences_of_asks_have_positive_prices() -> None:
    """The lower ask is the better, and the internal sign of the keys is not shown."""
    ours, theirs = book_of().asks, book_of().asks
    ours.apply(levels([(100.02, 0.0), (100.05, 1.0)]))

    assert ours.differences(theirs) == (3, [(100.02, 0.0, 2.0), (100.05, 1.0, 4.0)])


def test_levels_between_two_prices() -> None:
    """The known levels from one price to a worse one, both included, of either side."""
    book = book_of()

    assert book.bids.known_between(99.99, 99.98) == {99.99: 3.0, 99.98: 2.0}
    assert book.bids.known_between(100.0, 99.985) == {100.0: 5.0, 99.99: 3.0}
    assert book.asks.known_between(100.0, 100.03) == {100.02: 2.0, 100.03: 4.0}
    assert book.bids.known_between(1e9, 0.01) == dict(BIDS)


@pytest.mark.parametrize(("price", "is_known"), [(1e9, True), (99.98, True), (99.97, False)])
def test_is_known_down_to_the_horizon(price: float, is_known: bool) -> None:
    """A side is exact down to its horizon, and everywhere where it is known whole."""
    assert book_of(limit=3).bids.is_known(price) is is_known
    assert book_of().bids.is_known(price)


def test_extending_adds_what_lies_beyond_our_horizon() -> None:
    """The far levels of a deeper book at the same id are added, and the window becomes its window."""
    ours, theirs = side_of(range(5, 11), is_complete=False), side_of(range(1, 11), is_complete=True)
    ours.extend_with(theirs)

    assert held(ours) == held(theirs)
    assert ours.known_to() is None


def test_extending_with_a_smaller_book_changes_nothing() -> None:
    """A book that is known less far adds nothing."""
    ours, theirs = side_of(range(1, 11), is_complete=False), side_of(range(5, 11), is_complete=False)
    ours.extend_with(theirs)

    assert (len(ours), ours.known_to()) == (10, 1.0)


def test_extending_keeps_the_bound() -> None:
    """A deeper book is added only as far as the bound allows."""
    ours = side_of(range(5, 11), is_complete=False, levels_max=8)
    ours.extend_with(side_of(range(1, 11), is_complete=True))

    assert (len(ours), ours.known_to()) == (8, 3.0)


@unhurried
@given(changes, changes, cuts, st.integers(1, 12), st.integers(1, 24))
def test_book_is_true_inside_its_window(
    start: list[Change], stream: list[Change], sizes: list[int], limit: int, levels_max: int
) -> None:
    """After every diff, whatever the snapshot's reach and the bound: true, sorted, without zeros, within the bound."""
    truth = Truth(start, stream)
    book = OrderBook(truth.snapshot(FIRST_ID, limit), levels_max)
    for part in truth.diffs(sizes):
        book.apply(part)

        assert is_true(book, truth)
        assert max(len(book.bids), len(book.asks)) <= levels_max
        assert not book.is_crossed()


@unhurried
@given(changes, changes, cuts)
def test_how_the_stream_is_cut_does_not_matter(start: list[Change], stream: list[Change], sizes: list[int]) -> None:
    """Contiguous diffs may be merged into one, or split, and leave the same book."""
    truth = Truth(start, stream)
    in_parts, at_once = (OrderBook(truth.snapshot(FIRST_ID, 6), 1000) for _ in range(2))
    for part in truth.diffs(sizes):
        in_parts.apply(part)
    at_once.apply(truth.diff(FIRST_ID + 1, truth.last_id))

    assert same_books(in_parts, at_once)


@unhurried
@given(changes, changes, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_levels_in_a_diff_does_not_matter(
    start: list[Change], stream: list[Change], levels_max: int, rng: random.Random
) -> None:
    """Levels of one diff may come in any order and leave the same book, at its bound too."""
    truth = Truth(start, stream)
    whole = truth.diff(FIRST_ID + 1, truth.last_id)
    one, other = (OrderBook(truth.snapshot(FIRST_ID, 6), levels_max) for _ in range(2))
    one.apply(whole)
    other.apply(DepthDiff(whole.first_update_id, whole.final_update_id, 0, shuffled(whole.bids, rng), whole.asks))

    assert same_books(one, other)


@unhurried
@given(changes, changes, st.integers(1, 12), st.integers(1, 12))
def test_second_book_at_the_same_id_agrees_and_extends(
    start: list[Change], stream: list[Change], ours_limit: int, theirs_limit: int
) -> None:
    """A book continued from one snapshot equals a later one where both are known, and is extended with the rest."""
    truth = Truth(start, stream)
    ours = OrderBook(truth.snapshot(FIRST_ID, ours_limit), 1000)
    ours.apply(truth.diff(FIRST_ID + 1, truth.last_id))
    theirs = OrderBook(truth.snapshot(truth.last_id, theirs_limit), 1000)

    assert ours.bids.differences(theirs.bids)[1] == ours.asks.differences(theirs.asks)[1] == []
    ours.bids.extend_with(theirs.bids)
    ours.asks.extend_with(theirs.asks)
    assert is_true(ours, truth)
    assert ours.bids.horizon <= theirs.bids.horizon


def same_books(one: OrderBook, other: OrderBook) -> bool:
    """Return whether two books hold and know the same."""
    sides = ((one.bids, other.bids), (one.asks, other.asks))
    return all(held(a) == held(b) and a.known_to() == b.known_to() for a, b in sides)


def shuffled(side: Levels, rng: random.Random) -> Levels:
    """Return the same levels in another order."""
    rows = list(zip(side.prices, side.quantities, strict=True))
    rng.shuffle(rows)
    return levels(rows)


def test_memory_of_a_level_is_what_the_bound_reckons_with() -> None:
    """Also of a side that has grown by single levels."""
    side = BookSide(1.0, levels([(100_000.0 - level, 1.0) for level in range(5000)]), False, 20_000)
    side.apply(levels([(100_000.5 + level, 1.0) for level in range(5000)]))

    assert (sys.getsizeof(side._keys) + sys.getsizeof(side._quantities)) / len(side) <= LEVEL_BYTES


def test_contents_are_copies() -> None:
    """Signed keys and quantities, the best level last, as they were when they were asked for."""
    book = book_of(limit=3)
    contents = book.asks.contents()
    book.apply(diff(11, 11, [], [(100.02, 7.0)]))

    assert contents == ([-100.05, -100.03, -100.02], [4.0, 4.0, 2.0], -100.05)
