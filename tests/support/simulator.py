"""Helpers of the simulator's tests: a fixed start, a client's book joined by the documented rule, bounded waits.

The book here is deliberately naive (text in dicts, sorted each time), so that it shares no mistake with the simulator's
book or the product's.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.support.waiting import WAIT_S

MINUTE_MS = 60_000
START_MS = 1_790_000_040_000  # a whole minute
SMALL = "LINKUSDT"  # the quietest symbol, so the cheapest to build


class ClientBook:
    """A local book of one symbol, fed by a snapshot and diffs as a client receives them."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.update_id: int = snapshot["lastUpdateId"]
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}

    def apply(self, diff: dict[str, Any]) -> bool:
        """Apply a diff that joins; return False for one that is wholly in the book already."""
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
        """Return the best levels of `b` or `a`, best first."""
        ordered = sorted(self.sides[side].items(), key=lambda level: float(level[0]), reverse=side == "b")
        return [list(level) for level in ordered[:count]]


async def read_until(
    ws: ClientWebSocketResponse, matches: Callable[[dict[str, Any]], bool], timeout_s: float = 5.0
) -> list[dict[str, Any]]:
    """Return the messages of a socket up to and including the first that matches."""
    read: list[dict[str, Any]] = []
    async with asyncio.timeout(WAIT_S):
        while not read or not matches(read[-1]):
            message = await ws.receive()
            assert message.type is WSMsgType.TEXT, message
            read.append(message.json())
    return read


async def get(session: ClientSession, url: str) -> tuple[int, Any]:
    """Return status and JSON of a GET."""
    async with session.get(url) as response:
        return response.status, await response.json()
