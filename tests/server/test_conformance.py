"""RFC 6455 and RFC 7692, case by case over raw sockets: what Autobahn's suite asks of a server, numbered as there.

The server is the real one, its app an echo. Where a message must be refused, the client also reads why.
"""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pulse.server.connection import current_connection
from pulse.server.listener import open_listener, serve
from tests.support.web import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WAIT_S,
    frame,
    frames,
    on_server_loop,
    raw_websocket,
    read_to_end,
    serving,
)

MASK = b"\x37\xfa\x21\x3d"
CONTINUATION = 0
NORMAL, PROTOCOL_ERROR, BAD_DATA, TOO_BIG = 1000, 1002, 1007, 1009
HELLO = "Hello-µ@ßöäüàá-UTF-8!!"  # Autobahn's own
Frames = list[tuple[int, bytes]]


def masked(opcode: int, payload: bytes = b"", **flags: Any) -> bytes:
    """A client's frame with a mask that does something."""
    return frame(opcode, payload, mask=MASK, **flags)


def goodbye(code: int | None = NORMAL, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return masked(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def closed(code: int) -> tuple[int, bytes]:
    """The head of the server's close frame."""
    return CLOSE, code.to_bytes(2, "big")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket and say again whatever it says."""
    if scope["type"] == "lifespan":
        return
    await receive()
    await send({"type": "websocket.accept"})
    connection = current_connection()
    assert connection is not None
    connection.upgraded()
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


@asynccontextmanager
async def talking(**headers: str) -> AsyncIterator[tuple[socket.socket, str]]:
    """A client of an echo on the real server, and the head of its answer."""
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


async def answers(*parts: bytes, **headers: str) -> Frames:
    """All that the server says to these bytes, the reason of its close left out."""
    async with talking(**headers) as (client, _):
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(client, part)
            await asyncio.sleep(0)
        said = frames(await read_to_end(client))
    return [(opcode, payload[:2] if opcode == CLOSE else payload) for opcode, payload in said]


async def echoes(count: int, *parts: bytes, **headers: str) -> Frames:
    """The same, with a goodbye that is said once so many messages have come back: an echo takes its time."""
    loop, received = asyncio.get_running_loop(), b""
    async with talking(**headers) as (client, _):
        for part in parts:
            await loop.sock_sendall(client, part)
            await asyncio.sleep(0)
        while sum(opcode in (TEXT, BINARY) for opcode, _ in frames(received)) < count:
            more = await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)
            assert more, frames(received)
            received += more
        await loop.sock_sendall(client, goodbye())
        return frames(received + await read_to_end(client))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 4096])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@on_server_loop
async def test_1_messages_are_echoed(opcode: int, size: int) -> None:
    """1.1, 1.2: at each size at which the header changes its form."""
    said = await echoes(1, masked(opcode, b"*" * size))

    assert said == [(opcode, b"*" * size), closed(NORMAL)]


@on_server_loop
async def test_1_a_message_may_come_byte_by_byte() -> None:
    """1.1.8, 2.6: frames have nothing to do with what the network delivers at once."""
    whole = masked(PING, b"x" * 125) + masked(TEXT, b"*" * 200)
    said = await echoes(1, *(bytes([byte]) for byte in whole))

    assert said == [(PONG, b"x" * 125), (TEXT, b"*" * 200), closed(NORMAL)]


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
@on_server_loop
async def test_2_pings_are_answered_in_kind(payload: bytes) -> None:
    """2.1-2.4: with the very payload."""
    assert await answers(masked(PING, payload), goodbye()) == [(PONG, payload), closed(NORMAL)]


@on_server_loop
async def test_2_a_ping_too_long_is_refused() -> None:
    """2.5: a control frame holds 125 bytes."""
    assert await answers(masked(PING, b"\xfe" * 126)) == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_2_pongs_unasked_for_are_ignored() -> None:
    """2.7-2.9: with and without a payload, and a ping after them."""
    said = await answers(masked(PONG), masked(PONG, b"unsolicited"), masked(PING, b"p"), goodbye())

    assert said == [(PONG, b"p"), closed(NORMAL)]


@on_server_loop
async def test_2_many_pings_are_answered_in_order() -> None:
    """2.10, 2.11."""
    pings = [b"payload-%d" % number for number in range(10)]

    assert await answers(*(masked(PING, ping) for ping in pings), goodbye()) == [
        *((PONG, ping) for ping in pings),
        closed(NORMAL),
    ]


@pytest.mark.parametrize("reserved", [1, 2, 3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
@on_server_loop
async def test_3_reserved_bits_are_refused(opcode: int, reserved: int) -> None:
    """3.1-3.7: on every kind of frame."""
    assert await answers(masked(opcode, b"", reserved=reserved)) == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
@on_server_loop
async def test_3_the_bit_of_an_extension_is_reserved_without_it(opcode: int) -> None:
    """3.4: nothing was agreed on."""
    assert await answers(masked(opcode, b"", is_compressed=True)) == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@on_server_loop
async def test_4_reserved_kinds_are_refused(opcode: int) -> None:
    """4.1, 4.2: what came whole before is answered."""
    said = await answers(masked(TEXT, b"before"), masked(opcode, b"x"), masked(PING))

    assert said == [(TEXT, b"before"), closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@on_server_loop
async def test_5_control_frames_are_never_fragmented(opcode: int) -> None:
    """5.1, 5.2."""
    said = await answers(masked(opcode, b"frag", is_final=False), masked(CONTINUATION, b"ment"))

    assert said == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@on_server_loop
async def test_5_fragments_make_one_message(opcode: int) -> None:
    """5.3-5.5: empty ones too."""
    parts = [masked(opcode, b"a", is_final=False)]
    parts += [masked(CONTINUATION, piece, is_final=False) for piece in (b"b", b"", b"c")]
    said = await echoes(1, b"".join(parts), masked(CONTINUATION, b"d"))

    assert said == [(opcode, b"abcd"), closed(NORMAL)]


@on_server_loop
async def test_5_control_frames_may_come_between_fragments() -> None:
    """5.6-5.8, 5.19, 5.20: each is answered at once, the message when it is whole."""
    said = await echoes(
        1,
        masked(TEXT, b"a", is_final=False),
        masked(PING, b"1"),
        masked(CONTINUATION, b"b", is_final=False),
        masked(PING, b"2"),
        masked(CONTINUATION, b"c"),
    )

    assert said == [(PONG, b"1"), (PONG, b"2"), (TEXT, b"abc"), closed(NORMAL)]


@pytest.mark.parametrize("is_final", [True, False])
@on_server_loop
async def test_5_nothing_cannot_be_continued(is_final: bool) -> None:
    """5.9-5.14."""
    said = await answers(masked(CONTINUATION, b"x", is_final=is_final), masked(TEXT, b"Hello"))

    assert said == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_5_a_message_does_not_begin_within_another() -> None:
    """5.15-5.18."""
    said = await answers(masked(TEXT, b"a", is_final=False), masked(TEXT, b"b"))

    assert said == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    "text",
    ["", HELLO, "κόσμε", "\x00", "\x7f", "\x80", "߿", "ࠀ", "\uffff", "\U00010000", "\ud7ff", "\ue000", "�",
     "\U0010ffff", "\ufffe", "\U0001fffe"],
)  # fmt: skip
@on_server_loop
async def test_6_text_is_utf_8(text: str) -> None:
    """6.1, 6.2, 6.5-6.7, 6.9, 6.22, 6.23: whole, and in pieces of one byte that cut characters."""
    raw = text.encode()
    pieces = [masked(TEXT, raw[:1], is_final=False)]
    pieces += [masked(CONTINUATION, raw[at : at + 1], is_final=False) for at in range(1, len(raw))]
    said = await echoes(2, masked(TEXT, raw), *pieces, masked(CONTINUATION))

    assert said == [(TEXT, raw), (TEXT, raw), closed(NORMAL)]


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
async def test_6_what_is_not_utf_8_is_refused(raw: bytes) -> None:
    """6.3, 6.4, 6.8, 6.10-6.21: surrogates, overlong forms, what is cut off, what lies beyond Unicode."""
    assert await answers(masked(TEXT, raw)) == [closed(BAD_DATA)]


@on_server_loop
async def test_6_bad_text_is_refused_before_its_message_ends() -> None:
    """6.4: nobody waits for the rest."""
    said = await answers(masked(TEXT, b"\xce\xba\xed\xa0\x80", is_final=False))

    assert said == [closed(BAD_DATA)]


@on_server_loop
async def test_7_after_a_close_nothing_is_said() -> None:
    """7.1: whatever still comes."""
    said = await answers(goodbye() + masked(TEXT, b"late") + masked(PING))

    assert said == [closed(NORMAL)]


@on_server_loop
async def test_7_a_close_may_come_between_fragments() -> None:
    """7.1.4-7.1.6: the message is given up."""
    assert await answers(masked(TEXT, b"frag", is_final=False) + goodbye()) == [closed(NORMAL)]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@on_server_loop
async def test_7_a_close_is_answered_with_its_code(code: int) -> None:
    """7.3.2-7.3.4, 7.7: with a reason and without."""
    assert await answers(goodbye(code)) == [closed(code)]
    assert await answers(goodbye(code, b"x" * 123)) == [closed(code)]


@on_server_loop
async def test_7_a_close_may_say_nothing() -> None:
    """7.3.1."""
    assert await answers(goodbye(None)) in ([(CLOSE, b"")], [closed(NORMAL)])


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
async def test_7_a_malformed_close_is_refused(payload: bytes, code: int) -> None:
    """7.3.5, 7.3.6, 7.5, 7.9, 7.13: half a code, too long a reason, a reason that is no text, a code that is none."""
    assert await answers(masked(CLOSE, payload)) in ([closed(code)], [closed(PROTOCOL_ERROR)])


@on_server_loop
async def test_9_a_message_beyond_the_bound_is_refused() -> None:
    """9: the bound is ours, 4 KiB; whole and in fragments."""
    pieces = b"".join(masked(CONTINUATION, b"*" * 64, is_final=False) for _ in range(64))

    assert closed(TOO_BIG) in await answers(masked(BINARY, b"*" * 4097))
    assert closed(TOO_BIG) in await answers(masked(TEXT, b"*", is_final=False) + pieces)


@on_server_loop
async def test_10_small_fragments_make_a_large_message() -> None:
    """10.1: each of a few bytes."""
    pieces = [masked(CONTINUATION, b"*" * 16, is_final=False) for _ in range(255)]
    said = await echoes(1, masked(TEXT, b"*" * 16, is_final=False), b"".join(pieces), masked(CONTINUATION))

    assert said == [(TEXT, b"*" * 4096), closed(NORMAL)]


@on_server_loop
async def test_frames_of_a_client_must_be_masked() -> None:
    """RFC 6455, 5.1."""
    assert await answers(b"\x81\x05Hello") == [closed(PROTOCOL_ERROR)]


@pytest.mark.parametrize("head", [b"\x82\xfe\x00\x05", b"\x82\xff" + bytes(7) + b"\x05", b"\x82\xff\x80" + bytes(7)])
@on_server_loop
async def test_a_length_has_one_spelling(head: bytes) -> None:
    """RFC 6455, 5.2: the shortest, and below 2^63."""
    assert await answers(head + MASK + b"Hello") == [closed(PROTOCOL_ERROR)]


# --- compressed messages


OFFER = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}


def squeezed(payload: bytes, level: int = 6) -> bytes:
    """A payload compressed by itself."""
    squeeze = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


@on_server_loop
async def test_12_compression_is_agreed_on() -> None:
    """The client is asked to compress each message by itself."""
    async with talking(**OFFER) as (_, head):
        pass

    assert "sec-websocket-extensions: permessage-deflate; client_no_context_takeover\r\n" in head.lower()


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 2048])
@on_server_loop
async def test_12_compressed_messages_are_read(size: int, level: int) -> None:
    """12, 13: each by itself, also stored, also one after the other."""
    payload = (HELLO.encode() * 200)[:size].decode(errors="ignore").encode()
    compressed = masked(TEXT, squeezed(payload, level), is_compressed=True)
    said = await echoes(3, compressed, compressed, masked(TEXT, payload), **OFFER)

    assert said == [*[(TEXT, payload)] * 3, closed(NORMAL)]


@on_server_loop
async def test_12_a_compressed_message_may_be_fragmented() -> None:
    """The first frame says so for all; a ping between them is itself."""
    raw = squeezed(b"*" * 1000)
    said = await echoes(
        1,
        masked(BINARY, raw[:5], is_compressed=True, is_final=False),
        masked(PING, b"p"),
        masked(CONTINUATION, raw[5:], is_final=False),
        masked(CONTINUATION),
        **OFFER,
    )

    assert said == [(PONG, b"p"), (BINARY, b"*" * 1000), closed(NORMAL)]


@pytest.mark.parametrize(
    "parts",
    [
        (masked(PING, b"x", is_compressed=True),),
        (masked(TEXT, b"a", is_final=False), masked(CONTINUATION, b"b", is_compressed=True)),
        (masked(TEXT, b"a", reserved=1),),
    ],
    ids=["a control frame", "a continuation", "another bit"],
)
@on_server_loop
async def test_12_only_a_message_can_be_compressed(parts: tuple[bytes, ...]) -> None:
    """RFC 7692, 6.1."""
    assert await answers(*parts, **OFFER) == [closed(PROTOCOL_ERROR)]


@on_server_loop
async def test_12_what_cannot_be_inflated_is_refused() -> None:
    """Garbage is bad data."""
    assert await answers(masked(TEXT, b"\xff" * 20, is_compressed=True), **OFFER) == [closed(BAD_DATA)]


@on_server_loop
async def test_12_compressed_text_is_utf_8_too() -> None:
    """It is judged as it is after inflating."""
    assert await answers(masked(TEXT, squeezed(b"\xc0\xaf"), is_compressed=True), **OFFER) == [closed(BAD_DATA)]


@pytest.mark.parametrize("offer", ["permessage-deflate; server_max_window_bits=9", "x-unknown", "permessage-deflate=1"])
@on_server_loop
async def test_13_an_offer_that_does_not_suit_is_declined(offer: str) -> None:
    """The connection goes on without compression."""
    async with talking(Sec_WebSocket_Extensions=offer) as (_, head):
        pass
    said = await echoes(1, masked(TEXT, b"Hello"), Sec_WebSocket_Extensions=offer)

    assert "sec-websocket-extensions" not in head.lower()
    assert said == [(TEXT, b"Hello"), closed(NORMAL)]


# --- while the feed streams


@pytest.mark.parametrize("headers", [{}, OFFER], ids=["plain", "compressed"])
@on_server_loop
async def test_pings_while_streaming_are_answered_between_whole_frames(headers: dict[str, str]) -> None:
    """Views, pongs and the close are written by two parties and never cut each other."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port, receive_buffer_bytes=0, **headers)
        loop, received = asyncio.get_running_loop(), b""
        for seq in range(1, 51):
            web.publish(seq, padding=300)
            await loop.sock_sendall(client, masked(PING, b"%d" % seq))
            received += await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)
        await loop.sock_sendall(client, goodbye())
        said = frames(received + await read_to_end(client))
        client.close()

    assert [payload for opcode, payload in said if opcode == PONG] == [b"%d" % seq for seq in range(1, 51)]
    assert {opcode for opcode, _ in said[:-1]} - {PING} == {TEXT, PONG}  # after enough bytes the server asks, too
    assert said[-1] == closed(NORMAL)


@on_server_loop
async def test_nothing_follows_a_close_frame() -> None:
    """Neither the client's goodbye nor ours is followed by a view, however fast they come."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port, receive_buffer_bytes=4096)
        loop = asyncio.get_running_loop()
        for seq in range(1, 31):
            web.publish(seq, padding=10_000)
            if seq == 15:
                await loop.sock_sendall(client, goodbye())
            await asyncio.sleep(0)
        said = frames(await read_to_end(client))
        client.close()

    assert said[-1] == closed(NORMAL)
    assert [opcode for opcode, _ in said[:-1]] == [TEXT] * (len(said) - 1)


@on_server_loop
async def test_a_bomb_is_inflated_no_further_than_a_message_may_be() -> None:
    """6 KB that would be 6 MB cost 4 KB, and the connection."""
    bomb = squeezed(bytes(6 * 2**20), 9)
    said = await answers(masked(TEXT, bomb, is_compressed=True), **OFFER)

    assert len(bomb) < 8000
    assert said == [closed(TOO_BIG)]
