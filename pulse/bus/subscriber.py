"""The task between bus and hub: the process's one subscription, its bytes untouched."""

from pulse.bus.contract import Bus
from pulse.clock import Clock
from pulse.fanout.hub import Hub
from pulse.latency import Latency


async def subscribe(bus: Bus, hub: Hub, latency: Latency, clock: Clock) -> None:
    """Pass on every message for ever."""
    async for topic, payload in bus.messages():
        latency.arrived(topic, payload, clock.now_ms())
        hub.publish(topic, payload)
