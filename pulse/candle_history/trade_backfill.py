"""Fetches trades of the past: rebuilds minutes from them, and finds out which trades of a gap are lost for good.

A rebuilt minute has trade ids, which the exchange's own candle lacks. When to do this is decided by the caller.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

from pulse import stats
from pulse.binance.rate_limit import Priority
from pulse.binance.rest import AGG_TRADES_MAX, BinanceRest
from pulse.market.candles import candle_of_trades, candles_equal
from pulse.market.types import MINUTE_MS, Candle, Trade, TradeGap
from pulse.queues import CandleQueue
from pulse.store.contract import Store

log = logging.getLogger(__name__)

REBUILDS_MAX = 60
"""Minutes rebuilt in one call of `rebuild`: each costs at least one request."""
MINUTE_TRADES_MAX = 100_000
"""A minute with more trades than this is left as the exchange has it."""
GAP_PAGES_MAX = 100
"""Pages of trades requested to check one gap."""


class TradeBackfill:
    """Shared by all symbols; what is known of a symbol is passed in."""

    def __init__(self, rest: BinanceRest, store: Store, candles: CandleQueue) -> None:
        self._rest = rest
        self._store = store
        self._candles = candles

    async def rebuild(self, symbol: str, stored: Mapping[int, Candle], unprovable: set[int]) -> None:
        """Rebuild the minutes that lack trade ids although an earlier one has them, and queue their candles.

        A minute whose trades do not add up to its candle is added to `unprovable`, and those in it are left out.
        Rebuilds REBUILDS_MAX minutes at most. Raises ExchangeError.
        """
        with_ids = [minute for minute, row in stored.items() if row.first_trade_id >= 0]
        if not with_ids:
            return
        first = min(with_ids)
        due = [row for minute, row in sorted(stored.items()) if minute > first and _lacks_ids(row)]
        due = [row for row in due if row.open_time_ms not in unprovable]
        for theirs in due[:REBUILDS_MAX]:
            trades = await self._fetch_minute(symbol, theirs.open_time_ms)
            ours = candle_of_trades(symbol, theirs.open_time_ms, trades) if trades else None
            if ours is not None and candles_equal(ours, theirs):
                await self._candles.put(replace(ours, reconciled=True))
            else:
                unprovable.add(theirs.open_time_ms)
                log.warning("trades do not add up to the candle symbol=%s minute=%s", symbol, theirs.open_time_ms)

    async def check_gap(self, gap: TradeGap) -> None:
        """Store the parts of a gap that the exchange does not return even now; the other trades are in its candles.

        Raises ExchangeError or StoreUnavailable.
        """
        lost = [replace(gap, first_trade_id=first, last_trade_id=last) for first, last in await self._lost_ids(gap)]
        if lost:
            await self._store.write_gaps(lost)
        for part in lost:
            stats.trades_lost.labels(gap.symbol).inc(part.last_trade_id - part.first_trade_id + 1)
            log.warning("trades lost symbol=%s ids=%s-%s", gap.symbol, part.first_trade_id, part.last_trade_id)

    async def give_up(self, gap: TradeGap, reason: str) -> None:
        """Store a gap whose trades cannot be requested as lost. Raise StoreUnavailable."""
        await self._store.write_gaps([gap])
        stats.trades_lost.labels(gap.symbol).inc(gap.last_trade_id - gap.first_trade_id + 1)
        log.warning(
            "trade gap not checkable, stored as lost symbol=%s ids=%s-%s reason=%s",
            gap.symbol, gap.first_trade_id, gap.last_trade_id, reason,
        )  # fmt: skip

    async def _fetch_minute(self, symbol: str, open_time_ms: int) -> list[Trade]:
        """Return all trades of a minute, in order; none where there are more than MINUTE_TRADES_MAX."""
        end_ms = open_time_ms + MINUTE_MS - 1
        page = await self._rest.agg_trades_between(symbol, open_time_ms, end_ms)
        trades = page
        while len(page) == AGG_TRADES_MAX and trades[-1].time_ms <= end_ms:
            if len(trades) >= MINUTE_TRADES_MAX:
                return []
            # From the last id on: the exchange may have used it twice.
            page = await self._rest.agg_trades(symbol, trades[-1].trade_id, Priority.HISTORY)
            trades = trades + [trade for trade in page if trade.is_after(trades[-1])]
        return [trade for trade in trades if trade.time_ms <= end_ms]

    async def _lost_ids(self, gap: TradeGap) -> list[tuple[int, int]]:
        """Return the ids of a gap that the exchange skips, as ranges that include both ends."""
        lost: list[tuple[int, int]] = []
        expected = gap.first_trade_id
        for _ in range(GAP_PAGES_MAX):
            if expected > gap.last_trade_id:
                break
            page = await self._rest.agg_trades(gap.symbol, expected, Priority.HISTORY)
            found = [trade.trade_id for trade in page]
            for trade_id in [*found, *([] if found else [gap.last_trade_id + 1])]:
                if trade_id > expected:
                    lost.append((expected, min(trade_id - 1, gap.last_trade_id)))
                expected = trade_id + 1
                if expected > gap.last_trade_id:
                    break
        return lost


def _lacks_ids(row: Candle) -> bool:
    return row.trade_count > 0 and row.first_trade_id < 0
