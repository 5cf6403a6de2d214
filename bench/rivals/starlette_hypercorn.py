"""The terminal's own web stack unmodified: Starlette on Hypercorn, one broadcaster, `send_text` to each client.

The difference between this and the terminal is what pulse/server/ and pulse/fanout/ add to the same two libraries.
"""

import argparse
import asyncio

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bench.rivals.publisher import make_message, next_tick


class Broadcaster:
    """The newest text for all clients, changed at a fixed rate."""

    def __init__(self, size: int, rate_hz: float) -> None:
        self._size = size
        self._rate_hz = rate_hz
        self._text = ""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Make a new text at each tick, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await next_tick(self._rate_hz, loop)
            self._text = make_message(self._size)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def feed(self, websocket: WebSocket) -> None:
        """Send each text to one client until it leaves."""
        await websocket.accept()
        sender = asyncio.create_task(self._send(websocket))
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        sender.cancel()

    async def _send(self, websocket: WebSocket) -> None:
        while True:
            await self._changed.wait()
            await websocket.send_text(self._text)


async def _main(port: int, size: int, rate_hz: float) -> None:
    broadcaster = Broadcaster(size, rate_hz)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = None
    app = Starlette(routes=[WebSocketRoute("/ws", broadcaster.feed)])
    async with asyncio.TaskGroup() as group:
        group.create_task(broadcaster.run())
        group.create_task(serve(app, config))  # type: ignore[arg-type]  # its ASGI types are its own


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="bench.rivals.starlette_hypercorn", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("rate_hz", type=float)
    options = parser.parse_args()
    asyncio.run(_main(options.port, options.size, options.rate_hz))


if __name__ == "__main__":
    main()
