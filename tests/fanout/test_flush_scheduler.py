"""The flush scheduler: one flush for all that is due, a pause in proportion to its cost, and a failure that is seen."""

import asyncio
import time

import pytest

from pulse.fanout.flush_scheduler import FlushScheduler
from tests.support.virtual_time import now_s, run, work
from tests.support.waiting import WAIT_S, until


class Sender:
    """A sender whose flush takes `cost_s`; `flushes` lists what waited at each."""

    replaced = 0

    def __init__(self, scheduler: FlushScheduler, cost_s: float = 0.0) -> None:
        self.scheduler = scheduler
        self.cost_s = cost_s
        self.waiting: list[int] = []
        self.flushes: list[list[int]] = []

    def put(self, number: int) -> None:
        """Have something to send."""
        self.waiting.append(number)
        self.schedule()

    def schedule(self) -> None:
        """Be flushed."""
        self.scheduler.schedule(self)

    def flush(self) -> None:
        """Send what waits, if anything does."""
        if self.waiting:
            end_s = time.monotonic() + self.cost_s
            while time.monotonic() < end_s:
                pass
            self.flushes.append(self.waiting)
            self.waiting = []


async def test_everything_due_is_one_flush() -> None:
    """`on_flushed` is called once, with the seconds since the first was scheduled."""
    delays: list[float] = []
    scheduler = FlushScheduler(delays.append)
    senders = [Sender(scheduler) for _ in range(3)]
    for sender in senders:
        sender.put(1)
    await until(lambda: bool(delays))

    assert [sender.flushes for sender in senders] == [[[1]]] * 3
    assert len(delays) == 1
    assert delays[0] >= 0


async def test_a_costly_flush_is_followed_by_a_pause() -> None:
    """Under load a client gets more with each write, not more writes."""
    sender = Sender(FlushScheduler(lambda _: None), cost_s=0.01)
    sender.put(1)
    await until(lambda: len(sender.flushes) == 1)
    sender.put(2)
    await asyncio.sleep(0)
    sender.put(3)
    await until(lambda: len(sender.flushes) == 2)

    assert sender.flushes == [[1], [2, 3]]


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.0005, 0.0), (0.001, 0.0), (0.003, 0.016), (0.1, 0.05)])
def test_the_pause_is_in_proportion_to_a_flush_that_is_not_cheap(took_s: float, pause_s: float) -> None:
    """A flush to a few clients is followed by none: what one of them asks for does not delay the others."""

    async def scenario() -> None:
        times_s: list[float] = []

        class Working(Sender):
            """A sender whose flush takes virtual time."""

            def flush(self) -> None:
                """Note when it begins."""
                times_s.append(now_s())
                work(took_s)

        sender = Working(FlushScheduler(lambda _: None))
        for _ in range(2):
            sender.schedule()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.sleep(1.0)
        assert times_s == pytest.approx([0.0, took_s + pause_s])

    run(scenario())


async def test_what_a_flush_schedules_is_flushed_with_it() -> None:
    """A broadcast group schedules those of its clients that are behind."""
    delays: list[float] = []
    scheduler = FlushScheduler(delays.append)
    client = Sender(scheduler)

    class Group(Sender):
        """A group of one client that is behind."""

        def flush(self) -> None:
            """Hand on what waits."""
            if self.waiting:
                self.waiting = []
                client.put(1)

    Group(scheduler).put(1)
    await until(lambda: bool(delays))

    assert client.flushes == [[1]]
    assert len(delays) == 1


async def test_a_failed_flush_is_raised_by_watch() -> None:
    """Which clients have been sent what is then unknown: the process must not go on."""

    class Broken(Sender):
        """A sender with a defect."""

        def flush(self) -> None:
            """Fail."""
            raise KeyError("a topic")

    scheduler = FlushScheduler(lambda _: None)
    watch = asyncio.create_task(scheduler.watch())
    await asyncio.sleep(0)
    Broken(scheduler).schedule()

    with pytest.raises(KeyError, match="a topic"):
        await asyncio.wait_for(watch, WAIT_S)
