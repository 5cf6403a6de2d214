"""Joining diffs to snapshots: the exchange's rule by example, and a transport that loses, repeats and reorders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.depth_sync import DIFF_BYTES, LEVEL_BYTES, BookAnchor, DepthSync, DiffOutcome
from pulse.market.order_book import OrderBook
from pulse.market.types import DepthDiff
from tests.support.book_truth import FIRST_ID, Change, Truth, changes, cuts, is_true
from tests.support.makers import MIDNIGHT_MS, diff, snapshot, unhurried


def sync_with(*diffs: DepthDiff, held_max: int = 100) -> DepthSync:
    """Return a state machine that has taken these diffs and no snapshot."""
    sync = DepthSync(held_max)
    for part in diffs:
        sync.on_diff(part)
    return sync


def joined_at(update_id: int) -> DepthSync:
    """Return a state machine whose book is at this id."""
    sync = sync_with(diff(update_id, update_id))
    assert sync.on_snapshot(snapshot(update_id - 1))
    assert sync.take_anchor() is not None
    return sync


def test_diffs_before_the_snapshot_are_held() -> None:
    """Rule 1: without a book a diff is held, and a snapshot is wanted."""
    sync = DepthSync(10)

    assert sync.on_diff(diff(1, 2)) is DiffOutcome.HOLD
    assert (sync.is_joined, sync.wants_snapshot, sync.take_anchor()) == (False, True, None)


def test_a_snapshot_older_than_the_held_diffs_is_refused() -> None:
    """Rule 2: a gap between snapshot and stream makes it useless; the diffs stay for the next."""
    sync = sync_with(diff(12, 13))

    assert not sync.on_snapshot(snapshot(10))
    assert sync.wants_snapshot
    assert sync.on_snapshot(snapshot(11))


def test_the_anchor_is_the_snapshot_and_the_diffs_after_it() -> None:
    """Rule 3: held diffs up to the snapshot's id are dropped, the one across it is used."""
    sync = sync_with(diff(5, 8), diff(9, 12), diff(13, 13))
    sync.on_snapshot(snapshot(10))

    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(9, 12), diff(13, 13)))
    assert (sync.is_joined, sync.wants_snapshot, sync.take_anchor()) == (True, False, None)


def test_snapshot_at_the_last_held_diff_is_the_anchor() -> None:
    """Where the snapshot already has every held diff, it is the anchor alone."""
    sync = sync_with(diff(5, 8))
    sync.on_snapshot(snapshot(8))

    assert sync.take_anchor() == BookAnchor(snapshot(8), ())
    assert sync.on_diff(diff(9, 9)) is DiffOutcome.DELIVER


def test_snapshot_before_the_first_diff_waits_for_it() -> None:
    """Before any diff has arrived, the first one shows whether the snapshot joins."""
    sync = DepthSync(10)

    assert sync.on_snapshot(snapshot(10))
    assert (sync.take_anchor(), sync.wants_snapshot) == (None, False)
    sync.on_diff(diff(9, 12))
    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(9, 12),))


def test_waiting_snapshot_older_than_the_first_diff_is_dropped() -> None:
    """Where the first diff shows a gap after the snapshot, the diff is held for the next one."""
    sync = DepthSync(10)
    sync.on_snapshot(snapshot(10))
    sync.on_diff(diff(12, 13))

    assert (sync.take_anchor(), sync.wants_snapshot) == (None, True)
    sync.on_snapshot(snapshot(11))
    assert sync.take_anchor() == BookAnchor(snapshot(11), (diff(12, 13),))


@pytest.mark.parametrize(
    ("first", "final", "outcome"),
    [
        (11, 11, DiffOutcome.DELIVER),
        (11, 20, DiffOutcome.DELIVER),
        (8, 11, DiffOutcome.DELIVER),  # an overlap is safe: quantities are absolute
        (10, 10, DiffOutcome.OLD),
        (5, 9, DiffOutcome.OLD),
        (12, 12, DiffOutcome.GAP),
    ],
)
def test_outcome_of_a_diff(first: int, final: int, outcome: DiffOutcome) -> None:
    """Rule 4: after a book at id 10, a diff that overlaps or follows joins, a covered one is old, a later one a gap."""
    sync = joined_at(10)

    assert sync.on_diff(diff(first, final)) is outcome
    assert sync.is_joined is (outcome is not DiffOutcome.GAP)


@pytest.mark.parametrize(("first", "follows"), [(5, True), (11, True), (12, False)])
def test_whether_a_diff_would_follow(first: int, follows: bool) -> None:
    """A diff can be tried before it is taken: it reaches the book where it overlaps or follows on."""
    assert joined_at(10).reaches(diff(first, 20)) is follows
    assert DepthSync(10).reaches(diff(first, 20))


def test_false_final_id_is_found_by_the_next_diff() -> None:
    """Rule 5: a diff that begins inside the last one shows that the book's id is false; the next snapshot joins."""
    sync = joined_at(10)
    sync.on_diff(diff(11, 900))

    assert sync.on_diff(diff(14, 16)) is DiffOutcome.INCONSISTENT
    assert sync.wants_snapshot
    sync.on_snapshot(snapshot(15))
    assert sync.take_anchor() == BookAnchor(snapshot(15), (diff(14, 16),))


def test_held_diff_with_a_false_final_id_is_dropped() -> None:
    """What follows a held diff whose final id is false begins the run that a snapshot may join."""
    sync = sync_with(diff(11, 900), diff(14, 16), diff(17, 18))

    assert not sync.on_snapshot(snapshot(12))
    assert sync.on_snapshot(snapshot(13))


def test_repetition_of_the_last_diff_is_old() -> None:
    """A repetition begins where the one applied last began."""
    sync = joined_at(10)
    sync.on_diff(diff(11, 15))

    assert sync.on_diff(diff(11, 15)) is DiffOutcome.OLD


def test_after_a_gap_one_snapshot_is_enough() -> None:
    """The diff that showed the gap, and those after it, are held for the next snapshot."""
    sync = joined_at(10)
    sync.on_diff(diff(15, 16))
    sync.on_diff(diff(17, 17))
    sync.on_snapshot(snapshot(15))

    assert sync.take_anchor() == BookAnchor(snapshot(15), (diff(15, 16), diff(17, 17)))


def test_gap_discards_a_waiting_snapshot() -> None:
    """A snapshot ahead of the stream was to be compared with the book that is now lost."""
    sync = joined_at(10)
    sync.on_snapshot(snapshot(20))
    sync.on_diff(diff(15, 16))

    assert sync.wants_snapshot


def test_gap_among_held_diffs_drops_those_before_it() -> None:
    """Only an unbroken run of diffs can follow a snapshot."""
    sync = sync_with(diff(1, 2), diff(5, 6))

    assert not sync.on_snapshot(snapshot(1))
    assert sync.on_snapshot(snapshot(4))


def test_a_repeated_diff_is_held_once() -> None:
    """A diff that ends at or before the last held one is not held."""
    sync = sync_with(diff(1, 2), diff(3, 4), diff(1, 2), diff(3, 4))
    sync.on_snapshot(snapshot(0))
    anchor = sync.take_anchor()

    assert anchor is not None
    assert anchor.diffs == (diff(1, 2), diff(3, 4))


def test_held_diffs_are_bounded() -> None:
    """When too many are held the oldest are dropped, and a snapshot that would need them is refused."""
    sync = sync_with(diff(1, 1), diff(2, 2), diff(3, 3), held_max=2)

    assert not sync.on_snapshot(snapshot(0))
    assert sync.on_snapshot(snapshot(1))


def test_restart_discards_everything() -> None:
    """Neither the book nor what was held outlives a connection."""
    sync = joined_at(10)
    sync.on_snapshot(snapshot(20))
    sync.restart()

    assert sync.wants_snapshot
    assert sync.on_diff(diff(11, 11)) is DiffOutcome.HOLD


def test_a_second_snapshot_makes_a_book_at_the_running_ones_id() -> None:
    """Diffs are held from the moment a second snapshot is requested, while the book goes on."""
    sync = joined_at(10)
    sync.expect_snapshot()

    assert [sync.on_diff(diff(i, i)) for i in (11, 12, 13)] == [DiffOutcome.DELIVER] * 3
    assert sync.on_snapshot(snapshot(11))
    assert sync.take_anchor() == BookAnchor(snapshot(11), (diff(12, 12), diff(13, 13)))
    assert sync.on_diff(diff(14, 14)) is DiffOutcome.DELIVER


def test_waiting_snapshot_may_be_dropped() -> None:
    """Where its id turns out to be false; the diffs stay for the next one."""
    sync = sync_with()
    assert sync.waiting_id is None
    assert sync.on_snapshot(snapshot(999))
    assert sync.waiting_id == 999
    sync.on_diff(diff(11, 11))
    sync.drop_snapshot()

    assert (sync.waiting_id, sync.wants_snapshot, sync.take_anchor()) == (None, True, None)
    assert sync.on_snapshot(snapshot(10))
    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(11, 11),))


def test_second_snapshot_older_than_its_request_is_refused() -> None:
    """Diffs from before the request were not held, so an older snapshot cannot be brought up to the book."""
    sync = joined_at(10)
    sync.expect_snapshot()

    assert not sync.on_snapshot(snapshot(9))
    sync.on_diff(diff(11, 11))
    assert not sync.on_snapshot(snapshot(9))
    assert sync.on_snapshot(snapshot(10))


@pytest.mark.parametrize("is_requested", [True, False])
def test_a_second_snapshot_ahead_of_the_book_waits_for_it(is_requested: bool) -> None:
    """A snapshot newer than the book is compared once the book is at its id or beyond, requested or not."""
    sync = joined_at(10)
    if is_requested:
        sync.expect_snapshot()

    assert sync.on_snapshot(snapshot(12))
    assert sync.take_anchor() is None
    sync.on_diff(diff(11, 11))
    assert sync.take_anchor() is None
    sync.on_diff(diff(12, 14))
    assert sync.take_anchor() == BookAnchor(snapshot(12), (diff(12, 14),))


def test_diffs_are_held_until_every_expected_snapshot_has_come() -> None:
    """The first that joins leaves the second the diffs that it needs, and then nothing is held."""
    sync = joined_at(10)
    sync.expect_snapshot()
    sync.expect_snapshot()
    sync.on_diff(diff(11, 11))
    assert sync.on_snapshot(snapshot(10))
    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(11, 11),))
    sync.expect_no_snapshot()
    sync.on_diff(diff(12, 12))

    assert sync.on_snapshot(snapshot(10))
    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(11, 11), diff(12, 12)))
    sync.expect_no_snapshot()
    assert sync.held_bytes == 0
    sync.on_diff(diff(13, 13))
    assert sync.held_bytes == 0


def test_diffs_before_the_first_snapshots_id_are_not_kept_for_the_second() -> None:
    """A book made of them would be behind the running one."""
    sync = sync_with(diff(5, 8))
    sync.expect_snapshot()
    sync.expect_snapshot()
    assert sync.on_snapshot(snapshot(9))
    assert sync.take_anchor() == BookAnchor(snapshot(9), ())

    assert not sync.on_snapshot(snapshot(8))
    sync.on_diff(diff(9, 10))
    assert sync.on_snapshot(snapshot(8))
    assert sync.take_anchor() == BookAnchor(snapshot(8), (diff(9, 10),))


def test_snapshot_that_waits_for_the_stream_keeps_its_diffs() -> None:
    """It has come, and is expected no more, but its book needs the diffs after it."""
    sync = joined_at(10)
    sync.expect_snapshot()
    sync.on_snapshot(snapshot(12))
    sync.expect_no_snapshot()
    sync.on_diff(diff(11, 12))
    sync.on_diff(diff(13, 13))

    assert sync.take_anchor() == BookAnchor(snapshot(12), (diff(13, 13),))
    assert sync.held_bytes == 0


def test_snapshot_that_could_not_be_fetched_leaves_a_lost_book_its_diffs() -> None:
    """Without a book the next snapshot needs them."""
    sync = sync_with(diff(11, 11))
    sync.expect_snapshot()
    sync.expect_no_snapshot()

    assert sync.on_snapshot(snapshot(10))


steps = st.lists(
    st.tuples(
        st.sampled_from(["next"] * 6 + ["drop", "repeat", "swap", "ask", "answered", "snapshot", "early", "restart"]),
        st.integers(0, 9),
    ),
    max_size=40,
)


@unhurried
@given(changes, changes, cuts, steps)
def test_book_is_true_whatever_the_transport_does(
    start: list[Change], stream: list[Change], sizes: list[int], steps: list[tuple[str, int]]
) -> None:
    """Diffs lost, repeated, reordered, snapshots late or early: what is delivered joins, and each anchor is true."""
    truth = Truth(start, stream)
    receiver = Receiver(truth)
    todo = truth.diffs(sizes)
    at = asked = 0
    for step, amount in steps:
        if step == "swap":
            todo[at : at + 2] = reversed(todo[at : at + 2])
        elif step == "ask":
            receiver.sync.expect_snapshot()
            asked += 1
        elif step == "answered":
            if asked:
                receiver.sync.expect_no_snapshot()
            asked = max(0, asked - 1)
        elif step == "restart":
            receiver.restart()
        elif step in ("snapshot", "early"):
            now = todo[at - 1].final_update_id if at else FIRST_ID
            back = -amount if step == "early" else amount
            receiver.snapshot(min(max(now - back, FIRST_ID), truth.last_id))
        elif at < len(todo):
            if step != "drop":
                receiver.diff(todo[at])
            at += step != "repeat"


class Receiver:
    """The other end of the transport: it applies what is delivered, and compares it with the truth."""

    def __init__(self, truth: Truth) -> None:
        self.sync = DepthSync(8)
        self._truth = truth
        self._book: OrderBook | None = None

    def restart(self) -> None:
        """Begin a new connection."""
        self.sync.restart()
        self._book = None

    def diff(self, part: DepthDiff) -> None:
        """Take a diff."""
        outcome = self.sync.on_diff(part)
        if outcome is DiffOutcome.DELIVER:
            assert self._book is not None
            assert part.first_update_id <= self._book.last_update_id + 1 <= part.final_update_id
            self._book.apply(part)
            assert is_true(self._book, self._truth)
        elif outcome is DiffOutcome.OLD:
            assert self._book is not None
            assert part.final_update_id <= self._book.last_update_id
        else:
            self._book = None
        self._anchor()

    def snapshot(self, update_id: int) -> None:
        """Take a snapshot of this id."""
        self.sync.on_snapshot(self._truth.snapshot(update_id, 6))
        self._anchor()

    def _anchor(self) -> None:
        anchor = self.sync.take_anchor()
        if anchor is None:
            return
        book = OrderBook(anchor.snapshot, 1000)
        for part in anchor.diffs:
            assert part.first_update_id <= book.last_update_id + 1 <= part.final_update_id
            book.apply(part)
        assert is_true(book, self._truth)
        assert self._book is None or self._book.last_update_id == book.last_update_id
        self._book = book


@pytest.mark.parametrize(("after_ms", "outcome"), [(0, DiffOutcome.OLD), (1, DiffOutcome.INCONSISTENT)])
def test_ids_that_begin_anew_lose_the_book(after_ms: int, outcome: DiffOutcome) -> None:
    """Rule 6: the third diff in a row with an old id and a later time shows it; repetitions have no later time."""
    sync = joined_at(1000)
    sync.on_diff(diff(1001, 1001))
    late = [diff(n, n, time_ms=MIDNIGHT_MS + after_ms) for n in (1, 2, 3)]

    assert [sync.on_diff(part) for part in late] == [DiffOutcome.OLD, DiffOutcome.OLD, outcome]
    assert sync.is_joined == (outcome is DiffOutcome.OLD)


def test_new_ids_join_a_new_snapshot() -> None:
    """After rule 6 the stream and a snapshot of the new ids make a book."""
    sync = joined_at(1000)
    for n in range(1, 4):
        sync.on_diff(diff(n, n, time_ms=MIDNIGHT_MS + n))

    assert sync.on_snapshot(snapshot(2))
    assert sync.take_anchor() is not None
    assert sync.on_diff(diff(4, 4)) is DiffOutcome.DELIVER


def test_book_lost_by_a_known_hole_joins_without_another_diff() -> None:
    """The stream has reached the last diff applied: a snapshot from there on is a book at once, an older one is not."""
    sync = joined_at(10)
    assert sync.lose()
    assert (sync.wants_snapshot, sync.lose()) == (True, False)

    assert not sync.on_snapshot(snapshot(9))
    assert sync.on_snapshot(snapshot(13))
    assert sync.take_anchor() == BookAnchor(snapshot(13), ())
    assert [sync.on_diff(part) for part in (diff(11, 13), diff(14, 14))] == [DiffOutcome.OLD, DiffOutcome.DELIVER]


def test_snapshot_that_does_not_reach_over_a_known_hole_shows_it() -> None:
    """It lags behind the missing diff: the next one shows the gap, and is held."""
    sync = joined_at(10)
    sync.lose()
    sync.on_snapshot(snapshot(11))
    assert sync.take_anchor() == BookAnchor(snapshot(11), ())

    assert sync.on_diff(diff(14, 14)) is DiffOutcome.GAP
    assert sync.on_snapshot(snapshot(14))
    assert sync.take_anchor() == BookAnchor(snapshot(14), ())


def test_diff_after_a_known_hole_waits_for_the_snapshot() -> None:
    """It came before the snapshot did, and follows it."""
    sync = joined_at(10)
    sync.lose()

    assert sync.on_diff(diff(14, 14)) is DiffOutcome.HOLD
    assert not sync.on_snapshot(snapshot(11))
    assert sync.on_snapshot(snapshot(13))
    assert sync.take_anchor() == BookAnchor(snapshot(13), (diff(14, 14),))


def test_memory_of_the_held_diffs_is_counted() -> None:
    """Each level counts; what is dropped, joined or replaced at the bound by count no longer does."""
    level = [(100.0, 1.0)]
    sync = DepthSync(2)
    counted = []
    for held in (diff(1, 1), diff(2, 2, level, level), diff(3, 3, level)):
        sync.on_diff(held)
        counted.append(sync.held_bytes)

    assert counted == [DIFF_BYTES, 2 * (DIFF_BYTES + LEVEL_BYTES), 2 * DIFF_BYTES + 3 * LEVEL_BYTES]
    assert sync.on_snapshot(snapshot(1))
    assert (sync.take_anchor() is not None, sync.held_bytes) == (True, 0)


@pytest.mark.parametrize("count", range(5))
def test_older_half_of_the_held_diffs_is_released(count: int) -> None:
    """A snapshot that those would have joined is of no use any more; one at the oldest that is left is."""
    sync = sync_with(*(diff(update_id, update_id) for update_id in range(1, count + 1)))
    sync.release_oldest()
    left = count // 2
    oldest = count - left + 1

    assert sync.held_bytes == left * DIFF_BYTES
    assert sync.on_snapshot(snapshot(oldest - 2)) is (left == 0)
    assert sync.on_snapshot(snapshot(oldest - 1))


def test_release_after_the_snapshot_asks_for_another() -> None:
    """The accepted snapshot waits for its id; if diffs between are released the book is not joined with a hole."""
    sync = DepthSync(10)
    sync.on_snapshot(snapshot(9))
    sync.on_diff(diff(10, 10))
    sync.on_diff(diff(11, 11))
    sync.release_oldest()

    assert (sync.take_anchor(), sync.is_joined, sync.wants_snapshot) == (None, False, True)
    assert sync.on_snapshot(snapshot(10))
    assert sync.take_anchor() == BookAnchor(snapshot(10), (diff(11, 11),))
