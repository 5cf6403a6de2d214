"""The task that reconciles stored minutes with the exchange's own candles: when each symbol is checked, and retried.

It compares what is stored, not what this process has seen, so it finds every hole, whatever caused it, even while
nothing ran. The recent minutes are checked at once and then whenever a minute has ended, the older history once after
each start. Each symbol has its own schedule and its own delays after a failure, so that one whose history is refused or
unreadable holds up no other. The checks of all symbols go before what else is due: they fill the newest minutes.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

from pulse import stats
from pulse.binance.rest import KLINES_MAX, BinanceRest
from pulse.candle_history.exchange_comparison import ExchangeComparison, ReportMismatch
from pulse.candle_history.history_walk import HistoryWalk
from pulse.candle_history.trade_backfill import TradeBackfill
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeError, StoreUnavailable
from pulse.market.types import MINUTE_MS, Candle, TradeGap
from pulse.queues import TRADE_GAPS_MAX, CandleQueue, GapQueue
from pulse.store.contract import Store

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
IDLE_S = 60.0
"""The longest sleep while no symbol is open."""
GAP_TRIES_MAX = 12
"""A gap that cannot be checked so often, over some minutes, is stored as lost: others wait behind it."""
EARLY_S = 0.001
"""Work this close to its time is due: what rounding leaves of a wait may be too short for a clock to pass it."""
CHECK_SHARE, WIDENING_CHECK_SHARE = 0.25, 0.05
"""The part of our request weight that the checks of all symbols may take: with more symbols than that allows for, each
is checked less often than every minute. The second one counts while books become known further."""
MINUTE_S = 60.0
WIDENING_PAUSE_S = 1.0
"""How soon a walk that waits for the books looks again."""
RECENT_MINUTES = KLINES_MAX
"""What every check covers; a longer outage is filled by the walk through the history after the start."""
COMPARED_AGAIN_MINUTES = 10
"""The newest minutes are compared at every check, also those that the stream's candle has reconciled: the exchange has
been seen to correct one."""
LATE_MS = 3_600_000
"""A minute that the exchange skips may only be late; one this much older than the newest it does not have."""


@dataclass(slots=True)
class _OpenSymbol:
    """The state of one open symbol. A check that is under way at `close` ends with the state it began with."""

    name: str
    absent: set[int] = field(default_factory=set)  # recent minutes of which the exchange has no candle
    unprovable: set[int] = field(default_factory=set)  # recent minutes whose trades do not add up to their candle
    gaps: deque[TradeGap] = field(default_factory=lambda: deque(maxlen=TRADE_GAPS_MAX))  # not checked yet
    gap_tries: int = 0  # of the first of them
    rebuildable: dict[int, Candle] = field(default_factory=dict)  # the settled minutes of the last check, until rebuilt
    walk: HistoryWalk | None = None  # begins after the first check
    was_stored: bool = False  # the last check found minutes in the store
    check_due_s: float = 0.0  # when the recent minutes are checked again, by the loop's clock
    rest_due_s: float = 0.0  # and when what a check leaves to do
    retry_delays: Iterator[float] | None = None  # while the last step failed
    last_error: str = ""  # logged at INFO once, however long it lasts

    @property
    def next_s(self) -> float:
        """When there is anything to do."""
        return min(self.check_due_s, self.rest_due_s)


class CandleReconciler:
    """Keeps the stored minutes of the open symbols equal to the exchange's, `days` back.

    The walks through the history wait while `is_widening()`: books that become known further need the same request
    weight. Candles to be written go to `candles`. The trades of each gap in `gaps` are requested once more, and stored
    as lost where the exchange does not return them. `report_mismatch` is awaited with each stored minute that differs.
    """

    def __init__(
        self, rest: BinanceRest, store: Store, candles: CandleQueue, gaps: GapQueue, report_mismatch: ReportMismatch,
        *, is_widening: Callable[[], bool], days: int, rng: random.Random,
    ) -> None:  # fmt: skip
        self._rest = rest
        self._store = store
        self._comparison = ExchangeComparison(rest, candles, report_mismatch)
        self._backfill = TradeBackfill(rest, store, candles)
        self._gaps = gaps
        self._is_widening = is_widening
        self._walk_minutes = max(0, days * 1440 - RECENT_MINUTES)
        self._rng = rng
        self._symbols: dict[str, _OpenSymbol] = {}
        self._has_opened = asyncio.Event()

    def open(self, symbol: str) -> None:
        """Start reconciling a symbol, with a check at once."""
        self._symbols[symbol] = _OpenSymbol(symbol)
        self._has_opened.set()

    def close(self, symbol: str) -> None:
        """Stop reconciling a symbol and drop its state."""
        del self._symbols[symbol]

    def progress(self) -> dict[str, dict[str, int]]:
        """Return per symbol how many minutes of its history were compared, and of how many, also before that began."""
        walks = {name: symbol.walk for name, symbol in self._symbols.items()}
        return {
            name: {"minutes": walk.done if walk else 0, "of": walk.total if walk else self._walk_minutes}
            for name, walk in walks.items()
        }

    async def run(self) -> None:
        """Check the recent minutes at the end of each, and walk through the history in between; never return."""
        loop = asyncio.get_running_loop()
        while True:
            self._has_opened.clear()
            for symbol in tuple(self._symbols.values()):
                if symbol.next_s - loop.time() <= EARLY_S:
                    await self._step(symbol, loop)
            due_s = min((symbol.next_s for symbol in self._symbols.values()), default=loop.time() + IDLE_S)
            if due_s > loop.time():
                await self._sleep(due_s - loop.time())

    async def _sleep(self, most_s: float) -> None:
        """Sleep, at most until a symbol is opened."""
        try:
            async with asyncio.timeout(most_s):
                await self._has_opened.wait()
        except TimeoutError:
            pass

    async def _step(self, symbol: _OpenSymbol, loop: asyncio.AbstractEventLoop) -> None:
        """Do one thing that is due for a symbol, and decide when it is due next; after a failure the delay grows."""
        began_s = loop.time()
        is_check = symbol.check_due_s - began_s <= EARLY_S
        newest, is_done = 0, False
        try:
            if is_check:
                newest = await self._check_recent(symbol)
            else:
                is_done = await self._catch_up(symbol)
        except (ExchangeError, StoreUnavailable) as fault:
            level = logging.DEBUG if str(fault) == symbol.last_error else logging.INFO
            symbol.last_error = str(fault)
            log.log(level, "reconciling postponed symbol=%s reason=%s", symbol.name, fault)
            if symbol.retry_delays is None:
                symbol.retry_delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, self._rng)
            symbol.rest_due_s = loop.time() + next(symbol.retry_delays)
            if is_check:
                symbol.check_due_s = symbol.rest_due_s
            return
        if is_check:
            ended_s = loop.time() + self._comparison.until_ended_s(newest + MINUTE_MS)
            symbol.check_due_s = max(ended_s, began_s + self._check_spacing_s())
            if symbol.retry_delays is None:
                symbol.rest_due_s = loop.time()
        else:
            symbol.retry_delays, symbol.last_error = None, ""
            pause_s = WIDENING_PAUSE_S if self._is_widening() else 0.0
            symbol.rest_due_s = inf if is_done else loop.time() + pause_s

    def _check_spacing_s(self) -> float:
        """Return the least time between two checks of a symbol."""
        share = WIDENING_CHECK_SHARE if self._is_widening() else CHECK_SHARE
        checks_per_minute = self._rest.weight()[1] * share / self._rest.venue.weights.klines
        return MINUTE_S * len(self._symbols) / checks_per_minute

    async def _check_recent(self, symbol: _OpenSymbol) -> int:
        """Compare the recent minutes that have settled, and fill those that ended since; return the newest of these."""
        stats.owned_work.labels("reconciliation").inc()
        self._drain_gap_queue()
        await self._comparison.learn_date()
        newest, settled = self._comparison.ended_minute_ms(), self._comparison.settled_minute_ms()
        oldest = newest - (RECENT_MINUTES - 1) * MINUTE_MS
        rows = await self._store.read_candles(symbol.name, oldest, newest, RECENT_MINUTES)
        if symbol.was_stored and not rows:
            symbol.walk = None  # the store has been emptied: its file was deleted, or its tables were
        symbol.was_stored = bool(rows)
        stored = {row.open_time_ms: row for row in rows}
        due = {minute for minute in range(oldest, newest + 1, MINUTE_MS) if minute not in symbol.absent}
        final = settled - COMPARED_AGAIN_MINUTES * MINUTE_MS
        due -= {minute for minute, row in stored.items() if minute > settled or (row.reconciled and minute <= final)}
        if due:
            theirs = await self._comparison.compare(symbol.name, stored, due)
            stored |= {minute: theirs[minute] for minute in due & theirs.keys()}
            symbol.absent |= {minute for minute in due if minute < settled - LATE_MS} - theirs.keys()
        for known in (symbol.absent, symbol.unprovable):
            known -= {minute for minute in known if minute < oldest}
        symbol.rebuildable = {minute: row for minute, row in stored.items() if minute <= settled}
        return newest

    async def _catch_up(self, symbol: _OpenSymbol) -> bool:
        """Rebuild minutes without trade ids, check the gaps, walk on; return whether nothing is left until a check.

        Each has its turn even if the exchange fails one before it; the first failure is raised at the end.
        """
        faults: list[ExchangeError] = []
        for work in (self._rebuild, self._check_gaps, self._walk):
            try:
                await work(symbol)
            except ExchangeError as fault:
                faults.append(fault)
        if faults:
            raise faults[0]
        return symbol.walk is not None and symbol.walk.is_done

    async def _rebuild(self, symbol: _OpenSymbol) -> None:
        stats.owned_work.labels("backfill").inc()
        await self._backfill.rebuild(symbol.name, symbol.rebuildable, symbol.unprovable)
        symbol.rebuildable = {}

    async def _check_gaps(self, symbol: _OpenSymbol) -> None:
        while symbol.gaps:
            try:
                await self._backfill.check_gap(symbol.gaps[0])
            except ExchangeError as fault:
                symbol.gap_tries += 1
                if symbol.gap_tries < GAP_TRIES_MAX:
                    raise
                await self._backfill.give_up(symbol.gaps[0], str(fault))
            symbol.gaps.popleft()
            symbol.gap_tries = 0

    def _drain_gap_queue(self) -> None:
        """Move the queued gaps to their symbols, at most TRADE_GAPS_MAX each: beyond it the oldest is dropped."""
        while not self._gaps.empty():
            gap = self._gaps.get_nowait()
            if gap.symbol in self._symbols:
                self._symbols[gap.symbol].gaps.append(gap)

    async def _walk(self, symbol: _OpenSymbol) -> None:
        """Go one page further through a symbol's history, or begin with it."""
        if symbol.walk is None:
            newest_ms = self._comparison.ended_minute_ms() - RECENT_MINUTES * MINUTE_MS
            symbol.walk = HistoryWalk(symbol.name, newest_ms, self._walk_minutes, self._store, self._comparison)
        if self._is_widening():
            return
        if not symbol.walk.is_done:
            stats.owned_work.labels("history_walk").inc()
        await symbol.walk.step()
