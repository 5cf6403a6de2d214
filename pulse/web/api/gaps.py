"""GET /api/gaps: the trades of a symbol that are in no candle, because the exchange no longer returns them."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.web.api.operations import STORE_UNAVAILABLE, WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import INTEGER, STRING, TIME, Json, Schemas, array, object_of, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import LIMIT_DEFAULT, LIMIT_MAX, parameters_of, read_gap_query
from pulse.web.routing import json_response, limited
from pulse.wire import gap_row


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    return [Route("/api/gaps", partial(_gaps, context), middleware=limited(context.admission, compressed=True))]


async def _gaps(context: WebContext, request: Request) -> Response:
    """Return the gaps that touch the range, oldest first. Raises RequestError or StoreUnavailable."""
    address = context.admission.address_of(request)
    asked = read_gap_query(parameters_of(request), context.registry, address)
    with context.admission.reads.held(address):
        gaps = await context.candles.gaps(asked.symbol, asked.start_ms, asked.end_ms, asked.limit)
    return json_response(orjson.dumps(list(map(gap_row, gaps))))


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    time = {"type": "string", "format": "date-time"}
    row = schemas.named("TradeGap", object_of(
        {"symbol": STRING, "first_trade_id": INTEGER, "last_trade_id": INTEGER, "from": time, "to": time, "noted": time}
    ))  # fmt: skip
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return {
        "/api/gaps": get(
            "Trades that are in no candle, because the exchange no longer returns them.",
            {"200": answer("The gaps, oldest first.", array(row))}
            | problems(schemas, {400: WRONG_PARAMETER, 503: STORE_UNAVAILABLE}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("start", "The earliest time: ISO 8601, or whole seconds or milliseconds since 1970.", TIME),
            query("end", "The latest time, in the same forms.", TIME),
            query("limit", f"At most {LIMIT_MAX}.", limit),
        )
    }
