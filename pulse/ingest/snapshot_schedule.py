"""Which symbol's book may be fetched with all its levels next: one schedule for all symbols that share an address.

A snapshot of few levels makes a book live at once and costs a fiftieth of one of all levels, which widens the known
part of the book. So the first snapshots of all symbols go before any that widens, and of these one is under way at a
time: that of a watched symbol first, then that of the book that is known least. The comparisons of whole books with new
snapshots, audits, come last and take at most AUDIT_SHARE of our request weight, so that their interval grows with the
number of symbols. It makes no request itself.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pulse import stats
from pulse.binance.rest import BinanceRest

JOIN_LEVELS = 100
"""Levels a side of a book's first snapshot: the most that the exchange gives at its lowest weight."""
AUDIT_SHARE = 1 / 3
"""The part of our request weight that audits may take."""
JOIN_FIRST_S = 15.0
"""How long others wait for the first snapshot of a symbol: one that comes later waits for them."""
MINUTE_S = 60.0


class SnapshotSchedule:
    """The order of the snapshots of all levels, `depth_limit` a side; times are those of the running loop.

    `audit_every_s` is the interval of audits that is asked for, which few symbols get.
    """

    def __init__(
        self, rest: BinanceRest, *, depth_limit: int, audit_every_s: float, is_watched: Callable[[str], bool]
    ) -> None:
        self.depth_limit = depth_limit
        self.join_levels = min(depth_limit, JOIN_LEVELS)
        self._rest = rest
        self._audit_every_s = audit_every_s
        self._is_watched = is_watched
        self._symbols: set[str] = set()
        self._joining: dict[str, float] = {}  # symbols without a book, and until when the others wait for them
        self._joins_changed = asyncio.Event()
        self._narrow: set[str] = set()  # symbols whose book is to be widened
        self._waiters: list[tuple[str, int, int, asyncio.Future[None]]] = []  # symbol, levels known, number, turn
        self._numbers = itertools.count()
        self._is_taken = False
        self._audit_free_s = 0.0  # when the next audit may begin
        stats.windows_narrow.set_function(lambda: len(self._narrow))

    def open(self, symbol: str) -> None:
        """Count a symbol in."""
        self._symbols.add(symbol)
        self._narrow.add(symbol)

    def close(self, symbol: str) -> None:
        """Count a symbol out."""
        self._symbols.discard(symbol)
        self.give_up(symbol)

    # --- what symbols report

    def begin(self, symbol: str) -> None:
        """Take the news that a symbol is about to join its book."""
        self._joining[symbol] = asyncio.get_running_loop().time() + JOIN_FIRST_S
        self._narrow.add(symbol)

    def joined(self, symbol: str, *, is_full: bool) -> None:
        """Take the news that a snapshot has been joined; `is_full`: with all levels that there are."""
        self._end_joining(symbol)
        if is_full:
            self._narrow.discard(symbol)
        else:
            self._narrow.add(symbol)

    def give_up(self, symbol: str) -> None:
        """Take the news that a symbol's snapshot cannot be fetched for now: nothing waits for it."""
        self._end_joining(symbol)
        self._narrow.discard(symbol)

    # --- what it decides

    @property
    def audit_every_s(self) -> float:
        """How often each whole book is compared with a snapshot."""
        return max(self._audit_every_s, len(self._symbols) * self._audit_spacing_s)

    def begin_audit(self) -> float:
        """Count an audit and return 0, or count none and return the seconds until the next one may begin."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._audit_free_s:
            return self._audit_free_s - now_s
        self._audit_free_s = now_s + self._audit_spacing_s
        return 0.0

    def is_widening(self) -> bool:
        """Return whether any book is about to become known further than it is."""
        return bool(self._narrow)

    @asynccontextmanager
    async def turn(self, symbol: str, levels: int) -> AsyncIterator[None]:
        """Wait until this symbol may fetch all levels, and have it do so in this block.

        `levels` is how many levels a side are known.
        """
        await self._take(symbol, levels)
        try:
            await self._let_joins_go_first()
            yield
        finally:
            self._pass_on()

    @property
    def _audit_spacing_s(self) -> float:
        """The time between two audits that keeps them within their share."""
        weight_per_minute = self._rest.weight()[1] * AUDIT_SHARE
        return MINUTE_S * self._rest.venue.weights.depth_weight(self.depth_limit) / weight_per_minute

    async def _take(self, symbol: str, levels: int) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((symbol, levels, next(self._numbers), granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the most urgent of those that wait."""
        self._waiters = [waiter for waiter in self._waiters if not waiter[-1].done()]
        if not self._waiters:
            self._is_taken = False
            return
        next_one = min(self._waiters, key=lambda waiter: (not self._is_watched(waiter[0]), waiter[1], waiter[2]))
        self._waiters.remove(next_one)
        next_one[-1].set_result(None)

    async def _let_joins_go_first(self) -> None:
        loop = asyncio.get_running_loop()
        while (left_s := max(self._joining.values(), default=0.0) - loop.time()) > 0:
            self._joins_changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._joins_changed.wait()
            except TimeoutError:
                return

    def _end_joining(self, symbol: str) -> None:
        if self._joining.pop(symbol, None) is not None:
            self._joins_changed.set()
