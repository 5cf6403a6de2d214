"""All live connections of a server: their limit, the keep-alive pings of WebSockets, and the abort at shutdown.

It does not know what a connection carries or how it is written to.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from pulse import stats
from pulse.concurrency import FairShare, RateLimiter
from pulse.logs import RepeatedTrouble
from pulse.server.addresses import UNKNOWN_ADDRESS, address_key

log = logging.getLogger(__name__)

RESERVED_CONNECTIONS, RESERVED_PER_ADDRESS = 16, 4
"""Places for health checks beyond every limit: in all, and of one address. A newer connection takes the oldest's, so
silent ones do not keep a check out: it sends its request at once."""

CONNECTIONS_BURST_S = 5
"""An address may open this many seconds' worth of connections at once, as it may send requests: each carries one."""
ADDRESSES_MAX = 10_000
"""Addresses whose rate is known; beyond it the least recently admitted are evicted."""

PING_INTERVAL_S = 20.0
"""A WebSocket with no input for so long is pinged. It is checked once per interval, so the ping is sent after at most
twice that."""
PING_BATCHES = 20
"""Connections are checked in so many batches, one after another. With a timer per connection the process would wake
all the time, and every other timer would cost more in a heap of thousands."""
PONG_TIMEOUT_S = 8.0
"""A WebSocket from which nothing has come for so long after its ping, not even a pong, is aborted: as long as a client
that takes no data is waited for."""


class LiveConnection(Protocol):
    """A connection as its registry sees it. `received_at_s` is the loop's time of its last input, in seconds."""

    received_at_s: float

    def abort(self) -> None:
        """End the connection at once."""

    def send_keepalive_ping(self) -> None:
        """Send a ping, so that a client that still lives answers."""


class Place(Enum):
    """What a new connection may be used for."""

    ANY = "any request"
    HEALTH = "a health check alone"


class ConnectionRegistry:
    """The live connections of one server: at most `limit`, and at most `per_address_max` from one address.

    One address may open `per_address_s` a second. With None, or a rate of 0, an address has no limit of its own: behind
    a proxy all connections come from the proxy's. `clock` returns monotonic seconds.
    """

    def __init__(
        self, limit: int, per_address_max: int | None = None, per_address_s: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._limit = limit
        self._live: dict[LiveConnection, str] = {}  # with their address keys
        self._share = FairShare(limit, limit if per_address_max is None else per_address_max)
        burst = per_address_s * CONNECTIONS_BURST_S
        self._rate = RateLimiter(per_address_s, burst, ADDRESSES_MAX) if per_address_s else None
        self._clock = clock
        self._reserved: dict[LiveConnection, str] = {}
        self._refusals = RepeatedTrouble(log, "connections refused limit=%s address=%s")
        self._batches: deque[set[LiveConnection]] = deque(set() for _ in range(PING_BATCHES))  # the next one first
        self._pinged: dict[LiveConnection, float] = {}  # idle ones, and when each was pinged; the earliest first
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        for reached in ("all", "address", "rate"):
            stats.connections_refused.labels(reached)  # begins at 0

    def publish(self) -> None:
        """Have /metrics show this registry: where there are several, that of the listener for everyone."""
        stats.connections_open.set_function(lambda: len(self._live) + len(self._reserved))
        stats.connections_limit.set(self._limit)

    def admit(self, connection: LiveConnection, peer: str = "") -> Place:
        """Add a connection from the address `peer` and return its place. Beyond a limit it is one for health checks."""
        key = address_key(peer) or UNKNOWN_ADDRESS
        limit = self._limit_reached(key)
        if limit is None:
            self._live[connection] = key
            self._share.enter(key)
            self._is_empty.clear()
            return Place.ANY
        stats.connections_refused.labels(limit).inc()
        self._refusals.warn(limit, key)
        self._make_room_in_reserve(key)
        self._reserved[connection] = key
        self._is_empty.clear()
        return Place.HEALTH

    def _limit_reached(self, key: str) -> str | None:
        """Return the limit beyond which a new connection of this address is; None counts it against the rate."""
        reached = self._share.limit_reached(key)
        if reached is not None:
            return reached.value
        return "rate" if self._rate is not None and self._rate.acquire(key, self._clock()) else None

    def _make_room_in_reserve(self, key: str) -> None:
        """Abort the oldest connection of this address if it has its part of the reserved places, else of all."""
        of_address = [connection for connection, other in self._reserved.items() if other == key]
        if len(of_address) >= RESERVED_PER_ADDRESS:
            self._abort_reserved(of_address[0])
        elif len(self._reserved) >= RESERVED_CONNECTIONS:
            self._abort_reserved(next(iter(self._reserved)))

    def _abort_reserved(self, connection: LiveConnection) -> None:
        del self._reserved[connection]
        connection.abort()

    def remove(self, connection: LiveConnection) -> None:
        """Remove a connection that has ended."""
        self._reserved.pop(connection, None)
        key = self._live.pop(connection, None)
        if key is not None:
            self._share.leave(key)
        for batch in self._batches:
            batch.discard(connection)
        self._pinged.pop(connection, None)
        if not self._live and not self._reserved:
            self._is_empty.set()

    def keep_alive(self, connection: LiveConnection) -> None:
        """Ping this connection when it is idle, unless it has ended. It joins the smallest batch."""
        if connection in self._live:
            min(self._batches, key=len).add(connection)

    async def ping_idle(self) -> None:
        """Check one batch after another, each every PING_INTERVAL_S, until cancelled."""
        while True:
            await asyncio.sleep(PING_INTERVAL_S / PING_BATCHES)
            now_s = asyncio.get_running_loop().time()
            self._abort_unanswered(now_s)
            self._check_next_batch(now_s)

    # Not within the coroutine: its loop variables would keep the last connection alive until the next batch.

    def _check_next_batch(self, now_s: float) -> None:
        """Ping the connections of the next batch that are idle."""
        for connection in tuple(self._batches[0]):
            if now_s - connection.received_at_s >= PING_INTERVAL_S:
                self._pinged.setdefault(connection, now_s)
                connection.send_keepalive_ping()
        self._batches.rotate(-1)

    def _abort_unanswered(self, now_s: float) -> None:
        """Abort the connections from which nothing has come for PONG_TIMEOUT_S after their ping."""
        for connection, pinged_s in tuple(self._pinged.items()):
            if now_s - pinged_s < PONG_TIMEOUT_S:
                return
            del self._pinged[connection]
            if connection.received_at_s <= pinged_s:
                connection.abort()

    async def abort_after(self, grace_s: float) -> int:
        """Wait at most `grace_s` seconds for all connections to end, abort the others, and return their number."""
        try:
            await asyncio.wait_for(self._is_empty.wait(), grace_s)
        except TimeoutError:
            remaining = (*self._live, *self._reserved)
            for connection in remaining:
                connection.abort()
            return len(remaining)
        return 0
