"""The server: its port, its end whatever clients do, and the bounds on what they can cost."""

import asyncio
import logging
import socket
import time
from typing import Any

import aiohttp
import pytest

from pulse.errors import SettingsError
from pulse.server import listener
from pulse.server.connection import current_connection
from pulse.server.listener import open_listener, serve
from tests.support.asgi import MIB, answering, get, say_ok
from tests.support.web import (
    WAIT_S,
    on_server_loop,
    raw_socket,
    raw_websocket,
    serving,
)

# --- the port


def test_a_port_in_use_is_one_clear_sentence() -> None:
    """Whoever starts a second one reads which port, and what to do."""
    with open_listener("127.0.0.1", 0) as first, pytest.raises(SettingsError) as caught:
        open_listener("127.0.0.1", first.getsockname()[1])

    assert "in use" in str(caught.value)
    assert "set PORT" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70 + ".example", "host\0"])
def test_a_host_that_is_not_here_is_one_clear_sentence(host: str) -> None:
    """A name that does not resolve, and an address of another machine, are told alike."""
    with pytest.raises(SettingsError, match=r"^PULSE_HOST must be an address of this machine"):
        open_listener(host, 0)


@on_server_loop
async def test_accepted_connections_inherit_the_bounds_of_the_listener() -> None:
    """The kernel keeps little for a client that does not read, and gives it up in time; we keep nothing."""
    options: dict[str, int] = {}

    async def look(receive: Any, send: Any) -> None:
        connection = current_connection()
        assert connection is not None
        assert connection._transport is not None
        accepted = connection._transport.get_extra_info("socket")
        options["lowat"] = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        options["timeout"] = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        options["buffer"] = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        options["ours"] = connection._transport.get_write_buffer_limits()[1]
        await say_ok(receive, send)

    async with answering(look) as (port, _):
        await get(port)

    assert options["lowat"] == listener.UNSENT_BYTES
    assert options["timeout"] == listener.UNACKNOWLEDGED_MS
    assert options["buffer"] <= 2 * listener.SEND_BUFFER_BYTES
    assert options["ours"] == 0


@on_server_loop
async def test_the_server_does_not_say_what_it_is() -> None:
    """There is no Server header to choose an attack by."""
    async with answering(say_ok) as (port, _):
        answer = await get(port)

    assert answer.endswith(b"\r\n\r\nok")
    assert b"\r\nserver:" not in answer.lower()


# --- the end


@on_server_loop
async def test_the_end_of_a_server_closes_its_port() -> None:
    """After `serve` has returned nobody can connect."""
    async with answering(say_ok) as (port, stop):
        await get(port)
        stop.set()

    with pytest.raises(ConnectionRefusedError):
        await raw_socket(port)


@on_server_loop
async def test_goodbye_is_said_once_when_stopping_begins() -> None:
    """The app learns of the stop before anyone is cut."""
    said: list[float] = []
    async with answering(say_ok, lambda: said.append(time.monotonic())) as (port, stop):
        await get(port)
        before_s = time.monotonic()
        stop.set()

    assert len(said) == 1
    assert said[0] - before_s < 0.5


@on_server_loop
async def test_nothing_a_client_does_delays_the_end() -> None:
    """Silence, half a request, a download and a feed that are not read: the server ends within 3 s."""

    async def send_much(receive: Any, send: Any) -> None:
        if (await receive())["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(32 * MIB)})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(32 * MIB)})

    async with answering(send_much) as (port, stop):
        loop = asyncio.get_running_loop()
        silent, half, download = [await raw_socket(port, 4096) for _ in range(3)]
        await loop.sock_sendall(half, b"GET / HTTP/1.1\r\nHost:")
        await loop.sock_sendall(download, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(loop.sock_recv(download, 1), WAIT_S)
        feed, _ = await raw_websocket(port, receive_buffer_bytes=4096)
        started_s = time.monotonic()
        stop.set()
    took_s = time.monotonic() - started_s
    for client in (silent, half, download, feed):
        client.close()

    assert took_s < 3


@on_server_loop
async def test_a_handler_that_hangs_does_not_delay_the_end() -> None:
    """A request that still waits for something is given up."""

    async def hang(_: Any, __: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    reached = asyncio.Event()
    async with answering(hang) as (port, stop):
        client = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reached.wait(), WAIT_S)
        started_s = time.monotonic()
        stop.set()
    took_s = time.monotonic() - started_s
    client.close()

    assert took_s < 3


@on_server_loop
async def test_a_server_that_cannot_begin_says_so() -> None:
    """Hypercorn's own failure ends `serve` instead of leaving it waiting."""
    listener = open_listener("127.0.0.1", 0)
    listener.close()

    async def app(*_: Any) -> None: ...

    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(serve(app, listener, asyncio.Event(), lambda: None, 1), WAIT_S)


async def test_on_another_loop_it_serves_all_the_same() -> None:
    """Where connections cannot be reached, views and the goodbye still go by Hypercorn's own way."""
    async with serving() as web, aiohttp.ClientSession() as client:
        web.publish(1)
        async with client.ws_connect(web.feed_url) as feed:
            first = await feed.receive_json(timeout=WAIT_S)
            web.stop.set()
            end = await feed.receive(timeout=WAIT_S)

    assert current_connection() is None
    assert first["seq"] == 1
    assert end.data == 1001


# --- bounds on what comes in


@on_server_loop
async def test_connections_beyond_the_bound_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors stay free for the feed; a connection that ended makes room."""
    monkeypatch.setattr(listener, "CONNECTIONS_SPARE", -9)  # with ten clients: one connection
    async with answering(say_ok) as (port, _):
        first = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(first, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(first, 1), WAIT_S)
        refused = await get(port)
        first.close()
        answered = b""
        while not answered:
            answered = await get(port)

    assert refused == b""


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The process takes as many descriptors as it may, and says so if that is fewer than the bounds need."""
    resource = pytest.importorskip("resource")
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 128))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))
    with caplog.at_level(logging.WARNING, "pulse.server.listener"):
        listener._allow_open_files(1000)

    assert taken == [(128, 128)]
    assert "few open files allowed" in caplog.text
