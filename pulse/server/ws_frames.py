"""WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692) as bytes.

Pure: it knows no socket and no market. A message is framed and compressed once, however many clients receive it.
"""

import zlib

FIN, RSV1, MASK = 0x80, 0x40, 0x80
"""Bits of a frame's first byte (FIN: last fragment, RSV1: compressed message) and of its second (MASK)."""
TEXT_FRAME, PING_FRAME, PONG_FRAME = FIN | 0x1, FIN | 0x9, FIN | 0xA
"""First bytes of unfragmented frames: FIN and the opcode."""
WINDOW_BITS = 15
SYNC_FLUSH_TAIL = b"\x00\x00\xff\xff"
"""End of a sync flush: the sender strips it from each message, the receiver appends it (RFC 7692, 7.2)."""
DEFLATE = "permessage-deflate"
SERVER_PARAMETERS = {("server_no_context_takeover", ""), ("server_max_window_bits", str(WINDOW_BITS))}
"""Parameters of an offer that constrain our messages and that these meet anyway; an answer must repeat them."""
CLIENT_PARAMETERS = {
    ("client_no_context_takeover", ""),
    *(("client_max_window_bits", bits) for bits in ("", *map(str, range(8, 16)))),
}
"""Parameters of an offer that concern the client's own messages; an answer need not repeat them."""


def frame(first_byte: int, payload: bytes) -> bytes:
    """Return one unmasked frame, as a server sends it; `first_byte` holds FIN, the reserved bits and the opcode."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65536:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def deflate(payload: bytes) -> bytes:
    """Compress a payload without context takeover, so that any client with a 15-bit window can read it at any time."""
    compressor = zlib.compressobj(wbits=-WINDOW_BITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(SYNC_FLUSH_TAIL)


class EncodedMessage:
    """One message for any number of clients: its JSON payload, and its frames, each encoded on first use and cached."""

    __slots__ = ("_deflated", "_plain", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._plain = b""
        self._deflated = b""

    def frame(self, deflated: bool) -> bytes:
        """Return the whole frame, compressed or plain."""
        if deflated:
            if not self._deflated:
                self._deflated = frame(TEXT_FRAME | RSV1, deflate(self.payload))
            return self._deflated
        if not self._plain:
            self._plain = frame(TEXT_FRAME, self.payload)
        return self._plain


def negotiate_deflate(offer: str) -> str | None:
    """Return the answer to one offer of the header Sec-WebSocket-Extensions; None to decline it.

    Our messages need a window of 15 bits. The client must compress each of its messages without context takeover, so
    no state is kept between them.
    """
    name, *parameters = (part.strip() for part in offer.split(";"))
    given = dict(parameter.replace(" ", "").partition("=")[::2] for parameter in parameters)
    if name != DEFLATE or len(given) != len(parameters):
        return None
    answer = [DEFLATE, "client_no_context_takeover"]
    for key, value in given.items():
        parameter = (key, value.strip('"'))
        if parameter in SERVER_PARAMETERS:
            answer.append("=".join(filter(None, parameter)))
        elif parameter not in CLIENT_PARAMETERS:
            return None
    return "; ".join(answer)


def lone_pong_payload(data: bytes) -> bytes:
    """Return the unmasked payload if these bytes are exactly one pong of a client; otherwise b""."""
    if len(data) < 6 or data[0] != PONG_FRAME or data[1] != MASK | len(data) - 6 or len(data) > 131:
        return b""
    payload = data[6:]
    mask = (data[2:6] * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")
