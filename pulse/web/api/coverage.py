"""GET /api/coverage: which part of each day a symbol's book was proven and its minutes are whole, and every hole."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.candle_history.coverage_meter import DAYS_MAX
from pulse.market.coverage import DAY_MS
from pulse.market.types import MINUTE_MS
from pulse.web.api.operations import STORE_UNAVAILABLE, WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import INTEGER, NUMBER, STRING, Json, Schemas, array, object_of, or_null, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import parameters_of, read_coverage_query
from pulse.web.routing import json_response, limited

MINUTES_PER_DAY = DAY_MS // MINUTE_MS


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    return [Route("/api/coverage", partial(_coverage, context), middleware=limited(context.admission, compressed=True))]


async def _coverage(context: WebContext, request: Request) -> Response:
    """Return the newest days of a symbol. Raises RequestError or StoreUnavailable."""
    address = context.admission.address_of(request)
    symbol, days = read_coverage_query(parameters_of(request), context.registry, address, DAYS_MAX)
    with context.admission.reads.held(address):
        found = await context.coverage(symbol, days)
    context.admission.charge_candles(address, days * MINUTES_PER_DAY)  # so many are read
    return json_response(orjson.dumps(found))


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    time = {"type": "string", "format": "date-time"}
    hole = schemas.named("Hole", object_of({"from": time, "to": time, "cause": STRING, "reason": STRING}))
    book = object_of({"share": or_null(NUMBER), "holes": array(hole)})
    candles = object_of({"share": or_null(NUMBER), "missing_minutes": INTEGER, "holes": array(hole)})
    day = schemas.named("DayCoverage", object_of(
        {"day": {"type": "string", "format": "date"}, "until": time, "book": book, "candles": candles}
    ))  # fmt: skip
    most = {"type": "integer", "minimum": 1, "maximum": DAYS_MAX, "default": 1}
    return {
        "/api/coverage": get(
            "How much of each day the book was proven and the candles are whole, and every hole with its cause.",
            {"200": answer("The newest days, the newest first.", object_of({"symbol": STRING, "days": array(day)}))}
            | problems(schemas, {400: WRONG_PARAMETER, 503: STORE_UNAVAILABLE}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("days", f"How many UTC days, today included; at most {DAYS_MAX}.", most),
        )
    }
