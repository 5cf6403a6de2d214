"""How the tests of the bus read it: in the background, every wait bounded, and nothing left behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus

TOPICS = ("book:BTCUSDT", "book:ETHUSDT")
BTC, ETH = TOPICS
WAIT_S = 8.0
"""The bound of every wait; what is promised to be faster is measured."""
LOOK_EVERY_S = 0.005

AnyBus = MemoryBus | RedisBus


class Reader:
    """Reads a bus in a task of its own. `received` is all that came, `error` what ended it."""

    def __init__(self, bus: AnyBus) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.has_ended = False
        self._bus = bus

    async def run(self) -> None:
        """Read until the bus ends."""
        async with aclosing(self._bus.messages()) as messages:
            async for message in messages:
                self.received.append(message)
        self.has_ended = True

    def latest(self, topic: str) -> bytes | None:
        """What came last on a topic."""
        return next((payload for name, payload in reversed(self.received) if name == topic), None)

    async def until(self, topic: str, payload: bytes) -> float:
        """Wait until this is what came last on the topic, and say how many seconds that took."""
        return await until(lambda: self.latest(topic) == payload)


@asynccontextmanager
async def reading(bus: AnyBus) -> AsyncIterator[Reader]:
    """Read a bus while the block lasts."""
    reader = Reader(bus)
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool], within_s: float = WAIT_S) -> float:
    """Wait until the condition holds and say how many seconds that took. Raises TimeoutError."""
    begin = time.monotonic()
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(LOOK_EVERY_S)
    return time.monotonic() - begin
