"""The task that asks the exchange for the closed minutes that the store lacks: at the start and after an outage.

It looks at the store, not at what this process has seen, so whatever made a hole, it is found.
"""

import asyncio
import logging
import random
from collections.abc import Sequence

from pulse.backoff import delays
from pulse.binance.rest import KLINES_MAX, BinanceRest
from pulse.clock import Clock
from pulse.errors import ExchangeError, StoreUnavailable
from pulse.market.types import MINUTE_MS, Candle
from pulse.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
RETRY_FIRST_S = 1.0
LOOK_BACK_MINUTES = KLINES_MAX
SETTLE_MS = 90_000
"""The exchange's candles are its most delayed source: a minute is asked for only this long after its end."""
LATE_MS = 3_600_000
"""A minute that the exchange passes over may only be late; one this much older than the newest it does not have."""


class Backfill:
    """Fills holes in the last LOOK_BACK_MINUTES of each symbol."""

    def __init__(
        self, symbols: Sequence[str], rest: BinanceRest, store: Store, candles: asyncio.Queue[Candle], clock: Clock
    ) -> None:
        self._symbols = symbols
        self._rest = rest
        self._store = store
        self._candles = candles
        self._clock = clock
        self._told: dict[str, str] = {}  # the last trouble logged per symbol: it is told once, however long it lasts
        # Minutes the exchange itself has no candle for; asking again would ask for ever.
        self._absent: dict[str, set[int]] = {symbol: set() for symbol in symbols}

    async def run(self) -> None:
        """Look for holes for ever."""
        waits = delays(RETRY_FIRST_S, LOOK_EVERY_S, random.Random())
        while True:
            if await self._fill_all():
                waits = delays(RETRY_FIRST_S, LOOK_EVERY_S, random.Random())
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await asyncio.sleep(next(waits))

    async def _fill_all(self) -> bool:
        """Look once at every symbol; False where the store or the exchange did not answer for one."""
        is_whole = True
        for symbol in self._symbols:
            try:
                await self._fill(symbol)
            except (ExchangeError, StoreUnavailable) as fault:
                is_whole = False
                level = logging.DEBUG if str(fault) == self._told.get(symbol) else logging.INFO
                self._told[symbol] = str(fault)
                log.log(level, "backfill put off symbol=%s reason=%s", symbol, fault)
        return is_whole

    async def _fill(self, symbol: str) -> None:
        newest = int(self._clock.wall_s() * 1000) - SETTLE_MS - MINUTE_MS
        newest -= newest % MINUTE_MS
        oldest = newest - (LOOK_BACK_MINUTES - 1) * MINUTE_MS
        stored = await self._store.read_candles(symbol, oldest, newest, LOOK_BACK_MINUTES)
        missing = set(range(oldest, newest + 1, MINUTE_MS))
        missing -= {candle.open_time_ms for candle in stored} | self._absent[symbol]
        if not missing:
            return
        found = await self._rest.klines(symbol, min(missing), max(missing))
        wanted = [candle for candle in found if candle.is_closed and candle.open_time_ms in missing]
        for candle in wanted:
            await self._candles.put(candle)
        absent = self._absent[symbol]
        absent |= {minute for minute in missing if minute < newest - LATE_MS} - {c.open_time_ms for c in wanted}
        absent -= {minute for minute in absent if minute < oldest}
        if wanted:
            log.info("backfilled symbol=%s candles=%s of=%s", symbol, len(wanted), len(missing))
