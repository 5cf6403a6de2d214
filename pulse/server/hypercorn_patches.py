"""Replacements for private names of Hypercorn and wsproto whose own behaviour does not bound what one client can cost.

What each one fixes, by the upstream name:
- `ws_stream.server_extensions_handshake` negotiates wsproto's PerMessageDeflate, which inflates without limit.
- `ws_stream.Connection` (wsproto's) reports neither pongs nor close frames to the connection they came by.
- `ws_stream.WebsocketBuffer` keeps growing after its limit while the client goes on sending.
- `protocol.H11Protocol` tolerates heads that a proxy may read differently, and answers without security headers.
- `protocol.H2Protocol` serves HTTP/2 on the plain port, and cannot be disabled.
- `run.TCPServer` forms a reference cycle with its protocol.

It knows frames and no topics. `serve` puts the patches in place.
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

from pulse.server.http1 import StrictHttp1
from pulse.server.loop import current_connection
from pulse.server.ws_frames import SYNC_FLUSH_TAIL, WINDOW_BITS, negotiate_deflate

MESSAGE_BYTES_MAX = 4096
"""Largest message that a client may send, after inflating."""
OVERSIZE_GRACE_S = 1.0
"""How long a client that sent too large a message has to read close code 1009 before it is aborted."""


class _BoundedInflate(Extension):
    """permessage-deflate for incoming messages: no context takeover, and never more output than a message may have.

    wsproto's own inflates all input without limit: 261 KB on the wire took 466 MB. Outgoing frames pass unchanged.
    """

    name = "permessage-deflate"

    def __init__(self) -> None:
        self._inflater: Any = None  # for the current message, if it is compressed
        self._is_control = False
        self._room_bytes = 0

    def enabled(self) -> bool:
        """Return True: it is installed only where it was negotiated."""
        return True

    def offer(self) -> bool | str:
        """Return False: servers make no offers."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Accept RSV1 on the first frame of a message alone, and start an inflater for it."""
        self._is_control = opcode.iscontrol()
        is_first = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not is_first:
            return CloseReason.PROTOCOL_ERROR
        if is_first:
            self._inflater = zlib.decompressobj(-WINDOW_BITS) if rsv.rsv1 else None
            self._room_bytes = MESSAGE_BYTES_MAX + 1  # one byte too many is enough to be rejected
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Inflate a part of a data frame if its message is compressed."""
        return data if self._inflater is None or self._is_control else self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Inflate the rest of a compressed message at the end of its last frame."""
        if not fin or self._is_control or self._inflater is None:
            return None
        return self._inflate(SYNC_FLUSH_TAIL)

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        if not self._room_bytes:
            return b""
        try:
            inflated: bytes = self._inflater.decompress(data, self._room_bytes)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._room_bytes -= len(inflated)
        return inflated


def _negotiate_extensions(offers: Iterable[str], extensions: list[Extension]) -> bytes | None:
    """Accept the first offer that suits our shared frames, and return the answer; None declines all of them.

    Replaces `ws_stream.server_extensions_handshake`, which would compress for each client anew.
    """
    extensions.clear()
    for answer in map(negotiate_deflate, offers):
        if answer is not None:
            extensions.append(_BoundedInflate())
            current_connection().uses_deflate = True
            return answer.encode()
    return None


class _ObservedWebSocket(WsprotoConnection):
    """wsproto's state machine for one WebSocket, with pongs and close frames reported to the `ClientConnection`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._client = current_connection()  # made by the app's task; the close frame may be sent by another one

    def send(self, event: WsprotoEvent) -> bytes:
        """Encode an event; before a close frame, stop the frames that are written past Hypercorn."""
        data = super().send(event)
        if isinstance(event, CloseConnection):
            self._client.end_websocket()
        return data

    def events(self) -> Generator[WsprotoEvent, None, None]:
        """Yield what was received. A pong acknowledges; a protocol error is answered with a close frame.

        Hypercorn ignores pongs, and closes the connection after a protocol error without a close frame.
        """
        has_finished_one = False
        for event in super().events():
            has_finished_one = has_finished_one or getattr(event, "frame_finished", True)
            if isinstance(event, Pong):
                self._client.on_pong(bytes(event.payload))
            elif isinstance(event, CloseConnection) and self.state is ConnectionState.OPEN:
                self._client.write_close_frame(self.send(event))
            yield event
        decoder = self._proto._frame_decoder
        is_within_frame = decoder.header is not None or len(decoder.buffer) > 0
        self._client.expect_rest(is_within_frame and self.state is ConnectionState.OPEN, has_finished_one)

    def __del__(self) -> None:
        """Drop the parser's generator: it and the parser form a reference cycle.

        Closing it is not enough: since Python 3.13 a generator that never ran keeps its frame when it is closed.
        """
        del self._proto._parse_more


class _BoundedMessageBuffer(ws_stream.WebsocketBuffer):
    """Hypercorn's buffer of one message, made to stay within its limit while the client goes on sending."""

    has_overrun = False

    def extend(self, event: Message[Any]) -> None:
        """Append a fragment. Beyond the limit, discard all input and raise: Hypercorn closes with code 1009."""
        if not self.has_overrun and self.length + len(event.data) <= self.max_length:
            super().extend(event)
            return
        self.has_overrun = True
        self.clear()
        current_connection().discard_input(OVERSIZE_GRACE_S)
        raise ws_stream.FrameTooLargeError


class _ClosedProtocol:
    """Stands in for the protocol of a connection that has ended."""

    async def handle(self, event: Event) -> None:
        """Ignore the event."""


class _AcyclicTCPServer(TCPServer):
    """Hypercorn's handler of one connection, without the reference cycle between it and its protocol."""

    async def run(self) -> None:
        """Serve the connection, then drop the protocol."""
        try:
            await super().run()
        finally:
            self.protocol = _ClosedProtocol()  # type: ignore[assignment]


class _Http2Refused(_ClosedProtocol):
    """Stands in for HTTP/2, which Hypercorn offers on the plain port without a way to disable it."""

    def __init__(self, *args: Any) -> None:
        self._send = args[8]  # app, config, context, task group, state, is TLS, client, server, send

    async def initiate(self, *_: object) -> None:
        """Close the connection instead of starting."""
        await self._send(Closed())


HYPERCORN_NAMES: tuple[tuple[Any, str, Any], ...] = (
    (ws_stream, "server_extensions_handshake", _negotiate_extensions),
    (ws_stream, "Connection", _ObservedWebSocket),
    (ws_stream, "WebsocketBuffer", _BoundedMessageBuffer),
    (hypercorn_protocol, "H11Protocol", StrictHttp1),
    (hypercorn_protocol, "H2Protocol", _Http2Refused),
    (hypercorn_run, "TCPServer", _AcyclicTCPServer),
)
"""Every private name of Hypercorn that is replaced: module, name, replacement.

tests/server/test_hypercorn_patches.py says what to do when one breaks."""


def patch_hypercorn() -> None:
    """Apply all patches to this process; doing it twice does no harm."""
    for module, name, replacement in HYPERCORN_NAMES:
        setattr(module, name, replacement)
