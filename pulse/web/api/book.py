"""GET /orderbook, the view of a symbol, current or past, and GET /api/proof, the books' certificates."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import try_later
from pulse.fanout.view_reader import read_view
from pulse.market.view import Certificate, View
from pulse.web.api.asyncapi import topic_message
from pulse.web.api.history import NOT_OBSERVED, past_view
from pulse.web.api.liquidity import ladder_parameters, read_ladder
from pulse.web.api.operations import UNKNOWN_SYMBOL, WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import Json, Schemas, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import TIME_PATTERN, known_symbol, parameters_of, read_moment, single
from pulse.web.routing import json_response, limited

NO_VIEW_RETRY_AFTER_S = 1
NOT_FOUND = f"{UNKNOWN_SYMBOL} Or: {NOT_OBSERVED}"
AT = "A past moment, by this machine's clock, for the view of then, whose source is `rewind`, and no ladder."
LADDER_PARAMETERS = {"group", "rows"}
"""Either of them asks for a ladder."""


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    compressed = limited(context.admission, compressed=True)
    return [
        Route("/orderbook", partial(_orderbook, context), middleware=limited(context.admission)),
        Route("/api/proof", partial(_certificates, context), middleware=compressed),
        Route("/api/proof/{symbol}", partial(_certificate, context), middleware=compressed),
    ]


async def _orderbook(context: WebContext, request: Request) -> Response:
    """Return the current view of ?symbol=, byte for byte as a WebSocket client gets it; with ?group= its ladder.

    With ?at= the view of that moment.
    """
    at = single(parameters_of(request), "at")
    at_ms = None if at is None else read_moment(at)
    symbol = known_symbol(request.query_params.get("symbol"), context.registry, context.admission.address_of(request))
    if at_ms is not None:
        return await past_view(context, request, symbol, at_ms)
    if LADDER_PARAMETERS & request.query_params.keys():
        return json_response(await read_ladder(context.hub, symbol, parameters_of(request)))
    view = await read_view(context.hub, symbol)
    if view is None:
        raise try_later(f"There is no view of {symbol} yet.", NO_VIEW_RETRY_AFTER_S)
    return json_response(view)


async def _certificates(context: WebContext, _: Request) -> Response:
    return json_response(orjson.dumps(context.certificates()))


async def _certificate(context: WebContext, request: Request) -> Response:
    symbol = known_symbol(request.path_params["symbol"], context.registry, context.admission.address_of(request))
    certificate = context.certificates().get(symbol)
    if certificate is None:
        raise try_later(f"The process that owns {symbol} has not reported yet.", NO_VIEW_RETRY_AFTER_S)
    return json_response(orjson.dumps(certificate))


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    certificate = schemas.of(Certificate)
    by_symbol = {"type": "object", "additionalProperties": certificate}
    in_path = {"name": "symbol", "in": "path", "required": True, "schema": symbol_name(symbols)}
    return {
        "/orderbook": get(
            "The current view of a symbol, byte for byte as a WebSocket client gets it, or its book in groups.",
            {"200": answer("The view, or the ladder.", {"anyOf": [schemas.of(View), topic_message(schemas, "ladder")]})}
            | problems(schemas, {400: WRONG_PARAMETER, 404: NOT_FOUND, 503: "There is no view yet."}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("at", AT, {"type": "string", "pattern": TIME_PATTERN}),
            *ladder_parameters(),
        ),
        "/api/proof": get("The certificate of every book.", {"200": answer("By symbol.", by_symbol)}),
        "/api/proof/{symbol}": get(
            "The certificate of a book.",
            {"200": answer("The certificate.", certificate)}
            | problems(schemas, {404: UNKNOWN_SYMBOL, 503: "The process that owns the symbol has not reported yet."}),
            in_path,
        ),
    }
