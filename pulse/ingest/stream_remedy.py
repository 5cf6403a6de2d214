"""What is done about streams of one connection that have fallen silent. It decides; the connection's owner acts.

A silent stream is subscribed to again, all that are due in one message. If it is reported silent again later than
HELPS_WITHIN_S after that, the connection is to be replaced; and again while it stays silent, each time after twice as
long a wait. A frame of the stream ends its case.
"""

from dataclasses import dataclass
from typing import NamedTuple

HELPS_WITHIN_S = 5.0
"""A new subscription shows its effect within this time."""
REPLACE_AGAIN_FIRST_S, REPLACE_AGAIN_MAX_S = 30.0, 1_800.0
"""A connection is opened for the same silent stream no sooner than this after the last, doubled each time."""


@dataclass(slots=True)
class _Case:
    """One silent stream: when the connection may be replaced for it, and how long to wait after that."""

    replace_after_ms: float
    wait_s: float = REPLACE_AGAIN_FIRST_S


class Remedy(NamedTuple):
    """What is due: kinds of streams to subscribe to again, and those for which the connection is to be replaced."""

    resubscribe: list[str]
    replace_for: list[str]


class StreamRemedy:
    """The cases of one symbol's silent streams; they outlive a connection. At most one per kind of stream."""

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}
        self._resubscribe: list[str] = []
        self._replace_for: list[str] = []

    @property
    def is_active(self) -> bool:
        """Whether any stream has a case: only then `on_frame` must be called."""
        return bool(self._cases)

    def on_silent(self, kind: str, now_ms: float) -> None:
        """Take the report that a stream is silent, for the first time or still."""
        case = self._cases.get(kind)
        if case is None:
            self._cases[kind] = _Case(now_ms + HELPS_WITHIN_S * 1000)
            self._resubscribe.append(kind)
        elif now_ms >= case.replace_after_ms:
            case.replace_after_ms = now_ms + case.wait_s * 1000
            case.wait_s = min(2 * case.wait_s, REPLACE_AGAIN_MAX_S)
            self._replace_for.append(kind)

    def on_frame(self, kind: str) -> None:
        """Take the news that a stream has sent something."""
        self._cases.pop(kind, None)

    def take(self) -> Remedy:
        """Return what has become due since the last call."""
        due = Remedy(self._resubscribe, self._replace_for)
        self._resubscribe, self._replace_for = [], []
        return due
