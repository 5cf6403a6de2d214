"""Fetching the trades that one symbol's stream has missed: by their ids, while the later ones wait for them.

It decides for how long that is tried. What is missing and what may go on `intake` knows; what was given up here is
left to the exchange's own candles.
"""

import asyncio
import logging
import random

from pulse import stats
from pulse.binance.rest import BinanceRest
from pulse.clock import Clock
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused
from pulse.ingest.sequencer import Sequencer
from pulse.market.trade_sync import MissingTrades
from pulse.market.types import Trade

log = logging.getLogger(__name__)

REORDER_S = 0.1
"""A trade that was only overtaken comes by itself within this time."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
PATIENCE_S = 5.0
"""Later trades wait as long as missing ones come at least this often; then they go on without them."""
HOLE_TRADES_MAX = 50_000
"""A hole larger than this is not worth the calls."""


class TradeRepair:
    """Fills the holes in one symbol's trades while its connection lives."""

    def __init__(self, symbol: str, rest: BinanceRest, intake: Sequencer, clock: Clock, rng: random.Random) -> None:
        self._symbol = symbol
        self._rest = rest
        self._intake = intake
        self._clock = clock
        self._rng = rng
        self._seen = asyncio.Event()

    def look(self) -> None:
        """Something was delivered: there may be a hole now."""
        if self._intake.holds_trades:
            self._seen.set()

    async def run(self) -> None:
        """Repair for ever."""
        while True:
            await self._seen.wait()
            self._seen.clear()
            await asyncio.sleep(REORDER_S)
            await self._fill()

    async def _fill(self) -> None:
        """Fetch what is missing, page by page, until nothing is; what cannot be had is given up."""
        waits = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, self._rng)
        heard_ms = self._clock.now_ms()
        while (hole := self._intake.trade_hole) is not None:
            left_s = PATIENCE_S - (self._clock.now_ms() - heard_ms) / 1000
            why_not, found = await self._fetch(hole, left_s)
            if await self._intake.fill_trades(found):
                stats.trades_repaired.labels(self._symbol).inc(len(found))
                waits = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, self._rng)
                heard_ms = self._clock.now_ms()
                continue
            wait_s = next(waits)
            if why_not or left_s <= wait_s:
                why_not = why_not or f"none came within {PATIENCE_S:g} s"
                log.warning("trades missing symbol=%s ids=%s-%s reason=%s", self._symbol, *hole, why_not)
                await self._intake.give_up_trades()
            else:
                await asyncio.sleep(wait_s)

    async def _fetch(self, hole: MissingTrades, within_s: float) -> tuple[str, list[Trade]]:
        """Trades from the hole's beginning on; or, where it is of no use to ask again, why."""
        if hole.last_id - hole.first_id >= HOLE_TRADES_MAX:
            return "too many are missing", []
        try:
            async with asyncio.timeout(within_s):
                found = await self._rest.agg_trades(self._symbol, hole.first_id)
        except (ExchangeBusy, ExchangeRefused) as fault:
            return str(fault), []
        except (ExchangeError, TimeoutError):
            return "", []
        if found and found[0].trade_id > hole.first_id:
            return f"the exchange has none before {found[0].trade_id}", []
        return "", [trade for trade in found if trade.trade_id <= hole.last_id]
