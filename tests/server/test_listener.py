"""The server: its port, its stop whatever clients do, and the bounds on connections and descriptors."""

import asyncio
import logging
import socket
from typing import Any

import pytest

from pulse.errors import SettingsError
from pulse.server import connection, listener
from pulse.server.listener import open_listener, serve
from pulse.server.loop import current_connection
from tests.support.asgi import MIB, answer_ok, get, running
from tests.support.waiting import WAIT_S
from tests.support.web import on_server_loop
from tests.support.websockets import raw_socket, raw_websocket, read_to_end

# --- the port


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    """It names the port, and what to do."""
    with open_listener("127.0.0.1", 0) as first, pytest.raises(SettingsError) as caught:
        open_listener("127.0.0.1", first.getsockname()[1])

    assert "in use" in str(caught.value)
    assert "set PORT" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70 + ".example", "host\0"])
def test_a_foreign_host_is_reported_in_one_sentence(host: str) -> None:
    """A name that does not resolve, and an address of another machine, alike."""
    with pytest.raises(SettingsError, match=r"^PULSE_HOST must be an address of this machine"):
        open_listener(host, 0)


@on_server_loop
async def test_accepted_connections_inherit_the_socket_options_of_the_listener() -> None:
    """The kernel buffers little for a client that does not read, and drops it in time; asyncio buffers nothing."""
    options: dict[str, int] = {}

    async def read_options(receive: Any, send: Any) -> None:
        transport = current_connection()._transport
        assert transport is not None
        accepted = transport.get_extra_info("socket")
        options["lowat"] = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        options["timeout"] = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        options["buffer"] = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        options["transport"] = transport.get_write_buffer_limits()[1]
        await answer_ok(receive, send)

    async with running(read_options) as (port, _):
        await get(port)

    assert options["lowat"] == listener.NOTSENT_LOWAT_BYTES
    assert options["timeout"] == listener.USER_TIMEOUT_MS
    assert options["buffer"] <= 2 * listener.SEND_BUFFER_BYTES
    assert options["transport"] == 0


@pytest.mark.proves("details")
@on_server_loop
async def test_there_is_no_server_header() -> None:
    """The product behind the port is not disclosed."""
    async with running(answer_ok) as (port, _):
        answer = await get(port)

    assert answer.endswith(b"\r\n\r\nok")
    assert b"\r\nserver:" not in answer.lower()


# --- stopping


@on_server_loop
async def test_a_stopped_server_has_closed_its_port() -> None:
    """After `serve` has returned, connecting is refused."""
    async with running(answer_ok) as (port, stop):
        await get(port)
        stop.set()

    with pytest.raises(ConnectionRefusedError):
        await raw_socket(port)


@pytest.fixture
def _short_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits of a stop."""
    monkeypatch.setattr(listener, "STOP_GRACE_S", 0.05)
    monkeypatch.setattr(listener, "STOP_TASKS_S", 0.1)


@on_server_loop
@pytest.mark.usefixtures("_short_stop")
async def test_sessions_are_closed_once_before_any_connection_is_aborted() -> None:
    """The app can still send its close frames."""
    was_open: list[bool] = []

    def close_sessions() -> None:
        with pytest.raises(BlockingIOError):
            client.recv(1)
        was_open.append(True)

    async with running(answer_ok, close_sessions) as (port, stop):
        await get(port)
        client = await raw_socket(port)
        stop.set()
    end = client.recv(1)
    client.close()

    assert was_open == [True]
    assert end == b""


@pytest.mark.proves("stop")
@on_server_loop
@pytest.mark.usefixtures("_short_stop")
async def test_connections_that_do_not_end_are_aborted_at_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    """An idle client, half a request, an unread download and an unread WebSocket do not delay the stop."""

    async def send_much(receive: Any, send: Any) -> None:
        if (await receive())["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(32 * MIB)})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(32 * MIB)})

    with caplog.at_level(logging.INFO, "pulse.server.listener"):
        async with running(send_much) as (port, stop):
            loop = asyncio.get_running_loop()
            idle, half, download = [await raw_socket(port, 4096) for _ in range(3)]
            await loop.sock_sendall(half, b"GET / HTTP/1.1\r\nHost:")
            await loop.sock_sendall(download, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(loop.sock_recv(download, 1), WAIT_S)
            websocket, _ = await raw_websocket(port, receive_buffer_bytes=4096)
            stop.set()
    for client in (idle, half, download, websocket):
        client.close()

    assert "connections aborted at stop count=" in caplog.text


@on_server_loop
@pytest.mark.usefixtures("_short_stop")
async def test_a_request_that_hangs_is_cancelled_at_the_stop() -> None:
    """A handler that still waits, such as for the store, does not delay the stop."""
    reached, ends = asyncio.Event(), []

    async def hang(_: Any, __: Any) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with running(hang) as (port, stop):
        client = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reached.wait(), WAIT_S)
        stop.set()
    client.close()

    assert ends == ["cancelled"]


def test_a_stop_takes_a_few_seconds_at_most() -> None:
    """Hypercorn cancels its own tasks after the connections have been aborted."""
    assert listener.STOP_GRACE_S < listener.STOP_TASKS_S
    assert listener.STOP_GRACE_S + listener.STOP_TASKS_S < 3


@on_server_loop
async def test_a_server_that_cannot_start_raises() -> None:
    """Hypercorn's failure ends `serve` instead of leaving it waiting."""
    closed = open_listener("127.0.0.1", 0)
    closed.close()

    async def app(*_: Any) -> None: ...

    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(serve(app, closed, asyncio.Event(), lambda: None, 1), WAIT_S)


async def test_another_event_loop_is_refused() -> None:
    """There connections could not be aborted: the error says which loop to use."""

    async def app(*_: Any) -> None: ...

    with open_listener("127.0.0.1", 0) as unused, pytest.raises(RuntimeError, match="loop_factory"):
        await serve(app, unused, asyncio.Event(), lambda: None, 1)


# --- bounds


@on_server_loop
async def test_connections_beyond_the_limit_are_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors stay free for the exchange's streams; a connection that ended makes room."""
    monkeypatch.setattr(listener, "EXTRA_CONNECTIONS", -9)  # with ten clients: one connection
    async with running(answer_ok) as (port, _):
        first = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(first, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(first, 1), WAIT_S)
        refused = await get(port)
        first.close()
        answered = b""
        while not answered:
            answered = await get(port)

    assert refused == b""


async def health(port: int, source: str, request: bytes = b"GET /healthz HTTP/1.1") -> bytes:
    """Return the answer to a request from this address of the loopback network."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((source, 0))
    loop = asyncio.get_running_loop()
    with client:
        try:
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, request + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        except ConnectionError:
            return b""
        return await read_to_end(client)


@pytest.mark.proves("many-connections")
@on_server_loop
async def test_health_is_answered_while_silent_connections_take_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check gets through, of the same address too; anything else beyond the limit does not."""
    monkeypatch.setattr(listener, "EXTRA_CONNECTIONS", 20)
    async with running(answer_ok) as (port, _):
        silent = [await raw_socket(port) for _ in range(100)]
        answers = [await health(port, source) for source in ("127.0.0.1", "127.0.0.2", "127.0.0.2")]
        other = await health(port, "127.0.0.2", b"GET / HTTP/1.1")
        for client in silent:
            client.close()

    assert [answer[-2:] for answer in answers] == [b"ok"] * 3
    assert other == b""


@pytest.mark.proves("many-connections")
@on_server_loop
async def test_one_address_does_not_take_the_places_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent connections of one address are refused beyond its own limit; everybody else is served as before."""
    monkeypatch.setattr(listener, "EXTRA_PER_ADDRESS", 10)
    async with running(answer_ok, clients_per_address_max=10) as (port, _):
        silent = [await raw_socket(port) for _ in range(300)]
        answers = [await health(port, "127.0.0.2", b"GET / HTTP/1.1") for _ in range(5)]
        own = await health(port, "127.0.0.1", b"GET / HTTP/1.1")
        for client in silent:
            client.close()

    assert [answer[-2:] for answer in answers] == [b"ok"] * 5
    assert own == b""


@on_server_loop
async def test_a_reserved_place_is_held_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent connection beyond the limits is aborted."""
    monkeypatch.setattr(listener, "EXTRA_CONNECTIONS", -9)
    monkeypatch.setattr(connection, "RESERVED_S", 0.05)
    async with running(answer_ok) as (port, _):
        first, *silent = [await raw_socket(port) for _ in range(4)]
        ends = [await read_to_end(client) for client in silent]
        for client in (first, *silent):
            client.close()

    assert ends == [b""] * 3


def test_a_low_limit_of_open_files_is_raised_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The soft limit goes up to the hard one, with a warning if that is lower than the bounds need."""
    resource = pytest.importorskip("resource")
    limits_set: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 128))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: limits_set.append(limits))
    with caplog.at_level(logging.WARNING, "pulse.server.listener"):
        allowed = listener._raise_descriptor_limit(1000)

    assert allowed == 128
    assert limits_set == [(128, 128)]
    assert "open file limit too low" in caplog.text
