"""WebSocket clients over raw sockets: they send what a test wants byte by byte, and answer nothing by themselves."""

import asyncio
import base64
import socket
import zlib

from tests.support.waiting import WAIT_S

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Version": "13",
}


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    is_compressed: bool = False,
    reserved: int = 0,
    mask: bytes = bytes(4),
) -> bytes:
    """Return a WebSocket frame as a client sends it; `reserved` are the bits RSV2 and RSV3."""
    head = bytes([is_final << 7 | is_compressed << 6 | reserved << 4 | opcode])
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if any(mask) else payload
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + mask + masked
    if len(payload) < 65536:
        return head + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + mask + masked
    return head + bytes([0x80 | 127]) + len(payload).to_bytes(8, "big") + mask + masked


async def raw_socket(port: int, receive_buffer_bytes: int = 0) -> socket.socket:
    """Return a connected non-blocking socket; a small receive buffer soon makes it a slow reader."""
    client = socket.socket()
    client.setblocking(False)
    if receive_buffer_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def upgrade(port: int, path: str = "/ws/orderbook", **headers: str) -> bytes:
    """Return an upgrade request; header names are written with underscores."""
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"Host": f"127.0.0.1:{port}", **UPGRADE_HEADERS, **added}
    return f"GET {path} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in lines.items()) + b"\r\n"


async def raw_websocket(
    port: int, path: str = "/ws/orderbook", *, receive_buffer_bytes: int = 0, **headers: str
) -> tuple[socket.socket, str]:
    """Return an upgraded socket that sends nothing by itself, and the head of the server's answer."""
    client = await raw_socket(port, receive_buffer_bytes)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, upgrade(port, path, **headers))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await asyncio.wait_for(loop.sock_recv(client, 1), WAIT_S)
    return client, head.decode()


async def read_to_end(client: socket.socket) -> bytes:
    """Return all data up to the end of the connection, orderly or not."""
    loop, received = asyncio.get_running_loop(), b""
    try:
        while data := await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S):
            received += data
    except ConnectionError:
        pass
    return received


async def send_until_cut(client: socket.socket, data: bytes, bytes_max: int) -> int:
    """Send the same data until the connection breaks or the limit is reached; return how many bytes were sent."""
    loop, sent = asyncio.get_running_loop(), 0
    try:
        while sent < bytes_max:
            await asyncio.wait_for(loop.sock_sendall(client, data), WAIT_S)
            sent += len(data)
    except ConnectionError:
        pass
    return sent


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the complete frames in the data as (opcode, inflated payload), and the remaining bytes."""
    found, at = [], 0
    while at + 2 <= len(data):
        opcode, size, head = data[at] & 0x0F, data[at + 1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if at + head + size > len(data):
            break
        payload = data[at + head : at + head + size]
        if data[at] & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        found.append((opcode, payload))
        at += head + size
    return found, data[at:]


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the complete frames in the data as (opcode, payload)."""
    return split_frames(data)[0]


def close_code(data: bytes) -> int:
    """Return the code of the last close frame in the data, 0 if there is none."""
    codes = [int.from_bytes(payload[:2], "big") for opcode, payload in frames(data) if opcode == CLOSE]
    return codes[-1] if codes else 0
