"""The simulated exchange over sockets: streams, subscriptions, pace, faults, restarts, and an exact book."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, WSMsgType, WSServerHandshakeError

from pulse.simulator.server import SimulatedExchange
from pulse.simulator.subscriptions import STREAMS_MAX
from tests.support.simulator import SMALL, START_MS, ClientBook, get, read_until
from tests.support.waiting import WAIT_S, until

DEPTH, TRADES = f"{SMALL.lower()}@depth@100ms", f"{SMALL.lower()}@aggTrade"


async def test_combined_events_carry_their_streams_name(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Over /stream each event is wrapped, and only the requested streams come."""
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={DEPTH}/{TRADES}") as ws:
        read = await read_until(ws, lambda message: message["stream"] == TRADES)

    assert {message["stream"] for message in read} <= {DEPTH, TRADES}
    assert read[-1]["data"]["e"] == "aggTrade"


async def test_raw_events_come_unwrapped(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Over /ws the event is the message."""
    async with session.ws_connect(f"{exchange.stream_url}/ws/{DEPTH}") as ws:
        (message,) = await read_until(ws, lambda message: True)

    assert (message["e"], message["s"]) == ("depthUpdate", SMALL)


async def test_streams_can_be_subscribed_later(exchange: SimulatedExchange, session: ClientSession) -> None:
    """An unknown stream is accepted and stays silent; a known one begins."""
    async with session.ws_connect(f"{exchange.stream_url}/stream") as ws:
        await ws.send_json({"method": "SUBSCRIBE", "params": ["nosuch@depth@100ms", DEPTH], "id": 5})
        read = await read_until(ws, lambda message: "stream" in message)
        await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 6})
        listed = (await read_until(ws, lambda message: message.get("id") == 6))[-1]

    assert read[0] == {"result": None, "id": 5}
    assert read[-1]["stream"] == DEPTH
    assert listed["result"] == ["nosuch@depth@100ms", DEPTH]


async def test_too_many_streams_are_refused(exchange: SimulatedExchange, session: ClientSession) -> None:
    """A URL with one stream too many opens and is closed with 1008."""
    names = "/".join(f"s{number}" for number in range(STREAMS_MAX + 1))
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={names}") as ws:
        message = await ws.receive(timeout=WAIT_S)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)


async def test_joined_book_is_exact_at_every_diff(session: ClientSession) -> None:
    """Buffer, snapshot, join over real sockets: the best levels equal the exchange's throughout."""
    symbols = ("BTCUSDT", SMALL)
    names = "/".join(f"{s.lower()}@{kind}" for s in symbols for kind in ("depth@100ms", "bookTicker"))
    async with SimulatedExchange(symbols, start_ms=START_MS, speed=4) as exchange:
        async with session.ws_connect(f"{exchange.stream_url}/stream?streams={names}") as ws:
            buffered = await read_until(ws, lambda message: message["stream"] == "btcusdt@depth@100ms")
            url = f"{exchange.rest_url}/api/v3/depth?limit=5000&symbol="
            books = {s: ClientBook((await get(session, url + s))[1]) for s in symbols}
            until_ms = exchange.core.now_ms + 4_000
            rest = await read_until(ws, lambda message: message["data"].get("E", 0) > until_ms)
        checked = [_check(exchange, books, message) for message in buffered + rest]

    assert sum(checked) > 60


def _check(exchange: SimulatedExchange, books: dict[str, ClientBook], message: dict[str, Any]) -> bool:
    """Apply a diff and compare with the exact book; return whether something was compared."""
    data = message["data"]
    book = books[data["s"]]
    if "e" not in data or not book.apply(data):
        return False
    state = exchange.core.book_at(data["s"], book.update_id)
    assert state is not None
    assert (state.bids, state.asks) == (book.top("b"), book.top("a"))
    return True


async def test_two_clients_get_the_same_bytes(exchange: SimulatedExchange, session: ClientSession) -> None:
    """From the second client's first message on, both receive the same."""
    url = f"{exchange.stream_url}/stream?streams={DEPTH}"
    async with session.ws_connect(url) as one, session.ws_connect(url) as other:
        first = (await read_until(other, lambda message: True))[0]
        await read_until(one, lambda message: message == first)
        pairs = [(await one.receive_str(), await other.receive_str()) for _ in range(5)]

    assert all(subscriptions == other for subscriptions, other in pairs)


async def test_market_time_follows_the_clock() -> None:
    """Market time is its start plus the clock's time times the speed."""
    now_s = [100.0]
    async with SimulatedExchange((SMALL,), start_ms=START_MS, speed=3, clock=lambda: now_s[0]) as exchange:
        now_s[0] += 0.5
        await until(lambda: exchange.core.now_ms == START_MS + 1_500)
        now_s[0] += 1.5
        await until(lambda: exchange.core.now_ms == START_MS + 6_000)


async def test_frame_faults_reach_the_client(exchange: SimulatedExchange, session: ClientSession) -> None:
    """A dropped diff is a gap in what the client receives, and in nothing else."""
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={DEPTH}") as ws:
        before = (await read_until(ws, lambda message: True))[-1]["data"]
        exchange.faults.frames.drop(DEPTH)
        until_ms = exchange.core.now_ms + 1_500
        read = await read_until(ws, lambda message: message["data"]["E"] > until_ms)
        diffs = [before] + [message["data"] for message in read]
        gaps = [(a, b) for a, b in pairwise(diffs) if b["U"] != a["u"] + 1]

    assert len(gaps) == 1


async def test_text_from_a_fault_is_sent_as_it_is(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Broken JSON reaches the client unwrapped."""
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={DEPTH}") as ws:
        exchange.faults.frames.edit(DEPTH, lambda data: '{"stream":', count=10)
        async with asyncio.timeout(5):
            while (await ws.receive_str()) != '{"stream":':
                pass


@pytest.mark.parametrize("status", [451, 503])
async def test_sockets_can_be_refused(exchange: SimulatedExchange, session: ClientSession, status: int) -> None:
    """The handshake fails with the given status."""
    exchange.faults.refuse_sockets = status

    with pytest.raises(WSServerHandshakeError) as refusal:
        await session.ws_connect(f"{exchange.stream_url}/ws")
    assert refusal.value.status == status


async def test_sockets_can_be_reset_before_the_handshake(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Status 0 ends the connection without an answer."""
    exchange.faults.refuse_sockets = 0

    with pytest.raises(ClientConnectionError):
        await session.ws_connect(f"{exchange.stream_url}/ws")


async def test_open_sockets_are_bounded(
    exchange: SimulatedExchange, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound a handshake gets 503, and the open connections stay."""
    monkeypatch.setattr("pulse.simulator.server.CONNECTIONS_MAX", 1)
    async with session.ws_connect(f"{exchange.stream_url}/ws"):
        with pytest.raises(WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{exchange.stream_url}/ws")

        assert (refusal.value.status, len(exchange.connections)) == (503, 1)


async def test_every_socket_can_be_closed_with_a_code(exchange: SimulatedExchange, session: ClientSession) -> None:
    """All clients receive the code and the reason."""
    async with (
        session.ws_connect(f"{exchange.stream_url}/ws") as one,
        session.ws_connect(f"{exchange.stream_url}/ws") as two,
    ):
        await until(lambda: len(exchange.connections) == 2)
        closing = asyncio.create_task(exchange.close_sockets(1012, "restart"))
        messages = [await ws.receive(timeout=WAIT_S) for ws in (one, two)]
        await closing

    assert [(m.type, m.data, m.extra) for m in messages] == [(WSMsgType.CLOSE, 1012, "restart")] * 2


async def test_a_shutdown_is_announced_raw_and_combined(exchange: SimulatedExchange, session: ClientSession) -> None:
    """The event needs no subscription; combined clients get it under its own stream's name."""
    async with (
        session.ws_connect(f"{exchange.stream_url}/ws") as raw,
        session.ws_connect(f"{exchange.stream_url}/stream") as combined,
    ):
        await until(lambda: len(exchange.connections) == 2)
        exchange.announce_shutdown()
        bare, wrapped = (await read_until(raw, lambda m: True))[0], (await read_until(combined, lambda m: True))[0]

    assert bare["e"] == "serverShutdown"
    assert (wrapped["stream"], wrapped["data"]["e"]) == ("!serverShutdown", "serverShutdown")


async def test_connection_has_a_maximum_lifetime(session: ClientSession) -> None:
    """The exchange ends even a healthy connection at the end of its lifetime."""
    async with (
        SimulatedExchange((SMALL,), start_ms=START_MS, connection_life_s=0.1) as exchange,
        session.ws_connect(f"{exchange.stream_url}/ws") as ws,
    ):
        message = await ws.receive(timeout=WAIT_S)

    assert message.type is WSMsgType.CLOSED


async def test_restart_uses_the_same_port(exchange: SimulatedExchange, session: ClientSession) -> None:
    """After close and start the same addresses serve the same market, which went on meanwhile."""
    before_id, url = exchange.core.book(SMALL).update_id, f"{exchange.rest_url}/api/v3/depth?symbol={SMALL}"
    await exchange.close()
    with pytest.raises(ClientConnectionError):
        await get(session, url)
    await exchange.start()
    _, snapshot = await get(session, url)

    assert snapshot["lastUpdateId"] >= before_id


async def test_closing_twice_is_harmless(exchange: SimulatedExchange) -> None:
    """A closed exchange has nothing to watch and nothing to close."""
    await exchange.close()
    await exchange.close()
    await exchange.watch()

    assert not exchange.connections


async def test_port_in_use_raises_at_once(exchange: SimulatedExchange) -> None:
    """Two exchanges cannot share a port, and the second leaves nothing behind."""
    second = SimulatedExchange((SMALL,), start_ms=START_MS, port=exchange.port)

    with pytest.raises(OSError, match=str(exchange.port)):
        await second.start()
    await second.close()


async def test_error_of_the_market_reaches_watch_and_close() -> None:
    """The error that stopped the market is raised by both."""
    exchange = SimulatedExchange((SMALL,), start_ms=START_MS)
    await exchange.start()
    exchange.faults.frames.edit("*", lambda data: 1 / 0, count=1)  # type: ignore[arg-type, return-value]
    async with ClientSession() as session, session.ws_connect(f"{exchange.stream_url}/ws/{DEPTH}"):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(exchange.watch(), WAIT_S)

    with pytest.raises(ZeroDivisionError):
        await exchange.close()
