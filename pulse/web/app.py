"""The ASGI app: all routes, exception handlers and the middleware around them. It handles no request itself."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from pulse.errors import RequestError, StoreUnavailable
from pulse.web.access import OperatorOnly, RoleCheck
from pulse.web.api import openapi, status
from pulse.web.context import WebContext
from pulse.web.hosts import HostCheck, accepted_names
from pulse.web.problems import on_crash, on_http_exception, on_request_error, on_store_unavailable
from pulse.web.request_ids import HEADER, RequestIds
from pulse.web.static_files import SHARED_PATHS, PageFiles, SecurityHeaders

PREFLIGHT_MAX_AGE_S = 600


EXCEPTION_HANDLERS = {
    RequestError: on_request_error,
    HTTPException: on_http_exception,
    StoreUnavailable: on_store_unavailable,
    Exception: on_crash,
}


def build_app(context: WebContext) -> ASGIApp:
    """Return the ASGI app that serves this terminal."""
    files = PageFiles(context.static_dir)
    app = Starlette(routes=_routes(context, files), exception_handlers=EXCEPTION_HANDLERS)
    origins = context.settings.allowed_origins
    checked = RoleCheck(app, context.access, files.paths)
    served = SharedPaths(checked, origins) if origins else checked
    return RequestIds(SecurityHeaders(HostCheck(served, accepted_names(context.settings)), origins))


def build_operator_app(context: WebContext) -> ASGIApp:
    """Return the ASGI app of the operator's own listener: the state of the process, with all details."""
    app = Starlette(routes=status.process_routes(context), exception_handlers=EXCEPTION_HANDLERS)
    return RequestIds(SecurityHeaders(HostCheck(OperatorOnly(app), accepted_names(context.settings)), ()))


class SharedPaths:
    """ASGI middleware: pages of the allowed origins may read the paths of the API, and no other (CORS)."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._shared = CORSMiddleware(
            app, origins, allow_headers=["Authorization"], expose_headers=["ETag", "Link", "Retry-After", HEADER],
            max_age=PREFLIGHT_MAX_AGE_S,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket or the lifespan."""
        is_shared = scope["type"] == "http" and scope["path"].startswith(SHARED_PATHS)
        await (self._shared if is_shared else self._app)(scope, receive, send)


def _routes(context: WebContext, files: PageFiles) -> list[BaseRoute]:
    """Return all routes. WebSockets and event streams are admitted one by one; the page's files are not limited."""
    websockets = context.websockets
    return [
        WebSocketRoute("/ws", websockets.serve_topics),
        WebSocketRoute("/ws/orderbook", websockets.serve_view),
        WebSocketRoute("/ws/orderbook/{symbol}", websockets.serve_view),
        WebSocketRoute("/{path:path}", _unknown_websocket),
        Route("/sse", context.sse.serve, methods=["GET"]),
        *(route for group in openapi.GROUPS for route in group.routes(context)),
        *openapi.routes(context),
        _PageMount("/", files),
    ]


class _PageMount(Mount):
    """The page's files, which are only read: the routes before it answer other methods, with those that they have."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether this is a request for a file."""
        match, child_scope = super().matches(scope)
        is_read = scope.get("method") in ("GET", "HEAD")
        return match if is_read or match is Match.NONE else Match.PARTIAL, child_scope


async def _unknown_websocket(_: WebSocket) -> None:
    raise HTTPException(HTTPStatus.NOT_FOUND)
