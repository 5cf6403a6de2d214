"""Short stories in virtual time: the simulation's loop, told in seconds from the story's beginning."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.simulation import loop
from tests.support.makers import MIDNIGHT_MS

T = TypeVar("T")


def now_s() -> float:
    """Seconds since the story began."""
    return round(asyncio.get_running_loop().time() - loop.BEGIN_S, 6)


async def at(time_s: float) -> None:
    """Let the story go on to this time."""
    await asyncio.sleep(time_s - now_s())


class StoryClock:
    """Both readings of a clock, from the story's beginning, which has a date."""

    def __init__(self, begin_ms: int = MIDNIGHT_MS) -> None:
        self._begin_ms = begin_ms

    def now_ms(self) -> float:
        """Milliseconds since then."""
        return now_s() * 1000

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return self._begin_ms / 1000 + now_s()


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story to its end, without waiting for anything."""

    async def tell() -> T:
        return await story

    return loop.run(tell)
