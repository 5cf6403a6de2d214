"""The paced exchange: its snapshots fit its diffs, and one reader's disconnect does not affect the others."""

import orjson
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pytest_aiohttp import AiohttpClient

from bench.exchange import PacedExchange, send_each


async def test_reader_that_just_disconnected_is_skipped(aiohttp_client: AiohttpClient) -> None:
    """Its connection is gone, its handler has not noticed: the others still get the message."""
    readers: list[web.WebSocketResponse] = []

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        readers.append(socket)
        if len(readers) == 1:
            assert request.transport is not None
            request.transport.abort()
        else:
            await send_each(readers, "a diff")
        return socket

    app = web.Application()
    app.router.add_get("/stream", stream)
    client = await aiohttp_client(app)
    async with client.ws_connect("/stream"), client.ws_connect("/stream") as second:
        assert await second.receive_str() == "a diff"


async def test_snapshot_has_the_quantities_of_the_diffs() -> None:
    """The newest of each changed level: the terminal compares its book with further snapshots."""
    exchange = PacedExchange(["BTCUSDT"], 10.0, levels=300, seed=1)
    changed = dict(level for _ in range(5) for level in exchange._changes(-1))
    answer = await exchange._depth(make_mocked_request("GET", "/api/v3/depth?limit=300"))
    assert isinstance(answer.body, bytes)
    shown = dict(orjson.loads(answer.body)["bids"])

    assert len(shown) == 300
    assert {price: shown[price] for price in changed} == changed
