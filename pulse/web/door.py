"""The door: who may open a feed, and how often one address may ask for anything that costs work.

It turns a framework's request into the address that it is counted by, and a refusal into a problem; how to count is
`admission`'s.
"""

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse import stats
from pulse.settings import Settings
from pulse.web.admission import Allowance, Gate, client_address, origin_is_allowed
from pulse.web.problems import Problem, try_later

RETRY_AFTER_S = 30
BURST_S = 5
"""How many seconds' worth one address may ask at once: a page that opens asks for a dozen things."""
ADDRESSES_MAX = 10_000
"""Of how many addresses it is known what they asked; of more, those served longest ago are forgotten."""


class Door:
    """Counts who is in and who asks. `clock` gives seconds from any fixed start."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._gate = Gate(settings.clients_max, settings.clients_per_address_max)
        per_s = settings.requests_per_address_s
        self._allowance = Allowance(per_s, per_s * BURST_S, ADDRESSES_MAX) if per_s else None
        self.refused = 0

    @property
    def count(self) -> int:
        """How many feeds are open."""
        return self._gate.count

    def ask(self, client: HTTPConnection[Any]) -> str:
        """Count one request; gives the address it is counted by. Raises Problem if that one asks too often."""
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
        """Count one in who opens a feed; gives the address to count it out by. Raises Problem if it may not come in."""
        try:
            return self._enter(client)
        except Problem:
            self.refused += 1
            raise

    def leave(self, address: str) -> None:
        """Count it out."""
        self._gate.leave(address)

    def _enter(self, client: HTTPConnection[Any]) -> str:
        headers = client.headers
        if not origin_is_allowed(headers.get("origin"), headers.get("host", ""), self._settings.allowed_origins):
            raise Problem(
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


class Counted:
    """ASGI middleware of routes that cost work: each request is one that its address asks."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, or raise Problem."""
        self._door.ask(HTTPConnection(scope))
        await self._app(scope, receive, send)
