"""Joining depth diffs to a snapshot: the exchange's rule for a local order book, as a small machine without I/O.

Rules (Binance, "How to manage a local order book correctly", as corrected on 2025-11-12). With L the snapshot's
id and B the id of the local book:
1. Diffs are kept from before the snapshot is asked for.
2. A snapshot older than the first kept diff allows (L + 1 < its first id) is of no use: ask again, keep the diffs.
3. Diffs with final id <= L are dropped; the first used has first id <= L + 1 <= final id.
4. Each next diff: final id <= B is old or repeated; first id > B + 1 is a gap; anything else applies, and B
   becomes its final id (an overlap is safe, quantities are absolute).
5. A diff that begins inside the one applied last shows that the last one's final id was false: the stream cannot
   have been so far. Rule 4 alone would call all that follows old, for ever.
After a gap the diffs go on being kept, so that one new snapshot is enough.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from pulse.market.types import DepthDiff, DepthSnapshot


class Verdict(Enum):
    """What is to be done with a diff."""

    DELIVER = auto()  # it joins: apply it
    HOLD = auto()  # no book to join yet: it is kept
    OLD = auto()  # the book already has it
    GAP = auto()  # diffs before it are missing: the book is lost, this one is kept
    INCONSISTENT = auto()  # the book's id ran ahead of the stream's: the book is lost, this one is kept


@dataclass(frozen=True, slots=True)
class BookAnchor:
    """A snapshot and the diffs that follow it without a gap: a whole book at the last one's final id."""

    snapshot: DepthSnapshot
    diffs: tuple[DepthDiff, ...]


class DepthSync:
    """Decides, diff by diff, what joins. `is_joined` tells whether a book is being continued."""

    def __init__(self, held_max: int) -> None:
        self._held: deque[DepthDiff] = deque(maxlen=held_max)
        self._ahead: DepthSnapshot | None = None  # a snapshot newer than the stream, waiting for it
        self._last_first_id = 0  # where the diff applied last begins
        self._last_update_id = 0
        self._keeps = True
        self.is_joined = False

    def restart(self) -> None:
        """Forget everything: a new connection begins, and what was missed between is unknown."""
        self._held.clear()
        self._ahead = None
        self._keeps = True
        self.is_joined = False

    def lose(self) -> None:
        """Stop continuing the book, but keep the diffs that the next snapshot may join."""
        self._keeps = True
        self.is_joined = False

    def expect_snapshot(self) -> None:
        """A snapshot is about to be asked for: keep diffs from now on, also while the book continues."""
        self._keeps = True

    def on_diff(self, diff: DepthDiff) -> Verdict:
        """Take the next diff of the stream."""
        if not self.is_joined:
            self._hold(diff)
            return Verdict.HOLD
        if diff.final_update_id <= self._last_update_id:
            return (
                self._give_up(diff, Verdict.INCONSISTENT) if diff.first_update_id > self._last_first_id else Verdict.OLD
            )
        if diff.first_update_id > self._last_update_id + 1:
            return self._give_up(diff, Verdict.GAP)
        self._last_first_id, self._last_update_id = diff.first_update_id, diff.final_update_id
        if self._keeps:
            self._held.append(diff)
        return Verdict.DELIVER

    def on_snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot; False means it is older than the kept diffs allow and another is needed.

        True means that `take_anchor` gives the book, at once or after the diffs that the snapshot is ahead of.
        """
        if not self._held and not self.is_joined:
            # Nothing was heard yet, so nothing shows that the stream reaches back to the snapshot: the first
            # diff will tell.
            self._ahead = snapshot
            return True
        if self._held:
            reaches_back = self._held[0].first_update_id <= snapshot.last_update_id + 1
        else:
            reaches_back = snapshot.last_update_id >= self._last_update_id
        if reaches_back:
            self._ahead = snapshot
            # It may come unasked, as in a recording; what follows until it is reached belongs to its book.
            self._keeps = True
        return reaches_back

    def reaches(self, diff: DepthDiff) -> bool:
        """Whether a diff would follow on without a gap; with no book to continue, any does."""
        return not self.is_joined or diff.first_update_id <= self._last_update_id + 1

    def take_anchor(self) -> BookAnchor | None:
        """The book that the snapshot and the kept diffs make, once; None while there is none to make."""
        snapshot = self._ahead
        if snapshot is None or not self._reaches(snapshot):
            return None
        self._ahead = None
        self._keeps = False
        diffs = tuple(d for d in self._held if d.final_update_id > snapshot.last_update_id)
        self._held.clear()
        if diffs and diffs[0].first_update_id > snapshot.last_update_id + 1:
            self.lose()
            self._held.extend(diffs)
            return None
        if not self.is_joined:
            self._last_update_id = diffs[-1].final_update_id if diffs else snapshot.last_update_id
            # With no diff after it the snapshot's own id is the mark: those up to it are old, wherever they begin.
            self._last_first_id = diffs[-1].first_update_id if diffs else snapshot.last_update_id
            self.is_joined = True
        return BookAnchor(snapshot, diffs)

    @property
    def wants_snapshot(self) -> bool:
        """Whether no book is continued and no snapshot waits to be joined."""
        return not self.is_joined and self._ahead is None

    def _reaches(self, snapshot: DepthSnapshot) -> bool:
        if self.is_joined:
            # A second book is compared with the first, so both must stand at the same id.
            return self._last_update_id >= snapshot.last_update_id
        return bool(self._held)

    def _give_up(self, diff: DepthDiff, why: Verdict) -> Verdict:
        """The book cannot be continued from here; what is heard from now on is kept for the next one."""
        self.lose()
        self._ahead = None
        self._held.clear()
        self._hold(diff)
        return why

    def _hold(self, diff: DepthDiff) -> None:
        if self._held and _is_apart(self._held[-1], diff):
            self._held.clear()
        if self._held and diff.final_update_id <= self._held[-1].final_update_id:
            return
        self._held.append(diff)


def _is_apart(last: DepthDiff, diff: DepthDiff) -> bool:
    """Whether a diff does not continue the one before: ids between are missing, or the last one's final id is false."""
    starts_inside = last.first_update_id < diff.first_update_id and diff.final_update_id <= last.final_update_id
    return starts_inside or diff.first_update_id > last.final_update_id + 1
