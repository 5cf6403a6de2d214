"""What makes a book trusted, what ends that at once, and what is kept of it."""

from pulse.market.integrity import BookIntegrity
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, DepthSnapshot, Levels, PartialDepth

TIME_MS = 1_723_161_255_208


def levels(*pairs: tuple[float, float]) -> Levels:
    """Levels from (price, quantity) pairs."""
    return Levels([price for price, _ in pairs], [quantity for _, quantity in pairs])


BIDS = ((100.0, 5.0), (99.0, 3.0), (98.0, 2.0))
ASKS = ((101.0, 2.0), (102.0, 4.0), (103.0, 4.0))


def book_at(update_id: int, bids: tuple[tuple[float, float], ...] = BIDS) -> OrderBook:
    """A book of three levels a side, known no further."""
    return OrderBook(DepthSnapshot(update_id, levels(*bids), levels(*ASKS), limit=3), levels_max=100)


def diff(first: int, last: int, *bids: tuple[float, float]) -> DepthDiff:
    """A diff of bids alone."""
    return DepthDiff(first, last, TIME_MS, levels(*bids), levels())


def joined(update_id: int = 10) -> tuple[BookIntegrity, OrderBook]:
    """A trusted book."""
    trust = BookIntegrity()
    trust.connected("joining")
    book = trust.anchored(None, book_at(update_id), 0, TIME_MS)
    assert book is not None
    return trust, book


def test_an_anchor_makes_a_book_trusted() -> None:
    """Since when is stated by id and by the exchange's time."""
    trust, _ = joined()

    assert trust.is_trusted
    assert (trust.since_id, trust.view().contiguous_since_ms) == (10, TIME_MS)


def test_a_book_that_joined_before_any_time_was_heard_stands_since_its_first_diff() -> None:
    """A snapshot carries no time of its own."""
    trust = BookIntegrity()
    book = trust.anchored(None, book_at(10), 0, 0)
    assert book is not None
    change = diff(11, 12, (100.0, 7.0))
    book.apply(change)
    trust.applied(book, 10, change, TIME_MS)

    assert trust.view().contiguous_since_ms == TIME_MS


def test_a_gap_is_an_incident_and_ends_the_trust() -> None:
    """The reason is kept for whoever looks, and nothing has to be wished for: the feed knows."""
    trust, book = joined()
    trust.gap(book, "updates are missing", TIME_MS)

    assert not trust.is_trusted
    assert (trust.reason, trust.resync_request, trust.resyncs) == ("updates are missing", "", 1)
    assert [(i.cause, i.update_id) for i in trust.incidents] == [("gap", 10)]


def test_a_gap_before_the_book_joined_is_no_incident() -> None:
    """What was never claimed cannot be wrong."""
    trust = BookIntegrity()
    trust.gap(None, "waiting", TIME_MS)

    assert (trust.incident_count, trust.resyncs, trust.reason) == (0, 0, "waiting")


def test_a_lost_connection_is_no_incident() -> None:
    """It ends the trust, but nothing spoke against the book."""
    trust, _ = joined()
    trust.disconnected()

    assert (trust.is_trusted, trust.resyncs, trust.incident_count) == (False, 1, 0)


def test_crossed_prices_end_the_trust_and_wish_for_a_snapshot() -> None:
    """Levels are never repaired by deleting them."""
    trust, book = joined()
    crossing = diff(11, 12, (101.5, 1.0))
    book.apply(crossing)
    trust.applied(book, 10, crossing, TIME_MS)

    assert not trust.is_trusted
    assert trust.pop_resync_request() == "best bid and best ask crossed"
    assert trust.pop_resync_request() == ""
    assert trust.incidents[0].cause == "crossed"


def test_a_differing_touch_keeps_both_versions() -> None:
    """The book's best levels and the exchange's own stand side by side in the incident."""
    trust, book = joined()
    change = diff(11, 12, (100.0, 7.0))
    book.apply(change)
    trust.applied(book, 10, change, TIME_MS)
    trust.ticker(BookTicker(12, 100.0, 6.0, 101.0, 2.0), TIME_MS)

    assert not trust.is_trusted
    assert trust.incidents[0].update_id == 12
    assert trust.incidents[0].ours == [[100.0, 7.0], [101.0, 2.0]]
    assert trust.incidents[0].theirs == [[100.0, 6.0], [101.0, 2.0]]


def test_an_untrusted_book_makes_no_further_incidents() -> None:
    """One fault is told once."""
    trust, _ = joined()
    trust.ticker(BookTicker(9, 100.0, 9.0, 101.0, 2.0), TIME_MS)
    trust.ticker(BookTicker(10, 100.0, 6.0, 101.0, 2.0), TIME_MS)
    trust.ticker(BookTicker(11, 100.0, 6.0, 101.0, 2.0), TIME_MS)

    assert trust.incident_count == 1


def test_a_partial_depth_of_the_same_id_is_compared_whole() -> None:
    """Price by price, and a level that one of the two lacks differs."""
    trust, book = joined()
    trust.partial(book, PartialDepth(10, levels(*BIDS), levels(*ASKS)), TIME_MS)
    trust.partial(book, PartialDepth(10, levels(BIDS[0], BIDS[2]), levels(*ASKS)), TIME_MS)

    assert (trust.top.compared, trust.top.equal) == (2, 1)
    assert (trust.incidents[0].ours, trust.incidents[0].theirs) == ([[99.0, 3.0]], [[99.0, 0.0]])


def test_a_partial_depth_inside_a_diff_spares_what_the_diff_touches() -> None:
    """Between two ids only the levels that stood still can be compared."""
    trust, book = joined()
    change = diff(11, 14, (99.0, 9.0))
    book.apply(change)
    trust.applied(book, 10, change, TIME_MS)
    trust.partial(book, PartialDepth(12, levels((100.0, 5.0), (99.0, 4.0), (98.0, 2.0)), levels(*ASKS)), TIME_MS)

    assert trust.is_trusted
    assert (trust.top.compared, trust.top.equal) == (1, 1)


def test_a_partial_depth_ahead_of_the_book_waits_for_it() -> None:
    """The diff that reaches its id settles it."""
    trust, book = joined()
    trust.partial(book, PartialDepth(12, levels((100.0, 8.0), *BIDS[1:]), levels(*ASKS)), TIME_MS)
    compared_before = trust.top.compared
    change = diff(11, 12, (100.0, 8.0))
    book.apply(change)
    trust.applied(book, 10, change, TIME_MS)

    assert compared_before == 0
    assert (trust.top.compared, trust.top.equal) == (1, 1)


def test_a_partial_depth_older_than_the_last_diff_says_nothing() -> None:
    """What the book was then is not known any more."""
    trust, book = joined()
    trust.partial(book, PartialDepth(9, levels((1.0, 1.0)), levels((2.0, 2.0))), TIME_MS)

    assert (trust.top.compared, trust.is_trusted) == (0, True)


def test_a_partial_depth_speaks_only_of_what_the_book_knows() -> None:
    """Levels beyond the horizon are not differences; an empty side is none either."""
    trust, book = joined()
    trust.partial(book, PartialDepth(10, levels(*BIDS, (97.0, 1.0)), levels()), TIME_MS)

    assert (trust.top.equal, trust.is_trusted) == (1, True)


def test_an_equal_second_book_widens_the_first() -> None:
    """A refresh that agrees is an audit, and the book learns what lies beyond its horizon."""
    trust, book = joined()
    agreed = trust.anchored(book, book_at(10, (*BIDS, (97.0, 1.0))), 4, TIME_MS + 5)

    assert agreed is book
    assert len(book.bids) == 4
    assert (trust.audit.last_compared, trust.audit.last_differing, trust.view().audited_ms) == (6, 0, TIME_MS + 5)
    assert trust.since_id == 10


def test_a_differing_second_book_takes_the_first_one_s_place() -> None:
    """The exchange's newer account wins, the differing levels are kept, and the trust begins anew."""
    trust, book = joined()
    second = book_at(10, ((100.0, 5.0), (99.0, 4.0), (98.0, 2.0)))
    taken = trust.anchored(book, second, 0, TIME_MS)

    assert taken is second
    assert (trust.is_trusted, trust.resyncs, trust.audit.differing) == (True, 1, 1)
    assert (trust.incidents[0].ours, trust.incidents[0].theirs) == ([[99.0, 3.0]], [[99.0, 4.0]])


def test_a_crossed_snapshot_does_not_disturb_a_running_book() -> None:
    """The snapshot is at fault: another one is wished for."""
    trust, book = joined()
    kept = trust.anchored(book, book_at(12, ((105.0, 1.0),)), 0, TIME_MS)

    assert kept is book
    assert trust.is_trusted
    assert "crossed" in trust.pop_resync_request()


def test_a_crossed_snapshot_is_never_a_book() -> None:
    """Without a running book there is none."""
    trust = BookIntegrity()

    assert trust.anchored(None, book_at(12, ((105.0, 1.0),)), 0, TIME_MS) is None
    assert not trust.is_trusted
