"""The page's static files with their cache headers, and the security headers of every answer of the app.

It does not know what the files contain.
"""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulse.server.http1 import SECURITY_HEADERS
from pulse.web.page_assets import Asset, read_page
from pulse.web.routing import accepts_gzip, is_known

SHARED_PATHS = ("/api/", "/orderbook", "/udf/", "/openapi.json", "/asyncapi.json", "/sse")
"""Paths that other sites may use if PULSE_ALLOWED_ORIGINS names any."""
START_MESSAGES = ("http.response.start", "websocket.http.response.start", "websocket.accept")


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


class PageFiles:
    """ASGI app: the files of the page, each with an ETag and Cache-Control, compressed for clients that take gzip."""

    def __init__(self, folder: Path) -> None:
        self._assets = read_page(folder)

    @property
    def paths(self) -> frozenset[str]:
        """The paths that it serves: they are everyone's, so that the page can ask for a token."""
        return frozenset(self._assets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file, or 304 if the client has the same. Raises HTTPException: 404, or 405 for what does not read."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        asset = self._assets.get(scope["path"])
        if asset is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        await _answer(asset, Headers(scope=scope))(scope, receive, send)


def _answer(asset: Asset, asked: Headers) -> Response:
    gzipped = asset.gzipped if accepts_gzip(asked) else None
    # Bodies that differ in any byte need different strong tags (RFC 9110, 8.8.1).
    tag = f'"{asset.tag}"' if gzipped is None else f'"{asset.tag}-gzip"'
    headers = {"Cache-Control": asset.cache_control, "ETag": tag}
    if asset.gzipped is not None:
        headers["Vary"] = "Accept-Encoding"
    if is_known(asked, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if gzipped is None:
        return Response(asset.plain, headers=headers, media_type=asset.media_type)
    return Response(gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)
