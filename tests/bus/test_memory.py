"""The bus within the process, where it promises more than the contract: order, and no message twice."""

from pulse.bus.contract import BusHealth
from pulse.bus.memory import MemoryBus
from tests.support.bus import BTC, ETH, TOPICS, reading


async def test_each_payload_comes_once_and_in_order() -> None:
    """What is published one at a time is heard one at a time."""
    bus = MemoryBus(TOPICS)
    async with reading(bus) as reader:
        for topic, payload in [(BTC, b"1"), (ETH, b"2"), (BTC, b"3")]:
            await bus.publish(topic, payload)
            await reader.until(topic, payload)

    assert reader.received == [(BTC, b"1"), (ETH, b"2"), (BTC, b"3")]


async def test_it_is_always_well() -> None:
    """There is no server that could be away."""
    assert MemoryBus(TOPICS).health() == BusHealth("memory", True, "")


async def test_nothing_comes_after_the_end() -> None:
    """A payload that still waits when the bus is closed is not heard any more."""
    bus = MemoryBus(TOPICS)
    await bus.publish(BTC, b"late")
    bus.end()

    assert [message async for message in bus.messages()] == []
