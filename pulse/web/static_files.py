"""The page's files, and the headers that keep every answer from being misused by a browser.

It knows nothing of the market; what the files contain is theirs.
"""

import os
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), "
    "microphone=(), payment=(), usb=()",
}
SHARED_PATHS = ("/api/", "/orderbook", "/udf/", "/openapi.json", "/sse")
"""What other sites may use, once PULSE_ALLOWED_ORIGINS names any."""
STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")

FRESH_EACH_TIME = "no-cache"  # kept, but asked about each time: an ETag makes that cheap
FOR_EVER = "public, max-age=31536000, immutable"  # a vendored file has its version in its path


class SecurityHeaders:
    """Outermost: adds the headers to every answer, those of errors and refused WebSockets included."""

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str]) -> None:
        self._app = app
        self._shares = bool(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] in STARTS:
                self._guard(message, scope["path"])
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _guard(self, message: Message, path: str) -> None:
        message["headers"] = list(message.get("headers", ()))
        headers = MutableHeaders(scope=message)
        headers.update(SECURITY_HEADERS)
        if self._shares and path.startswith(SHARED_PATHS):
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"


class PageFiles(StaticFiles):
    """The files of `static/`, with an ETag each and word on how long to keep them."""

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """A file, or "not modified" to who has it already."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_vendored = scope["path"].startswith("/vendor/")
        response.headers["Cache-Control"] = FOR_EVER if is_vendored else FRESH_EACH_TIME
        return response
