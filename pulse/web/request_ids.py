"""The id of each request and WebSocket session: in its answer, and in each log line that is written on its behalf.

A client's or a proxy's id is kept if it is well-formed, so that one id names the request in the logs of both.
"""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulse.logs import REQUEST_ID, new_request_id, request_id
from pulse.web.static_files import START_MESSAGES

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"


class RequestIds:
    """Outermost ASGI middleware: names the request, and at the level DEBUG logs its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        own = given if REQUEST_ID.fullmatch(given) else new_request_id()
        # Not reset at the end: the server logs an unforeseen exception after it, in this request's own task.
        request_id.set(own)
        started_s = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] in START_MESSAGES:
                message["headers"] = list(message.get("headers", ()))
                MutableHeaders(scope=message)[HEADER] = own
                log.debug(
                    "answer method=%s path=%s status=%s took_s=%.4f",
                    scope.get("method", "WEBSOCKET"), scope["path"], message.get("status", 101),
                    time.perf_counter() - started_s,
                )  # fmt: skip
            await send(message)

        await self._app(scope, receive, send_with_id)
