"""The page's static files with their cache headers, and the security headers of every answer of the app.

It does not know what the files contain.
"""

import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulse.server.http1 import SECURITY_HEADERS

SHARED_PATHS = ("/api/", "/orderbook", "/udf/", "/openapi.json", "/asyncapi.json", "/sse")
"""Paths that other sites may use if PULSE_ALLOWED_ORIGINS names any."""
START_MESSAGES = ("http.response.start", "websocket.http.response.start", "websocket.accept")

PAGE_SUFFIXES = (".html", ".js", ".mjs", ".css", ".svg", ".png")
LICENCES = ("LICENSE", "NOTICE")
"""How the names of vendored libraries' licences begin, which must come with the libraries."""
REVALIDATE = "no-cache"  # cached but revalidated on each use, which an ETag makes cheap
IMMUTABLE = "public, max-age=31536000, immutable"  # a vendored file has its version in its path


def is_page_file(path: Path) -> bool:
    """Return whether a file is the page's: what maintains the folder's files lies beside them."""
    return path.suffix in PAGE_SUFFIXES or path.name.startswith(LICENCES)


def page_paths(folder: Path) -> frozenset[str]:
    """Return the paths of the page's files: they are everyone's, so that the page can ask for a token."""
    return frozenset(_page_paths(folder))


def _page_paths(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*"):
        path = f"/{file.relative_to(folder).as_posix()}"
        if file.is_file() and is_page_file(file):
            yield path
            if file.name == "index.html":
                yield path.removesuffix("index.html")


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
    """The page's files in `static/`, each with an ETag and Cache-Control."""

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return a file, or 304 if the client has the same. Raises HTTPException for one that is not the page's."""
        if not is_page_file(Path(full_path)):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_vendored = scope["path"].startswith("/vendor/")
        response.headers["Cache-Control"] = IMMUTABLE if is_vendored else REVALIDATE
        return response
