"""What several simulator tests share: a fixed start, a client's book joined by the documented rule, bounded waiting.

The book here is deliberately naive (text in dicts, sorted each time), so that it cannot share a mistake with the
simulator's own or with the product's.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

MINUTE_MS = 60_000
START_MS = 1_790_000_040_000  # a whole minute
SMALL = "LINKUSDT"  # the quietest symbol, so the cheapest to build


class ClientBook:
    """A local book of one symbol, fed by a snapshot and diffs as a client receives them."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.update_id: int = snapshot["lastUpdateId"]
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}

    def apply(self, diff: dict[str, Any]) -> bool:
        """Apply a diff that joins; False for one that is wholly in the book already."""
        if diff["u"] <= self.update_id:
            return False
        assert diff["U"] <= self.update_id + 1, f"gap: at {self.update_id}, got {diff['U']}..{diff['u']}"
        self.update_id = diff["u"]
        for side, levels in self.sides.items():
            for price, quantity in diff[side]:
                levels[price] = quantity
                if float(quantity) == 0:
                    del levels[price]
        return True

    def top(self, side: str, count: int = 20) -> list[list[str]]:
        """The best levels of `b` or `a`, best first."""
        ordered = sorted(self.sides[side].items(), key=lambda level: float(level[0]), reverse=side == "b")
        return [list(level) for level in ordered[:count]]


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for a condition; TimeoutError when it does not come true in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def read_until(
    ws: ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 5.0
) -> list[dict[str, Any]]:
    """Messages from a socket up to and with the first wanted one."""
    read: list[dict[str, Any]] = []
    async with asyncio.timeout(timeout_s):
        while not read or not wanted(read[-1]):
            message = await ws.receive()
            assert message.type is WSMsgType.TEXT, message
            read.append(message.json())
    return read


async def get(session: ClientSession, url: str) -> tuple[int, Any]:
    """Status and JSON of a GET."""
    async with session.get(url) as response:
        return response.status, await response.json()
