"""The bus within this process: the default, and the way round a Redis that is away.

It holds at most one payload per topic on its way and one that was the latest; it knows no network and no task.
"""

from collections.abc import AsyncGenerator, Iterable

from pulse.bus.contract import BusHealth
from pulse.queues import ConflatingQueue


class MemoryBus:
    """The contract of `Bus` without a server: what is published is what `messages` gives."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._latest: dict[str, bytes | None] = {}
        self._due: ConflatingQueue[str, bytes] = ConflatingQueue()
        self._is_read = False
        self._is_closed = False
        self.open(topics)

    def open(self, topics: Iterable[str]) -> None:
        """Carry these topics too."""
        for topic in topics:
            self._latest.setdefault(topic, None)

    def drop(self, topics: Iterable[str]) -> None:
        """Carry these no more."""
        for topic in topics:
            self._latest.pop(topic, None)
            self._due.discard(topic)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand over the newest payload of a topic. Raises ValueError for a topic that there is not."""
        self.put(topic, payload)

    def put(self, topic: str, payload: bytes) -> None:
        """The same, for callers that are not coroutines."""
        if topic not in self._latest:
            raise ValueError(f"expected one of this bus's {len(self._latest)} topics, got {topic!r}")
        self._latest[topic] = payload
        self._due.put(topic, payload)

    async def messages(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Every topic's latest payload, then what comes, until `close`. Raises RuntimeError when already being read."""
        if self._is_read:
            raise RuntimeError("expected one reader of this bus, got a second one while the first still reads")
        self._is_read = True
        try:
            for topic, latest in tuple(self._latest.items()):
                if latest is not None:
                    self._due.put(topic, latest)
            while not self._is_closed:
                topic, payload = await self._due.get()
                if not self._is_closed:
                    yield topic, payload
        finally:
            self._is_read = False

    def health(self) -> BusHealth:
        """Always well: there is nothing that could fail."""
        return BusHealth("memory", True, "")

    async def close(self) -> None:
        """End `messages`. Closing twice does no harm."""
        self.end()

    def end(self) -> None:
        """The same, for callers that are not coroutines."""
        self._is_closed = True
        self._due.put("", b"")  # wakes a reader that waits
