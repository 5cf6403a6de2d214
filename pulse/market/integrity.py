"""Whether a book may be called live: what its witnesses say, what has spoken against it, and since when it stands.

A book is trusted from the moment it joins until anything speaks against it: a gap, crossed prices, a witness that
differs. Then it is not, at once, for everyone; the reason and both versions are kept, and only a new snapshot, joined
to the diffs, makes it trusted again.
"""

from collections import deque
from dataclasses import dataclass

from pulse.market.cross_checks import INCIDENTS_MAX, Incident, Mismatch, TopLevelsCheck, Touch, TouchCheck
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, PartialDepth
from pulse.market.view import ProofView

SHOWN_LEVELS_MAX = 20
"""Differing levels that an incident shows; it says how many there were."""
CROSSED = "best bid and best ask crossed"
CROSSED_SNAPSHOT = "the exchange's snapshot has crossed prices"
DIFFERS = {
    "touch": "best bid and ask differ from the exchange's own at id %s",
    "top": "the best levels differ from the exchange's own at id %s",
}


@dataclass(slots=True)
class _Audit:
    """The comparisons of whole books so far, and the last of them."""

    count: int = 0
    time_ms: int = 0
    compared: int = 0
    differing: int = 0
    last_compared: int = 0
    last_differing: int = 0

    def note(self, compared: int, differing: int, time_ms: int) -> None:
        self.count += 1
        self.time_ms = time_ms
        self.compared += compared
        self.differing += differing
        self.last_compared, self.last_differing = compared, differing


class BookIntegrity:
    """The judge of one symbol's book. `time_ms` is the exchange's time, in ms since the epoch.

    `reason` says why the book is not trusted; `wish`, when not empty, why a new snapshot must be asked for, which
    the feed cannot know by itself.
    """

    def __init__(self) -> None:
        self.is_trusted = False
        self.reason = ""
        self.wish = ""
        self.resyncs = 0  # times a trusted book was lost
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS_MAX)  # newest first
        self.incident_count = 0
        self.touch = TouchCheck()
        self.top = TopLevelsCheck()
        self.audit = _Audit()
        self.since_id = 0
        self.since_ms = 0
        self.diffs_applied = 0

    def pop_resync_request(self) -> str:
        """The wish, once."""
        wish, self.wish = self.wish, ""
        return wish

    def disconnected(self) -> None:
        """The connection is gone: what follows the book is unknown, but nothing spoke against it."""
        self._lose(self.reason)

    def connected(self, reason: str) -> None:
        """A connection begins, and its witnesses with it."""
        self._lose(reason)
        self.touch.restart()
        self.top.restart()

    def gap(self, book: OrderBook | None, reason: str, time_ms: int) -> None:
        """The feed cannot continue the book."""
        if self.is_trusted and book is not None:
            self._note("gap", reason, time_ms, Mismatch(book.last_update_id, [], []))
        self._lose(reason)

    def anchored(self, current: OrderBook | None, second: OrderBook, diffs: int, time_ms: int) -> OrderBook | None:
        """A second book was made from a snapshot: give the one to go on with, None where neither can be."""
        running = current if self.is_trusted else None
        if second.is_crossed():
            # The snapshot is at fault, not the book that runs: that one goes on, and another snapshot is asked for.
            self._note("snapshot", CROSSED_SNAPSHOT, time_ms, Mismatch(second.last_update_id, [], []))
            self.reason = self.wish = CROSSED_SNAPSHOT
            return running
        is_same_moment = running is not None and running.last_update_id == second.last_update_id
        if running is not None and is_same_moment and self._agree(running, second, time_ms):
            return running
        self.since_id, self.since_ms = second.last_update_id, time_ms
        self.diffs_applied = diffs
        self.touch.forget_pending()
        self.top.restart()
        self.is_trusted = True
        self._look_at_touch(second, time_ms)
        return second

    def applied(self, book: OrderBook, before_id: int, diff: DepthDiff, time_ms: int) -> None:
        """The book, which stood at `before_id`, has applied a diff."""
        self.diffs_applied += 1
        self.since_ms = self.since_ms or time_ms  # a book may join before anything that carries a time was heard
        if book.is_crossed():
            self._resync("crossed", CROSSED, time_ms, Mismatch(book.last_update_id, [], []))
            return
        self._look_at_touch(book, time_ms)
        self._judge("top", self.top.on_diff(book, before_id, diff), time_ms)

    def ticker(self, ticker: BookTicker, time_ms: int) -> None:
        """The exchange states its best bid and ask."""
        self._judge("touch", self.touch.on_ticker(ticker), time_ms)

    def partial(self, book: OrderBook, partial: PartialDepth, time_ms: int) -> None:
        """The exchange states its best levels."""
        self._judge("top", self.top.on_partial(book, partial), time_ms)

    def view(self) -> ProofView:
        """All of it, as a view states it."""
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
        )

    def _agree(self, current: OrderBook, second: OrderBook, time_ms: int) -> bool:
        """Compare two books of the same id where both are exact; if they agree, the first learns what it lacked."""
        sides = ((current.bids, second.bids), (current.asks, second.asks))
        compared = 0
        differing: list[tuple[float, float, float]] = []
        for ours, theirs in sides:
            levels, found = ours.differences(theirs)
            compared += levels
            differing += found
        self.audit.note(compared, len(differing), time_ms)
        if not differing:
            for ours, theirs in sides:
                ours.extend_with(theirs)
            return True
        reason = f"{len(differing)} of {compared} levels differ from the exchange's snapshot"
        shown = differing[:SHOWN_LEVELS_MAX]
        ours_shown = [[price, quantity] for price, quantity, _ in shown]
        theirs_shown = [[price, quantity] for price, _, quantity in shown]
        self._note("whole", reason, time_ms, Mismatch(current.last_update_id, ours_shown, theirs_shown))
        self._lose(reason)
        return False

    def _look_at_touch(self, book: OrderBook, time_ms: int) -> None:
        bid, ask = book.bids.best(), book.asks.best()
        if bid is not None and ask is not None:
            self._judge("touch", self.touch.on_touch(Touch(book.last_update_id, bid, ask)), time_ms)

    def _judge(self, cause: str, mismatch: Mismatch | None, time_ms: int) -> None:
        if mismatch is not None and self.is_trusted:
            self._resync(cause, DIFFERS[cause] % mismatch.update_id, time_ms, mismatch)

    def _resync(self, cause: str, reason: str, time_ms: int, mismatch: Mismatch) -> None:
        """Our own check has failed: the feed, which knows nothing of it, must be asked for a new snapshot."""
        self._note(cause, reason, time_ms, mismatch)
        self._lose(reason)
        self.wish = reason

    def _lose(self, reason: str) -> None:
        self.resyncs += self.is_trusted
        self.is_trusted = False
        self.reason = reason
        self.touch.forget_pending()

    def _note(self, cause: str, reason: str, time_ms: int, mismatch: Mismatch) -> None:
        self.incident_count += 1
        self.incidents.appendleft(Incident(time_ms, cause, reason, mismatch.update_id, mismatch.ours, mismatch.theirs))
