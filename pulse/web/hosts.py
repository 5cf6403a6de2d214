"""The host names under which this server may be addressed; a request for any other is refused before all else.

A page of a stranger can have its own name resolved to our address (DNS rebinding): to the browser its requests then
are of our origin, but they still carry the stranger's name. An address cannot be rebound, so every literal address is
accepted. It knows no route but the health check's, which platforms call under any name.
"""

import logging
import re
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse.errors import RequestError, quoted
from pulse.logs import RepeatedTrouble
from pulse.server.addresses import is_loopback
from pulse.settings import Settings
from pulse.web.problems import refuse

log = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
LOCAL_NAME, LOCAL_SUFFIX = "localhost", ".localhost"
"""Names that always mean this machine (RFC 6761, 6.3)."""
AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?", re.ASCII)
LOGGED_CHARS = 80


def host_of(authority: str) -> str | None:
    """Return the host of a Host header without its port, in lower case; None if it is malformed."""
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    return (match[1] or match[2]).lower().removesuffix(".")


def is_local(authority: str) -> bool:
    """Return whether a Host header names the machine itself, as one of its own programs does."""
    host = host_of(authority) or ""
    return host == LOCAL_NAME or host.endswith(LOCAL_SUFFIX) or is_loopback(host)


def is_address(host: str) -> bool:
    """Return whether a host is a literal IPv4 or IPv6 address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def accepted_names(settings: Settings) -> frozenset[str]:
    """Return the names that the settings accept: those of PULSE_HOSTS, the platform's, and the one listened on."""
    return frozenset(name.lower() for name in (*settings.hosts, settings.platform_host, settings.host) if name)


def accepts(names: frozenset[str], authority: str) -> bool:
    """Return whether a Host header names this server. The port does not matter: proxies and containers map it.

    In `names` a name that begins with "*." stands for all names below it, and "*" for any.
    """
    host = host_of(authority)
    if host is None:
        return False
    if "*" in names or host in names or host == LOCAL_NAME or host.endswith(LOCAL_SUFFIX) or is_address(host):
        return True
    return any(f"*.{parent}" in names for parent in _parents(host))


def _parents(host: str) -> Iterable[str]:
    labels = host.split(".")
    return (".".join(labels[start:]) for start in range(1, len(labels)))


class HostCheck:
    """ASGI middleware: refuses requests and WebSockets whose Host names another server with 421, except /healthz."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names
        self._refusals = RepeatedTrouble(log, "request refused, its host is not in PULSE_HOSTS host=%s")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request or one WebSocket; pass the lifespan on."""
        if scope["type"] == "lifespan" or scope["path"] == HEALTH_PATH:
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if accepts(self._names, host):
            await self._app(scope, receive, send)
            return
        self._refusals.warn(host[:LOGGED_CHARS])
        await refuse(RequestError(HTTPStatus.MISDIRECTED_REQUEST, _refusal(host)), scope, receive, send)


def _refusal(authority: str) -> str:
    """Return what to do about a Host header that does not name this server."""
    host = host_of(authority)
    if host is None:
        return (
            f"The request must name the server in its Host header, as in `Host: terminal.example.com`, "
            f"not {quoted(authority)}; PULSE_HOSTS on the server lists the names."
        )
    return (
        f"This server does not know itself as {quoted(host)}. If that is its name, set PULSE_HOSTS={host} where it "
        "runs (several names are separated by commas) and restart it. Its IP address needs no setting."
    )
