"""One client's way out: what it is owed, when it is written, and what a round of writes costs the others."""

import asyncio
import time
from collections.abc import Callable

import pytest

from pulse.fanout.client_queue import REPLIES_MAX, AwaitedClientQueue, DirectClientQueue, FlushScheduler, Slot
from pulse.server.connection import ClientConnection
from pulse.server.connection_registry import ConnectionRegistry
from pulse.server.ws_frames import EncodedMessage
from tests.support.web import TEXT, frames, until


class Line(ClientConnection):
    """A connection that keeps what is written to it; `ready` is set by the test."""

    def __init__(self) -> None:
        super().__init__(asyncio.Protocol(), ConnectionRegistry(1))
        self.ready = True
        self.is_cut = False
        self.writes: list[bytes] = []

    def attach(self, on_writable: Callable[[], None], on_blocked: Callable[[], None]) -> None:
        """Keep what is called back."""
        self.on_writable = on_writable
        super().attach(on_writable, on_blocked)

    def abort(self) -> None:
        """Note that it was cut."""
        self.is_cut = True

    def is_writable(self) -> bool:
        """As the test says."""
        return self.ready

    def write(self, frames: bytes) -> None:
        """Keep it."""
        self.writes.append(frames)

    def texts(self) -> list[list[bytes]]:
        """The payloads of each write."""
        return [[payload for opcode, payload in frames(data) if opcode == TEXT] for data in self.writes]


def outlet_of(line: Line, *topics: str, timeout_s: float = 5.0) -> tuple[DirectClientQueue, list[Slot]]:
    """An outlet to this line, with a slot per topic."""
    outlet = DirectClientQueue(FlushScheduler(), line, timeout_s)
    slots = [Slot(outlet) for _ in topics]
    outlet.sources.update(zip(topics, slots, strict=True))
    return outlet, slots


async def rounds(count: int = 1) -> None:
    """Let what is due be flushed."""
    await asyncio.sleep(count * 2 * FlushScheduler.REST_MAX_S)


async def test_all_that_is_owed_in_a_round_is_one_write() -> None:
    """Three topics, one system call, in the order of their subscription."""
    line = Line()
    _, (first, second, third) = outlet_of(line, "a", "b", "c")
    for slot, payload in ((third, b"3"), (first, b"1"), (second, b"2")):
        slot.put(EncodedMessage(payload))
    await rounds()

    assert line.texts() == [[b"1", b"2", b"3"]]


async def test_an_answer_comes_before_the_news() -> None:
    """A client reads that it is subscribed, then what it subscribed to."""
    line = Line()
    outlet, (slot,) = outlet_of(line, "a")
    slot.put(EncodedMessage(b"news"))
    outlet.reply(EncodedMessage(b"answer"))
    await rounds()

    assert line.texts() == [[b"answer", b"news"]]


async def test_who_is_behind_gets_the_newest_once_it_is_ready() -> None:
    """What came in between is counted and gone."""
    line = Line()
    line.ready = False
    outlet, (slot,) = outlet_of(line, "a")
    for payload in (b"1", b"2", b"3"):
        slot.put(EncodedMessage(payload))
        await rounds()
    line.ready = True
    line.on_writable()

    assert line.texts() == [[b"3"]]
    assert outlet.replaced == 2


async def test_who_is_never_ready_is_cut() -> None:
    """At its deadline, and it is noted."""
    line = Line()
    line.ready = False
    outlet, (slot,) = outlet_of(line, "a", timeout_s=0.01)
    slot.put(EncodedMessage(b"1"))
    await until(lambda: line.is_cut)

    assert outlet.was_cut


async def test_who_is_ready_in_time_is_not_cut() -> None:
    """The deadline begins anew each time."""
    line = Line()
    line.ready = False
    _, (slot,) = outlet_of(line, "a", timeout_s=0.2)
    slot.put(EncodedMessage(b"1"))
    await rounds()
    line.ready = True
    line.on_writable()
    await asyncio.sleep(0.3)

    assert not line.is_cut


async def test_compressed_frames_go_to_who_takes_them() -> None:
    """Each client gets the form that it agreed to."""
    line = Line()
    line.uses_deflate = True
    _, (slot,) = outlet_of(line, "a")
    slot.put(EncodedMessage(b"1" * 100))
    await rounds()

    assert line.writes[0][0] & 0x40


async def test_after_the_end_nothing_is_written() -> None:
    """Whatever is still owed; the end is told once."""
    line, ends = Line(), []
    outlet, (slot,) = outlet_of(line, "a")
    outlet.on_end = lambda: ends.append(1)
    slot.put(EncodedMessage(b"1"))
    outlet.end()
    outlet.end()
    await rounds()

    assert line.writes == []
    assert ends == [1]


async def test_answers_that_wait_are_bounded() -> None:
    """Who asks and asks without reading is told apart."""
    line = Line()
    line.ready = False
    outlet, _ = outlet_of(line)
    taken = [outlet.reply(EncodedMessage(b"x")) for _ in range(REPLIES_MAX + 1)]

    assert taken == [True] * REPLIES_MAX + [False]


async def test_a_queued_outlet_gives_what_is_owed_to_a_task() -> None:
    """For who cannot be written to directly: the same conflation, and the same end."""
    outlet = AwaitedClientQueue(FlushScheduler())
    slot = Slot(outlet)
    outlet.sources["a"] = slot
    slot.put(EncodedMessage(b"1"))
    slot.put(EncodedMessage(b"2"))
    owed = await outlet.next()
    waiting = asyncio.create_task(outlet.next())
    await asyncio.sleep(0)
    outlet.end()

    assert [message.payload for message in owed or []] == [b"2"]
    assert await waiting is None


async def test_a_round_tells_how_long_its_first_message_waited() -> None:
    """For the latency report: once a round, whoever is in it."""
    line = Line()
    told: list[float] = []
    outlet, slots = outlet_of(line, "a", "b")
    outlet._fanout.on_round = told.append
    for slot in slots:
        slot.put(EncodedMessage(b"1"))
    await rounds()

    assert len(told) == 1
    assert told[0] >= 0


class Busy(Line):
    """A line that takes its time over a write."""

    def write(self, frames: bytes) -> None:
        """Keep it, in ten milliseconds."""
        until_s = time.monotonic() + 0.01
        while time.monotonic() < until_s:
            pass
        super().write(frames)


async def test_a_costly_round_is_followed_by_a_rest() -> None:
    """Under load a client gets more with each write, not more writes."""
    line = Busy()
    _, (first, second) = outlet_of(line, "a", "b")
    first.put(EncodedMessage(b"1"))
    await until(lambda: len(line.writes) == 1)
    first.put(EncodedMessage(b"2"))
    await asyncio.sleep(0)
    second.put(EncodedMessage(b"3"))
    await until(lambda: len(line.writes) == 2)

    assert line.texts() == [[b"1"], [b"2", b"3"]]


async def test_a_round_that_fails_is_told_to_who_watches() -> None:
    """Nobody knows who has not got what it is owed: the process must not go on as if all had."""

    class Broken:
        """A debtor with a fault that nobody thought of."""

        replaced = 0

        def note(self) -> None:
            """Nothing to note."""

        def flush(self) -> None:
            """Fail."""
            raise KeyError("a topic")

    scheduler = FlushScheduler()
    watch = asyncio.create_task(scheduler.watch())
    await asyncio.sleep(0)
    scheduler.note(Broken())

    with pytest.raises(KeyError, match="a topic"):
        await asyncio.wait_for(watch, 5.0)
