"""The task between bus and hub: the process's one subscription, its bytes untouched."""

from pulse.bus import Bus
from pulse.hub import Hub


async def subscribe(bus: Bus, hub: Hub) -> None:
    """Pass on every message for ever."""
    async for topic, payload in bus.messages():
        hub.publish(topic, payload)
