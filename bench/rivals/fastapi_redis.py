"""The common way: FastAPI on Uvicorn, and a Redis subscription per client whose messages are forwarded as they come.

Written as its documentation teaches, and made as good as that allows: the subscription is awaited, not polled; the
client library's pool, which would stop at 100 clients, may hold one connection for each; Uvicorn runs on uvloop with
its compiled parsers. hiredis is left out, as it is for the terminal.
"""

import argparse
import asyncio
import contextlib

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub

from bench.rivals.publisher import CHANNEL

CONNECTIONS_MAX = 10_000


def build(url: str) -> FastAPI:
    """Return the app."""
    app = FastAPI()
    redis = Redis(connection_pool=ConnectionPool.from_url(url, max_connections=CONNECTIONS_MAX))

    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        async with redis.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            sender = asyncio.create_task(_send(websocket, subscription))
            with contextlib.suppress(WebSocketDisconnect):
                while True:
                    await websocket.receive_text()
            sender.cancel()

    async def _send(websocket: WebSocket, subscription: PubSub) -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                await websocket.send_text(message["data"].decode())

    app.add_api_websocket_route("/ws", feed)
    return app


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="bench.rivals.fastapi_redis", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("url")
    options = parser.parse_args()
    uvicorn.run(build(options.url), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
