"""GET /asyncapi.json: the WebSocket and SSE messages as an AsyncAPI 3.0 document, written from the types they encode.

Messages that no type describes (requests, their answers, trades) are written out here.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.fanout.requests import (
    DEPTHS,
    ID_CHARACTERS_MAX,
    KINDS,
    NOTIONAL,
    OPS,
    RATES_S,
    ROWS_DEFAULT,
    TOPICS_MAX,
)
from pulse.fanout.topic_stream import FIELDS, HEAD
from pulse.fanout.trade_log import PER_MESSAGE_MAX
from pulse.market.intervals import INTERVALS
from pulse.market.ladder import MULTIPLES, ROWS, Ladder
from pulse.market.liquidity import LiquidityView
from pulse.market.trade_cost import Cost
from pulse.market.view import CandleView, TradeView, View
from pulse.server.hypercorn_patches import MESSAGE_BYTES_MAX
from pulse.web.access import COOKIE, SESSION_PATH, SUBPROTOCOL, TOKEN_SUBPROTOCOL
from pulse.web.api.operations import answer, get
from pulse.web.api.schemas import INTEGER, NUMBER, STRING, Json, Schemas, array, object_of, or_null
from pulse.web.context import WebContext
from pulse.web.routing import limited, revalidated_response
from pulse.web.sse import HEARTBEAT_S
from pulse.web.websocket import MESSAGES_MAX, MESSAGES_WINDOW_S

VERSION = "1.0.0"
"""Of the messages, not of the program."""
REPLIES = ("subscribed", "pong", "error")
SYMBOL = r"[^\u0000-\u002f\u003a-\u0040\u005b-\u007f\s]+"
"""Capitals and digits of ASCII, and any character beyond it; see `schemas.SYMBOL_CHARACTER`."""
VARIANTS: Mapping[str, str] = {
    "kline": f"(?:{'|'.join(INTERVALS)})", "ladder": f"(?:{'|'.join(map(str, MULTIPLES))})", "cost": NOTIONAL,
}  # fmt: skip
"""Patterns of the third part of a topic's name, by its kind."""
OWN_FIELDS: Mapping[str, type] = {"ladder": Ladder, "cost": Cost}
"""Kinds whose messages carry one entry of what is watched of a book: its field has the kind's name."""


def routes(context: WebContext) -> list[BaseRoute]:
    """Return the route of the document."""
    middleware = limited(context.admission, compressed=True)
    return [Route("/asyncapi.json", partial(_asyncapi, orjson.dumps(document())), middleware=middleware)]


async def _asyncapi(body: bytes, request: Request) -> Response:
    return await revalidated_response(request, body)


def paths(_: Schemas, __: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    answers = {"200": answer("AsyncAPI 3.0.", {"type": "object"}), "304": {"description": "Unchanged."}}
    return {"/asyncapi.json": get("The messages of /ws, /ws/orderbook and /sse.", answers)}


def document() -> Json:
    """Return the document; it is the same for every server."""
    schemas = Schemas()
    payloads = {
        **{kind: topic_message(schemas, kind) for kind in KINDS},
        "view": schemas.of(View),
        **_requests(schemas),
        **_replies(schemas),
    }
    messages = {
        name: {"name": name, "contentType": "application/json", "payload": payload}
        for name, payload in payloads.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pulse Terminal feed",
            "version": VERSION,
            "description": "Live order books, trades, metrics and candles whose numbers can be trusted. "
            "Null means that a value cannot be known now.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": messages, "schemas": schemas.found, "securitySchemes": _security_schemes()},
    }


def _channels() -> Json:
    return {
        "feed": {
            "address": "/ws",
            "title": "Feed",
            "description": "One WebSocket for many topics. permessage-deflate if the client offers it; pings are sent "
            "between messages and must be answered.",
            "messages": _references("components/messages", (*OPS, *REPLIES, *KINDS)),
        },
        "events": {
            "address": "/sse",
            "title": "Feed as Server-Sent Events",
            "description": "The same messages over GET; each is the data of one event. "
            "Parameters: topics (separated by commas), rate, depth, rows, from_id.",
            "messages": _references("components/messages", KINDS),
        },
        "orderbook": {
            "address": "/ws/orderbook",
            "title": "Views of the default symbol",
            "description": "The client need not send anything.",
            "messages": _references("components/messages", ["view"]),
        },
        "orderbookOfSymbol": {
            "address": "/ws/orderbook/{symbol}",
            "title": "Views of a symbol",
            "description": "The client need not send anything.",
            "parameters": {"symbol": {"description": "A symbol that the exchange lists, such as BTCUSDT."}},
            "messages": _references("components/messages", ["view"]),
        },
    }


def _security_schemes() -> Json:
    """Return the security schemes: a client uses one of them, where the server has a token for readers."""
    return {
        "token": {"type": "http", "scheme": "bearer", "description": "PULSE_TOKEN or PULSE_OPERATOR_TOKEN."},
        "session": {
            "type": "httpApiKey", "in": "cookie", "name": COOKIE,
            "description": f"The cookie that POST {SESSION_PATH} sets.",
        },
        "subprotocol": {
            "type": "httpApiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": f"For pages of other origins: `{SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}...`, with the token in "
            f"base64url without padding; the server chooses {SUBPROTOCOL}.",
        },
    }  # fmt: skip


def _operations() -> Json:
    heartbeat = f"Messages of the topics asked for; a comment after {HEARTBEAT_S:g} s of silence."
    limits = f"at most {MESSAGES_MAX} messages in {MESSAGES_WINDOW_S:g} s, of at most {MESSAGE_BYTES_MAX} bytes each"
    request = _operation("receive", "feed", f"Requests of a client: {limits}.", OPS)
    request["reply"] = {"channel": {"$ref": "#/channels/feed"}, "messages": _messages_of("feed", REPLIES)}
    views = "A view at each change, and at least one a second."
    return {
        "request": request,
        "publish": _operation("send", "feed", "Messages of the topics subscribed to.", KINDS),
        "publishEvents": _operation("send", "events", heartbeat, KINDS),
        "publishViews": _operation("send", "orderbook", views, ["view"]),
        "publishViewsOfSymbol": _operation("send", "orderbookOfSymbol", views, ["view"]),
    }


def _operation(action: str, channel: str, summary: str, names: Iterable[str]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _security_schemes()],
        "messages": _messages_of(channel, names),
    }


def _messages_of(channel: str, names: Iterable[str]) -> list[Json]:
    return list(_references(f"channels/{channel}/messages", names).values())


def _references(place: str, names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/{place}/{name}"} for name in names}


def topic_patterns(symbol: str) -> dict[str, str]:
    """Return the pattern of a topic's name, by its kind; `symbol` is that of a symbol's."""
    return {kind: rf"{kind}\.{symbol}" + (rf"\.{VARIANTS[kind]}" if kind in VARIANTS else "") for kind in KINDS}


def topic_message(schemas: Schemas, kind: str) -> Json:
    """Return the schema of a kind of topic: the fields of a view that its messages carry; trades have their own."""
    topic = {"type": "string", "pattern": f"^{topic_patterns(SYMBOL)[kind]}$"}
    if kind == "trades":
        return schemas.named("TradesMessage", object_of({"topic": topic, **_trades(schemas)}))
    fields = schemas.properties(LiquidityView if kind in OWN_FIELDS else View)
    own = {"candle": _candle(schemas), "closed_candle": _candle(schemas)} if kind == "kline" else {}
    if kind in OWN_FIELDS:
        own = {kind: schemas.of(OWN_FIELDS[kind])}
    properties = {name: fields[name] for name in (*HEAD, *FIELDS[kind])} | own
    return schemas.named(f"{kind.capitalize()}Message", object_of({"topic": topic, **properties}))


def _candle(schemas: Schemas) -> Json:
    """Return the schema of a kline topic's candle: a minute's fields, and more of them for longer intervals."""
    open_ended = object_of(schemas.properties(CandleView)) | {"additionalProperties": True}
    return or_null(schemas.named("Candle", open_ended))


def _trades(schemas: Schemas) -> Json:
    gap = schemas.named("Gap", object_of({"first_id": INTEGER, "last_id": INTEGER}) | {
        "description": "Trades that are missing before this message's first, both ids included."
    })  # fmt: skip
    return {
        "seq": {"type": "integer", "description": "The id of the last trade."},
        "first_id": INTEGER,
        "last_id": INTEGER,
        "gap": or_null(gap),
        "trades": array(schemas.of(TradeView)) | {
            "minItems": 1, "maxItems": PER_MESSAGE_MAX, "description": "Oldest first, ids contiguous."
        },
    }  # fmt: skip


def _requests(schemas: Schemas) -> Json:
    """Return the schemas of what a client sends, by operation."""
    pattern = f"^({'|'.join(topic_patterns(SYMBOL).values())})$"
    topics = schemas.named(
        "Topics", array({"type": "string", "pattern": pattern}) | {"minItems": 1, "maxItems": TOPICS_MAX}
    )
    options = {
        "rate": {"type": "string", "enum": list(RATES_S), "default": "full"},
        "depth": {"type": "integer", "enum": list(DEPTHS), "default": DEPTHS[-1]},
        "rows": {"type": "integer", "enum": list(ROWS), "default": ROWS_DEFAULT},
        "from_id": {"type": "integer", "minimum": 0, "description": "The first trade wanted."},
        "from_first_trade_id": {
            "type": "integer",
            "minimum": 0,
            "description": "Of the trades of `from_id`, the first one wanted.",
        },
    }
    return {
        "subscribe": _request(schemas, "subscribe", {"topics": topics, **options}, optional=tuple(options)),
        "unsubscribe": _request(schemas, "unsubscribe", {"topics": topics}),
        "ping": _request(schemas, "ping", {}),
        "echo": _request(schemas, "echo", {"instance": STRING, "timestamp": NUMBER}),
    }


def _request(schemas: Schemas, op: str, properties: Json, optional: Sequence[str] = ()) -> Json:
    properties = {"op": {"const": op}, **properties, "id": _id(schemas)}
    return schemas.named(op.capitalize(), object_of(properties, optional=(*optional, "id")))


def _replies(schemas: Schemas) -> Json:
    """Return the schemas of the answers to requests."""
    subscribed = {
        "op": {"type": "string", "enum": ["subscribed", "unsubscribed"]},
        "id": _id(schemas),
        "topics": array(STRING) | {"description": "All topics of this client now."},
    }
    error = {
        "op": {"const": "error"}, "id": _id(schemas), "parameter": STRING, "detail": STRING,
        "allowed": {"anyOf": [STRING, {"type": "array"}]}, "retry_after_s": or_null(INTEGER),
    }  # fmt: skip
    return {
        "subscribed": schemas.named("Subscribed", object_of(subscribed)),
        "pong": schemas.named("Pong", object_of({"op": {"const": "pong"}, "id": _id(schemas), "time_ms": INTEGER})),
        "error": schemas.named(
            "Error", object_of(error) | {"description": "The request changed nothing, and the reason."}
        ),
    }


def _id(schemas: Schemas) -> Json:
    options: list[Json] = [INTEGER, {"type": "string", "maxLength": ID_CHARACTERS_MAX}, {"type": "null"}]
    return schemas.named("Id", {"anyOf": options, "description": "The client's own name for a request."})
