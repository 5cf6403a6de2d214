"""The task that polls the last 24 hours of every listed symbol, for the watchlist: one request, and only if asked.

A request for all symbols costs as much as a large snapshot, so none is made while no client reads the list.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pulse.binance.rest import DayTickers
from pulse.errors import ExchangeError
from pulse.logs import StateOfTrouble
from pulse.market.answer_plausibility import was_traded
from pulse.market.types import DayTicker

log = logging.getLogger(__name__)

POLL_EVERY_S = 30.0
"""At most so often; at Binance.US that is 80 of 1,200 weight a minute, at Binance.com 160 of 6,000."""
RECORDING = "a recording has the symbols that were recorded, and no others"


class DayTickerSource(Protocol):
    """The REST calls that the watchlist is made from."""

    async def day_tickers(self) -> DayTickers:
        """Fetch the last 24 hours of every symbol. Raises ExchangeError."""


class Watchlist:
    """The newest list, and the poll that renews it. `clock` returns seconds of a clock that only runs forward."""

    def __init__(self, rest: DayTickerSource, clock: Callable[[], float]) -> None:
        self._rest = rest
        self._clock = clock
        self._asked = asyncio.Event()  # since the last poll
        self._rows: list[dict[str, Any]] = []
        self._date_ms: int | None = None
        self._received_s = 0.0
        self._faults = 0
        self._not_loaded = StateOfTrouble(log, "watchlist not loaded reason=%s")
        self._left_out = StateOfTrouble(log, "watchlist rows left out rows=%s first=%s")

    def report(self) -> Mapping[str, Any]:
        """Return the newest list, and have it renewed if it is due."""
        self._asked.set()
        age_s = self._clock() - self._received_s
        return _report(
            self._rows, self._date_ms, None if self._date_ms is None else int(age_s * 1000), self._faults,
            self._not_loaded.reason,
        )  # fmt: skip

    async def run(self) -> None:
        """Poll for ever, whenever the list was asked for, but not more often than POLL_EVERY_S."""
        while True:
            await self._asked.wait()
            await self._poll()
            await asyncio.sleep(POLL_EVERY_S)

    async def _poll(self) -> None:
        self._asked.clear()
        try:
            answer = await self._rest.day_tickers()
        except ExchangeError as fault:
            self._not_loaded.warn(str(fault), fault)
            return
        if self._not_loaded.over():
            log.info("watchlist loaded again symbols=%s", len(answer.found))
        self._rows = [_row(ticker, answer.date_ms) for ticker in answer.found.values()]
        self._date_ms, self._received_s, self._faults = answer.date_ms, self._clock(), len(answer.faults)
        if answer.faults:
            self._left_out.warn("some", len(answer.faults), answer.faults[0])
        else:
            self._left_out.over()


def no_watchlist() -> Mapping[str, Any]:
    """Return the report of a source that has no list."""
    return _report([], None, None, 0, RECORDING)


def _report(
    rows: list[dict[str, Any]], date_ms: int | None, age_ms: int | None, left_out: int, trouble: str
) -> dict[str, Any]:
    return {
        "date_ms": date_ms, "age_ms": age_ms, "every_ms": int(POLL_EVERY_S * 1000), "left_out": left_out,
        "trouble": trouble, "rows": rows,
    }  # fmt: skip


def _row(ticker: DayTicker, date_ms: int) -> dict[str, Any]:
    """Return a row; its prices are null for a symbol that was not traded in the 24 hours before the answer."""
    is_known = was_traded(ticker, date_ms)
    return {
        "symbol": ticker.symbol,
        "last": ticker.last if is_known else None,
        "change_percent": (ticker.last / ticker.open - 1) * 100 if is_known else None,
        "high": ticker.high if is_known else None,
        "low": ticker.low if is_known else None,
        "quote_volume": ticker.quote_volume if is_known else None,
        "trade_count": ticker.trade_count if is_known else 0,
    }
