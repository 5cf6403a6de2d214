"""The network connections to the exchange: REST calls and streams of text frames. Only this module uses aiohttp.

Streams and REST clients take a `Transport`, so that a simulation in virtual time can replace the network. Every network
failure becomes an ExchangeError.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from pulse.errors import ConnectionEnded, ExchangeError, HandshakeRefused
from pulse.logs import printable

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 12.0
"""The exchange itself gives up after 10 s."""
CONNECT_TIMEOUT_S = 10.0
"""aiohttp itself waits for ever for the answer to a handshake."""
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_S = 15.0
"""Our own pings find a peer that is gone without closing; silent data is found by the `StreamWatchdog`."""
ATTEMPTS_MAX, ATTEMPTS_WINDOW_S = 150, 300.0
"""Rate limit of streams opened by the whole process: half of what the exchange allows one address, because other
programs may share the address."""
BODY_BYTES_MAX = 16 * 2**20
FRAME_BYTES_MAX = 2 * 2**20
REASON_CHARS_MAX = 300
"""How much of a library's error text an error of ours repeats."""
REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientConnectorCertificateError, "its certificate cannot be verified"),
    (aiohttp.ClientConnectorSSLError, "TLS failed"),
    (TimeoutError, "time-out"),
)
"""What stands in place of a library's text that would name an address, by the class of the error."""
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a REST call. Headers are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(Protocol):
    """One open stream."""

    async def receive(self) -> str:
        """Return the next text frame. Raises ConnectionEnded."""

    async def send(self, text: str) -> None:
        """Send a text frame. Raises ConnectionEnded."""

    async def close(self) -> None:
        """Close within CLOSE_TIMEOUT_S; closing twice does no harm."""


class Transport(Protocol):
    """Opens connections to the exchange."""

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Make one REST call. Raises ExchangeError where there is no answer."""

    async def connect(self, url: str) -> Stream:
        """Open a stream. Raises HandshakeRefused or another ExchangeError."""


def open_session() -> aiohttp.ClientSession:
    """Make the session that `AiohttpTransport` works with. It must be closed."""
    return aiohttp.ClientSession(middlewares=(_refuse_redirected_handshake,))


async def _refuse_redirected_handshake(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise HandshakeRefused for a redirect of a handshake, which aiohttp itself follows to any host."""
    response = await handler(request)
    if response.status in REDIRECTS and "Upgrade" in request.headers:
        response.close()
        raise HandshakeRefused(response.status)
    return response


class AiohttpTransport:
    """The real network. Redirects are not followed; answers and frames are bounded in size.

    `session` is one of `open_session`.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._attempts: deque[float] = deque(maxlen=ATTEMPTS_MAX)  # loop times, the latest last

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Make one REST call within REQUEST_TIMEOUT_S."""
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_S),
                self._session.get(url, params=params, allow_redirects=False) as response,
            ):
                return Answer(response.status, response.headers, await _bounded_body(response))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise ExchangeError(f"no answer: {_reason(fault)}") from fault

    async def connect(self, url: str) -> Stream:
        """Open a stream within CONNECT_TIMEOUT_S, after a wait for the rate limit.

        Without compression: on frames of 2 KB it costs more than it saves.
        """
        await self._wait_for_rate_limit()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session.ws_connect(
                    url,
                    heartbeat=HEARTBEAT_S,
                    compress=0,
                    max_msg_size=FRAME_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as fault:
            raise HandshakeRefused(fault.status) from fault
        except TimeoutError as fault:
            raise ExchangeError(f"the handshake was not answered within {CONNECT_TIMEOUT_S:.0f} s") from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise ExchangeError(f"the exchange cannot be reached: {_reason(fault)}") from fault
        return _AiohttpStream(socket)

    async def _wait_for_rate_limit(self) -> None:
        """Reserve the next attempt so that no ATTEMPTS_WINDOW_S holds more than ATTEMPTS_MAX, and wait for it."""
        now_s = asyncio.get_running_loop().time()
        is_full = len(self._attempts) == ATTEMPTS_MAX
        due_s = max(now_s, self._attempts[0] + ATTEMPTS_WINDOW_S) if is_full else now_s
        self._attempts.append(due_s)
        await asyncio.sleep(due_s - now_s)


class _AiohttpStream:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> str:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionEnded(self._end_reason(message))
        text: str = message.data
        return text

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError) as fault:
            raise ConnectionEnded("the connection broke while writing") from fault

    async def close(self) -> None:
        await self._socket.close()

    def _end_reason(self, message: aiohttp.WSMessage) -> str:
        if message.type is aiohttp.WSMsgType.CLOSE:
            return f"the exchange closed the connection (code {message.data})"
        if message.type is aiohttp.WSMsgType.ERROR:
            return f"the connection failed: {_reason(self._socket.exception())}"
        if message.type is aiohttp.WSMsgType.BINARY:
            return "the exchange sent a binary frame"
        return f"the connection was cut (code {self._socket.close_code})"


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(2**16):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise ExchangeError(f"an answer was larger than {BODY_BYTES_MAX} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _reason(fault: BaseException | None) -> str:
    """Return why a call failed, cut and escaped, without the addresses that the library's own text names.

    It is shown to everyone as the reason of a book's state. A text may quote what the other side sent.
    """
    if fault is None:
        return "no reason given"
    log.debug("call failed reason=%s", fault)
    for kind, sentence in REASONS:
        if isinstance(fault, kind):
            return sentence
    if isinstance(fault, OSError) and fault.errno:
        return os.strerror(fault.errno)
    if isinstance(fault, aiohttp.ClientConnectorError):
        return "no connection could be opened"
    text = fault.message if isinstance(fault, aiohttp.ClientResponseError) else str(fault)
    return printable(text[:REASON_CHARS_MAX]) or type(fault).__name__
