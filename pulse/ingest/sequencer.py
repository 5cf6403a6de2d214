"""The river's mouth: one symbol's raw frames become events that the engine can trust to join.

Live feeds and replays share it. It promises the engine a book anchor, then diffs that follow without a gap, then
perhaps `BookLost` until the next anchor. It knows neither sockets nor files.
"""

import asyncio
import logging

from prometheus_client import Counter

from pulse import stats
from pulse.binance.messages import Frame
from pulse.clock import Clock
from pulse.market.depth_sync import DepthSync, DiffOutcome
from pulse.market.trade_sync import MissingTrades, TradeSync
from pulse.market.types import BookLost, DepthDiff, DepthSnapshot, Trade, TradesHeld
from pulse.queues import Inbox, Received

log = logging.getLogger(__name__)

HELD_DIFFS_MAX = 10_000
"""Diffs kept while a snapshot is on its way: a thousand seconds of the 100 ms stream."""
HELD_TRADES_MAX = 20_000
"""Trades kept while those before them are fetched: minutes of the busiest stream."""


class Sequencer:
    """Joins one symbol's stream and snapshots, and puts what joins into the inbox, in order.

    `may_repair`: missing trades will be fetched and brought to `fill_trades`, or given up; without it nothing waits
    for them.
    """

    def __init__(self, symbol: str, inbox: Inbox, clock: Clock, *, may_repair: bool) -> None:
        self._symbol = symbol
        self._inbox = inbox
        self._clock = clock
        self._may_repair = may_repair
        self._sync = DepthSync(HELD_DIFFS_MAX)
        self._trades = TradeSync(symbol, HELD_TRADES_MAX)
        self._received: dict[str, Counter] = {}  # by kind, found once: looking a label up costs more than counting
        # A full inbox suspends a put; whoever comes then must not overtake it.
        self._order = asyncio.Lock()

    @property
    def wants_snapshot(self) -> bool:
        """Whether the book cannot be continued without a new snapshot."""
        return self._sync.wants_snapshot

    @property
    def holds_trades(self) -> bool:
        """Whether trades wait because those before them are missing."""
        return self._trades.is_waiting

    @property
    def trade_hole(self) -> MissingTrades | None:
        """The ids of trades that are missing while later ones wait."""
        return self._trades.missing

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
        self._count(frame.kind)
        async with self._order:
            if isinstance(frame.event, DepthDiff):
                await self._diff(frame.event)
            elif isinstance(frame.event, Trade):
                await self._trade(frame.event)
            else:
                await self._put(frame.event)

    def _count(self, kind: str) -> None:
        if kind not in self._received:
            self._received[kind] = stats.frames_received.labels(self._symbol, kind)
        self._received[kind].inc()

    async def snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot; False means that it is too old for the diffs that were kept."""
        async with self._order:
            is_usable = self._sync.on_snapshot(snapshot)
            await self._anchor()
        return is_usable

    async def fill_trades(self, fetched: list[Trade]) -> int:
        """Take trades that were fetched by id; how many could go on, those that had waited included."""
        async with self._order:
            found = self._trades.fill(fetched)
            for trade in found:
                await self._put(trade)
            return len(found)

    async def give_up_trades(self) -> None:
        """Go on without the trades that are missing; the engine is told which."""
        async with self._order:
            await self._give_up_trades()

    async def _give_up_trades(self) -> None:
        gap, found = self._trades.give_up(int(self._clock.wall_s() * 1000))
        if gap is not None:
            stats.trades_given_up.labels(self._symbol).inc(gap.last_trade_id - gap.first_trade_id + 1)
            await self._put(gap)
        for trade in found:
            await self._put(trade)

    async def _trade(self, trade: Trade) -> None:
        was_waiting = self._trades.is_waiting
        for ready in self._trades.take(trade):
            await self._put(ready)
        if not self._trades.is_waiting:
            return
        if not was_waiting:
            stats.trade_holes.labels(self._symbol).inc()
            await self._put(TradesHeld())
        if not self._may_repair or self._trades.is_full:
            await self._give_up_trades()

    async def _diff(self, diff: DepthDiff) -> None:
        outcome = self._sync.on_diff(diff)
        if outcome is DiffOutcome.DELIVER:
            await self._put(diff)
        elif outcome is DiffOutcome.GAP:
            stats.depth_gaps.labels(self._symbol).inc()
            log.warning("book lost to a gap symbol=%s first_update_id=%s", self._symbol, diff.first_update_id)
            await self._put(BookLost(f"updates before id {diff.first_update_id} are missing: joining anew"))
        elif outcome is DiffOutcome.INCONSISTENT:
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
