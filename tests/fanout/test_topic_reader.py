"""Reading one message without a subscription: what is watched only then is made for it."""

import asyncio

import orjson

from pulse.fanout.requests import ladder_topic
from pulse.fanout.topic_reader import read_topic
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.wire import encode_view, liquidity_channel
from tests.support.market import liquidity_of
from tests.support.waiting import until
from tests.support.web import make_hub

TOPIC = ladder_topic("BTCUSDT", 10, 20)
CHANNEL = liquidity_channel("BTCUSDT")
WATCHED = Interest(frozenset({10}))


async def test_the_next_message_is_waited_for() -> None:
    """The reader is a subscriber until it has come, and none afterwards."""
    hub = make_hub(["BTCUSDT"])
    reading = asyncio.create_task(read_topic(hub, TOPIC))
    await until(lambda: hub.interest("BTCUSDT") == WATCHED)
    hub.publish(CHANNEL, encode_view(liquidity_of(WATCHED)))
    hub.publish(CHANNEL, encode_view(liquidity_of(WATCHED)))
    message = await reading

    assert message is not None
    assert orjson.loads(message)["topic"] == "ladder.BTCUSDT.10"
    assert hub.interest("BTCUSDT") == NO_INTEREST


async def test_what_others_watch_is_there_at_once() -> None:
    """Nothing is made for the reader."""
    hub = make_hub(["BTCUSDT"])
    reading = asyncio.create_task(read_topic(hub, TOPIC))
    await until(lambda: hub.is_watched("BTCUSDT"))
    hub.publish(CHANNEL, encode_view(liquidity_of(WATCHED)))

    assert await read_topic(hub, TOPIC, timeout_s=0.0) == await reading


async def test_a_reader_waits_for_a_bounded_time() -> None:
    """And is no subscriber then."""
    hub = make_hub(["BTCUSDT"])

    assert await read_topic(hub, TOPIC, timeout_s=0.01) is None
    assert not hub.is_watched("BTCUSDT")
