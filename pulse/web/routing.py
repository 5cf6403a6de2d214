"""What the API's routes share: rate limit and compression as middleware, and the cache headers of their answers.

It knows no route and no data.
"""

import hashlib
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from pulse.web.admission import Admission, RateLimitMiddleware

NO_STORE = {"Cache-Control": "no-store"}
REVALIDATE = {"Cache-Control": "no-cache"}
"""A client may cache the answer, but must revalidate it on each use."""
COMPRESSED_FROM_BYTES = 1024
COMPRESSION = Middleware(GZipMiddleware, minimum_size=COMPRESSED_FROM_BYTES, compresslevel=5)


def limited(admission: Admission, *, compressed: bool = False) -> list[Middleware]:
    """Return the middleware of a route whose requests count against the rate limit of their address."""
    rate_limit = Middleware(RateLimitMiddleware, admission=admission)
    return [rate_limit, COMPRESSION] if compressed else [rate_limit]


def json_response(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return JSON that no cache keeps."""
    return Response(body, status, NO_STORE, media_type="application/json")


def revalidated_response(request: Request, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return JSON with a strong ETag on a compressed route, or 304 without a body if the client has the same."""
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    is_compressed = "gzip" in request.headers.get("Accept-Encoding", "") and len(body) >= COMPRESSED_FROM_BYTES
    # Bodies that differ in any byte need different strong tags (RFC 9110, 8.8.1).
    tag = f'"{digest}-gzip"' if is_compressed else f'"{digest}"'
    headers = {**REVALIDATE, **(headers or {}), "ETag": tag}
    known = request.headers.get("If-None-Match", "")
    if known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers | {"Vary": "Accept-Encoding"})
    return Response(body, headers=headers, media_type="application/json")
