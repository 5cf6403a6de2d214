"""Compares stored minutes with the exchange's own candles, and queues each one that has to be written.

Which minutes are due, and when, is decided by its callers; what the store already has is passed in.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from pulse.binance.rest import BinanceRest
from pulse.market.candles import candles_equal
from pulse.market.types import MINUTE_MS, Candle, CandleMismatch
from pulse.queues import CandleQueue

log = logging.getLogger(__name__)

SETTLE_MS = 90_000
"""The exchange's candles are its most delayed source: a stored minute is compared only this long after its end."""
ENDED_MS = 5_000
"""A minute that the store lacks is requested this long after its end: by then a candle that was built here is stored.
Until it has settled it counts as not reconciled."""
MARGIN_S = 1.1
"""A wait for the end of a minute is this much longer: the exchange's dates have whole seconds, so its time may seem to
go back by one, and a check that came early would leave the minute to the next one."""

ReportMismatch = Callable[[str, CandleMismatch], Awaitable[None]]
"""Takes a symbol and a stored minute of it that differs from the exchange's."""


class ExchangeComparison:
    """Fetches the exchange's candles and compares stored ones with them; shared by all symbols."""

    def __init__(self, rest: BinanceRest, candles: CandleQueue, report_mismatch: ReportMismatch) -> None:
        self._rest = rest
        self._candles = candles
        self._report_mismatch = report_mismatch

    async def learn_date(self) -> None:
        """Learn the exchange's date, by which minutes are due. Raise ExchangeError.

        By this machine's, which may be hours ahead, minutes that are still to come would be found to be missing.
        """
        await self._rest.learn_date()

    def settled_minute_ms(self) -> int:
        """Return the open time of the newest minute whose candle the exchange no longer changes."""
        return self._newest_ms(SETTLE_MS)

    def ended_minute_ms(self) -> int:
        """Return the open time of the newest minute whose candle the exchange can be expected to have."""
        return self._newest_ms(ENDED_MS)

    def _newest_ms(self, after_end_ms: int) -> int:
        newest = self._rest.exchange_ms() - after_end_ms - MINUTE_MS
        return newest - newest % MINUTE_MS

    def until_ended_s(self, open_time_ms: int) -> float:
        """Return in how many seconds the minute that opens then has ended: MARGIN_S at least, a minute more at most."""
        wait_ms = open_time_ms + MINUTE_MS + ENDED_MS - self._rest.exchange_ms()
        return min(max(wait_ms, 0), MINUTE_MS) / 1000 + MARGIN_S

    async def fetch(self, symbol: str, start_ms: int, end_ms: int) -> dict[int, Candle]:
        """Return the exchange's closed candles that open in [start_ms, end_ms], by open time. Raise ExchangeError.

        One call: at most the first KLINES_MAX of them.
        """
        found = await self._rest.klines(symbol, start_ms, end_ms)
        return {candle.open_time_ms: candle for candle in found if candle.is_closed}

    async def compare(self, symbol: str, stored: Mapping[int, Candle], due: set[int]) -> dict[int, Candle]:
        """Compare the minutes that are due, at least one, and queue each candle that has to be written.

        A minute that the store lacks is queued as the exchange has it, not reconciled while it has not settled. One
        that differs is queued so after the mismatch was reported: the exchange's candle takes precedence. One that is
        equal is queued once more, marked reconciled. Returns the candles that the exchange has from the first to the
        last due minute, by open time, the reconciled ones in place of the exchange's. Raises ExchangeError.
        """
        settled_ms = self.settled_minute_ms()
        theirs = await self.fetch(symbol, min(due), max(due))
        missing = 0
        for minute in sorted(due & theirs.keys()):
            ours = stored.get(minute)
            if ours is None:
                missing += 1
                theirs[minute] = replace(theirs[minute], reconciled=minute <= settled_ms)
            elif ours.source == "exchange" and not ours.reconciled:
                pass  # its own earlier candle, which it may have corrected since
            elif not candles_equal(ours, theirs[minute]):
                await self._report_mismatch(symbol, CandleMismatch(ours, theirs[minute], self._rest.exchange_ms()))
            else:
                theirs[minute] = replace(ours, reconciled=True)
            if ours != theirs[minute]:
                await self._candles.put(theirs[minute])
        if missing:
            log.info("candles backfilled symbol=%s candles=%s", symbol, missing)
        return theirs
