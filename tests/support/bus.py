"""A bus that runs in the background of a test: what it delivers is kept, and every wait is bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pulse.bus.contract import Deliver
from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus
from tests.support.waiting import until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = "book:BTCUSDT", "book:ETHUSDT"
PREFIX = "pulse:us:exchange:"

AnyBus = MemoryBus | RedisBus
MakeBus = Callable[[Deliver], AnyBus]


class Delivered:
    """What a bus has delivered, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def __call__(self, channel: str, payload: bytes) -> None:
        """Keep a message."""
        self.messages.append((channel, payload))

    def latest(self, channel: str) -> bytes | None:
        """Return what came last on a channel."""
        return next((payload for name, payload in reversed(self.messages) if name == channel), None)

    async def until(self, channel: str, payload: bytes) -> None:
        """Wait until this is what came last on the channel."""
        await until(lambda: self.latest(channel) == payload)


@asynccontextmanager
async def running(make: MakeBus) -> AsyncIterator[tuple[AnyBus, Delivered]]:
    """Run a bus of SYMBOLS while the block lasts, and close it. Raises what ended the bus."""
    delivered = Delivered()
    bus = make(delivered)
    for symbol in SYMBOLS:
        bus.open(symbol)
    task = asyncio.create_task(bus.run())
    try:
        yield bus, delivered
    finally:
        task.cancel()
        await asyncio.wait([task])
        await bus.aclose()
    if not task.cancelled():
        task.result()
