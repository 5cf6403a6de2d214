"""The private names of Hypercorn that pulse/server.py stands on: whether they are still what they were."""

import asyncio
import inspect
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol import ProtocolWrapper, ws_stream
from hypercorn.protocol.h2 import H2Protocol
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection

from pulse import server

REMEDY = (
    "Hypercorn or wsproto has changed under pulse/server.py. Read what {name} has become in the new version, adapt its "
    "replacement in HYPERCORN_NAMES and this test, and run tests/test_server.py and tests/test_session.py: they show "
    "by behaviour whether bombs, floods and HTTP/2 are still refused. If the new version bounds these by itself, drop "
    "the replacement. Until then keep the old pin in pyproject.toml."
)


@pytest.mark.parametrize(("library", "pinned"), [("hypercorn", "0.18.0"), ("wsproto", "1.3.2")])
def test_the_libraries_are_those_that_were_read(library: str, pinned: str) -> None:
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
        ("H2Protocol", ProtocolWrapper.handle, "self.protocol = H2Protocol("),
    ],
)
def test_the_replaced_names_are_used_as_they_were(name: str, user: Callable[..., Any], used_as: str) -> None:
    """Each name is looked up in its module where it is used, so that replacing it there has its effect."""
    assert used_as in inspect.getsource(user), REMEDY.format(name=name)


def test_what_broke_the_protocol_is_told_as_a_close_of_an_open_connection() -> None:
    """That is how our conversation knows when the client must be told why it is cut."""
    conversation = WsprotoConnection(ConnectionType.SERVER)
    conversation.receive_data(b"\x83\x80\0\0\0\0")  # a reserved kind of frame
    events = list(conversation.events())

    assert isinstance(events[0], CloseConnection), REMEDY.format(name="wsproto.Connection.events")
    assert conversation.state is ConnectionState.OPEN, REMEDY.format(name="wsproto.Connection.state")


def test_hypercorn_writes_whole_frames() -> None:
    """Ours may stand between any two of them only because each goes to the transport in one write."""
    stream, tcp = inspect.getsource(ws_stream.WSStream._send_wsproto_event), inspect.getsource(TCPServer.protocol_send)

    assert "data = self.connection.send(event)" in stream, REMEDY.format(name="WSStream._send_wsproto_event")
    assert tcp.count("self.writer.write(event.data)") == 1, REMEDY.format(name="TCPServer.protocol_send")


def test_an_answered_close_ends_the_transport_without_a_pause() -> None:
    """Nothing of ours can follow a close frame: no task runs between it and the end, but while the kernel is full."""
    source = inspect.getsource(ws_stream.WSStream._handle_events)
    after = source[source.index("_send_wsproto_event(event.response())", source.index("REMOTE_CLOSING")) :]

    assert after.split()[1:3] == ["await", "self.send(StreamClosed(stream_id=self.stream_id))"], REMEDY.format(
        name="WSStream._handle_events"
    )


async def test_a_transport_tells_how_much_it_reads_at_once() -> None:
    """asyncio's own figure, which is lowered for each connection."""
    one, other = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=one)
    size = getattr(transport, "max_size", None)
    transport.close()
    other.close()

    assert isinstance(size, int), REMEDY.format(name="the transport's max_size")


def test_a_buffer_keeps_its_shape() -> None:
    """Our buffer relies on these attributes of Hypercorn's."""
    buffer = server._BoundedBuffer(max_length=3)

    assert (buffer.length, buffer.max_length) == (0, 3), REMEDY.format(name="WebsocketBuffer")
    assert {"extend", "clear", "to_message"} <= set(dir(buffer)), REMEDY.format(name="WebsocketBuffer")


def test_the_arguments_of_a_protocol_are_in_their_order() -> None:
    """The way to hang up is found by its place among them."""
    order = list(inspect.signature(H2Protocol.__init__).parameters)

    assert order[9] == "send", REMEDY.format(name="H2Protocol")
