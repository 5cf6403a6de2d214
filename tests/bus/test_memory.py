"""The bus within the process, where it promises more than the contract: a direct call."""

from pulse.bus.contract import BusHealth
from pulse.bus.memory import MemoryBus
from tests.support.bus import BTC, ETH, SYMBOLS, Delivered


def test_each_payload_is_delivered_once_in_order_and_at_once() -> None:
    """Publishing returns when the receiver has returned."""
    delivered = Delivered()
    bus = MemoryBus(delivered)
    for symbol in SYMBOLS:
        bus.open(symbol)
    for channel, payload in [(BTC, b"1"), (ETH, b"2"), (BTC, b"3")]:
        bus.publish(channel, payload)

    assert delivered.messages == [(BTC, b"1"), (ETH, b"2"), (BTC, b"3")]


async def test_there_is_nothing_to_run() -> None:
    """`run` returns at once, and the bus is always well."""
    bus = MemoryBus(Delivered())
    await bus.run()

    assert bus.health() == BusHealth("memory", True, "")
