"""Sequence checking: one symbol's raw frames become events that the engine can apply without checking them again.

Live streams and replays share it. The engine gets a book anchor, then diffs that follow without a gap, then perhaps
`BookLost` until the next anchor; and every trade once, in order of the ids. It knows neither sockets nor files.
"""

import asyncio
import logging

from prometheus_client import Counter

from pulse import stats
from pulse.binance.messages import Frame
from pulse.clock import Clock
from pulse.ingest.held_budget import HeldBudget
from pulse.market.depth_sync import DepthSync, DiffOutcome
from pulse.market.plausibility import DateOf, ExchangeDate, Plausibility
from pulse.market.trade_sync import MissingTrades, TradeSync
from pulse.market.types import (
    BookLost,
    DepthDiff,
    DepthSnapshot,
    Quarantined,
    Trade,
    TradeIdsRestarted,
    TradesHeld,
)
from pulse.queues import Inbox, Received

log = logging.getLogger(__name__)

BUFFERED_DIFFS_MAX = 10_000
"""Diffs kept while a snapshot is being fetched, a thousand seconds of the 100 ms stream; the oldest are dropped."""
BUFFERED_TRADES_MAX = 20_000
"""Trades kept while those before them are fetched, minutes of the busiest stream; then the missing ones are skipped."""

QUARANTINE_LOG_EVERY_MS = 60_000.0
"""Quarantined frames of one kind are logged at most this often; all are counted."""


class Sequencer:
    """Joins one symbol's stream and snapshots, and puts what joins into the inbox, in order.

    With `repairs_trades` later trades wait for missing ones, which the caller fetches and adds by
    `add_fetched_trades`, or skips by `skip_missing_trades`. Without it missing trades are skipped at once. What is held
    counts in `held`, to which the caller adds the sequencer. `date` returns what is known of the exchange's date; by
    default the clock's own counts.
    """

    def __init__(
        self, symbol: str, inbox: Inbox, clock: Clock, held: HeldBudget, *, repairs_trades: bool,
        date: DateOf | None = None,
    ) -> None:  # fmt: skip
        self.symbol = symbol
        self._held = held
        self._inbox = inbox
        self._clock = clock
        self._date = date or (lambda: ExchangeDate.of_machine(clock.wall_s() * 1000))
        self._repairs_trades = repairs_trades
        self._depth = DepthSync(BUFFERED_DIFFS_MAX)
        self._trades = TradeSync(symbol, BUFFERED_TRADES_MAX)
        self._plausibility = Plausibility()
        self._quarantine_logged_ms: dict[str, float] = {}  # by kind
        self._noted_bytes = 0
        self._counters: dict[str, Counter] = {}  # by kind, found once: looking a label up costs more than counting
        # A full inbox suspends a put; a later event must not overtake it.
        self._order = asyncio.Lock()

    @property
    def needs_snapshot(self) -> bool:
        """Whether the book cannot be continued without a new snapshot."""
        return self._depth.wants_snapshot

    @property
    def has_waiting_trades(self) -> bool:
        """Whether trades wait because those before them are missing."""
        return self._trades.is_waiting

    @property
    def waiting_is_doubtful(self) -> bool:
        """Whether no trade of the stream confirms the ids of those that wait."""
        return self._trades.is_doubtful

    @property
    def missing_trades(self) -> MissingTrades | None:
        """The ids of trades that are missing while later ones wait."""
        return self._trades.missing

    @property
    def held_bytes(self) -> int:
        """About the memory of the diffs and trades that are held."""
        return self._depth.held_bytes + self._trades.held_bytes

    async def release_oldest(self) -> None:
        """Hold less: drop the older half of the diffs, or give up the first missing trades if trades take more."""
        if self._trades.held_bytes > self._depth.held_bytes:
            await self.skip_missing_trades()
        else:
            self._depth.release_oldest()
        self._noted_bytes = self.held_bytes

    def is_contiguous(self, diff: DepthDiff) -> bool:
        """Return whether a diff follows or overlaps the newest delivered one; without a book any diff does."""
        return self._depth.reaches(diff)

    def restart(self) -> None:
        """Forget the book: a new connection begins."""
        self._depth.restart()
        self._note_held()
        self._plausibility.restart()

    def expect_snapshot(self) -> None:
        """Keep diffs from now on: a snapshot is about to be requested."""
        self._depth.expect_snapshot()

    def expect_no_snapshot(self) -> None:
        """Take back one `expect_snapshot`: it has come, or could not be fetched."""
        self._depth.expect_no_snapshot()
        self._note_held()

    async def put(self, event: object) -> None:
        """Pass on an event that needs no joining."""
        async with self._order:
            await self._put(event)

    async def put_frame(self, frame: Frame) -> bool:
        """Take the next frame of the stream and pass on what joins; return False where its values cannot be true.

        Such a frame is quarantined: it is counted and reported to the engine. Of a diff the true one is missing: a new
        snapshot is needed at once, where one can be fetched, and not only when the next diff shows it.
        """
        self._count(frame.kind)
        reason = self._plausibility.refusal(frame.event, self._clock.now_ms(), self._date)
        if reason:
            await self._quarantine(frame.kind, reason)
            if isinstance(frame.event, DepthDiff) and self._repairs_trades and self._depth.lose():
                self._note_held()
                await self.put(BookLost("a depth update was quarantined; loading a new snapshot"))
            return False
        async with self._order:
            if isinstance(frame.event, DepthDiff):
                await self._put_diff(frame.event)
            elif isinstance(frame.event, Trade):
                await self._put_trade(frame.event)
            else:
                await self._put(frame.event)
        if self.held_bytes != self._noted_bytes:
            self._note_held()
            await self._held.make_room()
        return True

    def _note_held(self) -> None:
        """Have what is held now counted."""
        self._noted_bytes = self.held_bytes
        self._held.note(self)

    async def _quarantine(self, kind: str, reason: str) -> None:
        await self.put(self._quarantined(kind, reason))

    def _quarantined(self, kind: str, reason: str) -> Quarantined:
        """Count and log a frame whose values cannot be true; return what the engine is told."""
        stats.frames_quarantined.labels(self.symbol, kind).inc()
        now_ms = self._clock.now_ms()
        logged_ms = self._quarantine_logged_ms.get(kind)
        if logged_ms is None or now_ms - logged_ms >= QUARANTINE_LOG_EVERY_MS:
            self._quarantine_logged_ms[kind] = now_ms
            log.warning("frame quarantined symbol=%s kind=%s reason=%s", self.symbol, kind, reason)
        return Quarantined(kind, reason)

    def _count(self, kind: str) -> None:
        if kind not in self._counters:
            self._counters[kind] = stats.frames_received.labels(self.symbol, kind)
            stats.frames_quarantined.labels(self.symbol, kind)  # begins at 0
        self._counters[kind].inc()

    async def judge_snapshot(self, snapshot: DepthSnapshot) -> str:
        """Return why a fetched snapshot cannot be true, empty where it can; then it is for `put_snapshot`."""
        reason = self._plausibility.refuse_snapshot(snapshot, self._clock.now_ms())
        if reason:
            await self._quarantine("snapshot", reason)
        return reason

    async def put_snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Take a snapshot; return False where it is too old for the diffs that were kept."""
        async with self._order:
            is_usable = self._depth.on_snapshot(snapshot)
            await self._put_anchor()
        self._note_held()
        return is_usable

    async def add_fetched_trades(self, fetched: list[Trade]) -> int:
        """Take trades that were fetched by id; return how many were passed on, including those that waited.

        Where one of them cannot be true, none is taken.
        """
        reason = self._refuse_fetched(fetched)
        if reason:
            await self._quarantine("trade", reason)
            return 0
        async with self._order:
            false_ids = self._trades.false_ids
            ready = self._trades.fill(fetched)
            await self._put_ready(ready)
        self._note_held()
        if self._trades.false_ids > false_ids:
            await self._quarantine("trade", "its fills are those of trades that the exchange has under other ids")
        return len(ready)

    def _refuse_fetched(self, fetched: list[Trade]) -> str:
        if not self._trades.is_waiting:
            return ""  # they came by the stream meanwhile
        from_ms, to_ms = self._trades.missing_times
        reasons = (self._plausibility.refuse_fetched(trade, from_ms, to_ms) for trade in fetched)
        return next(filter(None, reasons), "")

    async def skip_missing_trades(self) -> None:
        """Go on without the missing trades; a TradeGap event names them."""
        async with self._order:
            await self._skip_missing_trades()
        self._note_held()

    async def drop_trades_above(self, newest_id: int) -> None:
        """Drop the trades that wait although the exchange's own history has none beyond this id."""
        self._trades.drop_held_above(newest_id)
        self._note_held()
        await self._quarantine("trade", f"the exchange has no trade beyond id {newest_id}")

    async def _skip_missing_trades(self) -> None:
        gap, ready = self._trades.give_up(int(self._date().earliest_ms))
        if gap is not None:
            stats.trades_given_up.labels(self.symbol).inc(gap.last_trade_id - gap.first_trade_id + 1)
            await self._put(gap)
        await self._put_ready(ready)

    async def _put_ready(self, ready: list[Trade]) -> None:
        """Pass on trades that may be delivered, and say again where others still wait for missing ones.

        Without that the record of trades would seem to go on, and a minute would be closed that lacks some.
        """
        for trade in ready:
            await self._put(trade)
        if ready and self._trades.is_waiting:
            await self._put(TradesHeld())

    async def _put_trade(self, trade: Trade) -> None:
        was_waiting = self._trades.is_waiting
        restarts = self._trades.restarts
        ready = self._trades.take(trade)
        if self._trades.restarts > restarts:
            log.warning("trade ids began anew symbol=%s trade_id=%s", self.symbol, trade.trade_id)
            await self._put(TradeIdsRestarted())
        await self._put_ready(ready)
        if not self._trades.is_waiting:
            return
        if not was_waiting:
            stats.trade_holes.labels(self.symbol).inc()
            await self._put(TradesHeld())
        if not self._repairs_trades or self._trades.is_full:
            await self._skip_missing_trades()

    async def _put_diff(self, diff: DepthDiff) -> None:
        outcome = self._depth.on_diff(diff)
        if outcome is DiffOutcome.DELIVER:
            await self._put(diff)
        elif outcome is DiffOutcome.GAP:
            stats.depth_gaps.labels(self.symbol).inc()
            log.warning("gap in depth updates symbol=%s first_update_id=%s", self.symbol, diff.first_update_id)
            reason = f"depth updates before id {diff.first_update_id} are missing; loading a new snapshot"
            await self._put(BookLost(reason))
        elif outcome is DiffOutcome.INCONSISTENT:
            log.warning("book ahead of the stream symbol=%s first_update_id=%s", self.symbol, diff.first_update_id)
            reason = f"the book's update id is ahead of the stream's {diff.final_update_id}; loading a new snapshot"
            await self._put(BookLost(reason))
        await self._put_anchor()

    async def _put_anchor(self) -> None:
        waiting_id = self._depth.waiting_id
        if waiting_id is not None:
            # A snapshot that came before the first frame of its connection could not be judged by its id.
            reason = self._plausibility.refuse_snapshot_id(waiting_id, self._clock.now_ms())
            if reason:
                self._depth.drop_snapshot()
                await self._put(self._quarantined("snapshot", reason))
                return
        anchor = self._depth.take_anchor()
        if anchor is not None:
            stats.snapshots_joined.labels(self.symbol).inc()
            await self._put(anchor)

    async def _put(self, event: object) -> None:
        await self._inbox.put(Received(self.symbol, event, self._clock.now_ms()))
