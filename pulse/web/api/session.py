"""/api/session: the client's role, the start of a session with a token, and its end.

The page's way in: a cookie that no script can read takes the token's place. Pages of other origins send the token with
each request instead, and ask here whether it is right.
"""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse.errors import RequestError
from pulse.settings import TOKEN_CHARS_MAX
from pulse.web.access import COOKIE, SESSION_PATH, SESSION_S, Role, role_of
from pulse.web.admission import origin_is_allowed
from pulse.web.api.operations import answer, problems
from pulse.web.api.schemas import BOOLEAN, Json, Schemas, object_of
from pulse.web.context import WebContext
from pulse.web.routing import NO_STORE, json_response, limited

BODY_BYTES_MAX = 1024
BODY_TIMEOUT_S = 5.0
"""How long the body of a request may take: it fits in one segment."""
EXPECTED = 'The body must be a JSON object such as {"token": "..."}.'
TOKEN_PATTERN = f"^[!-~]{{1,{TOKEN_CHARS_MAX}}}$"
TOKEN = re.compile(TOKEN_PATTERN, re.ASCII)
NO_TOKEN = f"A token is 1 to {TOKEN_CHARS_MAX} printable ASCII characters without spaces."


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's route."""
    methods = ["GET", "POST", "DELETE"]
    return [Route(SESSION_PATH, partial(_session, context), methods=methods, middleware=limited(context.admission))]


async def _session(context: WebContext, request: Request) -> Response:
    if request.method == "POST":
        return await _log_in(context, request)
    if request.method == "DELETE":
        return _log_out(request)
    return _who(context, request)


def _who(context: WebContext, request: Request) -> Response:
    """Answer with the client's role, and have the browser drop a cookie that is not valid.

    Each one that it goes on to send would count as a guess against all browsers of its address.
    """
    is_session = context.access.is_session(request)
    response = _report(context, role_of(request), is_session=is_session)
    if COOKIE in request.cookies and not is_session:
        _drop_cookie(request, response)
    return response


async def _log_in(context: WebContext, request: Request) -> Response:
    """Begin a session for whoever sends a token. The answer sets the cookie."""
    _check_own_page(request)
    role = context.access.log_in(request, await _read_token(request))
    response = _report(context, role, is_session=True)
    response.set_cookie(
        COOKIE, context.access.new_session(role), SESSION_S, secure=_is_https(request), httponly=True, samesite="strict"
    )
    return response


def _log_out(request: Request) -> Response:
    """Have the browser drop the cookie."""
    _check_own_page(request)
    response = Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)
    _drop_cookie(request, response)
    return response


def _drop_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(COOKIE, secure=_is_https(request), httponly=True, samesite="strict")


def _report(context: WebContext, role: Role, *, is_session: bool) -> Response:
    report = {"role": role.name.lower(), "token_needed": context.access.is_token_needed, "session": is_session}
    return json_response(orjson.dumps(report))


def _check_own_page(request: Request) -> None:
    if not origin_is_allowed(request.headers.get("origin"), request.headers.get("host", ""), ()):
        raise RequestError(
            HTTPStatus.FORBIDDEN, "A session is for the server's own page; others send the token with each request."
        )


def _is_https(request: Request) -> bool:
    """Return whether the browser came by HTTPS: its page's origin says so, or the proxy that ended TLS."""
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return request.headers.get("origin", "").startswith("https://") or forwarded.lower() == "https"


async def _read_token(request: Request) -> str:
    """Return the token in a request's body. Raises RequestError."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _bounded_body(request)
    except TimeoutError:
        detail = f"The body did not come within {BODY_TIMEOUT_S:g} s."
        raise RequestError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except ClientDisconnect:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The connection ended within the body.") from None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict) or message.keys() != {"token"}:
        raise RequestError(HTTPStatus.BAD_REQUEST, EXPECTED)
    token = message["token"]
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise RequestError(HTTPStatus.BAD_REQUEST, NO_TOKEN)
    return token


async def _bounded_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            detail = f"The body must be at most {BODY_BYTES_MAX} bytes."
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return body


def paths(schemas: Schemas, _: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    roles = {"type": "string", "enum": [role.name.lower() for role in Role]}
    session = schemas.named("Session", object_of({"role": roles, "token_needed": BOOLEAN, "session": BOOLEAN}))
    token = object_of({"token": {"type": "string", "pattern": TOKEN_PATTERN}})
    other_page = problems(schemas, {403: "The page is of another origin."})
    wrong = problems(
        schemas,
        {
            400: "The body is no such object.", 401: "The token is wrong.", 408: "The body came too slowly.",
            409: "This server has no tokens.", 413: "The body is too large.",
        },
    )  # fmt: skip
    return {
        SESSION_PATH: {
            "get": {
                "summary": "Who the client is: `session` says whether a cookie made it so.",
                "parameters": [],
                "responses": {"200": answer("The client's role.", session)},
            },
            "post": {
                "summary": "Begin a session with a token; the answer sets the cookie.",
                "parameters": [],
                "requestBody": {"required": True, "content": {"application/json": {"schema": token}}},
                "responses": {"200": answer("The role of those with this token.", session)} | other_page | wrong,
            },
            "delete": {
                "summary": "End the session in this browser.",
                "parameters": [],
                "responses": {"204": {"description": "The browser has dropped the cookie."}} | other_page,
            },
        }
    }
