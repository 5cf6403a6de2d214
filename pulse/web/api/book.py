"""GET /orderbook, the current view of a symbol, and GET /api/proof, the books' certificates."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import try_later
from pulse.fanout.view_reader import read_view
from pulse.market.view import Certificate, View
from pulse.web.api.operations import UNKNOWN_SYMBOL, answer, get, problems, query
from pulse.web.api.schemas import Json, Schemas, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import known_symbol
from pulse.web.routing import json_response, limited

NO_VIEW_RETRY_AFTER_S = 1


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    compressed = limited(context.admission, compressed=True)
    return [
        Route("/orderbook", partial(_orderbook, context), middleware=limited(context.admission)),
        Route("/api/proof", partial(_certificates, context), middleware=compressed),
        Route("/api/proof/{symbol}", partial(_certificate, context), middleware=compressed),
    ]


async def _orderbook(context: WebContext, request: Request) -> Response:
    """Return the current view of ?symbol=, byte for byte as a WebSocket client gets it."""
    symbol = known_symbol(request.query_params.get("symbol"), context.registry, context.admission.address_of(request))
    view = await read_view(context.hub, symbol)
    if view is None:
        raise try_later(f"There is no view of {symbol} yet.", NO_VIEW_RETRY_AFTER_S)
    return json_response(view)


async def _certificates(context: WebContext, _: Request) -> Response:
    return json_response(orjson.dumps(context.certificates()))


async def _certificate(context: WebContext, request: Request) -> Response:
    symbol = known_symbol(request.path_params["symbol"], context.registry, context.admission.address_of(request))
    return json_response(orjson.dumps(context.certificates()[symbol]))


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    certificate = schemas.of(Certificate)
    by_symbol = {"type": "object", "additionalProperties": certificate}
    in_path = {"name": "symbol", "in": "path", "required": True, "schema": symbol_name(symbols)}
    return {
        "/orderbook": get(
            "The current view of a symbol, byte for byte as a WebSocket client gets it.",
            {"200": answer("The view.", schemas.of(View))}
            | problems(schemas, {404: UNKNOWN_SYMBOL, 503: "There is no view yet."}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
        ),
        "/api/proof": get("The certificate of every book.", {"200": answer("By symbol.", by_symbol)}),
        "/api/proof/{symbol}": get(
            "The certificate of a book.",
            {"200": answer("The certificate.", certificate)} | problems(schemas, {404: UNKNOWN_SYMBOL}),
            in_path,
        ),
    }
