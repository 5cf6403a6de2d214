"""The witnesses: bookTicker, partial depth and diffs in any order, never a false alarm, never a miss."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market import cross_checks
from pulse.market.cross_checks import Mismatch, TopLevelsCheck, Touch, TouchCheck
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, Level, PartialDepth
from tests.support.book_truth import FIRST_ID, Change, Truth, changes, cuts
from tests.support.makers import Pairs, diff, levels, snapshot, ticker, unhurried

WRONG_BID = (100.0, 9.0)


def touch(update_id: int, bid: tuple[float, float] = (100.0, 5.0), ask: tuple[float, float] = (100.02, 2.0)) -> Touch:
    """Our own best levels after the diff with this id."""
    return Touch(update_id, Level(*bid), Level(*ask))


def levels_of(touch: Touch) -> list[list[float]]:
    """Both best levels, as a mismatch shows them."""
    return [list(touch.bid), list(touch.ask)]


def witness_of(*events: BookTicker | Touch) -> tuple[TouchCheck, list[Mismatch]]:
    """A witness that has heard these events, and what it found."""
    witness, found = TouchCheck(), []
    for event in events:
        mismatch = witness.on_touch(event) if isinstance(event, Touch) else witness.on_ticker(event)
        if mismatch is not None:
            found.append(mismatch)
    return witness, found


def test_the_ticker_may_come_before_its_diff() -> None:
    """A ticker at the diff's own id settles it at once."""
    witness, found = witness_of(ticker(10), touch(10))

    assert (witness.compared, witness.equal, found) == (1, 1, [])


def test_the_ticker_may_come_after_its_diff() -> None:
    """A diff waits until the ticker of its id comes."""
    witness, _ = witness_of(ticker(8), touch(10))
    assert witness.compared == 0

    assert witness.on_ticker(ticker(10)) is None
    assert (witness.compared, witness.equal) == (1, 1)


def test_a_later_ticker_proves_that_none_is_missing() -> None:
    """The newest ticker at or below the diff's id is the one that counts, and a later one shows which that is."""
    witness, found = witness_of(ticker(8), touch(10), ticker(12, WRONG_BID))

    assert (witness.compared, witness.equal, found) == (1, 1, [])


def test_states_between_two_diffs_are_passed_over() -> None:
    """Of the tickers within a diff only the last says how the book stands after it."""
    witness, found = witness_of(
        ticker(8, WRONG_BID), ticker(9, WRONG_BID), ticker(10), ticker(11, WRONG_BID), touch(10)
    )

    assert (witness.compared, witness.equal, found) == (1, 1, [])


def test_without_an_earlier_ticker_nothing_is_compared() -> None:
    """A diff from before the first ticker has no witness."""
    witness, _ = witness_of(touch(9), ticker(10), touch(9))

    assert witness.compared == 0


def test_the_first_ticker_may_be_of_a_waiting_diffs_id() -> None:
    """A diff from before any ticker is settled by one of its own id, and dropped where a later one comes first."""
    witness, _ = witness_of(touch(9), touch(10), ticker(10), touch(11), ticker(12))

    assert (witness.compared, witness.equal) == (2, 2)


def test_one_ticker_settles_all_that_waited_for_it() -> None:
    """Every waiting diff at or below the ticker's id is compared, later ones go on waiting."""
    witness, _ = witness_of(ticker(1), touch(2), touch(3), touch(9), ticker(5, WRONG_BID))

    assert (witness.compared, witness.equal) == (2, 2)
    assert witness.on_ticker(ticker(9)) is None
    assert witness.compared == 3


@pytest.mark.parametrize(
    "wrong", [touch(10, bid=(100.0, 4.0)), touch(10, bid=(99.0, 5.0)), touch(10, ask=(100.02, 1.0))]
)
@pytest.mark.parametrize("is_early", [True, False])
def test_any_difference_is_found(wrong: Touch, is_early: bool) -> None:
    """A different price or quantity of either side is a mismatch, whichever came first."""
    events = (ticker(10), wrong) if is_early else (ticker(9), wrong, ticker(10))
    witness, found = witness_of(*events)

    assert found == [Mismatch(10, levels_of(wrong), [[100.0, 5.0], [100.02, 2.0]])]
    assert (witness.compared, witness.equal) == (1, 0)


def test_a_mismatch_among_several_is_not_hidden_by_a_later_match() -> None:
    """One ticker may settle a wrong diff and a right one: the wrong one is told."""
    _, found = witness_of(ticker(1), touch(2, WRONG_BID), touch(3), ticker(4))

    assert found == [Mismatch(2, levels_of(touch(2, WRONG_BID)), levels_of(touch(1)))]


def test_old_and_repeated_tickers_are_ignored() -> None:
    """Ids only rise; a ticker that does not is no news."""
    witness, found = witness_of(ticker(10), ticker(10, WRONG_BID), ticker(9, WRONG_BID), touch(10))

    assert (witness.equal, found) == (1, [])


def test_a_new_connection_forgets_both_accounts() -> None:
    """What was heard before a restart says nothing of the book after it."""
    witness, _ = witness_of(ticker(1, WRONG_BID), touch(2))
    witness.restart()
    found = [witness.on_ticker(ticker(3)), witness.on_touch(touch(4)), witness.on_ticker(ticker(5))]

    assert (found, witness.compared) == ([None, None, None], 1)


def test_a_replaced_book_takes_its_word_back() -> None:
    """What waits to be compared is forgotten with its book, the tickers are not."""
    witness, _ = witness_of(ticker(1), touch(2, WRONG_BID))
    witness.clear_pending()
    found = [witness.on_touch(touch(3)), witness.on_ticker(ticker(4))]

    assert (found, witness.compared, witness.equal) == ([None, None], 1, 1)


def test_tickers_ahead_are_bounded() -> None:
    """Of too many tickers the oldest go, and a diff that needed them is not compared rather than wronged."""
    witness, _ = witness_of(ticker(1), *(ticker(2 + i, WRONG_BID) for i in range(cross_checks.TICKERS_MAX)))

    assert witness.on_touch(touch(1)) is None
    assert witness.compared == 0


def test_waiting_diffs_are_bounded() -> None:
    """Of too many waiting diffs the oldest go uncompared."""
    witness, _ = witness_of(ticker(1), *(touch(2 + i) for i in range(cross_checks.PENDING_MAX + 5)))
    witness.on_ticker(ticker(10_000))

    assert witness.compared == witness.equal == cross_checks.PENDING_MAX


@unhurried
@given(changes, changes, cuts, st.randoms(use_true_random=False), st.booleans())
def test_true_streams_never_alarm_and_a_wrong_one_always_does(
    start: list[Change], stream: list[Change], sizes: list[int], rng: random.Random, is_wrong: bool
) -> None:
    """However the two streams interleave, every diff is compared and equal, and one wrong quantity is found."""
    first = [(True, 0, 1), (False, 0, 1)]  # both sides have a best level to begin with
    truth = Truth([*start, *first], stream)
    touches = touches_of(truth, sizes)
    wrong = rng.randrange(len(touches)) if is_wrong and touches else -1
    if wrong >= 0:
        bad = touches[wrong]
        touches[wrong] = bad._replace(bid=Level(bad.bid.price, bad.bid.quantity + 0.5))
    tickers = truth.tickers()
    closing = tickers[-1]._replace(update_id=truth.last_id + 1)
    events = [tickers[0], *interleaved(touches, [*tickers[1:], closing], rng)]
    witness, found = witness_of(*events)

    assert witness.compared == len(touches)
    assert [(m.update_id, m.ours) for m in found] == [
        (bad.update_id, levels_of(bad)) for bad in touches[wrong : wrong + 1] * (wrong >= 0)
    ]


# --- partial depth


BIDS = [(100.0, 5.0), (99.0, 3.0), (98.0, 2.0)]
ASKS = [(101.0, 2.0), (102.0, 4.0)]


def partial(update_id: int, bids: Pairs = BIDS, asks: Pairs = ASKS) -> PartialDepth:
    """The exchange's best levels at this id."""
    return PartialDepth(update_id, levels(bids), levels(asks))


def book_at(update_id: int, limit: int = 5000) -> OrderBook:
    """The book above at this id."""
    return OrderBook(snapshot(update_id, BIDS, ASKS, limit), 1000)


def applied(witness: TopLevelsCheck, book: OrderBook, part: DepthDiff) -> Mismatch | None:
    """What a witness says when a book applies a diff."""
    before = book.last_update_id
    book.apply(part)
    return witness.on_diff(book, before, part)


def test_a_partial_of_the_books_id_must_be_equal() -> None:
    """Every level that it states is there, and none between them that it does not state."""
    witness = TopLevelsCheck()

    assert witness.on_partial(book_at(10), partial(10)) is None
    assert (witness.compared, witness.equal) == (1, 1)


@pytest.mark.parametrize(
    ("bids", "asks", "ours", "theirs"),
    [
        ([(100.0, 5.0), (99.0, 9.0)], ASKS, [[99.0, 3.0]], [[99.0, 9.0]]),
        ([(100.0, 5.0), (98.0, 2.0)], ASKS, [[99.0, 3.0]], [[99.0, 0.0]]),
        ([(100.5, 1.0), *BIDS], ASKS, [[100.5, 0.0]], [[100.5, 1.0]]),
        (BIDS, [(101.0, 2.0), (101.5, 1.0)], [[101.5, 0.0]], [[101.5, 1.0]]),
    ],
)
def test_a_partial_that_differs_is_found(
    bids: Pairs, asks: Pairs, ours: list[list[float]], theirs: list[list[float]]
) -> None:
    """Another quantity, a level too many and one too few, on either side, are told with both versions."""
    witness = TopLevelsCheck()

    assert witness.on_partial(book_at(10), partial(10, bids, asks)) == Mismatch(10, ours, theirs)
    assert (witness.compared, witness.equal) == (1, 0)


def test_a_partial_says_nothing_beyond_its_levels() -> None:
    """What our book holds beyond the last level stated is not held against it, and an empty side says nothing."""
    witness = TopLevelsCheck()

    assert witness.on_partial(book_at(10), partial(10, BIDS[:1], [])) is None


def test_a_partial_beyond_our_window_is_not_held_against_us() -> None:
    """What lies outside the known window cannot be wrong."""
    witness = TopLevelsCheck()

    assert witness.on_partial(book_at(10, limit=3), partial(10, [*BIDS, (97.0, 1.0)])) is None


def test_a_partial_ahead_of_the_book_waits_for_it() -> None:
    """A newer account is compared once the book has come to its id, or past it."""
    witness, book = TopLevelsCheck(), book_at(10)
    witness.on_partial(book, partial(12, [(100.0, 7.0)]))

    assert applied(witness, book, diff(11, 11)) is None
    assert witness.compared == 0
    assert applied(witness, book, diff(12, 12, [(100.0, 7.0)])) is None
    assert (witness.compared, witness.equal) == (1, 1)


def test_a_partial_within_a_diff_is_compared_beside_it() -> None:
    """What the diff touched may have had any quantity at that moment; all else must be equal."""
    witness, book = TopLevelsCheck(), book_at(10)
    applied(witness, book, diff(11, 15, [(100.0, 7.0)]))

    assert witness.on_partial(book, partial(12, [(100.0, 6.0), *BIDS[1:]])) is None
    assert witness.on_partial(book, partial(10)) is None
    assert (witness.compared, witness.equal) == (2, 2)
    assert witness.on_partial(book, partial(12, [(100.0, 6.0), (99.0, 9.0)])) == Mismatch(
        12, [[99.0, 3.0]], [[99.0, 9.0]]
    )


def test_a_partial_from_before_the_last_diff_says_nothing() -> None:
    """What the book was then is no longer known; without any diff neither."""
    witness, book = TopLevelsCheck(), book_at(10)
    wrong = partial(9, [(100.0, 99.0)])

    assert witness.on_partial(book, wrong) is None
    applied(witness, book, diff(11, 11))
    assert witness.on_partial(book, wrong) is None
    assert witness.compared == 0


def test_a_new_book_forgets_the_partial_that_waited() -> None:
    """After a restart neither what waited nor the last diff counts."""
    witness, book = TopLevelsCheck(), book_at(10)
    applied(witness, book, diff(11, 15))
    witness.on_partial(book, partial(20, [(100.0, 99.0)]))
    witness.restart()

    assert witness.on_partial(book, partial(12, [(100.0, 99.0)])) is None
    assert applied(witness, book, diff(16, 20)) is None
    assert witness.compared == 0


@unhurried
@given(changes, changes, cuts, st.randoms(use_true_random=False), st.integers(1, 12))
def test_true_partials_never_alarm(
    start: list[Change], stream: list[Change], sizes: list[int], rng: random.Random, limit: int
) -> None:
    """However partials of any moment fall between the diffs, a true book is never contradicted."""
    truth = Truth(start, stream)
    book, witness = OrderBook(truth.snapshot(FIRST_ID, limit), 1000), TopLevelsCheck()
    for part in truth.diffs(sizes):
        at = rng.randint(FIRST_ID, truth.last_id)
        top = truth.snapshot(at, 5)

        assert witness.on_partial(book, PartialDepth(at, top.bids, top.asks)) is None
        assert applied(witness, book, part) is None
    assert witness.compared == witness.equal


@unhurried
@given(changes, changes, cuts, st.integers(0, 4))
def test_a_wrong_book_is_contradicted_by_the_next_partial(
    start: list[Change], stream: list[Change], sizes: list[int], place: int
) -> None:
    """One wrong quantity among the best levels is found by the first partial of the book's own id."""
    truth = Truth(start, stream)
    book, witness = OrderBook(truth.snapshot(FIRST_ID), 1000), TopLevelsCheck()
    for part in truth.diffs(sizes):
        applied(witness, book, part)
    top = book.bids.top(5)
    if place < len(top):
        book.bids.apply(levels([(top[place][0], 9.5)]))
    theirs = truth.snapshot(truth.last_id, 5)
    mismatch = witness.on_partial(book, PartialDepth(truth.last_id, theirs.bids, theirs.asks))

    assert (mismatch is not None) is (place < len(top))


def touches_of(truth: Truth, sizes: list[int]) -> list[Touch]:
    """The best levels after each diff that leaves both sides with one."""
    book, touches = OrderBook(truth.snapshot(FIRST_ID), 1000), []
    for part in truth.diffs(sizes):
        book.apply(part)
        bid, ask = book.bids.best(), book.asks.best()
        if bid is not None and ask is not None:
            touches.append(Touch(book.last_update_id, bid, ask))
    return touches


def interleaved(touches: list[Touch], tickers: list[BookTicker], rng: random.Random) -> list[Touch | BookTicker]:
    """Both streams in one, each in its own order."""
    turns = [True] * len(touches) + [False] * len(tickers)
    rng.shuffle(turns)
    left, right = iter(touches), iter(tickers)
    return [next(left) if turn else next(right) for turn in turns]
