"""WebSocket clients of the real app and server: admission, the newest view, slow readers, rate limits, closing."""

import asyncio
import socket
from dataclasses import replace

import aiohttp
import orjson
import pytest

from pulse.server.flow_control import ACK_INTERVAL_MIN_BYTES
from pulse.symbols import SymbolRegistry
from pulse.web.websocket import MESSAGES_MAX
from tests.support.waiting import WAIT_S, until
from tests.support.web import SETTINGS, Web, on_server_loop, serving
from tests.support.websockets import (
    PING,
    PONG,
    TEXT,
    UPGRADE_HEADERS,
    close_code,
    frame,
    frames,
    raw_socket,
    raw_websocket,
    read_to_end,
    split_frames,
    upgrade,
)

SMALL_BUFFER_BYTES = 4096
LARGE_VIEW_BYTES = 60_000


async def refusal(
    web: Web, path: str = "/ws/orderbook", **headers: str
) -> tuple[int, dict[str, str], dict[str, object]]:
    """Return status, headers and problem of a WebSocket that is refused."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(web.url + path, headers=UPGRADE_HEADERS | headers) as answer,
    ):
        return answer.status, dict(answer.headers), orjson.loads(await answer.read())


async def read_until(feed: aiohttp.ClientWebSocketResponse, seq: int) -> dict[str, object]:
    """Read up to the view with this sequence number, and return it."""
    while (newest := await feed.receive_json(timeout=WAIT_S))["seq"] < seq:
        pass
    return dict(newest)


async def views_until(client: socket.socket, seq: int) -> list[bytes]:
    """Read up to the view with this sequence number, answering pings; return the views."""
    loop, data = asyncio.get_running_loop(), b""
    views: list[bytes] = []
    while not views or orjson.loads(views[-1])["seq"] < seq:
        data += await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)
        whole, data = split_frames(data)
        for opcode, payload in whole:
            if opcode == PING:
                await loop.sock_sendall(client, frame(PONG, payload))
            else:
                views.append(payload)
    return views


async def stalled_client(web: Web) -> socket.socket:
    """Return a client that has stopped reading, whose connection accepts no more data."""
    client, _ = await raw_websocket(web.port, receive_buffer_bytes=SMALL_BUFFER_BYTES)
    for seq in range(1, 41):
        web.publish(seq, padding=LARGE_VIEW_BYTES)
        await asyncio.sleep(0.002)
    return client


@on_server_loop
async def test_the_current_view_is_sent_at_once() -> None:
    """A new client does not wait for the next change."""
    async with serving() as web, aiohttp.ClientSession() as client:
        web.publish(7)
        async with client.ws_connect(web.feed_url) as feed:
            first = await feed.receive_json(timeout=WAIT_S)

    assert first["seq"] == 7


@pytest.mark.parametrize("symbol", ["ETHUSDT", "ethusdt"])
@on_server_loop
async def test_the_path_selects_the_symbol(symbol: str) -> None:
    """/ws/orderbook/{symbol} pushes that symbol's views and no other's."""
    async with (
        serving() as web,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{web.feed_url}/{symbol}") as feed,
    ):
        web.publish(1, "BTCUSDT")
        web.publish(2, "ETHUSDT")
        first = await feed.receive_json(timeout=WAIT_S)

    assert (first["seq"], first["symbol"]) == (2, "ETHUSDT")


@on_server_loop
async def test_each_view_is_sent_as_text() -> None:
    """A reader that keeps up gets every view, with the bytes of the bus."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(web.feed_url) as feed:
        got = []
        for seq in (1, 2, 3):
            web.publish(seq)
            got.append(await feed.receive_json(timeout=WAIT_S))

    assert [message["seq"] for message in got] == [1, 2, 3]


@pytest.mark.proves("stuck-reader")
@on_server_loop
async def test_a_slow_reader_gets_the_newest_view() -> None:
    """Views that it could not take in time are replaced, not queued."""
    async with serving() as web:
        client = await stalled_client(web)
        web.stop.set()
        seqs = [orjson.loads(payload)["seq"] for opcode, payload in frames(await read_to_end(client)) if opcode == TEXT]
        client.close()

    assert seqs == sorted(set(seqs))
    assert len(seqs) < 10
    assert web.sessions.replaced > 25


@pytest.mark.proves("stuck-reader")
@on_server_loop
async def test_a_client_that_reads_nothing_is_disconnected() -> None:
    """It is aborted at its deadline: a close frame would wait for it as well. Others notice nothing."""
    async with (
        serving(send_timeout_s=0.2) as web,
        aiohttp.ClientSession() as client,
        client.ws_connect(web.feed_url) as healthy,
    ):
        reading = asyncio.create_task(read_until(healthy, 1000))
        stalled = await stalled_client(web)
        await until(lambda: web.sessions.open_count == 1)
        web.publish(1000)
        newest = await reading
        stalled.close()

    assert web.sessions.timed_out == 1
    assert newest["seq"] == 1000


@on_server_loop
async def test_a_client_that_answers_no_ping_is_disconnected() -> None:
    """Its kernel takes the bytes, but no pong shows that it has read them."""
    async with serving(send_timeout_s=0.2) as web:
        mute, _ = await raw_websocket(web.port)
        reading = asyncio.create_task(read_to_end(mute))
        for seq in range(1, 11):
            web.publish(seq, padding=LARGE_VIEW_BYTES)
            await asyncio.sleep(0.002)
        await reading
        mute.close()

    assert web.sessions.timed_out == 1


@pytest.mark.proves("stuck-reader")
@on_server_loop
async def test_unread_data_is_bounded_by_the_send_window() -> None:
    """With the default buffers of the system: pongs show how far a client has read, which the kernel cannot.

    Of 200 views it gets those that fill the window, and, once it has answered the ping, the newest.
    """
    async with serving() as web:
        client, _ = await raw_websocket(web.port)
        for seq in range(1, 201):
            web.publish(seq, padding=2000)
            await asyncio.sleep(0.002)
        unread = await views_until(client, 200)
        client.close()

    assert sum(map(len, unread[:-1])) < 2 * ACK_INTERVAL_MIN_BYTES + 2 * len(unread[-1])
    assert len(unread) > 2


@on_server_loop
async def test_a_client_that_leaves_frees_everything() -> None:
    """However it leaves, its tasks and its place in the count end with it."""
    async with serving() as web, aiohttp.ClientSession() as client:
        await refusal(web, "/ws/nothing")  # now the server is up
        tasks_before = len(asyncio.all_tasks())
        polite = await client.ws_connect(web.feed_url)
        rude, _ = await raw_websocket(web.port)
        await until(lambda: web.sessions.open_count == 2)
        await polite.close()
        rude.close()
        await until(lambda: web.sessions.open_count == 0)

        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)


@on_server_loop
async def test_every_client_gets_1001_when_the_server_stops() -> None:
    """A page then reconnects."""
    async with serving() as web, aiohttp.ClientSession() as client:
        feeds = [await client.ws_connect(web.feed_url) for _ in range(10)]
        stopped = asyncio.create_task(web.stopped())
        ends = [await feed.receive(timeout=WAIT_S) for feed in feeds]
        await stopped

        assert {(end.type, end.data) for end in ends} == {(aiohttp.WSMsgType.CLOSE, 1001)}
        assert web.sessions.timed_out == 0


@on_server_loop
async def test_a_client_that_does_not_read_cannot_delay_the_stop() -> None:
    """The server stops, and the others get 1001."""
    async with serving() as web, aiohttp.ClientSession() as client:
        stalled = await stalled_client(web)
        healthy = await client.ws_connect(web.feed_url)
        stopped = asyncio.create_task(web.stopped())
        while (end := await healthy.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
            pass
        await stopped
        stalled.close()

    assert end.data == 1001


@on_server_loop
async def test_a_client_that_does_not_answer_the_close_frame_is_disconnected() -> None:
    """It has CLOSE_TIMEOUT_S for that."""
    async with serving() as web:
        mute, _ = await raw_websocket(web.port)
        web.hub.shut_down()
        received = await read_to_end(mute)
        mute.close()

    assert close_code(received) == 1001
    assert web.sessions.timed_out == 1


@on_server_loop
async def test_messages_to_the_view_endpoint_are_ignored() -> None:
    """Clients written for other servers may send their pings and subscriptions."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(web.feed_url) as feed:
        for _ in range(MESSAGES_MAX):
            await feed.send_str('{"op":"ping"}')
        web.publish(1)
        got = await feed.receive_json(timeout=WAIT_S)

    assert got["seq"] == 1


@pytest.mark.proves("many-requests")
@on_server_loop
async def test_too_many_messages_are_answered_with_1008() -> None:
    """The rate limit of messages closes the connection."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(web.feed_url) as feed:
        for _ in range(MESSAGES_MAX + 1):
            await feed.send_bytes(b"x")
        end = await feed.receive(timeout=WAIT_S)

    assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1008)


@pytest.mark.proves("many-requests")
@on_server_loop
async def test_a_client_that_ignores_1008_is_disconnected() -> None:
    """One that goes on sending leaves nothing behind."""
    async with serving() as web:
        client, _ = await raw_websocket(web.port)
        await asyncio.get_running_loop().sock_sendall(client, frame(TEXT, b"x") * 500)
        received = await read_to_end(client)
        client.close()
        await until(lambda: web.sessions.open_count == 0)

    assert close_code(received) == 1008


@pytest.mark.proves("oversize")
@on_server_loop
async def test_an_oversize_message_is_answered_with_1009() -> None:
    """The limit is 4 KiB."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(web.feed_url) as feed:
        await feed.send_str("x" * 5000)
        end = await feed.receive(timeout=WAIT_S)

    assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1009)


@pytest.mark.proves("cswsh")
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@on_server_loop
async def test_a_page_of_another_site_is_refused(origin: str) -> None:
    """CORS does not cover WebSockets, so the Origin is checked before the upgrade."""
    async with serving() as web:
        status, _, problem = await refusal(web, Origin=origin)

    assert status == 403
    assert "PULSE_ALLOWED_ORIGINS" in str(problem["detail"])
    assert web.admission.refused == 1


@on_server_loop
async def test_our_own_page_and_allowed_origins_are_accepted() -> None:
    """The Origin may be the host itself or one of PULSE_ALLOWED_ORIGINS."""
    settings = replace(SETTINGS, allowed_origins=("https://friend.example",))
    async with serving(settings) as web, aiohttp.ClientSession() as client:
        for origin in (web.url, "https://friend.example"):
            async with client.ws_connect(web.feed_url, origin=origin):
                pass

    assert web.admission.refused == 0


@on_server_loop
async def test_an_unknown_symbol_is_refused_with_the_allowed_ones() -> None:
    """It is a problem response, before the upgrade."""
    async with serving() as web:
        status, headers, problem = await refusal(web, "/ws/orderbook/DOGEUSDT")

    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert (problem["parameter"], problem["allowed"]) == ("symbol", ["BTCUSDT", "ETHUSDT"])


@on_server_loop
async def test_an_unknown_path_is_refused() -> None:
    """A WebSocket of another path is a 404."""
    async with serving() as web:
        status, headers, problem = await refusal(web, "/ws/nothing")

    assert (status, problem["status"]) == (404, 404)
    assert "Content-Security-Policy" in headers


@pytest.mark.proves("many-clients")
@on_server_loop
async def test_clients_beyond_the_limit_are_refused() -> None:
    """503 with Retry-After; when a client leaves, another is admitted."""
    async with serving(replace(SETTINGS, clients_max=1)) as web, aiohttp.ClientSession() as client:
        async with client.ws_connect(web.feed_url):
            status, headers, _ = await refusal(web)
        await until(lambda: web.sessions.open_count == 0)
        async with client.ws_connect(web.feed_url):
            pass

    assert (status, headers["Retry-After"]) == (503, "30")


@pytest.mark.proves("many-clients")
@on_server_loop
async def test_clients_of_one_address_beyond_its_limit_are_refused() -> None:
    """429 with Retry-After; a forged X-Forwarded-For does not help."""
    async with (
        serving(replace(SETTINGS, clients_per_address_max=1)) as web,
        aiohttp.ClientSession() as client,
        client.ws_connect(web.feed_url),
    ):
        status, headers, _ = await refusal(web, **{"X-Forwarded-For": "203.0.113.9"})

    assert (status, headers["Retry-After"]) == (429, "30")


@pytest.mark.proves("cswsh")
@on_server_loop
async def test_a_refused_client_opens_no_symbol() -> None:
    """Another site's page cannot open symbols, and a wrong name frees its place in the count."""
    registry = SymbolRegistry(SETTINGS.symbols, running_max=5)
    registry.set_listed(["SOLUSDT"])
    async with serving(registry=registry) as web, aiohttp.ClientSession() as client:
        for path, origin, status in (("SOLUSDT", "https://evil.example", 403), ("NOPE", web.url, 404)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{web.feed_url}/{path}", headers={"Origin": origin})
            assert refused.value.status == status
        count = web.sessions.open_count

    assert count == 0
    assert list(registry) == list(SETTINGS.symbols)


@on_server_loop
async def test_behind_a_proxy_clients_are_counted_by_forwarded_address() -> None:
    """With a trusted hop, the address that the proxy appended counts."""
    settings = replace(SETTINGS, clients_per_address_max=1, trusted_hops=1)
    async with serving(settings) as web, aiohttp.ClientSession() as client:
        headers = [{"X-Forwarded-For": f"6.6.6.6, 203.0.113.{n}"} for n in (1, 2)]
        first = await client.ws_connect(web.feed_url, headers=headers[0])
        second = await client.ws_connect(web.feed_url, headers=headers[1])
        status, _, _ = await refusal(web, **headers[1])
        await first.close()
        await second.close()

    assert status == 429


@pytest.mark.parametrize("read_bytes", [12, 65536], ids=["by a reset", "politely"])
@on_server_loop
async def test_a_client_that_sends_frames_before_the_upgrade_leaves_nothing_behind(read_bytes: int) -> None:
    """Such a frame is answered with 400, which ends the connection; Hypercorn alone would leave it open for ever."""
    async with serving() as web:
        await refusal(web, Origin="https://elsewhere.example")  # whatever the first request starts is running
        before = asyncio.all_tasks()
        client = await raw_socket(web.port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, upgrade(web.port) + frame(TEXT, b"x"))
        answer = await asyncio.wait_for(loop.sock_recv(client, read_bytes), WAIT_S)
        if read_bytes > 12:
            answer += await read_to_end(client)
        client.close()

        await until(lambda: asyncio.all_tasks() == before)
        assert web.sessions.open_count == 0

    assert answer.startswith(b"HTTP/1.1 400")
