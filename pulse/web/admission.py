"""Admission of clients: allowed origins, how many may connect in all and per address, and the rate limit of requests.

It judges headers and addresses and counts; it knows no route and no socket.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse import stats
from pulse.errors import RequestError, try_later
from pulse.server.addresses import UNKNOWN_ADDRESS, address_key
from pulse.settings import Settings

DEFAULT_PORTS = {"http": 80, "https": 443}
ROUNDING_S = 1e-6
"""Rounding error of sums of seconds; without this tolerance the last request of a burst would often be refused."""


def origin_is_allowed(origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Return whether a page of this Origin may connect to the server that the client addresses as `host`.

    Without an Origin the client is not a browser, so no page can be abused. The same host is our own page. Any other
    origin must be in `allowed`.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    parts = _split(origin)
    if parts is None or parts.scheme not in DEFAULT_PORTS:
        return False
    own = _split(f"{parts.scheme}://{host}")
    return own is not None and _authority(parts) == _authority(own)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _authority(parts: SplitResult) -> tuple[str | None, int]:
    return parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted_hops: int) -> str:
    """Return the key by which a client is counted: its IPv4 address, or the /64 of its IPv6 address.

    Each of our `trusted_hops` proxies appends the address of its peer to X-Forwarded-For (`forwarded_for`: its values,
    in order), so the client's address is that many entries from the right; entries further left are set by the client
    and not trusted. A header with fewer entries did not pass all our proxies, so the peer itself is counted.
    """
    entries = [entry for value in forwarded_for for entry in value.split(",")]
    if 0 < trusted_hops <= len(entries):
        key = address_key(entries[-trusted_hops])
        if key is not None:
            return key
    return address_key(peer or "") or UNKNOWN_ADDRESS


class ClientLimit:
    """Counts connected clients: at most `clients_max` in all, and at most `per_address_max` per address key."""

    def __init__(self, clients_max: int, per_address_max: int) -> None:
        self._clients_max = clients_max
        self._per_address_max = per_address_max
        self._by_address: Counter[str] = Counter()
        self.count = 0

    def is_full(self) -> bool:
        """Return whether no further client may connect."""
        return self.count >= self._clients_max

    def is_full_for(self, address: str) -> bool:
        """Return whether no further client may connect from this address."""
        return self._by_address[address] >= self._per_address_max

    def enter(self, address: str) -> None:
        """Count one client more."""
        self.count += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        """Count one client less. An address without clients takes no memory."""
        self.count -= 1
        self._by_address[address] -= 1
        if self._by_address[address] == 0:
            del self._by_address[address]


class RateLimiter:
    """Rate limit per key: `per_s` requests a second in the long run, and `burst` at once after a pause.

    A token bucket in the form of the generic cell rate algorithm (GCRA, ITU-T I.371): the only state of a key is the
    time at which its bucket is full again. Beyond `keys_max` keys the least recently served are evicted.
    """

    def __init__(self, per_s: float, burst: int, keys_max: int) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._keys_max = keys_max
        self._full_at_s: dict[str, float] = {}  # least recently served first

    def acquire(self, key: str, now_s: float) -> float:
        """Count one request and return 0, or count nothing and return the seconds until the next one is allowed."""
        full_at_s = max(self._full_at_s.get(key, now_s), now_s) + self._interval_s
        wait_s = full_at_s - now_s - self._burst_s
        if wait_s > ROUNDING_S:
            return wait_s
        self._full_at_s.pop(key, None)
        self._full_at_s[key] = full_at_s
        if len(self._full_at_s) > self._keys_max:
            del self._full_at_s[next(iter(self._full_at_s))]
        return 0.0


RETRY_AFTER_S = 30
BURST_S = 5
"""An address may send this many seconds' worth of requests at once: a page that opens sends a dozen."""
ADDRESSES_MAX = 10_000
"""Addresses whose request rate is known; beyond it the least recently served are evicted."""


class Admission:
    """Admits clients and limits the rate of requests. `clock` returns monotonic seconds.

    `refused` counts clients that were not admitted.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._limit = ClientLimit(settings.clients_max, settings.clients_per_address_max)
        per_s = settings.requests_per_address_s
        self._rate = RateLimiter(per_s, per_s * BURST_S, ADDRESSES_MAX) if per_s else None
        self.refused = 0

    @property
    def count(self) -> int:
        """Number of clients that are connected."""
        return self._limit.count

    def check_rate(self, client: HTTPConnection[Any]) -> str:
        """Count one request and return the address key it counts for. Raises RequestError (429) beyond the rate."""
        address = client_address(
            client.client.host if client.client else None,
            client.headers.getlist("x-forwarded-for"),
            self._settings.trusted_hops,
        )
        wait_s = self._rate.acquire(address, self._clock()) if self._rate else 0.0
        if wait_s:
            stats.requests_refused.inc()
            raise try_later(
                f"More than {self._settings.requests_per_address_s} requests a second came from your address.",
                math.ceil(wait_s),
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        return address

    def enter(self, client: HTTPConnection[Any]) -> str:
        """Count a client that connects and return the address key for `leave`. Raises RequestError if refused."""
        try:
            return self._enter(client)
        except RequestError:
            self.refused += 1
            raise

    def leave(self, address: str) -> None:
        """Stop counting a client that was admitted under this address key."""
        self._limit.leave(address)

    def _enter(self, client: HTTPConnection[Any]) -> str:
        headers = client.headers
        if not origin_is_allowed(headers.get("origin"), headers.get("host", ""), self._settings.allowed_origins):
            raise RequestError(
                HTTPStatus.FORBIDDEN,
                "Pages of this origin may not connect; PULSE_ALLOWED_ORIGINS lists the origins that may.",
            )
        address = self.check_rate(client)
        if self._limit.is_full():
            raise try_later("This server has as many clients connected as it allows.", RETRY_AFTER_S)
        if self._limit.is_full_for(address):
            raise try_later(
                "Your address has as many clients connected as this server allows one address.",
                RETRY_AFTER_S,
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        self._limit.enter(address)
        return address


class RateLimitMiddleware:
    """ASGI middleware of the routes that cost work: each request counts against the rate limit of its address."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or raise RequestError."""
        self._admission.check_rate(HTTPConnection(scope))
        await self._app(scope, receive, send)
