"""Errors as clients read them."""

from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException

from pulse.web.problems import Problem, problem_response, try_later, wrong_parameter


def test_a_problem_says_what_and_of_what_kind() -> None:
    """Every problem has the fields of RFC 9457 and its media type."""
    response = problem_response(Problem(HTTPStatus.NOT_FOUND, "There is no such thing."))

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert orjson.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such thing.",
    }


def test_a_wrong_parameter_names_what_is_allowed() -> None:
    """The reader needs no documentation to repair the request."""
    response = problem_response(wrong_parameter("interval", "5m", ["1m", "1h"]))
    body = orjson.loads(bytes(response.body))

    assert response.status_code == 400
    assert body["detail"] == "interval must be one of 1m, 1h, not '5m'."
    assert (body["parameter"], body["allowed"]) == ("interval", ["1m", "1h"])


def test_a_long_value_is_not_repeated_whole() -> None:
    """A hostile value does not fill the answer."""
    problem = wrong_parameter("limit", "9" * 10_000, "a number")

    assert len(problem.detail) < 120


def test_try_later_says_when() -> None:
    """A passing trouble carries Retry-After."""
    response = problem_response(try_later("Not yet.", 7))

    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"


def test_starlettes_own_errors_look_the_same() -> None:
    """An HTTPException of the framework keeps its headers and gets our shape."""
    response = problem_response(HTTPException(405, headers={"Allow": "GET"}))

    assert response.headers["allow"] == "GET"
    assert orjson.loads(bytes(response.body))["title"] == "Method Not Allowed"
