"""Who may come in and ask: from which sites, how many in all, how many from one address, and how often.

Pure: it judges header values and addresses and counts; it knows no framework and no socket.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse import stats
from pulse.errors import RequestError, try_later
from pulse.settings import Settings

UNKNOWN_ADDRESS = "unknown"
DEFAULT_PORTS = {"http": 80, "https": 443}
IPV6_HOST_BITS = 64
"""One household has a whole /64, so its addresses count as one."""
ROUNDING_S = 1e-6
"""What sums of seconds may be off by; without it the last of a burst is refused as often as not."""


def origin_is_allowed(origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Whether a page of this Origin may connect to what the client calls `host`.

    No Origin: not a browser, so no page is abused. The same host: our own page. Else it must be allowed by name.
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
    """The key by which a client is counted: its IPv4 address, or the /64 of its IPv6 address.

    Each of our `trusted_hops` proxies appends whom it speaks to, so the client is that many places from the right of
    X-Forwarded-For (`forwarded_for`: its values, in order); all further left is the client's own word. A header with
    fewer places did not come by all our proxies, so the peer itself is counted.
    """
    places = [place for value in forwarded_for for place in value.split(",")]
    if 0 < trusted_hops <= len(places):
        named = _address_key(places[-trusted_hops])
        if named is not None:
            return named
    return _address_key(peer or "") or UNKNOWN_ADDRESS


def _address_key(text: str) -> str | None:
    address = _parse(text.strip())
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"{IPv6Address(int(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS)}/{IPV6_HOST_BITS}"
        address = address.ipv4_mapped
    return None if address is None else str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: bare, in brackets, or with a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None


class ClientLimit:
    """Counts who is in: at most `clients_max`, and at most `per_address_max` with one key."""

    def __init__(self, clients_max: int, per_address_max: int) -> None:
        self._clients_max = clients_max
        self._per_address_max = per_address_max
        self._by_address: Counter[str] = Counter()
        self.count = 0

    def is_full(self) -> bool:
        """Whether nobody at all may come in."""
        return self.count >= self._clients_max

    def is_full_for(self, address: str) -> bool:
        """Whether nobody else may come in with this key."""
        return self._by_address[address] >= self._per_address_max

    def enter(self, address: str) -> None:
        """Count one more."""
        self.count += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        """Count one less; a key that nobody holds any more is forgotten."""
        self.count -= 1
        self._by_address[address] -= 1
        if self._by_address[address] == 0:
            del self._by_address[address]


class RateLimiter:
    """How often each key may ask: `per_s` times a second in the long run, `burst` times at once after a pause.

    A token bucket in the form of the generic cell rate algorithm (ITU-T I.371): all that is kept of a key is when its
    bucket is full again. Of more than `keys_max` keys, those served longest ago are forgotten.
    """

    def __init__(self, per_s: float, burst: int, keys_max: int) -> None:
        self._each_s = 1 / per_s
        self._burst_s = burst / per_s
        self._keys_max = keys_max
        self._full_at_s: dict[str, float] = {}  # who was served longest ago comes first

    def ask(self, key: str, now_s: float) -> float:
        """Count one more and give 0; or give the seconds until it may ask again, and count nothing."""
        full_at_s = max(self._full_at_s.get(key, now_s), now_s) + self._each_s
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
"""How many seconds' worth one address may ask at once: a page that opens asks for a dozen things."""
ADDRESSES_MAX = 10_000
"""Of how many addresses it is known what they asked; of more, those served longest ago are forgotten."""


class Admission:
    """Counts who is in and who asks. `clock` gives seconds from any fixed start."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._gate = ClientLimit(settings.clients_max, settings.clients_per_address_max)
        per_s = settings.requests_per_address_s
        self._allowance = RateLimiter(per_s, per_s * BURST_S, ADDRESSES_MAX) if per_s else None
        self.refused = 0

    @property
    def count(self) -> int:
        """How many feeds are open."""
        return self._gate.count

    def ask(self, client: HTTPConnection[Any]) -> str:
        """Count one request; gives the address it is counted by. Raises RequestError if that one asks too often."""
        address = client_address(
            client.client.host if client.client else None,
            client.headers.getlist("x-forwarded-for"),
            self._settings.trusted_hops,
        )
        wait_s = self._allowance.ask(address, self._clock()) if self._allowance else 0.0
        if wait_s:
            stats.requests_refused.inc()
            raise try_later(
                f"More than {self._settings.requests_per_address_s} requests a second came from your address.",
                math.ceil(wait_s),
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        return address

    def enter(self, client: HTTPConnection[Any]) -> str:
        """Count a client that opens a feed and return the address it is counted by. Raises RequestError if refused."""
        try:
            return self._enter(client)
        except RequestError:
            self.refused += 1
            raise

    def leave(self, address: str) -> None:
        """Count it out."""
        self._gate.leave(address)

    def _enter(self, client: HTTPConnection[Any]) -> str:
        headers = client.headers
        if not origin_is_allowed(headers.get("origin"), headers.get("host", ""), self._settings.allowed_origins):
            raise RequestError(
                HTTPStatus.FORBIDDEN, "Pages of this origin may not connect: PULSE_ALLOWED_ORIGINS lists who may."
            )
        address = self.ask(client)
        if self._gate.is_full():
            raise try_later("As many clients are connected as this server takes.", RETRY_AFTER_S)
        if self._gate.is_full_for(address):
            raise try_later(
                "As many clients are connected from your address as this server takes from one.",
                RETRY_AFTER_S,
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        self._gate.enter(address)
        return address


class RateLimitMiddleware:
    """ASGI middleware of routes that cost work: each request is one that its address asks."""

    def __init__(self, app: ASGIApp, door: Admission) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, or raise RequestError."""
        self._door.ask(HTTPConnection(scope))
        await self._app(scope, receive, send)
