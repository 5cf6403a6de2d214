"""Errors as clients read them: RFC 9457 problem details, in one shape for every route and every refused WebSocket.

It knows how to say what is wrong, not what is.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
SHOWN_MAX = 60
"""How much of a wrong value is repeated to who sent it."""


class Problem(HTTPException):
    """What a client is told in place of what it asked for: `detail` in a sentence, and for a wrong parameter its
    name and what it may be.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        parameter: str | None = None,
        allowed: Sequence[str] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.parameter = parameter
        self.allowed = allowed


def wrong_parameter(
    name: str, value: str, allowed: Sequence[str] | str, status: HTTPStatus = HTTPStatus.BAD_REQUEST
) -> Problem:
    """The problem of a parameter that has this value and should have been one of those `allowed`, or like it says."""
    shown = repr(value if len(value) <= SHOWN_MAX else value[: SHOWN_MAX - 3] + "...")
    expected = allowed if isinstance(allowed, str) else "one of " + ", ".join(allowed)
    return Problem(status, f"{name} must be {expected}, not {shown}.", parameter=name, allowed=allowed)


def try_later(detail: str, retry_after_s: int, status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE) -> Problem:
    """The problem of something that is not to be had now, and when to ask again."""
    return Problem(status, detail, headers={"Retry-After": str(retry_after_s)})


def problem_response(problem: HTTPException) -> Response:
    """Say it as a response. Starlette sends the same one to a WebSocket that was not accepted."""
    status = HTTPStatus(problem.status_code)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": problem.detail,
    }
    if isinstance(problem, Problem) and problem.parameter is not None:
        body["parameter"] = problem.parameter
        body["allowed"] = problem.allowed
    headers = dict(problem.headers or {}) | {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, media_type=MEDIA_TYPE)


async def on_problem(_: HTTPConnection[Any], fault: Exception) -> Response:
    """Starlette's handler for every HTTPException, its own for unknown routes and wrong methods included."""
    assert isinstance(fault, HTTPException)  # noqa: S101  # it is registered for no other
    return problem_response(fault)


async def on_store_unavailable(_: HTTPConnection[Any], __: Exception) -> Response:
    """Starlette's handler for StoreUnavailable."""
    return problem_response(try_later("The candle store cannot be reached; the live feed goes on.", 5))


async def on_crash(_: HTTPConnection[Any], __: Exception) -> Response:
    """Starlette's handler for what nobody foresaw. It tells nothing of it: Hypercorn logs the exception."""
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke here; it has been logged."))
