"""Admission of clients: allowed origins, how many may connect in all and per address, and the rate limit of requests.

It judges headers and addresses and counts; it knows no route and no socket.
"""

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse import stats
from pulse.concurrency import DutyCycle, RateLimiter
from pulse.errors import RequestError, try_later
from pulse.server.addresses import UNKNOWN_ADDRESS, address_key
from pulse.server.shares import AddressShare
from pulse.settings import Settings

DEFAULT_PORTS = {"http": 80, "https": 443}


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


RETRY_AFTER_S = 30
BURST_S = 5
"""An address may send this many seconds' worth of requests at once: a page that opens sends a dozen."""
ADDRESSES_MAX = 10_000
"""Addresses whose request rate is known; beyond it the least recently served are evicted."""


READS_MAX, READS_PER_ADDRESS_MAX = 32, 4
"""Requests for candles that read the store at the same time: as many as it lets wait, and those of one address."""
EXPORTS_MAX, EXPORTS_PER_ADDRESS_MAX = 8, 2
"""CSV and NDJSON streams at the same time. Each has one read waiting at most, so they leave room for the pages."""
READ_RETRY_AFTER_S, EXPORT_RETRY_AFTER_S = 1, 10
EXPORTS_TIME_SHARE = 0.25
"""The part of the time in which pages of exports are made, all together; the rest is for views and short answers."""
CANDLES_PER_REQUEST = 250
"""So many candles in an answer count as one request more: a thousand take 8 ms of processor time."""
TOPICS_PER_ADDRESS_MAX = 1000
"""Subscriptions of all clients of one address: ten clients with as many as one may have."""
TOPICS_MAX = 100_000


class Admission:
    """Admits clients, limits the rate of requests, and holds what else an address has a share of.

    `clock` returns monotonic seconds. `refused` counts clients that were not admitted. `reads`, `exports` and `topics`
    are the shares; exports take `export_turns`.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._clients = AddressShare(
            "clients", "clients connected",
            total=settings.clients_max, per_address_max=settings.clients_per_address_max, retry_after_s=RETRY_AFTER_S,
        )  # fmt: skip
        self.reads = AddressShare(
            "reads", "requests for candles under way",
            total=READS_MAX, per_address_max=READS_PER_ADDRESS_MAX, retry_after_s=READ_RETRY_AFTER_S,
        )  # fmt: skip
        self.exports = AddressShare(
            "exports", "exports of candles under way",
            total=EXPORTS_MAX, per_address_max=EXPORTS_PER_ADDRESS_MAX, retry_after_s=EXPORT_RETRY_AFTER_S,
        )  # fmt: skip
        self.export_turns = DutyCycle(EXPORTS_TIME_SHARE)
        self.topics = AddressShare(
            "topics", "topics subscribed to", total=TOPICS_MAX, per_address_max=TOPICS_PER_ADDRESS_MAX,
            retry_after_s=RETRY_AFTER_S, parameter="topics",
        )  # fmt: skip
        per_s = settings.requests_per_address_s
        self._rate = RateLimiter(per_s, per_s * BURST_S, ADDRESSES_MAX) if per_s else None
        self.refused = 0

    @property
    def count(self) -> int:
        """Number of clients that are connected."""
        return self._clients.count

    def address_of(self, client: HTTPConnection[Any]) -> str:
        """Return the address key by which a client is counted."""
        return client_address(
            client.client.host if client.client else None,
            client.headers.getlist("x-forwarded-for"),
            self._settings.trusted_hops,
        )

    def check_rate(self, client: HTTPConnection[Any]) -> str:
        """Count one request and return the address key it counts for. Raises RequestError (429) beyond the rate."""
        address = self.address_of(client)
        wait_s = self._rate.acquire(address, self._clock()) if self._rate else 0.0
        if wait_s:
            stats.requests_refused.inc()
            raise try_later(
                f"More than {self._settings.requests_per_address_s} requests a second came from your address.",
                math.ceil(wait_s),
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        return address

    def charge_candles(self, address: str, count: int) -> None:
        """Count an answer of so many candles against the rate of an address, beside its request."""
        if self._rate:
            self._rate.charge(address, count / CANDLES_PER_REQUEST, self._clock())

    def enter(self, client: HTTPConnection[Any]) -> str:
        """Count a client that connects and return the address key for `leave`. Raises RequestError if refused."""
        try:
            return self._enter(client)
        except RequestError:
            self.refused += 1
            raise

    def leave(self, address: str) -> None:
        """Stop counting a client that was admitted under this address key."""
        self._clients.leave(address)

    def _enter(self, client: HTTPConnection[Any]) -> str:
        headers = client.headers
        if not origin_is_allowed(headers.get("origin"), headers.get("host", ""), self._settings.allowed_origins):
            raise RequestError(
                HTTPStatus.FORBIDDEN,
                "Pages of this origin may not connect; PULSE_ALLOWED_ORIGINS lists the origins that may.",
            )
        address = self.check_rate(client)
        self._clients.enter(address)
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
