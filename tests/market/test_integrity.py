"""What makes a book trusted, what ends that at once, and what is kept of it."""

import pytest

from pulse.market.cross_checks import TICKERS_WITHOUT_BOOK_MAX
from pulse.market.integrity import BookIntegrity
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, DepthSnapshot, Levels, PartialDepth

TIME_MS = 1_723_161_255_208


def levels(*pairs: tuple[float, float]) -> Levels:
    """Return levels of (price, quantity) pairs."""
    return Levels([price for price, _ in pairs], [quantity for _, quantity in pairs])


BIDS = ((100.0, 5.0), (99.0, 3.0), (98.0, 2.0))
ASKS = ((101.0, 2.0), (102.0, 4.0), (103.0, 4.0))


def book_at(update_id: int, bids: tuple[tuple[float, float], ...] = BIDS) -> OrderBook:
    """Return a book of three levels a side, known no further."""
    return OrderBook(DepthSnapshot(update_id, levels(*bids), levels(*ASKS), limit=3), levels_max=100)


def diff(first: int, last: int, *bids: tuple[float, float]) -> DepthDiff:
    """Return a diff of bids alone."""
    return DepthDiff(first, last, TIME_MS, levels(*bids), levels())


def joined(update_id: int = 10) -> tuple[BookIntegrity, OrderBook]:
    """Return a trusted book and its integrity."""
    integrity = BookIntegrity()
    integrity.connected("joining")
    book = integrity.anchored(None, book_at(update_id), 0, TIME_MS)
    assert book is not None
    return integrity, book


def test_an_anchor_makes_a_book_trusted() -> None:
    """It is contiguous since the anchor's id and the exchange's time."""
    integrity, _ = joined()

    assert integrity.is_trusted
    assert (integrity.since_id, integrity.view().contiguous_since_ms) == (10, TIME_MS)


def test_book_that_joined_before_any_time_is_contiguous_since_its_first_diff() -> None:
    """A snapshot has no time of its own."""
    integrity = BookIntegrity()
    book = integrity.anchored(None, book_at(10), 0, 0)
    assert book is not None
    change = diff(11, 12, (100.0, 7.0))
    book.apply(change)
    integrity.applied(book, 10, change, TIME_MS)

    assert integrity.view().contiguous_since_ms == TIME_MS


def test_tickers_do_not_pile_up_while_there_is_no_book() -> None:
    """However long no snapshot comes."""
    integrity = BookIntegrity()
    integrity.connected("joining")
    for update_id in range(1, 4 * TICKERS_WITHOUT_BOOK_MAX):
        integrity.ticker(BookTicker(update_id, 100.0, 5.0, 101.0, 2.0), TIME_MS)

    assert len(integrity.touch._tickers) == TICKERS_WITHOUT_BOOK_MAX


def test_a_gap_is_an_incident_and_ends_the_trust() -> None:
    """The reason is kept, and no resync is requested: the stream itself shows the gap."""
    integrity, book = joined()
    integrity.gap(book, "updates are missing", TIME_MS)

    assert not integrity.is_trusted
    assert (integrity.reason, integrity.resync_request, integrity.resyncs) == ("updates are missing", "", 1)
    assert [(i.cause, i.update_id) for i in integrity.incidents] == [("gap", 10)]


def test_a_gap_before_the_book_joined_is_no_incident() -> None:
    """A book that was not trusted cannot be wrong."""
    integrity = BookIntegrity()
    integrity.gap(None, "waiting", TIME_MS)

    assert (integrity.incident_count, integrity.resyncs, integrity.reason) == (0, 0, "waiting")


def test_a_lost_connection_is_no_incident() -> None:
    """It ends the integrity, but nothing contradicts the book."""
    integrity, _ = joined()
    integrity.disconnected()

    assert (integrity.is_trusted, integrity.resyncs, integrity.incident_count) == (False, 1, 0)


def test_end_of_the_source_is_no_resync() -> None:
    """After the end of a recording nothing can join again, and nothing was lost."""
    integrity, _ = joined()
    integrity.disconnected(is_end=True)

    assert (integrity.is_trusted, integrity.resyncs, integrity.incident_count) == (False, 0, 0)


def test_crossed_prices_end_the_trust_and_request_a_snapshot() -> None:
    """Levels are never repaired by deleting them."""
    integrity, book = joined()
    crossing = diff(11, 12, (101.5, 1.0))
    book.apply(crossing)
    integrity.applied(book, 10, crossing, TIME_MS)

    assert not integrity.is_trusted
    assert integrity.pop_resync_request() == "best bid and best ask crossed"
    assert integrity.pop_resync_request() == ""
    assert integrity.incidents[0].cause == "crossed"


@pytest.mark.proves("false-level")
def test_a_differing_touch_keeps_both_versions() -> None:
    """The incident has the book's best levels and the exchange's own."""
    integrity, book = joined()
    change = diff(11, 12, (100.0, 7.0))
    book.apply(change)
    integrity.applied(book, 10, change, TIME_MS)
    integrity.ticker(BookTicker(12, 100.0, 6.0, 101.0, 2.0), TIME_MS)

    assert not integrity.is_trusted
    assert integrity.incidents[0].update_id == 12
    assert integrity.incidents[0].ours == [[100.0, 7.0], [101.0, 2.0]]
    assert integrity.incidents[0].theirs == [[100.0, 6.0], [101.0, 2.0]]


def test_an_untrusted_book_makes_no_further_incidents() -> None:
    """One fault is one incident."""
    integrity, _ = joined()
    integrity.ticker(BookTicker(9, 100.0, 9.0, 101.0, 2.0), TIME_MS)
    integrity.ticker(BookTicker(10, 100.0, 6.0, 101.0, 2.0), TIME_MS)
    integrity.ticker(BookTicker(11, 100.0, 6.0, 101.0, 2.0), TIME_MS)

    assert integrity.incident_count == 1


def test_partial_depth_of_the_same_id_is_compared_level_by_level() -> None:
    """A level that one of the two lacks differs."""
    integrity, book = joined()
    integrity.partial(book, PartialDepth(10, levels(*BIDS), levels(*ASKS)), TIME_MS)
    integrity.partial(book, PartialDepth(10, levels(BIDS[0], BIDS[2]), levels(*ASKS)), TIME_MS)

    assert (integrity.top.compared, integrity.top.equal) == (2, 1)
    assert (integrity.incidents[0].ours, integrity.incidents[0].theirs) == ([[99.0, 3.0]], [[99.0, 0.0]])


def test_partial_depth_inside_a_diff_is_compared_except_for_its_levels() -> None:
    """Between two ids only the levels that did not change can be compared."""
    integrity, book = joined()
    change = diff(11, 14, (99.0, 9.0))
    book.apply(change)
    integrity.applied(book, 10, change, TIME_MS)
    integrity.partial(book, PartialDepth(12, levels((100.0, 5.0), (99.0, 4.0), (98.0, 2.0)), levels(*ASKS)), TIME_MS)

    assert integrity.is_trusted
    assert (integrity.top.compared, integrity.top.equal) == (1, 1)


def test_a_partial_depth_ahead_of_the_book_waits_for_it() -> None:
    """It is compared with the diff that reaches its id."""
    integrity, book = joined()
    integrity.partial(book, PartialDepth(12, levels((100.0, 8.0), *BIDS[1:]), levels(*ASKS)), TIME_MS)
    compared_before = integrity.top.compared
    change = diff(11, 12, (100.0, 8.0))
    book.apply(change)
    integrity.applied(book, 10, change, TIME_MS)

    assert compared_before == 0
    assert (integrity.top.compared, integrity.top.equal) == (1, 1)


def test_partial_depth_older_than_the_last_diff_is_not_compared() -> None:
    """What the book was then is not known any more."""
    integrity, book = joined()
    integrity.partial(book, PartialDepth(9, levels((1.0, 1.0)), levels((2.0, 2.0))), TIME_MS)

    assert (integrity.top.compared, integrity.is_trusted) == (0, True)


def test_partial_depth_is_compared_only_where_the_book_is_known() -> None:
    """Levels beyond the horizon are not differences; an empty side is none either."""
    integrity, book = joined()
    integrity.partial(book, PartialDepth(10, levels(*BIDS, (97.0, 1.0)), levels()), TIME_MS)

    assert (integrity.top.equal, integrity.is_trusted) == (1, True)


def test_equal_second_book_extends_the_first() -> None:
    """A refresh that agrees is an audit, and the book gets the levels beyond its horizon."""
    integrity, book = joined()
    agreed = integrity.anchored(book, book_at(10, (*BIDS, (97.0, 1.0))), 4, TIME_MS + 5)

    assert agreed is book
    assert len(book.bids) == 4
    assert (integrity.audit.last_compared, integrity.audit.last_differing, integrity.view().audited_ms) == (
        6,
        0,
        TIME_MS + 5,
    )
    assert integrity.since_id == 10


def test_different_second_book_replaces_the_first() -> None:
    """The exchange's newer levels are kept, the differing ones are in the incident, and the trust begins anew."""
    integrity, book = joined()
    second = book_at(10, ((100.0, 5.0), (99.0, 4.0), (98.0, 2.0)))
    taken = integrity.anchored(book, second, 0, TIME_MS)

    assert taken is second
    assert (integrity.is_trusted, integrity.resyncs, integrity.audit.differing) == (True, 1, 1)
    assert (integrity.incidents[0].ours, integrity.incidents[0].theirs) == ([[99.0, 3.0]], [[99.0, 4.0]])


@pytest.mark.proves("crossed-snapshot")
def test_a_crossed_snapshot_does_not_disturb_a_running_book() -> None:
    """The snapshot is at fault: another one is requested."""
    integrity, book = joined()
    kept = integrity.anchored(book, book_at(12, ((105.0, 1.0),)), 0, TIME_MS)

    assert kept is book
    assert integrity.is_trusted
    assert "crossed" in integrity.pop_resync_request()


@pytest.mark.proves("crossed-snapshot")
def test_a_crossed_snapshot_is_never_a_book() -> None:
    """Without a running book there is none."""
    integrity = BookIntegrity()

    assert integrity.anchored(None, book_at(12, ((105.0, 1.0),)), 0, TIME_MS) is None
    assert not integrity.is_trusted


def doubted(at: int = 13) -> tuple[BookIntegrity, OrderBook]:
    """Return a new book at this id that differs from a ticker whose id is too high, and its integrity."""
    integrity = BookIntegrity()
    integrity.connected("joining")
    integrity.ticker(BookTicker(12, 100.0, 4.0, 101.0, 2.0), TIME_MS)
    integrity.ticker(BookTicker(5000, 100.0, 4.0, 101.0, 2.0), TIME_MS)
    book = integrity.anchored(None, book_at(at), 0, TIME_MS)
    assert book is not None
    assert not integrity.is_trusted
    return integrity, book


def partial(at: int, bids: tuple[tuple[float, float], ...] = BIDS) -> PartialDepth:
    """Return the exchange's partial depth at an id."""
    return PartialDepth(at, levels(*bids), levels(*ASKS))


def test_partial_depth_decides_between_a_new_book_and_a_ticker() -> None:
    """At the new book's id it equals the book: the ticker's id was false, and no ticker of that time is evidence."""
    integrity, book = doubted()
    integrity.partial(book, partial(13), TIME_MS)
    change = diff(14, 14, (99.0, 8.0))
    book.apply(change)
    integrity.applied(book, 13, change, TIME_MS)

    assert integrity.is_trusted


def test_partial_depth_before_the_new_book_decides_too() -> None:
    """It may have come before the snapshot's answer."""
    integrity, book = doubted()
    integrity.partial(book, partial(14), TIME_MS)
    assert not integrity.is_trusted

    assert integrity.anchored(book, book_at(14), 0, TIME_MS) is not None
    assert integrity.is_trusted


def test_other_partial_depths_confirm_nothing() -> None:
    """One that differs, of another id or without levels; nor any once a diff was skipped: the book is old then."""
    deeper = ((100.0, 5.0), (99.0, 9.0), (98.0, 2.0))
    for shown in (partial(13, BIDS[1:]), partial(13, deeper), partial(12), PartialDepth(13, levels(), levels(*ASKS))):
        integrity, book = doubted()
        integrity.partial(book, shown, TIME_MS)
        assert not integrity.is_trusted

    integrity, book = doubted()
    integrity.skipped()
    integrity.partial(book, partial(13), TIME_MS)
    assert not integrity.is_trusted


def test_partial_depth_confirms_no_book_of_another_fault() -> None:
    """A gap is certain: no other stream shows what was missed."""
    integrity, book = joined(13)
    integrity.gap(book, "updates are missing", TIME_MS)
    integrity.partial(book, partial(13), TIME_MS)

    assert not integrity.is_trusted
