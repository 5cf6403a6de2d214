"""What a client may ask for and say on the feed, and every way of getting it wrong, in words.

Pure: text in, requests or a `RequestError` out. It knows the names of topics and their options, not what they carry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from pulse.errors import RequestError, quoted, wrong_parameter
from pulse.market.intervals import INTERVALS
from pulse.symbols import SymbolRegistry

KINDS = ("book", "trades", "metrics", "kline", "proof", "status")
DEPTHS = (1, 5, 10, 20)
RATES_S = {"full": 0.0, "4hz": 0.25, "1hz": 1.0}
"""The least time between two messages of a topic."""
OPS = ("subscribe", "unsubscribe", "ping", "echo")
TOPICS_MAX = 100
"""Topics of one client."""
ID_CHARACTERS_MAX = 64
TRADE_ID_MAX = 2**53
FORMS = ("book.SYMBOL", "trades.SYMBOL", "metrics.SYMBOL", "kline.SYMBOL.1m", "proof.SYMBOL", "status.SYMBOL")
"""In place of 1m any interval may stand."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as one client wants it. Clients with equal topics get the same bytes."""

    name: str
    kind: str
    symbol: str
    depth: int = 20  # of a book
    interval_s: float = 0.0  # the least time between two messages

    @property
    def candle_interval(self) -> str:
        """The interval of a kline topic's candles."""
        return self.name.rpartition(".")[2]


def view_topic(symbol: str) -> Topic:
    """What the clients of /ws/orderbook get: no topic of the feed, and told like one."""
    return Topic(f"view.{symbol}", "view", symbol)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing a client says. `from_id` is the first trade wanted; None: the newest.

    An echo names a view that was shown: the instance that made it, and its `timestamp`.
    """

    op: str
    id: int | str | None = None
    topics: tuple[Topic, ...] = ()
    from_id: int | None = None
    instance: str = ""
    timestamp: float = 0.0


def read_request(raw: str | bytes | None, symbols: SymbolRegistry) -> Request:
    """What a client says on its WebSocket. Raises RequestError."""
    said = _object(raw)
    op = said.get("op")
    if op not in OPS:
        raise wrong_parameter("op", op, OPS)
    request_id = read_id(said)
    if op == "ping":
        return Request(op, request_id)
    if op == "echo":
        return _echo(said, request_id)
    names = said.get("topics")
    if not isinstance(names, list) or not 0 < len(names) <= TOPICS_MAX:
        raise _bad("topics", f"topics must be a list of 1 to {TOPICS_MAX} topics.", FORMS)
    topics = read_topics(names, symbols, said.get("rate", "full"), said.get("depth", 20))
    return Request(op, request_id, topics, _from_id(said.get("from_id")))


def _echo(said: dict[str, Any], request_id: int | str | None) -> Request:
    instance, timestamp = said.get("instance"), said.get("timestamp")
    if not isinstance(instance, str):
        raise wrong_parameter("instance", instance, "a message's instance")
    if type(timestamp) not in (int, float):
        raise wrong_parameter("timestamp", timestamp, "a message's timestamp")
    return Request("echo", request_id, instance=instance, timestamp=float(timestamp))  # type: ignore[arg-type]


def read_id(said: Any) -> int | str | None:
    """The name that a client gave its request, to find the answer by. Raises RequestError."""
    request_id = said.get("id")
    is_text = isinstance(request_id, str) and len(request_id) <= ID_CHARACTERS_MAX
    if request_id is None or is_text or type(request_id) is int:
        return request_id  # type: ignore[no-any-return]
    raise wrong_parameter("id", request_id, f"a whole number or a text of at most {ID_CHARACTERS_MAX} characters")


def read_query(topics: str, rate: str, depth: str, from_id: str, symbols: SymbolRegistry) -> Request:
    """The same request from the parameters of an address, of which only `topics` must be given. Raises RequestError."""
    names = [name for name in topics.split(",") if name]
    if not 0 < len(names) <= TOPICS_MAX:
        raise _bad("topics", f"topics must be 1 to {TOPICS_MAX} topics, separated by commas.", FORMS)
    topics_read = read_topics(names, symbols, rate or "full", _whole("depth", depth, DEPTHS) if depth else 20)
    wanted = _whole("from_id", from_id, "a trade id") if from_id else None
    return Request("subscribe", None, topics_read, _from_id(wanted))


def read_topics(names: Sequence[Any], symbols: SymbolRegistry, rate: Any, depth: Any) -> tuple[Topic, ...]:
    """Topics by their names, all with these options. Raises RequestError."""
    if not isinstance(rate, str) or rate not in RATES_S:
        raise wrong_parameter("rate", rate, tuple(RATES_S))
    if type(depth) is not int or depth not in DEPTHS:
        raise wrong_parameter("depth", depth, DEPTHS)
    return tuple(_topic(name, symbols, depth, RATES_S[rate]) for name in names)


def _topic(name: Any, symbols: SymbolRegistry, depth: int, interval_s: float) -> Topic:
    parts = name.split(".") if isinstance(name, str) else []
    if len(parts) != (3 if parts[:1] == ["kline"] else 2) or parts[0] not in KINDS:
        raise wrong_parameter("topics", name, FORMS)
    kind, symbol = parts[:2]
    if symbol not in symbols:
        detail = f"topics names {quoted(symbol)}, which is none of those that may be asked for."
        raise _bad("topics", detail, symbols.allowed())
    if kind == "kline" and parts[2] not in INTERVALS:
        raise _bad(
            "topics",
            f"topics names the interval {quoted(parts[2])}, which there is not.",
            tuple(f"kline.{symbol}.{interval}" for interval in INTERVALS),
        )
    return Topic(name, kind, symbol, depth if kind == "book" else 0, interval_s)


def _from_id(from_id: Any) -> int | None:
    if from_id is None or (type(from_id) is int and 0 <= from_id <= TRADE_ID_MAX):
        return from_id
    raise wrong_parameter("from_id", from_id, "a trade id")


def _object(raw: str | bytes | None) -> dict[str, Any]:
    try:
        said = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise _bad("message", 'A message must be a JSON object such as {"op":"ping"}.', OPS)
    return said


def _whole(name: str, text: str, allowed: Sequence[object] | str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise wrong_parameter(name, text, allowed)
    return int(text)


def _bad(parameter: str, detail: str, allowed: Sequence[object]) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, detail, parameter=parameter, allowed=allowed)
