"""Requests of clients on /ws and /sse: topics, their options, operations, and an error text for each invalid request.

Pure: text in, a `Request` or a `RequestError` out. It knows topic names and options, not what messages carry.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from pulse.errors import ListingPending, RequestError, UnknownListing, quoted, wrong_parameter
from pulse.fanout.trade_log import Position
from pulse.market.intervals import INTERVALS
from pulse.market.ladder import MULTIPLES, ROWS
from pulse.symbols import LISTING_RETRY_AFTER_S, SymbolRegistry

KINDS = ("book", "trades", "metrics", "kline", "proof", "status", "ladder", "cost")
DEPTHS = (1, 5, 10, 20)
ROWS_DEFAULT = 50
RATES_S = {"full": 0.0, "4hz": 0.25, "1hz": 1.0}
"""Minimum time between two messages of a topic, by the name of the rate."""
OPS = ("subscribe", "unsubscribe", "ping", "echo")
TOPICS_MAX = 100
"""Subscriptions of one client."""
ID_CHARACTERS_MAX = 64
TRADE_ID_MAX = 2**53
VARIANTS = {"kline": "1m", "ladder": "10", "cost": "10000"}
"""Kinds whose topic names have a third part, and an example of it."""
FORMS = tuple(".".join((kind, "SYMBOL", *filter(None, [VARIANTS.get(kind)]))) for kind in KINDS)
"""Examples of topic names; 1m stands for any interval, 10 for any of MULTIPLES, 10000 for any sum."""
NOTIONAL = r"(?:0\.[0-9]{0,7}[1-9]|[1-9][0-9]{0,11}(?:\.[0-9]{0,7}[1-9])?)"
"""A sum of the quote asset as its only decimal: without a leading or a final zero."""
NOTIONAL_ALLOWED = "a sum of the quote asset such as 10000 or 0.25, below 10^12"
NOTIONALS_MAX = 50
"""Different sums whose costs are made at once for one symbol."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with its options. Clients with equal topics get the same bytes."""

    name: str
    kind: str
    symbol: str
    depth: int = 20  # levels a side of a book, or rows a side of a ladder
    interval_s: float = 0.0  # minimum time between two messages

    @property
    def candle_interval(self) -> str:
        """Interval of a kline topic's candles."""
        return self.variant

    @property
    def variant(self) -> str:
        """The third part of the name: an interval, the ticks of a group, or a sum."""
        return self.name.split(".", 2)[-1]


def view_topic(symbol: str) -> Topic:
    """Return the topic of whole views, for /ws/orderbook. Clients cannot subscribe to it by name."""
    return Topic(f"view.{symbol}", "view", symbol)


def ladder_topic(symbol: str, multiple: int, rows: int) -> Topic:
    """Return the topic of a symbol's book in groups of so many ticks."""
    return Topic(f"ladder.{symbol}.{multiple}", "ladder", symbol, rows)


def cost_topic(symbol: str, notional: str) -> Topic:
    """Return the topic of what it costs to trade a sum now."""
    return Topic(f"cost.{symbol}.{notional}", "cost", symbol, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request. `start` is the place of the first trade wanted; None starts with the newest trades.

    An echo reports a message that was shown: the `instance` that made it, and its `timestamp` in s since the epoch.
    """

    op: str
    id: int | str | None = None
    topics: tuple[Topic, ...] = ()
    start: Position | None = None
    instance: str = ""
    timestamp: float = 0.0


def read_request(raw: str | bytes | None, registry: SymbolRegistry) -> Request:
    """Return the request in a WebSocket message. Raises RequestError."""
    message = _object(raw)
    op = message.get("op")
    if op not in OPS:
        raise wrong_parameter("op", op, OPS)
    request_id = read_id(message)
    if op == "ping":
        return Request(op, request_id)
    if op == "echo":
        return _echo(message, request_id)
    names = message.get("topics")
    if not isinstance(names, list) or not 0 < len(names) <= TOPICS_MAX:
        raise _invalid("topics", f"topics must be a list of 1 to {TOPICS_MAX} topics.", FORMS)
    options = Options(message.get("rate", "full"), message.get("depth", 20), message.get("rows", ROWS_DEFAULT))
    topics = read_topics(names, registry, options)
    start = _start(_trade_id("from_id", message.get("from_id")), message.get("from_first_trade_id"))
    return Request(op, request_id, topics, start)


def _echo(message: dict[str, Any], request_id: int | str | None) -> Request:
    instance, timestamp = message.get("instance"), message.get("timestamp")
    if not isinstance(instance, str):
        raise wrong_parameter("instance", instance, "a message's instance")
    if type(timestamp) not in (int, float):
        raise wrong_parameter("timestamp", timestamp, "a message's timestamp")
    return Request("echo", request_id, instance=instance, timestamp=float(timestamp))  # type: ignore[arg-type]


def read_id(message: dict[str, Any]) -> int | str | None:
    """Return the id that a client gave its request, which the answer repeats. Raises RequestError."""
    request_id = message.get("id")
    is_valid_string = isinstance(request_id, str) and len(request_id) <= ID_CHARACTERS_MAX
    if request_id is None or is_valid_string or type(request_id) is int:
        return request_id
    raise wrong_parameter("id", request_id, f"a whole number or a text of at most {ID_CHARACTERS_MAX} characters")


def read_query(topics: str, rate: str, depth: str, rows: str, from_id: str, registry: SymbolRegistry) -> Request:
    """Return the subscription in query parameters; an empty one has its default, except `topics`.

    Raises RequestError.
    """
    names = [name for name in topics.split(",") if name]
    if not 0 < len(names) <= TOPICS_MAX:
        raise _invalid("topics", f"topics must be 1 to {TOPICS_MAX} topics, separated by commas.", FORMS)
    options = Options(
        rate or "full",
        _whole("depth", depth, DEPTHS) if depth else 20,
        _whole("rows", rows, ROWS) if rows else ROWS_DEFAULT,
    )
    subscribed = read_topics(names, registry, options)
    first_id = _whole("from_id", from_id, "a trade id") if from_id else None
    return Request("subscribe", None, subscribed, _start(_trade_id("from_id", first_id), None))


class Options(NamedTuple):
    """The options of a subscription, as a client gave them."""

    rate: Any
    depth: Any
    rows: Any


def read_topics(names: Sequence[Any], registry: SymbolRegistry, options: Options) -> tuple[Topic, ...]:
    """Return the topics with these names, all with the same options. Raises RequestError."""
    rate, depth, rows = options
    if not isinstance(rate, str) or rate not in RATES_S:
        raise wrong_parameter("rate", rate, tuple(RATES_S))
    if type(depth) is not int or depth not in DEPTHS:
        raise wrong_parameter("depth", depth, DEPTHS)
    if type(rows) is not int or rows not in ROWS:
        raise wrong_parameter("rows", rows, ROWS)
    return tuple(_topic(name, registry, {"book": depth, "ladder": rows}, RATES_S[rate]) for name in names)


def _topic(name: Any, registry: SymbolRegistry, depths: Mapping[str, int], interval_s: float) -> Topic:
    parts = name.split(".", 2) if isinstance(name, str) else []
    if not parts or parts[0] not in KINDS or len(parts) != (3 if parts[0] in VARIANTS else 2):
        raise wrong_parameter("topics", name, FORMS)
    kind, symbol = parts[:2]
    _check_symbol(symbol, registry)
    if kind in VARIANTS:
        _check_variant(kind, symbol, parts[2])
    return Topic(name, kind, symbol, depths.get(kind, 0), interval_s)


def _check_variant(kind: str, symbol: str, variant: str) -> None:
    """Check the third part of a topic's name. Raises RequestError."""
    if kind == "kline" and variant not in INTERVALS:
        detail = f"topics names the interval {quoted(variant)}, which does not exist."
        raise _invalid("topics", detail, tuple(f"kline.{symbol}.{interval}" for interval in INTERVALS))
    if kind == "ladder" and variant not in map(str, MULTIPLES):
        detail = f"topics names groups of {quoted(variant)} ticks, which are not made."
        raise _invalid("topics", detail, tuple(f"ladder.{symbol}.{multiple}" for multiple in MULTIPLES))
    if kind == "cost" and not re.fullmatch(NOTIONAL, variant, re.ASCII):
        detail = f"topics names the sum {quoted(variant)}; it must be {NOTIONAL_ALLOWED}."
        raise _invalid("topics", detail, (f"cost.{symbol}.10000", f"cost.{symbol}.0.25"))


def _check_symbol(symbol: str, registry: SymbolRegistry) -> None:
    try:
        registry.check(symbol)
    except UnknownListing:
        detail = f"topics names the symbol {quoted(symbol)}, which is not listed."
        raise _invalid("topics", detail, registry.allowed()) from None
    except ListingPending as pending:
        raise RequestError(
            HTTPStatus.SERVICE_UNAVAILABLE, str(pending),
            parameter="topics", allowed=registry.allowed(), retry_after_s=LISTING_RETRY_AFTER_S,
        ) from None  # fmt: skip


def _start(from_id: int | None, first_trade_id: Any) -> Position | None:
    first_id = _trade_id("from_first_trade_id", first_trade_id)
    return None if from_id is None else Position(from_id, first_id or 0)


def _trade_id(parameter: str, value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= TRADE_ID_MAX):
        return value
    raise wrong_parameter(parameter, value, "a trade id")


def _object(raw: str | bytes | None) -> dict[str, Any]:
    try:
        message = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise _invalid("message", 'A message must be a JSON object such as {"op":"ping"}.', OPS)
    return message


def _whole(name: str, text: str, allowed: Sequence[object] | str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise wrong_parameter(name, text, allowed)
    return int(text)


def _invalid(parameter: str, detail: str, allowed: Sequence[object]) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, detail, parameter=parameter, allowed=allowed)
