"""The event loop of the process: a selector loop that wraps each accepted connection in a `ClientConnection`.

It also lets a request's task find its connection, and sets asyncio's read size. It does not know HTTP.
"""

import asyncio
import logging
from asyncio import selector_events, sslproto
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from pulse.logs import RepeatedTrouble
from pulse.server.connection import ClientConnection
from pulse.server.connection_registry import ConnectionRegistry

READ_BYTES = 16 * 1024
"""Buffer size of one read from any socket, the exchange's included. asyncio allocates 256 KiB per read by default: for
a frame of 200 bytes that takes ten times as long as the read itself."""
READERS: tuple[Any, ...] = (selector_events._SelectorTransport, sslproto.SSLProtocol)  # type: ignore[attr-defined]
"""asyncio's private classes that read from sockets and decrypt TLS; their `max_size` is undocumented."""

ACCEPT_TROUBLE = "socket.accept() out of system resource"
"""asyncio's message when no connection can be accepted for want of descriptors or memory; it tries again after 1 s."""
ACCEPTED_AT_ONCE = 16
"""Connections accepted between two turns of the loop. With one alone, a client that opens more than the loop has turns
keeps the backlog full, and others, health checks too, wait for seconds; asyncio's own bound is the backlog."""

log = logging.getLogger(__name__)

server_registry: ContextVar[ConnectionRegistry | None] = ContextVar("pulse_server_registry", default=None)
"""The registry of the server that is being created in this context."""
_current: ContextVar[ClientConnection] = ContextVar("pulse_connection")


def current_connection() -> ClientConnection:
    """Return the connection that the running task serves. Raises LookupError outside of a request."""
    return _current.get()


class ServerLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop, with a `ClientConnection` for each connection that `serve` accepts.

    While no connection can be accepted it tries once a second, and logs that once a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._accept_trouble = RepeatedTrouble(log, "connections cannot be accepted reason=%s")
        self._has_accepted = False

    def _accept_connection(
        self, protocol_factory: Any, sock: Any, sslcontext: Any = None, server: Any = None, _: int = 0, *rest: Any
    ) -> None:
        # One by one: without descriptors asyncio goes on to the end of its backlog, with a line and a timer for each.
        accept = super()._accept_connection  # type: ignore[misc]  # asyncio's private method; its stub has none
        for _ in range(ACCEPTED_AT_ONCE):
            self._has_accepted = False
            accept(protocol_factory, sock, sslcontext, server, 1, *rest)
            if not self._has_accepted:  # none waits, or none can be accepted
                return

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Handle an error as asyncio does, but for the one that repeats for as long as descriptors are exhausted."""
        if context.get("message") == ACCEPT_TROUBLE:
            self._accept_trouble.warn(context["exception"].strerror)
        else:
            super().call_exception_handler(context)

    async def create_server(  # type: ignore[override]  # the signature is passed through, whatever it is
        self, protocol_factory: Callable[[], asyncio.Protocol], *args: Any, **kwargs: Any
    ) -> asyncio.Server:
        """Create a server as asyncio does. Connections are wrapped for the server of `serve` alone."""
        registry = server_registry.get()
        if registry is None:
            return await super().create_server(protocol_factory, *args, **kwargs)

        def accept() -> ClientConnection:
            connection = ClientConnection(protocol_factory(), registry)
            _current.set(connection)  # asyncio accepts each connection in a task, whose context its callbacks inherit
            return connection

        return await super().create_server(accept, *args, **kwargs)

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """Create a task as asyncio does. The first one of a connection is Hypercorn's task for it.

        asyncio creates one for each connection that it accepts.
        """
        self._has_accepted = True
        connection = _current.get(None)
        if connection is None or connection.task is not None:
            return super().create_task(coro, **kwargs)
        connection.task = super().create_task(_until_cancelled(coro), **kwargs)
        return connection.task


async def _until_cancelled(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine and treat its cancellation as success: asyncio's streams would log it as an error."""
    try:
        await work
    except asyncio.CancelledError as end:
        end.__traceback__ = None  # a task group keeps the error that it raises, and its frames: see gc_tuning.py


def loop_factory() -> asyncio.AbstractEventLoop:
    """Return a loop for `asyncio.Runner(loop_factory=loop_factory)`; set READ_BYTES for the whole process."""
    for reader in READERS:
        reader.max_size = READ_BYTES
    return ServerLoop()
