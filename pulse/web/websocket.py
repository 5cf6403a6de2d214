"""One browser or bot on a WebSocket: let in or refused, sent the newest view, and told goodbye.

A client is owed one view per topic, never a backlog; one that takes nothing is cut. It does not know what a
view says, nor which server carries it: a connection is something that can be written to and cut.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from starlette.websockets import WebSocket

from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import AwaitedClientQueue, ClientQueue, DirectClientQueue, FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.requests import view_topic
from pulse.fanout.subscriptions import Subscriptions
from pulse.server.connection import ClientConnection
from pulse.symbols import SymbolRegistry
from pulse.web.admission import Admission
from pulse.web.params import known_symbol

SEND_TIMEOUT_S = 8.0
"""How long a client may take to read what it was sent before it is cut: one that takes 10 KB/s still may."""
GOODBYE_S = 1.0
"""How long it may take to answer a goodbye."""
MESSAGES_MAX, MESSAGES_WINDOW_S = 50, 10.0
"""What a client may say: room for changing its mind, and for habits such as text pings."""


class Goodbye(NamedTuple):
    """A WebSocket close code and its reason."""

    code: int
    reason: str


GOING_AWAY = Goodbye(1001, "this server is stopping; please connect again")
TOO_TALKATIVE = Goodbye(1008, f"more than {MESSAGES_MAX} messages in {MESSAGES_WINDOW_S:g} s")


class WebSocketSession:
    """One accepted WebSocket. `connection` None: it cannot be cut, and the server's own time-outs must do.

    `hear` is given what the client says, and tells whether it may go on; by default it is ignored.
    """

    def __init__(
        self,
        websocket: WebSocket,
        outlet: DirectClientQueue | AwaitedClientQueue,
        connection: ClientConnection | None,
        send_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.hear: Callable[[str | bytes | None], bool] = _ignore
        self._websocket = websocket
        self._outlet = outlet
        self._connection = connection
        self._send_timeout_s = send_timeout_s
        self._clock = clock
        self._goodbye = GOING_AWAY
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve the client until its connection has ended, by whomever."""
        if self._connection is not None:
            self._connection.start_websocket()
        async with asyncio.TaskGroup() as self._group:
            if isinstance(self._outlet, AwaitedClientQueue):
                self._start(self._send(self._outlet), "session-send")
            if self._outlet.is_ended:
                self._leave()
            else:
                self._outlet.on_end = self._leave
            try:
                await self._receive()
            finally:
                # Hypercorn swallows a cancellation that comes while it closes, so the tasks are told in both ways.
                self._is_over = True
                self._outlet.end()
                for task in self._tasks:
                    task.cancel()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None  # noqa: S101  # set before anything can be started
        self._tasks.append(self._group.create_task(work, name=name))

    def _leave(self) -> None:
        if not self._is_over:
            self._start(self._say_goodbye(), "session-goodbye")

    async def _say_goodbye(self) -> None:
        """Close; the client's answer, or its end, is the end that `_receive` sees."""
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._websocket.close(*self._goodbye)
                await asyncio.sleep(2 * GOODBYE_S)  # ended by `_receive` when the client answers, else by the time-out
        except TimeoutError:
            self._cut()

    async def _send(self, outlet: AwaitedClientQueue) -> None:
        """Send by the framework's own way, which frames and waits for each client anew."""
        try:
            while (messages := await outlet.next()) is not None:
                for message in messages:
                    async with asyncio.timeout(self._send_timeout_s):
                        await self._websocket.send_text(message.payload.decode())
        except TimeoutError:
            self._cut()

    def _cut(self) -> None:
        self._outlet.was_cut = True
        if self._connection is not None:
            self._connection.abort()

    async def _receive(self) -> None:
        """Read until the connection has ended: the server learns of that in no other way. A flood ends in a goodbye."""
        recent: deque[float] = deque(maxlen=MESSAGES_MAX)
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            now_s = self._clock()
            is_flood = len(recent) == MESSAGES_MAX and now_s - recent[0] < MESSAGES_WINDOW_S
            recent.append(now_s)
            if self._outlet.is_ended:
                continue
            if is_flood or not self.hear(message.get("text") or message.get("bytes")):
                self._goodbye = TOO_TALKATIVE
                self._outlet.end()


def _ignore(_: str | bytes | None) -> bool:
    """What the clients of /ws/orderbook say has no meaning."""
    return True


class WebSocketSessions:
    """All sessions of this process.

    They come in by `door`. `connection` gives the one that the running task serves; `scheduler`, `send_timeout_s` are
    for all clients, and `on_echo` is told the instance and the timestamp of a view that one was shown. For /metrics:
    `open_count`, `cut` (clients that took nothing in time), and `replaced` (messages that ended clients never got,
    because a newer one came).
    """

    def __init__(
        self,
        door: Admission,
        registry: SymbolRegistry,
        hub: Hub,
        connection: Callable[[], ClientConnection | None],
        *,
        send_timeout_s: float = SEND_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.door = door
        self.registry = registry
        self._hub = hub
        self._connection = connection
        self.send_timeout_s = send_timeout_s
        self._clock = clock
        self.scheduler = FlushScheduler()
        self.audiences = BroadcastGroups(hub, self.scheduler)
        self.on_echo: Callable[[str, float], None] = lambda *_: None
        self.cut = 0
        self._replaced = 0

    @property
    def open_count(self) -> int:
        """How many clients are connected."""
        return self.door.count

    @property
    def replaced(self) -> int:
        """How many messages were not sent because a newer one came."""
        return self._replaced + self.audiences.replaced

    async def serve(self, websocket: WebSocket) -> None:
        """The endpoint of /ws/orderbook[/{symbol}]. Raises Problem, before the upgrade, for who may not come in."""
        with self._admitted(websocket) as outlet:
            choice = view_topic(known_symbol(websocket.path_params.get("symbol"), self.registry))
            session = await self._accepted(websocket, outlet)
            self.audiences.seat(outlet, [choice], [choice])
            await session.run()

    async def serve_feed(self, websocket: WebSocket) -> None:
        """The endpoint of /ws. Raises Problem, before the upgrade, for who may not come in."""
        with self._admitted(websocket) as outlet:
            session = await self._accepted(websocket, outlet)
            session.hear = Subscriptions(self._hub, self.audiences, outlet, self.registry, self.on_echo).hear
            await session.run()

    @contextmanager
    def _admitted(self, websocket: WebSocket) -> Iterator[DirectClientQueue | AwaitedClientQueue]:
        """Count one in for this block, before anything is done for it: a symbol that is named is followed."""
        address = self.door.enter(websocket)
        outlet = self._outlet(websocket, self._connection())
        try:
            yield outlet
        finally:
            self.leave(address, outlet)

    async def _accepted(self, websocket: WebSocket, outlet: DirectClientQueue | AwaitedClientQueue) -> WebSocketSession:
        """Upgrade."""
        await websocket.accept()
        self._hub.admit(outlet)
        return WebSocketSession(websocket, outlet, self._connection(), self.send_timeout_s, self._clock)

    def _outlet(
        self, websocket: WebSocket, connection: ClientConnection | None
    ) -> DirectClientQueue | AwaitedClientQueue:
        """The way past the framework where there is one: frames are ours to write on HTTP/1.1 alone."""
        if connection is None or websocket.scope["http_version"] != "1.1":
            return AwaitedClientQueue(self.scheduler)
        return DirectClientQueue(self.scheduler, connection, self.send_timeout_s)

    def leave(self, address: str, outlet: ClientQueue) -> None:
        """Count it out; it is owed nothing more."""
        self._hub.dismiss(outlet)
        self.audiences.seat(outlet, [])
        self.door.leave(address)
        self.cut += outlet.was_cut
        self._replaced += outlet.replaced
