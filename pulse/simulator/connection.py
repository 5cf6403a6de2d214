"""One stream socket of the simulated exchange: what it sends, what it obeys, and when it is cut.

Sending goes through a bounded outbox of its own, so a client that does not read loses its connection and nobody else
loses anything. It knows no market: events arrive already encoded.
"""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from pulse.simulator.faults import Faults
from pulse.simulator.subscriptions import Subscriptions

log = logging.getLogger(__name__)

OUTBOX_BYTES_MAX = 4 * 1024 * 1024  # queued for one client; beyond it the connection is reset
MESSAGES_PER_SECOND_MAX = 5  # PING, PONG and JSON from the client all count
MESSAGE_BYTES_MAX = 64 * 1024
CLOSE_WAIT_S = 1.0  # for the client's half of the closing handshake
POLICY_VIOLATION = 1008

RST, FIN, TORN = "rst", "fin", "torn"  # ways to cut without a closing handshake; TORN ends inside a frame


class Connection:
    """One accepted WebSocket. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        subscriptions: Subscriptions,
        faults: Faults,
        clock: Callable[[], float],
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
    ) -> None:
        self.subscriptions = subscriptions
        self.opened_s = self.pong_s = self.ping_s = clock()  # when it opened, last answered, was last asked
        self._ws = ws
        self._transport = transport
        self._faults = faults
        self._clock = clock
        self._outbox: deque[tuple[WSMsgType, bytes]] = deque()
        self._outbox_bytes = 0
        self._outbox_bytes_max = outbox_bytes_max
        self._filled = asyncio.Event()
        self._received_s: deque[float] = deque(maxlen=MESSAGES_PER_SECOND_MAX)

    def push(self, payload: bytes, opcode: WSMsgType = WSMsgType.TEXT) -> None:
        """Queue a frame. A full outbox resets the connection, as the exchange does with a client that lags."""
        if self._faults.frozen:
            return
        self._outbox.append((opcode, payload))
        self._outbox_bytes += len(payload)
        self._filled.set()
        if self._outbox_bytes > self._outbox_bytes_max:
            log.info("client too slow, reset queued_bytes=%s", self._outbox_bytes)
            self._outbox.clear()
            self._outbox_bytes = 0
            self.cut(RST)

    async def serve(self) -> None:
        """Send and obey until either side ends the connection."""
        sender = asyncio.create_task(self._send(), name="simulator-sender")
        try:
            await self._listen()
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def close(self, code: int, reason: str) -> None:
        """End it with a closing handshake."""
        await self._ws.close(code=code, message=reason.encode())

    def cut(self, how: str) -> None:
        """End it without one: RST, FIN, or TORN (FIN in the middle of a frame)."""
        if how == TORN:
            self._transport.write(b"\x81\x7e\x01\x00{")  # the head of a text frame of 256 bytes, and one of them
        if how != RST:
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            # Without lingering, closing a socket resets its connection.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def ping(self, payload: bytes) -> None:
        """Ask for a sign of life; `pong_s` tells when the last one came."""
        self.ping_s = self._clock()
        self.push(payload, WSMsgType.PING)

    async def _send(self) -> None:
        while True:
            while self._outbox:
                opcode, payload = self._outbox.popleft()
                self._outbox_bytes -= len(payload)
                try:
                    await self._ws.send_frame(payload, opcode)
                except ConnectionError:
                    return  # the client is gone, which the listener sees too
            self._filled.clear()
            await self._filled.wait()

    async def _listen(self) -> None:
        async for message in self._ws:
            if self._too_fast():
                await self.close(POLICY_VIOLATION, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                self.push(message.data, WSMsgType.PONG)
            elif message.type is WSMsgType.PONG:
                self.pong_s = self._clock()
            elif message.type is WSMsgType.TEXT:
                reply = self.subscriptions.handle(message.data, self._faults.nested_errors)
                self.push(reply.text)
                if reply.close:
                    await self.close(POLICY_VIOLATION, "Too many streams")
                    return

    def _too_fast(self) -> bool:
        now_s = self._clock()
        full = len(self._received_s) == MESSAGES_PER_SECOND_MAX
        too_fast = full and now_s - self._received_s[0] < 1.0
        self._received_s.append(now_s)
        return too_fast
