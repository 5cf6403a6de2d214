"""One client's subscriptions: which topics it has, and the replies to its requests.

It knows the hub and the client's queue, not how messages are carried.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from pulse.errors import RequestError, TooManySymbols
from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import ClientQueue
from pulse.fanout.hub import Hub
from pulse.fanout.requests import NOTIONALS_MAX, TOPICS_MAX, Request, Topic, read_id, read_request
from pulse.fanout.topic_stream import TradeCursor
from pulse.fanout.trade_log import KEPT_MAX, Position
from pulse.server.shares import AddressShare
from pulse.server.ws_frames import EncodedMessage
from pulse.symbols import SymbolRegistry

NOTIONALS_RETRY_AFTER_S = 60
"""When a client may ask for the cost of another sum where too many are in use."""


@dataclass(frozen=True, slots=True)
class Echo:
    """A client's report that it has shown a view of `instance` with this timestamp; it is subscribed to `symbols`."""

    instance: str
    timestamp_s: float
    symbols: frozenset[str]


OnEcho = Callable[[Echo], None]


class Subscriptions:
    """One client's topics. They count in the `share` of its `address` until `close`."""

    def __init__(
        self, hub: Hub, groups: BroadcastGroups, queue: ClientQueue, registry: SymbolRegistry, share: AddressShare,
        address: str,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._groups = groups
        self._queue = queue
        self._registry = registry
        self._share = share
        self._address = address
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
                symbols = frozenset(topic.symbol for topic in self._topics.values())
                on_echo(Echo(request.instance, request.timestamp, symbols))
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
        added = len({topic.name for topic in request.topics} - self._topics.keys())
        self._share.enter(self._address, added)
        for topic in request.topics:
            self._topics.pop(topic.name, None)
            self._topics[topic.name] = topic
        self._groups.set_topics(self._queue, self._topics.values(), request.topics, request.start)

    def close(self) -> None:
        """Count the topics no more: the client has left."""
        self._share.leave(self._address, len(self._topics))
        self._topics.clear()

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
            self._check_start(topic, request.start)
        self._check_notionals(request.topics)

    def _carry_out(self, request: Request) -> dict[str, Any]:
        if request.op == "ping":
            return {"op": "pong", "id": request.id, "time_ms": int(time.time() * 1000)}
        if request.op == "subscribe":
            self.subscribe(request)
        else:
            before = len(self._topics)
            for topic in request.topics:
                self._topics.pop(topic.name, None)
            self._share.leave(self._address, before - len(self._topics))
            self._groups.set_topics(self._queue, self._topics.values())
        return {"op": f"{request.op}d", "id": request.id, "topics": list(self._topics)}

    def _acquire(self, symbol: str) -> None:
        try:
            self._registry.acquire(symbol, self._address)
        except TooManySymbols as full:
            raise RequestError(
                full.status,
                str(full),
                parameter="topics",
                allowed=tuple(self._registry),
                retry_after_s=full.retry_after_s,
            ) from None

    def _check_start(self, topic: Topic, start: Position | None) -> None:
        if topic.kind == "trades" and start is not None:
            last = self._hub.log(topic.symbol).end.next_id + KEPT_MAX
            if start.trade_id > last:
                detail = f"from_id of {topic.name} must be at most {last}, not {start.trade_id}."
                raise RequestError(HTTPStatus.BAD_REQUEST, detail, parameter="from_id", allowed=f"0 to {last}")

    def _check_notionals(self, topics: Iterable[Topic]) -> None:
        """Refuse sums of a symbol beyond NOTIONALS_MAX. Each is walked through the book with every view."""
        wanted: dict[str, set[float]] = {}
        for topic in topics:
            if topic.kind == "cost":
                wanted.setdefault(topic.symbol, set()).add(float(topic.variant))
        for symbol, sums in wanted.items():
            if len(sums | self._hub.interest(symbol).notionals) > NOTIONALS_MAX:
                raise RequestError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"The costs of {NOTIONALS_MAX} sums of {symbol} are made at once, and others are in use.",
                    parameter="topics",
                    allowed=f"sums that are in use, or later: at most {NOTIONALS_MAX} of a symbol",
                    retry_after_s=NOTIONALS_RETRY_AFTER_S,
                )


def _id_of(raw: str | bytes | None) -> int | str | None:
    """Return the id of a request that was refused, so that the client can match the error; None if it has none."""
    try:
        request = orjson.loads(raw or b"")
        return read_id(request) if isinstance(request, dict) else None
    except (orjson.JSONDecodeError, RequestError):
        return None
