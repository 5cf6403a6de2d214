"""The connections of a server: each stands between its transport and Hypercorn's protocol, and all are on a register.

The loop puts them there and gives each the task that serves it, so that a request can find the connection it came by.
What one may send and for how long it may be silent is bounded here. Nothing here knows HTTP, or what is served.
"""

import asyncio
import sys
from asyncio import selector_events, sslproto
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from pulse.server.flow_control import AckWindow
from pulse.server.ws_frames import PONG_FRAME, sole_pong

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

READ_BYTES = 16 * 1024
"""What is read of any connection at once, the exchange's included. asyncio sets aside 256 KiB for each read, and then
finds a frame of 200 bytes there: that takes ten times as long as the read itself."""
REQUESTS_BURST_BYTES, REQUESTS_BYTES_S = 128 * 1024, 16 * 1024
"""What one connection may send, at once and then by the second: requests with their cookies, far more than a page's."""
FEED_BURST_BYTES, FEED_BYTES_S = 8 * 1024, 1024
"""The same once it carries a WebSocket, which has next to nothing to say. Each ping costs six bytes, must be answered,
and is answered without a pause: 64 KiB of them, all Hypercorn reads at once, would hold up everybody for a second."""
PING_EVERY_S = 20.0
"""How long a WebSocket's peer must be silent to be pinged. Looked at every so often, it is after twice that at most."""
PING_TURNS = 20
"""Connections are looked at in so many parts, one after another: a timer for each would wake the process all the time,
and in a heap of thousands every other timer costs more."""
PING_FRAME = b"\x89\x00"
SILENCE_MAX_S = 60
"""A WebSocket's peer from which not even a pong has come for so long is gone, when it is looked at next."""
READERS: tuple[Any, ...] = (selector_events._SelectorTransport, sslproto.SSLProtocol)  # type: ignore[attr-defined]
"""asyncio's own, which read from sockets, and from what TLS has deciphered; their `max_size` is not written down."""
LINGER_S = 1.0
"""How long Hypercorn has to notice that a client has gone."""

serving: ContextVar["Connections | None"] = ContextVar("pulse_serving", default=None)
"""The register of the server that is being made in this context."""
_connection: ContextVar["Connection | None"] = ContextVar("pulse_connection", default=None)


class Connection(asyncio.Protocol):
    """One accepted connection: stands between its transport and the protocol that Hypercorn brought.

    It passes everything on and adds: a way to cut it at once, a task that ends with it, a bound on what comes in, an
    entry in the server's register, which has it pinged, and for whole WebSocket frames a way past Hypercorn to the
    kernel.

    Two may write frames here because each write is whole frames, and because none of ours follows a close frame: one
    that the kernel takes is followed by the end of the transport at once, and one that has to wait has Hypercorn's task
    woken, and the transport closed, before `is_ready` says so.
    """

    def __init__(self, inner: asyncio.Protocol, register: "Connections") -> None:
        self._inner = inner
        self._register = register
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[Any] | None = None  # Hypercorn's, for this connection
        self._ending: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._loss: Exception | None = None
        self._burst_bytes, self._earns_bytes_s = REQUESTS_BURST_BYTES, REQUESTS_BYTES_S
        self._credit_bytes = float(self._burst_bytes)
        self._credited_at_s = 0.0
        self.window = AckWindow()
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

    def attach(self, on_ready: Callable[[], None], on_full: Callable[[], None]) -> None:
        """Set the callbacks."""
        self.on_ready, self.on_full = on_ready, on_full

    def upgraded(self) -> None:
        """It carries a WebSocket from now on: it is pinged, and may say little.

        Hypercorn's own pings keep a task, and all that belongs to the client, until an interval after it has gone.
        """
        self._burst_bytes, self._earns_bytes_s = FEED_BURST_BYTES, FEED_BYTES_S
        self._heard_at_s = asyncio.get_running_loop().time()
        self._register.ping(self)

    def is_ready(self) -> bool:
        """Whether the kernel has taken everything and the client has read far enough to be sent more."""
        return not self._is_full and self.window.is_open(asyncio.get_running_loop().time())

    def unacknowledged(self) -> int:
        """How many bytes of what was sent the peer's system has not confirmed; 0 where the kernel does not tell."""
        if self._transport is None or self._transport.is_closing() or sys.platform != "linux":
            return 0
        return int.from_bytes(ioctl(self.descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)

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

    def ping_if_silent(self, now_s: float) -> None:
        """Ask a peer that has not been heard for a while whether it is there, and cut one that does not answer."""
        silent_s = now_s - self._heard_at_s
        if silent_s < PING_EVERY_S or self._transport is None or self._transport.is_closing():
            return
        if silent_s > SILENCE_MAX_S:
            self.abort()
        # Hypercorn writes whole frames, so there is room between any two. Who is behind has a deadline for that.
        elif not self._transport.get_write_buffer_size():
            self._transport.write(PING_FRAME)

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
        # A write then ends when the kernel has all of it: what waits above that waits where it can be replaced.
        transport.set_write_buffer_limits(0)
        self.descriptor = transport.get_extra_info("socket").fileno()
        _connection.set(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the register. A loss of any kind is told as a reset, the one that Hypercorn handles quietly."""
        self._register.remove(self)
        self._fill()  # before the kernel may give its descriptor to another
        if self._transport is not None:
            self._transport._read_ready_cb = None  # type: ignore[attr-defined]  # asyncio's own: it leads back there
        if exc is not None and not isinstance(exc, ConnectionError):
            exc = ConnectionResetError(str(exc))
        self._loss = exc
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
        self._fill()
        # What leads back here is let go of, so that all goes at once: see `garbage`.
        self.on_ready = self.on_full = _nothing
        self.task = self._ending = None
        if self._loss is not None:
            self._loss.__traceback__ = None

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
        self._turns: deque[set[Connection]] = deque(set() for _ in range(PING_TURNS))  # the part whose turn it is first
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
        for part in self._turns:
            part.discard(connection)
        if not self._live:
            self._emptied.set()

    def ping(self, connection: Connection) -> None:
        """Have this one pinged from now on, unless it is gone; it is in the smallest part, so that all are as long."""
        if connection in self._live:
            min(self._turns, key=len).add(connection)

    async def ping_in_turn(self) -> None:
        """Look at one part after another for ever, at each every PING_EVERY_S."""
        while True:
            await asyncio.sleep(PING_EVERY_S / PING_TURNS)
            now_s = asyncio.get_running_loop().time()
            for connection in tuple(self._turns[0]):
                connection.ping_if_silent(now_s)
            self._turns.rotate(-1)

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
        register = serving.get()
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
    try:
        await work
    except asyncio.CancelledError as end:
        end.__traceback__ = None  # a task group keeps the error that it raises: see `garbage`


def loop_factory() -> asyncio.AbstractEventLoop:
    """The loop to run `serve` on: `asyncio.Runner(loop_factory=loop_factory)`. Sets READ_BYTES for this process."""
    for reader in READERS:
        reader.max_size = READ_BYTES
    return ServerLoop()
