"""Servers whose app is one function, and the functions that tests give them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pulse.server.connection import current_connection
from pulse.server.listener import open_listener, serve
from tests.support.web import WAIT_S, raw_socket, read_to_end

Answer = Callable[[Any, Any], Awaitable[None]]
MIB = 2**20


@asynccontextmanager
async def answering(
    answer: Answer, goodbye: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A server whose app is `answer(receive, send)`; gives its port and its stop, and waits for its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await answer(receive, send)

    listener, stop = open_listener("127.0.0.1", 0), asyncio.Event()
    port = listener.getsockname()[1]
    task = asyncio.create_task(serve(app, listener, stop, goodbye, clients_max=10))
    try:
        yield port, stop
    finally:
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


async def say_ok(_: Any, send: Any) -> None:
    """Answer a request with two bytes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def accept_and_read(receive: Any, send: Any) -> None:
    """Accept a WebSocket, as sessions do, and read it to its end."""
    await send({"type": "websocket.accept"})
    connection = current_connection()
    assert connection is not None
    connection.upgraded()
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def get(port: int) -> bytes:
    """Ask for / over a raw connection and read the answer with its head."""
    client = await raw_socket(port)
    await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await read_to_end(client)
    client.close()
    return answer
