"""The last message per topic and who is listening. No I/O, no framework, and no idea of what a message means.

A message is a whole picture, so a newer one replaces an older one everywhere: here, and in each listener's slot.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pulse.conflate import ConflatingQueue

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


class Listener:
    """What one session is still owed: at most one picture per topic, and then perhaps the end."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = tuple(topics)
        self._owed: ConflatingQueue[str, bytes] = ConflatingQueue()
        self._ended = False

    @property
    def replaced(self) -> int:
        """How many pictures gave way to a newer one before they were taken."""
        return self._owed.replaced

    def put(self, topic: str, payload: bytes) -> None:
        """Owe this picture in place of any older one of its topic."""
        self._owed.put(topic, payload)

    def end(self) -> None:
        """Nothing more is owed: `next` returns None from now on, whatever still waits."""
        self._ended = True
        self._owed.put("", b"")  # wakes a `next` that waits

    async def next(self) -> bytes | None:
        """Wait for the picture that has been owed longest; None once there will be no more."""
        if self._ended:
            return None
        _, payload = await self._owed.get()
        return None if self._ended else payload


@dataclass(slots=True)
class _Held:
    payload: bytes
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
        if topic not in self._held or not self._is_news(topic, payload):
            self.dropped += 1
            return
        for listener in self._listeners[topic]:
            listener.put(topic, payload)

    def _is_news(self, topic: str, payload: bytes) -> bool:
        """Judge a picture and hold it if it is news."""
        try:
            instance, seq = read_stamp(payload)
        except ValueError:
            return False
        now_s = self._clock()
        held = self._held[topic]
        if held is not None and not self._follows(held, instance, seq, now_s):
            return False
        self._held[topic] = _Held(payload, instance, seq, now_s)
        return True

    def _follows(self, held: _Held, instance: str, seq: int, now_s: float) -> bool:
        if instance == held.instance:
            return seq > held.seq
        return instance == self._instance or now_s - held.heard_at_s > OWN_SILENCE_MAX_S

    def latest(self, topic: str) -> bytes | None:
        """The newest picture of a topic; None before the first, and for a topic that there is not."""
        held = self._held.get(topic)
        return None if held is None else held.payload

    def is_heard(self, topic: str) -> bool:
        """Whether anybody listens to a topic."""
        return bool(self._listeners.get(topic))

    def join(self, topics: Iterable[str]) -> Listener:
        """Listen to these topics, beginning with their latest pictures. Raises KeyError for one that there is not."""
        listener = Listener(topics)
        for topic in listener.topics:
            self._listeners[topic].add(listener)
            latest = self.latest(topic)
            if latest is not None:
                listener.put(topic, latest)
        if self._closed:
            listener.end()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener. Leaving twice does no harm."""
        for topic in listener.topics:
            self._listeners[topic].discard(listener)

    def close(self) -> None:
        """Tell every listener, and whoever joins from now on, that there is no more. Closing twice does no harm."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()
