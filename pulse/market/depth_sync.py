"""Joining depth diffs to a snapshot: the exchange's rule for a local order book, as a state machine without I/O.

Rules (Binance, "How to manage a local order book correctly", as corrected on 2025-11-12). With L the snapshot's
id and B the id of the local book:
1. Diffs are held from before the snapshot is requested.
2. A snapshot older than the first held diff allows (L + 1 < its first id) is of no use: ask again, keep the diffs.
3. Diffs with final id <= L are dropped; the first used has first id <= L + 1 <= final id.
4. Each next diff: final id <= B is old or repeated; first id > B + 1 is a gap; anything else applies, and B
   becomes its final id (an overlap is safe, quantities are absolute).
5. A diff that begins inside the one applied last shows that the last one's final id was false: the stream cannot
   have reached it. By rule 4 alone all later diffs would be old, for ever.
6. Diffs that are old by their ids, but later by their event times than the one applied last, are no repetitions:
   RESTARTED_BY of them in a row show that the exchange's ids began anew.
After a gap diffs are held again, so that one new snapshot is enough. Where a diff is known to be missing before the
next one shows it, the stream has reached the last one applied: a snapshot from there on joins without another diff.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from pulse.market.types import DepthDiff, DepthSnapshot

DIFF_BYTES, LEVEL_BYTES = 550, 64
"""About the memory of a diff, and more for each of its levels: two floats and their places in two lists."""
RESTARTED_BY = 3
NEVER_MS = 2**63
"""The time of the last diff where a book has none yet: none is later."""


class DiffOutcome(Enum):
    """How a diff relates to the local book."""

    DELIVER = auto()  # it joins: apply it
    HOLD = auto()  # there is no book to join yet: it is held
    OLD = auto()  # the book already has it
    GAP = auto()  # diffs before it are missing: the book is lost, this one is held
    INCONSISTENT = auto()  # the book's id ran ahead of the stream's: the book is lost, this one is held


@dataclass(frozen=True, slots=True)
class BookAnchor:
    """A snapshot and the diffs that follow it without a gap: a complete book at the last one's final id."""

    snapshot: DepthSnapshot
    diffs: tuple[DepthDiff, ...]


class DepthSync:
    """Decides for each diff whether it joins; at most `held_max` diffs are held, the newest.

    `is_joined`: whether there is a book that diffs continue. `held_bytes`: about the memory of the held diffs.
    """

    def __init__(self, held_max: int) -> None:
        self._held: deque[DepthDiff] = deque()
        self._held_max = held_max
        self.held_bytes = 0
        self._snapshot: DepthSnapshot | None = None  # accepted; it waits until the stream has reached it
        self._last_first_id = 0  # first id of the diff applied last
        self._last_update_id = 0
        self._last_time_ms = 0  # of the diff applied last
        self._late_old = 0  # diffs in a row that are old by their ids and later by their times
        self._expected = 0  # snapshots on their way: diffs are held for them also while the book continues
        self._has_begun = False  # diffs have arrived on this connection, though none is held: its book was lost
        self.is_joined = False

    def restart(self) -> None:
        """Discard book and diffs: a new connection begins, and what was missed before it is unknown."""
        self._release(len(self._held))
        self._snapshot = None
        self._has_begun = False
        self.is_joined = False

    def lose(self) -> bool:
        """Stop continuing the book: the next diff is missing. Return False where there is no book."""
        if not self.is_joined:
            return False
        self.restart()
        self._has_begun = True
        return True

    def expect_snapshot(self) -> None:
        """Hold diffs from now on, also while the book continues: a snapshot is about to be requested."""
        self._expected += 1

    def expect_no_snapshot(self) -> None:
        """Take back one `expect_snapshot`: the snapshot has come, or will not."""
        self._expected -= 1
        self._release_if_idle()

    def on_diff(self, diff: DepthDiff) -> DiffOutcome:
        """Take the next diff of the stream."""
        if not self.is_joined:
            self._hold(diff)
            return DiffOutcome.HOLD
        if diff.final_update_id <= self._last_update_id:
            if diff.first_update_id <= self._last_first_id:
                self._late_old += diff.event_time_ms > self._last_time_ms
                if self._late_old < RESTARTED_BY:
                    return DiffOutcome.OLD
            self._lose_book(diff)
            return DiffOutcome.INCONSISTENT
        if diff.first_update_id > self._last_update_id + 1:
            self._lose_book(diff)
            return DiffOutcome.GAP
        self._last_first_id, self._last_update_id = diff.first_update_id, diff.final_update_id
        self._last_time_ms, self._late_old = diff.event_time_ms, 0
        if self._expected or self._snapshot is not None:
            self._append(diff)
        return DiffOutcome.DELIVER

    def on_snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot; return False where it is older than the held diffs allow and another one is needed.

        True means that `take_anchor` returns the book, at once or when the stream has reached the snapshot's id.
        """
        if not self._held and not self.is_joined and not self._has_begun:
            # No diff has arrived yet, so whether the stream reaches back to the snapshot is not known: the first
            # diff will show.
            self._snapshot = snapshot
            return True
        if self._held:
            reaches_back = self._held[0].first_update_id <= snapshot.last_update_id + 1
        else:
            reaches_back = snapshot.last_update_id >= self._last_update_id
        if reaches_back:
            # It may come without a request, as in a recording; the diffs until it is reached belong to its book.
            self._snapshot = snapshot
        return reaches_back

    @property
    def waiting_id(self) -> int | None:
        """The id of the snapshot that was accepted and waits until the stream has reached it; None without one."""
        return None if self._snapshot is None else self._snapshot.last_update_id

    def drop_snapshot(self) -> None:
        """Drop the snapshot that waits: its id is false. The diffs are held for another one."""
        self._snapshot = None
        self._release_if_idle()

    def reaches(self, diff: DepthDiff) -> bool:
        """Return whether a diff would follow on without a gap; with no book to continue, any does."""
        return not self.is_joined or diff.first_update_id <= self._last_update_id + 1

    def take_anchor(self) -> BookAnchor | None:
        """Return the book that the snapshot and the held diffs make, once; None while there is none."""
        snapshot = self._snapshot
        if snapshot is None or not self._has_reached(snapshot):
            return None
        self._snapshot = None
        diffs = tuple(d for d in self._held if d.final_update_id > snapshot.last_update_id)
        if diffs and diffs[0].first_update_id > snapshot.last_update_id + 1:
            self._release(len(self._held) - len(diffs))
            self.is_joined = False
            return None
        if not self.is_joined:
            self._last_update_id = diffs[-1].final_update_id if diffs else snapshot.last_update_id
            # With no diff after it the snapshot's own id is the bound: diffs up to it are old, wherever they begin.
            self._last_first_id = diffs[-1].first_update_id if diffs else snapshot.last_update_id
            self._last_time_ms, self._late_old = diffs[-1].event_time_ms if diffs else NEVER_MS, 0
            self._has_begun = False
            self.is_joined = True
            if not diffs:
                self._release(len(self._held))  # they end before the book's id, to which a second book must come
        self._release_if_idle()
        return BookAnchor(snapshot, diffs)

    def release_oldest(self) -> None:
        """Drop the older half of the held diffs; a snapshot must then be newer."""
        self._release((len(self._held) + 1) // 2)

    @property
    def wants_snapshot(self) -> bool:
        """Whether no book is continued and no snapshot waits to be joined."""
        return not self.is_joined and self._snapshot is None

    def _has_reached(self, snapshot: DepthSnapshot) -> bool:
        """Return whether the stream has come to the snapshot's id; without a book, whether it has begun."""
        if self.is_joined:
            # A second book is compared with the first, so both must be at the same id.
            return self._last_update_id >= snapshot.last_update_id
        return bool(self._held) or self._has_begun

    def _lose_book(self, diff: DepthDiff) -> None:
        """Stop continuing the book; hold this diff and the later ones for the next snapshot."""
        self.is_joined = False
        self._snapshot = None
        self._release(len(self._held))
        self._hold(diff)

    def _release_if_idle(self) -> None:
        """Drop the held diffs where the book continues and no snapshot is on its way that they belong to."""
        if self.is_joined and not self._expected and self._snapshot is None:
            self._release(len(self._held))

    def _hold(self, diff: DepthDiff) -> None:
        """Hold a diff; only an unbroken run of diffs is held."""
        if self._held and _is_apart(self._held[-1], diff):
            self._release(len(self._held))
        if self._held and diff.final_update_id <= self._held[-1].final_update_id:
            return
        self._append(diff)

    def _append(self, diff: DepthDiff) -> None:
        if len(self._held) >= self._held_max:
            self._release(1)
        self._held.append(diff)
        self.held_bytes += _bytes_of(diff)

    def _release(self, count: int) -> None:
        """Drop the oldest held diffs."""
        for _ in range(count):
            self.held_bytes -= _bytes_of(self._held.popleft())


def _bytes_of(diff: DepthDiff) -> int:
    return DIFF_BYTES + LEVEL_BYTES * (len(diff.bids.prices) + len(diff.asks.prices))


def _is_apart(last: DepthDiff, diff: DepthDiff) -> bool:
    """Return whether a diff does not continue the last one: ids are missing, or the last one's final id is false."""
    starts_inside = last.first_update_id < diff.first_update_id and diff.final_update_id <= last.final_update_id
    return starts_inside or diff.first_update_id > last.final_update_id + 1
