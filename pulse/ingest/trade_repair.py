"""Fetching the trades that one symbol's stream has missed, by their ids, while later trades wait for them.

It decides how long fetching is tried. The `Sequencer` knows what is missing and what may go on; minutes whose trades
were skipped here are later corrected from the exchange's own candles.
"""

import asyncio
import logging
import random

from pulse import stats
from pulse.binance.rest import AGG_TRADES_MAX, BinanceRest
from pulse.clock import Clock
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused
from pulse.ingest.sequencer import Sequencer
from pulse.market.trade_sync import MissingTrades
from pulse.market.types import Trade

log = logging.getLogger(__name__)

REORDER_S = 0.1
"""A trade that is only out of order arrives by itself within this time."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
REPAIR_TIMEOUT_S = 5.0
"""Later trades wait for as long as missing ones arrive at least this often; then the missing ones are skipped."""
ABSENT_AFTER = 3
"""Answers in a row that begin above the missing id show that the exchange does not have it; one may lack a row."""
MISSING_TRADES_MAX = 50_000
"""More missing trades than this are not worth the calls, and are skipped at once."""


class TradeRepair:
    """Fetches the missing trades of one symbol while its connection lives."""

    def __init__(self, symbol: str, rest: BinanceRest, sequencer: Sequencer, clock: Clock, rng: random.Random) -> None:
        self._symbol = symbol
        self._rest = rest
        self._sequencer = sequencer
        self._clock = clock
        self._rng = rng
        self._wake = asyncio.Event()
        self._newest_id: int | None = None  # of the exchange's last answer, unless it may have more
        self._absent = 0  # answers in a row that began above the missing id

    def wake_if_needed(self) -> None:
        """Fetch soon if trades are missing; to be called after each frame."""
        if self._sequencer.has_waiting_trades:
            self._wake.set()

    async def run(self) -> None:
        """Repair for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(REORDER_S)
            await self._repair()

    async def _repair(self) -> None:
        """Fetch missing trades page by page until none is missing; skip those that cannot be fetched."""
        delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, self._rng)
        progress_ms = self._clock.now_ms()
        self._newest_id, self._absent = None, 0
        while (missing := self._sequencer.missing_trades) is not None:
            left_s = REPAIR_TIMEOUT_S - (self._clock.now_ms() - progress_ms) / 1000
            failure, fetched = await self._fetch(missing, left_s)
            if await self._sequencer.add_fetched_trades(fetched):
                stats.trades_repaired.labels(self._symbol).inc(len(fetched))
                delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, self._rng)
                progress_ms = self._clock.now_ms()
                continue
            delay_s = next(delays)
            newest_id = self._newest_id
            has_none = newest_id is not None and newest_id <= missing.last_id
            if left_s <= delay_s and newest_id is not None and has_none and self._sequencer.waiting_is_doubtful:
                await self._sequencer.drop_trades_above(newest_id)
                continue
            if failure or left_s <= delay_s:
                failure = failure or f"none arrived within {REPAIR_TIMEOUT_S:g} s"
                log.warning("trades missing symbol=%s ids=%s-%s reason=%s", self._symbol, *missing, failure)
                await self._sequencer.skip_missing_trades()
                self._absent = 0
            else:
                await asyncio.sleep(delay_s)

    async def _fetch(self, missing: MissingTrades, timeout_s: float) -> tuple[str, list[Trade]]:
        """Fetch from the first missing id on; return why asking again is of no use, empty if it may be, and trades."""
        if missing.last_id - missing.first_id >= MISSING_TRADES_MAX:
            return "too many are missing", []
        try:
            async with asyncio.timeout(timeout_s):
                fetched = await self._rest.agg_trades(self._symbol, missing.first_id)
        except (ExchangeBusy, ExchangeRefused) as fault:
            return str(fault), []
        except (ExchangeError, TimeoutError):
            return "", []
        # A full page may be followed by another one.
        newest_id = fetched[-1].trade_id if fetched else missing.first_id - 1
        self._newest_id = newest_id if len(fetched) < AGG_TRADES_MAX else None
        is_absent = bool(fetched) and fetched[0].trade_id > missing.first_id
        self._absent = self._absent + 1 if is_absent else 0
        failure = f"the exchange has none before id {fetched[0].trade_id}" if self._absent >= ABSENT_AFTER else ""
        return failure, [trade for trade in fetched if trade.trade_id <= missing.last_id]
