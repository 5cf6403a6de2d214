"""The task that holds the stored minutes against the exchange's own: it fetches those that are missing, reconciles
those that nobody has compared yet, and rebuilds from trades those whose trades were missed.

It looks at the store, not at what this process has seen, so whatever made a hole, it is found, also one that was made
while nothing ran. The recent minutes are looked at again and again, the past once after each start.
"""

import asyncio
import logging
import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from pulse import stats
from pulse.binance.rest import AGG_TRADES_MAX, KLINES_MAX, PRIORITY_HISTORY, BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeError, StoreUnavailable
from pulse.market.candles import candle_of_trades, candles_equal
from pulse.market.types import MINUTE_MS, Candle, CandleMismatch, Trade, TradeGap
from pulse.store.contract import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
RETRY_FIRST_S = 1.0
RECENT_MINUTES = KLINES_MAX
"""What every look covers; a longer outage is filled by the start's walk through the past."""
CHECKED_AGAIN_MINUTES = 10
"""The newest minutes are compared at every look, also those that the stream's candle has reconciled: the exchange has
been seen to correct one."""
SETTLE_MS = 90_000
"""The exchange's candles are its most delayed source: a minute is asked for only this long after its end."""
LATE_MS = 3_600_000
"""A minute that the exchange passes over may only be late; one this much older than the newest it does not have."""
REBUILT_PER_LOOK_MAX = 60
"""Minutes rebuilt from trades in one look of one symbol: each costs a call or more."""
MINUTE_TRADES_MAX = 100_000
"""A minute with more trades than this is left as the exchange has it."""
GAPS_MAX = 1000
"""Gaps that wait for a look; more than that only a broken exchange makes."""

GAP_PAGES_MAX = 100
"""Pages of trades asked for to look a gap over."""

TellMismatch = Callable[[str, CandleMismatch], Awaitable[None]]


class CandleReconciler:
    """Keeps the stored minutes of some symbols equal to the exchange's, `days` back. `symbols` is read at each look.

    `tell` is told of each stored minute that differs, with both accounts.
    """

    def __init__(
        self, symbols: Iterable[str], rest: BinanceRest, store: Store, candles: asyncio.Queue[Candle],
        *, days: int, rng: random.Random, tell: TellMismatch,
    ) -> None:  # fmt: skip
        self._symbols = symbols
        self._rest = rest
        self._store = store
        self._candles = candles
        self._days = days
        self._rng = rng
        self._tell = tell
        self._told: dict[str, str] = {}  # the last trouble logged per symbol: it is told once, however long it lasts
        # Minutes that cannot be helped: the exchange has no candle, or its trades do not make its candle.
        self._absent: defaultdict[str, set[int]] = defaultdict(set)
        self._unprovable: defaultdict[str, set[int]] = defaultdict(set)
        self._gaps: deque[TradeGap] = deque(maxlen=GAPS_MAX)
        self._past: dict[str, HistoryWalk] = {}
        self._has_news = asyncio.Event()

    def look_soon(self) -> None:
        """One more symbol is followed."""
        self._has_news.set()

    def note_gap(self, gap: TradeGap) -> None:
        """Trades were given up while they were waited for; they are looked for once more, and then put on record."""
        self._gaps.append(gap)

    def progress(self) -> dict[str, dict[str, int]]:
        """Per symbol, how many minutes of the past were gone through, and of how many: also before that has begun."""
        pasts = {symbol: self._past.get(symbol) for symbol in self._symbols}
        return {
            symbol: {"minutes": past.done if past else 0, "of": past.all if past else _past_minutes(self._days)}
            for symbol, past in pasts.items()
        }

    async def run(self) -> None:
        """Look for ever, and between the looks walk through the past."""
        loop = asyncio.get_running_loop()
        waits = backoff_delays(RETRY_FIRST_S, LOOK_EVERY_S, self._rng)
        due_s = loop.time()
        while True:
            if self._has_news.is_set():
                self._has_news.clear()
                due_s = loop.time()
            has_looked = loop.time() < due_s or await self._each(self._look)
            self._forget_others()
            if not has_looked or not await self._each(self._walk):
                await self._pause(next(waits))
                continue
            waits = backoff_delays(RETRY_FIRST_S, LOOK_EVERY_S, self._rng)
            due_s = loop.time() + LOOK_EVERY_S if loop.time() >= due_s else due_s
            if all(past.is_done for past in self._past.values()):
                await self._pause(due_s - loop.time())
                due_s = loop.time()  # it is due now, whatever rounding makes of the time that has passed

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._has_news.wait()
        except TimeoutError:
            pass

    def _forget_others(self) -> None:
        """Keep nothing of symbols that are not followed any more."""
        followed = set(self._symbols)
        for kept in (self._absent, self._unprovable, self._past, self._told):
            for symbol in kept.keys() - followed:
                del kept[symbol]
        for gap in [gap for gap in self._gaps if gap.symbol not in followed]:
            self._gaps.remove(gap)

    async def _each(self, work: Callable[[str], Awaitable[None]]) -> bool:
        """Do this for every symbol; False where the store or the exchange did not answer for one."""
        is_whole = True
        for symbol in self._symbols:
            try:
                await work(symbol)
            except (ExchangeError, StoreUnavailable) as fault:
                is_whole = False
                level = logging.DEBUG if str(fault) == self._told.get(symbol) else logging.INFO
                self._told[symbol] = str(fault)
                log.log(level, "reconciler put off symbol=%s reason=%s", symbol, fault)
        return is_whole

    def _newest_ms(self) -> int:
        """The newest minute that the exchange's candles can be expected to hold."""
        newest = self._rest.exchange_ms() - SETTLE_MS - MINUTE_MS
        return newest - newest % MINUTE_MS

    # --- the recent minutes

    async def _look(self, symbol: str) -> None:
        newest = self._newest_ms()
        oldest = newest - (RECENT_MINUTES - 1) * MINUTE_MS
        rows = await self._store.read_candles(symbol, oldest, newest, RECENT_MINUTES)
        stored = {row.open_time_ms: row for row in rows}
        wanted = {minute for minute in range(oldest, newest + 1, MINUTE_MS) if minute not in self._absent[symbol]}
        checked_ms = newest - CHECKED_AGAIN_MINUTES * MINUTE_MS
        wanted -= {minute for minute, row in stored.items() if row.reconciled and minute <= checked_ms}
        if wanted:
            theirs = await self._closed_klines(symbol, min(wanted), max(wanted))
            await self._compare(symbol, stored, theirs, wanted)
            stored |= {minute: theirs[minute] for minute in wanted & theirs.keys()}
            self._absent[symbol] |= {minute for minute in wanted if minute < newest - LATE_MS} - theirs.keys()
        for known in (self._absent[symbol], self._unprovable[symbol]):
            known -= {minute for minute in known if minute < oldest}
        await self._rebuild(symbol, stored)
        await self._look_for_gaps(symbol)

    async def _closed_klines(self, symbol: str, start_ms: int, end_ms: int) -> dict[int, Candle]:
        found = await self._rest.klines(symbol, start_ms, end_ms)
        return {candle.open_time_ms: candle for candle in found if candle.is_closed}

    async def _compare(
        self, symbol: str, stored: dict[int, Candle], theirs: dict[int, Candle], wanted: set[int]
    ) -> None:
        """Fetch what is missing, reconcile what is there; where the two differ, the exchange's account stands."""
        missing = 0
        for minute in sorted(wanted & theirs.keys()):
            ours = stored.get(minute)
            if ours is None:
                missing += 1
            elif not candles_equal(ours, theirs[minute]):
                await self._tell(symbol, CandleMismatch(ours, theirs[minute], self._rest.exchange_ms()))
            else:
                theirs[minute] = replace(ours, reconciled=True)
            if ours != theirs[minute]:
                await self._candles.put(theirs[minute])
        if missing:
            log.info("backfilled symbol=%s candles=%s", symbol, missing)

    # --- minutes whose trades were missed

    async def _rebuild(self, symbol: str, stored: dict[int, Candle]) -> None:
        """Give receipts to the minutes that lack them though they came after the first that has them."""
        with_ids = [minute for minute, row in stored.items() if row.first_trade_id >= 0]
        if not with_ids:
            return
        first = min(with_ids)
        lacking = [row for minute, row in sorted(stored.items()) if minute > first and _lacks_ids(row)]
        lacking = [row for row in lacking if row.open_time_ms not in self._unprovable[symbol]]
        for theirs in lacking[:REBUILT_PER_LOOK_MAX]:
            trades = await self._trades_of(symbol, theirs.open_time_ms)
            ours = candle_of_trades(symbol, theirs.open_time_ms, trades) if trades else None
            if ours is not None and candles_equal(ours, theirs):
                await self._candles.put(replace(ours, reconciled=True))
            else:
                self._unprovable[symbol].add(theirs.open_time_ms)
                log.warning("trades do not make the candle symbol=%s minute=%s", symbol, theirs.open_time_ms)

    async def _trades_of(self, symbol: str, open_time_ms: int) -> list[Trade]:
        """All trades of a minute, in order; none where there are more than MINUTE_TRADES_MAX."""
        end_ms = open_time_ms + MINUTE_MS - 1
        page = await self._rest.agg_trades_between(symbol, open_time_ms, end_ms)
        trades = page
        while len(page) == AGG_TRADES_MAX and trades[-1].time_ms <= end_ms:
            if len(trades) >= MINUTE_TRADES_MAX:
                return []
            page = await self._rest.agg_trades(symbol, trades[-1].trade_id + 1, PRIORITY_HISTORY)
            trades = trades + page
        return [trade for trade in trades if trade.time_ms <= end_ms]

    async def _look_for_gaps(self, symbol: str) -> None:
        """Put on record the trades that even now the exchange does not give; those that it does are in the candles."""
        for gap in [gap for gap in self._gaps if gap.symbol == symbol]:
            lost = [replace(gap, first_trade_id=first, last_trade_id=last) for first, last in await self._lost_of(gap)]
            if lost:
                await self._store.write_gaps(lost)
            for part in lost:
                stats.trades_lost.labels(symbol).inc(part.last_trade_id - part.first_trade_id + 1)
                log.warning("trades lost symbol=%s ids=%s-%s", symbol, part.first_trade_id, part.last_trade_id)
            self._gaps.remove(gap)

    async def _lost_of(self, gap: TradeGap) -> list[tuple[int, int]]:
        """The ids of a gap, as ranges, that the exchange passes over."""
        lost: list[tuple[int, int]] = []
        expected = gap.first_trade_id
        for _ in range(GAP_PAGES_MAX):
            if expected > gap.last_trade_id:
                break
            page = await self._rest.agg_trades(gap.symbol, expected, PRIORITY_HISTORY)
            found = [trade.trade_id for trade in page]
            for trade_id in [*found, *([] if found else [gap.last_trade_id + 1])]:
                if trade_id > expected:
                    lost.append((expected, min(trade_id - 1, gap.last_trade_id)))
                expected = trade_id + 1
                if expected > gap.last_trade_id:
                    break
        return lost

    # --- the past

    async def _walk(self, symbol: str) -> None:
        """Go through one more page of the past, from now backwards."""
        past = self._past.get(symbol)
        if past is None:
            past = self._past[symbol] = HistoryWalk(self._newest_ms() - RECENT_MINUTES * MINUTE_MS, self._days)
        if past.is_done:
            return
        start_ms, end_ms = past.page()
        rows = await self._store.read_candles(symbol, start_ms, end_ms, KLINES_MAX)
        wanted = set(range(start_ms, end_ms + 1, MINUTE_MS)) - {row.open_time_ms for row in rows if row.reconciled}
        if wanted:
            theirs = await self._closed_klines(symbol, min(wanted), max(wanted))
            await self._compare(symbol, {row.open_time_ms: row for row in rows}, theirs, wanted)
            if not theirs and not rows and not await self._rest.klines(symbol, past.oldest_ms, start_ms - 1):
                past.end()  # the exchange did not list it yet
        past.turn()
        if past.is_done:
            log.info("history is whole symbol=%s minutes=%s", symbol, past.all)


class HistoryWalk:
    """How far the walk through one symbol's past has come: from the newest minute back, page by page."""

    def __init__(self, newest_ms: int, days: int) -> None:
        self._newest_ms = newest_ms
        self.all = _past_minutes(days)
        self.done = 0

    @property
    def is_done(self) -> bool:
        """Whether no page is left."""
        return self.done >= self.all

    @property
    def oldest_ms(self) -> int:
        """The oldest minute of the walk."""
        return self._newest_ms - (self.all - 1) * MINUTE_MS

    def end(self) -> None:
        """There is nothing further back."""
        self.all = self.done

    def page(self) -> tuple[int, int]:
        """The first and the last minute of the next page."""
        end_ms = self._newest_ms - self.done * MINUTE_MS
        return end_ms - (min(KLINES_MAX, self.all - self.done) - 1) * MINUTE_MS, end_ms

    def turn(self) -> None:
        """This page is done."""
        self.done = min(self.all, self.done + KLINES_MAX)


def _past_minutes(days: int) -> int:
    """How many minutes lie before the recent ones."""
    return max(0, days * 1440 - RECENT_MINUTES)


def _lacks_ids(row: Candle) -> bool:
    return row.trade_count > 0 and row.first_trade_id < 0
