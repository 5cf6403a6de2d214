"""Server-Sent Events: the same topics and messages as /ws, resuming, flow control, and the end of a stream."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from pulse.symbols import LISTING_RETRY_AFTER_S, SymbolRegistry
from pulse.web import sse
from tests.fanout.test_subscriptions import trade
from tests.support.waiting import WAIT_S, until
from tests.support.web import INSTANCE, SETTINGS, Web, ask, on_server_loop, serving
from tests.support.websockets import raw_socket, read_to_end


class Reader:
    """Reads events: the blocks between empty lines, as fields by name."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def block(self) -> dict[str, str]:
        """Return the next block; a comment's name is empty."""
        fields: dict[str, str] = {}
        while line := (await asyncio.wait_for(self._answer.content.readline(), WAIT_S)).decode().rstrip("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        return fields

    async def data(self) -> dict[str, Any]:
        """Return the next message."""
        while "data" not in (block := await self.block()):
            assert block, "the stream has ended"
        message: dict[str, Any] = orjson.loads(block["data"])
        return message


@asynccontextmanager
async def listening(web: Web, query: str, **headers: str) -> AsyncIterator[Reader]:
    """Connect a client to /sse."""
    async with aiohttp.ClientSession() as client, client.get(f"{web.url}/sse?{query}", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield Reader(answer)


async def refused(web: Web, query: str) -> tuple[int, dict[str, Any]]:
    """Return status and problem of a refused request."""
    async with aiohttp.ClientSession() as client, client.get(f"{web.url}/sse?{query}") as answer:
        return answer.status, orjson.loads(await answer.read())


@on_server_loop
async def test_messages_equal_those_of_the_websocket() -> None:
    """First the current ones, then new ones."""
    async with serving() as web:
        web.publish(1)
        async with listening(web, "topics=book.BTCUSDT,status.ETHUSDT&depth=5") as reader:
            first = await reader.data()
            web.publish(2, "ETHUSDT")
            second = await reader.data()

    assert (first["topic"], first["seq"]) == ("book.BTCUSDT", 1)
    assert (second["topic"], second["seq"]) == ("status.ETHUSDT", 2)


@on_server_loop
async def test_trades_resume_at_the_last_event_id() -> None:
    """`EventSource` sends the last event's id by itself: no trade is missed or repeated."""
    async with serving() as web:
        trade(web, 1, 10, 11, 12)
        async with listening(web, "topics=trades.BTCUSDT") as reader:
            while "data" not in (block := await reader.block()):
                pass
        trade(web, 2, 13, 14)
        async with listening(web, "topics=trades.BTCUSDT", **{"Last-Event-ID": block["id"]}) as reader:
            resumed = await reader.data()

    assert block["id"] == "trades.BTCUSDT=12.121"
    assert [entry["id"] for entry in resumed["trades"]] == [13, 14]


@on_server_loop
async def test_an_event_id_covers_no_later_event_of_the_same_write() -> None:
    """The connection may break between two events of one write: the first one's id must not skip the second."""
    async with serving() as web:
        trade(web, 1, 10)
        async with listening(web, "topics=book.BTCUSDT,trades.BTCUSDT") as reader:
            while "trades" not in (block := await reader.block()).get("data", ""):
                pass
            trade(web, 2, 11, 12)
            web.publish(3)
            blocks = [await reader.block() for _ in range(2)]

    assert block["id"] == "trades.BTCUSDT=10.101"
    assert [(orjson.loads(each["data"])["topic"], each["id"]) for each in blocks] == [
        ("book.BTCUSDT", "trades.BTCUSDT=10.101"), ("trades.BTCUSDT", "trades.BTCUSDT=12.121")
    ]  # fmt: skip


@on_server_loop
async def test_a_head_request_opens_no_stream() -> None:
    """It is not counted as a client."""
    async with serving() as web:
        status, body, headers = await ask(web, "/sse?topics=book.BTCUSDT", "HEAD")
        count = web.sessions.open_count

    assert (status, body, count) == (200, b"", 0)
    assert headers["Content-Type"] == "text/event-stream"


@on_server_loop
async def test_a_refused_client_opens_no_symbol() -> None:
    """Another site's page cannot open symbols, and a wrong request frees its place in the count."""
    registry = SymbolRegistry(SETTINGS.symbols, running_max=5)
    registry.set_listed(["SOLUSDT"])
    async with serving(registry=registry) as web:
        status, _, _ = await ask(web, "/sse?topics=book.SOLUSDT", Origin="https://evil.example")
        wrong, _, _ = await ask(web, "/sse?topics=book.NOPE")
        count = web.sessions.open_count

    assert (status, wrong, count) == (403, 400, 0)
    assert list(registry) == list(SETTINGS.symbols)


@pytest.mark.parametrize("last", ["nonsense", "trades.BTCUSDT=", "trades.BTCUSDT=-1", "=,=,=", "trades.BTCUSDT=1e9"])
@on_server_loop
async def test_a_malformed_last_event_id_is_ignored(last: str) -> None:
    """The client gets the newest trades, like a new one."""
    async with serving() as web:
        trade(web, 1, 10)
        async with listening(web, "topics=trades.BTCUSDT", **{"Last-Event-ID": last}) as reader:
            first = await reader.data()

    assert first["first_id"] == 10


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "topics"),
        ("topics=book.NONE", "topics"),
        ("topics=book.BTCUSDT&depth=7", "depth"),
        ("topics=book.BTCUSDT&rate=9hz", "rate"),
        ("topics=trades.BTCUSDT&from_id=99999999", "from_id"),
        ("topics=book.BTCUSDT&colour=red", "colour"),
    ],
)
@on_server_loop
async def test_a_wrong_parameter_is_named(query: str, parameter: str) -> None:
    """In a problem response, before anything is streamed."""
    async with serving() as web:
        status, problem = await refused(web, query)

    assert (status, problem["parameter"]) == (400, parameter)
    assert problem["allowed"]
    assert web.sessions.open_count == 0


@on_server_loop
async def test_a_symbol_without_room_may_be_requested_again() -> None:
    """503 with Retry-After: the request is right, but all symbols that may run are in use."""
    registry = SymbolRegistry(SETTINGS.symbols, running_max=3, is_watched=lambda _: True)
    registry.set_listed(["SOLUSDT", "LTCUSDT"])
    registry.acquire("SOLUSDT")
    async with serving(registry=registry) as web:
        status, problem, headers = await ask(web, "/sse?topics=book.LTCUSDT")
        count = web.sessions.open_count

    assert (status, headers["Retry-After"], count) == (503, "60", 0)
    assert "3 symbols at once" in problem["detail"]


@on_server_loop
async def test_a_symbol_may_be_requested_again_once_the_listing_is_known() -> None:
    """503 with Retry-After while the exchange has not answered which symbols it lists."""
    async with serving(registry=SymbolRegistry(SETTINGS.symbols, running_max=3)) as web:
        status, problem, headers = await ask(web, "/sse?topics=book.LTCUSDT")

    assert (status, headers["Retry-After"]) == (503, str(LISTING_RETRY_AFTER_S))
    assert "is starting" in problem["detail"]


@pytest.mark.proves("many-clients")
@on_server_loop
async def test_event_streams_are_counted_as_clients() -> None:
    """The same limit and the same refusal; when a client leaves, another is admitted."""
    settings = type(SETTINGS)(symbols=SETTINGS.symbols, clients_max=1)
    async with serving(settings) as web:
        async with listening(web, "topics=book.BTCUSDT"):
            status, _ = await refused(web, "topics=book.BTCUSDT")
        await until(lambda: web.sessions.open_count == 0)

        assert not web.hub.is_watched("BTCUSDT")

    assert status == 503


@on_server_loop
async def test_a_stream_without_messages_sends_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers skip them."""
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.02)
    async with serving() as web, listening(web, "topics=book.BTCUSDT") as reader:
        blocks = [await reader.block() for _ in range(2)]

    assert blocks == [{"retry": "2000"}, {"": "still here"}]


@on_server_loop
async def test_the_stream_ends_when_the_server_stops() -> None:
    """In an orderly way: the browser then reconnects by itself."""
    async with serving() as web, listening(web, "topics=book.BTCUSDT") as reader:
        await reader.block()
        web.stop.set()
        end = await reader.block()

    assert end == {}


async def slow_listener(web: Web, topic: str = "book.BTCUSDT") -> socket.socket:
    """Connect a client to /sse with a small receive buffer that has read nothing yet."""
    client = await raw_socket(web.port, 4096)
    request = f"GET /sse?topics={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    await asyncio.get_running_loop().sock_sendall(client, request)
    await until(lambda: web.sessions.open_count == 1)
    return client


def publish_book(web: Web, seq: int) -> None:
    """Return a view that makes a book message of a kilobyte."""
    levels = [[float(n), 0.123456789] for n in range(20)]
    body = {"seq": seq, "instance": INSTANCE, "bids": levels, "asks": levels}
    web.hub.publish("book:BTCUSDT", orjson.dumps(body))


@pytest.mark.proves("stuck-reader")
@on_server_loop
async def test_a_client_that_reads_nothing_is_disconnected() -> None:
    """At the same deadline as a WebSocket client."""
    async with serving(send_timeout_s=0.2) as web:
        stalled = await slow_listener(web)
        seq = 0
        while web.sessions.open_count:
            seq += 1
            publish_book(web, seq)
            await asyncio.sleep(0.001)
        await read_to_end(stalled)
        stalled.close()

    assert web.sessions.timed_out == 1


@on_server_loop
async def test_a_slow_reader_gets_the_newest_book() -> None:
    """Of 200 books made before it read, it gets the few that were on their way, and the newest."""
    async with serving() as web:
        slow = await slow_listener(web)
        for seq in range(1, 201):
            publish_book(web, seq)
            await asyncio.sleep(0.002)
        loop, received = asyncio.get_running_loop(), b""
        while b'"seq":200,' not in received:
            received += await asyncio.wait_for(loop.sock_recv(slow, 2048), WAIT_S)
        slow.close()

    assert received.count(b"data: ") < 20


@on_server_loop
async def test_a_client_that_reads_slowly_stays_connected() -> None:
    """As long as it takes anything before each deadline, however long a large message takes."""
    trades = [{"id": number, "padding": "x" * 100} for number in range(300)]
    async with serving(send_timeout_s=0.8) as web:
        slow = await slow_listener(web, "trades.BTCUSDT&from_id=0")
        web.hub.publish("trades:BTCUSDT", orjson.dumps({"seq": 1, "instance": INSTANCE, "trades": trades}))
        loop, received = asyncio.get_running_loop(), b""
        while b'"id":299' not in received:
            taken = await asyncio.wait_for(loop.sock_recv(slow, 700), WAIT_S)
            assert taken, "it was cut"
            received += taken
            await asyncio.sleep(0.05)
        count = web.sessions.open_count
        slow.close()

    assert (count, web.sessions.timed_out) == (1, 0)
