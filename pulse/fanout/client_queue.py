"""Per-client send queues: the newest unsent message per topic, sent when the client's connection accepts data.

A client that is behind gets only the newest of each topic (conflation). A `DirectClientQueue` writes WebSocket frames
to the connection whenever that accepts more, with no task to wake; an `AwaitedClientQueue` keeps messages for a task
that sends them through the framework. Neither knows what a message says, nor what else a broadcast group sends.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from pulse.fanout.flush_scheduler import Flushable, FlushScheduler
from pulse.server.connection import ClientConnection
from pulse.server.ws_frames import EncodedMessage

REPLIES_MAX = 64
"""Replies to a client's own requests that may wait; a client that requests more without reading is disconnected."""


class Source(Protocol):
    """What a client subscribed to, as its queue sees it."""

    def put(self, message: EncodedMessage) -> None:
        """Take the newest message of it."""

    def take(self) -> EncodedMessage | None:
        """Return the unsent message, which counts as sent from then on; None if there is none now."""


class Group(Protocol):
    """The broadcast group of a client, as its queue sees it."""

    def caught_up(self, queue: "DirectClientQueue") -> None:
        """Note that everything this queue held for itself has been written."""

    def fell_behind(self, queue: "DirectClientQueue") -> None:
        """Note that the connection accepts no more data for now."""

    def leave(self, queue: "ClientQueue") -> None:
        """Send this queue nothing from now on."""


class Slot:
    """The newest unsent message of one topic."""

    __slots__ = ("_message", "_sender")

    def __init__(self, sender: Flushable) -> None:
        self._sender = sender
        self._message: EncodedMessage | None = None

    def put(self, message: EncodedMessage) -> None:
        """Keep this message in place of any older one."""
        if self._message is not None:
            self._sender.replaced += 1
        self._message = message
        self._sender.schedule()

    def take(self) -> EncodedMessage | None:
        """Return the unsent message and empty the slot."""
        message, self._message = self._message, None
        return message


class ClientQueue(ABC):
    """What every queue has: its topics in the order of their subscription, and replies, which are sent before them."""

    def __init__(self, scheduler: FlushScheduler) -> None:
        self.sources: dict[str, Source] = {}
        self.replaced = 0
        self.timed_out = False
        self.is_ended = False
        self.group: Group | None = None
        self._scheduler = scheduler
        self._replies: deque[EncodedMessage] = deque()
        self._is_due = False

    def schedule(self) -> None:
        """Have what waits flushed."""
        if not self._is_due:
            self._is_due = True
            self._scheduler.schedule(self)

    def reply(self, message: EncodedMessage) -> bool:
        """Queue a reply to the client's own request; return False if too many replies wait already."""
        if len(self._replies) == REPLIES_MAX:
            return False
        self._replies.append(message)
        self.schedule()
        return True

    def enqueue(self, messages: Mapping[str, EncodedMessage]) -> None:
        """Queue these messages of its topics."""
        for topic_name, message in messages.items():
            self.sources[topic_name].put(message)

    @property
    def takes_deflated(self) -> bool:
        """Whether the client is sent compressed frames."""
        return False

    @abstractmethod
    def flush(self) -> None:
        """Send what waits, or arrange for it to be sent."""

    def end(self) -> None:
        """Send nothing more. Ending twice does no harm."""
        if not self.is_ended:
            self.is_ended = True
            if self.group is not None:
                self.group.leave(self)

    def _take_all(self) -> list[EncodedMessage]:
        self._is_due = False
        messages = list(self._replies)
        self._replies.clear()
        messages += [message for source in self.sources.values() if (message := source.take()) is not None]
        return messages


class DirectClientQueue(ClientQueue):
    """Writes frames to the connection itself.

    A client whose connection accepts nothing for `timeout_s` seconds is disconnected. `on_end` is called once, when
    the queue ends.
    """

    def __init__(
        self, scheduler: FlushScheduler, connection: ClientConnection, timeout_s: float, on_end: Callable[[], None]
    ) -> None:
        super().__init__(scheduler)
        self.connection = connection
        self._timeout_s = timeout_s
        self._on_end: Callable[[], None] | None = on_end
        self._deadline: asyncio.TimerHandle | None = None
        connection.attach(self._on_writable, self._on_blocked)

    @property
    def takes_deflated(self) -> bool:
        """Whether compression was agreed on."""
        return self.connection.uses_deflate

    def flush(self) -> None:
        """Write everything that waits in one go, or wait until the connection accepts more."""
        if self.is_ended:
            return
        if not self.connection.is_writable():
            if self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self.time_out)
            return
        frames = [message.frame(self.takes_deflated) for message in self._take_all()]
        if frames:
            self.connection.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if self.group is not None:
            self.group.caught_up(self)

    def end(self) -> None:
        """Write no more. Ending twice does no harm."""
        self._cancel_deadline()
        super().end()
        on_end, self._on_end = self._on_end, None  # cuts a reference cycle: see `gc_tuning`
        if on_end is not None:
            on_end()

    def time_out(self) -> None:
        """Disconnect a client that has accepted nothing in time."""
        self.timed_out = True
        self.connection.abort()

    def _on_writable(self) -> None:
        self._cancel_deadline()
        self.flush()

    def _on_blocked(self) -> None:
        if self.group is not None:
            self.group.fell_behind(self)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class AwaitedClientQueue(ClientQueue):
    """Keeps messages for a task that awaits them with `next`."""

    def __init__(self, scheduler: FlushScheduler) -> None:
        super().__init__(scheduler)
        self._wake = asyncio.Event()

    def flush(self) -> None:
        """Wake the task."""
        self._wake.set()

    def end(self) -> None:
        """Make `next` return None from now on."""
        self._wake.set()
        super().end()

    async def next(self) -> list[EncodedMessage] | None:
        """Wait for messages and return all that wait; None once there will be no more."""
        await self._wake.wait()
        if self.is_ended:
            return None
        self._wake.clear()
        return self._take_all()

    async def next_within(self, timeout_s: float) -> list[EncodedMessage] | None:
        """Return what `next` does, or an empty list if there is nothing for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.next()
        except TimeoutError:
            return []
