"""One stream socket of the simulated exchange: its send queue, control messages, rate limit and ways to disconnect.

Sending goes through a bounded queue per connection, so a client that does not read loses its own connection and affects
no other. Knows no market: events arrive already encoded.
"""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from pulse.simulator.faults import Faults
from pulse.simulator.subscriptions import StreamSubscriptions

log = logging.getLogger(__name__)

OUTBOX_BYTES_MAX = 4 * 1024 * 1024  # queued for one client; beyond it the connection is reset
MESSAGES_PER_SECOND_MAX = 5  # PING, PONG and JSON from the client all count
MESSAGE_BYTES_MAX = 64 * 1024
CLOSE_WAIT_S = 1.0  # for the client's half of the closing handshake
POLICY_VIOLATION = 1008

RST, FIN, MID_FRAME = (
    "rst",
    "fin",
    "mid-frame",
)  # ways to disconnect without a closing handshake; MID_FRAME ends inside a frame


class StreamConnection:
    """One accepted WebSocket. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        subscriptions: StreamSubscriptions,
        faults: Faults,
        clock: Callable[[], float],
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
    ) -> None:
        self.subscriptions = subscriptions
        self.opened_s = self.last_pong_s = self.last_ping_s = (
            clock()
        )  # when it opened, last sent a pong, was last pinged
        self._ws = ws
        self._transport = transport
        self._faults = faults
        self._clock = clock
        self._outbox: deque[tuple[WSMsgType, bytes]] = deque()
        self._outbox_bytes = 0
        self._outbox_bytes_max = outbox_bytes_max
        self._filled = asyncio.Event()
        self._received_s: deque[float] = deque(maxlen=MESSAGES_PER_SECOND_MAX)

    def enqueue(self, payload: bytes, opcode: WSMsgType = WSMsgType.TEXT) -> None:
        """Queue a frame. A full queue resets the connection, as the exchange does with a client that lags."""
        if self._faults.half_open:
            return
        self._outbox.append((opcode, payload))
        self._outbox_bytes += len(payload)
        self._filled.set()
        if self._outbox_bytes > self._outbox_bytes_max:
            log.info("client too slow, connection reset queued_bytes=%s", self._outbox_bytes)
            self._outbox.clear()
            self._outbox_bytes = 0
            self.cut(RST)

    async def serve(self) -> None:
        """Send and handle messages until either side ends the connection."""
        sender = asyncio.create_task(self._send(), name="simulator-sender")
        try:
            await self._receive()
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def close(self, code: int, reason: str) -> None:
        """Close it with a closing handshake."""
        await self._ws.close(code=code, message=reason.encode())

    def cut(self, mode: str) -> None:
        """Disconnect without a handshake: RST, FIN, or MID_FRAME (FIN in the middle of a frame)."""
        if mode == MID_FRAME:
            self._transport.write(b"\x81\x7e\x01\x00{")  # the header of a text frame of 256 bytes, and one of them
        if mode != RST:
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            # With a linger time of 0, closing a socket resets its connection.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def ping(self, payload: bytes) -> None:
        """Send a ping; `last_pong_s` is when the last pong came."""
        self.last_ping_s = self._clock()
        self.enqueue(payload, WSMsgType.PING)

    async def _send(self) -> None:
        while True:
            while self._outbox:
                opcode, payload = self._outbox.popleft()
                self._outbox_bytes -= len(payload)
                try:
                    await self._ws.send_frame(payload, opcode)
                except ConnectionError:
                    return  # the client is gone, which the receiving side notices too
            self._filled.clear()
            await self._filled.wait()

    async def _receive(self) -> None:
        async for message in self._ws:
            if self._exceeds_rate():
                await self.close(POLICY_VIOLATION, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                self.enqueue(message.data, WSMsgType.PONG)
            elif message.type is WSMsgType.PONG:
                self.last_pong_s = self._clock()
            elif message.type is WSMsgType.TEXT:
                reply = self.subscriptions.handle(message.data, self._faults.nested_errors)
                self.enqueue(reply.text)
                if reply.close:
                    await self.close(POLICY_VIOLATION, "Too many streams")
                    return

    def _exceeds_rate(self) -> bool:
        now_s = self._clock()
        full = len(self._received_s) == MESSAGES_PER_SECOND_MAX
        exceeded = full and now_s - self._received_s[0] < 1.0
        self._received_s.append(now_s)
        return exceeded
