"""Whether a book may be called live: the results of its cross-checks, its incidents, and since when it is contiguous.

A book is trusted from the moment it joins until there is evidence against it: a gap, crossed prices, a cross-check that
differs. Then it is not trusted, at once; the reason and both versions are kept, and only a new snapshot, joined to the
diffs, makes it trusted again. Where the new book differs from the tickers too, a partial depth at its id decides: two
that agree show that the ticker is at fault, whose id may be false.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pulse.market.cross_checks import INCIDENTS_MAX, Incident, Mismatch, TopLevelsCheck, Touch, TouchCheck
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, PartialDepth
from pulse.market.view import ProofView

SHOWN_LEVELS_MAX = 20
"""Differing levels that an incident shows at most; its reason has their number."""
CROSSED = "best bid and best ask crossed"
CROSSED_SNAPSHOT = "the exchange's snapshot has crossed prices"
DIFFERS = {
    "touch": "best bid and ask differ from the exchange's own at id %s",
    "top": "the best levels differ from the exchange's own at id %s",
}
"""Reasons of a failed cross-check, by its cause."""


@dataclass(slots=True)
class _AuditCounts:
    """Counts of the audits, comparisons of the whole book with a second one, and the levels of the last."""

    count: int = 0
    time_ms: int = 0
    compared: int = 0
    differing: int = 0
    last_compared: int = 0
    last_differing: int = 0

    def add(self, compared: int, differing: int, time_ms: int) -> None:
        """Count an audit at this exchange time."""
        self.count += 1
        self.time_ms = time_ms
        self.compared += compared
        self.differing += differing
        self.last_compared, self.last_differing = compared, differing


class BookIntegrity:
    """Decides whether one symbol's book is trusted. `time_ms` is the exchange's time, in ms since the epoch.

    `reason` is why the book is not trusted. `resync_request`, when not empty, is why a new snapshot must be requested
    although the stream itself shows no gap.
    """

    def __init__(self) -> None:
        self.is_trusted = False
        self.reason = ""
        self.resync_request = ""
        self.resyncs = 0  # times that a trusted book was lost
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS_MAX)  # newest first
        self.incident_count = 0
        self.touch = TouchCheck()
        self.top = TopLevelsCheck()
        self._partial: PartialDepth | None = None  # the newest of this connection
        self._doubted_id = -1  # of a new book that differs from a ticker, while it is the exchange's newest
        self.audit = _AuditCounts()
        self.since_id = 0
        self.since_ms = 0
        self.diffs_applied = 0
        self.newest_touch: Touch | None = None  # the best levels after the newest diff or anchor

    def pop_resync_request(self) -> str:
        """Return and clear the reason of the pending request; empty if there is none."""
        reason, self.resync_request = self.resync_request, ""
        return reason

    def disconnected(self, *, is_end: bool = False) -> None:
        """End the trust without an incident: what follows the book is unknown, but nothing contradicts it.

        At the end of the source nothing follows, so no book is counted as lost.
        """
        resyncs = self.resyncs
        self._distrust(self.reason)
        if is_end:
            self.resyncs = resyncs

    def connected(self, reason: str) -> None:
        """Start the cross-checks of a new connection; there is no book yet, for this reason."""
        self._distrust(reason)
        self.touch.restart()
        self.top.restart()
        self._partial = None

    def gap(self, book: OrderBook | None, reason: str, time_ms: int) -> None:
        """End the trust because the stream cannot continue the book."""
        if self.is_trusted and book is not None:
            self._add_incident("gap", reason, time_ms, Mismatch(book.last_update_id, [], []))
        self._distrust(reason)

    def anchored(self, current: OrderBook | None, second: OrderBook, diffs: int, time_ms: int) -> OrderBook | None:
        """Take a second book, made of a snapshot and `diffs` diffs; return the one to continue, None if there is none.

        Where both are at the same id they are compared (an audit): if they agree, the first goes on.
        """
        running = current if self.is_trusted else None
        if second.is_crossed():
            # The snapshot is at fault, not the running book: that one goes on, and another snapshot is requested.
            self._add_incident("snapshot", CROSSED_SNAPSHOT, time_ms, Mismatch(second.last_update_id, [], []))
            self.reason = self.resync_request = CROSSED_SNAPSHOT
            return running
        is_same_id = running is not None and running.last_update_id == second.last_update_id
        if running is not None and is_same_id and self._audit(running, second, time_ms):
            return running
        self.since_id, self.since_ms = second.last_update_id, time_ms
        self.diffs_applied = diffs
        self.touch.clear_pending()
        self.top.restart()
        self.is_trusted = True
        self._check_touch(second, time_ms)
        if not self.is_trusted:
            self._doubted_id = second.last_update_id
            self._confirm(second)
        return second

    def skipped(self) -> None:
        """Note that a book that is not trusted has not applied a diff: it is not the exchange's newest any more."""
        self._doubted_id = -1

    def applied(self, book: OrderBook, before_id: int, diff: DepthDiff, time_ms: int) -> None:
        """Check the book after it has applied a diff; `before_id` is its id before that."""
        self.diffs_applied += 1
        self.since_ms = self.since_ms or time_ms  # a book may join before any event with a time
        if book.is_crossed():
            self._resync("crossed", CROSSED, time_ms, Mismatch(book.last_update_id, [], []))
            return
        self._check_touch(book, time_ms)
        self._handle("top", self.top.on_diff(book, before_id, diff), time_ms)

    def ticker(self, ticker: BookTicker, time_ms: int) -> None:
        """Compare with the exchange's best bid and ask."""
        self._handle("touch", self.touch.on_ticker(ticker), time_ms)
        if not self.is_trusted:
            self.touch.keep_newest()

    def partial(self, book: OrderBook, partial: PartialDepth, time_ms: int) -> None:
        """Compare with the exchange's best levels."""
        self._partial = partial
        if self.is_trusted:
            self._handle("top", self.top.on_partial(book, partial), time_ms)
        else:
            self._confirm(book)

    def _confirm(self, book: OrderBook) -> None:
        """Trust a new book that differs from a ticker, if a partial depth at its id equals it."""
        partial = self._partial
        if partial is None or not partial.last_update_id == book.last_update_id == self._doubted_id:
            return
        is_equal = all(
            levels.prices and side.best() == (levels.prices[0], levels.quantities[0])
            for side, levels in ((book.bids, partial.bids), (book.asks, partial.asks))
        )
        if is_equal and self.top.on_partial(book, partial) is None:
            self.touch.restart()
            self.is_trusted = True

    def view(self, silent_checks: Sequence[str] = ()) -> ProofView:
        """Return the counts as a view shows them, with the checks that confirm nothing now."""
        return ProofView(
            contiguous_since_ms=self.since_ms if self.is_trusted else 0,
            touch_compared=self.touch.compared,
            touch_equal=self.touch.equal,
            top_compared=self.top.compared,
            top_equal=self.top.equal,
            audits=self.audit.count,
            audited_ms=self.audit.time_ms,
            levels_compared=self.audit.compared,
            levels_differing=self.audit.differing,
            resyncs=self.resyncs,
            incidents=self.incident_count,
            silent_checks=list(silent_checks),
        )

    def _audit(self, current: OrderBook, second: OrderBook, time_ms: int) -> bool:
        """Compare two books at the same id where both are exact; if they agree, extend the first with the second."""
        sides = ((current.bids, second.bids), (current.asks, second.asks))
        compared = 0
        differing: list[tuple[float, float, float]] = []
        for ours, theirs in sides:
            levels, found = ours.differences(theirs)
            compared += levels
            differing += found
        self.audit.add(compared, len(differing), time_ms)
        if not differing:
            for ours, theirs in sides:
                ours.extend_with(theirs)
            return True
        reason = f"{len(differing)} of {compared} levels differ from the exchange's snapshot"
        shown = differing[:SHOWN_LEVELS_MAX]
        ours_shown = [[price, quantity] for price, quantity, _ in shown]
        theirs_shown = [[price, quantity] for price, _, quantity in shown]
        self._add_incident("whole", reason, time_ms, Mismatch(current.last_update_id, ours_shown, theirs_shown))
        self._distrust(reason)
        return False

    def _check_touch(self, book: OrderBook, time_ms: int) -> None:
        bid, ask = book.bids.best(), book.asks.best()
        self.newest_touch = None
        if bid is not None and ask is not None:
            self.newest_touch = touch = Touch(book.last_update_id, bid, ask)
            self._handle("touch", self.touch.on_touch(touch), time_ms)

    def _handle(self, cause: str, mismatch: Mismatch | None, time_ms: int) -> None:
        """End the trust where a cross-check found a mismatch."""
        if mismatch is not None and self.is_trusted:
            self._resync(cause, DIFFERS[cause] % mismatch.update_id, time_ms, mismatch)

    def _resync(self, cause: str, reason: str, time_ms: int, mismatch: Mismatch) -> None:
        """End the trust and request a new snapshot: the stream itself shows nothing of a failed check."""
        self._add_incident(cause, reason, time_ms, mismatch)
        self._distrust(reason)
        self.resync_request = reason

    def _distrust(self, reason: str) -> None:
        self.resyncs += self.is_trusted
        self.is_trusted = False
        self.reason = reason
        self._doubted_id = -1
        self.touch.clear_pending()

    def _add_incident(self, cause: str, reason: str, time_ms: int, mismatch: Mismatch) -> None:
        self.incident_count += 1
        self.incidents.appendleft(Incident(time_ms, cause, reason, mismatch.update_id, mismatch.ours, mismatch.theirs))
