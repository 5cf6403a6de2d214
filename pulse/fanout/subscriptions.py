"""What one client of the feed has subscribed to, and the answers to what it asks.

It knows the hub and the client's outlet; who carries the words, and how, is not its matter.
"""

import time
from collections.abc import Callable
from typing import Any

import orjson

from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import ClientQueue
from pulse.fanout.hub import Hub
from pulse.fanout.requests import TOPICS_MAX, Refusal, Request, Topic, read_id, read_request
from pulse.fanout.topic_stream import TradeCursor
from pulse.fanout.trade_log import KEPT_MAX
from pulse.server.ws_frames import EncodedMessage
from pulse.symbols import SymbolRegistry, TooManySymbols


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
        except Refusal as refusal:
            answer = {
                "op": "error",
                "id": _named(raw),
                "parameter": refusal.parameter,
                "detail": refusal.detail,
                "allowed": refusal.allowed,
            }
        return self._outlet.reply(EncodedMessage(orjson.dumps(answer)))

    def subscribe(self, request: Request) -> None:
        """Add topics; one that is there already takes the new options. Raises Refusal, and then changes nothing."""
        self.check(request)
        for choice in request.choices:
            self._joined.pop(choice.topic, None)
            self._joined[choice.topic] = choice
        self._audiences.seat(self._outlet, self._joined.values(), request.choices, request.from_id)

    def check(self, request: Request) -> None:
        """Raise Refusal if these topics cannot be added; their symbols are followed from now on."""
        names = self._joined.keys() | {choice.topic for choice in request.choices}
        if len(names) > TOPICS_MAX:
            raise Refusal(
                "topics",
                f"A client may have {TOPICS_MAX} topics; this would make {len(names)}.",
                f"1 to {TOPICS_MAX} topics",
            )
        for choice in request.choices:
            self._ask(choice.symbol)
        for choice in request.choices:
            self._check_from(choice, request.from_id)

    def _do(self, request: Request) -> dict[str, Any]:
        if request.op == "ping":
            return {"op": "pong", "id": request.id, "time_ms": int(time.time() * 1000)}
        if request.op == "subscribe":
            self.subscribe(request)
        else:
            for choice in request.choices:
                self._joined.pop(choice.topic, None)
            self._audiences.seat(self._outlet, self._joined.values())
        return {"op": f"{request.op}d", "id": request.id, "topics": list(self._joined)}

    def _ask(self, symbol: str) -> None:
        try:
            self._roster.ask(symbol)
        except TooManySymbols as full:
            raise Refusal("topics", str(full), tuple(self._roster), passes=True) from None

    def _check_from(self, choice: Topic, from_id: int | None) -> None:
        if choice.kind == "trades" and from_id is not None:
            last = self._hub.log(choice.symbol).next_id + KEPT_MAX
            if from_id > last:
                detail = f"from_id of {choice.topic} must be at most {last}, not {from_id}."
                raise Refusal("from_id", detail, f"0 to {last}")


def _named(raw: str | bytes | None) -> int | str | None:
    """The id of a request that was refused, so that the client knows which; None if it has none that can be used."""
    try:
        said = orjson.loads(raw or b"")
        return read_id(said) if isinstance(said, dict) else None
    except (orjson.JSONDecodeError, Refusal):
        return None
