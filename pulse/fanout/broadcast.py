"""Clients that are owed the very same, and how that reaches all of them at the price of the system calls.

What an audience is owed is taken, framed and joined once. Whoever has kept up is written to without a look: nothing
of its own is touched but its descriptor, for with a thousand clients it is each object touched that costs. One meter
counts for all of them what they were sent. Who is being asked how far it has read is looked at each time, and who is
behind is owed the newest by itself, until it has caught up.
"""

import asyncio
import os
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from itertools import count, repeat

from pulse.fanout.client_queue import ClientQueue, DirectClientQueue, Flushable, FlushScheduler, Slot, Source
from pulse.fanout.hub import Hub, bus_topic
from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import TradeCursor
from pulse.server.flow_control import ByteCounter

GATHER_MAX_S = 0.01
"""The symbols of an exchange change together, within some ms. An audience of several waits for the others as long as
its last writes took, at most this long: for a few clients that is nothing, and for many it saves half of the writes."""

Key = tuple[tuple[Topic, ...], bool]
"""What an audience is owed, and whether compressed."""


class BroadcastGroups:
    """All audiences of this process. `replaced` counts messages that a newer one came for before they were sent."""

    def __init__(self, hub: Hub, scheduler: FlushScheduler) -> None:
        self._hub = hub
        self._fanout = scheduler
        self._open: dict[Key, BroadcastGroup] = {}
        self.replaced = 0

    def __len__(self) -> int:
        return len(self._open)

    def seat(
        self, outlet: ClientQueue, choices: Iterable[Topic], new: Collection[Topic] = (), from_id: int | None = None
    ) -> None:
        """Owe this outlet these topics, and no others; of the new ones at once what there is.

        New trades topics begin with this trade. Raises KeyError for a symbol that there is not.
        """
        if outlet.group is not None:
            outlet.group.leave(outlet)
        key = tuple(choices), outlet.takes_deflated
        kept = outlet.sources
        outlet.sources = {
            choice.topic: source_of(choice, self._hub, outlet, from_id) if choice in new else kept[choice.topic]
            for choice in key[0]
        }
        if key[0] and not outlet.is_ended:
            audience = self._open.get(key)
            if audience is None:
                audience = self._open[key] = BroadcastGroup(key, self._hub, self._fanout, self)
            audience.join(outlet)
        for choice in new:
            message = self._hub.now(choice)
            if message is not None:
                outlet.sources[choice.topic].put(message)

    def dissolve(self, key: Key) -> None:
        """Nobody is left in this one."""
        del self._open[key]


class BroadcastGroup:
    """Everyone with one key.

    An outlet is in one of three places: `_level` if it was sent all that the audience was, and is not being asked how
    far it has read; `_watched` if it is, or may be; `_behind` if it is owed anything by itself.
    """

    def __init__(self, key: Key, hub: Hub, scheduler: FlushScheduler, register: BroadcastGroups) -> None:
        self._key = key
        self._hub = hub
        self._fanout = scheduler
        self._register = register
        self._meter = ByteCounter()
        self._level: dict[DirectClientQueue, int] = {}  # with its descriptor
        self._watched: dict[DirectClientQueue, None] = {}
        self._behind: dict[ClientQueue, None] = {}
        self._asking: list[tuple[int, int, DirectClientQueue]] = []  # at which total to ask whom; some have moved since
        self._ticket = count()
        self._is_due = False
        self._gather_s = 0.0
        self.replaced = 0
        self._sources: dict[str, Source] = {}
        choices, self._deflated = key
        self._is_of_several = len({bus_topic(choice) for choice in choices}) > 1
        for choice in choices:
            source = source_of(choice, hub, self, hub.log(choice.symbol).next_id)
            self._sources[choice.topic] = source
            hub.subscribe(choice, source)

    def join(self, outlet: ClientQueue) -> None:
        """Owe this outlet what is new from now on; what it is owed already is its own matter."""
        self.flush()
        self._behind[outlet] = None
        outlet.group = self

    def leave(self, outlet: ClientQueue) -> None:
        """Owe it nothing from now on. Leaving twice does no harm."""
        if outlet.group is not self:
            return
        self.flush()
        if isinstance(outlet, DirectClientQueue):
            self.held_up(outlet)
        del self._behind[outlet]
        outlet.group = None
        if not (self._level or self._watched or self._behind):
            for choice in self._key[0]:
                self._hub.unsubscribe(choice, self._sources.pop(choice.topic))
            self._register.dissolve(self._key)

    def note(self) -> None:
        """Something is owed to everybody."""
        if not self._is_due:
            self._is_due = True
            if self._gather_s:
                asyncio.get_running_loop().call_later(self._gather_s, self._fanout.note, self)
            else:
                self._fanout.note(self)

    def settled(self, outlet: DirectClientQueue) -> None:
        """All that this outlet itself was owed has been written: is it level with the others now?"""
        if outlet in self._level:
            del self._level[outlet]
            self._watched[outlet] = None
        elif outlet in self._behind and all(map(_is_level, outlet.sources.values(), self._sources.values())):
            del self._behind[outlet]
            self._watched[outlet] = None
            outlet.connection.window.use_counter(self._meter)

    def held_up(self, outlet: DirectClientQueue) -> None:
        """Its connection takes no more for now: from here on it is owed by itself what comes."""
        if outlet in self._behind:
            return
        self._level.pop(outlet, None)
        self._watched.pop(outlet, None)
        self._behind[outlet] = None
        outlet.connection.window.use_counter(ByteCounter())
        for own, common in zip(outlet.sources.values(), self._sources.values(), strict=True):
            if isinstance(own, TradeCursor) and isinstance(common, TradeCursor):
                own.go_on_after(common)

    def flush(self) -> None:
        """Send everybody what is owed, in one write each."""
        if not self._is_due:
            return
        self._is_due = False
        self._look_at_watched()
        taken = {topic: source.take() for topic, source in self._sources.items()}
        messages = {topic: message for topic, message in taken.items() if message is not None}
        if not messages:
            return
        self._register.replaced += self.replaced * (len(self._level) + len(self._watched))
        self.replaced = 0
        behind = tuple(self._behind)
        started_s = asyncio.get_running_loop().time()
        self._write(b"".join([message.frame(self._deflated) for message in messages.values()]))
        if self._is_of_several:
            self._gather_s = min(GATHER_MAX_S, asyncio.get_running_loop().time() - started_s)
        for outlet in behind:
            outlet.owe(messages)

    def _look_at_watched(self) -> None:
        for outlet in tuple(self._watched):
            connection = outlet.connection
            if not connection.is_writable():
                self.held_up(outlet)
            elif not connection.window.has_outstanding_ping:
                del self._watched[outlet]
                self._level[outlet] = connection.descriptor
                heappush(self._asking, (connection.window.next_ping_offset, next(self._ticket), outlet))

    def _look_who_is_to_be_asked(self) -> None:
        while self._asking and self._asking[0][0] <= self._meter.total:
            outlet = heappop(self._asking)[2]
            if self._level.pop(outlet, None) is not None:
                self._watched[outlet] = None

    def _write(self, frames: bytes) -> None:
        self._meter.total += len(frames)
        self._look_who_is_to_be_asked()
        watched = tuple(self._watched)
        taken = _write_all(list(self._level.values()), frames)
        if min(taken, default=len(frames)) < len(frames):
            for outlet, size in [pair for pair in zip(self._level, taken, strict=True) if pair[1] < len(frames)]:
                outlet.connection.write_remainder(frames[size:])
        for outlet in watched:
            outlet.connection.write_broadcast(frames)


def _write_all(descriptors: list[int], frames: bytes) -> list[int]:
    """Write the same to every one of these sockets; how many bytes the kernel took for each.

    Past the transports, whose buffers are empty: theirs would be as much work again as the rest of this. One that fails
    takes nothing, whatever reason a network has; its transport, which is given what is left, finds the same and ends.
    """
    taken: list[int] = []
    left = iter(descriptors)
    while len(taken) < len(descriptors):
        try:
            taken.extend(map(os.write, left, repeat(frames)))
        except OSError:
            taken.append(0)
    return taken


def source_of(choice: Topic, hub: Hub, debtor: Flushable, from_id: int | None = None) -> Slot | TradeCursor:
    """What a debtor owes of a topic, from this trade on. Raises KeyError for a symbol that there is not."""
    return TradeCursor(hub.log(choice.symbol), from_id, debtor.note) if choice.kind == "trades" else Slot(debtor)


def _is_level(own: Source, common: Source) -> bool:
    """Whether a client whose own debts are paid has the trades that everybody else has."""
    return not isinstance(own, TradeCursor) or not isinstance(common, TradeCursor) or own.next_id == common.next_id
