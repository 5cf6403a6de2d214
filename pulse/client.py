"""A client of the feed in one file that needs nothing but Python: copy it, or `python -m pulse.client BTCUSDT`.

It reconnects by itself with growing waits, and its trades go on where they ended: what could not be had again is said
by the messages' own `gap`.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import socket
import ssl
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

SILENCE_MAX_S = 10.0
"""A line that says nothing for so long is dead, for halfway there the server is asked whether it is there: a symbol's
trades may be rarer than that."""
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0
MESSAGE_BYTES_MAX = 16 * 2**20
HEAD_BYTES_MAX = 16 * 1024
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Refused(Exception):
    """The server will not do what was asked, and asking again would not help; its own words."""


class Lost(Exception):
    """The connection is gone, or never came to be; trying again may help."""


class Line:
    """One WebSocket: JSON texts in and out. Raises Lost whatever happens to it, and Refused if it is not let in."""

    def __init__(self, url: str, timeout_s: float = SILENCE_MAX_S) -> None:
        self._buffer = b""
        self._inflates = False
        self._is_asked = True  # a server that does not even answer the handshake is not asked again
        parts = urlsplit(url)
        is_safe = parts.scheme == "wss"
        host, port = parts.hostname or "localhost", parts.port or (443 if is_safe else 80)
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
            if is_safe:
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
        except OSError as fault:
            raise Lost(f"{host}:{port} cannot be reached: {fault}") from fault
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._upgrade(parts.netloc.rpartition("@")[2], path)
            self._socket.settimeout(timeout_s / 2)
        except BaseException:
            self._socket.close()
            raise

    def say(self, words: dict[str, Any]) -> None:
        """Send one message."""
        self._write(TEXT, json.dumps(words).encode())

    def hear(self) -> dict[str, Any]:
        """Wait for the next message."""
        kind, message = b"", b""
        while True:
            first, payload = self._frame()
            opcode = first & 0x0F
            if opcode == PING:
                self._write(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
                raise Lost(f"the server closed the line: {code} {payload[2:].decode(errors='replace')}".rstrip())
            elif opcode in (TEXT, BINARY, CONTINUATION):
                kind = kind if opcode == CONTINUATION else bytes([first & 0x40])
                message += payload
                if len(message) > MESSAGE_BYTES_MAX:
                    raise Lost("a message without end")
                if first & 0x80:
                    return self._decoded(message, is_deflated=kind != b"\0")

    def close(self) -> None:
        """Leave."""
        with suppress(Lost):
            self._write(CLOSE, struct.pack("!H", 1000))
        self._socket.close()

    def _upgrade(self, host: str, path: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._send(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise Lost("an answer without end")
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._check(status, headers, base64.b64encode(hashlib.sha1(key + ACCEPT, usedforsecurity=False).digest()))

    def _check(self, status: str, headers: dict[str, str], accept: bytes) -> None:
        code = status.split(" ")[1] if status.count(" ") else ""
        if code in ("429", "500", "502", "503", "504"):
            raise Lost(f"the server answered {status}")
        if code != "101" or headers.get("sec-websocket-accept") != accept.decode():
            raise Refused(f"the server does not open a WebSocket here: {status}")
        self._inflates = headers.get("sec-websocket-extensions", "").startswith("permessage-deflate")

    def _decoded(self, message: bytes, is_deflated: bool) -> dict[str, Any]:
        try:
            if is_deflated:
                if not self._inflates:
                    raise Lost("a compressed message that was not agreed on")
                inflater = zlib.decompressobj(-15)
                message = inflater.decompress(message + b"\x00\x00\xff\xff", MESSAGE_BYTES_MAX)
            said = json.loads(message)
        except (zlib.error, ValueError) as fault:
            raise Lost(f"a message that cannot be read: {fault}") from fault
        if not isinstance(said, dict):
            raise Lost("a message that is no object")
        return said

    def _frame(self) -> tuple[int, bytes]:
        first, size = self._take(2)
        if size & 0x80:
            raise Lost("a server's frame that is masked")
        if size == 126:
            size = struct.unpack("!H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8))[0]
        if size > MESSAGE_BYTES_MAX:
            raise Lost("a message without end")
        return first, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self) -> None:
        try:
            more = self._socket.recv(65536)
        except TimeoutError as fault:
            if self._is_asked:
                raise Lost("no word from the server") from fault
            self._is_asked = True
            self._write(PING, b"")
            return
        except OSError as fault:
            raise Lost(str(fault)) from fault
        if not more:
            raise Lost("the line broke")
        self._is_asked = False
        self._buffer += more

    def _write(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode]) + (bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size))
        self._send(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as fault:
            raise Lost(str(fault)) from fault


def messages(
    url: str,
    topics: Sequence[str],
    *,
    rate: str = "full",
    depth: int = 20,
    on_trouble: Callable[[str], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """The messages of these topics for ever, over as many connections as it takes. Raises Refused for a wrong request.

    `on_trouble` is told in words each time the line is lost; `wait` waits so many seconds before the next try.
    """
    next_ids: dict[str, int] = {}
    attempt = 0
    while True:
        try:
            line = Line(url)
            try:
                for message in _subscribed(line, topics, {"rate": rate, "depth": depth}, next_ids):
                    attempt = 0
                    yield message
            finally:
                line.close()
        except Lost as trouble:
            on_trouble(str(trouble))
            ceiling = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(attempt, 10))
            attempt += 1
            wait(random.uniform(RETRY_FIRST_S / 2, ceiling))


def _subscribed(
    line: Line, topics: Sequence[str], options: dict[str, Any], next_ids: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """The messages of one connection; `next_ids` keeps the first trade that each trades topic lacks."""
    fresh = [topic for topic in topics if topic not in next_ids]
    if fresh:
        line.say({"op": "subscribe", "topics": fresh, **options})
    for topic in next_ids:
        line.say({"op": "subscribe", "topics": [topic], "from_id": next_ids[topic], "id": topic, **options})
    while True:
        message = line.hear()
        if "topic" in message:
            if message["topic"].startswith("trades."):
                next_ids[message["topic"]] = message["last_id"] + 1
            yield message
        elif message.get("parameter") == "from_id" and message.get("id") in next_ids:
            # This server's trades are others: a simulation began again.
            del next_ids[message["id"]]
            line.say({"op": "subscribe", "topics": [message["id"]], **options})
        elif message.get("op") == "error":
            raise Refused(str(message.get("detail")))


def _complain(words: str) -> None:
    sys.stderr.write(f"{words}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print messages, one JSON object a line, until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="pulse.client", description="Print what the feed says, one message a line.")
    parser.add_argument("symbol")
    parser.add_argument("--url", default="ws://127.0.0.1:8000/ws")
    parser.add_argument("--kinds", default="book,trades", help="book, trades, metrics, kline, proof, status")
    parser.add_argument("--rate", default="full", help="full, 4hz or 1hz")
    parser.add_argument("--depth", type=int, default=20, help="1, 5, 10 or 20")
    options = parser.parse_args(arguments)
    symbol = options.symbol.upper()
    topics = [f"{kind}.{symbol}" + (".1m" if kind == "kline" else "") for kind in options.kinds.split(",")]
    try:
        for message in messages(
            options.url, topics, rate=options.rate, depth=options.depth,
            on_trouble=_complain,
        ):  # fmt: skip
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
    except Refused as refusal:
        _complain(str(refusal))
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
