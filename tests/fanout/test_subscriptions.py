"""One client's subscriptions over a real WebSocket: requests, replies, and the messages that follow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest

from pulse.fanout.requests import NOTIONALS_MAX, TOPICS_MAX
from pulse.fanout.subscriptions import Echo
from pulse.symbols import SymbolRegistry
from pulse.web import admission
from pulse.web.websocket import MESSAGES_MAX
from pulse.wire import trades_channel
from tests.support.waiting import WAIT_S, until
from tests.support.web import INSTANCE, SETTINGS, Web, make_hub, on_server_loop, serving
from tests.support.web import ask as http

Feed = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def connected(web: Web, address: str = "127.0.0.1") -> AsyncIterator[Feed]:
    """Connect a client to /ws; behind a trusted proxy it is one of this address."""
    headers = {"X-Forwarded-For": address}
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws", headers=headers) as feed:
        yield feed


async def next_message(feed: Feed) -> dict[str, Any]:
    """Return the next message."""
    message: dict[str, Any] = await feed.receive_json(timeout=WAIT_S)
    return message


@asynccontextmanager
async def listening(web: Web, query: str) -> AsyncIterator[None]:
    """Connect a client to /sse."""
    async with aiohttp.ClientSession() as client, client.get(f"{web.url}/sse?{query}") as answer:
        assert answer.status == 200
        yield


async def ask(feed: Feed, **message: object) -> dict[str, Any]:
    """Send a request and return the reply."""
    await feed.send_str(orjson.dumps(message).decode())
    return await next_message(feed)


async def subscribe(feed: Feed, *topics: str, **options: object) -> dict[str, Any]:
    """Subscribe and return the reply."""
    return await ask(feed, op="subscribe", topics=list(topics), **options)


def trade(web: Web, seq: int, *ids: int, symbol: str = "BTCUSDT") -> None:
    """Publish these trades."""
    trades = [{"id": number, "price": 1.0, "first_trade_id": 10 * number} for number in ids]
    body = {"seq": seq, "instance": INSTANCE, "symbol": symbol, "trades": trades}
    web.hub.publish(trades_channel(symbol), orjson.dumps(body))


@on_server_loop
async def test_a_subscription_is_confirmed() -> None:
    """With its id and all topics of the client; then their messages follow."""
    async with serving() as web, connected(web) as feed:
        answer = await subscribe(feed, "status.BTCUSDT", "book.ETHUSDT", id=3)
        web.publish(1, "ETHUSDT")
        first = await next_message(feed)

    assert answer == {"op": "subscribed", "id": 3, "topics": ["status.BTCUSDT", "book.ETHUSDT"]}
    assert (first["topic"], first["seq"]) == ("book.ETHUSDT", 1)


@on_server_loop
async def test_current_messages_come_at_once() -> None:
    """After the reply, in the order of the topics."""
    async with serving() as web, connected(web) as feed:
        web.publish(5)
        await subscribe(feed, "metrics.BTCUSDT", "book.BTCUSDT")
        topics = [(await next_message(feed))["topic"] for _ in range(2)]

    assert topics == ["metrics.BTCUSDT", "book.BTCUSDT"]


@on_server_loop
async def test_an_unsubscribed_topic_sends_nothing_more() -> None:
    """The others go on."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT", "metrics.BTCUSDT")
        answer = await ask(feed, op="unsubscribe", topics=["book.BTCUSDT", "proof.BTCUSDT"])
        web.publish(1)
        first = await next_message(feed)

    assert answer["topics"] == ["metrics.BTCUSDT"]
    assert first["topic"] == "metrics.BTCUSDT"


@on_server_loop
async def test_subscribing_again_changes_the_options() -> None:
    """The topic is not sent twice."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT", depth=20)
        await subscribe(feed, "book.BTCUSDT", depth=5)
        web.publish(1)
        web.publish(2)
        seqs = [(await next_message(feed))["seq"]]
        await feed.send_str('{"op":"ping"}')
        while (message := await next_message(feed)).get("op") != "pong":
            seqs.append(message["seq"])

    assert len(seqs) == len(set(seqs))


@on_server_loop
async def test_a_wrong_request_changes_nothing() -> None:
    """The error names the parameter, what is allowed, and the request's id."""
    async with serving() as web, connected(web) as feed:
        await subscribe(feed, "book.BTCUSDT")
        error = await subscribe(feed, "book.ETHUSDT", "book.DOGEUSDT", id="mine")
        answer = await subscribe(feed, "metrics.BTCUSDT")

    assert (error["op"], error["id"], error["parameter"]) == ("error", "mine", "topics")
    assert error["allowed"] == ["BTCUSDT", "ETHUSDT"]
    assert error["retry_after_s"] is None
    assert answer["topics"] == ["book.BTCUSDT", "metrics.BTCUSDT"]


@pytest.mark.parametrize("message", ["nonsense", "[1]", '{"op":"ping","id":[]}'])
@on_server_loop
async def test_a_message_that_is_no_request_is_answered_with_an_error(message: str) -> None:
    """As text or as bytes; the connection goes on."""
    async with serving() as web, connected(web) as feed:
        await feed.send_str(message)
        await feed.send_bytes(message.encode())
        errors = [await next_message(feed) for _ in range(2)]
        pong = await ask(feed, op="ping", id=1)

    assert [error["op"] for error in errors] == ["error", "error"]
    assert (pong["op"], pong["id"]) == ("pong", 1)


@on_server_loop
async def test_topics_of_a_client_are_limited() -> None:
    """A request that would exceed TOPICS_MAX changes nothing."""
    symbols = tuple(f"S{number}USDT" for number in range(TOPICS_MAX + 1))
    settings = type(SETTINGS)(symbols=symbols)
    async with serving(settings) as web, connected(web) as feed:
        await subscribe(feed, *[f"book.{symbol}" for symbol in symbols[:TOPICS_MAX]])
        error = await subscribe(feed, f"book.{symbols[-1]}")

    assert (error["op"], error["parameter"]) == ("error", "topics")


@on_server_loop
async def test_every_trade_is_sent_once() -> None:
    """With contiguous ids, though the bus repeats trades."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 10, 11)
        await subscribe(feed, "trades.BTCUSDT")
        got = [await next_message(feed)]
        trade(web, 2, 10, 11, 12, 13)
        got.append(await next_message(feed))

    assert [[entry["id"] for entry in message["trades"]] for message in got] == [[10, 11], [12, 13]]
    assert all(message["gap"] is None for message in got)


@on_server_loop
async def test_from_id_resumes_trades() -> None:
    """It is the first trade that the client lacks; trades no longer kept are reported as a gap."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, *range(100, 120))
        await subscribe(feed, "trades.BTCUSDT", from_id=115)
        resumed = await next_message(feed)
        await subscribe(feed, "trades.BTCUSDT", from_id=90)
        late = await next_message(feed)

    assert (resumed["first_id"], resumed["last_id"], resumed["gap"]) == (115, 119, None)
    assert (late["first_id"], late["gap"]) == (100, {"first_id": 90, "last_id": 99})


@on_server_loop
async def test_a_from_id_far_ahead_is_refused() -> None:
    """It is another server's id, or a mistake."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 100)
        error = await subscribe(feed, "trades.BTCUSDT", from_id=10**9)

    assert (error["op"], error["parameter"]) == ("error", "from_id")


@on_server_loop
async def test_a_low_rate_skips_no_trade() -> None:
    """One message a second holds all trades of that second."""
    async with serving() as web, connected(web) as feed:
        trade(web, 1, 1)
        await subscribe(feed, "trades.BTCUSDT", rate="4hz")
        got = [entry["id"] for entry in (await next_message(feed))["trades"]]
        for number in range(2, 40):
            trade(web, number, number)
            await asyncio.sleep(0.02)
        while got[-1] < 39:
            got += [entry["id"] for entry in (await next_message(feed))["trades"]]

    assert got == list(range(1, 40))


@on_server_loop
async def test_an_echo_is_reported_and_not_answered() -> None:
    """It names a view that the client has shown, for the latency report, which learns the client's symbols too."""
    echoes: list[tuple[str, Echo]] = []
    async with (
        serving(on_echo=lambda address, echo: echoes.append((address, echo))) as web,
        connected(web) as feed,
    ):
        await subscribe(feed, "status.ETHUSDT", "trades.ETHUSDT")
        await feed.send_str('{"op":"echo","instance":"ab","timestamp":1.5}')
        answer = await ask(feed, op="ping")

    assert echoes == [("127.0.0.1", Echo("ab", 1.5, frozenset({"ETHUSDT"})))]
    assert answer["op"] == "pong"


@on_server_loop
async def test_too_many_messages_are_answered_with_1008() -> None:
    """The rate limit of messages closes the connection."""
    async with serving() as web, connected(web) as feed:
        for _ in range(MESSAGES_MAX + 1):
            await feed.send_str('{"op":"ping"}')
        while (end := await feed.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            pass

    assert end.data == 1008


@on_server_loop
async def test_a_client_without_topics_gets_1001_when_the_server_stops() -> None:
    """Like every client."""
    async with serving() as web, connected(web) as feed:
        await ask(feed, op="ping")
        web.stop.set()
        end = await feed.receive(timeout=WAIT_S)

    assert end.data == 1001


@on_server_loop
async def test_a_client_that_has_left_leaves_no_topic_stream() -> None:
    """Its symbols are no longer watched."""
    async with serving() as web:
        async with connected(web) as feed:
            await subscribe(feed, "book.BTCUSDT", "trades.BTCUSDT", "status.ETHUSDT")
            was_watched = web.hub.is_watched("BTCUSDT")
        await until(lambda: web.sessions.open_count == 0)

    assert was_watched
    assert not web.hub.is_watched("BTCUSDT")
    assert not web.hub.is_watched("ETHUSDT")


@pytest.mark.proves("address-topics")
@on_server_loop
async def test_one_address_has_a_share_of_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all its clients count together, until they are unsubscribed or the client has left."""
    monkeypatch.setattr(admission, "TOPICS_PER_ADDRESS_MAX", 4)
    async with serving() as web, connected(web) as one:
        async with connected(web) as two:
            await subscribe(one, "book.BTCUSDT", "status.BTCUSDT")
            await subscribe(two, "book.BTCUSDT", "status.BTCUSDT")
            again = await subscribe(two, "book.BTCUSDT", rate="1hz")
            refused = await subscribe(two, "proof.BTCUSDT", id=9)
            await ask(one, op="unsubscribe", topics=["status.BTCUSDT", "trades.BTCUSDT"])
            accepted = await subscribe(two, "proof.BTCUSDT")
            counts = [web.admission.topics.count]
        await until(lambda: web.sessions.open_count == 1)
        counts.append(web.admission.topics.count)
        async with listening(web, "topics=book.ETHUSDT,proof.ETHUSDT,status.ETHUSDT"):
            status, problem, headers = await http(web, "/sse?topics=book.ETHUSDT")
        await until(lambda: web.sessions.open_count == 1)
        counts.append(web.admission.topics.count)

    assert again["topics"] == accepted["topics"][:2] == ["status.BTCUSDT", "book.BTCUSDT"]
    assert (refused["op"], refused["id"], refused["parameter"]) == ("error", 9, "topics")
    assert refused["retry_after_s"] == 30
    assert refused["detail"] == "Your address has as many topics subscribed to as this server allows one address: 4."
    assert (status, headers["Retry-After"], counts) == (429, "30", [4, 1, 1])
    assert "as many topics" in problem["detail"]


@on_server_loop
async def test_one_address_opens_a_share_of_the_symbols() -> None:
    """The refusal names the limit of the address; another address opens what is left."""
    registry = SymbolRegistry(SETTINGS.symbols, running_max=6, is_watched=lambda _: True)
    names = [f"COIN{number}USDT" for number in range(5)]
    registry.set_listed(names)
    settings = replace(SETTINGS, trusted_hops=1)
    hub = make_hub((*SETTINGS.symbols, *names))
    async with serving(settings, registry=registry, hub=hub) as web:
        async with connected(web, "192.0.2.1") as one, connected(web, "192.0.2.2") as two:
            await subscribe(one, *(f"status.{name}" for name in names[:3]))
            refused = await subscribe(one, f"status.{names[3]}")
            status, _, headers = await http(web, f"/orderbook?symbol={names[4]}", **{"X-Forwarded-For": "192.0.2.1"})
            accepted = await subscribe(two, f"status.{names[3]}")
        full, _, _ = await http(web, f"/orderbook?symbol={names[4]}", **{"X-Forwarded-For": "192.0.2.3"})

    assert refused["detail"] == "Your address has opened as many symbols as this server allows one address: 3."
    assert refused["allowed"] == list(registry)[:5]
    assert refused["retry_after_s"] == 60
    assert accepted["op"] == "subscribed"
    assert (status, headers["Retry-After"], full) == (429, "60", 503)


@on_server_loop
async def test_sums_of_a_symbol_are_bounded() -> None:
    """Those in use may be subscribed by anyone; one more is refused, and one of another symbol is not."""
    sums = [f"cost.BTCUSDT.{at}" for at in range(1, NOTIONALS_MAX + 1)]
    async with serving() as web, connected(web) as feed, connected(web) as other:
        await subscribe(feed, *sums)
        again = await subscribe(other, sums[0])
        refused = await subscribe(other, "cost.BTCUSDT.777")
        elsewhere = await subscribe(other, "cost.ETHUSDT.777")
        await ask(feed, op="unsubscribe", topics=sums[:1])
        await ask(other, op="unsubscribe", topics=sums[:1])
        granted = await subscribe(other, "cost.BTCUSDT.777")

    assert again["op"] == elsewhere["op"] == granted["op"] == "subscribed"
    assert (refused["op"], refused["parameter"], refused["retry_after_s"]) == ("error", "topics", 60)
