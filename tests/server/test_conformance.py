"""Conformance to RFC 6455 and RFC 7692 over raw sockets: the cases of Autobahn's suite for servers, numbered as there.

The server is the real one, its app an echo. Where a message must be rejected, the close code is checked too.
"""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pulse.server.flow_control import ACK_INTERVAL_MIN_BYTES
from pulse.server.listener import open_listener, serve
from pulse.server.loop import current_connection
from tests.support.waiting import WAIT_S
from tests.support.web import on_server_loop, serving
from tests.support.websockets import BINARY, CLOSE, PING, PONG, TEXT, frame, frames, raw_websocket, read_to_end

MASK = b"\x37\xfa\x21\x3d"
CONTINUATION = 0
NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, TOO_BIG = 1000, 1001, 1002, 1007, 1009
HELLO = "Hello-µ@ßöäüàá-UTF-8!!"  # Autobahn's own
Frames = list[tuple[int, bytes]]


def masked(opcode: int, payload: bytes = b"", **flags: Any) -> bytes:
    """Return a client's frame with a mask that changes its bytes."""
    return frame(opcode, payload, mask=MASK, **flags)


def client_close(code: int | None = NORMAL, reason: bytes = b"") -> bytes:
    """Return a client's close frame."""
    return masked(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def closed(code: int) -> tuple[int, bytes]:
    """Return the server's close frame, without its reason."""
    return CLOSE, code.to_bytes(2, "big")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """ASGI app: accept a WebSocket and send back every message."""
    if scope["type"] == "lifespan":
        return
    await receive()
    await send({"type": "websocket.accept"})
    current_connection().start_websocket()
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


@asynccontextmanager
async def echo_client(**headers: str) -> AsyncIterator[tuple[socket.socket, str]]:
    """Run an echo on the real server; give a client of it and the head of the upgrade response."""
    listener, stop = open_listener("127.0.0.1", 0), asyncio.Event()
    port = listener.getsockname()[1]
    task = asyncio.create_task(serve(echo, listener, stop, lambda: None, clients_max=10))
    client, head = await raw_websocket(port, receive_buffer_bytes=0, **headers)
    try:
        yield client, head
    finally:
        client.close()
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


async def replies(*parts: bytes, **headers: str) -> Frames:
    """Send these bytes; return every frame of the server until the connection ends, without the close reason."""
    async with echo_client(**headers) as (client, _):
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(client, part)
            await asyncio.sleep(0)
        sent = frames(await read_to_end(client))
    return [(opcode, payload[:2] if opcode == CLOSE else payload) for opcode, payload in sent]


async def echoes(count: int, *parts: bytes, **headers: str) -> Frames:
    """Return the same, for a client that closes once `count` messages have come back."""
    loop, received = asyncio.get_running_loop(), b""
    async with echo_client(**headers) as (client, _):
        for part in parts:
            await loop.sock_sendall(client, part)
            await asyncio.sleep(0)
        while sum(opcode in (TEXT, BINARY) for opcode, _ in frames(received)) < count:
            more = await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)
            assert more, frames(received)
            received += more
        await loop.sock_sendall(client, client_close())
        return frames(received + await read_to_end(client))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 4096])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@on_server_loop
async def test_1_messages_are_echoed(opcode: int, size: int) -> None:
    """1.1, 1.2: at each size at which the length field changes."""
    sent = await echoes(1, masked(opcode, b"*" * size))

    assert sent == [(opcode, b"*" * size), closed(NORMAL)]


@on_server_loop
async def test_1_a_message_may_arrive_byte_by_byte() -> None:
    """1.1.8, 2.6: frames are independent of TCP segments."""
    whole = masked(PING, b"x" * 125) + masked(TEXT, b"*" * 200)
    sent = await echoes(1, *(bytes([byte]) for byte in whole))

    assert sent == [(PONG, b"x" * 125), (TEXT, b"*" * 200), closed(NORMAL)]


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
@on_server_loop
async def test_2_pings_are_answered_with_their_payload(payload: bytes) -> None:
    """2.1-2.4: text, binary, empty and of the largest size."""
    assert await replies(masked(PING, payload), client_close()) == [(PONG, payload), closed(NORMAL)]


@on_server_loop
async def test_2_too_long_a_ping_is_rejected() -> None:
    """2.5: a control frame has at most 125 bytes."""
    assert await replies(masked(PING, b"\xfe" * 126)) == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_2_unsolicited_pongs_are_ignored() -> None:
    """2.7-2.9: with and without a payload; a ping after them is answered."""
    sent = await replies(masked(PONG), masked(PONG, b"unsolicited"), masked(PING, b"p"), client_close())

    assert sent == [(PONG, b"p"), closed(NORMAL)]


@on_server_loop
async def test_2_many_pings_are_answered_in_order() -> None:
    """2.10, 2.11."""
    pings = [b"payload-%d" % number for number in range(10)]

    assert await replies(*(masked(PING, ping) for ping in pings), client_close()) == [
        *((PONG, ping) for ping in pings),
        closed(NORMAL),
    ]


@pytest.mark.parametrize("reserved", [1, 2, 3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
@on_server_loop
async def test_3_reserved_bits_are_rejected(opcode: int, reserved: int) -> None:
    """3.1-3.7: on frames of every opcode."""
    assert await replies(masked(opcode, b"", reserved=reserved)) == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
@on_server_loop
async def test_3_rsv1_is_reserved_without_an_extension(opcode: int) -> None:
    """3.4: compression was not negotiated."""
    assert await replies(masked(opcode, b"", is_compressed=True)) == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@on_server_loop
async def test_4_reserved_opcodes_are_rejected(opcode: int) -> None:
    """4.1, 4.2: a message before it is still echoed."""
    sent = await replies(masked(TEXT, b"before"), masked(opcode, b"x"), masked(PING))

    assert sent == [(TEXT, b"before"), closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@on_server_loop
async def test_5_fragmented_control_frames_are_rejected(opcode: int) -> None:
    """5.1, 5.2: pings, pongs and close frames."""
    sent = await replies(masked(opcode, b"frag", is_final=False), masked(CONTINUATION, b"ment"))

    assert sent == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@on_server_loop
async def test_5_fragments_are_joined(opcode: int) -> None:
    """5.3-5.5: empty ones too, and several in one segment."""
    parts = [masked(opcode, b"a", is_final=False)]
    parts += [masked(CONTINUATION, piece, is_final=False) for piece in (b"b", b"", b"c")]
    sent = await echoes(1, b"".join(parts), masked(CONTINUATION, b"d"))

    assert sent == [(opcode, b"abcd"), closed(NORMAL)]


@on_server_loop
async def test_5_control_frames_may_stand_between_fragments() -> None:
    """5.6-5.8, 5.19, 5.20: pings are answered at once, the message when it is complete."""
    sent = await echoes(
        1,
        masked(TEXT, b"a", is_final=False),
        masked(PING, b"1"),
        masked(CONTINUATION, b"b", is_final=False),
        masked(PING, b"2"),
        masked(CONTINUATION, b"c"),
    )

    assert sent == [(PONG, b"1"), (PONG, b"2"), (TEXT, b"abc"), closed(NORMAL)]


@pytest.mark.parametrize("is_final", [True, False])
@on_server_loop
async def test_5_a_continuation_without_a_message_is_rejected(is_final: bool) -> None:
    """5.9-5.14: final or not."""
    sent = await replies(masked(CONTINUATION, b"x", is_final=is_final), masked(TEXT, b"Hello"))

    assert sent == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_5_a_message_within_another_is_rejected() -> None:
    """5.15-5.18: a second text frame before the first message is complete."""
    sent = await replies(masked(TEXT, b"a", is_final=False), masked(TEXT, b"b"))

    assert sent == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    "text",
    ["", HELLO, "κόσμε", "\x00", "\x7f", "\x80", "߿", "ࠀ", "\uffff", "\U00010000", "\ud7ff", "\ue000", "�",
     "\U0010ffff", "\ufffe", "\U0001fffe"],
)  # fmt: skip
@on_server_loop
async def test_6_valid_utf_8_is_echoed(text: str) -> None:
    """6.1, 6.2, 6.5-6.7, 6.9, 6.22, 6.23: whole, and in fragments of one byte that split characters."""
    raw = text.encode()
    pieces = [masked(TEXT, raw[:1], is_final=False)]
    pieces += [masked(CONTINUATION, raw[at : at + 1], is_final=False) for at in range(1, len(raw))]
    sent = await echoes(2, masked(TEXT, raw), *pieces, masked(CONTINUATION))

    assert sent == [(TEXT, raw), (TEXT, raw), closed(NORMAL)]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0 \xc1 ",
        b"\xe0 \xe1 ",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xfe",
        b"\xff\xfe",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xed\xa0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
    ],
)
@on_server_loop
async def test_6_invalid_utf_8_is_rejected(raw: bytes) -> None:
    """6.3, 6.4, 6.8, 6.10-6.21: surrogates, overlong forms, truncated sequences, code points beyond U+10FFFF."""
    assert await replies(masked(TEXT, raw)) == [closed(BAD_DATA)]


@on_server_loop
async def test_6_invalid_utf_8_is_rejected_before_its_message_ends() -> None:
    """6.4: the server fails fast."""
    sent = await replies(masked(TEXT, b"\xce\xba\xed\xa0\x80", is_final=False))

    assert sent == [closed(BAD_DATA)]


@on_server_loop
async def test_7_input_after_a_close_is_ignored() -> None:
    """7.1: neither a message nor a ping is answered."""
    sent = await replies(client_close() + masked(TEXT, b"late") + masked(PING))

    assert sent == [closed(NORMAL)]


@on_server_loop
async def test_7_a_close_may_stand_between_fragments() -> None:
    """7.1.4-7.1.6: the incomplete message is dropped."""
    assert await replies(masked(TEXT, b"frag", is_final=False) + client_close()) == [closed(NORMAL)]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@on_server_loop
async def test_7_a_close_is_answered_with_its_code(code: int) -> None:
    """7.3.2-7.3.4, 7.7: with and without a reason."""
    assert await replies(client_close(code)) == [closed(code)]
    assert await replies(client_close(code, b"x" * 123)) == [closed(code)]


@on_server_loop
async def test_7_a_close_may_be_empty() -> None:
    """7.3.1: neither code nor reason."""
    assert await replies(client_close(None)) in ([(CLOSE, b"")], [closed(NORMAL)])


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", PROTOCOL_ERROR),
        (b"\x03\xe8" + b"x" * 124, PROTOCOL_ERROR),
        (b"\x03\xe8" + b"\xce\xba\xed\xa0\x80", BAD_DATA),
        *((code.to_bytes(2, "big"), PROTOCOL_ERROR) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)),
        *((code.to_bytes(2, "big"), PROTOCOL_ERROR) for code in (5000, 65535)),
    ],
)
@on_server_loop
async def test_7_a_malformed_close_is_rejected(payload: bytes, code: int) -> None:
    """7.3.5, 7.3.6, 7.5, 7.9, 7.13: half a code, too long a reason, a reason that is no UTF-8, an invalid code."""
    assert await replies(masked(CLOSE, payload)) in ([closed(code)], [closed(PROTOCOL_ERROR)])


@on_server_loop
async def test_9_a_message_beyond_the_limit_is_rejected() -> None:
    """9: the limit is our own, 4 KiB; in one frame and in fragments."""
    pieces = b"".join(masked(CONTINUATION, b"*" * 64, is_final=False) for _ in range(64))

    assert closed(TOO_BIG) in await replies(masked(BINARY, b"*" * 4097))
    assert closed(TOO_BIG) in await replies(masked(TEXT, b"*", is_final=False) + pieces)


@on_server_loop
async def test_10_many_small_fragments_are_joined() -> None:
    """10.1: 256 fragments of 16 bytes."""
    pieces = [masked(CONTINUATION, b"*" * 16, is_final=False) for _ in range(255)]
    sent = await echoes(1, masked(TEXT, b"*" * 16, is_final=False), b"".join(pieces), masked(CONTINUATION))

    assert sent == [(TEXT, b"*" * 4096), closed(NORMAL)]


@on_server_loop
async def test_an_unmasked_frame_is_rejected() -> None:
    """RFC 6455, 5.1: clients must mask."""
    assert await replies(b"\x81\x05Hello") == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("head", [b"\x82\xfe\x00\x05", b"\x82\xff" + bytes(7) + b"\x05", b"\x82\xff\x80" + bytes(7)])
@on_server_loop
async def test_a_length_field_that_is_not_minimal_is_rejected(head: bytes) -> None:
    """RFC 6455, 5.2: the shortest form, and below 2^63."""
    assert await replies(head + MASK + b"Hello") == [closed(PROTOCOL_ERROR)]


# --- compressed messages


OFFER = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}


def compress(payload: bytes, level: int = 6) -> bytes:
    """Return a payload compressed without context takeover."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@on_server_loop
async def test_12_compression_is_negotiated() -> None:
    """The client is told not to keep its context between messages."""
    async with echo_client(**OFFER) as (_, head):
        pass

    assert "sec-websocket-extensions: permessage-deflate; client_no_context_takeover\r\n" in head.lower()


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 2048])
@on_server_loop
async def test_12_compressed_messages_are_inflated(size: int, level: int) -> None:
    """12, 13: at several levels, stored too, and mixed with plain ones."""
    payload = (HELLO.encode() * 200)[:size].decode(errors="ignore").encode()
    compressed = masked(TEXT, compress(payload, level), is_compressed=True)
    sent = await echoes(3, compressed, compressed, masked(TEXT, payload), **OFFER)

    assert sent == [*[(TEXT, payload)] * 3, closed(NORMAL)]


@on_server_loop
async def test_12_a_compressed_message_may_be_fragmented() -> None:
    """Only its first frame has RSV1; a ping in between is not compressed."""
    raw = compress(b"*" * 1000)
    sent = await echoes(
        1,
        masked(BINARY, raw[:5], is_compressed=True, is_final=False),
        masked(PING, b"p"),
        masked(CONTINUATION, raw[5:], is_final=False),
        masked(CONTINUATION),
        **OFFER,
    )

    assert sent == [(PONG, b"p"), (BINARY, b"*" * 1000), closed(NORMAL)]


@pytest.mark.parametrize(
    "parts",
    [
        (masked(PING, b"x", is_compressed=True),),
        (masked(TEXT, b"a", is_final=False), masked(CONTINUATION, b"b", is_compressed=True)),
        (masked(TEXT, b"a", reserved=1),),
    ],
    ids=["control frame", "continuation", "RSV3"],
)
@on_server_loop
async def test_12_rsv1_is_rejected_on_any_but_the_first_frame(parts: tuple[bytes, ...]) -> None:
    """RFC 7692, 6.1: it marks a message, not a frame."""
    assert await replies(*parts, **OFFER) == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_12_invalid_deflate_data_is_rejected() -> None:
    """The close code is 1007."""
    assert await replies(masked(TEXT, b"\xff" * 20, is_compressed=True), **OFFER) == [closed(BAD_DATA)]


@on_server_loop
async def test_12_compressed_text_must_be_utf_8() -> None:
    """It is checked after inflating."""
    assert await replies(masked(TEXT, compress(b"\xc0\xaf"), is_compressed=True), **OFFER) == [closed(BAD_DATA)]


@pytest.mark.parametrize("offer", ["permessage-deflate; server_max_window_bits=9", "x-unknown", "permessage-deflate=1"])
@on_server_loop
async def test_13_an_unsupported_offer_is_declined(offer: str) -> None:
    """The connection continues without compression."""
    async with echo_client(Sec_WebSocket_Extensions=offer) as (_, head):
        pass
    sent = await echoes(1, masked(TEXT, b"Hello"), Sec_WebSocket_Extensions=offer)

    assert "sec-websocket-extensions" not in head.lower()
    assert sent == [(TEXT, b"Hello"), closed(NORMAL)]


# --- while views are streamed


@pytest.mark.parametrize("headers", [{}, OFFER], ids=["plain", "compressed"])
@on_server_loop
async def test_pings_are_answered_between_whole_frames_of_views(headers: dict[str, str]) -> None:
    """Hypercorn writes pongs and the close frame, the send queue writes views: whole frames each."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port, receive_buffer_bytes=0, **headers)
        loop, received = asyncio.get_running_loop(), b""
        for seq in range(1, 51):
            web.publish(seq, padding=300)
            await loop.sock_sendall(client, masked(PING, b"%d" % seq))
            received += await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)
        await loop.sock_sendall(client, client_close())
        sent = frames(received + await read_to_end(client))
        client.close()

    assert [payload for opcode, payload in sent if opcode == PONG] == [b"%d" % seq for seq in range(1, 51)]
    assert {opcode for opcode, _ in sent[:-1]} - {PING} == {TEXT, PONG}  # the flow-control pings of the server
    assert sent[-1] == closed(NORMAL)


@on_server_loop
async def test_nothing_follows_the_close_frame() -> None:
    """Views end with the server's answer to a close, however fast they are published.

    A flow-control ping may stand before it: one is due whenever ACK_INTERVAL_MIN_BYTES of views have been written.
    """
    async with serving() as web:
        client, _ = await raw_websocket(web.port, receive_buffer_bytes=4096)
        loop = asyncio.get_running_loop()
        for seq in range(1, 31):
            web.publish(seq, padding=10_000)
            if seq == 15:
                await loop.sock_sendall(client, client_close())
            await asyncio.sleep(0)
        sent = frames(await read_to_end(client))
        client.close()

    assert sent[-1] == closed(NORMAL)
    assert flow_control_pings(sent[:-1]) == [opcode for opcode, _ in sent[:-1] if opcode != TEXT]


@on_server_loop
async def test_a_flow_control_ping_before_the_close_frame_is_the_only_one() -> None:
    """The client closes without having answered it: no further ping is due, and nothing follows the close frame."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port)
        web.publish(1, padding=20_000)
        received = await receive_frames(client, 2)
        await asyncio.get_running_loop().sock_sendall(client, client_close())
        web.publish(2)
        sent = frames(received + await read_to_end(client))
        client.close()

    assert sent[-1] == closed(NORMAL)
    assert flow_control_pings(sent[:-1]) == [opcode for opcode, _ in sent[:-1] if opcode != TEXT] == [PING]


@on_server_loop
async def test_no_ping_follows_the_close_frame_of_a_server_that_stops() -> None:
    """A pong that makes the next ping due gets none after close code 1001."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port)
        web.publish(1, padding=20_000)
        (_, (_, ping)) = frames(await receive_frames(client, 2))
        web.publish(2, padding=40_000)  # far beyond the next interval, which is doubled by a fast pong
        await receive_frames(client, 1)
        web.stop.set()
        goodbye = frames(await receive_frames(client, 1))
        await asyncio.get_running_loop().sock_sendall(client, masked(PONG, ping) + client_close(GOING_AWAY))
        rest = await read_to_end(client)
        client.close()

    assert [(opcode, payload[:2]) for opcode, payload in goodbye] == [closed(GOING_AWAY)]
    assert rest == b""


async def receive_frames(client: socket.socket, count: int) -> bytes:
    """Receive until this many frames are complete."""
    received = b""
    while len(frames(received)) < count:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), WAIT_S)
        assert data, frames(received)
        received += data
    return received


def flow_control_pings(sent: Frames) -> list[int]:
    """Return the opcodes of the pings that are due within these frames: the first one, as none was answered."""
    sizes = [len(payload) + 4 for opcode, payload in sent if opcode == TEXT]
    return [PING] if sum(sizes) >= ACK_INTERVAL_MIN_BYTES else []


@pytest.mark.proves("oversize")
@on_server_loop
async def test_a_compression_bomb_is_inflated_up_to_the_message_limit_only() -> None:
    """6 KB that would inflate to 6 MB use 4 KB, and close the connection with code 1009."""
    bomb = compress(bytes(6 * 2**20), 9)
    sent = await replies(masked(TEXT, bomb, is_compressed=True), **OFFER)

    assert len(bomb) < 8000
    assert sent == [closed(TOO_BIG)]
