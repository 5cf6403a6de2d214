"""The page's static files with their cache headers, and the security headers of every answer of the app.

It does not know what the files contain.
"""

import os
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulse.server.http1 import SECURITY_HEADERS

SHARED_PATHS = ("/api/", "/orderbook", "/udf/", "/openapi.json", "/asyncapi.json", "/sse")
"""Paths that other sites may use if PULSE_ALLOWED_ORIGINS names any."""
START_MESSAGES = ("http.response.start", "websocket.http.response.start", "websocket.accept")

REVALIDATE = "no-cache"  # cached but revalidated on each use, which an ETag makes cheap
IMMUTABLE = "public, max-age=31536000, immutable"  # a vendored file has its version in its path


class SecurityHeaders:
    """Outermost ASGI middleware: adds the headers to every answer, errors and refused WebSockets included."""

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str]) -> None:
        self._app = app
        self._is_shared = bool(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in START_MESSAGES:
                self._add_headers(message, scope["path"])
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add_headers(self, message: Message, path: str) -> None:
        message["headers"] = list(message.get("headers", ()))
        headers = MutableHeaders(scope=message)
        headers.update(SECURITY_HEADERS)
        if self._is_shared and path.startswith(SHARED_PATHS):
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"


class PageFiles(StaticFiles):
    """The files of `static/`, each with an ETag and Cache-Control."""

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return a file, or 304 if the client has the same."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_vendored = scope["path"].startswith("/vendor/")
        response.headers["Cache-Control"] = IMMUTABLE if is_vendored else REVALIDATE
        return response
