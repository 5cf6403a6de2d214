"""One abusive client, from one address of loopback, as a program: every kind of flood at a rate of its own.

    python -m tests.floods.flooder PORT ADDRESS RATE KIND,KIND...

Each kind acts RATE times a second, as far as the server lets it, until the program is ended.
"""

import asyncio
import contextlib
import itertools
import random
import sys
from collections.abc import Awaitable, Callable

from tests.support.websockets import BINARY, PING, TEXT, frame, upgrade

HELD_MAX = 60
"""Connections that are held open at once, of each kind that holds some."""
ANSWER_MAX_S = 5.0
LISTED = ("BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LINKUSDT", "AVAXUSDT", "LTCUSDT")
EXPORT = "/api/ohlcv?format=csv&start=0&limit=1000000"


class Connection:
    """A connection from the flooder's address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionError."""
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Reset it."""
        self.writer.transport.abort()


class Flooder:
    """Floods one server. Each method but `run` is one act of a kind."""

    def __init__(self, port: int, address: str) -> None:
        self._port = port
        self._address = address
        self._rng = random.Random(1)
        self._symbols = itertools.cycle(LISTED)
        self._held: dict[str, list[Connection]] = {}
        self._websockets: dict[str, Connection] = {}
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "requests": self._request,
            "exports": self._export,
            "symbols": self._open_symbol,
            "subscriptions": self._subscribe,
            "pings": self._ping,
            "garbage": self._send_garbage,
            "half_frames": self._hold_half_frame,
            "opens": self._open_and_close,
        }

    async def run(self, kinds: list[str], rate: float) -> None:
        """Flood for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(self._repeat(self.kinds[kind], rate))

    async def _repeat(self, act: Callable[[], Awaitable[None]], rate: float) -> None:
        loop, pending = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        due_s = loop.time()
        while True:
            if len(pending) < HELD_MAX:
                task = loop.create_task(self._try(act))
                pending.add(task)
                task.add_done_callback(pending.discard)
            due_s = max(due_s + 1 / rate, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    async def _try(self, act: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(ANSWER_MAX_S):
                await act()

    async def _connect(self) -> Connection:
        return Connection(
            *await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0), limit=2**20)
        )

    async def _get(self, path: str) -> None:
        connection = await self._connect()
        try:
            await connection.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            while await connection.reader.read(65536):
                pass
        finally:
            connection.close()

    async def _websocket(self, kind: str) -> Connection:
        """Return the open WebSocket of a kind, or a new one."""
        known = self._websockets.get(kind)
        if known is not None and not known.reader.at_eof() and not known.writer.is_closing():
            return known
        connection = await self._connect()
        try:
            await connection.send(upgrade(self._port, "/ws"))
            await connection.reader.readuntil(b"\r\n\r\n")
        except BaseException:
            connection.close()
            raise
        self._websockets[kind] = connection
        return connection

    async def _request(self) -> None:
        await self._get("/api/ohlcv?limit=1000")

    async def _export(self) -> None:
        await self._get(EXPORT)

    async def _open_symbol(self) -> None:
        await self._get(f"/orderbook?symbol={next(self._symbols)}")

    async def _subscribe(self) -> None:
        websocket = await self._websocket("subscriptions")
        topics = ",".join(f'"book.{name}","kline.{name}.1h"' for name in ("BTCUSDT", "ETHUSDT", next(self._symbols)))
        op, rate = self._rng.choice(("subscribe", "unsubscribe")), self._rng.choice(("full", "4hz", "1hz"))
        await websocket.send(frame(TEXT, f'{{"op":"{op}","topics":[{topics}],"rate":"{rate}"}}'.encode()))

    async def _ping(self) -> None:
        websocket = await self._websocket("pings")
        await websocket.send(frame(PING, b"12345678") * 50)

    async def _send_garbage(self) -> None:
        if self._rng.random() < 0.5:
            connection = await self._connect()
            try:
                await connection.send(self._rng.randbytes(2000))
                await connection.reader.read(1000)
            finally:
                connection.close()
        else:
            websocket = await self._websocket("garbage")
            await websocket.send(frame(BINARY, self._rng.randbytes(100)) + self._rng.randbytes(20))

    async def _hold_half_frame(self) -> None:
        self._websockets.pop("half_frames", None)
        websocket = await self._websocket("half_frames")
        await websocket.send(frame(TEXT, b'{"op":"ping"}')[:9])
        held = self._held.setdefault("half_frames", [])
        held.append(websocket)
        if len(held) > HELD_MAX:
            held.pop(0).close()

    async def _open_and_close(self) -> None:
        (await self._connect()).close()


def main() -> None:
    """Run with the command line's arguments."""
    port, address, rate, kinds = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Flooder(int(port), address).run(kinds.split(","), float(rate)))


if __name__ == "__main__":
    main()
