"""Clients of other processes as watchers of the symbols that this one owns: their views are made at the full rate."""

from typing import Protocol

from pulse.bus.leases import Leases


class Watched(Protocol):
    """What is told of watchers, by symbol."""

    def watch(self, symbol: str) -> None:
        """Count a watcher of a symbol."""

    def unwatch(self, symbol: str) -> None:
        """Count a watcher less."""


class RemoteWatchers:
    """Counts one watcher for each symbol that is watched elsewhere, for as long as this process owns the symbol."""

    def __init__(self, leases: Leases, watched: Watched) -> None:
        self._leases = leases
        self._watched = watched
        self._changed = leases.changes()
        self._symbols: set[str] = set()

    async def run(self) -> None:
        """Count on and off for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            now = {symbol for symbol in self._leases.symbols() if self._leases.is_watched_elsewhere(symbol)}
            for symbol in now - self._symbols:
                self._watched.watch(symbol)
            for symbol in self._symbols - now:
                self._watched.unwatch(symbol)
            self._symbols = now
