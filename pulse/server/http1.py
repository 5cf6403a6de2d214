"""HTTP/1.1 as this server accepts it, and the security headers of every answer, its own 400 and 431 included.

A request that a proxy in front could read differently is refused (request smuggling, RFC 9112, 11.2). It knows no
route and nothing of what is served.
"""

import logging
from dataclasses import replace
from typing import Any

import h11
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import EndBody, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection

from pulse.logs import RepeatedTrouble, new_request_id, request_id

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
RAW_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
"""As h11 and ASGI have them."""

HEAD_END = b"\r\n\r\n"
BODY_LENGTH_HEADERS = {b"content-length", b"transfer-encoding"}
UPGRADE_HEADERS = {b"connection", b"sec-websocket-extensions", b"sec-websocket-protocol"}
"""Headers that Hypercorn reads as ASCII, and raises where they are not."""


class _StrictConnection(h11.Connection):
    """h11's side of a server, without what it tolerates.

    That is line ends without CR, two lengths for one body, headers of an upgrade that are not ASCII, and a head beyond
    the limit whose end has come already.
    """

    def __init__(self, head_bytes_max: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes_max)
        self._head_bytes_max = head_bytes_max

    def next_event(self) -> Any:
        """Return the next event. Raises RemoteProtocolError: 400 for a head that could be read in two ways, or 431."""
        head = b""  # complete in the call that returns its request
        if self.their_state is h11.IDLE:
            data, _ = self.trailing_data
            end = data.find(HEAD_END)
            head = data if end < 0 else data[:end]
            if len(head) > self._head_bytes_max:
                raise h11.RemoteProtocolError("the head is too long", error_status_hint=431)
            if head.count(b"\n") != head.count(b"\r\n"):
                raise h11.RemoteProtocolError("a line of the head ends without CR", error_status_hint=400)
        event = super().next_event()
        # The search comes first because few heads have this name, and reading h11's headers takes longer.
        if b"transfer-encoding" in head.lower() and isinstance(event, h11.Request) and _has_two_lengths(event):
            raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding", error_status_hint=400)
        if not head.isascii() and isinstance(event, h11.Request) and not _has_plain_upgrade(event):
            raise h11.RemoteProtocolError("a header of the upgrade is not ASCII", error_status_hint=400)
        return event


_UNSENT = RepeatedTrouble(logging.getLogger(__name__), "answer not sent, connection closed reason=%s")


def _has_two_lengths(request: h11.Request) -> bool:
    return {name for name, _ in request.headers} >= BODY_LENGTH_HEADERS


def _has_plain_upgrade(event: h11.Request) -> bool:
    return all(value.isascii() for name, value in event.headers if name in UPGRADE_HEADERS)


def _raw_request_id() -> tuple[bytes, bytes]:
    """Return the header of an answer to a request that has no id yet: it did not reach the app."""
    return b"x-request-id", (request_id.get() or new_request_id()).encode()


class StrictHttp1(H11Protocol):
    """Hypercorn's HTTP/1.1 with strict heads, and with the security headers in the answers that it makes by itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection: h11.Connection | H11WSConnection = _StrictConnection(self.config.h11_max_incomplete_size)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what a stream answers; where the app has not answered, Hypercorn does, without any of the headers.

        An upgrade that was answered as a request is over: Hypercorn leaves some of these connections open for ever.
        """
        if isinstance(event, Response) and RAW_SECURITY_HEADERS[0][0] not in dict(event.headers):
            event = replace(event, headers=[*event.headers, *RAW_SECURITY_HEADERS, _raw_request_id()])
        await super().stream_send(event)
        if isinstance(event, EndBody) and isinstance(self.connection, H11WSConnection):
            await self.send(Closed())

    async def _send_h11_event(self, event: Any) -> None:
        """Send a part of an answer, or end the connection where h11 has no place for it.

        A client that goes on before its upgrade is answered gets Hypercorn's 400, and the app's answer comes second.
        """
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError as fault:
            if self.connection.their_state is not h11.ERROR:
                _UNSENT.warn(fault)
            await self.send(Closed())
        else:
            await self.send(RawData(data=data))

    async def _send_error_response(self, status_code: int) -> None:
        """Answer a request that could not be read."""
        head = [(b"content-length", b"0"), (b"connection", b"close"), *RAW_SECURITY_HEADERS, _raw_request_id()]
        headers = [*head, *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.EndOfMessage())
