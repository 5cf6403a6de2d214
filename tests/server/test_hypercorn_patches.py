"""Hypercorn's and wsproto's private names are still what the patches rely on, and the patches have their effect."""

import asyncio
import inspect
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol import ProtocolWrapper, ws_stream
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection
from wsproto.frame_protocol import FrameProtocol

from pulse.server import hypercorn_patches
from tests.support.asgi import MIB, accept_and_read, answer_ok, running
from tests.support.waiting import WAIT_S
from tests.support.web import on_server_loop
from tests.support.websockets import (
    PING,
    PONG,
    TEXT,
    close_code,
    frame,
    frames,
    raw_socket,
    raw_websocket,
    read_to_end,
    send_until_cut,
)

REMEDY = (
    "Hypercorn or wsproto has changed under pulse/server/hypercorn_patches.py. Read what {name} has become in the new "
    "version, adapt its replacement in HYPERCORN_NAMES and this test, and run the tests below, "
    "tests/server/test_connection.py and tests/web/test_websocket.py: they show by behaviour whether bombs, floods and "
    "HTTP/2 are still rejected. If the new version bounds these by itself, drop the replacement. Until then keep the "
    "old pin in pyproject.toml."
)


@pytest.mark.parametrize(("library", "pinned"), [("hypercorn", "0.18.0"), ("wsproto", "1.3.2")])
def test_the_libraries_have_the_versions_that_were_patched(library: str, pinned: str) -> None:
    """The replacements were written against these versions."""
    assert version(library) == pinned, REMEDY.format(name=f"every name of {library}")


@pytest.mark.parametrize(
    ("name", "user", "used_as"),
    [
        (
            "server_extensions_handshake",
            ws_stream.Handshake.accept,
            "accepts = server_extensions_handshake(self.extensions, extensions)",
        ),
        ("Connection", ws_stream.Handshake.accept, "Connection(ConnectionType.SERVER, extensions)"),
        ("Connection.events", ws_stream.WSStream._handle_events, "for event in self.connection.events():"),
        ("WebsocketBuffer", ws_stream.WSStream.__init__, "WebsocketBuffer(config.websocket_max_message_size)"),
        ("FrameTooLargeError", ws_stream.WSStream._handle_events, "except FrameTooLargeError:"),
        ("H11Protocol", ProtocolWrapper.__init__, "self.protocol = H11Protocol("),
        ("H11Protocol.connection", H11Protocol.__init__, "h11.SERVER, max_incomplete_event_size="),
        ("H11Protocol._send_error_response", H11Protocol._handle_events, "await self._send_error_response("),
        ("H2Protocol", ProtocolWrapper.handle, "self.protocol = H2Protocol("),
        ("FrameProtocol._parse_more", FrameProtocol.__init__, "self._parse_more = self._parse_more_gen()"),
        ("TCPServer", hypercorn_run.worker_serve, "await TCPServer(app, loop, config, context, lifespan_state,"),
        ("TCPServer.run", TCPServer.__await__, "return self.run().__await__()"),
        ("TCPServer.protocol", TCPServer.run, "self.protocol = ProtocolWrapper("),
    ],
)
def test_the_replaced_names_are_used_as_before(name: str, user: Callable[..., Any], used_as: str) -> None:
    """Each name is looked up in its module where it is used, so that replacing it there has its effect."""
    assert used_as in inspect.getsource(user), REMEDY.format(name=name)


def test_a_protocol_error_is_a_close_event_of_an_open_connection() -> None:
    """By that `_ObservedWebSocket` decides when to send a close frame of its own."""
    connection = WsprotoConnection(ConnectionType.SERVER)
    connection.receive_data(b"\x83\x80\0\0\0\0")  # a reserved kind of frame
    events = list(connection.events())

    assert isinstance(events[0], CloseConnection), REMEDY.format(name="wsproto.Connection.events")
    assert connection.state is ConnectionState.OPEN, REMEDY.format(name="wsproto.Connection.state")


def test_hypercorn_writes_whole_frames() -> None:
    """Frames of ours may be written between them only because each is one write to the transport."""
    stream, tcp = inspect.getsource(ws_stream.WSStream._send_wsproto_event), inspect.getsource(TCPServer.protocol_send)

    assert "data = self.connection.send(event)" in stream, REMEDY.format(name="WSStream._send_wsproto_event")
    assert tcp.count("self.writer.write(event.data)") == 1, REMEDY.format(name="TCPServer.protocol_send")


def test_after_the_close_frame_hypercorn_closes_the_transport_at_once() -> None:
    """No task that writes to the socket itself runs in between, unless the kernel is full: then it is blocked."""
    source = inspect.getsource(ws_stream.WSStream._handle_events)
    after = source[source.index("_send_wsproto_event(event.response())", source.index("REMOTE_CLOSING")) :]

    assert after.split()[1:3] == ["await", "self.send(StreamClosed(stream_id=self.stream_id))"], REMEDY.format(
        name="WSStream._handle_events"
    )


def test_the_message_buffer_has_the_attributes_that_ours_uses() -> None:
    """`_BoundedMessageBuffer` extends Hypercorn's."""
    buffer = hypercorn_patches._BoundedMessageBuffer(max_length=3)

    assert (buffer.length, buffer.max_length) == (0, 3), REMEDY.format(name="WebsocketBuffer")
    assert {"extend", "clear", "to_message"} <= set(dir(buffer)), REMEDY.format(name="WebsocketBuffer")


def test_the_protocol_s_send_argument_is_in_its_place() -> None:
    """`_Http2Refused` takes it by position."""
    order = list(inspect.signature(H2Protocol.__init__).parameters)

    assert order[9] == "send", REMEDY.format(name="H2Protocol")


# --- by behaviour


@on_server_loop
async def test_a_client_that_sends_on_after_too_large_a_message_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """It receives close code 1009, nothing more of it is buffered, and it is aborted after the grace period."""
    monkeypatch.setattr(hypercorn_patches, "OVERSIZE_GRACE_S", 0.1)
    tracemalloc.start()
    try:
        async with running(accept_and_read) as (port, _):
            client, _ = await raw_websocket(port)
            sent = await send_until_cut(client, frame(TEXT, b"x" * 4097), bytes_max=1000 * MIB)
            received = await read_to_end(client)
            client.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sent < 1000 * MIB
    assert close_code(received) in (1009, 0)  # 0: the reset overtook it
    assert peak < 4 * MIB


@pytest.mark.proves("oversize")
@on_server_loop
async def test_the_fragments_of_a_message_count_together() -> None:
    """A message in many small frames has the same limit as one in a single frame."""
    async with running(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        parts = [frame(TEXT, b"x" * 1000, is_final=False)] + [frame(0, b"x" * 1000, is_final=False)] * 5
        await asyncio.get_running_loop().sock_sendall(client, b"".join(parts))
        received = await read_to_end(client)
        client.close()

    assert close_code(received) == 1009


@on_server_loop
async def test_a_ping_is_answered() -> None:
    """The keep-alive of a client works."""
    async with running(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, frame(PING, b"hello"))
        received = await asyncio.wait_for(loop.sock_recv(client, 100), WAIT_S)
        client.close()

    assert frames(received) == [(PONG, b"hello")]


@pytest.mark.proves("http2")
@pytest.mark.parametrize(
    "opening",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n",
    ],
    ids=["prior knowledge", "upgrade"],
)
@on_server_loop
async def test_http2_is_refused(opening: bytes) -> None:
    """A second protocol on the port would bypass every bound: the connection closes without an HTTP/2 frame."""
    async with running(answer_ok) as (port, _):
        client = await raw_socket(port)
        await asyncio.get_running_loop().sock_sendall(client, opening)
        answer = await read_to_end(client)
        client.close()

    assert answer.partition(b"\r\n\r\n")[2] == b""
