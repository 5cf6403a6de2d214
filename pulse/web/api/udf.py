"""The charts of others: TradingView's UDF protocol under /udf, which its library and those like it speak.

A request is answered from the same bars as /api/ohlcv. What is wrong is said as UDF says it, with HTTP's own status;
that its address asks too often is said by the door, as everywhere.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pulse.candle_history.reader import CandleReader
from pulse.errors import RequestError, StoreUnavailable, wrong_parameter
from pulse.market.intervals import INTERVALS, AggregatedCandle
from pulse.symbols import SymbolRegistry
from pulse.web.params import known_symbol, parameters_of, single, whole_number

RESOLUTIONS = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "480": "8h", "720": "12h", "1D": "1d", "1W": "1w", "1M": "1M",
}  # fmt: skip
"""Our intervals by the names that UDF has for them."""
SHORT_RESOLUTIONS = {"D": "1D", "W": "1W", "M": "1M"}
INTRADAY = [name for name in RESOLUTIONS if name.isdigit()]
EXCHANGES = {"us": "BINANCE.US", "com": "BINANCE", "vision": "BINANCE"}
"""What a venue is called in a chart; what is no exchange goes by its own name."""
BARS_MAX = 5000
FOUND_DEFAULT, FOUND_MAX = 30, 200
PRICE_DECIMALS = 2
"""Of an instrument that the exchange has not described yet."""
SECONDS = re.compile(r"-?[0-9]{1,12}", re.ASCII)

Handler = Callable[[Request], Awaitable[Response]]
Parameters = Mapping[str, Sequence[str]]


class UdfApi:
    """The routes. `catalogue` gives the object of /api/symbols."""

    def __init__(
        self, bars: CandleReader, catalogue: Callable[[], Mapping[str, Any]], registry: SymbolRegistry
    ) -> None:
        self._bars = bars
        self._roster = registry
        self._catalogue = catalogue

    def routes(self) -> list[Route]:
        """What stands below /udf."""
        handlers = {"config": self._config, "symbols": self._symbol, "search": self._search, "history": self._history}
        routes = [Route(f"/{name}", _said_as_udf(handler)) for name, handler in handlers.items()]
        return [*routes, Route("/time", self._time)]

    async def _config(self, _: Request) -> Response:
        exchange = self._exchange()
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

    async def _symbol(self, request: Request) -> Response:
        symbol = self._known(parameters_of(request))
        return _json(_symbol_info(self._entries()[symbol], self._exchange()))

    async def _search(self, request: Request) -> Response:
        parameters = parameters_of(request)
        text = (single(parameters, "query") or "").upper()
        limit = whole_number("limit", single(parameters, "limit"), FOUND_DEFAULT, FOUND_MAX)
        exchange = self._exchange()
        is_elsewhere = (single(parameters, "exchange") or exchange) != exchange
        is_other_type = (single(parameters, "type") or "crypto") != "crypto"
        found = [] if is_elsewhere or is_other_type else [
            {
                "symbol": symbol, "ticker": symbol, "full_name": f"{exchange}:{symbol}", "exchange": exchange,
                "description": _description(entry), "type": "crypto",
            }
            for symbol, entry in self._listed().items()
            if text in symbol
        ]  # fmt: skip
        return _json(found[:limit])

    async def _history(self, request: Request) -> Response:
        """The bars that open in [from, to), or with countback so many that open before `to`."""
        parameters = parameters_of(request)
        symbol = self._known(parameters)
        interval = INTERVALS[_resolution(single(parameters, "resolution"))]
        end_ms = _seconds("to", single(parameters, "to")) * 1000 - 1
        counted = single(parameters, "countback")
        count = whole_number("countback", counted, BARS_MAX, BARS_MAX)
        bars = await self._bars.read(symbol, interval, None, end_ms, count)
        if counted is not None:
            return _json(_table(bars) if bars else {"s": "no_data"})
        start_ms = _seconds("from", single(parameters, "from")) * 1000
        asked = [bar for bar in bars if bar.candle.open_time_ms >= start_ms]
        if asked or not bars:
            return _json(_table(asked) if asked else {"s": "no_data"})
        return _json({"s": "no_data", "nextTime": bars[-1].candle.open_time_ms // 1000})

    async def _time(self, _: Request) -> Response:
        return PlainTextResponse(str(int(self._bars.now_s())), headers={"Cache-Control": "no-store"})

    def _entries(self) -> dict[str, Mapping[str, Any]]:
        return {entry["symbol"]: entry for entry in self._catalogue()["symbols"]}

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        """All that may be asked for; of those that are not followed no more is known than the name."""
        return {symbol: {"symbol": symbol} for symbol in self._roster.listed} | self._entries()

    def _exchange(self) -> str:
        venue = str(self._catalogue()["venue"])
        return EXCHANGES.get(venue, venue.upper())

    def _known(self, parameters: Parameters) -> str:
        """The symbol that is asked for, with or without the exchange before it. Raises RequestError."""
        text = single(parameters, "symbol") or ""
        return known_symbol(text.removeprefix(self._exchange() + ":"), self._roster, HTTPStatus.NOT_FOUND)


def _said_as_udf(handler: Handler) -> Handler:
    async def serve(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestError as error:
            return _json({"s": "error", "errmsg": error.detail}, error.status)
        except StoreUnavailable:
            return _json(
                {"s": "error", "errmsg": "The candle store cannot be reached."}, HTTPStatus.SERVICE_UNAVAILABLE
            )

    return serve


def _json(body: Any, status: int = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, media_type="application/json")


def _symbol_info(entry: Mapping[str, Any], exchange: str) -> dict[str, Any]:
    """How a chart is to draw an instrument: prices are multiples of minmov / pricescale."""
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
    """Bars as UDF has them: a column a field, times in seconds."""
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
