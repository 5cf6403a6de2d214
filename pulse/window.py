"""How far ahead of its reading a client may be sent to, known from pings that travel among its messages.

The kernel tells when it has passed bytes on, not when anybody reads them: left to themselves the kernels on the way
hold more than 8 s of what a client of 20 KB/s takes. A pong tells. Pure: bytes are counted here and moved elsewhere,
and time, in seconds of any one clock, is an argument.
"""

from dataclasses import dataclass

from pulse.framing import PING_FRAME, frame

GAP_MIN_BYTES, GAP_MAX_BYTES = 16 * 1024, 64 * 1024
"""After so many bytes a client is asked how far it has read: the more often the slower it answers. A pong costs as
much as two or three messages, so who is quick is asked rarely. Twice the gap may be on its way at once."""
QUICK_S = 0.5
"""An answer that takes longer is a slow reader's; the longest way round the world takes less."""


@dataclass(slots=True)
class Window:
    """What one client was sent and has not answered for."""

    _gap: int = GAP_MIN_BYTES
    _unanswered: int = 0  # bytes sent that no pong has answered for
    _unasked: int = 0  # of those, what was sent since the newest ping
    _asked: int = 0  # what the answer to the ping on its way will confirm; 0: there is none
    _asked_at_s: float = 0.0
    _number: int = 0

    def is_open(self, now_s: float) -> bool:
        """Whether the client may be sent more now."""
        is_late = self._asked and now_s - self._asked_at_s > QUICK_S
        return self._unanswered < 2 * (GAP_MIN_BYTES if is_late else self._gap)

    def send(self, size: int, now_s: float) -> bytes:
        """So many bytes are being sent: the ping to send right behind them, or nothing."""
        self._unanswered += size
        self._unasked += size
        return self._ask(now_s)

    def probe(self) -> bytes:
        """The payload of the ping that is on its way; empty: there is none."""
        return self._number.to_bytes(4, "big") if self._asked else b""

    def answer(self, payload: bytes, now_s: float) -> bytes:
        """A pong has come: the ping to send next, or nothing. One that was not asked for changes nothing."""
        if not self._asked or payload != self.probe():
            return b""
        is_quick = now_s - self._asked_at_s <= QUICK_S
        self._gap = min(GAP_MAX_BYTES, 2 * self._gap) if is_quick else GAP_MIN_BYTES
        self._unanswered -= self._asked
        self._asked = 0
        return self._ask(now_s)

    def _ask(self, now_s: float) -> bytes:
        if self._asked or self._unasked < self._gap:
            return b""
        self._asked, self._unasked = self._unasked, 0
        self._asked_at_s = now_s
        self._number = (self._number + 1) % 2**32
        return frame(PING_FRAME, self.probe())
