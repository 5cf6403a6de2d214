"""The simulated exchange's REST API: paths, parameters, weights and error bodies as Binance.US documents them.

Every answer comes from the pure exchange, after the faults were consulted. Three paths of our own, under
/simulator/, serve time, exact book and candles to checks in another process.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from pulse.simulator.exchange import BOOK_LEVELS, Exchange
from pulse.simulator.faults import Faults, RestFault
from pulse.simulator.limits import WeightMeter, depth_weight

LIMIT_MAX = 1000  # rows of klines, aggTrades and trades
DEPTH_LIMIT_MAX = 5000
SYMBOLS_MAX = 1000  # names in one exchangeInfo request
REQUESTS_KEPT = 1000
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)

_MESSAGES = {
    403: (0, "Forbidden"),
    429: (-1003, "Too much request weight used; please use WebSocket Streams for live updates."),
    418: (-1003, "Way too much request weight used; IP banned until {until}."),
    451: (0, "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use."),
}

Parameters = Mapping[str, str]


class RequestRecord(NamedTuple):
    """One answered REST request, for tests that count them."""

    at_ms: int  # the exchange's clock
    path: str
    query: str
    status: int


class _ApiError(Exception):
    """An error answer in the exchange's shape."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class SimulatedRest:
    """The handlers. `requests` holds the newest requests answered."""

    def __init__(self, core: Exchange, meter: WeightMeter, faults: Faults) -> None:
        self._core = core
        self._meter = meter
        self._faults = faults
        self.requests: deque[RequestRecord] = deque(maxlen=REQUESTS_KEPT)

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        views: dict[str, tuple[Callable[[Parameters], int], Callable[[Parameters], Any]]] = {
            "/api/v3/ping": (_fixed_weight(1), lambda parameters: {}),
            "/api/v3/time": (_fixed_weight(1), lambda parameters: {"serverTime": self._core.now_ms}),
            "/api/v3/exchangeInfo": (_fixed_weight(10), self._exchange_info),
            "/api/v3/ticker/price": (_fixed_weight(2), lambda parameters: self._core.prices()),
            "/api/v3/ticker/24hr": (_day_ticker_weight, self._day_tickers),
            "/api/v3/depth": (_depth_request_weight, self._depth),
            "/api/v3/klines": (_fixed_weight(1), self._klines),
            "/api/v3/aggTrades": (_fixed_weight(1), self._agg_trades),
            "/api/v3/trades": (_fixed_weight(1), self._trades),
        }
        state: dict[str, Callable[[Parameters], Any]] = {
            "/simulator/time": lambda parameters: {"serverTime": self._core.now_ms},
            "/simulator/book": self._exact_book,
            "/simulator/klines": self._all_klines,
        }
        return [
            *(web.get(path, self._handler(*view)) for path, view in views.items()),
            *(web.get(path, _uncounted_handler(view)) for path, view in state.items()),
        ]

    def _handler(
        self, weight_of: Callable[[Parameters], int], view: Callable[[Parameters], Any]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            fault = self._faults.rest.next_for(request.path)
            if fault is not None and fault.hang_s:
                await asyncio.sleep(fault.hang_s)
            weight = weight_of(request.query)
            response = self._answer(request.query, weight, view, fault)
            response.headers["X-MBX-USED-WEIGHT"] = str(self._meter.used)
            response.headers["X-MBX-USED-WEIGHT-1M"] = str(self._meter.used)
            self.requests.append(RequestRecord(self._core.now_ms, request.path, request.query_string, response.status))
            return response

        return handle

    def _answer(
        self, parameters: Parameters, weight: int, view: Callable[[Parameters], Any], fault: RestFault | None
    ) -> web.Response:
        if fault is not None and fault.status:
            return _fault_response(fault, self._core.now_ms)
        charge = self._meter.charge(weight, self._core.now_ms)
        if charge.status != 200:
            return _error(charge.status, charge.retry_after_s, charge.banned_until_ms)
        return _response_to(view, parameters, fault.edit if fault is not None else None)

    # views

    def _exchange_info(self, parameters: Parameters) -> Any:
        if "symbols" in parameters and "symbol" in parameters:
            raise _ApiError(-1128, "Combination of optional parameters invalid.")
        if "symbols" in parameters:
            return self._core.exchange_info([self._known_symbol(s) for s in _names(parameters["symbols"])])
        if "symbol" in parameters:
            return self._core.exchange_info([self._symbol(parameters)])
        return self._core.exchange_info()

    def _day_tickers(self, parameters: Parameters) -> Any:
        if "symbol" in parameters:
            return self._core.day_tickers([self._symbol(parameters)])[0]
        return self._core.day_tickers(self._core.symbols)

    def _depth(self, parameters: Parameters) -> Any:
        symbol, limit = self._symbol(parameters), _limit(parameters, 100, DEPTH_LIMIT_MAX)
        return self._core.depth(symbol, limit, self._faults.depth_lag_ms)

    def _klines(self, parameters: Parameters) -> Any:
        symbol = self._symbol(parameters)
        if "interval" not in parameters:
            raise _missing("interval")
        if parameters["interval"] != "1m":  # the only interval that the simulator keeps
            raise _ApiError(-1120, "Invalid interval.")
        start_ms, end_ms = _integer(parameters, "startTime"), _integer(parameters, "endTime")
        return self._core.klines(symbol, start_ms, end_ms, _limit(parameters, 500, LIMIT_MAX))

    def _agg_trades(self, parameters: Parameters) -> Any:
        symbol, from_id = self._symbol(parameters), _integer(parameters, "fromId")
        start_ms, end_ms = _integer(parameters, "startTime"), _integer(parameters, "endTime")
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise _ApiError(-1128, "Combination of optional parameters invalid.")
        limit = _limit(parameters, 500, LIMIT_MAX)
        return self._core.agg_trades(symbol, from_id=from_id, start_ms=start_ms, end_ms=end_ms, limit=limit)

    def _trades(self, parameters: Parameters) -> Any:
        return self._core.trades(self._symbol(parameters), _limit(parameters, 500, LIMIT_MAX))

    def _exact_book(self, parameters: Parameters) -> Any:
        symbol, update_id = self._symbol(parameters), _integer(parameters, "update_id")
        if update_id is None:
            update_id = self._core.book(symbol).update_id
        state = self._core.book_at(symbol, update_id, _limit(parameters, BOOK_LEVELS, DEPTH_LIMIT_MAX))
        if state is None:
            raise _ApiError(0, f"The book at update {update_id} is no longer kept, or in the future.", 404)
        return {"symbol": symbol, "updateId": state.update_id, "bids": state.bids, "asks": state.asks}

    def _all_klines(self, parameters: Parameters) -> Any:
        start_ms, limit = (
            _integer(parameters, "startTime"),
            _limit(parameters, self._core.candles_max, self._core.candles_max),
        )
        return self._core.klines(self._symbol(parameters), start_ms, limit=limit)

    def _symbol(self, parameters: Parameters) -> str:
        if not parameters.get("symbol"):
            raise _missing("symbol")
        return self._known_symbol(parameters["symbol"])

    def _known_symbol(self, symbol: str) -> str:
        if symbol not in self._core.symbols:
            raise _ApiError(-1121, "Invalid symbol.")
        return symbol


def _response_to(
    view: Callable[[Parameters], Any], parameters: Parameters, edit: Callable[[Any], Any] | None = None
) -> web.Response:
    try:
        body = view(parameters)
    except _ApiError as error:
        return _json({"code": error.code, "msg": str(error)}, error.status)
    return _json(body if edit is None else edit(body))


def _uncounted_handler(view: Callable[[Parameters], Any]) -> Callable[[web.Request], Any]:
    """Return a handler that charges no weight and ignores the faults."""

    async def handle(request: web.Request) -> web.Response:
        return _response_to(view, request.query)

    return handle


def _fixed_weight(weight: int) -> Callable[[Parameters], int]:
    return lambda parameters: weight


def _day_ticker_weight(parameters: Parameters) -> int:
    return 1 if "symbol" in parameters else 40


def _depth_request_weight(parameters: Parameters) -> int:
    text = parameters.get("limit", "100")
    return depth_weight(int(text)) if _INTEGER.fullmatch(text) else 1


def _missing(name: str) -> _ApiError:
    return _ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _integer(parameters: Parameters, name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise _ApiError(-1100, f"Illegal characters found in parameter '{name}'.")
    return int(text)


def _limit(parameters: Parameters, default: int, maximum: int) -> int:
    limit = _integer(parameters, "limit")
    if limit == 0:
        raise _ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(default if limit is None else limit, maximum)


def _names(text: str) -> list[str]:
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names[:SYMBOLS_MAX]):
        raise _ApiError(-1100, "Illegal characters found in parameter 'symbols'.")
    return names[:SYMBOLS_MAX]


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _error(status: int, retry_after_s: int | None, until_ms: int = 0) -> web.Response:
    code, message = _MESSAGES.get(status, (-1000, "An unknown error occurred while processing the request."))
    response = _json({"code": code, "msg": message.format(until=until_ms)}, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _fault_response(fault: RestFault, now_ms: int) -> web.Response:
    if fault.body is None:
        until_ms = now_ms + 1000 * (fault.retry_after_s or 0)
        return _error(fault.status, fault.retry_after_s, until_ms)
    response = web.Response(body=fault.body, status=fault.status, content_type=fault.content_type)
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = str(fault.retry_after_s)
    return response
