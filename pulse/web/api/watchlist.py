"""GET /api/watchlist: last price, change and volume of 24 hours, of every symbol that the exchange lists."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.web.api.operations import answer, get
from pulse.web.api.schemas import INTEGER, NUMBER, STRING, Json, Schemas, array, object_of, or_null
from pulse.web.context import WebContext
from pulse.web.routing import json_response, limited


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    middleware = limited(context.admission, compressed=True)
    return [Route("/api/watchlist", partial(_watchlist, context), middleware=middleware)]


async def _watchlist(context: WebContext, _: Request) -> Response:
    return json_response(orjson.dumps(context.watchlist()))


def paths(schemas: Schemas, _: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    price = or_null(NUMBER)
    row = schemas.named("DayTicker", object_of({
        "symbol": STRING, "last": price, "change_percent": price, "high": price, "low": price, "quote_volume": price,
        "trade_count": INTEGER,
    }))  # fmt: skip
    report = object_of({
        "date_ms": or_null(INTEGER), "age_ms": or_null(INTEGER), "every_ms": INTEGER, "left_out": INTEGER,
        "trouble": STRING, "rows": array(row),
    })  # fmt: skip
    return {"/api/watchlist": get("The last 24 hours of every symbol.", {"200": answer("The list.", report)})}
