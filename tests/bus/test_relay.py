"""What leaves the engine reaches the bus, encoded once."""

import asyncio

import orjson

from pulse.bus.memory import MemoryBus
from pulse.bus.relay import publish
from pulse.market.market import Market, Origin
from pulse.market.view import TapeView, View
from pulse.queues import ConflatingQueue
from pulse.wire import book_topic


async def test_the_newest_picture_of_a_symbol_is_published() -> None:
    """A picture that was replaced before its turn is never sent."""
    market = Market("BTCUSDT", Origin("00", "exchange", "us"), levels_max=10, trades_kept=1, stale_after_ms=5000)
    outbox: ConflatingQueue[str, View | TapeView] = ConflatingQueue()
    bus = MemoryBus([book_topic("BTCUSDT")])
    outbox.put(book_topic("BTCUSDT"), market.view(0.0, 0.0))
    outbox.put(book_topic("BTCUSDT"), market.view(0.0, 0.0))
    task = asyncio.create_task(publish(outbox, bus))
    topic, payload = await anext(bus.messages())
    task.cancel()

    assert topic == "book:BTCUSDT"
    assert orjson.loads(payload)["seq"] == 2
