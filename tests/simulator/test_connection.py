"""One stream socket over the real network: rate limit, pings, disconnects and a client that does not read."""

import asyncio
import socket

import pytest
from aiohttp import ClientSession, WSMsgType

from pulse.simulator.connection import FIN, MID_FRAME, RST
from pulse.simulator.server import SimulatedExchange
from pulse.simulator.subscriptions import STREAMS_MAX
from tests.support.simulator import SMALL, START_MS, read_until
from tests.support.waiting import WAIT_S, until

STREAM = f"{SMALL.lower()}@depth@100ms"
LIST = '{"method":"LIST_SUBSCRIPTIONS","id":1}'


async def test_five_messages_a_second_are_allowed(exchange: SimulatedExchange, session: ClientSession) -> None:
    """All of them are answered."""
    async with session.ws_connect(f"{exchange.stream_url}/ws") as ws:
        for _ in range(5):
            await ws.send_str(LIST)
        for _ in range(5):
            await read_until(ws, lambda message: message.get("id") == 1)


@pytest.mark.parametrize("kind", ["text", "ping", "pong"])
async def test_more_messages_a_second_end_the_connection(
    exchange: SimulatedExchange, session: ClientSession, kind: str
) -> None:
    """JSON, pings and pongs all count; the connection is closed with 1008."""
    async with session.ws_connect(f"{exchange.stream_url}/ws", autoping=False) as ws:
        for _ in range(6):
            await {"text": lambda: ws.send_str(LIST), "ping": ws.ping, "pong": ws.pong}[kind]()
        async with asyncio.timeout(5):
            while (await ws.receive()).type is not WSMsgType.CLOSE:
                pass

    assert ws.close_code == 1008


async def test_too_many_subscriptions_end_the_connection(exchange: SimulatedExchange, session: ClientSession) -> None:
    """The request that exceeds the bound is answered, then the connection is closed with 1008."""
    names = [f"s{number}" for number in range(STREAMS_MAX + 1)]
    async with session.ws_connect(f"{exchange.stream_url}/ws") as ws:
        await ws.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
        async with asyncio.timeout(5):
            while (await ws.receive()).type is not WSMsgType.CLOSE:
                pass

    assert ws.close_code == 1008


async def test_ping_is_answered_with_its_payload(exchange: SimulatedExchange, session: ClientSession) -> None:
    """The pong copies the payload of the ping."""
    async with session.ws_connect(f"{exchange.stream_url}/ws", autoping=False) as ws:
        await ws.ping(b"payload")
        pong = await ws.receive(timeout=WAIT_S)

    assert (pong.type, pong.data) == (WSMsgType.PONG, b"payload")


async def test_client_that_sends_no_pong_is_disconnected(session: ClientSession) -> None:
    """A client without pongs loses its connection after the timeout."""
    async with (
        SimulatedExchange((SMALL,), start_ms=START_MS, ping_interval_s=0.05, pong_timeout_s=0.3) as exchange,
        session.ws_connect(f"{exchange.stream_url}/ws", autoping=False) as mute,
    ):
        ping = await mute.receive(timeout=WAIT_S)
        await until(lambda: not exchange.connections)

    assert ping.type is WSMsgType.PING
    assert ping.data.isdigit()


@pytest.mark.parametrize("mode", [RST, FIN, MID_FRAME])
async def test_cut_has_no_closing_handshake(exchange: SimulatedExchange, session: ClientSession, mode: str) -> None:
    """The client sees its connection end without a close frame: 1006."""
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={STREAM}") as ws:
        await read_until(ws, lambda message: True)
        exchange.cut(mode)
        async with asyncio.timeout(5):
            while (await ws.receive()).type is WSMsgType.TEXT:
                pass

    assert ws.close_code == 1006


async def test_client_that_does_not_read_is_reset() -> None:
    """Its send queue is bounded; the exchange goes on."""
    async with SimulatedExchange((SMALL,), start_ms=START_MS, speed=80, outbox_bytes_max=64 * 1024) as exchange:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", exchange.port))
        streams = "/".join(f"{SMALL.lower()}@{kind}" for kind in ("depth20@100ms", "depth@100ms", "trade"))
        slow.sendall(
            f"GET /stream?streams={streams} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await until(lambda: exchange.connections_opened == 1)
        for connection in exchange.connections:
            sock = connection._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await until(lambda: not exchange.connections)
        slow.close()


async def test_half_open_exchange_sends_nothing_and_stays_open(
    exchange: SimulatedExchange, session: ClientSession
) -> None:
    """Not even a pong comes, as from a peer that vanished."""
    async with session.ws_connect(f"{exchange.stream_url}/stream?streams={STREAM}", autoping=False) as ws:
        await read_until(ws, lambda message: True)
        exchange.faults.half_open = True
        passed_ms = exchange.core.now_ms + 5_000
        await ws.ping()
        await until(lambda: exchange.core.now_ms > passed_ms)
        exchange.faults.half_open = False
        first = (await read_until(ws, lambda message: message["data"]["E"] > passed_ms - 4_000))[-1]

    assert first["data"]["E"] > passed_ms - 500
