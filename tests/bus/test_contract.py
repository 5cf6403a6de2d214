"""The contract of the bus, the same for both rooms; the one with a server has a real server."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus
from tests.support.bus import BTC, ETH, TOPICS, AnyBus, reading, until


@pytest.fixture(params=["memory", "redis"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[AnyBus]:
    """Each of the two rooms."""
    made = MemoryBus(TOPICS) if request.param == "memory" else RedisBus(request.getfixturevalue("redis_url"), TOPICS)
    yield made
    await made.close()


async def test_what_is_published_arrives(bus: AnyBus) -> None:
    """A payload comes back on its topic, byte for byte."""
    payload = bytes(range(256)) * 100
    async with reading(bus) as reader:
        await until(lambda: bus.health().ok)
        await bus.publish(BTC, payload)
        await reader.until(BTC, payload)

    assert set(reader.received) == {(BTC, payload)}


async def test_topics_are_kept_apart(bus: AnyBus) -> None:
    """What is published on one topic is not heard on another."""
    async with reading(bus) as reader:
        await bus.publish(BTC, b"btc")
        await bus.publish(ETH, b"eth")
        await reader.until(BTC, b"btc")
        await reader.until(ETH, b"eth")

    assert set(reader.received) == {(BTC, b"btc"), (ETH, b"eth")}


async def test_the_newest_arrives_last(bus: AnyBus) -> None:
    """However fast payloads are published, the last one heard is the last one published."""
    async with reading(bus) as reader:
        await until(lambda: bus.health().ok)
        for number in range(500):
            await bus.publish(BTC, b"%d" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await reader.until(BTC, b"499")


async def test_a_slow_reader_gets_the_newest(bus: AnyBus) -> None:
    """What a reader was too slow for is replaced, not kept."""
    messages = bus.messages()
    await bus.publish(BTC, b"first")
    taken = [await anext(messages)]
    for number in range(100):
        await bus.publish(BTC, b"%d" % number)
        await asyncio.sleep(0)
    while taken[-1] != (BTC, b"99"):
        taken.append(await asyncio.wait_for(anext(messages), 5))
    await messages.aclose()

    assert len(taken) < 10


async def test_the_latest_comes_first(bus: AnyBus) -> None:
    """A reader begins with the latest payload of every topic, published before it came."""
    await bus.publish(BTC, b"old")
    await bus.publish(BTC, b"btc")
    await bus.publish(ETH, b"eth")
    async with reading(bus) as reader:
        await until(lambda: len(reader.received) >= 2)

    assert set(reader.received[:2]) == {(BTC, b"btc"), (ETH, b"eth")}


async def test_reading_again_begins_with_the_latest(bus: AnyBus) -> None:
    """A second reading, after the first has ended, begins with what was the latest."""
    async with reading(bus) as reader:
        await bus.publish(BTC, b"btc")
        await reader.until(BTC, b"btc")

    async with reading(bus) as reader:
        await reader.until(BTC, b"btc")


async def test_there_is_one_reader(bus: AnyBus) -> None:
    """A second reader at the same time is a mistake, and does the first no harm."""
    async with reading(bus) as reader:
        await bus.publish(BTC, b"1")
        await reader.until(BTC, b"1")
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(bus.messages())
        await bus.publish(BTC, b"2")
        await reader.until(BTC, b"2")


async def test_an_unknown_topic_is_refused(bus: AnyBus) -> None:
    """A topic that was not given at construction is a mistake."""
    with pytest.raises(ValueError, match="book:XRPUSDT"):
        await bus.publish("book:XRPUSDT", b"")


async def test_publishing_never_waits(bus: AnyBus) -> None:
    """Handing over takes no time, whether somebody reads or not."""
    begin = time.monotonic()
    for _ in range(1000):
        await bus.publish(BTC, b"x" * 4096)

    assert time.monotonic() - begin < 0.2


async def test_close_ends_the_reading(bus: AnyBus) -> None:
    """Closing ends `messages` in the ordinary way, and closing again does no harm."""
    async with reading(bus) as reader:
        await until(lambda: bus.health().ok)
        await bus.close()
        await until(lambda: reader.has_ended)
        await bus.close()


async def test_no_task_is_left_behind(bus: AnyBus) -> None:
    """When a reader is cancelled, nothing of the bus goes on running."""
    before = asyncio.all_tasks()
    async with reading(bus):
        await until(lambda: bus.health().ok)

    assert asyncio.all_tasks() == before


async def test_a_reader_may_be_cancelled_at_any_moment(bus: AnyBus) -> None:
    """However early a reader is cancelled, in the middle of connecting or sending, it ends, and its tasks with it."""
    before = asyncio.all_tasks()
    for turns in range(60):
        async with reading(bus):
            for _ in range(turns):
                await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_health_names_the_room(bus: AnyBus) -> None:
    """While it is read, a bus is well and has nothing to say about it."""
    async with reading(bus):
        await until(lambda: bus.health().ok)
        health = bus.health()

    assert (health.kind in ("memory", "redis"), health.detail) == (True, "")
