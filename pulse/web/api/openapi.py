"""What the server answers over HTTP, as an OpenAPI 3.1 document: written from the types that the answers are made of.

It describes and answers nothing; the feed's WebSockets are described elsewhere, because OpenAPI has no word for them.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pulse import __version__
from pulse.fanout.requests import DEPTHS, RATES_S
from pulse.market.intervals import INTERVALS
from pulse.market.view import Certificate, View
from pulse.web.api.udf import BARS_MAX, FOUND_DEFAULT, FOUND_MAX, RESOLUTIONS
from pulse.web.params import FORMATS, LIMIT_DEFAULT, LIMIT_MAX, STREAM_MAX
from pulse.web.problems import MEDIA_TYPE

Json = dict[str, Any]

NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
STRING, NUMBER, INTEGER, BOOLEAN = ({"type": name} for name in ("string", "number", "integer", "boolean"))

FREE_PATH = "/healthz"
"""The one that may be asked as often as one likes."""


def document(symbols: Sequence[str]) -> Json:
    """The document of a server that always follows these symbols."""
    schemas = _Schemas()
    paths = {**_feed(schemas, symbols), **_history(schemas, symbols), **_udf(schemas), **_health(schemas)}
    for path, answers in paths.items():
        if path != FREE_PATH:
            answers["get"]["responses"] |= _problems(schemas, s429="Your address asks too often, or has too much open.")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pulse Terminal",
            "version": __version__,
            "description": "A crypto market terminal whose numbers can be trusted.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas.found},
    }


class _Schemas:
    """The named schemas, found as they are used."""

    def __init__(self) -> None:
        self.found: Json = {}

    def of(self, kind: Any) -> Json:
        """The schema of a type as JSON holds it."""
        if kind in NAMES:
            return {"type": NAMES[kind]}
        if get_origin(kind) is list:
            return {"type": "array", "items": self.of(get_args(kind)[0])}
        if get_origin(kind) is tuple:
            parts = [self.of(part) for part in get_args(kind)]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        if isinstance(kind, UnionType):
            return {"anyOf": [self.of(option) for option in get_args(kind)]}
        if isinstance(kind, type) and is_dataclass(kind):
            hints = get_type_hints(kind)
            return self.named(
                kind.__name__, _object({field.name: self.of(hints[field.name]) for field in fields(kind)})
            )
        if issubclass(kind, Enum):
            return {"type": "string", "enum": [member.value for member in kind]}
        raise TypeError(f"expected a type that JSON can hold, got {kind}")

    def named(self, name: str, schema: Json) -> Json:
        """Put a schema among the named ones, and refer to it."""
        self.found[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, optional: Sequence[str] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _symbol(symbols: Sequence[str]) -> Json:
    """Any that the exchange lists; these are there from the start."""
    return {"type": "string", "pattern": "^[A-Za-z0-9]{2,20}$", "examples": list(symbols)}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _get(summary: str, answers: Json, *parameters: Json) -> Json:
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": answers}}


def _query(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _answer(description: str, schema: Json, media_type: str = "application/json") -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(schemas: _Schemas, **described: str) -> Json:
    """Answers by their status, written `s404`, each a problem."""
    problem = schemas.named(
        "Problem",
        _object(
            {
                "type": STRING, "title": STRING, "status": INTEGER, "detail": STRING, "parameter": STRING,
                "allowed": {"anyOf": [STRING, _array(STRING)]},
            },
            optional=("parameter", "allowed"),
        ),
    )  # fmt: skip
    return {status.removeprefix("s"): _answer(text, problem, MEDIA_TYPE) for status, text in described.items()}


def _feed(schemas: _Schemas, symbols: Sequence[str]) -> Json:
    symbol = _symbol(symbols)
    in_path = {"name": "symbol", "in": "path", "required": True, "schema": symbol}
    certificate = schemas.of(Certificate)
    listed = schemas.named("Symbol", _object({
        "symbol": STRING, "base_asset": _or_null(STRING), "quote_asset": _or_null(STRING), "status": _or_null(STRING),
        "tick_size": _or_null(NUMBER), "lot_size": _or_null(NUMBER), "price_decimals": _or_null(INTEGER),
        "quantity_decimals": _or_null(INTEGER), "state": STRING,
        "history": _or_null(_object({"minutes": INTEGER, "of": INTEGER})),
    }))  # fmt: skip
    catalogue = _object(
        {"default": symbol, "venue": STRING, "source": STRING, "symbols": _array(listed), "listed": _array(STRING)}
    )
    unknown = "The exchange lists no such symbol."
    return {
        "/orderbook": _get(
            "The latest view of a symbol, byte for byte as the feed sent it.",
            {"200": _answer("The view.", schemas.of(View))}
            | _problems(schemas, s404=unknown, s503="There is no view yet."),
            _query("symbol", "Which symbol; the first one by default.", symbol),
        ),
        "/sse": _get(
            "The feed as Server-Sent Events; /asyncapi.json describes its messages.",
            {"200": _answer("A stream that goes on for as long as the client stays.", STRING, "text/event-stream")}
            | _problems(schemas, s400="A parameter is wrong.", s503="Full."),
            _query("topics", "Separated by commas, such as book.BTCUSDT,trades.BTCUSDT.", STRING, required=True),
            _query("rate", "How often.", {"type": "string", "enum": list(RATES_S)}),
            _query("depth", "Levels a side.", {"type": "integer", "enum": list(DEPTHS)}),
            _query("from_id", "The first trade wanted.", INTEGER),
        ),
        "/api/symbols": _get("What is followed.", {"200": _answer("The symbols.", catalogue)}),
        "/api/proof": _get(
            "The certificate of every book.",
            {"200": _answer("By symbol.", {"type": "object", "additionalProperties": certificate})},
        ),
        "/api/proof/{symbol}": _get(
            "The certificate of a book.",
            {"200": _answer("The certificate.", certificate)} | _problems(schemas, s404=unknown),
            in_path,
        ),
    }


def _history(schemas: _Schemas, symbols: Sequence[str]) -> Json:
    row = schemas.named("Candle", _object({
        "symbol": STRING, "timestamp": {"type": "string", "format": "date-time"}, "open": NUMBER, "high": NUMBER,
        "low": NUMBER, "close": NUMBER, "volume": NUMBER, "quote_volume": NUMBER, "trade_count": INTEGER,
        "taker_buy_volume": NUMBER, "taker_buy_quote_volume": NUMBER, "first_trade_id": _or_null(INTEGER),
        "last_trade_id": _or_null(INTEGER),
        "source": {"type": "string", "enum": ["live", "repaired", "exchange", "mixed"]}, "reconciled": BOOLEAN,
        "is_closed": BOOLEAN, "missing_minutes": {"type": "integer", "minimum": 0},
    }))  # fmt: skip
    tagged = {
        "ETag": {"description": "Strong; ask again with If-None-Match.", "schema": STRING},
        "Link": {"description": "The next page, or the one before; where the page is full.", "schema": STRING},
    }
    streamed = {"text/csv": {"schema": STRING}, "application/x-ndjson": {"schema": STRING}}
    candles = {
        "description": "Candles, oldest first.",
        "headers": tagged,
        "content": {"application/json": {"schema": _array(row)}, **streamed},
    }
    answers = {"200": candles, "304": {"description": "Unchanged since the answer with that ETag."}}
    limit = {"type": "integer", "minimum": 1, "maximum": STREAM_MAX, "default": LIMIT_DEFAULT}
    time = {"type": "string", "format": "date-time"}
    gap = schemas.named("TradeGap", _object(
        {"symbol": STRING, "first_trade_id": INTEGER, "last_trade_id": INTEGER, "from": time, "to": time, "noted": time}
    ))  # fmt: skip
    return {
        "/api/gaps": _get(
            "Trades that are in no candle, because the exchange gave them no more.",
            {"200": _answer("The gaps, oldest first.", _array(gap))}
            | _problems(schemas, s400="A parameter is wrong.", s503="The store cannot be reached."),
            _query("symbol", "Which symbol; the first one by default.", _symbol(symbols)),
            _query("start", "From when on: ISO 8601, or whole seconds or milliseconds since 1970.", STRING),
            _query("end", "Until when, in the same forms.", STRING),
            _query("limit", f"At most {LIMIT_MAX}.", limit | {"maximum": LIMIT_MAX}),
        ),
        "/api/ohlcv": _get(
            "Candles of any interval with their receipts.",
            answers | _problems(schemas, s400="A parameter is wrong.", s503="The store cannot be reached."),
            _query("symbol", "Which symbol; the first one by default.", _symbol(symbols)),
            _query("interval", "What a candle spans.", {"type": "string", "enum": list(INTERVALS), "default": "1m"}),
            _query("start", "The first open time: ISO 8601, or whole seconds or milliseconds since 1970.", STRING),
            _query("end", "The last open time, in the same forms.", STRING),
            _query("limit", f"At most {LIMIT_MAX}; more only for a stream from a start on.", limit),
            _query("format", "How to write it.", {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}),
        ),
    }


def _udf(schemas: _Schemas) -> Json:
    failed = schemas.named("UdfError", _object({"s": {"const": "error"}, "errmsg": STRING}))
    wrong, away = _answer("What is wrong.", failed), _answer("The store cannot be reached.", failed)
    table = _object({"s": {"const": "ok"}} | {name: _array(INTEGER if name == "t" else NUMBER) for name in "tohlcv"})
    nothing = _object({"s": {"const": "no_data"}, "nextTime": INTEGER}, optional=("nextTime",))
    found = _object(dict.fromkeys(("symbol", "ticker", "full_name", "exchange", "description", "type"), STRING))
    config = {"type": "object", "required": ["supported_resolutions", "supports_search", "exchanges"]}
    described = {"type": "object", "required": ["name", "ticker", "minmov", "pricescale", "session", "timezone"]}
    symbol = _query("symbol", "A symbol, with or without its exchange.", STRING, required=True)
    counted = {"type": "integer", "minimum": 1, "maximum": BARS_MAX}
    several = {"type": "integer", "minimum": 1, "maximum": FOUND_MAX, "default": FOUND_DEFAULT}
    return {
        "/udf/config": _get("TradingView's UDF: what is supported.", {"200": _answer("The configuration.", config)}),
        "/udf/symbols": _get(
            "UDF: how an instrument is drawn.", {"200": _answer("The instrument.", described), "404": wrong}, symbol
        ),
        "/udf/search": _get(
            "UDF: symbols by a part of their name.", {"200": _answer("Those found.", _array(found)), "400": wrong},
            _query("query", "The part.", STRING), _query("type", "crypto, or nothing.", STRING),
            _query("exchange", "An exchange, or nothing.", STRING), _query("limit", "At most so many.", several),
        ),
        "/udf/history": _get(
            "UDF: bars as columns.",
            {"200": _answer("Bars, or that there are none.", {"oneOf": [table, nothing]}), "400": wrong, "404": wrong,
             "503": away},
            symbol, _query("resolution", "What a bar spans.", {"enum": list(RESOLUTIONS)}, required=True),
            _query("from", "In seconds; not needed with countback.", INTEGER),
            _query("to", "In seconds, not included.", INTEGER, required=True),
            _query("countback", "So many bars before `to`, whatever `from` says.", counted),
        ),
        "/udf/time": _get("UDF: the time in seconds.", {"200": _answer("Whole seconds.", STRING, "text/plain")}),
    }  # fmt: skip


def _health(schemas: _Schemas) -> Json:
    state = _object({"state": STRING, "reason": STRING, "data_age_ms": _or_null(NUMBER)})
    bus = _object({"kind": STRING, "ok": BOOLEAN, "detail": STRING})
    store = schemas.named("Store", _object({"kind": STRING, "ok": BOOLEAN, "detail": STRING, "pending": INTEGER}))
    feeds = {"type": "object", "additionalProperties": state}
    readiness = schemas.named("Readiness", _object({"ready": BOOLEAN, "feeds": feeds, "bus": bus, "store": store}))
    hop = schemas.named("Hop", _object({
        "hop": STRING, "meaning": STRING, "count": INTEGER, "p50_ms": _or_null(NUMBER), "p99_ms": _or_null(NUMBER),
        "budget_ms": NUMBER,
    }))  # fmt: skip
    latency = _object({
        "hops": _array(hop), "over_budget": _array(STRING), "clock_offset_ms": _or_null(NUMBER),
        "clock_error_ms": _or_null(NUMBER),
    })  # fmt: skip
    return {
        "/healthz": _get("The process answers.", {"200": _answer("It does.", _object({"status": {"const": "ok"}}))}),
        "/readyz": _get(
            "Whether what is served can be trusted.",
            {"200": _answer("It can.", readiness), "503": _answer("Not all of it.", readiness)},
        ),
        "/api/store": _get("Whether closed candles reach the store.", {"200": _answer("It says why not.", store)}),
        "/api/latency": _get("How long each hop takes.", {"200": _answer("The latency report.", latency)}),
        "/metrics": _get("The program's own counters.", {"200": _answer("For Prometheus.", STRING, "text/plain")}),
        "/openapi.json": _get("This document.", {"200": _answer("OpenAPI 3.1.", {"type": "object"})}),
    }
