"""HTTP/1.1 as the server accepts it: what is refused, and the security headers of its own answers."""

import asyncio
import logging
from typing import Any

import h11
import pytest

from pulse.server import http1
from pulse.server.http1 import SECURITY_HEADERS
from pulse.server.listener import REQUEST_HEAD_BYTES_MAX
from tests.support.asgi import accept_and_read, answer_ok, running
from tests.support.web import on_server_loop
from tests.support.websockets import raw_socket, read_to_end

OK = b"HTTP/1.1 200"
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
"""The head of a WebSocket handshake, but for its Connection header."""


async def answer_to(request: bytes, answer: Any = answer_ok) -> bytes:
    """Return all that a server answers to these bytes, whose sender then sends no more."""
    async with running(answer) as (port, _):
        client = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(client, request)
        received = await read_to_end(client)
        client.close()
    return received


@pytest.mark.proves("smuggling")
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n",
    ],
    ids=[
        "request line",
        "header",
        "blank line",
        "all lines",
        "before the request",
        "both lengths",
        "the other way round",
    ],
)
@on_server_loop
async def test_a_head_that_can_be_read_in_two_ways_is_refused(request_bytes: bytes) -> None:
    """With 400 and the end of the connection: what follows is not read as another request."""
    received = await answer_to(request_bytes + b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1
    assert b"connection: close" in received


@pytest.mark.parametrize(
    "header",
    [
        b"Connection: \xe9, Upgrade",
        b"Connection: Upgrade\r\nSec-WebSocket-Protocol: pulse.v1, \xe9",
        b"Connection: Upgrade\r\nSec-WebSocket-Extensions: \xff",
    ],
)
@on_server_loop
async def test_an_upgrade_with_headers_that_are_not_ascii_is_refused(
    header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """No input of a client reaches a traceback; other headers may have any bytes, as cookies of other programs do."""
    received = await answer_to(UPGRADE + header + b"\r\n\r\n")
    cookie = await answer_to(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=\xe9\r\nConnection: close\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 400")
    assert cookie.startswith(OK)
    assert caplog.records == []


async def reject(_: Any, send: Any) -> None:
    """Refuse a WebSocket with an answer."""
    await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"no"})


@pytest.mark.parametrize("answer", [accept_and_read, reject])
@on_server_loop
async def test_a_client_that_goes_on_before_its_upgrade_is_answered_is_cut(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its 400 is Hypercorn's; the app's own answer comes too late, and raises nothing."""
    received = await answer_to(UPGRADE + b"Connection: Upgrade\r\n\r\nearly", answer)

    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n\na\n\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\n\r\n",
    ],
    ids=["content length", "chunked"],
)
@on_server_loop
async def test_a_body_may_hold_line_feeds(request_bytes: bytes) -> None:
    """The rule is for the head alone."""
    assert (await answer_to(request_bytes)).startswith(OK)


@on_server_loop
async def test_a_head_may_come_byte_by_byte_and_requests_one_after_another() -> None:
    """Each head is checked from its own beginning."""
    first, last = (f"GET / HTTP/1.1\r\nHost: x\r\nConnection: {end}\r\n\r\n".encode() for end in ("x", "close"))
    async with running(answer_ok) as (port, _):
        client = await raw_socket(port)
        for at in range(len(first)):
            await asyncio.get_running_loop().sock_sendall(client, first[at : at + 1])
            await asyncio.sleep(0)
        await asyncio.get_running_loop().sock_sendall(client, first + last)
        received = await read_to_end(client)
        client.close()

    assert received.count(OK) == 3


async def answer_nothing(_: Any, __: Any) -> None:
    """End without an answer: the server sends one of its own."""


@pytest.mark.proves("long-head")
@pytest.mark.parametrize(("name_bytes", "is_refused"), [(100, False), (1000, True)])
def test_head_beyond_the_limit_is_refused_though_its_end_has_come(name_bytes: int, is_refused: bool) -> None:
    """h11 looks at the size of heads alone that are incomplete."""
    connection = http1._StrictConnection(512)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * name_bytes + b"\r\n\r\n")
    try:
        connection.next_event()
        status = 0
    except h11.RemoteProtocolError as fault:
        status = fault.error_status_hint

    assert status == (431 if is_refused else 0)


@pytest.mark.proves("headers")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * REQUEST_HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 500),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    ],
)
@on_server_loop
async def test_the_servers_own_answers_have_the_security_headers(request_bytes: bytes, status: int) -> None:
    """Each of them once, as every answer of the app."""
    head = (await answer_to(request_bytes, answer_nothing)).decode().partition("\r\n\r\n")[0].split("\r\n")

    assert head[0].startswith(f"HTTP/1.1 {status}")
    for name, value in SECURITY_HEADERS.items():
        assert head.count(f"{name.lower()}: {value}") == 1
