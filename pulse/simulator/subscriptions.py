"""What one connection listens to, and the control messages that change it: text in, the exchange's answer out.

It knows no socket. Names of streams are not checked, because the exchange does not check them either: a stream that
does not exist is accepted and stays silent.
"""

import re
from typing import Any, NamedTuple

import orjson

STREAMS_MAX = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)


class Reply(NamedTuple):
    """What to send back; `close` when the connection must end for what it asked."""

    text: bytes
    close: bool = False


class _BadRequestError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Subscriptions:
    """The streams of a connection, in the order asked, and whether events come wrapped with their stream's name."""

    def __init__(self, streams: tuple[str, ...], combined: bool) -> None:
        self.streams = dict.fromkeys(streams)
        self.combined = combined

    @property
    def too_many(self) -> bool:
        """More streams than one connection may have."""
        return len(self.streams) > STREAMS_MAX

    def handle(self, text: str, nested_errors: bool = False) -> Reply:
        """Obey a control message. Errors come flat, or under `error` as some of the exchange's servers send them."""
        request_id: Any = None
        try:
            request = _parsed(text)
            request_id = _checked_id(request.get("id"))
            result = self._obey(request.get("method"), request.get("params", []))
        except _BadRequestError as fault:
            error = {"code": fault.code, "msg": str(fault)}
            body = {"error": error, "id": request_id} if nested_errors else error | {"id": request_id}
            return Reply(orjson.dumps(body))
        return Reply(orjson.dumps({"result": result, "id": request_id}), self.too_many)

    def _obey(self, method: Any, params: Any) -> Any:
        if method not in METHODS:
            expected = ", ".join(f"`{name}`" for name in METHODS)
            raise _BadRequestError(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if not isinstance(params, list) or not params:
            raise _BadRequestError(2, "Invalid request: expected a non-empty array of params")
        if method.endswith("_PROPERTY"):
            return self._property(params, sets=method == "SET_PROPERTY")
        if not all(isinstance(name, str) and len(name) <= 256 for name in params):
            raise _BadRequestError(2, "Invalid request: expected params to be names of streams")
        for name in params[: STREAMS_MAX + 1]:
            if method == "SUBSCRIBE":
                self.streams[name] = None
            else:
                self.streams.pop(name, None)
        return None

    def _property(self, params: list[Any], sets: bool) -> bool | None:
        if params[0] != "combined":
            raise _BadRequestError(0, "Unknown property")
        if not sets:
            return self.combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _BadRequestError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None


def _parsed(text: str) -> dict[str, Any]:
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _BadRequestError(3, "Invalid JSON: expected value") from None
    if not isinstance(request, dict):
        raise _BadRequestError(2, "Invalid request: expected an object")
    return request


def _checked_id(request_id: Any) -> int | str | None:
    """An id is a whole number of 64 bits, a short alphanumeric string, or null."""
    if request_id is None or (type(request_id) is int and abs(request_id) < 2**63):
        return request_id
    if isinstance(request_id, str) and _ID.fullmatch(request_id):
        return request_id
    raise _BadRequestError(2, "Invalid request: expected an unsigned integer as request ID")
