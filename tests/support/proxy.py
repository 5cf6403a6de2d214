"""A TCP proxy on loopback that can stall or reset its connections, as a network does.

It knows no protocol. Data held back while it is stalled is passed on afterwards, as by a network that was only slow.
"""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from types import TracebackType

CHUNK_BYTES = 65_536
TLS = Path(__file__).with_name("tls")
CERTIFICATE = TLS / "certificate.pem"
"""A certificate of 127.0.0.1 and localhost that is its own authority, valid for a century; its key protects nothing."""


def tls_context() -> ssl.SSLContext:
    """Return what a server needs to speak TLS with the certificate of the tests."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, TLS / "key.pem")
    return context


class Proxy:
    """Passes bytes between a port of its own and `target_port`, within `async with`; with `tls` its port is TLS."""

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None) -> None:
        self._target_port = target_port
        self._tls = tls
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps)

    def mute(self) -> None:
        """Stall: send nothing to either side, but keep connections open and accept new ones."""
        self._passes.clear()

    def unmute(self) -> None:
        """Resume: pass on what was held back, and everything after it."""
        self._passes.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        await self._passes.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)
