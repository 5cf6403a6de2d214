"""The witnesses of a book: independent accounts by the exchange that must agree with ours, compared by id.

The rule that holds exactly on recorded sessions: after the diff whose final id is u, the book's best bid and ask,
price and quantity, equal the newest bookTicker whose id is at or below u. Tickers and diffs arrive in either order,
so a comparison waits until a ticker at or beyond u shows that none below it can still come.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from pulse.market.types import BookTicker, Level

TICKERS_MAX = 4096
"""Tickers ahead of the book that are remembered: 8 s of the busiest recorded stream."""
PENDING_MAX = 512
"""Diffs that wait for a ticker: 50 s of a book whose best levels do not change."""


class Touch(NamedTuple):
    """The best levels of a book after the diff with this final id."""

    update_id: int
    bid: Level
    ask: Level


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Two accounts of one moment that differ."""

    ours: Touch
    theirs: BookTicker


class TouchWitness:
    """Compares the book's best levels with the bookTicker stream; O(1) per event on average."""

    def __init__(self) -> None:
        self._tickers: deque[BookTicker] = deque(maxlen=TICKERS_MAX)
        self._pending: deque[Touch] = deque(maxlen=PENDING_MAX)
        self.compared = 0
        self.equal = 0

    def restart(self) -> None:
        """A new connection or a new book begins: what was heard before says nothing about it."""
        self._tickers.clear()
        self._pending.clear()

    def forget_pending(self) -> None:
        """The book was replaced: what it said before is no longer its word."""
        self._pending.clear()

    def on_touch(self, touch: Touch) -> Mismatch | None:
        """Take the book's best levels after a diff."""
        tickers = self._tickers
        while len(tickers) > 1 and tickers[1].update_id <= touch.update_id:
            tickers.popleft()
        if not tickers or tickers[0].update_id > touch.update_id:
            return None
        if len(tickers) > 1 or tickers[0].update_id == touch.update_id:
            return self._compare(touch, tickers[0])
        self._pending.append(touch)
        return None

    def on_ticker(self, ticker: BookTicker) -> Mismatch | None:
        """Take the next ticker; it settles every waiting diff with an id at or below its own."""
        tickers, pending = self._tickers, self._pending
        if tickers and ticker.update_id <= tickers[-1].update_id:
            return None
        mismatch = None
        while pending and pending[0].update_id <= ticker.update_id:
            touch = pending.popleft()
            theirs = ticker if touch.update_id == ticker.update_id else tickers[-1]
            mismatch = self._compare(touch, theirs) or mismatch
        tickers.append(ticker)
        return mismatch

    def _compare(self, touch: Touch, ticker: BookTicker) -> Mismatch | None:
        self.compared += 1
        theirs = ((ticker.bid_price, ticker.bid_quantity), (ticker.ask_price, ticker.ask_quantity))
        if (touch.bid, touch.ask) != theirs:
            return Mismatch(touch, ticker)
        self.equal += 1
        return None
