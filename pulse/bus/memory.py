"""The bus within this process, the default: publishing calls the receiver directly, with no queue and no task."""

from pulse.bus.contract import BusHealth, Deliver
from pulse.wire import channels_of


class MemoryBus:
    """The contract of `Bus` as a function call."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._channels: set[str] = set()

    def open(self, symbol: str) -> None:
        """Carry the channels of this symbol from now on."""
        self._channels.update(channels_of(symbol))

    def close(self, symbol: str) -> None:
        """Carry the channels of this symbol no more."""
        self._channels.difference_update(channels_of(symbol))

    def publish(self, channel: str, payload: bytes) -> None:
        """Deliver a payload at once. Raises ValueError for a channel that is not open."""
        if channel not in self._channels:
            raise ValueError(f"expected one of this bus's {len(self._channels)} open channels, got {channel!r}")
        self._deliver(channel, payload)

    async def run(self) -> None:
        """Return at once: nothing is done in the background."""

    def health(self) -> BusHealth:
        """Report that all is well: there is nothing that could fail."""
        return BusHealth("memory", True, "")

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
