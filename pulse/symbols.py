"""The registry of running symbols: which ones run, which ones may be requested, and when an idle one is stopped.

The symbols of the settings are pinned: they run for as long as the process does. Any other that the exchange lists is
opened when a client requests it, up to a bound, and closed once no client has requested or watched it for
IDLE_AFTER_S. A name that is not listed is refused without a request to the exchange; until the exchange has answered
which names it lists, one that does not run may be requested later. One address may have a share of the symbols alone,
and open them at a bounded rate: each costs requests to the exchange. What opening means is up to the parts, and the
clock, in seconds from any fixed start, is given.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from pulse import stats
from pulse.concurrency import RateLimiter
from pulse.errors import ListingPending, TooManySymbols, UnknownListing
from pulse.logs import RepeatedTrouble

log = logging.getLogger(__name__)

IDLE_AFTER_S = 300.0
"""How long a symbol runs after its last client has left: a client may come back."""
SPARED_S = 30.0
"""A symbol requested this recently is not closed to make room for another, or two clients could take turns."""
RETRY_AFTER_S = 60
"""When a client may request a symbol again that there was no room for."""
ADDRESS_SHARE = 0.75
"""The part of the symbols beyond the pinned ones that one address may have opened."""
OPENINGS_AT_ONCE, OPENING_EVERY_S = 6, 15.0
"""How many symbols one address may open at once, and how often in the long run: an opening costs a ninth of the request
weight that a minute allows for others than the pinned ones."""
ADDRESSES_MAX = 10_000
"""Addresses whose rate is known; beyond it the least recently served are evicted."""
LISTING_RETRY_AFTER_S = 2
"""When a client may request a symbol again while it is not known yet whether the exchange lists it."""
SHOWN_MAX = 100
"""Names that an error text lists."""


class SymbolLifecycle(Protocol):
    """A part of the process that keeps state for each running symbol."""

    def open(self, symbol: str) -> None:
        """Begin to work for a symbol. Must be complete when it returns."""

    def close(self, symbol: str) -> None:
        """Stop working for a symbol and drop all state of it."""


class SymbolRegistry:
    """Opens and closes symbols in every part of the process.

    `pinned` are the symbols of the settings, the first being the default. At most `running_max` symbols run, the
    pinned ones always. `parts` are opened in their order and closed in the reverse one. `is_watched(symbol)` tells
    whether any client is subscribed to a symbol. An address is the key by which a client is counted.
    """

    def __init__(
        self,
        pinned: Sequence[str],
        *,
        running_max: int = 0,
        parts: Sequence[SymbolLifecycle] = (),
        is_watched: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.pinned = tuple(pinned)
        self.running_max = max(running_max, len(self.pinned))
        self._parts = tuple(parts)
        self._is_watched = is_watched
        self._clock = clock
        self._requested_s: dict[str, float] = {}  # the running symbols, and when each was last requested
        self._requested_by: dict[str, str | None] = {}  # and by which address
        self._opened_by: dict[str, str | None] = {}
        self._openings = RateLimiter(1 / OPENING_EVERY_S, OPENINGS_AT_ONCE, ADDRESSES_MAX)
        self._refusals = RepeatedTrouble(log, "symbol refused limit=%s address=%s")
        self._listed: dict[str, None] = {}
        self.is_listing_known = self.is_fixed  # otherwise from `set_listed` on
        for symbol in self.pinned:
            self._open(symbol, 0.0, None)

    @property
    def per_address_max(self) -> int:
        """How many symbols beyond the pinned ones one address may have opened."""
        return max(1, int((self.running_max - len(self.pinned)) * ADDRESS_SHARE))

    @property
    def default(self) -> str:
        """The symbol of a request that names none."""
        return self.pinned[0]

    @property
    def listed(self) -> tuple[str, ...]:
        """All symbols that may be requested, the running ones first."""
        return tuple(self._requested_s | self._listed)

    @property
    def is_fixed(self) -> bool:
        """Whether no symbol but the pinned ones may run."""
        return self.running_max == len(self.pinned)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the running symbols, the pinned ones first."""
        return iter(tuple(self._requested_s))

    def __len__(self) -> int:
        return len(self._requested_s)

    def __contains__(self, symbol: object) -> bool:
        """Return whether a symbol may be requested."""
        return symbol in self._requested_s or symbol in self._listed

    def is_running(self, symbol: str) -> bool:
        """Return whether a symbol runs now."""
        return symbol in self._requested_s

    def allowed(self) -> tuple[str, ...]:
        """Return some of the symbols that may be requested, for an error text."""
        return self.listed[:SHOWN_MAX]

    def set_listed(self, names: Iterable[str]) -> None:
        """Set the symbols that the exchange lists. A running one that is not among them runs until it is idle."""
        self._listed = {} if self.is_fixed else dict.fromkeys(names)
        self.is_listing_known = True

    def check(self, symbol: str) -> None:
        """Raise UnknownListing for a symbol that may not be requested, ListingPending while that is not known."""
        if symbol in self:
            return
        if not self.is_listing_known:
            raise ListingPending(
                "This server is starting: the exchange has not answered yet which symbols it lists."
                f" Try again in {LISTING_RETRY_AFTER_S} s."
            )
        raise UnknownListing(symbol)

    def acquire(self, symbol: str, address: str | None = None) -> None:
        """Make a requested symbol run. Raises what `check` raises, and TooManySymbols where there is no room.

        Without an address no share counts.
        """
        self.check(symbol)
        now_s = self._clock()
        if symbol in self._requested_s:
            self._requested_s[symbol] = now_s
            self._requested_by[symbol] = address
            return
        replaced = self._find_room(address, now_s)
        self._check_rate(address, now_s)
        if replaced is not None:
            self._close(replaced)
        self._open(symbol, now_s, address)

    def close_idle(self) -> None:
        """Close the symbols that are idle; to be called periodically."""
        now_s = self._clock()
        for symbol in self._unpinned():
            if self._is_watched(symbol):
                self._requested_s[symbol] = now_s
            elif now_s - self._requested_s[symbol] >= IDLE_AFTER_S:
                self._close(symbol)

    def _find_room(self, address: str | None, now_s: float) -> str | None:
        """Return the symbol that another one may replace; None if there is room. Raises TooManySymbols."""
        own = [symbol for symbol in self._unpinned() if address is not None and self._opened_by[symbol] == address]
        if len(own) >= self.per_address_max:
            candidates = own
        elif len(self._requested_s) < self.running_max:
            return None
        else:
            candidates = self._unpinned()
        idle = [symbol for symbol in candidates if self._is_idle(symbol, now_s, address)]
        if idle:
            return min(idle, key=self._requested_s.__getitem__)
        if len(self._requested_s) < self.running_max:
            detail = f"Your address has opened as many symbols as this server allows one address: {len(own)}."
            raise self._refusal("address", address, detail, RETRY_AFTER_S)
        detail = f"This server runs {self.running_max} symbols at once, and all of them are in use."
        raise self._refusal("all", address, detail, RETRY_AFTER_S)

    def _is_idle(self, symbol: str, now_s: float, address: str | None) -> bool:
        """Return whether a symbol may be closed to make room; what an address has opened is not spared for itself."""
        if self._is_watched(symbol):
            return False
        is_own = address is not None and address == self._opened_by[symbol] == self._requested_by[symbol]
        return is_own or now_s - self._requested_s[symbol] >= SPARED_S

    def _check_rate(self, address: str | None, now_s: float) -> None:
        """Count an opening. Raises TooManySymbols where the address has opened too many in short time."""
        wait_s = 0.0 if address is None else self._openings.acquire(address, now_s)
        if wait_s:
            detail = f"Your address opens more than {OPENINGS_AT_ONCE} symbols in short time."
            raise self._refusal("rate", address, detail, math.ceil(wait_s))

    def _refusal(self, limit: str, address: str | None, detail: str, retry_after_s: int) -> TooManySymbols:
        stats.shares_refused.labels("symbols", limit).inc()
        self._refusals.warn(limit, address)
        return TooManySymbols(detail, retry_after_s, is_address=limit != "all")

    def _unpinned(self) -> list[str]:
        return [symbol for symbol in self._requested_s if symbol not in self.pinned]

    def _open(self, symbol: str, now_s: float, address: str | None) -> None:
        self._requested_s[symbol] = now_s
        self._opened_by[symbol] = self._requested_by[symbol] = address
        for part in self._parts:
            part.open(symbol)

    def _close(self, symbol: str) -> None:
        del self._requested_s[symbol], self._opened_by[symbol], self._requested_by[symbol]
        for part in reversed(self._parts):
            part.close(symbol)
