"""The flush scheduler: one flush for all that is due, then a pause in proportion to what the flush took.

It knows neither clients nor messages.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Flushable(Protocol):
    """A sender of messages: to one client, or the same to many. `replaced` counts messages replaced before sending."""

    replaced: int

    def schedule(self) -> None:
        """Have what waits flushed."""

    def flush(self) -> None:
        """Send what waits, or arrange for it to be sent."""


class FlushScheduler:
    """Flushes everything that is due at once, and then pauses.

    A write costs far more than a message, so under load clients get more with each write, not more writes: a flush is
    followed by a pause of PAUSE_SHARE times what it took beyond PAUSE_FREE_S, at most PAUSE_MAX_S. `on_flushed` is
    called after each flush with the seconds since its first message was scheduled.
    """

    PAUSE_FREE_S = 0.001
    """A flush to a few clients takes less: it is no load, and what one client asks for must not delay the others."""
    PAUSE_SHARE = 8.0
    PAUSE_MAX_S = 0.05

    def __init__(self, on_flushed: Callable[[float], None]) -> None:
        self._on_flushed = on_flushed
        self._due: list[Flushable] = []
        self._failure: asyncio.Future[None] | None = None
        self._is_scheduled = False
        self._scheduled_s = 0.0
        self._paused_until_s = 0.0

    def schedule(self, sender: Flushable) -> None:
        """Flush this one with the next flush."""
        self._due.append(sender)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            self._scheduled_s = loop.time()
            loop.call_at(self._paused_until_s, self._run)

    async def watch(self) -> None:
        """Wait for ever. Raises what a flush has failed with: which clients have been sent what is then unknown."""
        self._failure = asyncio.get_running_loop().create_future()
        await self._failure

    def _run(self) -> None:
        try:
            self._flush()
        except Exception as fault:
            if self._failure is None or self._failure.done():
                raise
            self._failure.set_exception(fault)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        started_s, scheduled_s = loop.time(), self._scheduled_s
        # Twice: flushing a broadcast group schedules those of its clients that are behind.
        for _ in range(2):
            due, self._due = self._due, []
            for sender in due:
                sender.flush()
        ended_s = loop.time()
        took_s = ended_s - started_s
        self._paused_until_s = ended_s + min(self.PAUSE_MAX_S, self.PAUSE_SHARE * max(0.0, took_s - self.PAUSE_FREE_S))
        self._is_scheduled = False
        late, self._due = self._due, []
        for sender in late:
            self.schedule(sender)
        self._on_flushed(ended_s - scheduled_s)
