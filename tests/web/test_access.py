"""Tokens and roles: who reads what at the real server, and what guessing costs."""

import base64
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.requests import HTTPConnection

from pulse.errors import RequestError
from pulse.settings import Settings
from pulse.web import access as access_module
from pulse.web.access import (
    COOKIE,
    SECONDS_PER_TRY,
    SESSION_S,
    SUBPROTOCOL,
    TRIED_ADDRESSES_MAX,
    TRIES_AT_ONCE,
    WRONG_KEPT,
    Access,
    FailedTries,
    Role,
)
from tests.support.web import SETTINGS, ask, on_server_loop, serving
from tests.support.websockets import raw_websocket

READER, OPERATOR = "a-reader's-token!", "an-operator's-token!"
WITH_TOKENS = replace(SETTINGS, token=READER, operator_token=OPERATOR)
ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""What a proxy adds for a client that is not on this machine."""
DATA = (
    "/readyz", "/orderbook", "/sse?topics=nothing", "/api/symbols", "/api/proof", "/api/proof/BTCUSDT", "/api/ohlcv",
    "/api/gaps", "/api/store", "/api/latency", "/udf/config", "/udf/time", "/openapi.json", "/asyncapi.json",
    "/nothing", "/api/nothing", "/%2e%2e/static/app.js", "/healthz/", "/package.json",
)  # fmt: skip


def bearer(token: str) -> dict[str, str]:
    """Return the header that sends a token."""
    return {"Authorization": f"Bearer {token}"}


def protocol(token: str) -> str:
    """Return the subprotocol that sends a token."""
    return "pulse.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def connection(client: str = "203.0.113.9", **headers: str) -> HTTPConnection[Any]:
    """Return a request of a client; header names are written with underscores."""
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "path": "/", "headers": raw, "client": (client, 1)})


@pytest.mark.proves("no-token")
@on_server_loop
async def test_without_a_token_nothing_but_health_and_the_page_is_open() -> None:
    """401 everywhere else, unknown paths included, with the challenge that a 401 must have."""
    async with serving(WITH_TOKENS, static_dir=Path(__file__).parents[2] / "static") as web:
        health, _, _ = await ask(web, "/healthz")
        async with aiohttp.ClientSession() as browser, browser.get(f"{web.url}/app.js") as script:
            page = script.status
        session, body, _ = await ask(web, "/api/session")
        refused = [await ask(web, path) for path in (*DATA, "/metrics")]
        client, head = await raw_websocket(web.port, "/ws")
        client.close()
        unknown, unknown_head = await raw_websocket(web.port, "/ws/nothing")
        unknown.close()

    assert (health, page, session) == (200, 200, 200)
    assert body == {"role": "anonymous", "token_needed": True, "session": False}
    assert [status for status, _, _ in refused] == [401] * len(refused)
    assert all(headers["WWW-Authenticate"].startswith("Bearer") for _, _, headers in refused)
    assert head.startswith("HTTP/1.1 401")
    assert unknown_head.startswith("HTTP/1.1 401")


@pytest.mark.parametrize(("token", "metrics"), [(READER, 403), (OPERATOR, 200)])
@on_server_loop
async def test_a_token_opens_what_its_role_may_read(token: str, metrics: int) -> None:
    """The operator's opens data too; the reader's does not open /metrics."""
    async with serving(WITH_TOKENS) as web:
        statuses = [(await ask(web, path, **bearer(token)))[0] for path in DATA]
        of_metrics, _, _ = await ask(web, "/metrics", **bearer(token))
        client, head = await raw_websocket(web.port, "/ws", Authorization=f"Bearer {token}")
        client.close()

    assert 401 not in statuses
    assert 403 not in statuses
    assert of_metrics == metrics
    assert head.startswith("HTTP/1.1 101")


@on_server_loop
async def test_a_wrong_token_is_refused_even_where_none_is_needed() -> None:
    """With an operator's token alone data is open, and a wrong one still is no way to guess unnoticed."""
    async with serving(replace(SETTINGS, operator_token=OPERATOR)) as web:
        assert (await ask(web, "/api/symbols"))[0] == 200
        assert (await ask(web, "/api/symbols", **bearer("wrong")))[0] == 401
        assert (await ask(web, "/metrics"))[0] == 401
        assert (await ask(web, "/metrics", **bearer(OPERATOR)))[0] == 200
        # A proxy in front may have an authentication of its own.
        assert (await ask(web, "/api/symbols", Authorization="Basic dXNlcjpwYXNz"))[0] == 200


@on_server_loop
async def test_a_browser_sends_its_token_as_a_subprotocol() -> None:
    """It cannot set a header of a WebSocket. The server chooses the feed's name, and repeats no token."""
    async with serving(WITH_TOKENS) as web:
        offered = f"{SUBPROTOCOL}, {protocol(READER)}"
        client, head = await raw_websocket(web.port, "/ws/orderbook", Sec_WebSocket_Protocol=offered)
        client.close()
        wrong, wrong_head = await raw_websocket(web.port, Sec_WebSocket_Protocol=f"{SUBPROTOCOL}, {protocol('x')}")
        wrong.close()
        broken, broken_head = await raw_websocket(web.port, Sec_WebSocket_Protocol=f"{SUBPROTOCOL}, pulse.token.=%")
        broken.close()

    assert head.startswith("HTTP/1.1 101")
    assert f"sec-websocket-protocol: {SUBPROTOCOL}\r\n" in head.lower()
    assert protocol(READER) not in head
    assert wrong_head.startswith("HTTP/1.1 401")
    assert broken_head.startswith("HTTP/1.1 401")


@pytest.mark.proves("no-token")
@on_server_loop
async def test_a_token_in_the_address_is_not_taken() -> None:
    """Logs and histories keep addresses."""
    async with serving(WITH_TOKENS) as web:
        assert (await ask(web, f"/api/symbols?token={READER}"))[0] == 401


@pytest.mark.proves("troubles")
@on_server_loop
async def test_without_tokens_this_machine_is_the_operator() -> None:
    """A program behind a proxy on this machine is not: others come by the same way."""
    async with serving() as web:
        own, _, _ = await ask(web, "/metrics")
        forwarded, body, _ = await ask(web, "/metrics", **ELSEWHERE)
        data, _, _ = await ask(web, "/api/symbols", **ELSEWHERE)

    assert (own, forwarded, data) == (200, 403, 200)
    assert "PULSE_OPERATOR_TOKEN" in body["detail"]


@pytest.mark.parametrize(
    ("settings", "client", "role"),
    [
        (Settings(), "127.0.0.1", Role.OPERATOR),
        (Settings(), "::1", Role.OPERATOR),
        (Settings(), "::ffff:127.0.0.1", Role.OPERATOR),
        (Settings(), "192.168.1.7", Role.READER),
        (Settings(operator_bind=("127.0.0.1", 1)), "127.0.0.1", Role.READER),
        (Settings(operator_token=OPERATOR), "127.0.0.1", Role.READER),
        (Settings(token=READER), "127.0.0.1", Role.ANONYMOUS),
    ],
)
def test_who_is_what_without_a_credential(settings: Settings, client: str, role: Role) -> None:
    """Any token, and a listener of the operator's own, ends the trust in this machine."""
    assert Access(settings).authenticate(connection(client, host="localhost:8000")) is role


@pytest.mark.proves("troubles")
@pytest.mark.parametrize(
    ("host", "role"),
    [
        ("localhost", Role.OPERATOR), ("pulse.localhost:8000", Role.OPERATOR), ("127.0.0.1:8000", Role.OPERATOR),
        ("[::1]:8000", Role.OPERATOR), ("terminal.example.com", Role.READER), ("203.0.113.5:8000", Role.READER),
        ("localhost.example.com", Role.READER), ("", Role.READER),
    ],
)  # fmt: skip
def test_what_a_tunnel_brings_is_not_of_this_machine(host: str, role: Role) -> None:
    """It comes from this machine without any header of a proxy, and its visitor has asked for another name."""
    assert Access(Settings()).authenticate(connection("127.0.0.1", host=host)) is role


@on_server_loop
async def test_pages_of_other_origins_may_send_tokens() -> None:
    """The preflight of an Authorization header is granted to allowed origins, without a token."""
    settings = replace(WITH_TOKENS, allowed_origins=("https://friend.example",))
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with serving(settings) as web:
        status, _, headers = await ask(web, "/api/symbols", "OPTIONS", Origin="https://friend.example", **asked)
        refused, _, refused_headers = await ask(web, "/api/symbols", Origin="https://friend.example")

    assert status == 200
    assert "authorization" in headers["Access-Control-Allow-Headers"].lower()
    assert refused == 401
    assert refused_headers["Access-Control-Allow-Origin"] == "https://friend.example"  # so that the page may see why


@pytest.mark.proves("guessed-token")
@on_server_loop
async def test_guessing_is_bounded_and_logged_once_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """429 with Retry-After after TRIES_AT_ONCE, the right token included: a guess learns nothing any more."""
    now_s = 1000.0
    async with serving(WITH_TOKENS, clock=lambda: now_s) as web:
        with caplog.at_level(logging.DEBUG, "pulse"):
            guesses = [await ask(web, "/api/symbols", **bearer(f"guess-{n}")) for n in range(TRIES_AT_ONCE + 5)]
            right, body, headers = await ask(web, "/api/symbols", **bearer(READER))
            anonymous, _, _ = await ask(web, "/api/symbols")
            health, _, _ = await ask(web, "/healthz", **bearer("guess"))
            now_s += SECONDS_PER_TRY
            later, _, _ = await ask(web, "/api/symbols", **bearer(READER))

    assert [status for status, _, _ in guesses] == [401] * TRIES_AT_ONCE + [429] * 5
    assert (right, headers["Retry-After"]) == (429, str(int(SECONDS_PER_TRY)))
    assert "wrong tokens" in body["detail"]
    assert (anonymous, health, later) == (401, 200, 200)
    lines = [record.getMessage() for record in caplog.records if record.name == access_module.__name__]
    assert lines == ["too many wrong tokens, address refused address=127.0.0.1 times=1"]


@on_server_loop
async def test_the_same_wrong_token_again_is_no_guess() -> None:
    """A program with an old token, or a browser with an old cookie, does not lock its address."""
    async with serving(WITH_TOKENS, clock=lambda: 0.0) as web:
        for _ in range(2 * TRIES_AT_ONCE):
            assert (await ask(web, "/api/symbols", **bearer("old")))[0] == 401
            assert (await ask(web, "/api/symbols", Cookie=f"{COOKIE}=old.cookie"))[0] == 401
        assert (await ask(web, "/api/symbols", **bearer(READER)))[0] == 200


def test_addresses_are_bounded() -> None:
    """Beyond TRIED_ADDRESSES_MAX the oldest is forgotten; of each address WRONG_KEPT credentials are known."""
    tries = FailedTries()
    for number in range(TRIED_ADDRESSES_MAX + 5):
        tries.count(str(number), b"wrong", 0.0)
    for number in range(WRONG_KEPT):
        tries.count("5", b"%d" % number, 0.0)

    assert len(tries._tried) == TRIED_ADDRESSES_MAX
    assert not tries.is_known_wrong("4", b"wrong")
    assert tries.is_known_wrong("6", b"wrong")
    assert [tries.is_known_wrong("5", wrong) for wrong in (b"wrong", b"0", b"15")] == [False, True, True]


class Session:
    """An `Access` with both tokens and a wall clock of its own."""

    def __init__(self, settings: Settings = WITH_TOKENS) -> None:
        self.now_s = 1_700_000_000.0
        self.access = Access(settings, lambda: 0.0, lambda: self.now_s)

    def role_of(self, cookie: str) -> Role:
        """Return the role that a cookie gives."""
        return self.access.authenticate(connection(Cookie=f"{COOKIE}={cookie}"))


@pytest.mark.parametrize("role", [Role.READER, Role.OPERATOR])
def test_a_session_outlives_a_restart_and_ends(role: Role) -> None:
    """Its code is derived from the token, so another process with the same token takes it, for SESSION_S."""
    cookie = Session().access.new_session(role)
    restarted = Session()

    assert READER not in cookie
    assert OPERATOR not in cookie
    assert restarted.role_of(cookie) is role
    restarted.now_s += SESSION_S - 1
    assert restarted.role_of(cookie) is role
    restarted.now_s += 1
    assert restarted.role_of(cookie) is Role.ANONYMOUS


@pytest.mark.proves("session")
@pytest.mark.parametrize(
    "forge",
    [
        lambda cookie: cookie.replace("reader", "operator"),
        lambda cookie: cookie.replace("reader", "anonymous"),
        lambda cookie: cookie.replace("17", "99", 1),
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie.rpartition(".")[0],
        lambda cookie: "",
        lambda cookie: "...",
        lambda cookie: READER,
    ],
)
def test_a_forged_session_is_anonymous(forge: Any) -> None:
    """Another role, a later end, another code; a cookie is no error, as the page then asks for the token."""
    cookie = Session().access.new_session(Role.READER)

    assert Session().role_of(forge(cookie)) is Role.ANONYMOUS


@pytest.mark.proves("session")
def test_a_changed_token_ends_its_sessions() -> None:
    """The others go on."""
    old = Session()
    reader, operator = old.access.new_session(Role.READER), old.access.new_session(Role.OPERATOR)
    changed = Session(replace(WITH_TOKENS, token="another-reader's-token"))

    assert changed.role_of(reader) is Role.ANONYMOUS
    assert changed.role_of(operator) is Role.OPERATOR


@pytest.mark.proves("guessed-token")
def test_a_session_goes_on_while_others_of_its_address_guess() -> None:
    """One that was seen before: it cannot be guessed. A new one waits, as its code is a way to try a token."""
    session = Session()
    known, new = session.access.new_session(Role.READER), session.access.new_session(Role.READER)
    session.role_of(known)
    for number in range(TRIES_AT_ONCE):
        session.role_of(f"guess-{number}")

    assert session.role_of(known) is Role.READER
    with pytest.raises(RequestError, match="wrong tokens"):
        session.role_of(new)


@on_server_loop
async def test_a_client_library_takes_the_token() -> None:
    """aiohttp's, with the header and with subprotocols."""
    async with serving(WITH_TOKENS) as web, aiohttp.ClientSession() as client:
        async with client.ws_connect(f"{web.url}/ws", headers=bearer(READER)) as feed:
            assert feed.protocol is None
        async with client.ws_connect(f"{web.url}/ws", protocols=(SUBPROTOCOL, protocol(READER))) as feed:
            assert feed.protocol == SUBPROTOCOL
