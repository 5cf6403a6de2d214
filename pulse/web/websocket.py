"""The WebSocket endpoints: each client is admitted or refused, sent the newest of its topics, and closed with a reason.

A client gets the newest message per topic, never a backlog; one that reads nothing is disconnected. This file knows
neither what a view says nor how frames are written.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

from starlette.websockets import WebSocket

from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import ClientQueue, DirectClientQueue
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.requests import view_topic
from pulse.fanout.subscriptions import Echo, Subscriptions
from pulse.server.connection import ClientConnection
from pulse.server.loop import current_connection
from pulse.symbols import SymbolRegistry
from pulse.web.access import SUBPROTOCOL
from pulse.web.admission import Admission
from pulse.web.params import known_symbol

SEND_TIMEOUT_S = 8.0
"""How long a client's connection may accept no data before it is disconnected: one that takes 10 KB/s stays."""
CLOSE_TIMEOUT_S = 1.0
"""How long a client may take to answer a close frame."""
MESSAGES_MAX, MESSAGES_WINDOW_S = 50, 10.0
"""The rate limit of a client's messages: room for changing subscriptions, and for habits such as text pings."""


class CloseReason(NamedTuple):
    """A WebSocket close code and its reason."""

    code: int
    reason: str


GOING_AWAY = CloseReason(1001, "this server is stopping; please connect again")
TOO_MANY_MESSAGES = CloseReason(1008, f"more than {MESSAGES_MAX} messages in {MESSAGES_WINDOW_S:g} s")

OnEcho = Callable[[str, Echo], None]
"""Takes the address key of a client, and its report that it has shown a view."""
OnMessage = Callable[[str | bytes | None], bool]
"""Takes a client's message; returns False if the client must be closed."""


class WebSocketSession:
    """One WebSocket and its send queue."""

    def __init__(
        self,
        websocket: WebSocket,
        connection: ClientConnection,
        scheduler: FlushScheduler,
        send_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.queue = DirectClientQueue(scheduler, connection, send_timeout_s, self._on_queue_end)
        self._websocket = websocket
        self._connection = connection
        self._clock = clock
        self._close_reason = GOING_AWAY
        self._is_over = False
        self._closing: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    async def run(self, on_message: OnMessage) -> None:
        """Serve an accepted client until its connection has ended, from either side."""
        self._connection.start_websocket()
        async with asyncio.TaskGroup() as self._group:
            if self.queue.is_ended:
                self._on_queue_end()
            try:
                await self._receive(on_message)
            finally:
                # Hypercorn swallows a cancellation that comes while it closes, so both ways are needed.
                self._is_over = True
                self.queue.end()
                if self._closing is not None:
                    self._closing.cancel()

    def _on_queue_end(self) -> None:
        if self._group is not None and not self._is_over:
            self._closing = self._group.create_task(self._close(), name="session-close")

    async def _close(self) -> None:
        """Send a close frame; the client's answer, or its end, is what `_receive` sees."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._websocket.close(*self._close_reason)
                # Cancelled by `run` when the client answers, else ended by the time-out.
                await asyncio.sleep(2 * CLOSE_TIMEOUT_S)
        except TimeoutError:
            self.queue.time_out()

    async def _receive(self, on_message: OnMessage) -> None:
        """Read until the connection has ended: the server reports that in no other way. Closes a client that floods."""
        recent: deque[float] = deque(maxlen=MESSAGES_MAX)
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            now_s = self._clock()
            is_flood = len(recent) == MESSAGES_MAX and now_s - recent[0] < MESSAGES_WINDOW_S
            recent.append(now_s)
            if self.queue.is_ended:
                continue
            if is_flood or not on_message(message.get("text") or message.get("bytes")):
                self._close_reason = TOO_MANY_MESSAGES
                self.queue.end()


def ignore_message(_: str | bytes | None) -> bool:
    """Ignore what the clients of /ws/orderbook send: it has no meaning."""
    return True


class WebSocketSessions:
    """All WebSocket sessions of this process, and the endpoints that open them.

    For /metrics: `timed_out` counts clients that read nothing in time, `replaced` messages that a newer one replaced
    before the client took them.
    """

    def __init__(
        self,
        admission: Admission,
        registry: SymbolRegistry,
        hub: Hub,
        groups: BroadcastGroups,
        scheduler: FlushScheduler,
        on_echo: OnEcho,
        *,
        send_timeout_s: float = SEND_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.admission = admission
        self.registry = registry
        self.hub = hub
        self.groups = groups
        self.scheduler = scheduler
        self.send_timeout_s = send_timeout_s
        self._on_echo = on_echo
        self._clock = clock
        self.timed_out = 0
        self._replaced = 0

    @property
    def open_count(self) -> int:
        """How many clients are connected, event streams included."""
        return self.admission.count

    @property
    def replaced(self) -> int:
        """How many messages a newer one replaced before they were sent."""
        return self._replaced + self.groups.replaced

    async def serve_view(self, websocket: WebSocket) -> None:
        """Serve /ws/orderbook[/{symbol}]. Raises RequestError before the upgrade."""
        with self._admitted(websocket) as (session, address):
            topic = view_topic(known_symbol(websocket.path_params.get("symbol"), self.registry, address))
            await self._accept(websocket, session)
            self.groups.set_topics(session.queue, [topic], [topic])
            await session.run(ignore_message)

    async def serve_topics(self, websocket: WebSocket) -> None:
        """Serve /ws. Raises RequestError before the upgrade."""
        with self._admitted(websocket) as (session, address):
            await self._accept(websocket, session)
            with closing(self.subscriptions(session.queue, address)) as subscriptions:
                await session.run(partial(subscriptions.receive, on_echo=partial(self._on_echo, address)))

    def subscriptions(self, queue: ClientQueue, address: str) -> Subscriptions:
        """Return the subscriptions, none yet, of a client of this address; to be closed."""
        return Subscriptions(self.hub, self.groups, queue, self.registry, self.admission.topics, address)

    @contextmanager
    def _admitted(self, websocket: WebSocket) -> Iterator[tuple[WebSocketSession, str]]:
        """Count a client in, under its address key, for this block.

        That comes before anything is done for it: a symbol that it names is opened.
        """
        address = self.admission.enter(websocket)
        session = WebSocketSession(websocket, current_connection(), self.scheduler, self.send_timeout_s, self._clock)
        try:
            yield session, address
        finally:
            self.leave(address, session.queue)

    async def _accept(self, websocket: WebSocket, session: WebSocketSession) -> None:
        # A browser that offers subprotocols takes the connection only if the server chooses one of them.
        offered = websocket.scope["subprotocols"]
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        self.hub.add_client(session.queue)

    def leave(self, address: str, queue: ClientQueue) -> None:
        """Count a client out, and send it nothing more."""
        self.hub.remove_client(queue)
        self.groups.set_topics(queue, [])
        self.admission.leave(address)
        self.timed_out += queue.timed_out
        self._replaced += queue.replaced
