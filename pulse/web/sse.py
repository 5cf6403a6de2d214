"""The feed as Server-Sent Events: the topics and messages of /ws for whoever can only make a GET request.

A client is counted and bounded as one on a WebSocket, gets the newest of what it is owed, and is cut if it takes
nothing. `EventSource` comes back by itself and says where its trades ended.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from http import HTTPStatus

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pulse.fanout.client_queue import AwaitedClientQueue
from pulse.fanout.hub import Hub
from pulse.fanout.requests import Refusal, Request, Topic, read_query
from pulse.fanout.subscriptions import Subscriptions
from pulse.fanout.trade_log import TradesMessage
from pulse.server.connection import ClientConnection
from pulse.server.ws_frames import EncodedMessage
from pulse.symbols import SymbolRegistry
from pulse.web.params import ROOM_AFTER_S
from pulse.web.problems import Problem, try_later
from pulse.web.websocket import WebSocketSessions

HEARTBEAT_S = 15.0
"""A silent stream says at least a comment this often: proxies cut what they take for dead."""
HEARTBEAT = b": still here\n\n"
RETRY_MS = 2_000
"""How long a browser waits before it comes back."""
HEADERS = {"Cache-Control": "no-store", "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
LAST_EVENT_ID_MAX = 4_096
AHEAD_BYTES = 8 * 1024
"""What a client may have on its way when it is sent more. A reader of events says nothing, so what its system confirms
must do, which a WebSocket's pongs do better: the kernels on the way would hold 8 s of what 20 KB/s take."""
PIECE_BYTES = 8 * 1024
"""What is given to the kernel at once, so that it has room for it and the deadline moves on with what the client takes:
who comes back to many topics is owed more than a slow line takes by then."""
LOOK_FIRST_S, LOOK_MAX_S = 0.01, 0.16
"""How often that is looked at; the kernel does not say when it changes."""


class SseEndpoint:
    """The endpoint of /sse. `connection` gives the one that the running task serves."""

    def __init__(
        self,
        hub: Hub,
        sessions: WebSocketSessions,
        registry: SymbolRegistry,
        connection: Callable[[], ClientConnection | None],
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._roster = registry
        self._connection = connection

    async def serve(self, request: HttpRequest) -> Response:
        """A stream of the topics asked for. Raises Problem for what cannot be had, and for who may not come in."""
        door = self._sessions.door
        if request.method == "HEAD":
            door.ask(request)
            return Response(headers=HEADERS)
        address = door.enter(request)
        try:
            with ExitStack() as undone:
                undone.callback(door.leave, address)
                stream = self._stream(request, address)
                undone.pop_all()  # from here on the stream leaves by itself
                return stream
        except Refusal as refusal:
            if refusal.passes:
                raise try_later(refusal.detail, ROOM_AFTER_S) from None
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                refusal.detail,
                parameter=refusal.parameter,
                allowed=refusal.allowed if isinstance(refusal.allowed, str) else [str(one) for one in refusal.allowed],
            ) from None

    def _stream(self, request: HttpRequest, address: str) -> "_EventStream":
        asked = request.query_params
        names = ("topics", "rate", "depth", "from_id")
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise Refusal(unknown[0], f"There is no parameter {unknown[0][:60]!r}.", names)
        topics, rate, depth, from_id = (asked.get(name, "") for name in names)
        wanted = read_query(topics, rate, depth, from_id, self._roster)
        requests = resumed(wanted, request.headers.get("last-event-id", ""))
        outlet = AwaitedClientQueue(self._sessions.scheduler)
        subscriptions = Subscriptions(self._hub, self._sessions.audiences, outlet, self._roster)
        for each in requests:
            subscriptions.check(each)
        return _EventStream(self._hub, self._sessions, self._connection(), address, requests, subscriptions, outlet)


class _EventStream(Response):
    """A response that goes on for as long as the client stays."""

    def __init__(
        self, hub: Hub, sessions: WebSocketSessions, connection: ClientConnection | None, address: str,
        requests: Sequence[Request], subscriptions: Subscriptions, outlet: AwaitedClientQueue,
    ) -> None:  # fmt: skip
        super().__init__()
        self._hub = hub
        self._sessions = sessions
        self._connection = connection
        self._address = address
        self._requests = requests
        self._subscriptions = subscriptions
        self._outlet = outlet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client has left, has taken nothing for too long, or the server stops."""
        leaving = asyncio.create_task(_left(receive, self._outlet), name="events-left")
        try:
            self._hub.admit(self._outlet)
            for each in self._requests:
                self._subscriptions.subscribe(each)
            headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
            async with asyncio.timeout(None) as deadline:
                await self._send_all(send, deadline)
        except TimeoutError:
            self._outlet.was_cut = True
            if self._connection is not None:
                self._connection.abort()
        finally:
            leaving.cancel()
            self._sessions.leave(self._address, self._outlet)

    async def _send_all(self, send: Send, deadline: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        places = {topic: log.next_id for topic, log in self._subscriptions.logs.items()}
        body = b"retry: %d\n\n" % RETRY_MS
        while True:
            for start in range(0, len(body), PIECE_BYTES):
                deadline.reschedule(loop.time() + self._sessions.send_timeout_s)
                piece = body[start : start + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await self._confirmed(deadline)
            deadline.reschedule(None)
            messages = await self._outlet.next_within(HEARTBEAT_S)
            if messages is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            body = b"".join([event(message, places) for message in messages]) or HEARTBEAT

    async def _confirmed(self, deadline: asyncio.Timeout) -> None:
        """Wait until the client's system has all but a little; as long as it takes anything, the deadline moves on."""
        loop, wait_s = asyncio.get_running_loop(), LOOK_FIRST_S
        if self._connection is None:
            return
        left = self._connection.unacknowledged_bytes()
        while left > AHEAD_BYTES:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LOOK_MAX_S)
            before, left = left, self._connection.unacknowledged_bytes()
            if left < before:
                deadline.reschedule(loop.time() + self._sessions.send_timeout_s)


def event(message: EncodedMessage, places: dict[str, int]) -> bytes:
    """One message as an event; its id says where the client is, once it has it, in each of its trades topics.

    `places` are those before it, and are brought up to it. What follows in the same write its id knows nothing of: the
    line may break between the two.
    """
    if isinstance(message, TradesMessage):
        places[message.topic] = message.next_id
    told = ",".join(f"{topic}={next_id}" for topic, next_id in places.items())
    head = b"id: %s\n" % told.encode() if told else b""
    return head + b"data: " + message.payload + b"\n\n"


def resumed(wanted: Request, last_event_id: str) -> tuple[Request, ...]:
    """The request of a client that comes back, one for each of its places: trades go on where its last event ended."""
    places = dict(part.rpartition("=")[::2] for part in last_event_id[:LAST_EVENT_ID_MAX].split(",") if "=" in part)
    found: list[Request] = []
    rest: list[Topic] = []
    for choice in wanted.choices:
        place = places.get(choice.topic, "")
        if choice.kind == "trades" and place.isascii() and place.isdigit() and len(place) < 17:
            found.append(Request("subscribe", None, (choice,), int(place)))
        else:
            rest.append(choice)
    return (Request("subscribe", None, tuple(rest), wanted.from_id), *found)


async def _left(receive: Receive, outlet: AwaitedClientQueue) -> None:
    """Notice that the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    outlet.end()
