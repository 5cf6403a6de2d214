"""One client's subscriptions: which topics it has, and the replies to its requests.

It knows the hub and the client's queue, not how messages are carried.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from pulse.errors import RequestError, TooManySymbols
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import ClientQueue
from pulse.fanout.hub import Hub
from pulse.fanout.requests import TOPICS_MAX, Request, Topic, read_id, read_request
from pulse.fanout.topic_stream import TradeCursor
from pulse.fanout.trade_log import KEPT_MAX
from pulse.server.ws_frames import EncodedMessage
from pulse.symbols import RETRY_AFTER_S, SymbolRegistry

OnEcho = Callable[[str, float], None]
"""Takes the instance and the timestamp of a view that a client reports to have shown."""


class Subscriptions:
    """One client's topics."""

    def __init__(self, hub: Hub, groups: BroadcastGroups, queue: ClientQueue, registry: SymbolRegistry) -> None:
        self._hub = hub
        self._groups = groups
        self._queue = queue
        self._registry = registry
        self._topics: dict[str, Topic] = {}

    @property
    def cursors(self) -> dict[str, TradeCursor]:
        """The client's place in each of its trades topics."""
        return {name: source for name, source in self._queue.sources.items() if isinstance(source, TradeCursor)}

    def receive(self, raw: str | bytes | None, on_echo: OnEcho) -> bool:
        """Carry out a client's message and reply; return False if too many replies wait unread."""
        try:
            request = read_request(raw, self._registry)
            if request.op == "echo":
                on_echo(request.instance, request.timestamp)
                return True  # a reply would have to be echoed too
            reply = self._carry_out(request)
        except RequestError as error:
            reply = {
                "op": "error",
                "id": _id_of(raw),
                "parameter": error.parameter,
                "detail": error.detail,
                "allowed": error.allowed,
                "retry_after_s": error.retry_after_s,
            }
        return self._queue.reply(EncodedMessage(orjson.dumps(reply)))

    def subscribe(self, request: Request) -> None:
        """Add topics; one that is there already takes the new options. On RequestError nothing has changed."""
        self.check(request)
        for topic in request.topics:
            self._topics.pop(topic.name, None)
            self._topics[topic.name] = topic
        self._groups.set_topics(self._queue, self._topics.values(), request.topics, request.from_id)

    def check(self, request: Request) -> None:
        """Make the symbols of these topics run. Raises RequestError if the topics cannot be added."""
        names = self._topics.keys() | {topic.name for topic in request.topics}
        if len(names) > TOPICS_MAX:
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                f"A client may have {TOPICS_MAX} topics; this would make {len(names)}.",
                parameter="topics",
                allowed=f"1 to {TOPICS_MAX} topics",
            )
        for topic in request.topics:
            self._acquire(topic.symbol)
        for topic in request.topics:
            self._check_from_id(topic, request.from_id)

    def _carry_out(self, request: Request) -> dict[str, Any]:
        if request.op == "ping":
            return {"op": "pong", "id": request.id, "time_ms": int(time.time() * 1000)}
        if request.op == "subscribe":
            self.subscribe(request)
        else:
            for topic in request.topics:
                self._topics.pop(topic.name, None)
            self._groups.set_topics(self._queue, self._topics.values())
        return {"op": f"{request.op}d", "id": request.id, "topics": list(self._topics)}

    def _acquire(self, symbol: str) -> None:
        try:
            self._registry.acquire(symbol)
        except TooManySymbols as full:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                str(full),
                parameter="topics",
                allowed=tuple(self._registry),
                retry_after_s=RETRY_AFTER_S,
            ) from None

    def _check_from_id(self, topic: Topic, from_id: int | None) -> None:
        if topic.kind == "trades" and from_id is not None:
            last = self._hub.log(topic.symbol).next_id + KEPT_MAX
            if from_id > last:
                detail = f"from_id of {topic.name} must be at most {last}, not {from_id}."
                raise RequestError(HTTPStatus.BAD_REQUEST, detail, parameter="from_id", allowed=f"0 to {last}")


def _id_of(raw: str | bytes | None) -> int | str | None:
    """Return the id of a request that was refused, so that the client can match the error; None if it has none."""
    try:
        request = orjson.loads(raw or b"")
        return read_id(request) if isinstance(request, dict) else None
    except (orjson.JSONDecodeError, RequestError):
        return None
