"""Clients that send anything: requests and WebSocket messages with changed values and bytes, to the real server.

Nothing that a client sends may reach a traceback, a log line of an error, or an answer 500.
"""

import asyncio
import json
import logging
import os
import random
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from pulse.fanout.subscriptions import Echo
from pulse.latency import Latency
from pulse.settings import Settings
from tests.support.waiting import WAIT_S, until
from tests.support.web import Web, on_server_loop, serving
from tests.support.websockets import BINARY, TEXT, UPGRADE_HEADERS, frame, raw_socket, raw_websocket

COUNT = int(os.environ.get("PULSE_TEST_CLIENT_MESSAGES", "2000"))
SETTINGS = Settings(
    requests_per_address_s=0, trusted_hops=1, allowed_origins=("https://a.example",), clients_per_address_max=1000
)
SESSION_BYTES, SESSION_MESSAGES = 6000, 45
"""What one WebSocket sends: within its rate limits, so that every message is read."""
REQUESTS_AT_ONCE = 45
ANSWER_WAIT_S = 0.3
"""For an answer that may never come: a request that was cut off waits for its rest."""

MESSAGES: tuple[Mapping[str, Any], ...] = (
    {"op": "ping", "id": 1},
    {"op": "echo", "instance": "413fbbbb", "timestamp": 1723075200.5},
    {"op": "subscribe", "topics": ["book.BTCUSDT", "trades.BTCUSDT"], "id": "a", "rate": "250ms", "depth": 20},
    {"op": "subscribe", "topics": ["kline.BTCUSDT.5m"], "from_id": 7},
    {"op": "unsubscribe", "topics": ["book.BTCUSDT"], "id": None},
)
PATHS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("/", ()),
    ("/index.html", ()),
    ("/healthz", ()),
    ("/readyz", ()),
    ("/metrics", ()),
    ("/openapi.json", ()),
    ("/asyncapi.json", ()),
    ("/orderbook", (("symbol", "BTCUSDT"),)),
    ("/api/symbols", ()),
    ("/api/proof/BTCUSDT", ()),
    ("/api/latency", ()),
    ("/api/store", ()),
    ("/api/coverage", (("symbol", "BTCUSDT"), ("days", "2"))),
    ("/api/gaps", (("symbol", "BTCUSDT"), ("limit", "5"), ("start", "2024-08-08"), ("end", "1723075200"))),
    ("/api/ohlcv", (("symbol", "BTCUSDT"), ("interval", "5m"), ("limit", "5"), ("start", "2024-08-08T00:00:00Z"),
                    ("end", "1723075200000"), ("format", "csv"))),
    ("/udf/config", ()),
    ("/udf/symbols", (("symbol", "BTCUSDT"),)),
    ("/udf/search", (("query", "BTC"), ("limit", "5"), ("type", ""), ("exchange", ""))),
    ("/udf/history", (("symbol", "BTCUSDT"), ("resolution", "5"), ("from", "1723075200"), ("to", "1723078800"),
                      ("countback", "10"))),
    ("/udf/time", ()),
    ("/sse", (("topics", "book.BTCUSDT"), ("rate", "1s"), ("depth", "20"), ("from_id", "7"))),
    ("/ws", ()),
    ("/ws/orderbook/BTCUSDT", ()),
)  # fmt: skip
HEADERS: Mapping[str, str] = {
    "Host": "127.0.0.1:8000",
    "Origin": "https://a.example",
    "X-Forwarded-For": "192.0.2.1, [2001:db8::1]:80",
    "If-None-Match": '"abc", W/"def"',
    "If-Modified-Since": "Thu, 08 Aug 2024 00:00:00 GMT",
    "If-Range": '"abc"',
    "Range": "bytes=0-10,20-",
    "Accept-Encoding": "gzip;q=0.5, br",
    "Last-Event-ID": "7",
    "Cookie": "a=b",
    "Content-Length": "2",
    "Transfer-Encoding": "chunked",
    "Expect": "100-continue",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "a, b",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "x",
}
HANDSHAKES = 0.15
"""The part of the requests that are whole handshakes, some with data that does not wait for the answer."""
READ_OF_HANDSHAKES = (
    "Connection", "Origin", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version", "Upgrade",
)  # fmt: skip
METHODS = ("GET",) * 20 + ("HEAD", "HEAD", "OPTIONS", "OPTIONS", "POST", "PUT", "CONNECT", "get", "")
TEXTS = (
    "", "0", "-1", "+1", "1e400", "NaN", "Infinity",
    "9" * 16, "9" * 40, "0x1", "1.5", " 1", "1 ", "None", "null",
    "true", "BTCUSDT", "btcusdt",
    "\uff22\uff34\uff23", "ß", "\u0131", "\x00", "a\x00b", "\r\n", "%", "%zz", "..", "../../etc/passwd",
    "a" * 300, "a" * 5000, "\U0001d539", "\ufeff", "\u2028", "0000-00-00",
    "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00+23:59",
    "2024-02-30", "2024-08-08T24:00", "[::1", "http://[", "::", "1.2.3.4.5", "bytes=-", "bytes=5-1", "bytes=9-,-9", ",",
    ";", "gzip;q=", "*", '"', "W/", "kline.BTCUSDT.", "book.", ".", "...", "trades.", "²", "\u0661",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *TEXTS, None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 0.5, 1e308, -0.0, [], {}, [[]],
    [None],
    {"op": "ping"}, ["book.BTCUSDT"] * 200, [["book.BTCUSDT"]], {"a": [{"b": {}}]},
)  # fmt: skip
RAW_VALUES = (
    "1e999", "-1e999", "1" * 400, "[" * 300 + "]" * 300, "[" * 1020 + "]" * 1020,
    '{"a":' * 300 + "1" + "}" * 300, "[" * 300,
    '"\\ud800"', '"\\udc00x"', "NaN", "\xff", "1.", "\x00",
)  # fmt: skip


@dataclass
class Broken(logging.Handler):
    """Everything that went wrong in the server: its log records of errors, and its answers 500."""

    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error, and any record with a traceback."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(self.format(record))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every logger and the loop while the block lasts."""
        logging.getLogger().addHandler(self)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.found.append(str(context)))
        try:
            yield
        finally:
            loop.set_exception_handler(None)
            logging.getLogger().removeHandler(self)


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return data with a few bytes replaced, removed, repeated or inserted, or cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + rng.randrange(1, 9)]
            case 2:
                out[at:at] = out[at : at + rng.randrange(1, 40)]
            case 3:
                out[at:at] = rng.choice((b"\x00", b"\n", b"\r\n", b"\xff", b'"', b"[", b"{", b"\\", b" ", b":", b","))
            case _:
                del out[max(at, 1) :]
    return bytes(out)


def message(rng: random.Random) -> bytes:
    """Return a client's WebSocket message, most often a wrong one."""
    body = dict(rng.choice(MESSAGES))
    for _ in range(rng.choice((0, 1, 1, 2))):
        key = rng.choice([*body, "op", "id", "topics", "rate", "depth", "from_id", "instance", "timestamp"])
        if isinstance(body.get(key), list) and rng.random() < 0.5:
            body[key] = [*body[key], rng.choice(VALUES)]
        else:
            body[key] = rng.choice(VALUES)
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.2:
        key = rng.choice([*body])
        text = text[:-1] + f', "{key}": {rng.choice(RAW_VALUES)}}}'
    data = text.encode("utf-8", "surrogatepass")
    return changed_bytes(rng, data) if rng.random() < 0.4 else data


def request(rng: random.Random) -> bytes:
    """Return an HTTP request, most often with a wrong query, header or byte."""
    path, known = rng.choice(PATHS)
    query = list(known)
    for _ in range(rng.choice((0, 1, 1, 2)) if query else 0):
        query[rng.randrange(len(query))] = (rng.choice(query)[0], rng.choice(TEXTS))
    if rng.random() < 0.1:
        path += rng.choice(("/", "/" + quote(rng.choice(TEXTS), safe=""), "%00", "%ff", "/..", "/" + "a" * 300))
    safe = "" if rng.random() < 0.9 else " %&+\x00"
    target = path + ("?" + "&".join(f"{name}={quote(value, safe=safe)}" for name, value in query) if query else "")
    headers, method = {"Host": HEADERS["Host"], "Connection": "close"}, rng.choice(METHODS)
    names, count = sorted(HEADERS), rng.choice((0, 1, 2, 4))
    if rng.random() < HANDSHAKES:
        headers |= UPGRADE_HEADERS
        method, names, count = "GET", sorted(READ_OF_HANDSHAKES), rng.choice((0, 0, 1))
    for name in rng.sample(names, count):
        headers[name] = HEADERS[name] if rng.random() < 0.4 else rng.choice(TEXTS)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    data = ("\r\n".join(lines) + "\r\n\r\n" + rng.choice(("", "", "{}", "2\r\n{}\r\n0\r\n\r\n"))).encode()
    return changed_bytes(rng, data) if rng.random() < 0.25 else data


async def send_request(web: Web, data: bytes) -> bytes:
    """Send one request, shut the way out, and return the beginning of the answer."""
    client, loop, answer = await raw_socket(web.port), asyncio.get_running_loop(), b""
    try:
        await loop.sock_sendall(client, data)
        # A stream never ends by itself, so only its head is read.
        answer = await asyncio.wait_for(loop.sock_recv(client, 65536), ANSWER_WAIT_S)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        client.close()
    return answer


async def send_messages(web: Web, rng: random.Random) -> int:
    """Send messages over a WebSocket of their own until its limits, and return their number."""
    client, _ = await raw_websocket(web.port, "/ws")
    sent = size = 0
    loop = asyncio.get_running_loop()
    try:
        while sent < SESSION_MESSAGES and size < SESSION_BYTES:
            payload = message(rng)[:4096]
            data = frame(rng.choice((TEXT, TEXT, TEXT, BINARY)), payload, mask=b"\x37\xfa\x21\x3d")
            if rng.random() < 0.02:
                data = changed_bytes(rng, data)
            await loop.sock_sendall(client, data)
            sent, size = sent + 1, size + len(data)
        client.shutdown(socket.SHUT_WR)
        while await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S):
            pass
    except (ConnectionError, OSError):
        pass
    finally:
        client.close()
    return max(sent, 1)


@pytest.mark.proves("client-input")
@on_server_loop
async def test_no_input_reaches_a_traceback() -> None:
    """COUNT requests and messages, the same in each run: nothing is logged as an error and nothing answers 500."""
    rng, broken, sent = random.Random(16), Broken(), 0
    latency = Latency("413fbbbb")

    def on_echo(address: str, echo: Echo) -> None:
        now_ms, wall_ms = time.monotonic() * 1000, time.time() * 1000
        latency.echoed(address, echo.instance, echo.timestamp_s, echo.symbols, now_ms, wall_ms)

    async with serving(SETTINGS, readiness={"ready": True, "store": {"ok": True}}, on_echo=on_echo) as web:
        with broken.watching():
            while sent < COUNT:
                sent += await send_messages(web, rng)
                requests = [request(rng) for _ in range(REQUESTS_AT_ONCE)]
                answers = await asyncio.gather(*(send_request(web, data) for data in requests))
                sent += len(requests)
                for data, answer in zip(requests, answers, strict=True):
                    if answer.startswith(b"HTTP/1.1 500"):
                        broken.found.append(f"500 for {data[:400]!r}")
        assert (await send_request(web, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await until(lambda: web.sessions.open_count == 0)  # none was left open

    assert broken.found == []
