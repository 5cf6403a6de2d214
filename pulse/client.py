"""WebSocket client of Pulse in one file, standard library alone: copy it, or run `python -m pulse.client BTCUSDT`.

It reconnects by itself with exponential backoff and resumes each trades topic after the last trade it received. Trades
that the server no longer has are reported by the `gap` of a message.
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
"""A connection with no input for so long is dead. A ping is sent after half of it, because a symbol's trades may be
rarer than that."""
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0
MESSAGE_BYTES_MAX = 16 * 2**20
HEAD_BYTES_MAX = 16 * 1024
HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Hashed with the key of the handshake (RFC 6455, 1.3)."""
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, MASK = 0x80, 0x40, 0x80
TOO_LARGE = f"the server sent a message of more than {MESSAGE_BYTES_MAX} bytes"


class RequestRefused(Exception):
    """The request was rejected, and would be again; the text says why, if possible in the server's words."""


class ConnectionLost(Exception):
    """The connection ended, or could not be opened; a retry may help."""


class WebSocketConnection:
    """One WebSocket that carries JSON objects.

    Opening it raises RequestRefused if the server does not accept it here; every other failure, then and later, raises
    ConnectionLost.
    """

    def __init__(self, url: str, timeout_s: float = SILENCE_MAX_S, *, token: str = "") -> None:
        if not (token.isascii() and token.isprintable()):
            raise RequestRefused("a token must consist of printable ASCII characters")
        self._buffer = b""
        self._has_deflate = False
        self._is_pinged = True  # during the handshake no ping can be sent
        parts = urlsplit(url)
        is_tls = parts.scheme == "wss"
        host, port = parts.hostname or "localhost", parts.port or (443 if is_tls else 80)
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
            if is_tls:
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
        except OSError as fault:
            raise ConnectionLost(f"cannot connect to {host}:{port}: {fault}") from fault
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._upgrade(parts.netloc.rpartition("@")[2], path, token)
            self._socket.settimeout(timeout_s / 2)
        except BaseException:
            self._socket.close()
            raise

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self._send_frame(TEXT, json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """Wait for the next message; answer pings meanwhile."""
        is_deflated, message = False, b""
        while True:
            first_byte, payload = self._read_frame()
            opcode = first_byte & 0x0F
            if opcode == PING:
                self._send_frame(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
                reason = payload[2:].decode(errors="replace")
                raise ConnectionLost(f"the server closed the connection: {code} {reason}".rstrip())
            elif opcode in (TEXT, BINARY, CONTINUATION):
                is_deflated = is_deflated if opcode == CONTINUATION else bool(first_byte & RSV1)
                message += payload
                if len(message) > MESSAGE_BYTES_MAX:
                    raise ConnectionLost(TOO_LARGE)
                if first_byte & FIN:
                    return self._decode(message, is_deflated)

    def close(self) -> None:
        """Send a close frame and close the socket."""
        with suppress(ConnectionLost):
            self._send_frame(CLOSE, struct.pack("!H", 1000))
        self._socket.close()

    def _upgrade(self, host: str, path: str, token: str) -> None:
        key = base64.b64encode(os.urandom(16))
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._send_bytes(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n{authorization}"
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise ConnectionLost(f"the head of the response exceeds {HEAD_BYTES_MAX} bytes")
            self._receive_bytes()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        digest = hashlib.sha1(key + HANDSHAKE_GUID, usedforsecurity=False).digest()
        self._check_upgrade(status, headers, accept=base64.b64encode(digest))

    def _check_upgrade(self, status: str, headers: dict[str, str], accept: bytes) -> None:
        code = status.split(" ")[1] if status.count(" ") else ""
        if code in ("429", "500", "502", "503", "504"):
            raise ConnectionLost(f"the server answered {status}")
        if code == "401":
            raise RequestRefused("the server needs a token, or the one given is wrong (HTTP 401)")
        if code != "101" or headers.get("sec-websocket-accept") != accept.decode():
            raise RequestRefused(f"the server does not accept a WebSocket here, it answered: {status}")
        self._has_deflate = headers.get("sec-websocket-extensions", "").startswith("permessage-deflate")

    def _decode(self, message: bytes, is_deflated: bool) -> dict[str, Any]:
        if is_deflated and not self._has_deflate:
            raise ConnectionLost("the server sent a compressed message, but compression was not negotiated")
        try:
            if is_deflated:
                message = zlib.decompressobj(-15).decompress(message + b"\x00\x00\xff\xff", MESSAGE_BYTES_MAX)
            decoded = json.loads(message)
        except (zlib.error, ValueError) as fault:
            raise ConnectionLost(f"the server sent a message that cannot be decoded: {fault}") from fault
        if not isinstance(decoded, dict):
            raise ConnectionLost("the server sent a message that is not a JSON object")
        return decoded

    def _read_frame(self) -> tuple[int, bytes]:
        """Return the first byte and the payload of the next frame."""
        first_byte, size = self._read(2)
        if size & MASK:
            raise ConnectionLost("the server sent a masked frame")
        if size == 126:
            size = struct.unpack("!H", self._read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._read(8))[0]
        if size > MESSAGE_BYTES_MAX:
            raise ConnectionLost(TOO_LARGE)
        return first_byte, self._read(size)

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive_bytes()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive_bytes(self) -> None:
        """Append input to the buffer. At the first time-out send a ping instead, at the second give up."""
        try:
            data = self._socket.recv(65536)
        except TimeoutError as fault:
            if self._is_pinged:
                raise ConnectionLost("the server does not respond, not even to a ping") from fault
            self._is_pinged = True
            self._send_frame(PING, b"")
            return
        except OSError as fault:
            raise ConnectionLost(str(fault)) from fault
        if not data:
            raise ConnectionLost("the connection ended without a close frame")
        self._is_pinged = False
        self._buffer += data

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        length = bytes([MASK | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self._send_bytes(bytes([FIN | opcode]) + length + mask + masked)

    def _send_bytes(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as fault:
            raise ConnectionLost(str(fault)) from fault


def messages(
    url: str,
    topics: Sequence[str],
    *,
    rate: str = "full",
    depth: int = 20,
    token: str = "",
    on_trouble: Callable[[str], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Yield the messages of these topics for ever; reconnect when needed. Raises RequestRefused for a wrong request.

    `token` is what a server with PULSE_TOKEN needs; send it to another machine over wss:// alone. `on_trouble` is
    called with the reason whenever a connection is lost, `wait` with the seconds before the next one.
    """
    places: dict[str, dict[str, int]] = {}
    attempt = 0
    while True:
        try:
            connection = WebSocketConnection(url, token=token)
            try:
                for message in _subscribed(connection, topics, {"rate": rate, "depth": depth}, places):
                    attempt = 0
                    yield message
            finally:
                connection.close()
        except ConnectionLost as loss:
            on_trouble(str(loss))
            wait_max_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(attempt, 10))
            attempt += 1
            wait(random.uniform(RETRY_FIRST_S / 2, wait_max_s))


def _subscribed(
    connection: WebSocketConnection, topics: Sequence[str], options: dict[str, Any], places: dict[str, dict[str, int]]
) -> Iterator[dict[str, Any]]:
    """Yield the messages of one connection; keep in `places` how to go on after the last trade of each trades topic."""
    new = [topic for topic in topics if topic not in places]
    if new:
        connection.send({"op": "subscribe", "topics": new, **options})
    for topic, place in places.items():
        connection.send({"op": "subscribe", "topics": [topic], "id": topic, **place, **options})
    while True:
        message = connection.receive()
        if "topic" in message:
            if message["topic"].startswith("trades."):
                # After a trade and not at the next id: the exchange may use an id twice.
                last = message["trades"][-1]
                places[message["topic"]] = {
                    "from_id": last["id"],
                    "from_first_trade_id": last["first_trade_id"] + 1,
                }
            yield message
        elif message.get("parameter") == "from_id" and message.get("id") in places:
            # This server has other trade ids: a simulation was restarted.
            del places[message["id"]]
            connection.send({"op": "subscribe", "topics": [message["id"]], **options})
        elif message.get("op") == "error" and message.get("retry_after_s"):
            raise ConnectionLost(str(message.get("detail")))
        elif message.get("op") == "error":
            raise RequestRefused(str(message.get("detail")))


def _token_in(path: str | None) -> str:
    """Return the token in a file: as an argument every user of the machine could see it."""
    if path is None:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise RequestRefused(f"the token cannot be read: {fault}") from fault


def _print_error(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print messages, one JSON object per line, until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(prog="pulse.client", description="Print the messages of a symbol, one per line.")
    parser.add_argument("symbol")
    parser.add_argument("--url", default="ws://127.0.0.1:8000/ws")
    parser.add_argument("--kinds", default="book,trades", help="book, trades, metrics, kline, proof, status")
    parser.add_argument("--rate", default="full", help="full, 4hz or 1hz")
    parser.add_argument("--depth", type=int, default=20, help="1, 5, 10 or 20")
    parser.add_argument("--token-file", metavar="FILE", help="a file that holds the server's token")
    options = parser.parse_args(arguments)
    symbol = options.symbol.upper()
    topics = [f"{kind}.{symbol}" + (".1m" if kind == "kline" else "") for kind in options.kinds.split(",")]
    try:
        for message in messages(
            options.url, topics, rate=options.rate, depth=options.depth,
            token=_token_in(options.token_file), on_trouble=_print_error,
        ):  # fmt: skip
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
    except RequestRefused as refusal:
        _print_error(str(refusal))
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
