"""What leaves the engine reaches the bus, encoded once."""

import asyncio

import orjson

from pulse.bus.memory import MemoryBus
from pulse.bus.relay import publish, subscribe
from pulse.fanout.hub import Hub
from pulse.latency import Latency
from pulse.market.market import Market, Origin
from pulse.market.view import TradesView, View
from pulse.queues import ConflatingQueue
from pulse.wire import book_channel
from tests.support.makers import ManualClock
from tests.support.web import until


async def test_the_newest_picture_of_a_symbol_is_published() -> None:
    """A view that was replaced before its turn is never sent."""
    market = Market("BTCUSDT", Origin("00", "exchange", "us"), levels_max=10, trades_kept=1, stale_after_ms=5000)
    outbox: ConflatingQueue[str, View | TradesView] = ConflatingQueue()
    bus = MemoryBus([book_channel("BTCUSDT")])
    outbox.put(book_channel("BTCUSDT"), market.view(0.0, 0.0))
    outbox.put(book_channel("BTCUSDT"), market.view(0.0, 0.0))
    task = asyncio.create_task(publish(outbox, bus))
    topic, payload = await anext(bus.messages())
    task.cancel()

    assert topic == "book:BTCUSDT"
    assert orjson.loads(payload)["seq"] == 2


async def test_every_message_is_passed_on_untouched() -> None:
    """The hub's latest view is the bus's payload."""
    topic, payload = "book:BTCUSDT", b'{"seq":1,"instance":"00","symbol":"BTCUSDT"}'
    bus, hub = MemoryBus([topic]), Hub(["BTCUSDT"], "00")
    task = asyncio.create_task(subscribe(bus, hub, Latency("00"), ManualClock()))
    await bus.publish(topic, payload)
    await until(lambda: hub.latest(topic) is not None)
    await bus.close()
    await task

    assert hub.latest(topic) == payload
