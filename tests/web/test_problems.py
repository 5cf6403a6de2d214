"""Errors as RFC 9457 responses."""

from http import HTTPStatus
from typing import Any

import orjson
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from pulse.errors import RequestError, StoreUnavailable, wrong_parameter
from pulse.web.problems import on_crash, on_http_exception, on_request_error, on_store_unavailable

CONNECTION: HTTPConnection[Any] = HTTPConnection({"type": "http", "headers": []})


async def test_problem_has_the_standard_members() -> None:
    """Every problem has the members of RFC 9457 and its media type, and is not cached."""
    response = await on_request_error(CONNECTION, RequestError(HTTPStatus.NOT_FOUND, "There is no such thing."))

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert orjson.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such thing.",
    }


async def test_wrong_parameter_has_its_name_and_allowed_values() -> None:
    """Values are listed as text, whatever their type."""
    response = await on_request_error(CONNECTION, wrong_parameter("depth", "7", (1, 5)))
    body = orjson.loads(bytes(response.body))

    assert response.status_code == 400
    assert (body["parameter"], body["allowed"]) == ("depth", ["1", "5"])


async def test_wrong_parameter_has_a_description_of_its_values() -> None:
    """A phrase stays a phrase."""
    response = await on_request_error(CONNECTION, wrong_parameter("limit", "0", "a whole number"))

    assert orjson.loads(bytes(response.body))["allowed"] == "a whole number"


@pytest.mark.parametrize("parameter", [None, "topics"])
async def test_passing_error_has_retry_after(parameter: str | None) -> None:
    """It names no parameter: nothing in the request is wrong."""
    error = RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "Not yet.", parameter=parameter, allowed=(), retry_after_s=7)
    response = await on_request_error(CONNECTION, error)

    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert "parameter" not in orjson.loads(bytes(response.body))


async def test_unavailable_store_hides_its_reason() -> None:
    """The reason may name a path or an address."""
    response = await on_store_unavailable(CONNECTION, StoreUnavailable("the disk at /secret is full"))

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert b"secret" not in bytes(response.body)


async def test_crash_hides_its_reason() -> None:
    """The exception is logged, not sent."""
    response = await on_crash(CONNECTION, RuntimeError("at /secret"))

    assert response.status_code == 500
    assert b"secret" not in bytes(response.body)


async def test_starlettes_own_error_has_the_same_shape() -> None:
    """An HTTPException of the framework keeps its headers."""
    response = await on_http_exception(CONNECTION, HTTPException(405, headers={"Allow": "GET"}))

    assert response.headers["allow"] == "GET"
    assert orjson.loads(bytes(response.body))["title"] == "Method Not Allowed"
