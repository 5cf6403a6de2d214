"""Clients of other processes as watchers of the symbols that this one owns: their views are made at the full rate.

What a process watches crosses as a short text: which ladders and costs of the symbol, which may be none.
"""

from math import inf
from typing import Protocol

from pulse.bus.leases import Leases
from pulse.market.ladder import MULTIPLES
from pulse.market.liquidity import NO_INTEREST, Interest

CHOICES_MAX = 100
"""Ladders and costs of a symbol that one process may watch; what is beyond is not made for it."""


class Watched(Protocol):
    """What is told of watchers, by symbol."""

    def watch(self, symbol: str) -> None:
        """Count a watcher of a symbol."""

    def unwatch(self, symbol: str) -> None:
        """Count a watcher less."""


class RemoteWatchers:
    """Counts a watcher for each choice of ladders and costs of a symbol elsewhere, while the symbol is owned here."""

    def __init__(self, leases: Leases, watched: Watched) -> None:
        self._leases = leases
        self._watched = watched
        self._changed = leases.changes()
        self._counted: set[tuple[str, str]] = set()  # symbols, and what is watched of each
        self._interest: dict[str, Interest] = {}

    def interest(self, symbol: str) -> Interest:
        """Return which ladders and costs of a symbol are watched elsewhere."""
        return self._interest.get(symbol, NO_INTEREST)

    async def run(self) -> None:
        """Count on and off for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            symbols = self._leases.symbols()
            now = {(symbol, text) for symbol in symbols for text in self._leases.watching_elsewhere(symbol)}
            if now == self._counted:
                continue
            self._interest = {symbol: NO_INTEREST for symbol, _ in now}
            for symbol, text in now:
                self._interest[symbol] |= read_interest(text)
            for symbol, _ in now - self._counted:
                self._watched.watch(symbol)
            for symbol, _ in self._counted - now:
                self._watched.unwatch(symbol)
            self._counted = now


def interest_text(interest: Interest) -> str:
    """Return what clients of this process watch as a text, which is never empty."""
    multiples, notionals = sorted(interest.multiples)[:CHOICES_MAX], sorted(interest.notionals)[:CHOICES_MAX]
    return f"{','.join(map(str, multiples))};{','.join(map(repr, notionals))}"


def read_interest(text: str) -> Interest:
    """Return the interest of a text; none where another version of this program has written something else."""
    multiples, _, notionals = text.partition(";")
    try:
        groups = {int(part) for part in multiples.split(",")[:CHOICES_MAX] if part}
        sums = {float(part) for part in notionals.split(",")[:CHOICES_MAX] if part}
    except ValueError:
        return NO_INTEREST
    return Interest(frozenset(groups & set(MULTIPLES)), frozenset(one for one in sums if 0 < one < inf))
