"""The book in groups of prices, for GET /orderbook?group=, and GET /api/cost: what it costs to trade a sum now.

Both answer with a message of the topic of the same kind, which is made for the request where there is no subscriber.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import try_later, wrong_parameter
from pulse.fanout.hub import Hub
from pulse.fanout.requests import NOTIONAL, NOTIONAL_ALLOWED, ROWS_DEFAULT, Topic, cost_topic, ladder_topic
from pulse.fanout.topic_reader import read_topic
from pulse.market.ladder import MULTIPLES, ROWS
from pulse.web.api.asyncapi import topic_message
from pulse.web.api.operations import UNKNOWN_SYMBOL, WRONG_PARAMETER, answer, get, problems, query
from pulse.web.api.schemas import Json, Schemas, symbol_name
from pulse.web.context import WebContext
from pulse.web.params import known_symbol, parameters_of, single
from pulse.web.routing import json_response, limited

AUTO = "auto"
GROUPS = (AUTO, *map(str, MULTIPLES))
NO_MESSAGE_RETRY_AFTER_S = 1


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    return [Route("/api/cost", partial(_cost, context), middleware=limited(context.admission))]


async def read_ladder(hub: Hub, symbol: str, parameters: Mapping[str, Sequence[str]]) -> bytes:
    """Return the book in the groups that a query asks for: `group`, and `rows` a side. Raises RequestError."""
    group = _choice("group", single(parameters, "group"), AUTO, GROUPS)
    rows = int(_choice("rows", single(parameters, "rows"), str(ROWS_DEFAULT), tuple(map(str, ROWS))))
    multiple = await _fitting_multiple(hub, symbol, rows) if group == AUTO else int(group)
    return await _read(hub, ladder_topic(symbol, multiple, rows))


async def _fitting_multiple(hub: Hub, symbol: str, rows: int) -> int:
    """Return the groups that suit so many rows: each ladder names them, whatever its own groups."""
    message = orjson.loads(await _read(hub, ladder_topic(symbol, MULTIPLES[0], rows)))
    fitting = {each["rows"]: int(each["multiple"]) for each in message["fitting"]}
    return fitting.get(rows, MULTIPLES[0])


async def _cost(context: WebContext, request: Request) -> Response:
    parameters = parameters_of(request)
    notional = single(parameters, "notional")
    if notional is None or not re.fullmatch(NOTIONAL, notional, re.ASCII):
        raise wrong_parameter("notional", notional, NOTIONAL_ALLOWED)
    symbol = known_symbol(single(parameters, "symbol"), context.registry, context.admission.address_of(request))
    return json_response(await _read(context.hub, cost_topic(symbol, notional)))


async def _read(hub: Hub, topic: Topic) -> bytes:
    message = await read_topic(hub, topic)
    if message is None:
        raise try_later(f"There is no view of {topic.symbol} yet.", NO_MESSAGE_RETRY_AFTER_S)
    return message


def _choice(name: str, text: str | None, default: str, allowed: Sequence[str]) -> str:
    if text is not None and text not in allowed:
        raise wrong_parameter(name, text, allowed)
    return default if text is None else text


def ladder_parameters() -> list[Json]:
    """Return the description of what `read_ladder` reads."""
    ticks = {"type": "string", "enum": list(GROUPS)}
    return [
        query("group", "Groups of so many ticks, or those that fill the rows; without it the view.", ticks),
        query(
            "rows", f"With `group`: rows a side, {ROWS_DEFAULT} by default.", {"type": "integer", "enum": list(ROWS)}
        ),
    ]


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    notional = {"type": "string", "pattern": f"^{NOTIONAL}$"}
    return {
        "/api/cost": get(
            "What it costs to buy and to sell for a sum now, over all that is known of the book.",
            {"200": answer("The message of the topic.", topic_message(schemas, "cost"))}
            | problems(schemas, {400: WRONG_PARAMETER, 404: UNKNOWN_SYMBOL, 503: "There is no view yet."}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("notional", "A sum of the quote asset, as its only decimal.", notional, required=True),
        )
    }
