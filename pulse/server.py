"""Hypercorn made safe to face the public, and the way from a request to the connection it came by.

Hypercorn speaks HTTP and WebSocket. This file opens the port, bounds what one client can cost, and makes stopping
certain whatever the clients do. It knows nothing of what is served.
"""

import asyncio
import errno
import logging
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

from hypercorn import protocol as hypercorn_protocol
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol import ws_stream
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Pong
from wsproto.events import Event as WsprotoEvent
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from pulse.errors import SettingsError
from pulse.framing import PONG_FRAME, SYNC_TAIL, WINDOW_BITS, deflate_answer, sole_pong
from pulse.window import Window

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

BACKLOG = 256
"""Connections the kernel keeps for us until they are accepted."""
SEND_BUFFER_BYTES = 64 * 1024
"""What the kernel takes for a client that does not read: megabytes by default, and seconds of old prices."""
UNSENT_BYTES = 16 * 1024
"""Of those, what may wait to be sent: beyond it the kernel says "full", and the newest message replaces the rest."""
UNACKNOWLEDGED_MS = 20_000
"""When the kernel gives up on a peer that is gone or takes nothing; ours is shorter, this is the net below it."""

READ_BYTES = 16 * 1024
"""What is read of a connection at once."""
MESSAGE_BYTES_MAX = 4096
REQUEST_HEAD_BYTES_MAX = 16 * 1024
REQUESTS_BURST_BYTES, REQUESTS_BYTES_S = 128 * 1024, 16 * 1024
"""What one connection may send, at once and then by the second: requests with their cookies, far more than a page's."""
FEED_BURST_BYTES, FEED_BYTES_S = 8 * 1024, 1024
"""The same once it carries a WebSocket, which has next to nothing to say. Each ping costs six bytes, must be answered,
and is answered without a pause: 64 KiB of them, all Hypercorn reads at once, would hold up everybody for a second."""
PING_EVERY_S = 20.0
PING_FRAME = b"\x89\x00"
SILENCE_MAX_S = 60
"""Longer than two pings: a WebSocket's peer from which not even a pong comes is gone."""
KEEP_ALIVE_S = 10.0
"""How long a connection may be silent, or drip its header, before it is closed."""

CONNECTIONS_SPARE = 256
"""Connections beyond the WebSockets allowed: for pages, API calls and health checks."""
FILES_SPARE = 128
"""Descriptors beyond the connections: for the feed, the stores and the log."""

OVERRUN_GRACE_S = 1.0
"""How long a client that sent too large a message has to read why it is cut off."""
LINGER_S = 1.0
"""How long Hypercorn has to notice that a client has gone."""
STOP_GRACE_S = 1.0
"""How long clients have to take their goodbye when the server stops."""
STOP_TASKS_S = STOP_GRACE_S + 0.2
"""How long Hypercorn waits for its own tasks, such as a request that still asks the store; longer than the above."""

App = Callable[[Any, Any, Any], Awaitable[None]]  # an ASGI application

_serving: ContextVar["Connections | None"] = ContextVar("pulse_serving", default=None)
_connection: ContextVar["Connection | None"] = ContextVar("pulse_connection", default=None)


class Connection(asyncio.Protocol):
    """One accepted connection: stands between its transport and the protocol that Hypercorn brought.

    It passes everything on and adds: a way to cut it at once, pings and a task that end with it, a bound on what comes
    in, an entry in the server's register, and for whole WebSocket frames a way past Hypercorn to the kernel.

    Two may write frames here because each write is whole frames, and because none of ours follows a close frame: one
    that the kernel takes is followed by the end of the transport at once, and one that has to wait has Hypercorn's task
    woken, and the transport closed, before `is_ready` says so.
    """

    def __init__(self, inner: asyncio.Protocol, register: "Connections") -> None:
        self._inner = inner
        self._register = register
        self._transport: asyncio.Transport | None = None
        self._next_ping: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[Any] | None = None  # Hypercorn's, for this connection
        self._ending: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._burst_bytes, self._earns_bytes_s = REQUESTS_BURST_BYTES, REQUESTS_BYTES_S
        self._credit_bytes = float(self._burst_bytes)
        self._credited_at_s = 0.0
        self.window = Window()
        """How far the client has read."""
        self.descriptor = -1
        """Its socket's."""
        self._heard_at_s = 0.0
        self._is_full = False
        self.takes_deflated = False
        """Whether compressed messages were agreed on."""
        self.on_ready: Callable[[], None] = _nothing
        """Called whenever the client may be sent more after it could not."""
        self.on_full: Callable[[], None] = _nothing
        """Called whenever it can be sent no more for now, and when it never can again."""

    def abort(self) -> None:
        """Cut now: what was not sent is thrown away. Does nothing to a connection that is gone."""
        if self._transport is not None:
            self._transport.abort()

    def upgraded(self) -> None:
        """It carries a WebSocket from now on: it is pinged, and may say little.

        Hypercorn's own pings keep a task, and all that belongs to the client, until an interval after it has gone.
        """
        self._burst_bytes, self._earns_bytes_s = FEED_BURST_BYTES, FEED_BYTES_S
        self._heard_at_s = asyncio.get_running_loop().time()
        self._ping_later()

    def is_ready(self) -> bool:
        """Whether the kernel has taken everything and the client has read far enough to be sent more."""
        return not self._is_full and self.window.is_open(asyncio.get_running_loop().time())

    def write(self, frames: bytes) -> None:
        """Send whole frames. Does nothing once the WebSocket is ending."""
        self._write(frames, self.window.send(len(frames), asyncio.get_running_loop().time()))

    def write_counted(self, frames: bytes) -> None:
        """Send whole frames that the window's meter has counted already."""
        self._write(frames, self.window.ask(asyncio.get_running_loop().time()))

    def write_rest(self, frames: bytes) -> None:
        """Send what the kernel did not take of counted frames that were written to `descriptor` itself."""
        self._write(frames, b"")

    def _write(self, frames: bytes, ping: bytes) -> None:
        if self._transport is not None and not self._is_deaf and not self._transport.is_closing():
            self._transport.write(frames + ping if ping else frames)

    def write_last(self, close_frame: bytes) -> None:
        """Send the frame that ends the WebSocket, unless it is gone already."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(close_frame)

    def answered(self, pong: bytes) -> None:
        """A pong has come with this payload; whoever waited for it may go on."""
        now_s = asyncio.get_running_loop().time()
        was_open = self.window.is_open(now_s)
        ping = self.window.answer(pong, now_s)
        if ping and self._transport is not None and not self._transport.is_closing():
            self._transport.write(ping)
        if not was_open and self.is_ready():
            self.on_ready()

    def _ping_later(self) -> None:
        self._next_ping = asyncio.get_running_loop().call_later(PING_EVERY_S, self._ping)

    def _ping(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return  # `connection_lost` comes
        if asyncio.get_running_loop().time() - self._heard_at_s > SILENCE_MAX_S:
            self.abort()
            return
        # Hypercorn writes whole frames, so there is room between any two. Who is behind has a deadline for that.
        if not self._transport.get_write_buffer_size():
            self._transport.write(PING_FRAME)
        self._ping_later()

    def refuse_input(self, grace_s: float) -> None:
        """Throw away whatever else comes in, send no more, and cut in `grace_s` seconds."""
        if not self._is_deaf:
            self._is_deaf = True
            self._fill()
            asyncio.get_running_loop().call_later(grace_s, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the register, or be cut if it is full; then let Hypercorn begin, in a task that can find this."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream server makes no other kind
        self._transport = transport
        if not self._register.admit(self):
            transport.abort()
            return
        self._credited_at_s = asyncio.get_running_loop().time()
        # asyncio would set aside 256 KiB for each read, which is most of what a pong costs.
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # asyncio's own, not written down
        # A write then ends when the kernel has all of it: what waits above that waits where it can be replaced.
        transport.set_write_buffer_limits(0)
        self.descriptor = transport.get_extra_info("socket").fileno()
        _connection.set(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the register. A loss of any kind is told as a reset, the one that Hypercorn handles quietly."""
        self._register.remove(self)
        self._fill()  # before the kernel may give its descriptor to another
        if self._next_ping is not None:
            self._next_ping.cancel()
        if exc is not None and not isinstance(exc, ConnectionError):
            exc = ConnectionResetError(str(exc))
        self._inner.connection_lost(exc)
        self._end_soon()

    def data_received(self, data: bytes) -> None:
        """Pass on what came in while it is within bounds."""
        if self._is_deaf:
            return
        if not self._affords(len(data)):
            self.abort()
            return
        self._heard_at_s = self._credited_at_s
        if data[0] == PONG_FRAME and (probe := self.window.probe()) and sole_pong(data) == probe:
            self.answered(probe)  # a client's most frequent word, and dear to Hypercorn
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The peer will send no more, which Hypercorn takes for the end."""
        self._end_soon()
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._fill()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The kernel has taken everything. Hypercorn's tasks that waited for that come first."""
        self._inner.resume_writing()
        asyncio.get_running_loop().call_soon(self._relieved)

    def _fill(self) -> None:
        self._is_full = True
        self.on_full()

    def _relieved(self) -> None:
        if self._transport is not None and not self._is_deaf and not self._transport.get_write_buffer_size():
            self._is_full = False
            if self.is_ready():
                self.on_ready()

    def _end_soon(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(LINGER_S, self._end)

    def _end(self) -> None:
        """End what has not ended by itself.

        Hypercorn waits for ever for a client that left while one of several requests at once was answered, and does
        not tell the app of one that left after it had spoken before its WebSocket was accepted.
        """
        self.abort()
        if self.task is not None:
            self.task.cancel()

    def _affords(self, size: int) -> bool:
        now_s = asyncio.get_running_loop().time()
        earned = (now_s - self._credited_at_s) * self._earns_bytes_s
        self._credit_bytes = min(self._burst_bytes, self._credit_bytes + earned) - size
        self._credited_at_s = now_s
        return self._credit_bytes >= 0


def _nothing() -> None:
    """What is done for who asked for nothing."""


class Connections:
    """The register of a server's live connections, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._live: set[Connection] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def admit(self, connection: Connection) -> bool:
        """Register a connection; False if there are too many."""
        if len(self._live) >= self._limit:
            return False
        self._live.add(connection)
        self._emptied.clear()
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._live.discard(connection)
        if not self._live:
            self._emptied.set()

    async def abort_after(self, grace_s: float) -> int:
        """Wait until all are gone, at most `grace_s` seconds, and cut those that are left; returns their number."""
        try:
            await asyncio.wait_for(self._emptied.wait(), grace_s)
        except TimeoutError:
            left = tuple(self._live)
            for connection in left:
                connection.abort()
            return len(left)
        return 0


def current_connection() -> Connection | None:
    """The connection that the running task serves; None outside of a request, or on a loop that is not ours."""
    return _connection.get()


class ServerLoop(asyncio.SelectorEventLoop):
    """The event loop on which `serve` can reach its connections: it puts a `Connection` before each of them."""

    async def create_server(  # type: ignore[override]  # the signature is passed through, whatever it is
        self, protocol_factory: Callable[[], asyncio.Protocol], *args: Any, **kwargs: Any
    ) -> asyncio.Server:
        """Create a server as asyncio does. Only those that `serve` makes are watched, not others on this loop."""
        register = _serving.get()
        if register is None:
            return await super().create_server(protocol_factory, *args, **kwargs)
        return await super().create_server(lambda: Connection(protocol_factory(), register), *args, **kwargs)

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """Create a task as asyncio does. The first one of a connection is Hypercorn's for it."""
        connection = _connection.get()
        if connection is None or connection.task is not None:
            return super().create_task(coro, **kwargs)
        connection.task = super().create_task(_until_cancelled(coro), **kwargs)
        return connection.task


async def _until_cancelled(work: Coroutine[Any, Any, Any]) -> None:
    """Do this work; being cancelled is a good end of it, which asyncio's streams would log as a fault."""
    with suppress(asyncio.CancelledError):
        await work


def loop_factory() -> asyncio.AbstractEventLoop:
    """The loop to run `serve` on: `asyncio.Runner(loop_factory=loop_factory)`."""
    return ServerLoop()


def open_listener(host: str, port: int) -> socket.socket:
    """Listen on a TCP port; 0 takes a free one. Raises SettingsError with one sentence on what to change.

    Every accepted connection inherits the options set here.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"PULSE_HOST must be an address of this machine, not {host!r}.") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        for option, value in (("TCP_NOTSENT_LOWAT", UNSENT_BYTES), ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS)):
            if hasattr(socket, option):  # not on every system
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        raise SettingsError(_listen_fault(host, port, fault)) from None
    return listener


def _listen_fault(host: str, port: int, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program: stop it, or set PORT to another port."
    if fault.errno == errno.EADDRNOTAVAIL:
        return f"PULSE_HOST must be an address of this machine, not {host!r}."
    if fault.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} may not be opened by this user: set PORT to 1024 or above."
    return f"Port {port} on {host} cannot be opened ({fault.strerror}): set PULSE_HOST or PORT."


async def serve(
    app: App, listener: socket.socket, stop: asyncio.Event, goodbye: Callable[[], None], clients_max: int
) -> None:
    """Serve until `stop` is set, then end within STOP_GRACE_S + STOP_TASKS_S seconds. Takes the listener over.

    On another loop than ServerLoop it serves as well, but no client can be cut: one that does not read delays the end.

    When stopping begins nothing new is accepted, `goodbye` is called once to have the app close its WebSockets, and
    whoever is still connected after STOP_GRACE_S is cut. `clients_max` is how many WebSockets the app will accept.
    """
    limit = clients_max + CONNECTIONS_SPARE
    register = Connections(limit)
    _allow_open_files(limit + FILES_SPARE)
    _harden_hypercorn()
    context = copy_context()
    context.run(_serving.set, register)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            hypercorn_serve(app, _config(listener), shutdown_trigger=stop.wait, mode="asgi"),
            name="hypercorn",
            context=context,
        )
        await stop.wait()
        goodbye()
        cut = await register.abort_after(STOP_GRACE_S)
        if cut:
            log.info("connections cut at stop count=%s", cut)


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = BACKLOG
    config.graceful_timeout = STOP_TASKS_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.h11_max_incomplete_size = REQUEST_HEAD_BYTES_MAX
    config.websocket_max_message_size = MESSAGE_BYTES_MAX
    if not isinstance(asyncio.get_running_loop(), ServerLoop):  # then nobody else pings
        config.websocket_ping_interval = PING_EVERY_S
        config.read_timeout = SILENCE_MAX_S
    return config


def _allow_open_files(count: int) -> None:
    """Raise this process's soft limit of descriptors to what the connections can need, if it may be."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        log.warning("few open files allowed allowed=%s needed=%s", wanted, count)


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


class _NoHttp2:
    """In place of HTTP/2, which Hypercorn offers on the plain port and cannot be told not to: hangs up."""

    def __init__(self, *args: Any) -> None:
        self._send = args[8]  # app, config, context, task group, state, is TLS, client, server, send

    async def initiate(self, *_: object) -> None:
        """Close the connection instead of beginning."""
        await self._send(Closed())

    async def handle(self, event: Event) -> None:
        """Ignore what still comes."""


HYPERCORN_NAMES: tuple[tuple[Any, str, Any], ...] = (
    (ws_stream, "server_extensions_handshake", _agree_on_deflate),
    (ws_stream, "Connection", _Conversation),
    (ws_stream, "WebsocketBuffer", _BoundedBuffer),
    (hypercorn_protocol, "H2Protocol", _NoHttp2),
)
"""Every private name of Hypercorn that is replaced here. tests/test_hypercorn.py says what to do when one breaks."""


def _harden_hypercorn() -> None:
    for module, name, replacement in HYPERCORN_NAMES:
        setattr(module, name, replacement)
