"""The exact book: price-time priority, one id per change, and the levels at an earlier id."""

import random

import pytest

from pulse.simulator.book import ASK, BID, CHANGES_KEPT, ORDERS_PER_LEVEL_MAX, BookDiff, LevelFill, SimulatedBook


def small_book() -> SimulatedBook:
    """Return two levels a side around 100/101, at id 1000 without pending changes."""
    book = SimulatedBook(update_id=996)
    book.add(BID, 100, 5)
    book.add(BID, 99, 7)
    book.add(ASK, -101, 4)
    book.add(ASK, -103, 6)
    book.clear_changes()
    return book


def test_levels_come_best_first() -> None:
    """Both sides list their best level first, whatever the order of arrival."""
    book = small_book()

    assert book.top(BID, 5) == ((100, 5), (99, 7))
    assert book.top(ASK, 5) == ((101, 4), (103, 6))
    assert (book.best(BID), book.best(ASK)) == ((100, 5), (101, 4))


def test_every_change_gets_the_next_id() -> None:
    """Adding, cancelling and each level matched take one id each."""
    book = small_book()
    book.add(BID, 98, 1)
    book.cancel(BID, 98, 0)
    book.match(ASK, 5, worst_key=-103)

    assert book.update_id == 1004


@pytest.mark.parametrize(("side", "key"), [(BID, 101), (BID, 102), (ASK, -100), (ASK, -99)])
def test_resting_order_may_not_cross(side: int, key: int) -> None:
    """An order that would cross the other side is refused and changes nothing."""
    book = small_book()

    with pytest.raises(ValueError, match="does not cross"):
        book.add(side, key, 1)
    assert book.update_id == 1000


def test_oldest_order_of_a_level_is_filled_first() -> None:
    """A taker meets the orders of a price in the order in which they came."""
    book = small_book()
    book.add(BID, 100, 2)

    assert book.match(BID, 6, worst_key=99) == [LevelFill(100, (5, 1))]
    assert book.best(BID) == (100, 1)


def test_taker_moves_to_worse_prices_up_to_its_limit() -> None:
    """Better prices are exhausted first, and the limit is not passed."""
    book = small_book()

    assert book.match(ASK, 100, worst_key=-101) == [LevelFill(101, (4,))]
    assert book.top(ASK, 5) == ((103, 6),)


def test_taker_may_empty_a_side() -> None:
    """Taking everything leaves an empty side and returns every level's fills."""
    book = small_book()

    assert book.match(ASK, 100, worst_key=-1000) == [LevelFill(101, (4,)), LevelFill(103, (6,))]
    assert book.top(ASK, 5) == ()


def test_full_level_still_accepts_orders() -> None:
    """Beyond its maximum number of orders a level grows in quantity alone."""
    book = small_book()
    for _ in range(ORDERS_PER_LEVEL_MAX + 5):
        book.add(BID, 99, 1)

    assert book.top(BID, 2)[1] == (99, 7 + ORDERS_PER_LEVEL_MAX + 5)
    assert len(book.sides[BID].orders[99]) == ORDERS_PER_LEVEL_MAX


def test_diff_has_its_ids_and_absolute_quantities() -> None:
    """A diff covers exactly the changes since the last; a level that came and went is a removal."""
    book = small_book()
    book.add(BID, 98, 3)
    book.cancel(BID, 98, 0)
    book.add(ASK, -101, 1)

    assert book.take_diff() == BookDiff(1001, 1003, bids=((98, 0),), asks=((101, 5),))
    assert book.take_diff() is None


def test_levels_at_an_earlier_id_are_exact() -> None:
    """For every id of a random session the book returns the levels of that time."""
    book, rng = small_book(), random.Random(5)
    expected = {book.update_id: (book.top(BID, 4), book.top(ASK, 4))}
    for _ in range(400):
        side = rng.choice((BID, ASK))
        book.add(side, (100 if side == BID else -101) - rng.randrange(8), rng.randint(1, 9))
        expected[book.update_id] = (book.top(BID, 4), book.top(ASK, 4))
        if len(book.sides[side].keys) > 4:
            key = rng.choice(book.sides[side].keys)
            book.cancel(side, key, rng.randrange(len(book.sides[side].orders[key])))
            expected[book.update_id] = (book.top(BID, 4), book.top(ASK, 4))

    assert all(book.levels_at(update_id, 4) == levels for update_id, levels in expected.items())


def test_unknown_ids_have_no_levels() -> None:
    """Ids older than the kept changes and ids in the future return None."""
    book = small_book()
    for _ in range(CHANGES_KEPT + 10):
        book.add(BID, 99, 1)

    assert book.oldest_id == book.update_id - CHANGES_KEPT
    assert book.levels_at(book.oldest_id, 1) is not None
    assert book.levels_at(book.oldest_id - 1, 1) is None
    assert book.levels_at(book.update_id + 1, 1) is None
