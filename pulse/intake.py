"""The river's mouth: one symbol's raw frames become events that the engine can trust to join.

Live feeds and replays share it. It promises the engine a book anchor, then diffs that follow without a gap, then
perhaps `BookLost` until the next anchor. It knows neither sockets nor files.
"""

import asyncio
import logging
from typing import NamedTuple, TypeAlias

from pulse import stats
from pulse.binance.frames import Frame
from pulse.clock import Clock
from pulse.market.sync import DepthSync, Verdict
from pulse.market.types import BookLost, DepthDiff, DepthSnapshot

log = logging.getLogger(__name__)

HELD_DIFFS_MAX = 10_000
"""Diffs kept while a snapshot is on its way: a thousand seconds of the 100 ms stream."""
INBOX_EVENTS_MAX = 4096
"""Events between feeds and engine; when it is full the sockets wait."""


class Received(NamedTuple):
    """One event of one symbol, and when it was received, ms of the process's clock."""

    symbol: str
    event: object
    received_ms: float


Inbox: TypeAlias = asyncio.Queue[Received]


def make_inbox() -> Inbox:
    """The queue between every feed and the engine."""
    return asyncio.Queue(INBOX_EVENTS_MAX)


class Intake:
    """Joins one symbol's stream and snapshots, and puts what joins into the inbox, in order."""

    def __init__(self, symbol: str, inbox: Inbox, clock: Clock) -> None:
        self._symbol = symbol
        self._inbox = inbox
        self._clock = clock
        self._sync = DepthSync(HELD_DIFFS_MAX)
        # A full inbox suspends a put; whoever comes then must not overtake it.
        self._order = asyncio.Lock()

    @property
    def wants_snapshot(self) -> bool:
        """Whether the book cannot be continued without a new snapshot."""
        return self._sync.wants_snapshot

    def reaches(self, diff: DepthDiff) -> bool:
        """Whether this diff follows on, or overlaps, what was already delivered; with no book, anything does."""
        return self._sync.reaches(diff)

    def restart(self) -> None:
        """A new connection begins."""
        self._sync.restart()

    def expect_snapshot(self) -> None:
        """A snapshot is about to be asked for."""
        self._sync.expect_snapshot()

    async def put(self, event: object) -> None:
        """Hand the engine an event that needs no joining."""
        async with self._order:
            await self._put(event)

    async def frame(self, frame: Frame) -> None:
        """Take one frame of the stream."""
        stats.frames_received.labels(self._symbol, frame.kind).inc()
        async with self._order:
            if isinstance(frame.event, DepthDiff):
                await self._diff(frame.event)
            else:
                await self._put(frame.event)

    async def snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot; False means that it is too old for the diffs that were kept."""
        async with self._order:
            is_usable = self._sync.on_snapshot(snapshot)
            await self._anchor()
        return is_usable

    async def _diff(self, diff: DepthDiff) -> None:
        verdict = self._sync.on_diff(diff)
        if verdict is Verdict.DELIVER:
            await self._put(diff)
        elif verdict is Verdict.GAP:
            stats.depth_gaps.labels(self._symbol).inc()
            log.warning("book lost to a gap symbol=%s first_update_id=%s", self._symbol, diff.first_update_id)
            await self._put(BookLost(f"updates before id {diff.first_update_id} are missing: joining anew"))
        elif verdict is Verdict.ASTRAY:
            log.warning("book ran ahead of the stream symbol=%s first_update_id=%s", self._symbol, diff.first_update_id)
            await self._put(BookLost(f"the book's id ran ahead of the stream's {diff.final_update_id}: joining anew"))
        await self._anchor()

    async def _anchor(self) -> None:
        anchor = self._sync.take_anchor()
        if anchor is not None:
            stats.snapshots_joined.labels(self._symbol).inc()
            await self._put(anchor)

    async def _put(self, event: object) -> None:
        await self._inbox.put(Received(self._symbol, event, self._clock.now_ms()))
