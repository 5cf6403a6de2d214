"""Cross-checks of a book: other streams of the exchange, compared with our book at the same update id.

Touch: the rule that holds exactly on recorded sessions is that after the diff whose final id is u, the book's best
bid and ask, price and quantity, equal the newest bookTicker whose id is at or below u. Tickers and diffs arrive in
either order, so a comparison waits until a ticker at or beyond u shows that none below it can still come.

Top: a partial depth has an update id. Where that is the book's id, every level must be equal; where it falls inside a
diff, every level that the diff does not change.

Whole: a new snapshot and the diffs after it make a second book at the same id; where both are exact, all levels must
be equal (`BookIntegrity.anchored`).
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from pulse.market.order_book import BookSide, OrderBook
from pulse.market.types import BookTicker, DepthDiff, Level, Levels, PartialDepth

TICKERS_MAX = 4096
"""Tickers ahead of the book that are kept: 8 s of the busiest recorded stream."""
INCIDENT_CAUSES = ("gap", "crossed", "touch", "top", "whole", "snapshot")
INCIDENTS_MAX = 50
"""Incidents kept per symbol; older ones are in the log."""
TICKERS_WITHOUT_BOOK_MAX = 512
"""And while there is no book, a second of that stream: a book joins at an id that the exchange has just sent."""
PENDING_MAX = 512
"""Diffs that wait for a ticker at most: 50 s of a book whose best levels do not change."""


class Touch(NamedTuple):
    """The best levels of a book after the diff with this final id."""

    update_id: int
    bid: Level
    ask: Level


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Levels that differ between our book and the exchange's at one id, each as [price, quantity]."""

    update_id: int
    ours: list[list[float]]
    theirs: list[list[float]]


@dataclass(frozen=True, slots=True)
class Incident:
    """A failed check or a gap of a book. Times are the exchange's, in ms; levels are [price, quantity]."""

    time_ms: int
    cause: str  # one of INCIDENT_CAUSES
    reason: str
    update_id: int
    ours: list[list[float]]
    theirs: list[list[float]]


class TouchCheck:
    """Compares the book's best levels with the bookTicker stream; O(1) per event on average."""

    def __init__(self) -> None:
        self._tickers: deque[BookTicker] = deque(maxlen=TICKERS_MAX)
        self._pending: deque[Touch] = deque(maxlen=PENDING_MAX)
        self.compared = 0
        self.equal = 0

    def restart(self) -> None:
        """Discard tickers and diffs: a new connection begins, and they are no evidence about its book."""
        self._tickers.clear()
        self._pending.clear()

    def clear_pending(self) -> None:
        """Discard the diffs that wait for a ticker: their book was replaced."""
        self._pending.clear()

    def on_touch(self, touch: Touch) -> Mismatch | None:
        """Compare the book's best levels after a diff, now or when the ticker for it comes; return a mismatch."""
        tickers = self._tickers
        while len(tickers) > 1 and tickers[1].update_id <= touch.update_id:
            tickers.popleft()
        if tickers and tickers[0].update_id > touch.update_id:
            return None
        if len(tickers) > 1 or (tickers and tickers[0].update_id == touch.update_id):
            return self._compare(touch, tickers[0])
        self._pending.append(touch)
        return None

    def keep_newest(self) -> None:
        """Keep no more tickers than a book that is about to join can be compared with; O(1) after each ticker."""
        while len(self._tickers) > TICKERS_WITHOUT_BOOK_MAX:
            self._tickers.popleft()

    def on_ticker(self, ticker: BookTicker) -> Mismatch | None:
        """Take the next ticker and compare every waiting diff at or below its id; return the last mismatch."""
        tickers, pending = self._tickers, self._pending
        if tickers and ticker.update_id <= tickers[-1].update_id:
            if ticker.update_id < tickers[-1].update_id and ticker not in tickers:
                self.restart()  # out of order, or the newest one's id is false: neither is evidence
            return None
        mismatch = None
        while pending and pending[0].update_id <= ticker.update_id:
            touch = pending.popleft()
            if touch.update_id == ticker.update_id:
                mismatch = self._compare(touch, ticker) or mismatch
            elif tickers:
                mismatch = self._compare(touch, tickers[-1]) or mismatch
        tickers.append(ticker)
        return mismatch

    def _compare(self, touch: Touch, ticker: BookTicker) -> Mismatch | None:
        self.compared += 1
        ours = [list(touch.bid), list(touch.ask)]
        theirs = [[ticker.bid_price, ticker.bid_quantity], [ticker.ask_price, ticker.ask_quantity]]
        if ours != theirs:
            return Mismatch(touch.update_id, ours, theirs)
        self.equal += 1
        return None


class TopLevelsCheck:
    """Compares the book's best levels with the partial depth stream; work in proportion to the levels it carries."""

    def __init__(self) -> None:
        self._ahead: PartialDepth | None = None  # one that is newer than the book
        self._last: tuple[int, DepthDiff] | None = None  # the last diff, and the book's id before it
        self.compared = 0
        self.equal = 0

    def restart(self) -> None:
        """Discard what waits and the last diff: a new connection or a new book begins."""
        self._ahead = None
        self._last = None

    def on_diff(self, book: OrderBook, before_id: int, diff: DepthDiff) -> Mismatch | None:
        """Note a diff that the book, then at `before_id`, has applied; compare a partial depth that waited for it."""
        self._last = (before_id, diff)
        partial, self._ahead = self._ahead, None
        return None if partial is None else self.on_partial(book, partial)

    def on_partial(self, book: OrderBook, partial: PartialDepth) -> Mismatch | None:
        """Compare the exchange's best levels, now or when the book has reached their id; return a mismatch."""
        at, self._ahead = partial.last_update_id, None  # a later one replaces one that waits: its id may be false
        if at > book.last_update_id:
            self._ahead = partial
            return None
        if at == book.last_update_id:
            return self._compare(book, partial, None)
        if self._last is None or at < self._last[0]:
            return None  # older than the last diff: what the book was then is not known any more
        return self._compare(book, partial, self._last[1])

    def _compare(self, book: OrderBook, partial: PartialDepth, diff: DepthDiff | None) -> Mismatch | None:
        self.compared += 1
        ours: list[list[float]] = []
        theirs: list[list[float]] = []
        sides = (
            (book.bids, partial.bids, diff.bids.prices if diff else ()),
            (book.asks, partial.asks, diff.asks.prices if diff else ()),
        )
        for side, levels, changed in sides:
            for price, our_quantity, their_quantity in _differences(side, levels, frozenset(changed)):
                ours.append([price, our_quantity])
                theirs.append([price, their_quantity])
        if ours:
            return Mismatch(partial.last_update_id, ours, theirs)
        self.equal += 1
        return None


def _differences(side: BookSide, levels: Levels, changed: frozenset[float]) -> list[tuple[float, float, float]]:
    """Return price, our quantity and theirs of the levels that differ, among those both know but for `changed`."""
    theirs = dict(zip(levels.prices, levels.quantities, strict=True))
    if not theirs:
        return []
    ours = side.known_between(levels.prices[0], levels.prices[-1])
    return [
        (price, ours.get(price, 0.0), theirs.get(price, 0.0))
        for price in ours.keys() | theirs.keys()
        if price not in changed and side.is_known(price) and ours.get(price) != theirs.get(price)
    ]
