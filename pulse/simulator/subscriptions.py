"""The subscriptions of one connection and the control messages that change them: text in, the exchange's reply out.

Knows no socket. Stream names are not checked, because the exchange does not check them either: an unknown stream is
accepted and stays silent.
"""

import re
from typing import Any, NamedTuple

import orjson

STREAMS_MAX = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)


class ControlReply(NamedTuple):
    """What to send back; `close` when the connection must be closed after it."""

    text: bytes
    close: bool = False


class _BadControlError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamSubscriptions:
    """The streams of a connection, in the order requested, and whether events are wrapped with their stream's name."""

    def __init__(self, streams: tuple[str, ...], combined: bool) -> None:
        self.streams = dict.fromkeys(streams)
        self.combined = combined

    @property
    def too_many(self) -> bool:
        """Whether there are more streams than one connection may have."""
        return len(self.streams) > STREAMS_MAX

    def handle(self, text: str, nested_errors: bool = False) -> ControlReply:
        """Execute a control message. Errors come flat, or under `error` as some of the exchange's servers send them."""
        request_id: Any = None
        try:
            request = _parse(text)
            request_id = _check_id(request.get("id"))
            result = self._execute(request.get("method"), request.get("params", []))
        except _BadControlError as error:
            detail = {"code": error.code, "msg": str(error)}
            body = {"error": detail, "id": request_id} if nested_errors else detail | {"id": request_id}
            return ControlReply(orjson.dumps(body))
        return ControlReply(orjson.dumps({"result": result, "id": request_id}), self.too_many)

    def _execute(self, method: Any, params: Any) -> Any:
        if method not in METHODS:
            expected = ", ".join(f"`{name}`" for name in METHODS)
            raise _BadControlError(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if not isinstance(params, list) or not params:
            raise _BadControlError(2, "Invalid request: expected a non-empty array of params")
        if method.endswith("_PROPERTY"):
            return self._property(params, sets=method == "SET_PROPERTY")
        if not all(isinstance(name, str) and len(name) <= 256 for name in params):
            raise _BadControlError(2, "Invalid request: expected params to be names of streams")
        for name in params[: STREAMS_MAX + 1]:
            if method == "SUBSCRIBE":
                self.streams[name] = None
            else:
                self.streams.pop(name, None)
        return None

    def _property(self, params: list[Any], sets: bool) -> bool | None:
        if params[0] != "combined":
            raise _BadControlError(0, "Unknown property")
        if not sets:
            return self.combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _BadControlError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None


def _parse(text: str) -> dict[str, Any]:
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _BadControlError(3, "Invalid JSON: expected value") from None
    if not isinstance(request, dict):
        raise _BadControlError(2, "Invalid request: expected an object")
    return request


def _check_id(request_id: Any) -> int | str | None:
    """Return the id when it is a whole number of 64 bits, a short alphanumeric string, or null; raise otherwise."""
    if request_id is None or (type(request_id) is int and abs(request_id) < 2**63):
        return request_id
    if isinstance(request_id, str) and _ID.fullmatch(request_id):
        return request_id
    raise _BadControlError(2, "Invalid request: expected an unsigned integer as request ID")
