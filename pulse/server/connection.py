"""One accepted connection: a protocol between asyncio's transport and Hypercorn's protocol.

It limits the input rate, reports backpressure and flow control to the client's send queue, writes whole WebSocket
frames past Hypercorn, and can abort. It does not parse HTTP, and does not know what is served.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from pulse.server.connection_registry import ConnectionRegistry, Place
from pulse.server.flow_control import AckWindow
from pulse.server.ws_frames import PING_FRAME, PONG_FRAME, frame, lone_pong_payload

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

HTTP_INPUT_BURST_BYTES, HTTP_INPUT_BYTES_S = 128 * 1024, 16 * 1024
"""Rate limit (token bucket) of what one connection may send: requests with their cookies, far more than a page's."""
WEBSOCKET_INPUT_BURST_BYTES, WEBSOCKET_INPUT_BYTES_S = 8 * 1024, 1024
"""The same limit for a WebSocket, whose clients send next to nothing. A ping costs a client six bytes, and each must be
answered at once: 64 KiB of them, which is one read of Hypercorn's, would block the event loop for a second."""
FRAME_TIMEOUT_S = 10.0
"""How long the rest of a WebSocket frame may take: a frame is 4 KiB at most, and a request's head has as long."""
RESERVED_S = 2.0
"""How long a connection beyond the limits may take for its health check, before it is aborted."""
HEALTH_CHECKS = (b"GET /healthz ", b"HEAD /healthz ")
"""How the only requests begin that a connection beyond the limits may send; a check fits in one segment."""
KEEPALIVE_PING = frame(PING_FRAME, b"")
TASK_END_GRACE_S = 1.0
"""How long Hypercorn may take to notice that a client has disconnected, before its task is cancelled."""


class ClientConnection(asyncio.Protocol):
    """One accepted connection, between its transport and the protocol that Hypercorn created for it.

    It passes every callback on to Hypercorn and adds: `abort`, the end of Hypercorn's task, an input rate limit, an
    entry in the `ConnectionRegistry`, which sends keep-alive pings, and a direct way to the kernel for whole frames.

    Hypercorn and this class both write frames. That is safe because every write consists of whole frames, and because
    after `end_websocket`, which precedes each close frame, this class writes none.
    """

    def __init__(self, inner: asyncio.Protocol, registry: ConnectionRegistry) -> None:
        self._inner = inner
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[Any] | None = None
        """Hypercorn's task for this connection."""
        self._end_timer: asyncio.TimerHandle | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._is_reserved = False  # a place beyond the limits, for a health check
        self._is_kept_back = False  # Hypercorn does not know of it yet
        self._discards_input = False
        self._is_ending = False  # its close frame has been or is about to be written
        self._loss: Exception | None = None
        self._burst_bytes, self._rate_bytes_s = HTTP_INPUT_BURST_BYTES, HTTP_INPUT_BYTES_S
        self._tokens_bytes = float(self._burst_bytes)
        self._refilled_at_s = 0.0
        self.window = AckWindow()
        """Flow control: how many bytes the client has not acknowledged by a pong."""
        self.descriptor = -1
        """File descriptor of the socket."""
        self.received_at_s = 0.0
        """Loop time of the newest input."""
        self._is_blocked = False
        self.uses_deflate = False
        """Whether permessage-deflate was negotiated."""
        self._on_writable: Callable[[], None] | None = None
        self._on_blocked: Callable[[], None] | None = None

    def attach(self, on_writable: Callable[[], None], on_blocked: Callable[[], None]) -> None:
        """Have the client's send queue called back.

        `on_writable` is called when the connection becomes writable again; `on_blocked` when the kernel takes no more
        for now, and when the connection has ended.
        """
        self._on_writable, self._on_blocked = on_writable, on_blocked

    def detach(self) -> None:
        """Call nothing back from now on."""
        self._on_writable = self._on_blocked = None

    def abort(self) -> None:
        """Close at once and discard unsent data. Does nothing to a connection that has ended."""
        if self._transport is not None:
            self._transport.abort()

    def start_websocket(self) -> None:
        """Switch to the input limit of a WebSocket, and to our keep-alive pings.

        Hypercorn's own pings would keep a task, and all objects of a client, for an interval after it has disconnected.
        """
        self._burst_bytes, self._rate_bytes_s = WEBSOCKET_INPUT_BURST_BYTES, WEBSOCKET_INPUT_BYTES_S
        self.received_at_s = asyncio.get_running_loop().time()
        self._registry.keep_alive(self)

    def end_websocket(self) -> None:
        """Write no more frames from here: Hypercorn is about to write the close frame."""
        if not self._is_ending:
            self._is_ending = True
            self._block()

    def is_writable(self) -> bool:
        """Return whether the kernel has taken everything and the acknowledgement window is open."""
        return not self._is_blocked and self.window.is_open(asyncio.get_running_loop().time())

    def unacknowledged_bytes(self) -> int:
        """Return how many sent bytes the peer's TCP has not acknowledged; 0 where the kernel does not report it."""
        if self._transport is None or self._transport.is_closing() or sys.platform != "linux":
            return 0
        return int.from_bytes(ioctl(self.descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)

    def write(self, frames: bytes) -> None:
        """Write whole frames to this client alone. Does nothing once the WebSocket is ending."""
        self._write(frames, self.window.count_sent(len(frames), asyncio.get_running_loop().time()))

    def write_broadcast(self, frames: bytes) -> None:
        """Write whole frames that the window's shared `ByteCounter` has counted already."""
        self._write(frames, self.window.ping_if_due(asyncio.get_running_loop().time()))

    def write_remainder(self, data: bytes) -> None:
        """Write the part of broadcast frames that the kernel did not take from a direct write to `descriptor`."""
        self._write(data, b"")

    def _write(self, frames: bytes, ping: bytes) -> None:
        if self._transport is not None and not self._is_ending and not self._transport.is_closing():
            self._transport.write(frames + ping if ping else frames)

    def write_close_frame(self, close_frame: bytes) -> None:
        """Write the frame that ends the WebSocket, unless the connection is closing already."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(close_frame)

    def send_keepalive_ping(self) -> None:
        """Send a ping, unless data waits to be sent: a client that does not read it has the send timeout."""
        if self._transport is not None and not self._transport.get_write_buffer_size():
            self._write(KEEPALIVE_PING, b"")  # between two frames: Hypercorn writes whole ones

    def on_pong(self, payload: bytes) -> None:
        """Take a pong as an acknowledgement: send the next ping if one is due, and resume a send queue that waited."""
        now_s = asyncio.get_running_loop().time()
        was_open = self.window.is_open(now_s)
        ping = self.window.on_pong(payload, now_s)
        if ping:
            self._write(ping, b"")
        if not was_open and self._on_writable is not None and self.is_writable():
            self._on_writable()

    def expect_rest(self, is_within_frame: bool, has_finished_one: bool) -> None:
        """Abort in FRAME_TIMEOUT_S if the input ends within a frame whose rest has not come by then.

        Call it after each input of a WebSocket; `has_finished_one` says that a frame ended in it, so that the one which
        is not finished has just begun.
        """
        if self._frame_timer is not None and (has_finished_one or not is_within_frame):
            self._frame_timer.cancel()
            self._frame_timer = None
        if is_within_frame and self._frame_timer is None:
            self._frame_timer = asyncio.get_running_loop().call_later(FRAME_TIMEOUT_S, self.abort)

    def discard_input(self, abort_after_s: float) -> None:
        """Discard all further input, write no more frames from here, and abort in `abort_after_s` seconds."""
        if not self._discards_input:
            self._discards_input = True
            self.end_websocket()
            asyncio.get_running_loop().call_later(abort_after_s, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register and pass the transport on to Hypercorn; beyond the limits only a health check is let through."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream server makes no other kind
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if self._registry.admit(self, peer[0] if isinstance(peer, tuple) else "") is Place.HEALTH:
            self._is_reserved = True
            self._frame_timer = asyncio.get_running_loop().call_later(RESERVED_S, self.abort)
        self._refilled_at_s = asyncio.get_running_loop().time()
        # pause_writing is then called whenever the kernel has not taken a whole write: what is sent after that waits in
        # the client's queue, where newer messages replace it.
        transport.set_write_buffer_limits(0)
        self.descriptor = transport.get_extra_info("socket").fileno()
        # Hypercorn's work for a connection costs far more than all before, so one that is refused must not reach it.
        self._is_kept_back = self._is_reserved
        if not self._is_kept_back:
            self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister and pass the loss on, every error as a reset: the only kind that Hypercorn does not log."""
        self._registry.remove(self)
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None
        self._block()  # before the kernel may give the descriptor to another connection
        if self._transport is not None:
            # A bound method that asyncio keeps: with it the transport would be part of a reference cycle.
            self._transport._read_ready_cb = None  # type: ignore[attr-defined]
        if exc is not None and not isinstance(exc, ConnectionError):
            exc = ConnectionResetError(str(exc))
        self._loss = exc
        if not self._is_kept_back:
            self._inner.connection_lost(exc)
        self._end_soon()

    def data_received(self, data: bytes) -> None:
        """Pass input on to Hypercorn; abort if it exceeds the rate limit."""
        if self._discards_input:
            return
        if not self._take_tokens(len(data)) or (self._is_reserved and not data.startswith(HEALTH_CHECKS)):
            self.abort()
            return
        if self._is_kept_back and self._transport is not None:
            self._is_kept_back = False
            self._inner.connection_made(self._transport)
        self.received_at_s = self._refilled_at_s
        # The most frequent input: parsing it with wsproto and waking Hypercorn's task would cost far more.
        if data[0] == PONG_FRAME and (payload := self.window.ping_payload()) and lone_pong_payload(data) == payload:
            self.on_pong(payload)
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the peer sends no more; Hypercorn treats it as the end of the connection."""
        self._end_soon()
        return None if self._is_kept_back else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Block: the kernel takes no more for now."""
        self._block()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Unblock: the kernel has taken everything. Hypercorn's tasks that waited for that are resumed first."""
        self._inner.resume_writing()
        asyncio.get_running_loop().call_soon(self._unblock)

    def _block(self) -> None:
        self._is_blocked = True
        if self._on_blocked is not None:
            self._on_blocked()

    def _unblock(self) -> None:
        if self._transport is not None and not self._is_ending and not self._transport.get_write_buffer_size():
            self._is_blocked = False
            if self._on_writable is not None and self.is_writable():
                self._on_writable()

    def _end_soon(self) -> None:
        if self._end_timer is None:
            self._end_timer = asyncio.get_running_loop().call_later(TASK_END_GRACE_S, self._end)

    def _end(self) -> None:
        """Abort, cancel Hypercorn's task if it still runs, and drop references.

        Hypercorn waits for ever for a client that disconnected while one of several pipelined requests was answered.
        It also does not notify the app of one that disconnected after it had sent data before its WebSocket was
        accepted.
        """
        self.abort()
        if self.task is not None:
            self.task.cancel()
        self._block()
        # Cut every reference cycle through this object, so that reference counting frees it: see gc_tuning.py.
        self.detach()
        self.task = self._end_timer = None
        if self._loss is not None:
            self._loss.__traceback__ = None

    def _take_tokens(self, size: int) -> bool:
        """Refill the token bucket and take `size` bytes from it; return False if it held fewer."""
        now_s = asyncio.get_running_loop().time()
        refill_bytes = (now_s - self._refilled_at_s) * self._rate_bytes_s
        self._tokens_bytes = min(self._burst_bytes, self._tokens_bytes + refill_bytes) - size
        self._refilled_at_s = now_s
        return self._tokens_bytes >= 0
