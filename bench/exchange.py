"""An exchange at a fixed rate: every symbol's diffs in one batch, each id the time at which it was sent.

It implements as much of Binance's protocol as the terminal uses. A diff's final update id is the time of sending in
tens of microseconds since the epoch, and a view has it as `last_update_id`: its reader can compute the latency from the
exchange. A snapshot has the quantities at its id, so the terminal's comparisons agree. The symbols' diffs are sent
together within some ms, as on a real venue. There are no trades, so a view is the book, its metrics and its proof. Run
as a program; it prints `ready` when it listens.
"""

import argparse
import asyncio
import contextlib
import math
import random
import time
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler

START_TICKS, TICK = 6_183_763, 0.01
LEVELS_CHANGED = 23
"""Changes a side in a diff: the mean of a recorded BTCUSDT session is 46 in all."""
ID_NS = 10_000
"""The time between two ids: a real exchange makes no more of them, and the terminal takes larger jumps for false."""
IDS_PER_MS = 1_000_000 // ID_NS
NEAR_RANK = 60.0
"""Mean distance of changes from the best price, in levels."""


class PacedExchange:
    """One book and one series of diffs for all symbols: only names and ids differ."""

    def __init__(self, symbols: list[str], rate_hz: float, levels: int, seed: int, ban_s: float = 0.0) -> None:
        self._symbols = symbols
        self._period_s = 1 / rate_hz
        self._levels = levels
        self._rng = random.Random(seed)
        self._quantities = {sign: [1.0] * levels for sign in (-1, 1)}  # of each side's levels, the best one first
        self._last_id = _now_id()
        self._banned_until_s = time.monotonic() + ban_s
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}

    async def run(self, port: int) -> None:
        """Serve and send until cancelled."""
        app = web.Application(middlewares=[self._refuse_if_banned])
        app.router.add_get("/api/v3/exchangeInfo", self._exchange_info)
        app.router.add_get("/api/v3/depth", self._depth)
        app.router.add_get("/api/v3/{rest:.+}", self._empty)
        app.router.add_get("/stream", self._stream)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print('{"event":"ready"}', flush=True)
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += self._period_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self._send_diffs()

    async def _send_diffs(self) -> None:
        bids, asks = self._changes(-1), self._changes(1)
        first_id = self._last_id + 1
        self._last_id = max(_now_id(), first_id)
        for symbol in self._symbols:
            stream = f"{symbol.lower()}@depth@100ms"
            readers = [socket for socket, streams in self._sockets.items() if stream in streams]
            if readers:
                diff = {
                    "e": "depthUpdate",
                    "E": self._last_id // IDS_PER_MS,
                    "s": symbol,
                    "U": first_id,
                    "u": self._last_id,
                }
                await send_each(
                    readers, orjson.dumps({"stream": stream, "data": {**diff, "b": bids, "a": asks}}).decode()
                )

    def _changes(self, sign: int) -> list[list[str]]:
        """Return levels near the best price with new quantities; no level is removed, so the book keeps its size."""
        ranks = {min(int(self._rng.expovariate(1 / NEAR_RANK)), self._levels - 1) for _ in range(2 * LEVELS_CHANGED)}
        changed, quantities = sorted(ranks)[:LEVELS_CHANGED], self._quantities[sign]
        for rank in changed:
            quantities[rank] = self._rng.uniform(0.001, 3)
        return [_level(sign, rank, quantities[rank]) for rank in changed]

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._sockets[socket] = set(request.query.get("streams", "").split("/"))
        try:
            async for message in socket:
                if message.type is web.WSMsgType.TEXT:
                    asked = orjson.loads(message.data)
                    await socket.send_str(orjson.dumps({"result": None, "id": asked.get("id")}).decode())
        finally:
            del self._sockets[socket]
            await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    @web.middleware
    async def _refuse_if_banned(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse REST calls as the exchange does that has banned an address."""
        left_s = self._banned_until_s - time.monotonic()
        if left_s <= 0 or request.path == "/stream":
            return await handler(request)
        return web.Response(status=418, headers={"Retry-After": str(math.ceil(left_s))}, text="{}")

    async def _depth(self, request: web.Request) -> web.Response:
        count = min(self._levels, int(request.query.get("limit", "100")))
        sides = {
            name: [_level(sign, rank, quantity) for rank, quantity in enumerate(self._quantities[sign][:count])]
            for name, sign in (("bids", -1), ("asks", 1))
        }
        return _json({"lastUpdateId": self._last_id, **sides})

    async def _exchange_info(self, _: web.Request) -> web.Response:
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00001"},
        ]
        common = {"status": "TRADING", "quoteAsset": "USDT", "filters": filters}
        rows = [{"symbol": s, "baseAsset": s.removesuffix("USDT"), **common} for s in self._symbols]
        return _json({"timezone": "UTC", "serverTime": _now_id() // IDS_PER_MS, "rateLimits": [], "symbols": rows})

    async def _empty(self, _: web.Request) -> web.Response:
        return _json([])


async def send_each(readers: Iterable[web.WebSocketResponse], text: str) -> None:
    """Send to every open socket; skip those just closed whose handler has not noticed yet."""
    for socket in readers:
        with contextlib.suppress(ConnectionResetError):
            await socket.send_str(text)


def _level(sign: int, rank: int, quantity: float) -> list[str]:
    next_tick = START_TICKS + sign * rank + (sign > 0)
    return [f"{next_tick * TICK:.8f}", f"{quantity:.8f}"]


def _now_id() -> int:
    return time.time_ns() // ID_NS


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def main() -> None:
    """Run with the command line's arguments."""
    parser = argparse.ArgumentParser(prog="bench.exchange", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("symbols", help="comma-separated")
    parser.add_argument("rate_hz", type=float)
    parser.add_argument("--levels", type=int, default=5000)
    parser.add_argument("--ban-s", type=float, default=0.0, help="how long REST calls are refused from the start")
    options = parser.parse_args()
    exchange = PacedExchange(options.symbols.split(","), options.rate_hz, options.levels, seed=1, ban_s=options.ban_s)
    asyncio.run(exchange.run(options.port))


if __name__ == "__main__":
    main()
