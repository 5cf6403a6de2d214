"""Reading one view: when a new one is waited for, and that a reader watches the symbol only until it has it."""

import asyncio

import pytest

from pulse.fanout.hub import CURRENT_S, Hub
from pulse.fanout.requests import view_topic
from pulse.fanout.view_reader import READ_TIMEOUT_S, read_view
from pulse.server.ws_frames import EncodedMessage
from tests.support.virtual_time import at, now_s, run
from tests.support.web import INSTANCE, Watchers, no_candles, view

CHANNEL = "book:BTCUSDT"


class Reading:
    """A hub on the clock of the loop, and what was read from it: the view, and when."""

    def __init__(self) -> None:
        self.watchers = Watchers()
        self.hub = Hub(INSTANCE, no_candles, self.watchers, now_s)
        self.hub.open("BTCUSDT")
        self.found: list[object] = []

    async def read(self) -> None:
        """Read once."""
        found = await read_view(self.hub, "BTCUSDT")
        self.found.append((found, now_s()))

    async def publish(self, at_s: float, seq: int) -> None:
        """Publish a view at this time of the loop."""
        await at(at_s)
        self.hub.publish(CHANNEL, view(seq))


class Client:
    """A subscriber that stays."""

    def put(self, message: EncodedMessage) -> None:
        """Take a message."""


def test_a_reader_of_an_unwatched_symbol_gets_the_next_view() -> None:
    """It watches the symbol for so long, so that one is made for it."""

    async def play() -> None:
        await reading.publish(0.0, 1)
        await at(0.7)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):  # the second finds a symbol that is watched, and may not take the old view either
                tasks.create_task(reading.read())
            tasks.create_task(reading.publish(0.72, 2))

    reading = Reading()
    run(play())
    assert reading.found == [(view(2), pytest.approx(0.72))] * 2
    assert reading.watchers.calls == [("watch", "BTCUSDT"), ("unwatch", "BTCUSDT")]


def test_a_view_that_has_just_come_is_read_at_once() -> None:
    """Nothing is asked for."""

    async def play() -> None:
        await reading.publish(0.5, 1)
        await at(0.5 + CURRENT_S / 2)
        await reading.read()

    reading = Reading()
    run(play())
    assert reading.found == [(view(1), pytest.approx(0.5 + CURRENT_S / 2))]
    assert reading.watchers.calls == []


def test_the_newest_view_of_a_watched_symbol_is_read_at_once() -> None:
    """However old it is: there would be another if anything had changed."""

    async def play() -> None:
        reading.hub.subscribe(view_topic("BTCUSDT"), Client())
        await reading.publish(0.5, 1)
        await at(1.4)
        await reading.read()

    reading = Reading()
    run(play())
    assert reading.found == [(view(1), pytest.approx(1.4))]
    assert reading.watchers.calls == [("watch", "BTCUSDT")]


@pytest.mark.parametrize("newest", [None, view(1)], ids=["none", "old"])
def test_a_reader_waits_only_so_long(newest: bytes | None) -> None:
    """Where none is made it gets the newest there is, or nothing before the first, and watches no more."""

    async def play() -> None:
        if newest is not None:
            await reading.publish(0.0, 1)
        await at(5.0)
        await reading.read()

    reading = Reading()
    run(play())
    assert reading.found == [(newest, pytest.approx(5.0 + READ_TIMEOUT_S))]
    assert reading.watchers.symbols == set()


def test_a_reader_that_is_cancelled_watches_no_more() -> None:
    """As when its client has gone."""

    async def play() -> None:
        task = asyncio.create_task(reading.read())
        await at(0.1)
        task.cancel()
        await asyncio.wait([task])

    reading = Reading()
    run(play())
    assert reading.watchers.calls == [("watch", "BTCUSDT"), ("unwatch", "BTCUSDT")]
