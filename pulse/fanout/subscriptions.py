"""What one client of the feed has subscribed to, and the answers to what it asks.

It knows the hub and the client's outlet; who carries the words, and how, is not its matter.
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
from pulse.server.ws_frames import Message
from pulse.symbols import RETRY_AFTER_S, SymbolRegistry


def _ignore(_: str, __: float) -> None:
    """Nobody asked."""


class Subscriptions:
    """One client's topics; `on_echo` is told of what it says it was shown."""

    def __init__(
        self, hub: Hub, audiences: BroadcastGroups, outlet: ClientQueue, registry: SymbolRegistry,
        on_echo: Callable[[str, float], None] = _ignore,
    ) -> None:  # fmt: skip
        self._on_echo = on_echo
        self._hub = hub
        self._audiences = audiences
        self._outlet = outlet
        self._roster = registry
        self._joined: dict[str, Topic] = {}

    @property
    def logs(self) -> dict[str, TradeCursor]:
        """Where the client is in each of its trades topics."""
        return {topic: source for topic, source in self._outlet.sources.items() if isinstance(source, TradeCursor)}

    def hear(self, raw: str | bytes | None) -> bool:
        """Do what the client says, and answer; False if it asks without reading the answers."""
        try:
            request = read_request(raw, self._roster)
            if request.op == "echo":
                self._on_echo(request.instance, request.timestamp)
                return True  # an answer would have to be echoed too
            answer = self._do(request)
        except RequestError as error:
            answer = {
                "op": "error",
                "id": _named(raw),
                "parameter": error.parameter,
                "detail": error.detail,
                "allowed": error.allowed,
            }
        return self._outlet.reply(Message(orjson.dumps(answer)))

    def subscribe(self, request: Request) -> None:
        """Add topics; one that is there already takes the new options. On RequestError nothing has changed."""
        self.check(request)
        for topic in request.topics:
            self._joined.pop(topic.name, None)
            self._joined[topic.name] = topic
        self._audiences.seat(self._outlet, self._joined.values(), request.topics, request.from_id)

    def check(self, request: Request) -> None:
        """Raise RequestError if these topics cannot be added; their symbols are followed from now on."""
        names = self._joined.keys() | {topic.name for topic in request.topics}
        if len(names) > TOPICS_MAX:
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                f"A client may have {TOPICS_MAX} topics; this would make {len(names)}.",
                parameter="topics",
                allowed=f"1 to {TOPICS_MAX} topics",
            )
        for topic in request.topics:
            self._ask(topic.symbol)
        for topic in request.topics:
            self._check_from(topic, request.from_id)

    def _do(self, request: Request) -> dict[str, Any]:
        if request.op == "ping":
            return {"op": "pong", "id": request.id, "time_ms": int(time.time() * 1000)}
        if request.op == "subscribe":
            self.subscribe(request)
        else:
            for topic in request.topics:
                self._joined.pop(topic.name, None)
            self._audiences.seat(self._outlet, self._joined.values())
        return {"op": f"{request.op}d", "id": request.id, "topics": list(self._joined)}

    def _ask(self, symbol: str) -> None:
        try:
            self._roster.ask(symbol)
        except TooManySymbols as full:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                str(full),
                parameter="topics",
                allowed=tuple(self._roster),
                retry_after_s=RETRY_AFTER_S,
            ) from None

    def _check_from(self, topic: Topic, from_id: int | None) -> None:
        if topic.kind == "trades" and from_id is not None:
            last = self._hub.log(topic.symbol).next_id + KEPT_MAX
            if from_id > last:
                detail = f"from_id of {topic.name} must be at most {last}, not {from_id}."
                raise RequestError(HTTPStatus.BAD_REQUEST, detail, parameter="from_id", allowed=f"0 to {last}")


def _named(raw: str | bytes | None) -> int | str | None:
    """The id of a request that was refused, so that the client knows which; None if it has none that can be used."""
    try:
        said = orjson.loads(raw or b"")
        return read_id(said) if isinstance(said, dict) else None
    except (orjson.JSONDecodeError, RequestError):
        return None
