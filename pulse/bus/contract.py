"""The bus between publisher and subscriber: one contract, two rooms.

`memory` carries views within this process, `redis` between processes. A payload is a complete view, so a newer
one replaces an older one anywhere on the way; nothing here knows what is in it.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How the bus is: `kind` is "memory" or "redis"; `detail` says in words why it is not `ok`, else it is empty."""

    kind: str
    ok: bool
    detail: str


class Bus(Protocol):
    """Carries the newest payload of each topic: of those given at construction, and of those opened since.

    Whatever a bus does in the background it does inside `messages`: it carries nothing while nobody reads that.
    A payload may arrive twice, and around a switch to or from a server that is away an older one may follow a newer
    one: the reader tells them apart by what they carry. The newest one arrives in any case.
    """

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand over the newest payload of a topic, in place of one that still waits.

        Never waits and never raises for trouble with a server; ValueError for a topic that there is not.
        """

    def open(self, topics: Iterable[str]) -> None:
        """Carry these topics too, as if they had been there from the first."""

    def drop(self, topics: Iterable[str]) -> None:
        """Carry these no more, whatever still waits of them."""

    def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """The one subscription of this process: (topic, payload) for ever, also while a server is away.

        After each subscription, the first and any later one, it begins with the latest payload of every topic that
        has one. It ends only after `close`. Raises RuntimeError when it is already being read.
        """

    def health(self) -> BusHealth:
        """Whether payloads travel as they should."""

    async def close(self) -> None:
        """End `messages` and let go of every connection, within a second whatever a server does."""
