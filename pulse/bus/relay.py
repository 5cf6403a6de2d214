"""The relay between engine and fan-out: each view is encoded once and published; what the bus delivers goes to the hub.

A view of this process comes back from the bus as the bytes that were published. The relay keeps the newest view of each
channel, so the receiver gets the object beside its encoding and decodes only what other processes have made.
"""

from collections.abc import Callable

from pulse import stats
from pulse.bus.contract import Bus
from pulse.clock import Clock
from pulse.latency import Latency
from pulse.market.view import View
from pulse.queues import Outbox
from pulse.wire import AnyView, channels_of, encode_view

Receive = Callable[[str, bytes, AnyView | None], None]
"""Takes a channel, a payload, and the view that it encodes where this process has made it."""


class Relay:
    """Publishes what the engine makes, and passes on what the bus delivers.

    `token` returns the token that the views of a symbol carry. While `may_publish` is false for a symbol, its views are
    delivered to the receiver of this process alone: another process may be its owner.
    """

    def __init__(
        self, outbox: Outbox, receive: Receive, latency: Latency, clock: Clock,
        *, token: Callable[[str], int], may_publish: Callable[[str], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        self._outbox = outbox
        self._receive = receive
        self._latency = latency
        self._clock = clock
        self._token = token
        self._may_publish = may_publish
        self._published: dict[str, tuple[bytes, AnyView] | None] = {}  # the newest of each channel

    def open(self, symbol: str) -> None:
        """Begin to relay a symbol."""
        self._published.update(dict.fromkeys(channels_of(symbol)))

    def close(self, symbol: str) -> None:
        """Drop what waits of a symbol."""
        for channel in channels_of(symbol):
            self._outbox.discard(channel)
            self._published.pop(channel, None)

    def deliver(self, channel: str, payload: bytes) -> None:
        """Take a payload from the bus."""
        view = self._own_view(channel, payload)
        if isinstance(view, View):
            self._latency.arrived(view.symbol, view.seq, self._clock.now_ms())
        self._receive(channel, payload, view)

    async def run(self, bus: Bus) -> None:
        """Encode and publish for ever; while this waits, newer views replace those in the outbox."""
        while True:
            channel, view = await self._outbox.get()
            view.token = self._token(view.symbol)
            payload = encode_view(view)
            self._published[channel] = payload, view
            if self._may_publish(view.symbol):
                bus.publish(channel, payload)
            else:
                self.deliver(channel, payload)
            stats.bus_is_up.set(bus.health().ok)

    def _own_view(self, channel: str, payload: bytes) -> AnyView | None:
        published = self._published.get(channel)
        return published[1] if published is not None and published[0] == payload else None
