"""Frames and compressed messages, read by another implementation of RFC 6455 and RFC 7692."""

import zlib

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage
from wsproto.extensions import PerMessageDeflate

from pulse.server.ws_frames import PONG_FRAME, EncodedMessage, lone_pong_payload, negotiate_deflate


def read(data: bytes, *, deflated: bool = False) -> str:
    """Return the text that a client of wsproto reads from these bytes."""
    extension = PerMessageDeflate()
    if deflated:
        extension.finalize("permessage-deflate")
    client = Connection(ConnectionType.CLIENT, [extension])
    client.receive_data(data)
    return "".join(str(event.data) for event in client.events() if isinstance(event, TextMessage))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("deflated", [False, True])
def test_a_message_is_read_as_it_was_encoded(size: int, deflated: bool) -> None:
    """At each size at which the length field changes, compressed or not."""
    message = EncodedMessage(b"x" * size)

    assert read(message.frame(deflated), deflated=deflated) == "x" * size


def test_compressed_messages_need_no_context() -> None:
    """One client reads all of them, another begins at the second: the same bytes serve both."""
    first, second = (EncodedMessage(b'{"seq":%d,"bids":[[1.5,2.5]]}' % seq).frame(deflated=True) for seq in (1, 2))
    both = read(first + second, deflated=True)

    assert both == '{"seq":1,"bids":[[1.5,2.5]]}{"seq":2,"bids":[[1.5,2.5]]}'
    assert read(second, deflated=True) == '{"seq":2,"bids":[[1.5,2.5]]}'


def test_a_frame_is_encoded_once() -> None:
    """Each further client costs a reference."""
    message = EncodedMessage(b"{}")

    assert message.frame(deflated=True) is message.frame(deflated=True)
    assert message.frame(deflated=False) is message.frame(deflated=False)


def test_a_view_compresses_well() -> None:
    """Typical levels of a book need less than 0.6 of their size."""
    payload = ("[" + ",".join(f"[{61837 + n}.63,{n}.65427]" for n in range(40)) + "]").encode()

    assert len(EncodedMessage(payload).frame(deflated=True)) < 0.6 * len(payload)


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
def test_an_offer_is_accepted_if_our_frames_meet_it(offer: str, answer: str | None) -> None:
    """RFC 7692: parameters for the server are repeated or the offer is declined; unknown ones decline it too."""
    assert negotiate_deflate(offer) == answer


def test_a_lone_pong_is_unmasked() -> None:
    """The payload is XORed with the mask."""
    mask, payload = b"\x01\x02\x03\x04", b"\0\0\0\x07"
    masked = bytes(byte ^ key for byte, key in zip(payload, mask, strict=True))

    assert lone_pong_payload(bytes((PONG_FRAME, 0x84)) + mask + masked) == payload


@pytest.mark.parametrize(
    "data",
    [b"", b"\x8a", b"\x8a\x84\0\0\0\0abc", b"\x8a\x84\0\0\0\0abcde", b"\x89\x84\0\0\0\0abcd", b"\x8a\x04abcdefgh"],
    ids=["empty", "one byte", "incomplete", "more data", "ping", "unmasked"],
)
def test_anything_but_a_lone_pong_has_no_payload(data: bytes) -> None:
    """Wsproto must parse such input."""
    assert lone_pong_payload(data) == b""


def test_any_raw_inflater_reads_a_compressed_frame() -> None:
    """With a 15-bit window, once the tail of the sync flush is appended."""
    raw = EncodedMessage(b"abcabcabc" * 20).frame(deflated=True)
    inflater = zlib.decompressobj(-15)

    assert raw[0] == 0xC1
    assert inflater.decompress(raw[2:] + b"\x00\x00\xff\xff") == b"abcabcabc" * 20
