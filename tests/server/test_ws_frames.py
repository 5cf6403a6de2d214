"""Frames and compressed messages, byte for byte, judged by another implementation of the same standards."""

import zlib

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage
from wsproto.extensions import PerMessageDeflate

from pulse.server.ws_frames import PONG_FRAME, Message, deflate_answer, sole_pong


def read(data: bytes, *, deflated: bool = False) -> str:
    """The text that a client of wsproto reads from these bytes."""
    extension = PerMessageDeflate()
    if deflated:
        extension.finalize("permessage-deflate")
    client = Connection(ConnectionType.CLIENT, [extension])
    client.receive_data(data)
    return "".join(str(event.data) for event in client.events() if isinstance(event, TextMessage))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("deflated", [False, True])
def test_a_message_is_read_as_it_was_written(size: int, deflated: bool) -> None:
    """At each size at which the header changes its form, compressed or not."""
    message = Message(b"x" * size)

    assert read(message.frame(deflated), deflated=deflated) == "x" * size


def test_compressed_messages_stand_alone() -> None:
    """One client reads all of them, another begins in the middle: the same bytes serve both."""
    first, second = (Message(b'{"seq":%d,"bids":[[1.5,2.5]]}' % seq).frame(deflated=True) for seq in (1, 2))
    both = read(first + second, deflated=True)

    assert both == '{"seq":1,"bids":[[1.5,2.5]]}{"seq":2,"bids":[[1.5,2.5]]}'
    assert read(second, deflated=True) == '{"seq":2,"bids":[[1.5,2.5]]}'


def test_a_frame_is_made_once() -> None:
    """The thousandth client costs a reference."""
    message = Message(b"{}")

    assert message.frame(deflated=True) is message.frame(deflated=True)
    assert message.frame(deflated=False) is message.frame(deflated=False)


def test_a_picture_shrinks() -> None:
    """Compression is worth its while on what we send."""
    payload = ("[" + ",".join(f"[{61837 + n}.63,{n}.65427]" for n in range(40)) + "]").encode()

    assert len(Message(payload).frame(deflated=True)) < 0.6 * len(payload)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate;client_max_window_bits=8", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=15",
        ),
        (
            'permessage-deflate; server_max_window_bits="15"',
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=15",
        ),
        ("permessage-deflate; server_max_window_bits=14", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=08", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; surprise", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_an_offer_is_granted_where_our_frames_suit_it(offer: str, answer: str | None) -> None:
    """RFC 7692: what is asked of the server is confirmed or the offer declined; what is unknown declines it too."""
    assert deflate_answer(offer) == answer


def test_a_pong_alone_is_recognised() -> None:
    """Its payload is unmasked."""
    mask, payload = b"\x01\x02\x03\x04", b"\0\0\0\x07"
    masked = bytes(byte ^ key for byte, key in zip(payload, mask, strict=True))

    assert sole_pong(bytes((PONG_FRAME, 0x84)) + mask + masked) == payload


@pytest.mark.parametrize(
    "data",
    [b"", b"\x8a", b"\x8a\x84\0\0\0\0abc", b"\x8a\x84\0\0\0\0abcde", b"\x89\x84\0\0\0\0abcd", b"\x8a\x04abcdefgh"],
    ids=["nothing", "a byte", "a part", "more", "a ping", "unmasked"],
)
def test_what_is_not_a_pong_alone_is_not_taken_for_one(data: bytes) -> None:
    """Then the whole stream must be parsed, elsewhere."""
    assert sole_pong(data) == b""


def test_a_payload_is_compressed_by_zlib_s_measure() -> None:
    """Any inflater of 15 bits reads it once the tail is put back."""
    raw = Message(b"abcabcabc" * 20).frame(deflated=True)
    inflater = zlib.decompressobj(-15)

    assert raw[0] == 0xC1
    assert inflater.decompress(raw[2:] + b"\x00\x00\xff\xff") == b"abcabcabc" * 20
