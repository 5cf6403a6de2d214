"""TradingView's UDF protocol under /udf, which its charting library and compatible ones speak.

Bars come from the same reader as /api/ohlcv. Errors have UDF's own JSON shape under the HTTP status; only the rate
limit answers with a problem, as on every other route.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from pulse.errors import RequestError, StoreUnavailable, wrong_parameter
from pulse.market.intervals import DAY_MS, INTERVALS, AggregatedCandle, Interval
from pulse.market.types import MINUTE_MS
from pulse.web.api.operations import STORE_UNAVAILABLE, answer, get, query
from pulse.web.api.schemas import INTEGER, NUMBER, STRING, Json, Schemas, array, object_of
from pulse.web.context import WebContext
from pulse.web.params import known_symbol, parameters_of, single, whole_number
from pulse.web.routing import NO_STORE, json_response, limited


def _resolution_name(interval: Interval) -> str:
    """Return the UDF name of an interval: its minutes below a day, else as Binance names it, in capitals."""
    return str(interval.length_ms // MINUTE_MS) if 0 < interval.length_ms < DAY_MS else interval.name.upper()


RESOLUTIONS = {_resolution_name(interval): name for name, interval in INTERVALS.items()}
"""Our intervals by their UDF names."""
SHORT_RESOLUTIONS = {"D": "1D", "W": "1W", "M": "1M"}
INTRADAY = [name for name in RESOLUTIONS if name.isdigit()]
EXCHANGES = {"us": "BINANCE.US", "com": "BINANCE", "vision": "BINANCE"}
"""The exchange name that a chart shows for a venue; any other venue is shown by its own name."""
BARS_MAX = 5000
FOUND_DEFAULT, FOUND_MAX = 30, 200
PRICE_DECIMALS = 2
"""Decimals of prices until the exchange has described the instrument."""
SECONDS_DIGITS = 12
SECONDS = re.compile(rf"-?[0-9]{{1,{SECONDS_DIGITS}}}", re.ASCII)

Handler = Callable[[WebContext, Request], Awaitable[Response]]
Parameters = Mapping[str, Sequence[str]]


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    handlers = {"config": _config, "symbols": _symbol, "search": _search, "history": _history}
    below = [Route(f"/{name}", partial(_with_udf_errors, handler, context)) for name, handler in handlers.items()]
    below.append(Route("/time", partial(_time, context)))
    return [Mount("/udf", routes=below, middleware=limited(context.admission, compressed=True))]


async def _with_udf_errors(handler: Handler, context: WebContext, request: Request) -> Response:
    """Return the handler's answer, or its error in UDF's shape."""
    try:
        return await handler(context, request)
    except RequestError as error:
        return _error(error.detail, error.status, error.retry_after_s)
    except StoreUnavailable:
        return _error("The candle store cannot be reached.", HTTPStatus.SERVICE_UNAVAILABLE)


def _error(text: str, status: HTTPStatus, retry_after_s: int | None = None) -> Response:
    response = json_response(orjson.dumps({"s": "error", "errmsg": text}), status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _json(body: Any) -> Response:
    return json_response(orjson.dumps(body))


async def _config(context: WebContext, _: Request) -> Response:
    exchange = _exchange(context)
    return _json(
        {
            "supported_resolutions": list(RESOLUTIONS),
            "supports_search": True,
            "supports_group_request": False,
            "supports_marks": False,
            "supports_timescale_marks": False,
            "supports_time": True,
            "exchanges": [{"value": exchange, "name": exchange, "desc": exchange}],
            "symbols_types": [{"name": "Crypto", "value": "crypto"}],
        }
    )


async def _symbol(context: WebContext, request: Request) -> Response:
    symbol = _known(context, request)
    return _json(_symbol_info(_running(context)[symbol], _exchange(context)))


async def _search(context: WebContext, request: Request) -> Response:
    parameters = parameters_of(request)
    text = (single(parameters, "query") or "").upper()
    limit = whole_number("limit", single(parameters, "limit"), FOUND_DEFAULT, FOUND_MAX)
    exchange = _exchange(context)
    is_other_exchange = (single(parameters, "exchange") or exchange) != exchange
    is_other_type = (single(parameters, "type") or "crypto") != "crypto"
    found = [] if is_other_exchange or is_other_type else [
        {
            "symbol": symbol, "ticker": symbol, "full_name": f"{exchange}:{symbol}", "exchange": exchange,
            "description": _description(entry), "type": "crypto",
        }
        for symbol, entry in _listed(context).items()
        if text in symbol
    ]  # fmt: skip
    return _json(found[:limit])


async def _history(context: WebContext, request: Request) -> Response:
    """Return the bars that open in [from, to), or the last `countback` that open before `to`; no `from` is 0."""
    parameters = parameters_of(request)
    symbol = _known(context, request)
    interval = INTERVALS[_resolution(single(parameters, "resolution"))]
    end_ms = _seconds("to", single(parameters, "to")) * 1000 - 1
    countback = single(parameters, "countback")
    count = whole_number("countback", countback, BARS_MAX, BARS_MAX)
    address = context.admission.address_of(request)
    with context.admission.reads.held(address):
        bars = await context.candles.read(symbol, interval, None, end_ms, count)
    context.admission.charge_candles(address, len(bars))
    if countback is not None:
        return _json(_table(bars) if bars else {"s": "no_data"})
    start = single(parameters, "from")
    start_ms = 0 if start is None else _seconds("from", start) * 1000
    in_range = [bar for bar in bars if bar.candle.open_time_ms >= start_ms]
    if in_range or not bars:
        return _json(_table(in_range) if in_range else {"s": "no_data"})
    return _json({"s": "no_data", "nextTime": bars[-1].candle.open_time_ms // 1000})


async def _time(context: WebContext, _: Request) -> Response:
    return PlainTextResponse(str(int(context.candles.now_s())), headers=NO_STORE)


def _running(context: WebContext) -> dict[str, Mapping[str, Any]]:
    return {entry["symbol"]: entry for entry in context.symbols()["symbols"]}


def _listed(context: WebContext) -> dict[str, Mapping[str, Any]]:
    """Return all symbols that may be asked for; of those that do not run only the name is known."""
    return {symbol: {"symbol": symbol} for symbol in context.registry.listed} | _running(context)


def _exchange(context: WebContext) -> str:
    venue = str(context.symbols()["venue"])
    return EXCHANGES.get(venue, venue.upper())


def _known(context: WebContext, request: Request) -> str:
    """Return the symbol parameter, given with or without the exchange before it. Raises RequestError."""
    text = (single(parameters_of(request), "symbol") or "").removeprefix(_exchange(context) + ":")
    return known_symbol(text, context.registry, context.admission.address_of(request))


def _symbol_info(entry: Mapping[str, Any], exchange: str) -> dict[str, Any]:
    """Return how a chart draws an instrument; prices are multiples of minmov / pricescale."""
    decimals = PRICE_DECIMALS if entry.get("price_decimals") is None else entry["price_decimals"]
    return {
        "name": entry["symbol"],
        "ticker": entry["symbol"],
        "description": _description(entry),
        "type": "crypto",
        "session": "24x7",
        "timezone": "Etc/UTC",
        "exchange": exchange,
        "listed_exchange": exchange,
        "exchange-traded": exchange,  # as older versions of the library read it
        "exchange-listed": exchange,
        "currency_code": entry.get("quote_asset"),
        "format": "price",
        "minmov": max(1, round((entry.get("tick_size") or 0) * 10**decimals)),
        "minmov2": 0,
        "pricescale": 10**decimals,
        "pointvalue": 1,
        "volume_precision": entry.get("quantity_decimals") or 0,
        "has_intraday": True,
        "intraday_multipliers": INTRADAY,
        "has_daily": True,
        "has_weekly_and_monthly": True,
        "visible_plots_set": "ohlcv",
        "supported_resolutions": list(RESOLUTIONS),
        "data_status": "streaming",
    }


def _description(entry: Mapping[str, Any]) -> str:
    base, quote = entry.get("base_asset"), entry.get("quote_asset")
    return f"{base} / {quote}" if base and quote else str(entry["symbol"])


def _resolution(text: str | None) -> str:
    name = SHORT_RESOLUTIONS.get(text or "", text or "")
    if name not in RESOLUTIONS:
        raise wrong_parameter("resolution", text or "", list(RESOLUTIONS))
    return RESOLUTIONS[name]


def _seconds(name: str, text: str | None) -> int:
    if text is None or not SECONDS.fullmatch(text):
        raise wrong_parameter(name, text or "", "whole seconds since 1970")
    return int(text)


def _table(bars: Sequence[AggregatedCandle]) -> dict[str, Any]:
    """Return bars as UDF columns, one per field, with times in seconds."""
    candles = [bar.candle for bar in bars]
    return {
        "s": "ok",
        "t": [candle.open_time_ms // 1000 for candle in candles],
        "o": [candle.open for candle in candles],
        "h": [candle.high for candle in candles],
        "l": [candle.low for candle in candles],
        "c": [candle.close for candle in candles],
        "v": [candle.volume for candle in candles],
    }


def paths(schemas: Schemas, _: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    failed = schemas.named("UdfError", object_of({"s": {"const": "error"}, "errmsg": STRING}))
    wrong, unavailable = answer("What is wrong.", failed), answer(STORE_UNAVAILABLE, failed)
    table = object_of({"s": {"const": "ok"}} | {name: array(INTEGER if name == "t" else NUMBER) for name in "tohlcv"})
    no_data = object_of({"s": {"const": "no_data"}, "nextTime": INTEGER}, optional=("nextTime",))
    found = object_of(dict.fromkeys(("symbol", "ticker", "full_name", "exchange", "description", "type"), STRING))
    config = {"type": "object", "required": ["supported_resolutions", "supports_search", "exchanges"]}
    info = {"type": "object", "required": ["name", "ticker", "minmov", "pricescale", "session", "timezone"]}
    symbol = query("symbol", "A symbol, with or without its exchange.", STRING, required=True)
    seconds_max = 10**SECONDS_DIGITS - 1
    seconds = {"type": "integer", "minimum": -seconds_max, "maximum": seconds_max}
    countback = {"type": "integer", "minimum": 1, "maximum": BARS_MAX}
    limit = {"type": "integer", "minimum": 1, "maximum": FOUND_MAX, "default": FOUND_DEFAULT}
    return {
        "/udf/config": get("TradingView's UDF: what is supported.", {"200": answer("The configuration.", config)}),
        "/udf/symbols": get(
            "UDF: how an instrument is drawn.", {"200": answer("The instrument.", info), "404": wrong}, symbol
        ),
        "/udf/search": get(
            "UDF: symbols by a part of their name.", {"200": answer("Those found.", array(found)), "400": wrong},
            query("query", "The part.", STRING), query("type", "crypto, or nothing.", STRING),
            query("exchange", "An exchange, or nothing.", STRING), query("limit", "At most so many.", limit),
        ),
        "/udf/history": get(
            "UDF: bars as columns.",
            {"200": answer("Bars, or that there are none.", {"oneOf": [table, no_data]}), "400": wrong, "404": wrong,
             "503": unavailable},
            symbol, query("resolution", "What a bar spans.", {"enum": list(RESOLUTIONS)}, required=True),
            query("from", "In seconds; without it, and with countback, bars as old as there are.", seconds),
            query("to", "In seconds, not included.", seconds, required=True),
            query("countback", "So many bars before `to`, whatever `from` says.", countback),
        ),
        "/udf/time": get("UDF: the time in seconds.", {"200": answer("Whole seconds.", STRING, "text/plain")}),
    }  # fmt: skip
