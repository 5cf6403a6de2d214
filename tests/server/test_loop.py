"""The event loop: its reads, and how a request finds its connection."""

import asyncio
import inspect
import os
import socket
from asyncio import sslproto
from typing import Any

import pytest

from pulse.server.connection import ClientConnection
from pulse.server.loop import ACCEPTED_AT_ONCE, READ_BYTES, ServerLoop, current_connection
from tests.support.asgi import answer_ok, get, running
from tests.support.waiting import until
from tests.support.web import on_server_loop
from tests.support.websockets import read_to_end


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


@on_server_loop
async def test_exhausted_descriptors_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Connections wait in the kernel meanwhile, and are served as soon as there are descriptors again."""
    resource = pytest.importorskip("resource")
    loop = asyncio.get_running_loop()
    async with running(answer_ok) as (port, _):
        await get(port)
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]  # the loop does not run meanwhile
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.open(os.devnull, os.O_RDONLY)  # the lowest free number
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            for _ in range(500):
                await asyncio.sleep(0)
            refused = [record.getMessage() for record in caplog.records]
            assert isinstance(loop, ServerLoop)
            attempts_after_the_first = loop._accept_trouble._times
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        answers = []
        for client in waiting:
            client.setblocking(False)
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for client in waiting:
            answers.append(await read_to_end(client))
            client.close()

    assert refused == ["connections cannot be accepted reason=Too many open files times=1"]
    assert attempts_after_the_first == 0
    assert {answer[-2:] for answer in answers} == {b"ok"}


@on_server_loop
async def test_other_errors_of_the_loop_are_logged_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """Each with its traceback."""
    asyncio.get_running_loop().call_exception_handler({"message": "a defect", "exception": ValueError("x")})

    assert [(record.name, record.exc_info is not None) for record in caplog.records] == [("asyncio", True)]


@pytest.mark.proves("open-flood")
@on_server_loop
async def test_a_backlog_is_accepted_in_few_turns_of_the_loop() -> None:
    """A client that opens many connections does not make those of others wait for as many turns."""
    accepted: list[asyncio.BaseTransport] = []

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport)

    server = await asyncio.get_running_loop().create_server(Noting, "127.0.0.1", 0)
    port, count = server.sockets[0].getsockname()[1], 3 * ACCEPTED_AT_ONCE
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    turns = 0
    while len(accepted) < count and turns < count:
        await asyncio.sleep(0)
        turns += 1
    for transport in accepted:
        transport.close()
    for client in clients:
        client.close()
    server.close()

    assert len(accepted) == count
    assert turns < count / 2


@on_server_loop
async def test_an_empty_backlog_is_tried_once() -> None:
    """Each further try would cost everybody's views the time of a system call."""

    class Listener:
        attempts = 0

        def accept(self) -> None:
            self.attempts += 1
            raise BlockingIOError

    loop, listener = asyncio.get_running_loop(), Listener()
    assert isinstance(loop, ServerLoop)
    loop._accept_connection(asyncio.Protocol, listener)

    assert listener.attempts == 1
