"""The process: runs a terminal, starts its tasks, and owns the order in which they stop.

A venue that refuses us is left for the configured fallback within the same process. Which parts and tasks there are is
up to `terminal`.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext

from pulse.binance.venues import VENUES, Venue, venue_of
from pulse.errors import ExchangeRefused, SettingsError
from pulse.server import gc_tuning
from pulse.server.listener import open_listener, serve
from pulse.server.loop import loop_factory
from pulse.settings import Settings
from pulse.terminal import Built, Plan, Terminal, Work

log = logging.getLogger(__name__)

LAST_RESORT_S = 4.5
"""A process that was told to stop is gone after this long, whatever hangs."""
OPERATOR_CLIENTS_MAX = 0
"""WebSockets of the operator's listener, which serves none; its requests have room beside them."""


def start(settings: Settings, plan: Plan) -> None:
    """Run the terminal until SIGTERM or SIGINT. Raises SettingsError for what its owner must change."""
    venue = venue_of(settings.venue, settings.rest_url, settings.stream_url)
    fallback = VENUES.get(settings.fallback_venue) if plan.source == "exchange" else None
    try:
        _run_on(venue, settings, plan, may_fall_back=fallback is not None)
    except ExchangeRefused as refusal:
        if fallback is None:
            raise
        log.warning("venue refused, falling back venue=%s reason=%s", fallback.name, refusal)
        _run_on(fallback, settings, plan, may_fall_back=False)


def _run_on(venue: Venue, settings: Settings, plan: Plan, *, may_fall_back: bool) -> None:
    last_resort = _LastResort()
    terminal = Terminal(settings, plan, venue, may_fall_back=may_fall_back)
    try:
        with (
            open_listener(settings.host, settings.port) as listener,
            _open_operator_listener(settings) as operator_listener,
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(_run(terminal, listener, operator_listener, last_resort))
    except* (SettingsError, ExchangeRefused) as group:
        expected = _first(group)
    else:
        return
    if may_fall_back:
        last_resort.disarm()  # everything of this run has ended, and the process goes on
    raise expected


def _open_operator_listener(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    if settings.operator_bind is None:
        return nullcontext()
    return open_listener(*settings.operator_bind, "PULSE_OPERATOR_BIND", "PULSE_OPERATOR_BIND")


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """Return the first exception of a group, or of the groups within it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _run(
    terminal: Terminal, listener: socket.socket, operator_listener: socket.socket | None, last_resort: "_LastResort"
) -> None:
    """Open the resources, build the parts, start the tasks, wait for the end, stop in order.

    Nothing outside this machine is waited for before the server answers.
    """
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with AsyncExitStack() as resources:
        built = await terminal.build(resources)
        resources.enter_context(gc_tuning.frozen_gc())
        _print_address(listener)
        server = asyncio.create_task(_serve(built, terminal.settings, listener, operator_listener, stop), name="web")
        try:
            await _run_until_stopped(built.work, server, stop)
        finally:
            last_resort.arm()
            stop.set()  # no new connections; sessions are closed
            await asyncio.create_task(built.writer.aclose())  # its time-out needs a task that no group has marked
            await server


async def _serve(
    built: Built, settings: Settings, listener: socket.socket, operator_listener: socket.socket | None,
    stop: asyncio.Event,
) -> None:  # fmt: skip
    """Serve everyone, and the operator where a listener is set for that, until `stop`."""
    per_address_max, per_address_s = settings.clients_per_address_max, settings.requests_per_address_s
    # Behind a proxy all connections come from its address.
    of_address = (None, 0) if settings.trusted_hops else (per_address_max, per_address_s)
    async with asyncio.TaskGroup() as servers:
        servers.create_task(serve(built.app, listener, stop, built.hub.shut_down, settings.clients_max, *of_address))
        if operator_listener is not None:
            servers.create_task(
                serve(
                    built.operator_app, operator_listener, stop, lambda: None, OPERATOR_CLIENTS_MAX,
                    is_for_operator=True,
                )
            )  # fmt: skip


def _print_address(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
    sys.stdout.write(f"Pulse Terminal: http://{f'[{shown}]' if ':' in shown else shown}:{port}\n")
    sys.stdout.flush()


async def _run_until_stopped(work: Work, server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Run every task until `stop`; the first that fails ends all of them."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run(), name=name) for name, run in work.items()]
        running.append(tasks.create_task(_watch_server(server, stop), name="web-watch"))
        await stop.wait()
        log.info("stopping")
        for task in running:
            task.cancel()


async def _watch_server(server: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Raise when the server ends though it was not asked to stop."""
    await asyncio.shield(server)
    if not stop.is_set():
        raise RuntimeError("the web server ended by itself")


class _LastResort:
    """The timer that ends the process if anything hangs while stopping, up to the end of the interpreter."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Start the timer. The exit code is 1 while an exception is being handled."""
        code = 0 if sys.exc_info()[0] is None else 1
        self._timer = threading.Timer(LAST_RESORT_S, os._exit, (code,))
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """Stop the timer, where it was started."""
        if self._timer is not None:
            self._timer.cancel()
