"""The event loop: its reads, and how a request finds its connection."""

import asyncio
import inspect
import socket
from asyncio import sslproto
from typing import Any

import pytest

from pulse.server.connection import ClientConnection
from pulse.server.loop import READ_BYTES, current_connection
from tests.support.asgi import answer_ok, get, running
from tests.support.waiting import until
from tests.support.web import on_server_loop


@on_server_loop
async def test_no_connection_reads_more_at_once_than_the_buffer() -> None:
    """Outgoing connections too: asyncio allocates a buffer for each read."""
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


def test_tls_reads_with_the_same_buffer_size() -> None:
    """Asyncio's TLS reads by an undocumented attribute: where this fails, look for its new name.

    Without it every frame of the exchange costs ten times as much to read, and nothing else changes.
    """
    assert "self._sslobj.read(self.max_size)" in inspect.getsource(sslproto.SSLProtocol)


@on_server_loop
async def test_each_request_finds_its_own_connection() -> None:
    """Two clients at once have two, and every request of one client has the same."""
    found: list[tuple[int, ClientConnection]] = []

    async def note(receive: Any, send: Any) -> None:
        connection = current_connection()
        assert connection._transport is not None
        found.append((connection._transport.get_extra_info("peername")[1], connection))
        await answer_ok(receive, send)

    async with running(note) as (port, _):
        await asyncio.gather(get(port), get(port))

    assert len({id(connection) for _, connection in found}) == len({port for port, _ in found}) == 2


@on_server_loop
async def test_a_server_of_another_kind_is_not_wrapped() -> None:
    """The loop leaves alone what `serve` did not create, such as the simulated exchange's server."""
    made: list[asyncio.Protocol] = []

    class Plain(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)
            with pytest.raises(LookupError):
                current_connection()
            transport.close()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Plain, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    await reader.read()
    writer.close()
    server.close()
    await server.wait_closed()

    assert len(made) == 1
