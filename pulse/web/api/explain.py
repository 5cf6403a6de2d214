"""GET /api/explain/{metric}: how a number of a view came about, for the view that a page shows."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import RequestError, try_later, wrong_parameter
from pulse.fanout.hub import Hub
from pulse.fanout.view_reader import read_view
from pulse.market.explain import METRICS, Explanation, explain
from pulse.web.api.book import NO_VIEW_RETRY_AFTER_S
from pulse.web.api.operations import WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import STRING, Json, Schemas, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import known_symbol, parameters_of, single
from pulse.web.routing import json_response, limited

SEQ = re.compile(r"[0-9]{1,16}", re.ASCII)


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    middleware = limited(context.admission, compressed=True)
    return [Route("/api/explain/{metric}", partial(_explain, context), middleware=middleware)]


async def _explain(context: WebContext, request: Request) -> Response:
    metric, parameters = request.path_params["metric"], parameters_of(request)
    if metric not in METRICS:
        raise wrong_parameter("metric", metric, METRICS, HTTPStatus.NOT_FOUND)
    seq = single(parameters, "seq")
    if seq is not None and not SEQ.fullmatch(seq):
        raise wrong_parameter("seq", seq, "the number of a view")
    symbol = known_symbol(single(parameters, "symbol"), context.registry, context.admission.address_of(request))
    view = await _newest(context.hub, symbol) if seq is None else _kept(context.hub, symbol, int(seq))
    instance = single(parameters, "instance")
    made = orjson.loads(view)
    if instance not in (None, made["instance"]):
        raise _gone(symbol, made["seq"])
    return json_response(orjson.dumps(asdict(explain(metric, made))))


async def _newest(hub: Hub, symbol: str) -> bytes:
    view = await read_view(hub, symbol)
    if view is None:
        raise try_later(f"There is no view of {symbol} yet.", NO_VIEW_RETRY_AFTER_S)
    return view


def _kept(hub: Hub, symbol: str, seq: int) -> bytes:
    view = hub.view(symbol, seq)
    if view is None:
        raise _gone(symbol, seq)
    return view


def _gone(symbol: str, seq: int) -> RequestError:
    detail = (
        f"View {seq} of {symbol} is not kept, or no longer: views are kept for a minute or two while they are watched."
        " Ask for a newer one."
    )
    return RequestError(HTTPStatus.NOT_FOUND, detail, parameter="seq", allowed="the number of a recent view")


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    metric = {"name": "metric", "in": "path", "required": True, "schema": {"type": "string", "enum": list(METRICS)}}
    return {
        "/api/explain/{metric}": get(
            "How a metric of a view came about: formula, figures, arithmetic, code and paper.",
            {"200": answer("The explanation.", schemas.of(Explanation))}
            | problems(
                schemas,
                {
                    400: WRONG_PARAMETER,
                    404: "There is no such metric or symbol, or the view is no longer kept.",
                    503: "There is no view yet.",
                },
            ),
            metric,
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("seq", "Of which view; the newest by default.", {"type": "string", "pattern": f"^{SEQ.pattern}$"}),
            query("instance", "The process that made the view; any by default.", STRING),
        )
    }
