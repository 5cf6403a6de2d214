"""The simulated exchange's REST side: paths, parameters, weights and error bodies as Binance.US documents them.

It asks the pure exchange for every answer and consults the faults first. Two paths of our own, under /simulator/,
tell the truth to whoever checks a picture from another process.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from pulse.simulator.exchange import TRUTH_LEVELS, Exchange
from pulse.simulator.faults import Faults, RestFault
from pulse.simulator.limits import WeightAccount, depth_weight

LIMIT_MAX = 1000  # rows of klines, aggTrades and trades
DEPTH_LIMIT_MAX = 5000
SYMBOLS_MAX = 1000  # names in one exchangeInfo request
REQUESTS_KEPT = 1000
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)

_MESSAGES = {
    403: (0, "Forbidden"),
    429: (-1003, "Too much request weight used; please use WebSocket Streams for live updates."),
    418: (-1003, "Way too much request weight used; IP banned until {until}."),
    451: (0, "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use."),
}

Parameters = Mapping[str, str]


class Request(NamedTuple):
    """One REST request that was answered, for tests that count them."""

    at_ms: int  # the exchange's clock
    path: str
    query: str
    status: int


class _RefusalError(Exception):
    """An error answer in the exchange's shape."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Rest:
    """The handlers. `requests` are the newest ones answered."""

    def __init__(self, core: Exchange, account: WeightAccount, faults: Faults) -> None:
        self._core = core
        self._account = account
        self._faults = faults
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)

    def routes(self) -> list[web.RouteDef]:
        """Every path it serves."""
        views: dict[str, tuple[Callable[[Parameters], int], Callable[[Parameters], Any]]] = {
            "/api/v3/ping": (_weighs(1), lambda parameters: {}),
            "/api/v3/time": (_weighs(1), lambda parameters: {"serverTime": self._core.now_ms}),
            "/api/v3/exchangeInfo": (_weighs(10), self._exchange_info),
            "/api/v3/ticker/price": (_weighs(2), lambda parameters: self._core.prices()),
            "/api/v3/depth": (_depth_request_weight, self._depth),
            "/api/v3/klines": (_weighs(1), self._klines),
            "/api/v3/aggTrades": (_weighs(1), self._agg_trades),
            "/api/v3/trades": (_weighs(1), self._trades),
        }
        truth = {"/simulator/book": self._true_book, "/simulator/klines": self._true_klines}
        return [
            *(web.get(path, self._handler(*view)) for path, view in views.items()),
            *(web.get(path, _truth_handler(view)) for path, view in truth.items()),
        ]

    def _handler(
        self, weigh: Callable[[Parameters], int], view: Callable[[Parameters], Any]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            fault = self._faults.rest.next(request.path)
            if fault is not None and fault.hang_s:
                await asyncio.sleep(fault.hang_s)
            weight = weigh(request.query)
            response = self._answer(request.query, weight, view, fault)
            response.headers["X-MBX-USED-WEIGHT"] = str(self._account.used)
            response.headers["X-MBX-USED-WEIGHT-1M"] = str(self._account.used)
            self.requests.append(Request(self._core.now_ms, request.path, request.query_string, response.status))
            return response

        return handle

    def _answer(
        self, parameters: Parameters, weight: int, view: Callable[[Parameters], Any], fault: RestFault | None
    ) -> web.Response:
        if fault is not None and fault.status:
            return _forced(fault, self._core.now_ms)
        charge = self._account.charge(weight, self._core.now_ms)
        if charge.status != 200:
            return _error(charge.status, charge.retry_after_s, charge.banned_until_ms)
        return _viewed(view, parameters, fault.change if fault is not None else None)

    # the views

    def _exchange_info(self, parameters: Parameters) -> Any:
        if "symbols" in parameters and "symbol" in parameters:
            raise _RefusalError(-1128, "Combination of optional parameters invalid.")
        if "symbols" in parameters:
            return self._core.exchange_info([self._listed(s) for s in _names(parameters["symbols"])])
        if "symbol" in parameters:
            return self._core.exchange_info([self._symbol(parameters)])
        return self._core.exchange_info()

    def _depth(self, parameters: Parameters) -> Any:
        symbol, limit = self._symbol(parameters), _limit(parameters, 100, DEPTH_LIMIT_MAX)
        return self._core.depth(symbol, limit, self._faults.depth_lag_ms)

    def _klines(self, parameters: Parameters) -> Any:
        symbol = self._symbol(parameters)
        if "interval" not in parameters:
            raise _missing("interval")
        if parameters["interval"] != "1m":  # the only one that the simulator keeps
            raise _RefusalError(-1120, "Invalid interval.")
        start_ms, end_ms = _whole(parameters, "startTime"), _whole(parameters, "endTime")
        return self._core.klines(symbol, start_ms, end_ms, _limit(parameters, 500, LIMIT_MAX))

    def _agg_trades(self, parameters: Parameters) -> Any:
        symbol, from_id = self._symbol(parameters), _whole(parameters, "fromId")
        start_ms, end_ms = _whole(parameters, "startTime"), _whole(parameters, "endTime")
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise _RefusalError(-1128, "Combination of optional parameters invalid.")
        limit = _limit(parameters, 500, LIMIT_MAX)
        return self._core.agg_trades(symbol, from_id=from_id, start_ms=start_ms, end_ms=end_ms, limit=limit)

    def _trades(self, parameters: Parameters) -> Any:
        return self._core.trades(self._symbol(parameters), _limit(parameters, 500, LIMIT_MAX))

    def _true_book(self, parameters: Parameters) -> Any:
        symbol, update_id = self._symbol(parameters), _whole(parameters, "update_id")
        if update_id is None:
            update_id = self._core.truth(symbol).update_id
        truth = self._core.truth_at(symbol, update_id, _limit(parameters, TRUTH_LEVELS, DEPTH_LIMIT_MAX))
        if truth is None:
            raise _RefusalError(0, f"The book at update {update_id} is forgotten, or still to come.", 404)
        return {"symbol": symbol, "updateId": truth.update_id, "bids": truth.bids, "asks": truth.asks}

    def _true_klines(self, parameters: Parameters) -> Any:
        return self._core.klines(self._symbol(parameters))

    def _symbol(self, parameters: Parameters) -> str:
        if not parameters.get("symbol"):
            raise _missing("symbol")
        return self._listed(parameters["symbol"])

    def _listed(self, symbol: str) -> str:
        if symbol not in self._core.symbols:
            raise _RefusalError(-1121, "Invalid symbol.")
        return symbol


def _viewed(
    view: Callable[[Parameters], Any], parameters: Parameters, change: Callable[[Any], Any] | None = None
) -> web.Response:
    try:
        body = view(parameters)
    except _RefusalError as refusal:
        return _json({"code": refusal.code, "msg": str(refusal)}, refusal.status)
    return _json(body if change is None else change(body))


def _truth_handler(view: Callable[[Parameters], Any]) -> Callable[[web.Request], Any]:
    """The truth costs no weight and knows no faults."""

    async def handle(request: web.Request) -> web.Response:
        return _viewed(view, request.query)

    return handle


def _weighs(weight: int) -> Callable[[Parameters], int]:
    return lambda parameters: weight


def _depth_request_weight(parameters: Parameters) -> int:
    text = parameters.get("limit", "100")
    return depth_weight(int(text)) if _WHOLE.fullmatch(text) else 1


def _missing(name: str) -> _RefusalError:
    return _RefusalError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _whole(parameters: Parameters, name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not _WHOLE.fullmatch(text):
        raise _RefusalError(-1100, f"Illegal characters found in parameter '{name}'.")
    return int(text)


def _limit(parameters: Parameters, usual: int, most: int) -> int:
    limit = _whole(parameters, "limit")
    if limit == 0:
        raise _RefusalError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(usual if limit is None else limit, most)


def _names(text: str) -> list[str]:
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names[:SYMBOLS_MAX]):
        raise _RefusalError(-1100, "Illegal characters found in parameter 'symbols'.")
    return names[:SYMBOLS_MAX]


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _error(status: int, retry_after_s: int | None, until_ms: int = 0) -> web.Response:
    code, message = _MESSAGES.get(status, (-1000, "An unknown error occurred while processing the request."))
    response = _json({"code": code, "msg": message.format(until=until_ms)}, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _forced(fault: RestFault, now_ms: int) -> web.Response:
    if fault.body is None:
        until_ms = now_ms + 1000 * (fault.retry_after_s or 0)
        return _error(fault.status, fault.retry_after_s, until_ms)
    response = web.Response(body=fault.body, status=fault.status, content_type=fault.content_type)
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = str(fault.retry_after_s)
    return response
