"""Sessions at the real server: a token for a cookie, what the cookie may be used for, and the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http.cookies import Morsel, SimpleCookie
from typing import Any

import aiohttp
import orjson
import pytest

from pulse.settings import Settings
from pulse.web.access import COOKIE, SESSION_S, TRIES_AT_ONCE
from pulse.web.api import session as session_module
from pulse.web.api.session import BODY_BYTES_MAX
from tests.support.web import SETTINGS, Web, ask, on_server_loop, serving
from tests.support.websockets import raw_socket, raw_websocket, read_to_end

READER, OPERATOR = "a-reader's-token!", "an-operator's-token!"
WITH_TOKENS = replace(SETTINGS, token=READER, operator_token=OPERATOR)


@asynccontextmanager
async def answer_to(web: Web, body: bytes, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Log in with this body, without a cookie jar."""
    jar = aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(cookie_jar=jar) as client,
        client.post(f"{web.url}/api/session", data=body, headers=headers) as answer,
    ):
        yield answer


async def log_in(web: Web, token: str, **headers: str) -> tuple[int, Any, Morsel[str] | None]:
    """Log in; return status, body and cookie."""
    async with answer_to(web, orjson.dumps({"token": token}), **headers) as answer:
        cookie = SimpleCookie(answer.headers.get("Set-Cookie", "")).get(COOKIE)
        return answer.status, orjson.loads(await answer.read()), cookie


@pytest.mark.proves("session")
@pytest.mark.parametrize(("token", "role"), [(READER, "reader"), (OPERATOR, "operator")])
@on_server_loop
async def test_a_token_begins_a_session(token: str, role: str) -> None:
    """The cookie is for the server alone, no script reads it, and it opens what the token opens."""
    async with serving(WITH_TOKENS) as web:
        status, body, cookie = await log_in(web, token)
        assert cookie is not None
        sent = {"Cookie": f"{COOKIE}={cookie.value}"}
        data, _, _ = await ask(web, "/api/symbols", **sent)
        metrics, _, _ = await ask(web, "/metrics", **sent)
        _, session, _ = await ask(web, "/api/session", **sent)
        client, head = await raw_websocket(web.port, "/ws", Cookie=sent["Cookie"])
        client.close()

    assert (status, body) == (200, {"role": role, "token_needed": True, "session": True})
    assert token not in cookie.value
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "strict", "/", "")
    assert cookie["max-age"] == str(SESSION_S)
    assert (data, metrics) == (200, 200 if role == "operator" else 403)
    assert session == body
    assert head.startswith("HTTP/1.1 101")


@pytest.mark.parametrize("scheme", ["Origin", "X-Forwarded-Proto"])
@on_server_loop
async def test_the_cookie_is_secure_where_the_page_came_by_https(scheme: str) -> None:
    """The proxy that ends TLS says so, or the origin of the page does."""
    async with serving(WITH_TOKENS) as web:
        value = f"https://127.0.0.1:{web.port}" if scheme == "Origin" else "https"
        _, _, cookie = await log_in(web, READER, **{scheme: value})

    assert cookie is not None
    assert cookie["secure"] is True


@pytest.mark.proves("guessed-token")
@on_server_loop
async def test_a_wrong_token_begins_none() -> None:
    """401 and no cookie; guesses here are counted with all others."""
    async with serving(WITH_TOKENS, clock=lambda: 0.0) as web:
        answers = [await log_in(web, f"guess-{number}") for number in range(TRIES_AT_ONCE + 1)]
        right, _, _ = await log_in(web, READER)

    assert [status for status, _, _ in answers] == [401] * TRIES_AT_ONCE + [429]
    assert not any(cookie for _, _, cookie in answers)
    assert right == 429


@on_server_loop
async def test_a_page_of_another_origin_begins_no_session() -> None:
    """Nor ends one: its own requests carry the token."""
    async with serving(replace(WITH_TOKENS, allowed_origins=("https://friend.example",))) as web:
        status, _, cookie = await log_in(web, READER, Origin="https://friend.example")
        end, _, _ = await ask(web, "/api/session", "DELETE", Origin="https://friend.example")

    assert (status, cookie, end) == (403, None, 403)


@on_server_loop
async def test_the_end_of_a_session_drops_the_cookie() -> None:
    """The browser forgets it at once."""
    async with serving(WITH_TOKENS) as web:
        status, _, headers = await ask(web, "/api/session", "DELETE")

    cookie = SimpleCookie(headers["Set-Cookie"])[COOKIE]
    assert (status, cookie.value, cookie["max-age"]) == (204, "", "0")


@pytest.mark.parametrize("settings", [WITH_TOKENS, replace(SETTINGS, operator_token=OPERATOR)])
@on_server_loop
async def test_a_cookie_that_is_worth_nothing_is_dropped(settings: Settings) -> None:
    """As after a change of the token; it is no session where data is open, or beside a token that is right, either."""
    async with serving(settings) as web:
        _, body, headers = await ask(web, "/api/session", Cookie=f"{COOKIE}=operator.9999999999.x.y")
        _, _, without = await ask(web, "/api/session")
        _, _, cookie = await log_in(web, OPERATOR)
        assert cookie is not None
        _, right, kept = await ask(web, "/api/session", Cookie=f"{COOKIE}={cookie.value}")
    async with serving() as web:
        _, open_to_all, dropped = await ask(web, "/api/session", Cookie=f"{COOKIE}={cookie.value}")

    async with serving(settings) as web:
        headers_sent = {"Authorization": f"Bearer {OPERATOR}", "Cookie": f"{COOKIE}=operator.9999999999.x.y"}
        _, beside, beside_headers = await ask(web, "/api/session", **headers_sent)
        headers_sent["Cookie"] = f"{COOKIE}={cookie.value}"
        _, both, both_headers = await ask(web, "/api/session", **headers_sent)

    assert (beside["role"], beside["session"], "Set-Cookie" in beside_headers) == ("operator", False, True)
    assert (both["role"], both["session"], "Set-Cookie" in both_headers) == ("operator", True, False)
    assert (open_to_all["session"], "Set-Cookie" in dropped) == (False, True)
    assert body["session"] is False
    assert SimpleCookie(headers["Set-Cookie"])[COOKIE]["max-age"] == "0"
    assert "Set-Cookie" not in without
    assert right["session"] is True
    assert "Set-Cookie" not in kept


@on_server_loop
async def test_without_tokens_there_is_no_session() -> None:
    """Nothing needs one, and the page is told so."""
    async with serving() as web:
        status, _, _ = await log_in(web, READER)
        _, session, _ = await ask(web, "/api/session")

    assert status == 409
    assert session == {"role": "operator", "token_needed": False, "session": False}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"x", 400), (b"[]", 400), (b'"t"', 400), (b"{}", 400), (b'{"token":1}', 400),
        (b'{"token":"\xff"}', 400), (b"[" * BODY_BYTES_MAX, 400), (b"x" * (BODY_BYTES_MAX + 1), 413),
        (b"x" * 100_000, 413), (b'{"token":""}', 400), (b'{"token":"\\ud800"}', 400), ('{"token":"é"}'.encode(), 400),
        (b'{"token":"x y"}', 400), (b'{"token":"x\\n"}', 400), (b'{"token":"x","more":1}', 400),
        (b'{"token":"x"}', 401),
    ],
)  # fmt: skip
@on_server_loop
async def test_what_is_no_token_is_refused(body: bytes, status: int) -> None:
    """With a sentence, whatever is sent."""
    async with serving(WITH_TOKENS) as web, answer_to(web, body) as answer:
        assert answer.status == status
        assert (await answer.json(content_type=None))["detail"]


@on_server_loop
async def test_other_methods_are_refused_with_those_that_exist() -> None:
    """All in one header."""
    async with serving() as web:
        status, _, headers = await ask(web, "/api/session", "PUT")

    assert status == 405
    assert set(headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE"}


@on_server_loop
async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request is answered after BODY_TIMEOUT_S."""
    monkeypatch.setattr(session_module, "BODY_TIMEOUT_S", 0.05)
    async with serving(WITH_TOKENS) as web:
        client = await raw_socket(web.port)
        head = f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nContent-Length: 20\r\n\r\n"
        client.send(head.encode())
        answer = await read_to_end(client)
        client.close()

    assert answer.startswith(b"HTTP/1.1 408")
