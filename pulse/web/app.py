"""The routes: the page, the feed, the API, and word on how the process is doing.

Each handler asks one part for what it holds and says it as HTTP; what the parts do is theirs.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from pulse.candle_history.reader import CandleReader
from pulse.errors import RequestError, StoreUnavailable, try_later
from pulse.fanout.hub import Hub
from pulse.market.view import Certificate
from pulse.settings import Settings
from pulse.symbols import SymbolRegistry
from pulse.web.admission import Admission, RateLimitMiddleware
from pulse.web.api.candles import CandlesApi
from pulse.web.api.openapi import document
from pulse.web.api.udf import UdfApi
from pulse.web.params import known_symbol, parameters_of, read_gap_query
from pulse.web.problems import on_crash, on_http_exception, on_request_error, on_store_unavailable
from pulse.web.sse import SseEndpoint
from pulse.web.static_files import PageFiles, SecurityHeaders
from pulse.web.websocket import WebSocketSessions
from pulse.wire import book_channel, gap_row

NEVER_KEPT = {"Cache-Control": "no-store"}
COMPRESSED_FROM_BYTES = 1024
PREFLIGHT_KEPT_S = 600

COMPRESSED = Middleware(GZipMiddleware, minimum_size=COMPRESSED_FROM_BYTES, compresslevel=5)

Report = Callable[[], Mapping[str, Any]]
"""Gives a JSON object as things stand now."""


class _Api:
    """The handlers, with what they ask."""

    def __init__(
        self,
        registry: SymbolRegistry,
        hub: Hub,
        bars: CandleReader,
        catalogue: Report,
        readiness: Report,
        certificates: Callable[[], Mapping[str, Certificate]],
        latency: Report,
    ) -> None:
        self._roster = registry
        self._hub = hub
        self._bars = bars
        self._catalogue = catalogue
        self._readiness = readiness
        self._certificates = certificates
        self._openapi = orjson.dumps(document(registry.pinned))
        self._latency = latency

    async def orderbook(self, request: Request) -> Response:
        """The latest view of ?symbol=, byte for byte as the feed sent it."""
        symbol = known_symbol(request.query_params.get("symbol"), self._roster)
        view = self._hub.latest(book_channel(symbol))
        if view is None:
            raise try_later(f"There is no view of {symbol} yet.", 1)
        return _json(view)

    async def symbols(self, _: Request) -> Response:
        """What is followed, and how it is written."""
        return _json(orjson.dumps(self._catalogue()))

    async def gaps(self, request: Request) -> Response:
        """The trades of a symbol that are in no candle, because the exchange gave them no more; oldest first."""
        query = read_gap_query(parameters_of(request), self._roster)
        gaps = await self._bars.gaps(query.symbol, query.start_ms, query.end_ms, query.limit)
        return _json(orjson.dumps(list(map(gap_row, gaps))))

    async def proof(self, request: Request) -> Response:
        """Each book's certificate, or that of one symbol."""
        if "symbol" not in request.path_params:
            return _json(orjson.dumps(self._certificates()))
        symbol = known_symbol(request.path_params["symbol"], self._roster)
        return _json(orjson.dumps(self._certificates()[symbol]))

    async def store(self, _: Request) -> Response:
        """Whether closed candles reach the store, and how many wait."""
        return _json(orjson.dumps(self._readiness()["store"]))

    async def openapi(self, _: Request) -> Response:
        """What is answered here, for programs that read such descriptions."""
        return _json(self._openapi)

    async def latency(self, _: Request) -> Response:
        """How long each hop from the exchange to the reader takes."""
        return _json(orjson.dumps(self._latency()))

    async def healthz(self, _: Request) -> Response:
        """The process answers. What it depends on has no say: a platform restarts what is not healthy."""
        return _json(b'{"status":"ok"}')

    async def readyz(self, _: Request) -> Response:
        """Whether what is served can be trusted: feeds, bus and store."""
        report = self._readiness()
        return _json(orjson.dumps(report), HTTPStatus.OK if report["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _: Request) -> Response:
        """The program's own counters, in Prometheus' text format."""
        return Response(generate_latest(), headers={**NEVER_KEPT, "Content-Type": CONTENT_TYPE_LATEST})


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body, status, NEVER_KEPT, media_type="application/json")


async def _no_such_socket(_: WebSocket) -> None:
    raise HTTPException(HTTPStatus.NOT_FOUND)


def build_app(
    settings: Settings,
    door: Admission,
    registry: SymbolRegistry,
    hub: Hub,
    bars: CandleReader,
    catalogue: Report,
    readiness: Report,
    certificates: Callable[[], Mapping[str, Certificate]],
    latency: Report,
    static_dir: Path,
    sessions: WebSocketSessions,
    events: SseEndpoint,
) -> ASGIApp:
    """The ASGI app. `catalogue` gives the object of /api/symbols, `readiness` that of /readyz with its keys `ready` and
    `store`, `certificates` what each symbol's book can show for itself, `latency` the object of /api/latency.
    """
    app = Starlette(
        routes=_routes(
            _Api(registry, hub, bars, catalogue, readiness, certificates, latency),
            CandlesApi(bars, registry, COMPRESSED_FROM_BYTES),
            UdfApi(bars, catalogue, registry),
            sessions,
            events,
            static_dir,
            Middleware(RateLimitMiddleware, door=door),
        ),
        exception_handlers={
            RequestError: on_request_error,
            HTTPException: on_http_exception,
            StoreUnavailable: on_store_unavailable,
            Exception: on_crash,
        },
    )
    origins = settings.allowed_origins
    if not origins:
        return SecurityHeaders(app, origins)
    shared = CORSMiddleware(app, origins, expose_headers=["ETag", "Link", "Retry-After"], max_age=PREFLIGHT_KEPT_S)
    return SecurityHeaders(shared, origins)


def _routes(
    api: _Api,
    ohlcv: CandlesApi,
    udf: UdfApi,
    sessions: WebSocketSessions,
    events: SseEndpoint,
    static_dir: Path,
    counted: Middleware,
) -> list[BaseRoute]:
    """All of them. Sessions and events count who comes in; the page's files and /healthz are free."""
    plain, compressed = [counted], [counted, COMPRESSED]
    return [
        WebSocketRoute("/ws", sessions.serve_topics),
        WebSocketRoute("/ws/orderbook", sessions.serve_view),
        WebSocketRoute("/ws/orderbook/{symbol}", sessions.serve_view),
        WebSocketRoute("/{path:path}", _no_such_socket),
        Route("/sse", events.serve, methods=["GET"]),
        Route("/orderbook", api.orderbook, middleware=plain),
        Route("/api/ohlcv", ohlcv.serve, middleware=compressed),
        Route("/api/gaps", api.gaps, middleware=compressed),
        Route("/api/symbols", api.symbols, middleware=compressed),
        Route("/api/proof", api.proof, middleware=compressed),
        Route("/api/proof/{symbol}", api.proof, middleware=compressed),
        Mount("/udf", routes=udf.routes(), middleware=compressed),
        Route("/api/store", api.store, middleware=plain),
        Route("/openapi.json", api.openapi, middleware=compressed),
        Route("/api/latency", api.latency, middleware=plain),
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz, middleware=plain),
        Route("/metrics", api.metrics, middleware=plain),
        Mount("/", PageFiles(directory=static_dir, html=True)),
    ]
