"""The last message per topic and who is listening. No I/O, no framework, and no idea of what a message means.

A message is a whole picture, so a newer one replaces an older one everywhere: here, and with each listener.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pulse.framing import Message

OWN_SILENCE_MAX_S = 3.0
"""While an instance speaks at least this often, no other one is heard on its topic: two processes overlap for a
minute at each deploy, and a page must not jump between their books. Pictures come at least once a second."""
STAMP = re.compile(rb'\{"seq":([0-9]{1,18}),"instance":"([0-9a-f]{1,32})",')
"""How every picture begins: it can be judged without decoding it."""


def read_stamp(payload: bytes) -> tuple[str, int]:
    """The instance that made a picture and its sequence number. Raises ValueError if it does not begin as ours do."""
    match = STAMP.match(payload)
    if match is None:
        raise ValueError(f'a picture begins with {{"seq":...,"instance":"...", this message with {payload[:40]!r}')
    return match[2].decode(), int(match[1])


class Listener(Protocol):
    """Who joined a topic."""

    def put(self, message: Message) -> None:
        """Take the newest picture."""

    def end(self) -> None:
        """There will be no more."""


@dataclass(slots=True)
class _Held:
    message: Message
    instance: str
    seq: int
    heard_at_s: float


class Hub:
    """Keeps the newest picture of each topic and hands it to those who joined the topic.

    `instance` is this process's own stamp, `clock` gives monotonic seconds. `dropped` counts messages not passed on.
    """

    def __init__(self, topics: Iterable[str], instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: dict[str, _Held | None] = dict.fromkeys(topics)
        self._listeners: dict[str, set[Listener]] = {topic: set() for topic in self._held}
        self._instance = instance
        self._clock = clock
        self._closed = False
        self.dropped = 0

    def publish(self, topic: str, payload: bytes) -> None:
        """Keep and pass on a picture, unless it is old, from an instance that is not the one to hear, or not ours."""
        message = self._judge(topic, payload)
        if message is None:
            self.dropped += 1
            return
        for listener in self._listeners[topic]:
            listener.put(message)

    def _judge(self, topic: str, payload: bytes) -> Message | None:
        """Hold a picture if it is news."""
        try:
            held = self._held[topic]
            instance, seq = read_stamp(payload)
        except (KeyError, ValueError):
            return None
        now_s = self._clock()
        if held is not None and not self._follows(held, instance, seq, now_s):
            return None
        message = Message(payload)
        self._held[topic] = _Held(message, instance, seq, now_s)
        return message

    def _follows(self, held: _Held, instance: str, seq: int, now_s: float) -> bool:
        if instance == held.instance:
            return seq > held.seq
        return instance == self._instance or now_s - held.heard_at_s > OWN_SILENCE_MAX_S

    def latest(self, topic: str) -> bytes | None:
        """The newest picture of a topic; None before the first, and for a topic that there is not."""
        held = self._held.get(topic)
        return None if held is None else held.message.payload

    def is_heard(self, topic: str) -> bool:
        """Whether anybody listens to a topic."""
        return bool(self._listeners.get(topic))

    def join(self, topic: str, listener: Listener) -> None:
        """Listen to a topic, beginning with its latest picture. Raises KeyError for one that there is not."""
        self._listeners[topic].add(listener)
        held = self._held[topic]
        if held is not None:
            listener.put(held.message)
        if self._closed:
            listener.end()

    def leave(self, topic: str, listener: Listener) -> None:
        """Forget a listener. Leaving twice does no harm."""
        self._listeners[topic].discard(listener)

    def close(self) -> None:
        """Tell every listener, and whoever joins from now on, that there is no more. Closing twice does no harm."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in tuple(listeners):
                listener.end()
