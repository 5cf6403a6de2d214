"""One connection and the register of all: what one may send, how the dead are noticed, and how each ends."""

import asyncio
import inspect
import socket
from asyncio import sslproto
from typing import Any

import pytest

from pulse.server import connection
from pulse.server.connection import READ_BYTES, Connection, Connections
from tests.support.asgi import MIB, accept_and_read, answering, get
from tests.support.web import (
    PING,
    WAIT_S,
    frame,
    frames,
    on_server_loop,
    raw_socket,
    raw_websocket,
    read_to_end,
    send_until_cut,
    until,
)


@on_server_loop
async def test_an_endless_flood_is_cut() -> None:
    """Pings, which each cost an answer, are bounded by what one connection may send: the loop is not held up."""
    async with answering(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        sent = await send_until_cut(client, frame(PING, b"") * 10_000, bytes_max=50 * MIB)
        answered = await read_to_end(client)
        client.close()

    assert sent < 50 * MIB
    assert len(frames(answered)) < 2000


@on_server_loop
async def test_we_ping_so_that_the_dead_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebSocket is pinged again and again."""
    monkeypatch.setattr(connection, "PING_EVERY_S", 0.02)
    async with answering(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        loop, received = asyncio.get_running_loop(), b""
        while len(received) < 4:
            received += await asyncio.wait_for(loop.sock_recv(client, 4), WAIT_S)
        client.close()

    assert frames(received)[:2] == [(PING, b""), (PING, b"")]


@pytest.mark.parametrize(
    ("silent_s", "said", "is_cut"),
    [
        (connection.PING_EVERY_S - 1, b"", False),
        (connection.PING_EVERY_S, connection.PING_FRAME, False),
        (connection.SILENCE_MAX_S - 1, connection.PING_FRAME, False),
        (connection.SILENCE_MAX_S + 1, b"", True),
    ],
)
async def test_only_the_silent_are_pinged_and_the_dead_cut(silent_s: float, said: bytes, is_cut: bool) -> None:
    """Who answers for what it was sent needs no other ping, and who says nothing for longer than two is gone."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, one = await loop.create_connection(lambda: Connection(asyncio.Protocol(), Connections(1)), sock=ours)
    one.upgraded()
    one.ping_if_silent(loop.time() + silent_s)
    was_cut = transport.is_closing()
    transport.abort()
    await asyncio.sleep(0)  # the loop closes it
    with theirs:
        heard = theirs.recv(100)

    assert (heard, was_cut) == (said, is_cut)


@on_server_loop
async def test_no_connection_reads_more_at_once_than_it_needs() -> None:
    """Whoever opened it: each read sets aside as much as it might find."""
    pieces: list[int] = []

    class Reader(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            pieces.append(len(data))

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(bytes(2 * READ_BYTES + 1))
        transport, _ = await asyncio.get_running_loop().create_connection(Reader, sock=ours)
        await until(lambda: sum(pieces) == 2 * READ_BYTES + 1)
        transport.abort()
        await asyncio.sleep(0)  # the loop closes it

    assert pieces == [READ_BYTES, READ_BYTES, 1]


def test_what_tls_has_deciphered_is_read_by_the_same_measure() -> None:
    """asyncio reads it by a figure that its documentation does not name: where this fails, see whether it has another.

    Without it every frame of the exchange costs ten times as much to read, and nothing else changes.
    """
    assert "self._sslobj.read(self.max_size)" in inspect.getsource(sslproto.SSLProtocol)


async def test_all_who_are_pinged_have_their_turn_until_they_leave() -> None:
    """Each part of the register comes once in a round, whoever else there is."""
    register = Connections(100)
    here = [Connection(asyncio.Protocol(), register) for _ in range(50)]
    for one in here:
        register.admit(one)
        register.ping(one)
    register.remove(here[0])

    assert {one for part in register._turns for one in part} == set(here[1:])
    assert {len(part) for part in register._turns} <= {2, 3}


async def test_who_was_gone_before_it_was_served_is_not_kept() -> None:
    """A reset right after the handshake is heard of before the session begins, which then asks for pings."""
    register = Connections(100)
    gone = Connection(asyncio.Protocol(), register)
    register.admit(gone)
    register.remove(gone)
    gone.upgraded()

    assert not any(register._turns)


async def test_a_lost_connection_is_told_as_a_reset() -> None:
    """The kernel's time-out reaches Hypercorn as the one error that it takes quietly."""
    told: list[Exception | None] = []

    class Inner(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            told.append(exc)

    for fault in (TimeoutError(110, "timed out"), None):
        Connection(Inner(), Connections(1)).connection_lost(fault)

    assert isinstance(told[0], ConnectionResetError)
    assert told[1] is None


@on_server_loop
async def test_a_client_that_asks_for_much_and_leaves_is_forgotten() -> None:
    """Hypercorn waits for ever with the next of several requests; its task is ended."""

    async def send_much(_: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(MIB)})

    async with answering(send_much) as (port, _):
        await get(port)
        tasks_before = len(asyncio.all_tasks())
        client = await raw_socket(port, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        await asyncio.wait_for(loop.sock_recv(client, 1), WAIT_S)
        client.close()

        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
