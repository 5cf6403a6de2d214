"""Work on many things that would hold the loop for long, done in slices between which others get their turn."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

SLICE = 100
"""Things at a time: of a candle's conversions less than a millisecond."""


async def map_in_chunks(work: Callable[[A], B], things: Sequence[A]) -> list[B]:
    """What `work` makes of each."""
    done: list[B] = []
    for begin in range(0, len(things), SLICE):
        done += map(work, things[begin : begin + SLICE])
        await asyncio.sleep(0)
    return done


class RetryGate:
    """Shared by all who wait for one server. `spacing_s` is about how far apart their tries are, taken together."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._waiting = 0
        self._reached = asyncio.Event()

    async def wait(self, most_s: float) -> None:
        """Wait before the next try: `most_s`, less where few wait, and no longer once somebody has had an answer."""
        self._waiting += 1
        reached = self._reached
        try:
            async with asyncio.timeout(min(most_s, self._spacing_s * self._waiting)):
                await reached.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def reached(self) -> None:
        """The other side has answered: whoever waits may try now."""
        if self._waiting:
            self._reached.set()
            self._reached = asyncio.Event()


def backoff_delays(first_s: float, max_s: float, rng: random.Random) -> Iterator[float]:
    """Yield ever longer waits in seconds, each drawn evenly from [half, all] of a bound that doubles up to `max_s`.

    The jitter keeps many clients of one server, which were cut at the same moment, from coming back together.
    """
    bound_s = first_s
    while True:
        yield rng.uniform(bound_s / 2, bound_s)
        bound_s = min(bound_s * 2, max_s)
