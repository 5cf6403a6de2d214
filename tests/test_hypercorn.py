"""The private names of Hypercorn that pulse/server.py stands on: whether they are still what they were."""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from hypercorn.protocol import ProtocolWrapper, ws_stream
from hypercorn.protocol.h2 import H2Protocol

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
        ("server_extensions_handshake", ws_stream.Handshake.accept, "accepts = server_extensions_handshake("),
        ("WebsocketBuffer", ws_stream.WSStream.__init__, "WebsocketBuffer(config.websocket_max_message_size)"),
        ("FrameTooLargeError", ws_stream.WSStream._handle_events, "except FrameTooLargeError:"),
        ("H2Protocol", ProtocolWrapper.handle, "self.protocol = H2Protocol("),
    ],
)
def test_the_replaced_names_are_used_as_they_were(name: str, user: Callable[..., Any], used_as: str) -> None:
    """Each name is looked up in its module where it is used, so that replacing it there has its effect."""
    assert used_as in inspect.getsource(user), REMEDY.format(name=name)


def test_a_buffer_keeps_its_shape() -> None:
    """Our buffer relies on these attributes of Hypercorn's."""
    buffer = server._BoundedBuffer(max_length=3)

    assert (buffer.length, buffer.max_length) == (0, 3), REMEDY.format(name="WebsocketBuffer")
    assert {"extend", "clear", "to_message"} <= set(dir(buffer)), REMEDY.format(name="WebsocketBuffer")


def test_the_arguments_of_a_protocol_are_in_their_order() -> None:
    """The way to hang up is found by its place among them."""
    order = list(inspect.signature(H2Protocol.__init__).parameters)

    assert order[9] == "send", REMEDY.format(name="H2Protocol")
