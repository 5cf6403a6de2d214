"""The contract of the bus, for both kinds; the one with a server has a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pulse.bus.contract import Deliver
from pulse.bus.memory import MemoryBus
from pulse.bus.redis import RedisBus
from tests.support.bus import BTC, ETH, PREFIX, AnyBus, Delivered, MakeBus, running
from tests.support.waiting import until


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> MakeBus:
    """Make a bus of each kind."""
    if request.param == "memory":
        return MemoryBus
    url: str = request.getfixturevalue("redis_url")

    def make_redis_bus(deliver: Deliver) -> RedisBus:
        return RedisBus(url, PREFIX, deliver)

    return make_redis_bus


@pytest.fixture
async def bus_and_delivered(make: MakeBus) -> AsyncIterator[tuple[AnyBus, Delivered]]:
    """Run a bus until it is well; give it and what it delivers."""
    async with running(make) as (bus, delivered):
        await until(lambda: bus.health().ok)
        yield bus, delivered


Running = tuple[AnyBus, Delivered]


async def test_a_published_payload_is_delivered(bus_and_delivered: Running) -> None:
    """It arrives on its channel, byte for byte."""
    bus, delivered = bus_and_delivered
    payload = bytes(range(256)) * 100
    bus.publish(BTC, payload)
    await delivered.until(BTC, payload)

    assert set(delivered.messages) == {(BTC, payload)}


async def test_channels_are_kept_apart(bus_and_delivered: Running) -> None:
    """A payload arrives on the channel it was published on, and on no other."""
    bus, delivered = bus_and_delivered
    bus.publish(BTC, b"btc")
    bus.publish(ETH, b"eth")
    await delivered.until(BTC, b"btc")
    await delivered.until(ETH, b"eth")

    assert set(delivered.messages) == {(BTC, b"btc"), (ETH, b"eth")}


async def test_the_newest_payload_arrives_last(bus_and_delivered: Running) -> None:
    """However fast payloads are published, the last one delivered is the last one published."""
    bus, delivered = bus_and_delivered
    for number in range(500):
        bus.publish(BTC, b"%d" % number)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await delivered.until(BTC, b"499")


async def test_a_channel_that_is_not_open_is_refused(bus_and_delivered: Running) -> None:
    """Publishing for a symbol that was never opened, or was closed, is a mistake of the caller."""
    bus, _ = bus_and_delivered
    bus.close("ETHUSDT")

    for channel in ("book:XRPUSDT", ETH):
        with pytest.raises(ValueError, match=channel):
            bus.publish(channel, b"")


async def test_a_symbol_opened_later_is_carried(bus_and_delivered: Running) -> None:
    """As if it had been open from the start."""
    bus, delivered = bus_and_delivered
    bus.open("XRPUSDT")
    bus.publish("book:XRPUSDT", b"xrp")
    await delivered.until("book:XRPUSDT", b"xrp")


async def test_publishing_before_the_bus_runs_is_delivered(make: MakeBus) -> None:
    """A bus that does not run yet delivers within the process."""
    delivered = Delivered()
    bus = make(delivered)
    bus.open("BTCUSDT")
    bus.publish(BTC, b"early")
    await bus.aclose()

    assert delivered.messages == [(BTC, b"early")]


async def test_an_error_of_the_receiver_is_not_swallowed(make: MakeBus) -> None:
    """What the receiver raises reaches the publisher, or ends the bus."""

    def fail(channel: str, payload: bytes) -> None:
        raise ZeroDivisionError

    bus = make(fail)
    bus.open("BTCUSDT")
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.health().ok)

    async def publish_and_wait() -> None:
        bus.publish(BTC, b"x")
        await task

    with pytest.raises(ZeroDivisionError):
        await publish_and_wait()
    await bus.aclose()


async def test_closing_twice_does_no_harm(make: MakeBus) -> None:
    """Also while it runs."""
    async with running(make) as (bus, _):
        await until(lambda: bus.health().ok)
        await bus.aclose()
        await bus.aclose()


async def test_no_task_is_left_behind(make: MakeBus) -> None:
    """Once the bus was cancelled, nothing of it goes on."""
    before = asyncio.all_tasks()
    async with running(make) as (bus, _):
        await until(lambda: bus.health().ok)

    assert asyncio.all_tasks() == before


async def test_it_may_be_cancelled_at_any_moment(make: MakeBus) -> None:
    """However early, in the middle of connecting or sending, it ends, and its tasks with it."""
    before = asyncio.all_tasks()
    for turns in range(60):
        async with running(make):
            for _ in range(turns):
                await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_health_names_the_kind(bus_and_delivered: Running) -> None:
    """A bus that is well has no detail."""
    health = bus_and_delivered[0].health()

    assert (health.kind in ("memory", "redis"), health.detail) == (True, "")
