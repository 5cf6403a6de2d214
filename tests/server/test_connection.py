"""One connection: its input limit, backpressure, the frames it writes itself, and how it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pulse.server import connection
from pulse.server.connection import KEEPALIVE_PING, ClientConnection
from pulse.server.connection_registry import ConnectionRegistry
from pulse.server.flow_control import ACK_INTERVAL_MIN_BYTES
from pulse.server.ws_frames import TEXT_FRAME, frame
from tests.support.asgi import MIB, accept_and_read, get, running
from tests.support.waiting import WAIT_S, until
from tests.support.web import on_server_loop
from tests.support.websockets import PING, PONG, frames, raw_socket, raw_websocket, read_to_end, send_until_cut
from tests.support.websockets import frame as client_frame

VIEW = frame(TEXT_FRAME, b"x" * ACK_INTERVAL_MIN_BYTES)
"""A message after which a ping is due."""
CLOSE_FRAME = b"\x88\x02\x03\xe9"


class Inner(asyncio.Protocol):
    """Stands in for Hypercorn's protocol; keeps how the connection was lost."""

    def __init__(self) -> None:
        self.is_made = False
        self.received = b""
        self.losses: list[Exception | None] = []

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.is_made = True

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep the reason."""
        self.losses.append(exc)


@asynccontextmanager
async def connected(buffer_bytes: int = 0) -> AsyncIterator[tuple[ClientConnection, socket.socket]]:
    """Give a connection and the client's end of its socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    if buffer_bytes:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    connection = ClientConnection(Inner(), ConnectionRegistry(1))
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
    connection.start_websocket()
    with theirs:
        yield connection, theirs
        connection.abort()
        await asyncio.sleep(0)  # the loop closes it


async def receive(client: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    received = b""
    while len(received) < size:
        received += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, size - len(received)), WAIT_S)
    return received


def is_empty(client: socket.socket) -> bool:
    """Return whether nothing has arrived."""
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


# --- input


@pytest.mark.proves("ping-flood")
@on_server_loop
async def test_a_flood_of_pings_is_cut() -> None:
    """Each costs an answer: the input limit keeps the event loop free."""
    async with running(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        sent = await send_until_cut(client, client_frame(PING, b"") * 10_000, bytes_max=50 * MIB)
        answered = await read_to_end(client)
        client.close()

    assert sent < 50 * MIB
    assert len(frames(answered)) < 2000


async def test_discarded_input_reaches_nobody() -> None:
    """Nor is anything written after that."""
    async with connected() as (connection, client):
        connection.discard_input(WAIT_S)
        client.send(client_frame(PING, b"x"))
        connection.write(VIEW)
        await asyncio.sleep(0)

        assert is_empty(client)


# --- backpressure and flow control


async def test_a_full_kernel_buffer_blocks_until_it_has_drained() -> None:
    """The send queue is told both times."""
    async with connected(buffer_bytes=4096) as (connection, client):
        calls: list[str] = []
        connection.attach(lambda: calls.append("writable"), lambda: calls.append("blocked"))
        connection.write(b"x" * MIB)
        was_writable = connection.is_writable()
        connection.on_pong(connection.window.ping_payload())
        await receive(client, MIB)
        await until(lambda: calls == ["blocked", "writable"])

        assert not was_writable
        assert connection.is_writable()


async def test_a_pong_makes_the_connection_writable_again() -> None:
    """The kernel has taken everything, but the client must read before it is sent more."""
    async with connected() as (connection, client):
        calls: list[str] = []
        connection.attach(lambda: calls.append("writable"), lambda: calls.append("blocked"))
        connection.write(VIEW)
        payload = connection.window.ping_payload()
        connection.write(VIEW)
        was_writable = connection.is_writable()
        await receive(client, 2 * len(VIEW))
        client.send(client_frame(PONG, payload))
        await until(lambda: calls == ["writable"])

        assert payload
        assert not was_writable


async def test_after_detach_nothing_is_called_back() -> None:
    """The end of a connection detaches its send queue."""
    async with connected() as (connection, _):
        calls: list[str] = []
        connection.attach(lambda: calls.append("writable"), lambda: calls.append("blocked"))
        connection.detach()
        connection.pause_writing()
        connection.abort()
        await asyncio.sleep(0)

    assert calls == []


async def test_no_frame_follows_the_close_frame() -> None:
    """Neither a message, nor a flow-control ping that a pong makes due, nor a keep-alive ping."""
    async with connected() as (connection, client):
        connection.write(VIEW)
        payload = connection.window.ping_payload()
        connection.window.count_sent(2 * ACK_INTERVAL_MIN_BYTES, 0.0)
        connection.end_websocket()
        connection.write_close_frame(CLOSE_FRAME)
        connection.write(VIEW)
        connection.write_broadcast(VIEW)
        connection.write_remainder(VIEW)
        connection.on_pong(payload)
        connection.send_keepalive_ping()
        sent = await receive(client, len(VIEW) + 6 + len(CLOSE_FRAME))

        assert connection.window.has_outstanding_ping  # the next ping was due
        assert sent.endswith(CLOSE_FRAME)
        assert is_empty(client)


async def test_a_keepalive_ping_waits_for_no_other_data() -> None:
    """It is left out while frames wait to be sent: their deadline is shorter."""
    async with connected(buffer_bytes=4096) as (connection, client):
        connection.write(b"x" * MIB)
        connection.send_keepalive_ping()
        await receive(client, MIB + 6)  # with its flow-control ping
        connection.on_pong(connection.window.ping_payload())
        await until(connection.is_writable)
        connection.send_keepalive_ping()

        assert await receive(client, 2) == KEEPALIVE_PING
        assert is_empty(client)


# --- frames that are not finished


@pytest.mark.proves("half-frame")
@on_server_loop
async def test_half_a_frame_does_not_hold_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of a frame was sent, the connection is aborted when the rest does not come."""
    monkeypatch.setattr(connection, "FRAME_TIMEOUT_S", 0.1)
    whole = client_frame(1, b"x" * 200, mask=b"\x37\xfa\x21\x3d")
    async with running(accept_and_read) as (port, _):
        clients = [(await raw_websocket(port))[0] for _ in range(4)]
        for client, part in zip(clients, (whole[:1], whole[:5], whole[:100], whole + whole[:100]), strict=True):
            await asyncio.get_running_loop().sock_sendall(client, part)
        ends = [await read_to_end(client) for client in clients]
        for client in clients:
            client.close()

    assert ends == [b""] * 4


@on_server_loop
async def test_frames_that_end_in_time_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each part of the input ends within the next frame; between frames a client may be silent."""
    monkeypatch.setattr(connection, "FRAME_TIMEOUT_S", 0.3)
    whole = client_frame(PING, b"x" * 20, mask=b"\x37\xfa\x21\x3d")
    loop = asyncio.get_running_loop()
    async with running(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        await loop.sock_sendall(client, whole[:7])
        for _ in range(10):
            await asyncio.sleep(0.05)
            await loop.sock_sendall(client, whole[7:] + whole[:7])
        await loop.sock_sendall(client, whole[7:])
        pongs = await receive(client, 11 * 22)
        await asyncio.sleep(0.4)
        await loop.sock_sendall(client, whole)
        last = await receive(client, 22)
        client.close()

    assert frames(pongs + last) == [(PONG, b"x" * 20)] * 12


# --- the end


async def test_every_loss_reaches_hypercorn_as_a_reset() -> None:
    """Hypercorn logs any other error, the kernel's time-out too."""
    inner = Inner()
    for fault in (TimeoutError(110, "timed out"), None):
        ClientConnection(inner, ConnectionRegistry(1)).connection_lost(fault)

    assert isinstance(inner.losses[0], ConnectionResetError)
    assert inner.losses[1] is None


@on_server_loop
async def test_the_task_of_a_client_that_left_amid_its_requests_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypercorn would wait for ever before the next of several pipelined requests."""
    monkeypatch.setattr(connection, "TASK_END_GRACE_S", 0.05)

    async def send_much(_: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(MIB)})

    async with running(send_much) as (port, _):
        await get(port)
        tasks_before = len(asyncio.all_tasks())
        client = await raw_socket(port, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        await asyncio.wait_for(loop.sock_recv(client, 1), WAIT_S)
        client.close()

        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)


@pytest.mark.proves("many-new-connections")
@pytest.mark.parametrize(
    ("sent", "is_served"), [(b"GET /healthz HTTP/1.1", True), (b"GET / HTTP/1.1", False), (b"", False)]
)
async def test_a_refused_connection_does_not_reach_hypercorn(sent: bytes, is_served: bool) -> None:
    """It costs no task, no stream and no parser; a health check costs as much as ever."""
    inner, (ours, theirs) = Inner(), socket.socketpair()
    refused = ClientConnection(inner, ConnectionRegistry(0))
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: refused, ours)
    with theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: inner.received == sent if is_served else transport.is_closing())
        transport.abort()
    await until(lambda: bool(inner.losses) == is_served)
    await asyncio.sleep(0)

    assert (inner.is_made, inner.received, inner.losses) == ((True, sent, [None]) if is_served else (False, b"", []))
