"""One client's way out: what it is owed of each topic, at most one message each, and how that reaches it.

Who is behind is owed the newest only. A `DirectOutlet` writes to the client's connection whenever that takes more,
with no task to wake; a `QueuedOutlet` keeps what is owed for a task that sends it by the framework's own way. Neither
knows what a message says.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pulse.framing import Message

REPLIES_MAX = 64
"""Answers to a client's own words that may wait; who asks on without reading them is ended."""


class Connection(Protocol):
    """What is needed of the connection that a client came by."""

    takes_deflated: bool
    on_ready: Callable[[], None]

    def abort(self) -> None:
        """Cut it now."""

    def upgraded(self) -> None:
        """It carries a WebSocket from now on."""

    def is_ready(self) -> bool:
        """Whether it may be written to now; `on_ready` is called when that becomes true again."""

    def write(self, frames: bytes) -> None:
        """Send whole frames."""


def _nothing() -> None:
    """What is done for who asked for nothing."""


def _ignore(_: float) -> None:
    """The same for who asked for a figure."""


class Source(Protocol):
    """What a client subscribed to, as its outlet sees it."""

    def take(self) -> Message | None:
        """What the client is owed of it; afterwards it is owed nothing. None: it is owed nothing now."""


class Slot:
    """The newest message of one topic that one client has not been sent."""

    __slots__ = ("_outlet", "_owed")

    def __init__(self, outlet: "Outlet") -> None:
        self._outlet = outlet
        self._owed: Message | None = None

    def put(self, message: Message) -> None:
        """Owe this message in place of any older one."""
        if self._owed is not None:
            self._outlet.replaced += 1
        self._owed = message
        self._outlet.note()

    def take(self) -> Message | None:
        """The message owed."""
        owed, self._owed = self._owed, None
        return owed

    def end(self) -> None:
        """There will be no more."""
        self._outlet.end()


class Fanout:
    """Flushes the outlets that are owed something, all of them at once, and rests in proportion to what that took.

    A write costs far more than a message, so under load clients get more with each write, not more writes: a round of
    flushes is followed by a rest REST_SHARE times as long, at most REST_MAX_S. For a few clients that is nothing.
    """

    REST_SHARE = 8.0
    REST_MAX_S = 0.05

    def __init__(self) -> None:
        self.on_round: Callable[[float], None] = _ignore
        """Told after each round how many seconds ago its first outlet was noted."""
        self._due: list[Outlet] = []
        self._noted_at_s = 0.0
        self._rests_until_s = 0.0

    def note(self, outlet: "Outlet") -> None:
        """Flush this outlet with the next round."""
        if not self._due:
            loop = asyncio.get_running_loop()
            self._noted_at_s = loop.time()
            loop.call_at(self._rests_until_s, self._flush)
        self._due.append(outlet)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        due, self._due, noted_at_s = self._due, [], self._noted_at_s
        for outlet in due:
            outlet.flush()
        ended_s = loop.time()
        self._rests_until_s = ended_s + min(self.REST_MAX_S, self.REST_SHARE * (ended_s - started_s))
        self.on_round(ended_s - noted_at_s)


class Outlet:
    """What every outlet has: its topics in the order of their subscription, and answers, which come before them."""

    def __init__(self, fanout: Fanout) -> None:
        self.sources: dict[str, Source] = {}
        self.replaced = 0
        self.was_cut = False
        self.is_ended = False
        self.on_end: Callable[[], None] = _nothing
        self._fanout = fanout
        self._replies: deque[Message] = deque()
        self._is_due = False

    def note(self) -> None:
        """Something is owed."""
        if not self._is_due:
            self._is_due = True
            self._fanout.note(self)

    def reply(self, message: Message) -> bool:
        """Answer the client's own word; False if too many answers wait already."""
        if len(self._replies) == REPLIES_MAX:
            return False
        self._replies.append(message)
        self.note()
        return True

    def flush(self) -> None:
        """Send what is owed, or see to it that it is sent."""
        raise NotImplementedError

    def end(self) -> None:
        """Send nothing more, whatever is owed. Ending twice does no harm."""
        if not self.is_ended:
            self.is_ended = True
            self.on_end()

    def _take(self) -> list[Message]:
        self._is_due = False
        messages = list(self._replies)
        self._replies.clear()
        messages += [message for source in self.sources.values() if (message := source.take()) is not None]
        return messages


class DirectOutlet(Outlet):
    """Writes frames to the connection itself. Who has not been ready for `timeout_s` is cut."""

    def __init__(self, fanout: Fanout, connection: Connection, timeout_s: float) -> None:
        super().__init__(fanout)
        self._connection = connection
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None
        connection.on_ready = self._ready

    def flush(self) -> None:
        """Write all that is owed in one go, or wait until the connection takes more."""
        if self.is_ended:
            return
        if not self._connection.is_ready():
            if self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self._cut)
            return
        deflated = self._connection.takes_deflated
        frames = [message.frame(deflated) for message in self._take()]
        if frames:
            self._connection.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def end(self) -> None:
        """Write no more."""
        self._rest()
        super().end()

    def _ready(self) -> None:
        self._rest()
        self.flush()

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self.was_cut = True
        self._connection.abort()


class QueuedOutlet(Outlet):
    """Keeps what is owed for a task that asks for it with `next`."""

    def __init__(self, fanout: Fanout) -> None:
        super().__init__(fanout)
        self._wake = asyncio.Event()

    def flush(self) -> None:
        """Wake the task."""
        self._wake.set()

    def end(self) -> None:
        """`next` returns None from now on."""
        self._wake.set()
        super().end()

    async def next(self) -> list[Message] | None:
        """Wait for what is owed; None once there will be no more."""
        await self._wake.wait()
        if self.is_ended:
            return None
        self._wake.clear()
        return self._take()

    async def next_within(self, timeout_s: float) -> list[Message] | None:
        """The same, with nothing at all if nothing is owed for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.next()
        except TimeoutError:
            return []
