"""The contract of the bus: it carries encoded views from the engine's relay to the fan-out.

`memory` delivers within this process, `redis` between processes. A payload is a complete view, so a newer one replaces
an older one anywhere on the way; nothing here knows what is in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Deliver = Callable[[str, bytes], None]
"""Takes what arrives: the channel and the payload. Called on the event loop; what it raises ends the bus."""


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How a bus is: `kind` is "memory" or "redis"; `detail` says in words why it is not `ok`, else it is empty.

    `since_s` is when it ceased to be `ok`, in seconds since 1970; None while it is.
    """

    kind: str
    ok: bool
    detail: str
    since_s: float | None = None


class Bus(Protocol):
    """Carries the newest payload of each channel of the open symbols to a callback given at construction.

    A payload may be delivered twice, and around a switch to or from a server that is away an older one may follow a
    newer one: the receiver tells them apart by sequence number. The newest one is delivered in any case.
    """

    def open(self, symbol: str) -> None:
        """Carry the channels of this symbol from now on."""

    def close(self, symbol: str) -> None:
        """Carry the channels of this symbol no more, and drop what still waits of them."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Hand over the newest payload of a channel, in place of one that still waits.

        Never waits and never raises for trouble with a server; ValueError for a channel that is not open.
        """

    async def run(self) -> None:
        """Do what the bus does in the background; without a server there is nothing, and it returns at once."""

    def health(self) -> BusHealth:
        """Return whether payloads travel as they should."""

    async def aclose(self) -> None:
        """Close every connection, within a second whatever a server does. Closing twice does no harm."""
