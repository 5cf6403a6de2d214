"""Flow control: bounds the bytes a client has not acknowledged, using pongs as acknowledgements.

The kernel reports that it has passed bytes on, not that the client's program has read them: TCP's buffers on the way
hold more than 8 s of what a client of 20 KB/s reads. So pings are sent among the messages, and a pong acknowledges
everything sent before its ping. Pure: arithmetic alone; time, in seconds of any one clock, is an argument.
"""

from dataclasses import dataclass, field

from pulse.server.ws_frames import PING_FRAME, frame

ACK_INTERVAL_MIN_BYTES, ACK_INTERVAL_MAX_BYTES = 16 * 1024, 64 * 1024
"""A ping is sent after so many bytes: the fewer the slower the client answers. A pong costs as much as two or three
messages, so fast clients are pinged rarely. The send window is two intervals."""
FAST_PONG_MAX_S = 0.5
"""A pong that takes longer comes from a slow reader: the longest round trip on Earth takes less."""


@dataclass(slots=True)
class ByteCounter:
    """Counts the bytes sent to all clients that share it: one addition per broadcast, however many they are."""

    total: int = 0


@dataclass(slots=True)
class AckWindow:
    """The send window of one client. Its offsets are values of a `ByteCounter`, which other clients may share."""

    _counter: ByteCounter = field(default_factory=ByteCounter)
    _interval_bytes: int = ACK_INTERVAL_MIN_BYTES
    _acked_offset: int = 0  # everything before it has been acknowledged
    _ping_offset: int = 0  # where the newest ping was sent
    _has_outstanding_ping: bool = False
    _pinged_at_s: float = 0.0
    _ping_number: int = 0

    @property
    def has_outstanding_ping(self) -> bool:
        """Whether a ping has not been answered yet."""
        return self._has_outstanding_ping

    @property
    def next_ping_offset(self) -> int:
        """The counter's total at which the next ping is due, if none is outstanding."""
        return self._ping_offset + self._interval_bytes

    def is_open(self, now_s: float) -> bool:
        """Return whether the client may be sent more now: fewer than two intervals are unacknowledged.

        While a pong is late, the interval is the smallest.
        """
        is_late = self._has_outstanding_ping and now_s - self._pinged_at_s > FAST_PONG_MAX_S
        interval_bytes = ACK_INTERVAL_MIN_BYTES if is_late else self._interval_bytes
        return self._counter.total - self._acked_offset < 2 * interval_bytes

    def use_counter(self, counter: ByteCounter) -> None:
        """Count with this counter from now on; what is unacknowledged stays so."""
        shift = counter.total - self._counter.total
        self._acked_offset += shift
        self._ping_offset += shift
        self._counter = counter

    def count_sent(self, size: int, now_s: float) -> bytes:
        """Count bytes sent to this client alone; return the ping to send after them, or b"".

        The offsets move back instead of the counter forward, since other clients may share the counter.
        """
        self._acked_offset -= size
        self._ping_offset -= size
        return self.ping_if_due(now_s)

    def ping_payload(self) -> bytes:
        """Return the payload of the outstanding ping; b"" if there is none."""
        return self._ping_number.to_bytes(4, "big") if self._has_outstanding_ping else b""

    def on_pong(self, payload: bytes, now_s: float) -> bytes:
        """Acknowledge what was sent before the ping that this pong answers; return the next ping if it is due, or b"".

        A pong that answers no outstanding ping is ignored. A fast one doubles the interval, a slow one resets it.
        """
        if not self._has_outstanding_ping or payload != self.ping_payload():
            return b""
        is_fast = now_s - self._pinged_at_s <= FAST_PONG_MAX_S
        self._interval_bytes = (
            min(ACK_INTERVAL_MAX_BYTES, 2 * self._interval_bytes) if is_fast else ACK_INTERVAL_MIN_BYTES
        )
        self._acked_offset = self._ping_offset
        self._has_outstanding_ping = False
        return self.ping_if_due(now_s)

    def ping_if_due(self, now_s: float) -> bytes:
        """Return the ping to send after everything sent so far, as a whole frame; b"" if none is due."""
        if self._has_outstanding_ping or self._counter.total < self.next_ping_offset:
            return b""
        self._ping_offset = self._counter.total
        self._has_outstanding_ping = True
        self._pinged_at_s = now_s
        self._ping_number = (self._ping_number + 1) % 2**32
        return frame(PING_FRAME, self.ping_payload())
