"""All live connections of a server: their limit, the keep-alive pings of WebSockets, and the abort at shutdown.

It does not know what a connection carries or how it is written to.
"""

import asyncio
from collections import deque
from typing import Protocol

PING_INTERVAL_S = 20.0
"""A WebSocket with no input for so long is pinged. It is checked once per interval, so the ping is sent after at most
twice that."""
PING_BATCHES = 20
"""Connections are checked in so many batches, one after another. With a timer per connection the process would wake
all the time, and every other timer would cost more in a heap of thousands."""
IDLE_TIMEOUT_S = 3 * PING_INTERVAL_S
"""A WebSocket with no input for so long, not even a pong, is aborted at its next check."""


class LiveConnection(Protocol):
    """A connection as its registry sees it. `received_at_s` is the loop's time of its last input, in seconds."""

    received_at_s: float

    def abort(self) -> None:
        """End the connection at once."""

    def send_keepalive_ping(self) -> None:
        """Send a ping, so that a client that still lives answers."""


class ConnectionRegistry:
    """The live connections of one server, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._live: set[LiveConnection] = set()
        self._batches: deque[set[LiveConnection]] = deque(set() for _ in range(PING_BATCHES))  # the next one first
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def admit(self, connection: LiveConnection) -> bool:
        """Add a connection; return False if there are `limit` already."""
        if len(self._live) >= self._limit:
            return False
        self._live.add(connection)
        self._is_empty.clear()
        return True

    def remove(self, connection: LiveConnection) -> None:
        """Remove a connection that has ended."""
        self._live.discard(connection)
        for batch in self._batches:
            batch.discard(connection)
        if not self._live:
            self._is_empty.set()

    def keep_alive(self, connection: LiveConnection) -> None:
        """Ping this connection when it is idle, unless it has ended. It joins the smallest batch."""
        if connection in self._live:
            min(self._batches, key=len).add(connection)

    async def ping_idle(self) -> None:
        """Check one batch after another, each every PING_INTERVAL_S, until cancelled."""
        while True:
            await asyncio.sleep(PING_INTERVAL_S / PING_BATCHES)
            self._check_next_batch(asyncio.get_running_loop().time())

    def _check_next_batch(self, now_s: float) -> None:
        # Not within the coroutine: its loop variable would keep the last connection alive until the next batch.
        for connection in tuple(self._batches[0]):
            _check(connection, now_s)
        self._batches.rotate(-1)

    async def abort_after(self, grace_s: float) -> int:
        """Wait at most `grace_s` seconds for all connections to end, abort the others, and return their number."""
        try:
            await asyncio.wait_for(self._is_empty.wait(), grace_s)
        except TimeoutError:
            remaining = tuple(self._live)
            for connection in remaining:
                connection.abort()
            return len(remaining)
        return 0


def _check(connection: LiveConnection, now_s: float) -> None:
    """Ping a connection that is idle, and abort one that has not answered pings either."""
    idle_s = now_s - connection.received_at_s
    if idle_s > IDLE_TIMEOUT_S:
        connection.abort()
    elif idle_s >= PING_INTERVAL_S:
        connection.send_keepalive_ping()
