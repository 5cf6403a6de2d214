"""What is put in place of private names of Hypercorn and wsproto, which leave open what one client can cost.

Messages are bounded while they are inflated and gathered, pongs and what broke the protocol reach the connection
first, and HTTP/2 is not spoken. It knows frames and no topic; `server` puts it in place.
"""

import zlib
from collections.abc import Generator, Iterable
from typing import Any

from hypercorn import protocol as hypercorn_protocol
from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event
from hypercorn.protocol import ws_stream
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Pong
from wsproto.events import Event as WsprotoEvent
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from pulse.server.connection import current_connection
from pulse.server.ws_frames import SYNC_TAIL, WINDOW_BITS, deflate_answer

MESSAGE_BYTES_MAX = 4096
OVERRUN_GRACE_S = 1.0
"""How long a client that sent too large a message has to read why it is cut off."""


class _BoundedInflate(Extension):
    """permessage-deflate for what comes in, each message inflated by itself and never beyond the limit of a message.

    wsproto's own inflates all that has come at once: 261 KB on the wire took 466 MB. What goes out passes untouched.
    """

    name = "permessage-deflate"

    def __init__(self) -> None:
        self._inflater: Any = None  # of the message that is coming in, if that is compressed
        self._is_control = False
        self._room = 0

    def enabled(self) -> bool:
        """It is there only where it was agreed on."""
        return True

    def offer(self) -> bool | str:
        """Servers make no offers."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """A frame begins: only the first one of a message may say that it is compressed."""
        self._is_control = opcode.iscontrol()
        is_first = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not is_first:
            return CloseReason.PROTOCOL_ERROR
        if is_first:
            self._inflater = zlib.decompressobj(-WINDOW_BITS) if rsv.rsv1 else None
            self._room = MESSAGE_BYTES_MAX + 1  # one too many is enough to be refused
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Part of a frame: inflated if its message is."""
        return data if self._inflater is None or self._is_control else self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """A frame ends, and with it perhaps its message."""
        if not fin or self._is_control or self._inflater is None:
            return None
        return self._inflate(SYNC_TAIL)

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        if not self._room:
            return b""
        try:
            inflated: bytes = self._inflater.decompress(data, self._room)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._room -= len(inflated)
        return inflated


def _agree_on_deflate(offers: Iterable[str], extensions: list[Extension]) -> bytes | None:
    """Take the first offer that suits the frames we share among clients; none where they are not sent that way."""
    extensions.clear()
    connection = current_connection()
    if connection is None:
        return None
    for answer in map(deflate_answer, offers):
        if answer is not None:
            extensions.append(_BoundedInflate())
            connection.takes_deflated = True
            return answer.encode()
    return None


class _Conversation(WsprotoConnection):
    """What wsproto makes of the bytes that come in, seen before Hypercorn sees it."""

    def events(self) -> Generator[WsprotoEvent, None, None]:
        """Pongs tell how far a client has read; one that broke the protocol reads why before it is cut."""
        connection = current_connection()
        for event in super().events():
            if connection is not None and isinstance(event, Pong):
                connection.answered(bytes(event.payload))
            elif connection is not None and isinstance(event, CloseConnection) and self.state is ConnectionState.OPEN:
                connection.write_last(self.send(event))
            yield event

    def __del__(self) -> None:
        """Let the parser go: it and what it reads from hold each other, which only the collector would find."""
        self._proto._parse_more.close()


class _BoundedBuffer(ws_stream.WebsocketBuffer):
    """Where Hypercorn gathers a message. Its own keeps growing after the limit while the client goes on sending."""

    has_overrun = False

    def extend(self, event: Message[Any]) -> None:
        """Keep a part of a message; at the first one too many the client is told 1009 and no longer listened to."""
        if not self.has_overrun and self.length + len(event.data) <= self.max_length:
            super().extend(event)
            return
        self.has_overrun = True
        self.clear()
        connection = current_connection()
        if connection is not None:
            connection.refuse_input(OVERRUN_GRACE_S)
        raise ws_stream.FrameTooLargeError


class _Ended:
    """In place of the protocol of a connection that is gone."""

    async def handle(self, event: Event) -> None:
        """Ignore what still comes."""


class _PassingServer(TCPServer):
    """What serves one connection. It and its protocol hold each other, which only the collector would find."""

    async def run(self) -> None:
        """Serve it, and let go of the protocol."""
        try:
            await super().run()
        finally:
            self.protocol = _Ended()  # type: ignore[assignment]


class _NoHttp2(_Ended):
    """In place of HTTP/2, which Hypercorn offers on the plain port and cannot be told not to: hangs up."""

    def __init__(self, *args: Any) -> None:
        self._send = args[8]  # app, config, context, task group, state, is TLS, client, server, send

    async def initiate(self, *_: object) -> None:
        """Close the connection instead of beginning."""
        await self._send(Closed())


HYPERCORN_NAMES: tuple[tuple[Any, str, Any], ...] = (
    (ws_stream, "server_extensions_handshake", _agree_on_deflate),
    (ws_stream, "Connection", _Conversation),
    (ws_stream, "WebsocketBuffer", _BoundedBuffer),
    (hypercorn_protocol, "H2Protocol", _NoHttp2),
    (hypercorn_run, "TCPServer", _PassingServer),
)
"""Every private name of Hypercorn that is replaced here.

tests/server/test_hypercorn_patches.py says what to do when one breaks."""


def patch_hypercorn() -> None:
    """Put all of it in place, for this process; doing it twice does no harm."""
    for module, name, replacement in HYPERCORN_NAMES:
        setattr(module, name, replacement)
