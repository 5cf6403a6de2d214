"""Errors as HTTP responses: RFC 9457 problem details, one shape for every route and every refused WebSocket.

Starlette's exception handlers. They format an error; they do not decide what is one.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pulse.errors import RequestError, try_later

MEDIA_TYPE = "application/problem+json"
STORE_RETRY_AFTER_S = 5
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Pulse Terminal"'}
"""Every 401 must have one (RFC 9110, 15.5.2). Browsers ask their user for none of this scheme."""


async def on_request_error(_: HTTPConnection[Any], error: Exception) -> Response:
    """Return the response for a RequestError; Starlette sends the same one to a WebSocket that is not yet accepted."""
    assert isinstance(error, RequestError)  # noqa: S101  # it is registered for no other
    # A request that may be granted later has no wrong parameter that the client could mend.
    if error.retry_after_s is not None:
        headers = {"Retry-After": str(error.retry_after_s)}
        if error.status is HTTPStatus.TOO_MANY_REQUESTS:
            # Or one connection could go on at once: a refused request costs more than it costs its client. New
            # connections of an address have a rate, and are refused before HTTP.
            headers["Connection"] = "close"
        return _problem(error.status, error.detail, headers=headers)
    if error.parameter is None:
        headers = CHALLENGE if error.status is HTTPStatus.UNAUTHORIZED else {}
        return _problem(error.status, error.detail, headers=headers)
    allowed = error.allowed if isinstance(error.allowed, str) else [str(one) for one in error.allowed or ()]
    return _problem(error.status, error.detail, {"parameter": error.parameter, "allowed": allowed})


async def refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket that is not yet accepted, with an error from outside of Starlette's app."""
    response = await on_request_error(HTTPConnection(scope), error)
    await response(scope, receive, send)


async def on_http_exception(_: HTTPConnection[Any], error: Exception) -> Response:
    """Return the response for Starlette's own errors: unknown routes, wrong methods."""
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for no other
    return _problem(HTTPStatus(error.status_code), error.detail, headers=error.headers or {})


async def on_store_unavailable(connection: HTTPConnection[Any], _: Exception) -> Response:
    """Return the response for StoreUnavailable; its own text may name a path or an address and is not shown."""
    error = try_later("The candle store cannot be reached; the live feed goes on.", STORE_RETRY_AFTER_S)
    return await on_request_error(connection, error)


async def on_crash(_: HTTPConnection[Any], __: Exception) -> Response:
    """Return the response for an unforeseen exception. It reveals nothing: Hypercorn logs the exception."""
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke here; it has been logged.")


def _problem(
    status: HTTPStatus,
    detail: str,
    members: Mapping[str, object] = MappingProxyType({}),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Return a problem with the standard members and these more."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    return Response(orjson.dumps(body), status, {**headers, "Cache-Control": "no-store"}, media_type=MEDIA_TYPE)
