"""Who a client is: anonymous, a reader or the operator, by the token that it sends, and what each may read.

Tokens come as `Authorization: Bearer`, as the cookie of a session that began with one, or among the subprotocols of a
WebSocket: never in an address, which logs and histories keep. They are compared in constant time, and wrong ones are
bounded per address. It knows paths, and nothing of what is served under them.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pulse import stats
from pulse.errors import RequestError, try_later
from pulse.logs import RepeatedTrouble
from pulse.server.addresses import is_loopback
from pulse.settings import Settings
from pulse.web.admission import client_address
from pulse.web.hosts import HEALTH_PATH, is_local
from pulse.web.problems import refuse

log = logging.getLogger(__name__)

SESSION_PATH, METRICS_PATH = "/api/session", "/metrics"
COOKIE = "pulse_session"
SESSION_S = 30 * 86_400
"""How long the cookie of a session is valid: it outlives a restart, and ends at once when its token is changed."""
SESSIONS_KNOWN_MAX = 10_000
SUBPROTOCOL, TOKEN_SUBPROTOCOL = "pulse.v1", "pulse.token."
"""What a WebSocket client from another origin offers: the name of our feed, and its token in base64url without `=`."""
FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

TRIES_AT_ONCE, SECONDS_PER_TRY = 20, 15.0
"""How many different wrong tokens one address may send at once, and in the long run."""
TRIED_ADDRESSES_MAX, WRONG_KEPT = 10_000, 16
"""Addresses whose tries are remembered, and wrong tokens of each: old ones that are sent again are no guesses."""
ROLE = "pulse_role"
"""The key of a client's role in the scope of its request."""


class Role(IntEnum):
    """What a client may read; each one all that the one before it may."""

    ANONYMOUS = 0  # the page's files and /healthz
    READER = 1  # data, and whether the parts work
    OPERATOR = 2  # why they do not, and /metrics


def role_of(connection: HTTPConnection[Any]) -> Role:
    """Return the role of a request's client."""
    role: Role = connection.scope[ROLE]
    return role


class Credential(NamedTuple):
    """The credentials that a client sends: a token, or the cookie of a session."""

    value: str
    is_cookie: bool


def credential_of(connection: HTTPConnection[Any]) -> Credential | None:
    """Return the credential of a request, or None if it has none of ours."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Credential(token.strip(), is_cookie=False)
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return Credential(_decoded(offered.removeprefix(TOKEN_SUBPROTOCOL)), is_cookie=False)
    cookie = connection.cookies.get(COOKIE)
    return None if cookie is None else Credential(cookie, is_cookie=True)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""  # no token is empty


class FailedTries:
    """Bounds how many wrong credentials an address may try; the same one again is no further guess.

    A token bucket per address, as `RateLimiter` has; beyond TRIED_ADDRESSES_MAX the oldest address is forgotten.
    """

    def __init__(self) -> None:
        # When the address's bucket is full again, and the digests of its newest wrong credentials.
        self._tried: dict[str, tuple[float, tuple[bytes, ...]]] = {}
        self._log = RepeatedTrouble(log, "too many wrong tokens, address refused address=%s")

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how many seconds this address must wait before its next try; 0 for none."""
        full_at_s, _ = self._tried.get(address, (now_s, ()))
        return max(0.0, full_at_s - now_s - (TRIES_AT_ONCE - 1) * SECONDS_PER_TRY)

    def is_known_wrong(self, address: str, digest: bytes) -> bool:
        """Return whether this credential was wrong before, as one of the newest."""
        return digest in self._tried.get(address, (0.0, ()))[1]

    def count(self, address: str, digest: bytes, now_s: float) -> None:
        """Count a wrong credential, and log it where the address has no further try."""
        stats.tokens_refused.inc()
        full_at_s, wrong = self._tried.pop(address, (now_s, ()))
        self._tried[address] = max(full_at_s, now_s) + SECONDS_PER_TRY, (*wrong[1 - WRONG_KEPT :], digest)
        if len(self._tried) > TRIED_ADDRESSES_MAX:
            del self._tried[next(iter(self._tried))]
        if self.wait_s(address, now_s):
            self._log.warn(address)


class Access:
    """Finds the role of each client. `clock` returns monotonic seconds, `wall` seconds since 1970.

    Without any token, and without a listener for the operator, programs on this machine are the operator, and everyone
    else is a reader.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        given = ((Role.READER, settings.token), (Role.OPERATOR, settings.operator_token))
        self._tokens = {role: token.encode() for role, token in given if token}
        # A cookie shows no token, and is not valid once the token has changed.
        self._keys = {role: _mac(token, "cookie of a session") for role, token in self._tokens.items()}
        self._trusted_hops = settings.trusted_hops
        self._is_owner_local = not self._tokens and settings.operator_bind is None
        self._clock = clock
        self._wall = wall
        self._tries = FailedTries()
        self._sessions: dict[str, Role] = {}  # cookies that have been verified
        self.has_operator_token = Role.OPERATOR in self._tokens

    @property
    def is_token_needed(self) -> bool:
        """Whether data is for those with a token alone."""
        return Role.READER in self._tokens

    def authenticate(self, connection: HTTPConnection[Any]) -> Role:
        """Return a client's role. Raises RequestError: 401 for a wrong token, 429 after too many of them.

        The cookie of a session that is over makes a client anonymous: it asks for the token anew.
        """
        anonymous = self._anonymous_role(connection)
        credential = credential_of(connection) if self._tokens else None
        if credential is None:
            return anonymous
        role = self._role_with(connection, credential)
        if role is None and not credential.is_cookie:
            raise RequestError(HTTPStatus.UNAUTHORIZED, "The server does not accept this token.")
        return max(role or anonymous, anonymous)

    def log_in(self, connection: HTTPConnection[Any], token: str) -> Role:
        """Return the role that this token gives. Raises RequestError as `authenticate` does."""
        if not self._tokens:
            raise RequestError(HTTPStatus.CONFLICT, "This server has no tokens: nothing needs one.")
        role = self._role_with(connection, Credential(token, is_cookie=False))
        if role is None:
            raise RequestError(HTTPStatus.UNAUTHORIZED, "The server does not accept this token.")
        return role

    def new_session(self, role: Role) -> str:
        """Return the cookie of a new session: the role, its end, a name and their code; it does not hold the token."""
        text = f"{role.name.lower()}.{int(self._wall()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{text}.{_mac(self._keys[role], text).hex()}"

    def is_session(self, connection: HTTPConnection[Any]) -> bool:
        """Return whether a client's cookie is that of a session which gives more than everyone has.

        Whatever else it sends: a token beside a worthless cookie makes no session.
        """
        cookie = connection.cookies.get(COOKIE) if self._tokens else None
        role = None if cookie is None else self._session_role(cookie)
        return role is not None and role > self._anonymous_role(connection)

    def _anonymous_role(self, connection: HTTPConnection[Any]) -> Role:
        if self._is_owner_local and _is_of_this_machine(connection):
            return Role.OPERATOR
        return Role.ANONYMOUS if self.is_token_needed else Role.READER

    def _role_with(self, connection: HTTPConnection[Any], credential: Credential) -> Role | None:
        """Return the role that a credential gives, None if it is wrong. Raises RequestError (429)."""
        # Whoever is in stays in while another client of the same address guesses: a cookie's name cannot be guessed.
        if credential.is_cookie and credential.value in self._sessions:
            return self._session_role(credential.value)
        peer = connection.client.host if connection.client else None
        address = client_address(peer, connection.headers.getlist("x-forwarded-for"), self._trusted_hops)
        digest, now_s = hashlib.sha256(credential.value.encode(errors="surrogateescape")).digest(), self._clock()
        if self._tries.is_known_wrong(address, digest):
            return None
        wait_s = self._tries.wait_s(address, now_s)
        if wait_s:
            text = "Too many wrong tokens came from your address."
            raise try_later(text, math.ceil(wait_s), HTTPStatus.TOO_MANY_REQUESTS)
        role = self._session_role(credential.value) if credential.is_cookie else self._token_role(digest)
        if role is None:
            self._tries.count(address, digest, now_s)
        return role

    def _token_role(self, digest: bytes) -> Role | None:
        found = None
        for role, token in self._tokens.items():  # each is compared, whichever is right
            if hmac.compare_digest(hashlib.sha256(token).digest(), digest):
                found = role
        return found

    def _session_role(self, cookie: str) -> Role | None:
        text, _, code = cookie.rpartition(".")
        name, _, rest = text.partition(".")
        end = rest.partition(".")[0]
        role = next((role for role in self._keys if role.name.lower() == name), None)
        if role is None or not hmac.compare_digest(_mac(self._keys[role], text).hex().encode(), code.encode()):
            self._sessions.pop(cookie, None)
            return None
        if int(end) <= self._wall():  # ours, so it is a number
            self._sessions.pop(cookie, None)
            return None
        self._sessions[cookie] = role
        if len(self._sessions) > SESSIONS_KNOWN_MAX:
            del self._sessions[next(iter(self._sessions))]
        return role


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(errors="surrogateescape"), "sha256")


def _is_of_this_machine(connection: HTTPConnection[Any]) -> bool:
    """Return whether a program on this machine made the request for itself, not a proxy on it for others.

    A proxy or a tunnel that adds none of the headers still passes on the name that its visitor asked for.
    """
    if connection.client is None or not is_loopback(connection.client.host):
        return False
    if not is_local(connection.headers.get("host", "")):
        return False
    return not any(name in connection.headers for name in FORWARDING_HEADERS)


class RoleCheck:
    """ASGI middleware: finds each client's role, and refuses what its role does not include.

    A path that it does not know needs a reader's role: a new route is not open by mistake.
    """

    def __init__(self, app: ASGIApp, access: Access, open_paths: frozenset[str]) -> None:
        self._app = app
        self._access = access
        self._open_paths = open_paths | {HEALTH_PATH}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request or one WebSocket; pass the lifespan on."""
        if scope["type"] != "lifespan":
            try:
                scope[ROLE] = self._role(scope)
            except RequestError as error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _role(self, scope: Scope) -> Role:
        if scope["path"] in self._open_paths:
            return Role.ANONYMOUS
        role = self._access.authenticate(HTTPConnection(scope))
        if scope["path"] == METRICS_PATH and role < Role.OPERATOR:
            raise self._not_the_operator(role)
        if scope["path"] != SESSION_PATH and role < Role.READER:
            raise RequestError(
                HTTPStatus.UNAUTHORIZED,
                "This server needs a token: send it as Authorization: Bearer, or open the page, which asks for it.",
            )
        return role

    def _not_the_operator(self, role: Role) -> RequestError:
        if not self._access.has_operator_token:
            text = (
                "This is for the operator: set PULSE_OPERATOR_TOKEN, or PULSE_OPERATOR_BIND and read it there, "
                "or without any token ask from the server's own machine."
            )
            return RequestError(HTTPStatus.FORBIDDEN, text)
        status = (
            HTTPStatus.FORBIDDEN if role is Role.READER and self._access.is_token_needed else HTTPStatus.UNAUTHORIZED
        )
        return RequestError(status, "This needs the operator's token.")


class OperatorOnly:
    """ASGI middleware of the operator's own listener: whoever reaches it is the operator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket or the lifespan."""
        if scope["type"] != "lifespan":
            scope[ROLE] = Role.OPERATOR
        await self._app(scope, receive, send)
