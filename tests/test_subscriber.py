"""What comes by the bus reaches the hub, byte for byte."""

import asyncio

from pulse.bus.memory import MemoryBus
from pulse.hub import Hub
from pulse.subscriber import subscribe


async def test_every_message_is_passed_on_untouched() -> None:
    """The hub's latest picture is the bus's payload."""
    topic, payload = "book:BTCUSDT", b'{"seq":1,"instance":"00","symbol":"BTCUSDT"}'
    bus, hub = MemoryBus([topic]), Hub([topic], "00")
    listener = hub.join([topic])
    task = asyncio.create_task(subscribe(bus, hub))
    await bus.publish(topic, payload)
    received = await listener.next()
    await bus.close()
    await task

    assert received == hub.latest(topic) == payload
