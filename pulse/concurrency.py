"""Tools for tasks that share one loop and one server: work in chunks, a shared retry gate, backoff delays."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

CHUNK_ITEMS = 100
"""Items handled between two turns of the loop: less than a millisecond of converting candles."""


async def map_in_chunks(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `function` of each item, in order. Other tasks run after every CHUNK_ITEMS items."""
    results: list[B] = []
    for start in range(0, len(items), CHUNK_ITEMS):
        results += map(function, items[start : start + CHUNK_ITEMS])
        await asyncio.sleep(0)
    return results


class RetryGate:
    """Shared retry gate: caps the joint retry rate and wakes all waiters on the first success.

    Every task that waits for the same server waits here; `spacing_s` is about the time between two retries of them all.
    """

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._waiting = 0
        self._success = asyncio.Event()

    async def wait(self, max_s: float, *, is_capped: bool = True) -> None:
        """Wait before the next retry: `max_s` at most, less while few tasks wait, and only until the next success.

        With `is_capped` false few waiting tasks do not shorten the wait.
        """
        self._waiting += 1
        success = self._success
        try:
            async with asyncio.timeout(min(max_s, self._spacing_s * self._waiting) if is_capped else max_s):
                await success.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def succeeded(self) -> None:
        """Wake all waiters: the server has answered one of the tasks."""
        if self._waiting:
            self._success.set()
            self._success = asyncio.Event()


def backoff_delays(first_s: float, max_s: float, rng: random.Random) -> Iterator[float]:
    """Yield ever longer delays in seconds, each drawn evenly from [half, all] of a bound that doubles up to `max_s`.

    The jitter keeps many clients of one server, which were cut at the same moment, from coming back together.
    """
    bound_s = first_s
    while True:
        yield rng.uniform(bound_s / 2, bound_s)
        bound_s = min(bound_s * 2, max_s)
