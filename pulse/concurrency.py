"""Work on many things that would hold the loop for long, done in slices between which others get their turn."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

SLICE = 100
"""Things at a time: of a candle's conversions less than a millisecond."""


async def in_slices(work: Callable[[A], B], things: Sequence[A]) -> list[B]:
    """What `work` makes of each."""
    done: list[B] = []
    for begin in range(0, len(things), SLICE):
        done += map(work, things[begin : begin + SLICE])
        await asyncio.sleep(0)
    return done
