"""The HTTP and WebSocket server: opens the port, runs Hypercorn on it, and stops within a bounded time.

It knows nothing of what is served. What one client can cost is bounded in connection.py and hypercorn_patches.py.
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
from pulse.server.connection_registry import RESERVED_CONNECTIONS, ConnectionRegistry
from pulse.server.hypercorn_patches import MESSAGE_BYTES_MAX, patch_hypercorn
from pulse.server.loop import ServerLoop, server_registry

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

BACKLOG = 256
"""Connections that the kernel queues until they are accepted."""
SEND_BUFFER_BYTES = 64 * 1024
"""SO_SNDBUF: what the kernel buffers for a client that does not read; by default megabytes, seconds of old prices."""
NOTSENT_LOWAT_BYTES = 16 * 1024
"""TCP_NOTSENT_LOWAT: how much of that may be unsent. Beyond it the socket is not writable (backpressure), and newer
messages replace those that wait."""
USER_TIMEOUT_MS = 20_000
"""TCP_USER_TIMEOUT: when the kernel drops a peer that acknowledges nothing. The send timeout of sessions is shorter;
this is the fallback."""

REQUEST_HEAD_BYTES_MAX = 16 * 1024
KEEP_ALIVE_S = 10.0
"""How long a connection may be idle, or take to send a request's head, before it is closed."""

EXTRA_CONNECTIONS = 256
"""Connections beyond the WebSockets allowed: for pages, API calls and health checks."""
EXTRA_PER_ADDRESS = 64
"""The same of one address: a browser opens six for a page, and many people may share an address."""
EXTRA_DESCRIPTORS = 128
"""File descriptors beyond the connections: for the exchange's streams, the stores and the log."""

STOP_GRACE_S = 1.0
"""How long clients have to read their close frame when the server stops."""
STOP_TASKS_S = STOP_GRACE_S + 0.2
"""How long Hypercorn waits for its own tasks, such as a request that still reads the store; longer than the above."""

App = Callable[[Any, Any, Any], Awaitable[None]]  # an ASGI application


def open_listener(host: str, port: int, host_setting: str = "PULSE_HOST", port_setting: str = "PORT") -> socket.socket:
    """Return a socket that listens on a TCP port; 0 takes a free one.

    Raises SettingsError, which names the setting to change, of those that the host and the port come from.
    Every accepted connection inherits the options set here.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"{host_setting} must be an address of this machine, not {host!r}.") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        for option, value in (("TCP_NOTSENT_LOWAT", NOTSENT_LOWAT_BYTES), ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS)):
            if hasattr(socket, option):  # not on every system
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        raise SettingsError(_listen_error_text(host, port, fault, host_setting, port_setting)) from None
    return listener


def _listen_error_text(host: str, port: int, fault: OSError, host_setting: str, port_setting: str) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program: stop it, or set {port_setting} to another port."
    if fault.errno == errno.EADDRNOTAVAIL:
        return f"{host_setting} must be an address of this machine, not {host!r}."
    if fault.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} may not be opened by this user: set {port_setting} to 1024 or above."
    settings = host_setting if host_setting == port_setting else f"{host_setting} or {port_setting}"
    return f"Port {port} on {host} cannot be opened ({fault.strerror}): set {settings}."


async def serve(
    app: App,
    listener: socket.socket,
    stop: asyncio.Event,
    close_sessions: Callable[[], None],
    clients_max: int,
    clients_per_address_max: int | None = None,
    connections_per_address_s: int = 0,
    *,
    is_for_operator: bool = False,
) -> None:
    """Serve until `stop` is set, then end within STOP_GRACE_S + STOP_TASKS_S seconds. Takes ownership of the listener.

    At the stop no connection is accepted any more, `close_sessions` is called once to have the app close its
    WebSockets, and connections that remain after STOP_GRACE_S are aborted. `clients_max` is how many WebSockets the app
    will accept, `clients_per_address_max` how many of one address; None where a proxy hides the addresses.
    `connections_per_address_s` is how many connections a second one address may open; 0 sets no limit. /metrics shows
    the connections of the listener that is not `is_for_operator`. Raises RuntimeError on a loop that `loop_factory` did
    not make: there no connection could be aborted.
    """
    if not isinstance(asyncio.get_running_loop(), ServerLoop):
        raise RuntimeError("serve() needs a ServerLoop: run it with asyncio.Runner(loop_factory=loop_factory).")
    wanted = clients_max + EXTRA_CONNECTIONS
    others = RESERVED_CONNECTIONS + EXTRA_DESCRIPTORS
    limit = min(wanted, max(1, _raise_descriptor_limit(wanted + others) - others))
    per_address_max = None if clients_per_address_max is None else clients_per_address_max + EXTRA_PER_ADDRESS
    registry = ConnectionRegistry(limit, per_address_max, connections_per_address_s)
    if not is_for_operator:
        registry.publish()
    patch_hypercorn()
    context = copy_context()
    context.run(server_registry.set, registry)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            hypercorn_serve(app, _config(listener), shutdown_trigger=stop.wait, mode="asgi"),
            name="hypercorn",
            context=context,
        )
        pings = group.create_task(registry.ping_idle(), name="pings")
        await stop.wait()
        close_sessions()
        aborted = await registry.abort_after(STOP_GRACE_S)
        if aborted:
            log.info("connections aborted at stop count=%s", aborted)
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
    return config


def _raise_descriptor_limit(count: int) -> int:
    """Raise this process's soft limit of file descriptors to `count`, or as far as the hard limit allows.

    Return how many of the `count` may be used.
    """
    if sys.platform == "win32":
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        log.warning("open file limit too low allowed=%s needed=%s", wanted, count)
    return wanted
