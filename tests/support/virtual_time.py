"""Short scenarios under virtual time: the simulation's loop, with times in seconds since the scenario's beginning."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.simulation import loop
from tests.support.makers import MIDNIGHT_MS

T = TypeVar("T")


def now_s() -> float:
    """Return the seconds since the scenario's beginning."""
    return round(asyncio.get_running_loop().time() - loop.BEGIN_S, 6)


async def at(time_s: float) -> None:
    """Wait until this time."""
    await asyncio.sleep(time_s - now_s())


def work(seconds: float) -> None:
    """Let time pass as work does that keeps the loop from turning."""
    running = asyncio.get_running_loop()
    assert isinstance(running, loop.VirtualLoop)
    running.work(seconds)


class ScenarioClock:
    """Both readings of a clock, from the scenario's beginning, which has a date."""

    def __init__(self, begin_ms: int = MIDNIGHT_MS) -> None:
        self._begin_ms = begin_ms

    def now_ms(self) -> float:
        """Return the milliseconds since then."""
        return now_s() * 1000

    def wall_s(self) -> float:
        """Return the seconds since the epoch."""
        return self._begin_ms / 1000 + now_s()


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario to its end; its waits take no real time."""

    async def main() -> T:
        return await scenario

    return loop.run(main)
