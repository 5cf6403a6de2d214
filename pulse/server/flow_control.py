"""How far ahead of its reading a client may be sent to, known from pings that travel among its messages.

The kernel tells when it has passed bytes on, not when anybody reads them: left to themselves the kernels on the way
hold more than 8 s of what a client of 20 KB/s takes. A pong tells. Pure: bytes are counted here and moved elsewhere,
and time, in seconds of any one clock, is an argument.
"""

from dataclasses import dataclass, field

from pulse.server.ws_frames import PING_FRAME, frame

GAP_MIN_BYTES, GAP_MAX_BYTES = 16 * 1024, 64 * 1024
"""After so many bytes a client is asked how far it has read: the more often the slower it answers. A pong costs as
much as two or three messages, so who is quick is asked rarely. Twice the gap may be on its way at once."""
QUICK_S = 0.5
"""An answer that takes longer is a slow reader's; the longest way round the world takes less."""


@dataclass(slots=True)
class ByteCounter:
    """Counts the bytes sent to everybody who shares it: one addition, however many they are."""

    total: int = 0


@dataclass(slots=True)
class AckWindow:
    """What one client was sent and has not answered for, as places on a meter that others may share."""

    _meter: ByteCounter = field(default_factory=ByteCounter)
    _gap: int = GAP_MIN_BYTES
    _read_to: int = 0  # a pong has answered for everything up to here
    _asked_to: int = 0  # where the newest ping was sent
    _is_asked: bool = False  # it has not been answered
    _asked_at_s: float = 0.0
    _number: int = 0

    @property
    def is_asked(self) -> bool:
        """Whether a ping is on its way."""
        return self._is_asked

    @property
    def ask_at(self) -> int:
        """The meter's total at which the client is to be asked, if nothing is on its way."""
        return self._asked_to + self._gap

    def is_open(self, now_s: float) -> bool:
        """Whether the client may be sent more now."""
        is_late = self._is_asked and now_s - self._asked_at_s > QUICK_S
        return self._meter.total - self._read_to < 2 * (GAP_MIN_BYTES if is_late else self._gap)

    def share(self, meter: ByteCounter) -> None:
        """From now on whatever this meter counts is sent to the client."""
        ahead = meter.total - self._meter.total
        self._read_to += ahead
        self._asked_to += ahead
        self._meter = meter

    def send(self, size: int, now_s: float) -> bytes:
        """So many bytes, which the meter does not count, are being sent: the ping to send right behind, or nothing."""
        self._read_to -= size
        self._asked_to -= size
        return self.ask(now_s)

    def probe(self) -> bytes:
        """The payload of the ping that is on its way; empty: there is none."""
        return self._number.to_bytes(4, "big") if self._is_asked else b""

    def answer(self, payload: bytes, now_s: float) -> bytes:
        """A pong has come: the ping to send next, or nothing. One that was not asked for changes nothing."""
        if not self._is_asked or payload != self.probe():
            return b""
        is_quick = now_s - self._asked_at_s <= QUICK_S
        self._gap = min(GAP_MAX_BYTES, 2 * self._gap) if is_quick else GAP_MIN_BYTES
        self._read_to = self._asked_to
        self._is_asked = False
        return self.ask(now_s)

    def ask(self, now_s: float) -> bytes:
        """The ping to send behind all that was sent so far; nothing, unless it is time for one."""
        if self._is_asked or self._meter.total < self.ask_at:
            return b""
        self._asked_to = self._meter.total
        self._is_asked = True
        self._asked_at_s = now_s
        self._number = (self._number + 1) % 2**32
        return frame(PING_FRAME, self.probe())
