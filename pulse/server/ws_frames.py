"""WebSocket frames (RFC 6455) and compressed messages (RFC 7692) as bytes.

Pure: it knows no socket and no market. A message is framed once and compressed once, however many take it.
"""

import zlib

TEXT_FRAME, PING_FRAME, PONG_FRAME = 0x81, 0x89, 0x8A
"""First bytes of whole, unfragmented frames."""
DEFLATED = 0x40
"""The bit of the first byte that says "compressed"."""
MASKED = 0x80
WINDOW_BITS = 15
SYNC_TAIL = b"\x00\x00\xff\xff"
"""What a sync flush ends with: the sender leaves it out, the receiver puts it back."""
DEFLATE = "permessage-deflate"
GRANTED = {("server_no_context_takeover", ""), ("server_max_window_bits", str(WINDOW_BITS))}
"""What a client may ask of our messages, for they are that already; the standard wants it confirmed."""
HARMLESS = {
    ("client_no_context_takeover", ""),
    *(("client_max_window_bits", bits) for bits in ("", *map(str, range(8, 16)))),
}
"""What it may say of its own."""


def frame(first_byte: int, payload: bytes) -> bytes:
    """One whole frame as a server sends it; `first_byte` holds its flags and its kind."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65536:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def deflate(payload: bytes) -> bytes:
    """A payload compressed by itself: every client that agreed to a 15-bit window can read it at any time."""
    squeeze = zlib.compressobj(wbits=-WINDOW_BITS)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(SYNC_TAIL)


class Message:
    """One message to any number of clients: its JSON, and its frames, each made when first asked for."""

    __slots__ = ("_deflated", "_plain", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._plain = b""
        self._deflated = b""

    def frame(self, deflated: bool) -> bytes:
        """The whole frame, for those who take compressed messages or for those who do not."""
        if deflated:
            if not self._deflated:
                self._deflated = frame(TEXT_FRAME | DEFLATED, deflate(self.payload))
            return self._deflated
        if not self._plain:
            self._plain = frame(TEXT_FRAME, self.payload)
        return self._plain


def deflate_answer(offer: str) -> str | None:
    """What to answer to one offer of an extension; None to decline it.

    Our messages need a window of 15 bits. The client is told to compress each of its messages by itself, so nothing
    of one is kept for the next.
    """
    name, *parameters = (part.strip() for part in offer.split(";"))
    given = dict(parameter.replace(" ", "").partition("=")[::2] for parameter in parameters)
    if name != DEFLATE or len(given) != len(parameters):
        return None
    answer = [DEFLATE, "client_no_context_takeover"]
    for key, value in given.items():
        wish = (key, value.strip('"'))
        if wish in GRANTED:
            answer.append("=".join(filter(None, wish)))
        elif wish not in HARMLESS:
            return None
    return "; ".join(answer)


def sole_pong(data: bytes) -> bytes:
    """The payload of a client's short pong, if these bytes are one and nothing else; empty if they are not."""
    if len(data) < 6 or data[0] != PONG_FRAME or data[1] != MASKED | len(data) - 6 or len(data) > 131:
        return b""
    payload = data[6:]
    mask = (data[2:6] * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")
