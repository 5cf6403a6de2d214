"""The paced exchange: one reader's disconnect does not affect the others."""

from aiohttp import web
from pytest_aiohttp import AiohttpClient

from bench.exchange import send_each


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
