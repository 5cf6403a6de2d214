"""GET /openapi.json: the HTTP API as an OpenAPI 3.1 document, written from the types that the answers are made of.

Each group of routes describes its own; OpenAPI has no terms for WebSockets, which asyncapi.py describes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse import __version__
from pulse.fanout.requests import DEPTHS, RATES_S, TOPICS_MAX, TRADE_ID_MAX
from pulse.market.ladder import ROWS
from pulse.market.symbol_names import CHARS_MAX, CHARS_MIN
from pulse.web.access import COOKIE, SESSION_PATH
from pulse.web.api import (
    asyncapi,
    book,
    candles,
    coverage,
    explain,
    gaps,
    history,
    liquidity,
    session,
    status,
    symbols,
    udf,
    watchlist,
)
from pulse.web.api.operations import WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import SYMBOL_CHARACTER, Json, Schemas
from pulse.web.context import WebContext
from pulse.web.routing import json_response, limited

EVENT_STREAM = "text/event-stream"
UNLIMITED_PATH = "/healthz"
"""The only path of the API without a rate limit, and for any client."""


class RouteGroup(Protocol):
    """A module of routes."""

    def routes(self, context: WebContext) -> list[BaseRoute]:
        """Return the group's routes."""

    def paths(self, schemas: Schemas, symbols: Sequence[str]) -> Json:
        """Return the group's part of the OpenAPI document."""


GROUPS: tuple[RouteGroup, ...] = (
    book, liquidity, explain, symbols, watchlist, candles, gaps, coverage, history, udf, status, session, asyncapi,
)  # fmt: skip


def routes(context: WebContext) -> list[BaseRoute]:
    """Return the route of the document."""
    body = orjson.dumps(document(context.registry.pinned))
    return [Route("/openapi.json", partial(_openapi, body), middleware=limited(context.admission, compressed=True))]


async def _openapi(body: bytes, _: Request) -> Response:
    return json_response(body)


def document(symbols: Sequence[str]) -> Json:
    """Return the document of a server whose pinned symbols are these."""
    schemas = Schemas()
    paths = _sse_path(schemas) | _own_path()
    for group in GROUPS:
        paths |= group.paths(schemas, symbols)
    for path, operations in paths.items():
        for operation in operations.values():
            _add_what_any_path_has(schemas, path, operation)
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
        "security": [{}, {"token": []}, {"session": []}],
        "components": {
            "schemas": schemas.found,
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "PULSE_TOKEN or PULSE_OPERATOR_TOKEN. Without PULSE_TOKEN data needs none.",
                },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": COOKIE,
                    "description": f"The cookie that POST {SESSION_PATH} sets.",
                },
            },
        },
    }  # fmt: skip


def _add_what_any_path_has(schemas: Schemas, path: str, operation: Json) -> None:
    """Add the answers and needs that do not depend on what a path serves."""
    if path == UNLIMITED_PATH:
        operation["security"] = []
        return
    too_many = "Your address sends too many requests or wrong tokens, or has too many connections open."
    common = {401: "A token is needed, or the one sent is wrong.", 421: "The Host is no name of this server."}
    operation["responses"] = problems(schemas, common | {429: too_many}) | operation["responses"]


def _sse_path(schemas: Schemas) -> Json:
    return {
        "/sse": get(
            "The topics of /ws as Server-Sent Events; /asyncapi.json describes the messages.",
            {"200": {"description": "A stream that goes on until the client leaves.", "content": {EVENT_STREAM: {}}}}
            | problems(schemas, {400: WRONG_PARAMETER, 503: "Too many clients are connected."}),
            query("topics", "Separated by commas, such as book.BTCUSDT,trades.BTCUSDT.", _topics(), required=True),
            query("rate", "How often.", {"type": "string", "enum": list(RATES_S)}),
            query("depth", "Levels a side.", {"type": "integer", "enum": list(DEPTHS)}),
            query("rows", "Rows a side of a ladder.", {"type": "integer", "enum": list(ROWS)}),
            query("from_id", "The first trade wanted.", {"type": "integer", "minimum": 0, "maximum": TRADE_ID_MAX}),
        )
    }


def _topics() -> Json:
    """Return the schema of up to TOPICS_MAX topic names in one text."""
    name = f"{SYMBOL_CHARACTER}{{{CHARS_MIN},{CHARS_MAX}}}"
    topic = f"(?:{'|'.join(asyncapi.topic_patterns(name).values())})"
    return {"type": "string", "pattern": f"^{topic}(?:,{topic}){{0,{TOPICS_MAX - 1}}}$"}


def _own_path() -> Json:
    return {"/openapi.json": get("This document.", {"200": answer("OpenAPI 3.1.", {"type": "object"})})}
