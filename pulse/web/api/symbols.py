"""GET /api/symbols: the symbols that run, what the exchange says of each, and all that may be asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.market.types import Instrument
from pulse.symbols import SymbolRegistry
from pulse.web.api.operations import answer, get
from pulse.web.api.schemas import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Json,
    Schemas,
    array,
    object_of,
    or_null,
    symbol_name,
)
from pulse.web.context import WebContext
from pulse.web.routing import json_response, limited

INSTRUMENT_FIELDS: Mapping[str, Json] = {
    "base_asset": STRING, "quote_asset": STRING, "status": STRING, "tick_size": NUMBER, "lot_size": NUMBER,
    "price_decimals": INTEGER, "quantity_decimals": INTEGER,
}  # fmt: skip
"""What is shown of an instrument; nulls until the exchange has described it."""


@dataclass(frozen=True, slots=True)
class SymbolsReport:
    """The object of /api/symbols. `instruments` are those known; `history` returns each symbol's backfill progress."""

    venue: str
    source: str
    registry: SymbolRegistry
    states: Callable[[], Mapping[str, Mapping[str, Any]]]
    instruments: Mapping[str, Instrument]
    history: Callable[[], Mapping[str, Mapping[str, int]]]

    def __call__(self) -> dict[str, Any]:
        """Return the current state."""
        states, history = self.states(), self.history()
        return {
            "default": self.registry.default,
            "venue": self.venue,
            "source": self.source,
            "symbols": [
                {
                    "symbol": symbol, **_described(self.instruments.get(symbol)),
                    "state": states[symbol]["state"], "history": history.get(symbol),
                }
                for symbol in self.registry
            ],
            "listed": self.registry.listed,
            "is_listing_known": self.registry.is_listing_known,
        }  # fmt: skip


def _described(instrument: Instrument | None) -> dict[str, Any]:
    return {name: getattr(instrument, name, None) for name in INSTRUMENT_FIELDS}


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    middleware = limited(context.admission, compressed=True)
    return [Route("/api/symbols", partial(_symbols, context), middleware=middleware)]


async def _symbols(context: WebContext, _: Request) -> Response:
    return json_response(orjson.dumps(context.symbols()))


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    described = {name: or_null(schema) for name, schema in INSTRUMENT_FIELDS.items()}
    history = or_null(object_of({"minutes": INTEGER, "of": INTEGER}))
    symbol = schemas.named("Symbol", object_of({"symbol": STRING, **described, "state": STRING, "history": history}))
    report = object_of({
        "default": symbol_name(symbols), "venue": STRING, "source": STRING, "symbols": array(symbol),
        "listed": array(STRING), "is_listing_known": BOOLEAN,
    })  # fmt: skip
    return {"/api/symbols": get("The symbols that run.", {"200": answer("The symbols.", report)})}
