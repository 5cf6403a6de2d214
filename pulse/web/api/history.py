"""GET /api/history: what there is of a symbol's recorded past, what is missing and why; and views of a past moment."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import NotObserved, PastUnavailable, RequestError, try_later
from pulse.market.coverage import DAY_MS
from pulse.market.types import MINUTE_MS, State
from pulse.past.reader import PastReader
from pulse.web.api.operations import WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import INTEGER, NUMBER, STRING, Json, Schemas, array, object_of, or_null, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import parameters_of, read_coverage_query
from pulse.web.routing import json_response, limited
from pulse.wire import encode_view

DAYS_MAX = 7
"""How many days a report has at most."""
CANDLES_PER_DAY = DAY_MS // MINUTE_MS
CANDLES_PER_VIEW = 500
"""What a view of the past costs, in candles: about the same time."""
RETRY_AFTER_S = 2
NOT_RECORDED = "Nothing is recorded here: PULSE_HISTORY_MB and PULSE_HISTORY_RING_MB are 0."
PAST_UNAVAILABLE = "The past cannot be read now."
NOT_OBSERVED = "Nothing is recorded of that moment."


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    return [Route("/api/history", partial(_history, context), middleware=limited(context.admission, compressed=True))]


async def past_view(context: WebContext, request: Request, symbol: str, at_ms: int) -> Response:
    """Return the view of a past moment. Raises RequestError: 404 where nothing is recorded of it, and why."""
    address = context.admission.address_of(request)
    async with _reading(context, address, CANDLES_PER_VIEW) as past:
        return json_response(encode_view(await past.view_at(symbol, at_ms)))


async def _history(context: WebContext, request: Request) -> Response:
    """Return what there is of the newest days of a symbol. Raises RequestError."""
    address = context.admission.address_of(request)
    symbol, days = read_coverage_query(parameters_of(request), context.registry, address, DAYS_MAX)
    async with _reading(context, address, days * CANDLES_PER_DAY) as past:
        return json_response(orjson.dumps(await past.report(symbol, days)))


@asynccontextmanager
async def _reading(context: WebContext, address: str, candles: int) -> AsyncIterator[PastReader]:
    """Read the past as one of a bounded number, and be charged for it. Raises RequestError."""
    if context.past is None:
        raise RequestError(HTTPStatus.NOT_FOUND, NOT_RECORDED)
    with context.admission.reads.held(address):
        try:
            yield context.past
        except NotObserved as hole:
            raise RequestError(HTTPStatus.NOT_FOUND, str(hole), parameter="at") from None
        except PastUnavailable as fault:
            raise try_later(str(fault), RETRY_AFTER_S) from None
        finally:
            context.admission.charge_candles(address, candles)


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    states = {"enum": [state.value for state in State]}
    span = object_of({"from_ms": INTEGER, "to_ms": INTEGER})
    hole = object_of({"from_ms": INTEGER, "to_ms": INTEGER, "cause": STRING})
    unproven = object_of({"from_ms": INTEGER, "to_ms": INTEGER, "state": states, "reason": STRING})
    incident = object_of({"time_ms": INTEGER, "cause": STRING, "reason": STRING, "update_id": INTEGER})
    report = schemas.named("PastReport", object_of({
        "symbol": STRING, "from_ms": INTEGER, "to_ms": INTEGER, "blocks": INTEGER, "coverage": or_null(NUMBER),
        "proven": or_null(NUMBER), "spans": array(span), "holes": array(hole), "unproven": array(unproven),
        "incidents": array(incident), "place": {"enum": ["disk", "memory"]},
    }))  # fmt: skip
    most = {"type": "integer", "minimum": 1, "maximum": DAYS_MAX, "default": 1}
    return {
        "/api/history": get(
            "What there is of a symbol's recorded past: spans, which part was proven, and every hole with its cause.",
            {"200": answer("From the first to the last recorded ms of these days.", report)}
            | problems(schemas, {400: WRONG_PARAMETER, 404: NOT_RECORDED, 503: PAST_UNAVAILABLE}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("days", f"How many times 24 hours until now; at most {DAYS_MAX}.", most),
        )
    }
