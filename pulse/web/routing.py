"""What the API's routes share: rate limit and compression as middleware, and the cache headers of their answers.

It knows no route and no data.
"""

import hashlib
import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pulse.concurrency import give_way
from pulse.web.admission import Admission, RateLimitMiddleware

NO_STORE = {"Cache-Control": "no-store"}
REVALIDATE = {"Cache-Control": "no-cache"}
"""A client may cache the answer, but must revalidate it on each use."""
COMPRESSED_FROM_BYTES = 1024
PIECE_BYTES = 32 * 1024
"""Bytes of an answer that are hashed, compressed and written between two turns of the loop: each takes less than
0.3 ms, while 300 KB of candles at once would make everybody's views wait for milliseconds."""
ZERO_WEIGHT = re.compile(r"q\s*=\s*0(\.0{0,3})?", re.ASCII)


def accepts_gzip(headers: Headers) -> bool:
    """Return whether a client takes gzip: it is named, or `*` is, with a weight above 0 (RFC 9110, 12.5.3)."""
    weights: dict[str, bool] = {}
    for part in ",".join(headers.getlist("Accept-Encoding")).lower().split(","):
        coding, *parameters = (text.strip() for text in part.split(";"))
        weights[coding] = not any(ZERO_WEIGHT.fullmatch(parameter) for parameter in parameters)
    return weights.get("gzip", weights.get("*", False))


class _PiecewiseResponse(Response):
    """A response whose body is sent in pieces, with a turn of the loop after each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and the pieces."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        pieces = _pieces(bytes(self.body))
        for number, piece in enumerate(pieces, start=1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})
            await give_way()


class _Compression(GZipMiddleware):
    """Starlette's compression, which takes any header with the letters "gzip" for a client that accepts it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with the one coding that was chosen."""
        others = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        coding = b"gzip" if accepts_gzip(Headers(scope=scope)) else b"identity"
        await super().__call__({**scope, "headers": [*others, (b"accept-encoding", coding)]}, receive, send)


COMPRESSION = Middleware(_Compression, minimum_size=COMPRESSED_FROM_BYTES, compresslevel=5)


def limited(admission: Admission, *, compressed: bool = False) -> list[Middleware]:
    """Return the middleware of a route whose requests count against the rate limit of their address."""
    rate_limit = Middleware(RateLimitMiddleware, admission=admission)
    return [rate_limit, COMPRESSION] if compressed else [rate_limit]


def json_response(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return JSON that no cache keeps."""
    return _PiecewiseResponse(body, status, NO_STORE, media_type="application/json")


async def revalidated_response(request: Request, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return JSON with a strong ETag on a compressed route, or 304 without a body if the client has the same."""
    digest = hashlib.blake2b(digest_size=12)
    for piece in _pieces(body):
        digest.update(piece)
        await give_way()
    is_compressed = accepts_gzip(request.headers) and len(body) >= COMPRESSED_FROM_BYTES
    # Bodies that differ in any byte need different strong tags (RFC 9110, 8.8.1).
    tag = f'"{digest.hexdigest()}-gzip"' if is_compressed else f'"{digest.hexdigest()}"'
    headers = {**REVALIDATE, **(headers or {}), "ETag": tag}
    if is_known(request.headers, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers | {"Vary": "Accept-Encoding"})
    return _PiecewiseResponse(body, headers=headers, media_type="application/json")


def _pieces(body: bytes) -> list[bytes]:
    """Return the body in pieces; an empty one is one piece."""
    return [body[start : start + PIECE_BYTES] for start in range(0, max(1, len(body)), PIECE_BYTES)]


def is_known(headers: Headers, tag: str) -> bool:
    """Return whether a client already has the answer with this strong ETag."""
    known = headers.get("If-None-Match", "")
    return known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(","))
