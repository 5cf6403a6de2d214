"""The lower bound in asyncio: the same framed bytes written to every transport, without an HTTP server.

It also replaces epoll.c where there is no C compiler, and implements as little HTTP: every client is upgraded.
"""

import argparse
import asyncio

from bench.rivals.publisher import make_message, next_tick

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Client(asyncio.Protocol):
    """One client: upgraded at its request, then in the broadcaster's set until it is lost."""

    def __init__(self, open_ones: set[asyncio.Transport]) -> None:
        self._open = open_ones
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Upgrade at the end of the request; anything else is ignored."""
        if self._transport is not None and self._transport not in self._open and b"\r\n\r\n" in data:
            self._transport.write(ANSWER)
            self._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the client."""
        if self._transport is not None:
            self._open.discard(self._transport)


async def _main(port: int, size: int, rate_hz: float) -> None:
    loop = asyncio.get_running_loop()
    open_ones: set[asyncio.Transport] = set()
    await loop.create_server(lambda: Client(open_ones), "127.0.0.1", port, backlog=1024)
    head = bytes((0x81, 126)) + size.to_bytes(2, "big")
    while True:
        await next_tick(rate_hz, loop)
        frame = head + make_message(size).encode()
        for transport in open_ones:
            transport.write(frame)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="bench.rivals.raw_asyncio", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("rate_hz", type=float)
    options = parser.parse_args()
    asyncio.run(_main(options.port, options.size, options.rate_hz))


if __name__ == "__main__":
    main()
