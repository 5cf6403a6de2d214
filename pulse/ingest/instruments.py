"""The task that knows what the exchange lists: each symbol's assets, steps and status, looked up again and again.

A symbol of the settings that the exchange does not list is a fault of theirs, found before anything else starts where
the exchange can be asked, and as soon as it can be asked otherwise. The registry is told what else there is.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pulse.binance.rest import BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeError, ExchangeRefused, SettingsError
from pulse.market.types import Instrument
from pulse.symbols import SymbolRegistry

log = logging.getLogger(__name__)

LOOK_EVERY_S = 900.0
"""Halts and delistings are shown at most this much later."""
DELISTED = "DELISTED"
"""Our word for a symbol that the exchange has stopped listing."""
RETRY_FIRST_S, RETRY_MAX_S = 2.0, 300.0


class InstrumentPoller:
    """What is known of the symbols followed. `on_change` is told of each instrument that is new or has changed."""

    def __init__(
        self,
        registry: SymbolRegistry,
        rest: BinanceRest,
        on_change: Callable[[Instrument], Awaitable[None]],
        may_fall_back: bool,
    ) -> None:
        self._roster = registry
        self._rest = rest
        self._on_change = on_change
        self._may_fall_back = may_fall_back
        self._told = ""
        self._has_news = asyncio.Event()
        self._is_whole = False  # the last look went through
        self.instruments: dict[str, Instrument] = {}

    async def open(self) -> None:
        """Look once. Raises SettingsError for an unknown symbol; an exchange that is away is left to `run`."""
        try:
            await self._look()
        except ExchangeError as fault:
            if isinstance(fault, ExchangeRefused) and self._may_fall_back:
                raise
            level = logging.DEBUG if str(fault) == self._told else logging.WARNING
            self._told = str(fault)
            log.log(level, "exchange did not list its symbols reason=%s", fault)

    def look_soon(self) -> None:
        """A symbol is followed of which nothing is known yet."""
        self._has_news.set()

    async def run(self) -> None:
        """Look again for ever. Raises what `open` raises."""
        waits = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        while True:
            if self._is_whole:
                waits = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
            try:
                async with asyncio.timeout(LOOK_EVERY_S if self._is_whole else next(waits)):
                    await self._has_news.wait()
            except TimeoutError:
                pass
            self._has_news.clear()
            await self.open()

    async def _look(self) -> None:
        self._is_whole = False
        symbols = tuple(self._roster)
        found = await self._rest.instruments(symbols)
        unknown = [symbol for symbol in self._roster.pinned if symbol not in found]
        if unknown and not self.instruments:
            raise SettingsError(
                f"PULSE_SYMBOLS names {', '.join(unknown)}, which {self._rest.venue.title} does not list."
            )
        for symbol in self.instruments.keys() - set(self._roster):
            del self.instruments[symbol]
        for symbol in symbols:
            instrument = found.get(symbol) or _delisted(self.instruments.get(symbol))
            if instrument is not None and instrument != self.instruments.get(symbol):
                log.info("instrument symbol=%s status=%s", symbol, instrument.status)
                self.instruments[symbol] = instrument
                await self._on_change(instrument)
        if self._roster.most > len(self._roster.pinned):
            self._roster.list_all(await self._rest.listed_symbols())
        self._is_whole = True


def _delisted(instrument: Instrument | None) -> Instrument | None:
    return None if instrument is None else replace(instrument, status=DELISTED)
