"""Waiting together for the other side to answer again: few tries in all, and one success is known to everybody at once.

Alone, each would have to choose between trying often, which many may not do at once, and coming back late.
"""

import asyncio


class Comeback:
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
