"""Per-client send queues: what waits, when it is written, and when a slow client is disconnected."""

import asyncio
from collections.abc import Callable
from typing import cast

from pulse.fanout.client_queue import REPLIES_MAX, AwaitedClientQueue, DirectClientQueue, Slot
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.server.connection import ClientConnection
from pulse.server.flow_control import AckWindow
from pulse.server.ws_frames import EncodedMessage
from tests.support.waiting import until
from tests.support.websockets import TEXT, frames


class FakeConnection:
    """A connection that keeps what is written to it; `ready` is set by the test."""

    def __init__(self) -> None:
        self.uses_deflate = False
        self.descriptor = -1
        self.window = AckWindow()
        self.on_writable: Callable[[], None] = lambda: None
        self.on_blocked: Callable[[], None] = lambda: None
        self.ready = True
        self.is_cut = False
        self.writes: list[bytes] = []

    def abort(self) -> None:
        """Note that it was cut."""
        self.is_cut = True

    def attach(self, on_writable: Callable[[], None], on_blocked: Callable[[], None]) -> None:
        """Keep the callbacks."""
        self.on_writable, self.on_blocked = on_writable, on_blocked

    def is_writable(self) -> bool:
        """As the test says."""
        return self.ready

    def write(self, frames: bytes) -> None:
        """Keep it."""
        self.writes.append(frames)

    write_broadcast = write_remainder = write

    def texts(self) -> list[list[bytes]]:
        """Return the payloads of each write."""
        return [[payload for opcode, payload in frames(data) if opcode == TEXT] for data in self.writes]


def queue_of(connection: FakeConnection, *topics: str, timeout_s: float = 5.0) -> tuple[DirectClientQueue, list[Slot]]:
    """Make the queue of a connection, with a slot per topic."""
    queue = DirectClientQueue(FlushScheduler(ignore), cast("ClientConnection", connection), timeout_s, lambda: None)
    slots = [Slot(queue) for _ in topics]
    queue.sources.update(zip(topics, slots, strict=True))
    return queue, slots


def ignore(_: float) -> None:
    """Ignore how long a flush took."""


async def flushes(count: int = 1) -> None:
    """Wait for what is due to be flushed."""
    await asyncio.sleep(count * 2 * FlushScheduler.PAUSE_MAX_S)


async def test_everything_due_is_one_write() -> None:
    """Three topics are one system call, in the order of their subscription."""
    connection = FakeConnection()
    _, (first, second, third) = queue_of(connection, "a", "b", "c")
    for slot, payload in ((third, b"3"), (first, b"1"), (second, b"2")):
        slot.put(EncodedMessage(payload))
    await flushes()

    assert connection.texts() == [[b"1", b"2", b"3"]]


async def test_a_reply_comes_before_messages() -> None:
    """A client reads that it is subscribed, then what it subscribed to."""
    connection = FakeConnection()
    queue, (slot,) = queue_of(connection, "a")
    slot.put(EncodedMessage(b"news"))
    queue.reply(EncodedMessage(b"answer"))
    await flushes()

    assert connection.texts() == [[b"answer", b"news"]]


async def test_a_client_that_is_behind_gets_the_newest_message() -> None:
    """Older ones are replaced and counted."""
    connection = FakeConnection()
    connection.ready = False
    queue, (slot,) = queue_of(connection, "a")
    for payload in (b"1", b"2", b"3"):
        slot.put(EncodedMessage(payload))
        await flushes()
    connection.ready = True
    connection.on_writable()

    assert connection.texts() == [[b"3"]]
    assert queue.replaced == 2


async def test_a_client_that_accepts_nothing_is_disconnected() -> None:
    """At its deadline; the queue remembers it."""
    connection = FakeConnection()
    connection.ready = False
    queue, (slot,) = queue_of(connection, "a", timeout_s=0.01)
    slot.put(EncodedMessage(b"1"))
    await until(lambda: connection.is_cut)

    assert queue.timed_out


async def test_a_client_that_accepts_data_in_time_stays() -> None:
    """The deadline is cancelled."""
    connection = FakeConnection()
    connection.ready = False
    _, (slot,) = queue_of(connection, "a", timeout_s=0.2)
    slot.put(EncodedMessage(b"1"))
    await flushes()
    connection.ready = True
    connection.on_writable()
    await asyncio.sleep(0.3)

    assert not connection.is_cut


async def test_a_client_that_agreed_to_compression_gets_compressed_frames() -> None:
    """The frame has its RSV1 bit set."""
    connection = FakeConnection()
    connection.uses_deflate = True
    _, (slot,) = queue_of(connection, "a")
    slot.put(EncodedMessage(b"1" * 100))
    await flushes()

    assert connection.writes[0][0] & 0x40


async def test_nothing_is_written_after_the_end() -> None:
    """Whatever still waits; `on_end` is called once."""
    connection, ends = FakeConnection(), []
    queue, (slot,) = queue_of(connection, "a")
    queue._on_end = lambda: ends.append(1)
    slot.put(EncodedMessage(b"1"))
    queue.end()
    queue.end()
    await flushes()

    assert connection.writes == []
    assert ends == [1]


async def test_waiting_replies_are_bounded() -> None:
    """A client that requests without reading is refused the next reply."""
    connection = FakeConnection()
    connection.ready = False
    queue, _ = queue_of(connection)
    taken = [queue.reply(EncodedMessage(b"x")) for _ in range(REPLIES_MAX + 1)]

    assert taken == [True] * REPLIES_MAX + [False]


async def test_an_awaited_queue_returns_messages_to_a_task() -> None:
    """With the same conflation; after the end it returns None."""
    queue = AwaitedClientQueue(FlushScheduler(ignore))
    slot = Slot(queue)
    queue.sources["a"] = slot
    slot.put(EncodedMessage(b"1"))
    slot.put(EncodedMessage(b"2"))
    messages = await queue.next()
    waiting = asyncio.create_task(queue.next())
    await asyncio.sleep(0)
    queue.end()

    assert [message.payload for message in messages or []] == [b"2"]
    assert await waiting is None
