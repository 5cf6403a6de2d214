"""The true book: price-time order, one id a change, and what it held at an earlier id."""

import random

import pytest

from pulse.simulator.book import ASK, BID, CHANGES_KEPT, ORDERS_PER_LEVEL_MAX, Book, BookCut, Take


def small_book() -> Book:
    """Two levels a side around 100/101, settled at id 1000."""
    book = Book(update_id=996)
    book.rest(BID, 100, 5)
    book.rest(BID, 99, 7)
    book.rest(ASK, -101, 4)
    book.rest(ASK, -103, 6)
    book.settle()
    return book


def test_levels_come_best_first() -> None:
    """Both sides list their best level first, whatever the order of arrival."""
    book = small_book()

    assert book.top(BID, 5) == ((100, 5), (99, 7))
    assert book.top(ASK, 5) == ((101, 4), (103, 6))
    assert (book.best(BID), book.best(ASK)) == ((100, 5), (101, 4))


def test_every_change_gets_the_next_id() -> None:
    """Adding, cancelling and each level that is taken from count one id each."""
    book = small_book()
    book.rest(BID, 98, 1)
    book.cancel(BID, 98, 0)
    book.take(ASK, 5, worst_key=-103)

    assert book.update_id == 1004


@pytest.mark.parametrize(("side", "key"), [(BID, 101), (BID, 102), (ASK, -100), (ASK, -99)])
def test_a_resting_order_may_not_cross(side: int, key: int) -> None:
    """An order that would meet the other side is refused and changes nothing."""
    book = small_book()

    with pytest.raises(ValueError, match="does not cross"):
        book.rest(side, key, 1)
    assert book.update_id == 1000


def test_the_oldest_order_of_a_level_is_filled_first() -> None:
    """A taker meets the orders of a price in the order in which they came."""
    book = small_book()
    book.rest(BID, 100, 2)

    assert book.take(BID, 6, worst_key=99) == [Take(100, (5, 1))]
    assert book.best(BID) == (100, 1)


def test_a_taker_walks_to_worse_prices_up_to_its_limit() -> None:
    """Better prices are exhausted first, and the limit is not passed."""
    book = small_book()

    assert book.take(ASK, 100, worst_key=-101) == [Take(101, (4,))]
    assert book.top(ASK, 5) == ((103, 6),)


def test_a_taker_may_empty_a_side() -> None:
    """Taking everything leaves an empty side and reports what there was."""
    book = small_book()

    assert book.take(ASK, 100, worst_key=-1000) == [Take(101, (4,)), Take(103, (6,))]
    assert book.top(ASK, 5) == ()


def test_a_full_level_still_takes_orders() -> None:
    """Beyond its bound of orders a level grows in quantity alone."""
    book = small_book()
    for _ in range(ORDERS_PER_LEVEL_MAX + 5):
        book.rest(BID, 99, 1)

    assert book.top(BID, 2)[1] == (99, 7 + ORDERS_PER_LEVEL_MAX + 5)
    assert len(book.sides[BID].orders[99]) == ORDERS_PER_LEVEL_MAX


def test_a_cut_names_its_ids_and_absolute_quantities() -> None:
    """A cut spans exactly the changes since the last, and a level that came and went is a removal."""
    book = small_book()
    book.rest(BID, 98, 3)
    book.cancel(BID, 98, 0)
    book.rest(ASK, -101, 1)

    assert book.cut() == BookCut(1001, 1003, bids=((98, 0),), asks=((101, 5),))
    assert book.cut() is None


def test_an_earlier_book_can_be_told() -> None:
    """At every id of a random session the book remembers what it held then."""
    book, rng = small_book(), random.Random(5)
    truth = {book.update_id: (book.top(BID, 4), book.top(ASK, 4))}
    for _ in range(400):
        side = rng.choice((BID, ASK))
        book.rest(side, (100 if side == BID else -101) - rng.randrange(8), rng.randint(1, 9))
        truth[book.update_id] = (book.top(BID, 4), book.top(ASK, 4))
        if len(book.sides[side].keys) > 4:
            key = rng.choice(book.sides[side].keys)
            book.cancel(side, key, rng.randrange(len(book.sides[side].orders[key])))
            truth[book.update_id] = (book.top(BID, 4), book.top(ASK, 4))

    assert all(book.at(update_id, 4) == then for update_id, then in truth.items())


def test_what_is_forgotten_or_to_come_is_not_told() -> None:
    """Only so many changes are kept, and the future is unknown."""
    book = small_book()
    for _ in range(CHANGES_KEPT + 10):
        book.rest(BID, 99, 1)

    assert book.oldest_id == book.update_id - CHANGES_KEPT
    assert book.at(book.oldest_id, 1) is not None
    assert book.at(book.oldest_id - 1, 1) is None
    assert book.at(book.update_id + 1, 1) is None
