"""Broadcast: clients that share the same topics and compression are sent the same bytes, at the price of system calls.

What a group sends is taken, encoded and joined once. Clients that have kept up are written to in one loop: nothing of
theirs is touched but the descriptor, for with a thousand clients it is each object touched that costs. One byte counter
counts for all of them what they were sent (see `flow_control`). A client with a ping outstanding is checked before each
write, and a client that is behind has its own queue, which keeps the newest per topic until it has caught up.
"""

import asyncio
import os
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from itertools import count, repeat

from pulse.fanout.client_queue import ClientQueue, DirectClientQueue, Slot, Source
from pulse.fanout.flush_scheduler import Flushable, FlushScheduler
from pulse.fanout.hub import Hub, channel_of
from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import TradeCursor
from pulse.fanout.trade_log import Position
from pulse.server.flow_control import ByteCounter

GATHER_MAX_S = 0.01
"""The symbols of an exchange change together, within some ms. A group of several symbols waits for the others as long
as its last write took, at most this long: for a few clients that is nothing, and for many it saves half of the writes.
"""

Key = tuple[tuple[Topic, ...], bool]
"""The topics of a group, and whether compressed."""


class BroadcastGroups:
    """All groups of this process. `replaced` counts messages that a newer one replaced before they were sent."""

    def __init__(self, hub: Hub, scheduler: FlushScheduler) -> None:
        self._hub = hub
        self._scheduler = scheduler
        self._groups: dict[Key, BroadcastGroup] = {}
        self.replaced = 0

    def __len__(self) -> int:
        return len(self._groups)

    def set_topics(
        self, queue: ClientQueue, topics: Iterable[Topic], new: Collection[Topic] = (), start: Position | None = None
    ) -> None:
        """Send a client these topics, and no others; of the `new` ones the current message at once.

        New trades topics begin at `start`. Raises KeyError for an unknown symbol.
        """
        if queue.group is not None:
            queue.group.leave(queue)
        key = tuple(topics), queue.takes_deflated
        kept = queue.sources
        queue.sources = {
            topic.name: source_of(topic, self._hub, queue, start) if topic in new else kept[topic.name]
            for topic in key[0]
        }
        if key[0] and not queue.is_ended:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = BroadcastGroup(key, self._hub, self._scheduler, self)
            group.join(queue)
        for topic in new:
            message = self._hub.current(topic)
            if message is not None:
                queue.sources[topic.name].put(message)

    def remove(self, key: Key) -> None:
        """Remove a group that has no clients."""
        del self._groups[key]


class BroadcastGroup:
    """Clients sharing the same (topics, compressed) pair.

    A client is in one of three places: `_in_sync` if it was sent everything that the group was and has no ping
    outstanding; `_probed` if it was sent everything and has, or may have, a ping outstanding; `_behind` if its own
    queue holds anything.
    """

    def __init__(self, key: Key, hub: Hub, scheduler: FlushScheduler, groups: BroadcastGroups) -> None:
        self._key = key
        self._hub = hub
        self._scheduler = scheduler
        self._groups = groups
        self._sent = ByteCounter()
        self._in_sync: dict[DirectClientQueue, int] = {}  # with its descriptor
        self._probed: dict[DirectClientQueue, None] = {}
        self._behind: dict[ClientQueue, None] = {}
        self._ping_due: list[tuple[int, int, DirectClientQueue]] = []  # a heap by counter total; some have moved since
        self._ticket = count()
        self._is_due = False
        self._gather_s = 0.0
        self.replaced = 0
        self._sources: dict[str, Source] = {}
        topics, self._deflated = key
        self._has_several_symbols = len({channel_of(topic) for topic in topics}) > 1
        for topic in topics:
            source = source_of(topic, hub, self, hub.log(topic.symbol).end)
            self._sources[topic.name] = source
            hub.subscribe(topic, source)

    def join(self, queue: ClientQueue) -> None:
        """Send a client what is new from now on; what its own queue holds already is sent by itself."""
        self.flush()
        self._behind[queue] = None
        queue.group = self

    def leave(self, queue: ClientQueue) -> None:
        """Send a client nothing from now on. Leaving twice does no harm."""
        if queue.group is not self:
            return
        self.flush()
        if isinstance(queue, DirectClientQueue):
            self.fell_behind(queue)
        del self._behind[queue]
        queue.group = None
        if not (self._in_sync or self._probed or self._behind):
            for topic in self._key[0]:
                self._hub.unsubscribe(topic, self._sources.pop(topic.name))
            self._groups.remove(self._key)

    def schedule(self) -> None:
        """Have what waits for the whole group flushed."""
        if not self._is_due:
            self._is_due = True
            if self._gather_s:
                asyncio.get_running_loop().call_later(self._gather_s, self._scheduler.schedule, self)
            else:
                self._scheduler.schedule(self)

    def caught_up(self, queue: DirectClientQueue) -> None:
        """Move a client whose own queue is empty back among those that are written to together, if it is level."""
        if queue in self._in_sync:
            del self._in_sync[queue]
            self._probed[queue] = None
        elif queue in self._behind and all(map(_is_level, queue.sources.values(), self._sources.values())):
            del self._behind[queue]
            self._probed[queue] = None
            queue.connection.window.use_counter(self._sent)

    def fell_behind(self, queue: DirectClientQueue) -> None:
        """Send a client by its own queue from now on: its connection accepts no more data."""
        if queue in self._behind:
            return
        self._in_sync.pop(queue, None)
        self._probed.pop(queue, None)
        self._behind[queue] = None
        queue.connection.window.use_counter(ByteCounter())
        for own, common in zip(queue.sources.values(), self._sources.values(), strict=True):
            if isinstance(own, TradeCursor) and isinstance(common, TradeCursor):
                own.move_to(common)

    def flush(self) -> None:
        """Send every client what waits for the group, in one write each."""
        if not self._is_due:
            return
        self._is_due = False
        self._check_probed()
        taken = {name: source.take() for name, source in self._sources.items()}
        messages = {name: message for name, message in taken.items() if message is not None}
        if not messages:
            return
        self._groups.replaced += self.replaced * (len(self._in_sync) + len(self._probed))
        self.replaced = 0
        behind = tuple(self._behind)
        started_s = asyncio.get_running_loop().time()
        self._write(b"".join([message.frame(self._deflated) for message in messages.values()]))
        if self._has_several_symbols:
            self._gather_s = min(GATHER_MAX_S, asyncio.get_running_loop().time() - started_s)
        for queue in behind:
            queue.enqueue(messages)

    def _check_probed(self) -> None:
        """Move clients with a ping outstanding to where they belong by now."""
        for queue in tuple(self._probed):
            connection = queue.connection
            if not connection.is_writable():
                self.fell_behind(queue)
            elif not connection.window.has_outstanding_ping:
                del self._probed[queue]
                self._in_sync[queue] = connection.descriptor
                heappush(self._ping_due, (connection.window.next_ping_offset, next(self._ticket), queue))

    def _collect_ping_due(self) -> None:
        """Move clients that are to be sent a ping with the next write out of the common loop."""
        while self._ping_due and self._ping_due[0][0] <= self._sent.total:
            queue = heappop(self._ping_due)[2]
            if self._in_sync.pop(queue, None) is not None:
                self._probed[queue] = None

    def _write(self, frames: bytes) -> None:
        self._sent.total += len(frames)
        self._collect_ping_due()
        probed = tuple(self._probed)
        written = _write_all(list(self._in_sync.values()), frames)
        if min(written, default=len(frames)) < len(frames):
            for queue, size in [pair for pair in zip(self._in_sync, written, strict=True) if pair[1] < len(frames)]:
                queue.connection.write_remainder(frames[size:])
        for queue in probed:
            queue.connection.write_broadcast(frames)


def _write_all(descriptors: list[int], frames: bytes) -> list[int]:
    """Write the same bytes to every one of these sockets; return how many bytes the kernel took for each.

    This bypasses the transports, whose buffers are empty: they would cost as much again as the rest. A socket that
    fails, for whatever reason, takes nothing; its transport, which is given what is left, fails the same way and ends.
    """
    written: list[int] = []
    left = iter(descriptors)
    while len(written) < len(descriptors):
        try:
            written.extend(map(os.write, left, repeat(frames)))
        except OSError:
            written.append(0)
    return written


def source_of(topic: Topic, hub: Hub, sender: Flushable, start: Position | None = None) -> Slot | TradeCursor:
    """Return the source of a topic for a sender, trades from `start` on. Raises KeyError for an unknown symbol."""
    return TradeCursor(hub.log(topic.symbol), start, sender.schedule) if topic.kind == "trades" else Slot(sender)


def _is_level(own: Source, common: Source) -> bool:
    """Return whether a client whose own queue is empty has the trades that the group has."""
    return not isinstance(own, TradeCursor) or not isinstance(common, TradeCursor) or own.position == common.position
