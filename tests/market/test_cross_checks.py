"""Cross-checks with bookTicker, partial depth and diffs in any order: no false mismatch, and none missed."""

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
    """Return our own best levels after the diff with this id."""
    return Touch(update_id, Level(*bid), Level(*ask))


def levels_of(touch: Touch) -> list[list[float]]:
    """Return both best levels, as a mismatch shows them."""
    return [list(touch.bid), list(touch.ask)]


def check_of(*events: BookTicker | Touch) -> tuple[TouchCheck, list[Mismatch]]:
    """Return a check that has taken these events, and the mismatches it found."""
    check, found = TouchCheck(), []
    for event in events:
        mismatch = check.on_touch(event) if isinstance(event, Touch) else check.on_ticker(event)
        if mismatch is not None:
            found.append(mismatch)
    return check, found


def test_the_ticker_may_come_before_its_diff() -> None:
    """A ticker at the diff's own id is compared at once."""
    check, found = check_of(ticker(10), touch(10))

    assert (check.compared, check.equal, found) == (1, 1, [])


def test_the_ticker_may_come_after_its_diff() -> None:
    """A diff waits until the ticker of its id comes."""
    check, _ = check_of(ticker(8), touch(10))
    assert check.compared == 0

    assert check.on_ticker(ticker(10)) is None
    assert (check.compared, check.equal) == (1, 1)


def test_later_ticker_shows_that_none_is_missing() -> None:
    """The newest ticker at or below the diff's id counts, and a later one shows which that is."""
    check, found = check_of(ticker(8), touch(10), ticker(12, WRONG_BID))

    assert (check.compared, check.equal, found) == (1, 1, [])


def test_only_the_last_ticker_within_a_diff_counts() -> None:
    """Of the tickers within a diff only the last shows the book after it."""
    check, found = check_of(ticker(8, WRONG_BID), ticker(9, WRONG_BID), ticker(10), ticker(11, WRONG_BID), touch(10))

    assert (check.compared, check.equal, found) == (1, 1, [])


def test_without_an_earlier_ticker_nothing_is_compared() -> None:
    """A diff from before the first ticker cannot be compared."""
    check, _ = check_of(touch(9), ticker(10), touch(9))

    assert check.compared == 0


def test_the_first_ticker_may_be_of_a_waiting_diffs_id() -> None:
    """A diff from before any ticker is compared with one of its own id, and dropped where a later one comes first."""
    check, _ = check_of(touch(9), touch(10), ticker(10), touch(11), ticker(12))

    assert (check.compared, check.equal) == (2, 2)


def test_one_ticker_is_compared_with_all_diffs_that_wait() -> None:
    """Every waiting diff at or below the ticker's id is compared, later ones go on waiting."""
    check, _ = check_of(ticker(1), touch(2), touch(3), touch(9), ticker(5, WRONG_BID))

    assert (check.compared, check.equal) == (2, 2)
    assert check.on_ticker(ticker(9)) is None
    assert check.compared == 3


@pytest.mark.parametrize(
    "wrong", [touch(10, bid=(100.0, 4.0)), touch(10, bid=(99.0, 5.0)), touch(10, ask=(100.02, 1.0))]
)
@pytest.mark.parametrize("is_early", [True, False])
def test_any_difference_is_found(wrong: Touch, is_early: bool) -> None:
    """A different price or quantity of either side is a mismatch, whichever came first."""
    events = (ticker(10), wrong) if is_early else (ticker(9), wrong, ticker(10))
    check, found = check_of(*events)

    assert found == [Mismatch(10, levels_of(wrong), [[100.0, 5.0], [100.02, 2.0]])]
    assert (check.compared, check.equal) == (1, 0)


def test_a_mismatch_among_several_is_not_hidden_by_a_later_match() -> None:
    """One ticker may be compared with a wrong diff and a right one: the wrong one is returned."""
    _, found = check_of(ticker(1), touch(2, WRONG_BID), touch(3), ticker(4))

    assert found == [Mismatch(2, levels_of(touch(2, WRONG_BID)), levels_of(touch(1)))]


def test_old_and_repeated_tickers_are_ignored() -> None:
    """Ids only rise; a ticker that was taken before is ignored."""
    check, found = check_of(
        ticker(9, WRONG_BID), ticker(10), ticker(10, WRONG_BID), ticker(9, WRONG_BID), touch(10)
    )  # fmt: skip

    assert (check.equal, found) == (1, [])


def test_ticker_below_a_false_id_ends_its_effect() -> None:
    """A new ticker below the newest shows that one of the two is false: neither counts, and the next one begins."""
    check, found = check_of(ticker(10), ticker(10**9, WRONG_BID), ticker(11), touch(12), ticker(12), touch(13))

    assert check.on_ticker(ticker(14)) is None
    assert (check.compared, check.equal, found) == (2, 2, [])


def test_restart_discards_tickers_and_diffs() -> None:
    """Events from before a restart are no evidence about the book after it."""
    check, _ = check_of(ticker(1, WRONG_BID), touch(2))
    check.restart()
    found = [check.on_ticker(ticker(3)), check.on_touch(touch(4)), check.on_ticker(ticker(5))]

    assert (found, check.compared) == ([None, None, None], 1)


def test_clear_pending_discards_diffs_alone() -> None:
    """What waits to be compared is discarded with its book, the tickers are not."""
    check, _ = check_of(ticker(1), touch(2, WRONG_BID))
    check.clear_pending()
    found = [check.on_touch(touch(3)), check.on_ticker(ticker(4))]

    assert (found, check.compared, check.equal) == ([None, None], 1, 1)


def test_tickers_ahead_are_bounded() -> None:
    """Of too many tickers the oldest are dropped; a diff that needed them is not compared, rather than falsely."""
    check, _ = check_of(ticker(1), *(ticker(2 + i, WRONG_BID) for i in range(cross_checks.TICKERS_MAX)))

    assert check.on_touch(touch(1)) is None
    assert check.compared == 0


def test_fewer_tickers_are_kept_while_there_is_no_book() -> None:
    """They would be kept for as long as no snapshot comes; those around the id at which a book joins are enough."""
    check, _ = check_of()
    count = 3 * cross_checks.TICKERS_WITHOUT_BOOK_MAX
    for update_id in range(1, count + 1):
        check.on_ticker(ticker(update_id))
        check.keep_newest()

    assert len(check._tickers) == cross_checks.TICKERS_WITHOUT_BOOK_MAX
    assert check.on_touch(touch(count - 5)) is None
    assert (check.compared, check.equal) == (1, 1)


def test_waiting_diffs_are_bounded() -> None:
    """Of too many waiting diffs the oldest are dropped without a comparison."""
    check, _ = check_of(ticker(1), *(touch(2 + i) for i in range(cross_checks.PENDING_MAX + 5)))
    check.on_ticker(ticker(10_000))

    assert check.compared == check.equal == cross_checks.PENDING_MAX


@unhurried
@given(changes, changes, cuts, st.randoms(use_true_random=False), st.booleans())
def test_true_streams_never_mismatch_and_a_wrong_one_always_does(
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
    check, found = check_of(*events)

    assert check.compared == len(touches)
    assert [(m.update_id, m.ours) for m in found] == [
        (bad.update_id, levels_of(bad)) for bad in touches[wrong : wrong + 1] * (wrong >= 0)
    ]


# --- partial depth


BIDS = [(100.0, 5.0), (99.0, 3.0), (98.0, 2.0)]
ASKS = [(101.0, 2.0), (102.0, 4.0)]


def partial(update_id: int, bids: Pairs = BIDS, asks: Pairs = ASKS) -> PartialDepth:
    """Return the exchange's best levels at this id."""
    return PartialDepth(update_id, levels(bids), levels(asks))


def book_at(update_id: int, limit: int = 5000) -> OrderBook:
    """Return the book above at this id."""
    return OrderBook(snapshot(update_id, BIDS, ASKS, limit), 1000)


def applied(check: TopLevelsCheck, book: OrderBook, part: DepthDiff) -> Mismatch | None:
    """Return what a check finds when a book applies a diff."""
    before = book.last_update_id
    book.apply(part)
    return check.on_diff(book, before, part)


def test_a_partial_of_the_books_id_must_be_equal() -> None:
    """Every level that it has is in the book, and the book has none between them that it lacks."""
    check = TopLevelsCheck()

    assert check.on_partial(book_at(10), partial(10)) is None
    assert (check.compared, check.equal) == (1, 1)


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
    """Another quantity, a level too many and one too few, on either side, are returned with both versions."""
    check = TopLevelsCheck()

    assert check.on_partial(book_at(10), partial(10, bids, asks)) == Mismatch(10, ours, theirs)
    assert (check.compared, check.equal) == (1, 0)


def test_levels_beyond_those_of_a_partial_are_not_compared() -> None:
    """What our book has beyond its last level is no difference, and an empty side is none either."""
    check = TopLevelsCheck()

    assert check.on_partial(book_at(10), partial(10, BIDS[:1], [])) is None


def test_levels_outside_the_known_window_are_not_compared() -> None:
    """What lies outside the known window cannot be wrong."""
    check = TopLevelsCheck()

    assert check.on_partial(book_at(10, limit=3), partial(10, [*BIDS, (97.0, 1.0)])) is None


def test_a_partial_ahead_of_the_book_waits_for_it() -> None:
    """A newer partial depth is compared once the book has come to its id, or past it."""
    check, book = TopLevelsCheck(), book_at(10)
    check.on_partial(book, partial(12, [(100.0, 7.0)]))

    assert applied(check, book, diff(11, 11)) is None
    assert check.compared == 0
    assert applied(check, book, diff(12, 12, [(100.0, 7.0)])) is None
    assert (check.compared, check.equal) == (1, 1)


def test_partial_with_a_false_id_is_forgotten_with_the_next() -> None:
    """It waits for the book to come to its id no longer than until the stream goes on below it."""
    check, book = TopLevelsCheck(), book_at(10)
    check.on_partial(book, partial(12, [(100.0, 7.0)]))
    check.on_partial(book, partial(10))

    assert applied(check, book, diff(11, 12)) is None
    assert (check.compared, check.equal) == (1, 1)


def test_partial_within_a_diff_is_compared_except_for_its_levels() -> None:
    """What the diff changes may have had any quantity at that id; all else must be equal."""
    check, book = TopLevelsCheck(), book_at(10)
    applied(check, book, diff(11, 15, [(100.0, 7.0)]))

    assert check.on_partial(book, partial(12, [(100.0, 6.0), *BIDS[1:]])) is None
    assert check.on_partial(book, partial(10)) is None
    assert (check.compared, check.equal) == (2, 2)
    assert check.on_partial(book, partial(12, [(100.0, 6.0), (99.0, 9.0)])) == Mismatch(
        12, [[99.0, 3.0]], [[99.0, 9.0]]
    )


def test_partial_from_before_the_last_diff_is_not_compared() -> None:
    """What the book was then is no longer known; without any diff neither."""
    check, book = TopLevelsCheck(), book_at(10)
    wrong = partial(9, [(100.0, 99.0)])

    assert check.on_partial(book, wrong) is None
    applied(check, book, diff(11, 11))
    assert check.on_partial(book, wrong) is None
    assert check.compared == 0


def test_restart_discards_the_partial_that_waits() -> None:
    """After a restart neither what waited nor the last diff counts."""
    check, book = TopLevelsCheck(), book_at(10)
    applied(check, book, diff(11, 15))
    check.on_partial(book, partial(20, [(100.0, 99.0)]))
    check.restart()

    assert check.on_partial(book, partial(12, [(100.0, 99.0)])) is None
    assert applied(check, book, diff(16, 20)) is None
    assert check.compared == 0


@unhurried
@given(changes, changes, cuts, st.randoms(use_true_random=False), st.integers(1, 12))
def test_true_partials_never_mismatch(
    start: list[Change], stream: list[Change], sizes: list[int], rng: random.Random, limit: int
) -> None:
    """However partials of any id fall between the diffs, a true book has no mismatch."""
    truth = Truth(start, stream)
    book, check = OrderBook(truth.snapshot(FIRST_ID, limit), 1000), TopLevelsCheck()
    for part in truth.diffs(sizes):
        at = rng.randint(FIRST_ID, truth.last_id)
        top = truth.snapshot(at, 5)

        assert check.on_partial(book, PartialDepth(at, top.bids, top.asks)) is None
        assert applied(check, book, part) is None
    assert check.compared == check.equal


@pytest.mark.proves("false-level")
@unhurried
@given(changes, changes, cuts, st.integers(0, 4))
def test_wrong_book_is_found_by_the_next_partial(
    start: list[Change], stream: list[Change], sizes: list[int], place: int
) -> None:
    """One wrong quantity among the best levels is found by the first partial of the book's own id."""
    truth = Truth(start, stream)
    book, check = OrderBook(truth.snapshot(FIRST_ID), 1000), TopLevelsCheck()
    for part in truth.diffs(sizes):
        applied(check, book, part)
    top = book.bids.top(5)
    if place < len(top):
        book.bids.apply(levels([(top[place][0], 9.5)]))
    theirs = truth.snapshot(truth.last_id, 5)
    mismatch = check.on_partial(book, PartialDepth(truth.last_id, theirs.bids, theirs.asks))

    assert (mismatch is not None) is (place < len(top))


def touches_of(truth: Truth, sizes: list[int]) -> list[Touch]:
    """Return the best levels after each diff that leaves both sides with one."""
    book, touches = OrderBook(truth.snapshot(FIRST_ID), 1000), []
    for part in truth.diffs(sizes):
        book.apply(part)
        bid, ask = book.bids.best(), book.asks.best()
        if bid is not None and ask is not None:
            touches.append(Touch(book.last_update_id, bid, ask))
    return touches


def interleaved(touches: list[Touch], tickers: list[BookTicker], rng: random.Random) -> list[Touch | BookTicker]:
    """Return both streams in one, each in its own order."""
    turns = [True] * len(touches) + [False] * len(tickers)
    rng.shuffle(turns)
    left, right = iter(touches), iter(tickers)
    return [next(left) if turn else next(right) for turn in turns]
