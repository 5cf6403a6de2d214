"""What comes by the bus reaches the hub, byte for byte."""

import asyncio

from pulse.bus.memory import MemoryBus
from pulse.bus.subscriber import subscribe
from pulse.fanout.hub import Hub
from pulse.latency import Latency
from tests.support.makers import ManualClock
from tests.support.web import until


async def test_every_message_is_passed_on_untouched() -> None:
    """The hub's latest picture is the bus's payload."""
    topic, payload = "book:BTCUSDT", b'{"seq":1,"instance":"00","symbol":"BTCUSDT"}'
    bus, hub = MemoryBus([topic]), Hub(["BTCUSDT"], "00")
    task = asyncio.create_task(subscribe(bus, hub, Latency("00"), ManualClock()))
    await bus.publish(topic, payload)
    await until(lambda: hub.latest(topic) is not None)
    await bus.close()
    await task

    assert hub.latest(topic) == payload
