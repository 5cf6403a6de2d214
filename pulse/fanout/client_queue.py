"""One client's way out: what it is owed of each topic, at most one message each, and how that reaches it.

Who is behind is owed the newest only. A `DirectClientQueue` writes to the client's connection whenever that takes more,
with no task to wake; a `AwaitedClientQueue` keeps what is owed for a task that sends it by the framework's own way.
Neither knows what a message says, nor what else its audience does for it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from pulse.server.connection import ClientConnection
from pulse.server.ws_frames import EncodedMessage

REPLIES_MAX = 64
"""Answers to a client's own words that may wait; who asks on without reading them is ended."""


def _nothing() -> None:
    """What is done for who asked for nothing."""


def _ignore(_: float) -> None:
    """The same for who asked for a figure."""


class Source(Protocol):
    """What a client subscribed to, as its outlet sees it."""

    def put(self, message: EncodedMessage) -> None:
        """There is news of it."""

    def take(self) -> EncodedMessage | None:
        """What the client is owed of it; afterwards it is owed nothing. None: it is owed nothing now."""


class Flushable(Protocol):
    """Who owes messages: to one client, or the same to many."""

    replaced: int

    def note(self) -> None:
        """Something is owed."""

    def flush(self) -> None:
        """Send what is owed, or see to it that it is sent."""


class Group(Protocol):
    """Those who are owed the same, as one of them sees it."""

    def settled(self, outlet: "DirectClientQueue") -> None:
        """All that this outlet itself was owed has been written."""

    def held_up(self, outlet: "DirectClientQueue") -> None:
        """Its connection takes no more for now."""

    def leave(self, outlet: "ClientQueue") -> None:
        """It is owed nothing from now on."""


class Slot:
    """The newest message of one topic that was not sent."""

    __slots__ = ("_debtor", "_owed")

    def __init__(self, debtor: Flushable) -> None:
        self._debtor = debtor
        self._owed: EncodedMessage | None = None

    def put(self, message: EncodedMessage) -> None:
        """Owe this message in place of any older one."""
        if self._owed is not None:
            self._debtor.replaced += 1
        self._owed = message
        self._debtor.note()

    def take(self) -> EncodedMessage | None:
        """The message owed."""
        owed, self._owed = self._owed, None
        return owed


class FlushScheduler:
    """Flushes all who owe something at once, and rests in proportion to what that took.

    A write costs far more than a message, so under load clients get more with each write, not more writes: a round of
    flushes is followed by a rest REST_SHARE times as long, at most REST_MAX_S. For a few clients that is nothing.
    """

    REST_SHARE = 8.0
    REST_MAX_S = 0.05

    def __init__(self) -> None:
        self.on_round: Callable[[float], None] = _ignore
        """Told after each round how many seconds ago its first message was noted."""
        self._due: list[Flushable] = []
        self._failure: asyncio.Future[None] | None = None
        self._is_called = False
        self._noted_at_s = 0.0
        self._rests_until_s = 0.0

    def note(self, debtor: Flushable) -> None:
        """Flush this one with the next round."""
        self._due.append(debtor)
        if not self._is_called:
            self._is_called = True
            loop = asyncio.get_running_loop()
            self._noted_at_s = loop.time()
            loop.call_at(self._rests_until_s, self._flush)

    async def watch(self) -> None:
        """Wait for ever. Raises what a round has failed with: nobody knows who has not got what it is owed."""
        self._failure = asyncio.get_running_loop().create_future()
        await self._failure

    def _flush(self) -> None:
        try:
            self._round()
        except Exception as fault:
            if self._failure is None or self._failure.done():
                raise
            self._failure.set_exception(fault)

    def _round(self) -> None:
        loop = asyncio.get_running_loop()
        started_s, noted_at_s = loop.time(), self._noted_at_s
        # Twice: what is owed to many makes debts to those of them who are behind.
        for _ in range(2):
            due, self._due = self._due, []
            for debtor in due:
                debtor.flush()
        ended_s = loop.time()
        self._rests_until_s = ended_s + min(self.REST_MAX_S, self.REST_SHARE * (ended_s - started_s))
        self._is_called = False
        late, self._due = self._due, []
        for debtor in late:
            self.note(debtor)
        self.on_round(ended_s - noted_at_s)


class ClientQueue(ABC):
    """What every outlet has: its topics in the order of their subscription, and answers, which come before them."""

    def __init__(self, scheduler: FlushScheduler) -> None:
        self.sources: dict[str, Source] = {}
        self.replaced = 0
        self.was_cut = False
        self.is_ended = False
        self.on_end: Callable[[], None] = _nothing
        self.group: Group | None = None
        self._fanout = scheduler
        self._replies: deque[EncodedMessage] = deque()
        self._is_due = False

    def note(self) -> None:
        """Something is owed."""
        if not self._is_due:
            self._is_due = True
            self._fanout.note(self)

    def reply(self, message: EncodedMessage) -> bool:
        """Answer the client's own word; False if too many answers wait already."""
        if len(self._replies) == REPLIES_MAX:
            return False
        self._replies.append(message)
        self.note()
        return True

    def owe(self, messages: Mapping[str, EncodedMessage]) -> None:
        """Owe this news of its topics."""
        for topic, message in messages.items():
            self.sources[topic].put(message)

    @property
    def takes_deflated(self) -> bool:
        """Whether it is sent compressed frames."""
        return False

    @abstractmethod
    def flush(self) -> None:
        """Send what is owed, or see to it that it is sent."""

    def end(self) -> None:
        """Send nothing more, whatever is owed. Ending twice does no harm."""
        if not self.is_ended:
            self.is_ended = True
            if self.group is not None:
                self.group.leave(self)
            tell, self.on_end = self.on_end, _nothing
            tell()

    def _take(self) -> list[EncodedMessage]:
        self._is_due = False
        messages = list(self._replies)
        self._replies.clear()
        messages += [message for source in self.sources.values() if (message := source.take()) is not None]
        return messages


class DirectClientQueue(ClientQueue):
    """Writes frames to the connection itself. Who has not been ready for `timeout_s` is cut."""

    def __init__(self, scheduler: FlushScheduler, connection: ClientConnection, timeout_s: float) -> None:
        super().__init__(scheduler)
        self.connection = connection
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None
        connection.attach(self._ready, self._full)

    @property
    def takes_deflated(self) -> bool:
        """Whether that was agreed on."""
        return self.connection.uses_deflate

    def flush(self) -> None:
        """Write all that is owed in one go, or wait until the connection takes more."""
        if self.is_ended:
            return
        if not self.connection.is_writable():
            if self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self._cut)
            return
        frames = [message.frame(self.takes_deflated) for message in self._take()]
        if frames:
            self.connection.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if self.group is not None:
            self.group.settled(self)

    def end(self) -> None:
        """Write no more."""
        self._rest()
        super().end()

    def _ready(self) -> None:
        self._rest()
        self.flush()

    def _full(self) -> None:
        if self.group is not None:
            self.group.held_up(self)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self.was_cut = True
        self.connection.abort()


class AwaitedClientQueue(ClientQueue):
    """Keeps what is owed for a task that asks for it with `next`."""

    def __init__(self, scheduler: FlushScheduler) -> None:
        super().__init__(scheduler)
        self._wake = asyncio.Event()

    def flush(self) -> None:
        """Wake the task."""
        self._wake.set()

    def end(self) -> None:
        """`next` returns None from now on."""
        self._wake.set()
        super().end()

    async def next(self) -> list[EncodedMessage] | None:
        """Wait for what is owed; None once there will be no more."""
        await self._wake.wait()
        if self.is_ended:
            return None
        self._wake.clear()
        return self._take()

    async def next_within(self, timeout_s: float) -> list[EncodedMessage] | None:
        """The same, with nothing at all if nothing is owed for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.next()
        except TimeoutError:
            return []
