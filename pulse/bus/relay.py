"""The task between engine and bus: each view is encoded once and handed over, the newest per symbol first."""

from pulse import stats
from pulse.bus.contract import Bus
from pulse.clock import Clock
from pulse.fanout.hub import Hub
from pulse.latency import Latency
from pulse.market.view import TradesView, View
from pulse.queues import ConflatingQueue
from pulse.wire import encode_view


async def publish(outbox: ConflatingQueue[str, View | TradesView], bus: Bus) -> None:
    """Encode and publish for ever; while the bus is slow, newer views replace those that wait."""
    while True:
        topic, view = await outbox.get()
        await bus.publish(topic, encode_view(view))
        stats.bus_is_up.set(bus.health().ok)


async def subscribe(bus: Bus, hub: Hub, latency: Latency, clock: Clock) -> None:
    """Pass on every message for ever."""
    async for topic, payload in bus.messages():
        latency.arrived(topic, payload, clock.now_ms())
        hub.publish(topic, payload)
