"""The server: it opens the port, has Hypercorn speak HTTP and WebSocket there, and makes stopping certain whatever the
clients do. It knows nothing of what is served; what one client may cost is bounded in `connection` and `hardening`.
"""

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from pulse.errors import SettingsError
from pulse.server.connection import PING_EVERY_S, SILENCE_MAX_S, Connections, ServerLoop, serving
from pulse.server.hypercorn_patches import MESSAGE_BYTES_MAX, patch_hypercorn

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

REQUEST_HEAD_BYTES_MAX = 16 * 1024
KEEP_ALIVE_S = 10.0
"""How long a connection may be silent, or drip its header, before it is closed."""

CONNECTIONS_SPARE = 256
"""Connections beyond the WebSockets allowed: for pages, API calls and health checks."""
FILES_SPARE = 128
"""Descriptors beyond the connections: for the feed, the stores and the log."""

STOP_GRACE_S = 1.0
"""How long clients have to take their goodbye when the server stops."""
STOP_TASKS_S = STOP_GRACE_S + 0.2
"""How long Hypercorn waits for its own tasks, such as a request that still asks the store; longer than the above."""

App = Callable[[Any, Any, Any], Awaitable[None]]  # an ASGI application


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
    patch_hypercorn()
    context = copy_context()
    context.run(serving.set, register)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            hypercorn_serve(app, _config(listener), shutdown_trigger=stop.wait, mode="asgi"),
            name="hypercorn",
            context=context,
        )
        pings = group.create_task(register.ping_in_turn(), name="pings")
        await stop.wait()
        goodbye()
        cut = await register.abort_after(STOP_GRACE_S)
        if cut:
            log.info("connections cut at stop count=%s", cut)
        pings.cancel()


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
