"""The newest views of the watched symbols, by their numbers, so that what a page shows can be asked about."""

RECENT_BYTES_MAX = 8 * 2**20
"""Of all symbols together: about two minutes of one that is watched."""


class RecentViews:
    """Encoded views by symbol and sequence number; beyond RECENT_BYTES_MAX the oldest of all go."""

    def __init__(self, bytes_max: int = RECENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._views: dict[tuple[str, int], bytes] = {}  # oldest first

    def add(self, symbol: str, seq: int, payload: bytes) -> None:
        """Keep a view, in place of one with the same number, which another process has made before."""
        self._drop((symbol, seq))
        self._views[symbol, seq] = payload
        self._bytes += len(payload)
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._views)))

    def find(self, symbol: str, seq: int) -> bytes | None:
        """Return the view with this number; None if it is not kept."""
        return self._views.get((symbol, seq))

    def close(self, symbol: str) -> None:
        """Drop all views of a symbol."""
        for key in [key for key in self._views if key[0] == symbol]:
            self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        self._bytes -= len(self._views.pop(key, b""))
