"""One client of the feed over a real socket: what it asks, what it is answered, and what it then gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from pulse.fanout.requests import TOPICS_MAX
from pulse.web.websocket import MESSAGES_MAX
from pulse.wire import trades_topic
from tests.support.web import INSTANCE, SETTINGS, WAIT_S, Web, on_server_loop, serving, until

Feed = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def connected(web: Web) -> AsyncIterator[Feed]:
    """A client of /ws."""
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws") as feed:
        yield feed


async def heard(feed: Feed) -> dict[str, Any]:
    """The next message."""
    message: dict[str, Any] = await feed.receive_json(timeout=WAIT_S)
    return message


async def ask(feed: Feed, **words: object) -> dict[str, Any]:
    """The answer to this."""
    await feed.send_str(orjson.dumps(words).decode())
    return await heard(feed)


async def subscribe(feed: Feed, *topics: str, **options: object) -> dict[str, Any]:
    """The answer to this subscription."""
    return await ask(feed, op="subscribe", topics=list(topics), **options)


def trade(web: Web, seq: int, *ids: int, symbol: str = "BTCUSDT") -> None:
    """Have the bus bring these trades."""
    trades = [{"id": number, "price": 1.0} for number in ids]
    body = {"seq": seq, "instance": INSTANCE, "symbol": symbol, "trades": trades}
    web.hub.publish(trades_topic(symbol), orjson.dumps(body))


@on_server_loop
async def test_a_subscription_is_answered_and_kept() -> None:
    """With its id and all topics there are now; then comes what they say."""
    async with serving() as web, connected(web) as feed:
        answer = await subscribe(feed, "status.BTCUSDT", "book.ETHUSDT", id=3)
        web.publish(1, "ETHUSDT")
        first = await heard(feed)

    assert answer == {"op": "subscribed", "id": 3, "topics": ["status.BTCUSDT", "book.ETHUSDT"]}
    assert (first["topic"], first["seq"]) == ("book.ETHUSDT", 1)


@on_server_loop
async def test_what_there_is_comes_at_once() -> None:
    """Behind the answer, in the order of the topics."""
    async with serving() as web, connected(web) as feed:
        web.publish(5)
        await subscribe(feed, "metrics.BTCUSDT", "book.BTCUSDT")
        topics = [(await heard(feed))["topic"] for _ in range(2)]

    assert topics == ["metrics.BTCUSDT", "book.BTCUSDT"]


@on_server_loop
async def test_a_topic_that_was_left_says_no_more() -> None:
    """The others go on."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT", "metrics.BTCUSDT")
        answer = await ask(feed, op="unsubscribe", topics=["book.BTCUSDT", "proof.BTCUSDT"])
        web.publish(1)
        first = await heard(feed)

    assert answer["topics"] == ["metrics.BTCUSDT"]
    assert first["topic"] == "metrics.BTCUSDT"


@on_server_loop
async def test_a_topic_takes_new_options() -> None:
    """Subscribing again replaces; nobody gets a topic twice."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT", depth=20)
        await subscribe(feed, "book.BTCUSDT", depth=5)
        web.publish(1)
        web.publish(2)
        seqs = [(await heard(feed))["seq"]]
        await feed.send_str('{"op":"ping"}')
        while (message := await heard(feed)).get("op") != "pong":
            seqs.append(message["seq"])

    assert len(seqs) == len(set(seqs))


@on_server_loop
async def test_a_wrong_request_changes_nothing() -> None:
    """The error names the parameter, what is allowed, and which request it was."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT")
        error = await subscribe(feed, "book.ETHUSDT", "book.DOGEUSDT", id="mine")
        answer = await subscribe(feed, "metrics.BTCUSDT")

    assert (error["op"], error["id"], error["parameter"]) == ("error", "mine", "topics")
    assert error["allowed"] == ["BTCUSDT", "ETHUSDT"]
    assert answer["topics"] == ["book.BTCUSDT", "metrics.BTCUSDT"]


@pytest.mark.parametrize("words", ["nonsense", "[1]", '{"op":"ping","id":[]}'])
@on_server_loop
async def test_nonsense_is_answered(words: str) -> None:
    """As text or as bytes; the connection goes on."""
    async with serving() as web, connected(web) as feed:
        await feed.send_str(words)
        await feed.send_bytes(words.encode())
        errors = [await heard(feed) for _ in range(2)]
        pong = await ask(feed, op="ping", id=1)

    assert [error["op"] for error in errors] == ["error", "error"]
    assert (pong["op"], pong["id"]) == ("pong", 1)


@on_server_loop
async def test_topics_of_a_client_are_bounded() -> None:
    """One more than the bound is refused as a whole."""
    symbols = tuple(f"S{number}USDT" for number in range(TOPICS_MAX + 1))
    settings = type(SETTINGS)(symbols=symbols)
    async with serving(settings) as web, connected(web) as feed:
        await subscribe(feed, *[f"book.{symbol}" for symbol in symbols[:TOPICS_MAX]])
        error = await subscribe(feed, f"book.{symbols[-1]}")

    assert (error["op"], error["parameter"]) == ("error", "topics")


@on_server_loop
async def test_every_trade_comes_once() -> None:
    """Though the bus repeats them, and with contiguous ids."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 10, 11)
        await subscribe(feed, "trades.BTCUSDT")
        got = [await heard(feed)]
        trade(web, 2, 10, 11, 12, 13)
        got.append(await heard(feed))

    assert [[entry["id"] for entry in message["trades"]] for message in got] == [[10, 11], [12, 13]]
    assert all(message["gap"] is None for message in got)


@on_server_loop
async def test_who_comes_back_goes_on_where_it_was() -> None:
    """`from_id` is the first trade it lacks; what is gone for good is told."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, *range(100, 120))
        await subscribe(feed, "trades.BTCUSDT", from_id=115)
        resumed = await heard(feed)
        await subscribe(feed, "trades.BTCUSDT", from_id=90)
        late = await heard(feed)

    assert (resumed["first_id"], resumed["last_id"], resumed["gap"]) == (115, 119, None)
    assert (late["first_id"], late["gap"]) == (100, {"first_id": 90, "last_id": 99})


@on_server_loop
async def test_trades_that_are_far_away_cannot_be_waited_for() -> None:
    """Their ids are another server's, or a mistake."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 100)
        error = await subscribe(feed, "trades.BTCUSDT", from_id=10**9)

    assert (error["op"], error["parameter"]) == ("error", "from_id")


@on_server_loop
async def test_trades_are_not_skipped_at_a_low_rate() -> None:
    """Once a second means all of that second."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 1)
        await subscribe(feed, "trades.BTCUSDT", rate="4hz")
        got = [entry["id"] for entry in (await heard(feed))["trades"]]
        for number in range(2, 40):
            trade(web, number, number)
            await asyncio.sleep(0.02)
        while got[-1] < 39:
            got += [entry["id"] for entry in (await heard(feed))["trades"]]

    assert got == list(range(1, 40))


@on_server_loop
async def test_an_echo_is_noted_and_not_answered() -> None:
    """What the client was shown, for the latency report."""
    told: list[tuple[str, float]] = []
    async with serving() as web:
        web.sessions.on_echo = lambda instance, timestamp: told.append((instance, timestamp))
        async with connected(web) as feed:
            await feed.send_str('{"op":"echo","instance":"ab","timestamp":1.5}')
            answer = await ask(feed, op="ping")

    assert told == [("ab", 1.5)]
    assert answer["op"] == "pong"


@on_server_loop
async def test_who_talks_too_much_is_ended() -> None:
    """More than the bound is answered with 1008."""
    async with serving() as web, connected(web) as feed:
        for _ in range(MESSAGES_MAX + 1):
            await feed.send_str('{"op":"ping"}')
        while (end := await feed.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            pass

    assert end.data == 1008


@on_server_loop
async def test_a_client_without_a_topic_is_told_of_the_end_too() -> None:
    """1001, as everybody."""
    async with serving() as web, connected(web) as feed:
        await ask(feed, op="ping")
        web.stop.set()
        end = await feed.receive(timeout=WAIT_S)

    assert end.data == 1001


@on_server_loop
async def test_who_has_left_leaves_nothing_behind() -> None:
    """No stream is made for nobody."""
    async with serving() as web:
        async with connected(web) as feed:
            await subscribe(feed, "book.BTCUSDT", "trades.BTCUSDT", "status.ETHUSDT")
            was_heard = web.hub.is_heard("BTCUSDT")
        await until(lambda: web.sessions.open_count == 0)

    assert was_heard
    assert not web.hub.is_heard("BTCUSDT")
    assert not web.hub.is_heard("ETHUSDT")
