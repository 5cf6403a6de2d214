"""The Server-Sent Events endpoint: the topics and messages of /ws for clients that can only make a GET request.

A client is counted and bounded like one on a WebSocket, gets the newest message per topic, and is disconnected if it
reads nothing. `EventSource` reconnects by itself and reports where its trades ended.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import ExitStack
from http import HTTPStatus
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pulse.errors import RequestError, quoted
from pulse.fanout.client_queue import AwaitedClientQueue
from pulse.fanout.requests import Request, Topic, read_query
from pulse.fanout.subscriptions import Subscriptions
from pulse.fanout.trade_log import Position, TradesMessage
from pulse.server.connection import ClientConnection
from pulse.server.loop import current_connection
from pulse.server.ws_frames import EncodedMessage
from pulse.web.websocket import WebSocketSessions

HEARTBEAT_S = 15.0
"""A stream without messages sends a comment this often: proxies cut connections that look dead."""
HEARTBEAT = b": still here\n\n"
RETRY_MS = 2_000
"""How long a browser waits before it reconnects."""
HEADERS = {"Cache-Control": "no-store", "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
PARAMETERS = ("topics", "rate", "depth", "rows", "from_id")
LAST_EVENT_ID_MAX = 4_096
PLACE = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,16}))?", re.ASCII)
"""A place among trades in an event's id: a trade's id, then the first id of its fills."""
AHEAD_BYTES = 8 * 1024
"""Flow control: how many unacknowledged bytes a client may have when it is sent more. A reader of events sends nothing
back, so TCP acknowledgements must do, where a WebSocket's pongs do better: the kernels on the way would otherwise hold
8 s of what 20 KB/s take."""
PIECE_BYTES = 8 * 1024
"""What is given to the kernel at once, so that the deadline moves on with what the client takes: a client that resumes
many topics is sent more than a slow connection takes by then."""
POLL_FIRST_S, POLL_MAX_S = 0.01, 0.16
"""How often the unacknowledged bytes are read: the kernel does not report when they change."""


class SseEndpoint:
    """Serves /sse."""

    def __init__(self, sessions: WebSocketSessions) -> None:
        self._sessions = sessions

    async def serve(self, request: HttpRequest) -> Response:
        """Return a stream of the requested topics. Raises RequestError."""
        admission = self._sessions.admission
        if request.method == "HEAD":
            admission.check_rate(request)
            return Response(headers=HEADERS)
        address = admission.enter(request)
        with ExitStack() as undone:
            undone.callback(admission.leave, address)
            stream = self._stream(request, address)
            undone.pop_all()  # from here on the stream counts itself out
            return stream

    def _stream(self, request: HttpRequest, address: str) -> "_EventStream":
        given = request.query_params
        unknown = [name for name in given if name not in PARAMETERS]
        if unknown:
            detail = f"There is no parameter {quoted(unknown[0])}."
            raise RequestError(HTTPStatus.BAD_REQUEST, detail, parameter=unknown[0], allowed=PARAMETERS)
        sessions = self._sessions
        topics, rate, depth, rows, from_id = (given.get(name, "") for name in PARAMETERS)
        wanted = read_query(topics, rate, depth, rows, from_id, sessions.registry)
        requests = resume(wanted, request.headers.get("last-event-id", ""))
        queue = AwaitedClientQueue(sessions.scheduler)
        subscriptions = sessions.subscriptions(queue, address)
        for each in requests:
            subscriptions.check(each)
        return _EventStream(sessions, current_connection(), address, requests, subscriptions, queue)


class _EventStream(Response):
    """A response that goes on for as long as the client stays."""

    def __init__(
        self, sessions: WebSocketSessions, connection: ClientConnection, address: str,
        requests: Sequence[Request], subscriptions: Subscriptions, queue: AwaitedClientQueue,
    ) -> None:  # fmt: skip
        super().__init__()
        self._sessions = sessions
        self._connection = connection
        self._address = address
        self._requests = requests
        self._subscriptions = subscriptions
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client has left, has read nothing for too long, or the server stops."""
        watching = asyncio.create_task(_watch_disconnect(receive, self._queue), name="sse-disconnect")
        try:
            self._sessions.hub.add_client(self._queue)
            for each in self._requests:
                self._subscriptions.subscribe(each)
            headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
            async with asyncio.timeout(None) as deadline:
                await self._send_all(send, deadline)
        except TimeoutError:
            self._queue.timed_out = True
            self._connection.abort()
        finally:
            watching.cancel()
            self._subscriptions.close()
            self._sessions.leave(self._address, self._queue)

    async def _send_all(self, send: Send, deadline: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        places = {name: cursor.position for name, cursor in self._subscriptions.cursors.items()}
        body = b"retry: %d\n\n" % RETRY_MS
        while True:
            for start in range(0, len(body), PIECE_BYTES):
                deadline.reschedule(loop.time() + self._sessions.send_timeout_s)
                piece = body[start : start + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await self._wait_acknowledged(deadline)
            deadline.reschedule(None)
            messages = await self._queue.next_within(HEARTBEAT_S)
            if messages is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            body = b"".join([encode_event(message, places) for message in messages]) or HEARTBEAT

    async def _wait_acknowledged(self, deadline: asyncio.Timeout) -> None:
        """Wait until at most AHEAD_BYTES are unacknowledged; the deadline moves on while the client takes anything."""
        loop, wait_s = asyncio.get_running_loop(), POLL_FIRST_S
        left = self._connection.unacknowledged_bytes()
        while left > AHEAD_BYTES:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, POLL_MAX_S)
            before, left = left, self._connection.unacknowledged_bytes()
            if left < before:
                deadline.reschedule(loop.time() + self._sessions.send_timeout_s)


def encode_event(message: EncodedMessage, places: dict[str, Position]) -> bytes:
    """Encode one message as an event whose id holds the client's place in each of its trades topics.

    `places` are those before this event, and are updated by it. Messages later in the same write are not counted:
    the connection may break between the two.
    """
    if isinstance(message, TradesMessage):
        places[message.topic_name] = message.end
    event_id = ",".join(f"{_ascii(name)}={place[0]}.{place[1]}" for name, place in places.items())
    head = b"id: %s\n" % event_id.encode() if event_id else b""
    return head + b"data: " + message.payload + b"\n\n"


def _ascii(topic_name: str) -> str:
    """Return a topic's name as it is written in an event's id, which comes back as a header: these are ASCII."""
    return topic_name if topic_name.isascii() else quote(topic_name)


def resume(wanted: Request, last_event_id: str) -> tuple[Request, ...]:
    """Split the request of a client that reconnects: one request per trades topic, which resumes at its last event."""
    places = dict(part.rpartition("=")[::2] for part in last_event_id[:LAST_EVENT_ID_MAX].split(",") if "=" in part)
    resumed: list[Request] = []
    rest: list[Topic] = []
    for topic in wanted.topics:
        place = PLACE.fullmatch(places.get(_ascii(topic.name), ""))
        if topic.kind == "trades" and place is not None:
            resumed.append(Request("subscribe", None, (topic,), Position(int(place[1]), int(place[2] or 0))))
        else:
            rest.append(topic)
    return (Request("subscribe", None, tuple(rest), wanted.start), *resumed)


async def _watch_disconnect(receive: Receive, queue: AwaitedClientQueue) -> None:
    """End the queue when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.end()
