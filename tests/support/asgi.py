"""A running server whose ASGI app is one function, and such functions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pulse.server.listener import open_listener, serve
from pulse.server.loop import current_connection
from tests.support.waiting import WAIT_S
from tests.support.websockets import raw_socket, read_to_end

Answer = Callable[[Any, Any], Awaitable[None]]
"""An ASGI app without its scope: `answer(receive, send)`."""
MIB = 2**20


@asynccontextmanager
async def running(
    answer: Answer, close_sessions: Callable[[], None] = lambda: None, *, clients_per_address_max: int | None = None
) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Run a server whose app is `answer(receive, send)`; give its port and its stop event, and wait for its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await answer(receive, send)

    listener, stop = open_listener("127.0.0.1", 0), asyncio.Event()
    port = listener.getsockname()[1]
    task = asyncio.create_task(serve(app, listener, stop, close_sessions, 10, clients_per_address_max))
    try:
        yield port, stop
    finally:
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


async def answer_ok(_: Any, send: Any) -> None:
    """Answer a request with the body "ok"."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def accept_and_read(receive: Any, send: Any) -> None:
    """Accept a WebSocket, as sessions do, and read it to its end."""
    await send({"type": "websocket.accept"})
    current_connection().start_websocket()
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def get(port: int) -> bytes:
    """Request / over a raw connection; return the whole response with its head."""
    client = await raw_socket(port)
    await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await read_to_end(client)
    client.close()
    return answer
