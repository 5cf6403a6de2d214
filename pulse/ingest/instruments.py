"""The task that polls which symbols the exchange lists, and with which assets, steps and status.

A symbol of the settings that the exchange does not list is shown as delisted: it may have been listed when it was
written there, and must not keep the others from running. Where none is listed, and none ever was as far as the stored
candles show, it is an error of the settings, found with the exchange's first answer.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf

from pulse import stats
from pulse.binance.rest import BinanceRest
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeError, ExchangeRefused, SettingsError
from pulse.logs import StateOfTrouble
from pulse.market.types import Instrument

log = logging.getLogger(__name__)

POLL_EVERY_S = 50.0
"""Halts and delistings are shown within a minute."""
LISTING_EVERY_S = 900.0
"""How often the names of all symbols are fetched: thousands, of which few are ever new."""
DELISTED = "DELISTED"
"""Our status for a symbol that the exchange does not list."""
DELISTED_DECIMALS = 8
"""Of a symbol that was never listed while this process ran: no stored price of it is shown with fewer than it has."""
RETRY_FIRST_S, RETRY_MAX_S = 2.0, 30.0
PENDING = "the exchange has not answered yet"

WasListed = Callable[[str], Awaitable[bool]]
"""Tells whether a symbol may have been listed before."""


class InstrumentPoller:
    """Keeps the instruments of the open symbols, of which the `pinned` ones are open from the start.

    `on_change` gets each instrument that is new or has changed. `on_listing`, where given, gets the names of all
    symbols that the exchange lists. `was_listed` decides what a pinned symbol is where the exchange lists none of them:
    delisted, or an error. With `may_fall_back` a refusal is raised, so that another venue can be tried. `trouble` is
    why the instruments are not known as of the last poll, empty where they are.
    """

    def __init__(
        self, pinned: Sequence[str], rest: BinanceRest, *, on_change: Callable[[Instrument], Awaitable[None]],
        was_listed: WasListed, on_listing: Callable[[Iterable[str]], None] | None = None, may_fall_back: bool = False,
    ) -> None:  # fmt: skip
        self._pinned = tuple(pinned)
        self._rest = rest
        self._on_change = on_change
        self._was_listed = was_listed
        self._on_listing = on_listing
        self._may_fall_back = may_fall_back
        self._symbols = dict.fromkeys(self._pinned)
        self._wake = asyncio.Event()
        self._is_complete = False  # the last poll succeeded
        self._listing_due_s = -inf  # of the loop's clock
        self._not_loaded = StateOfTrouble(log, "instruments not loaded reason=%s")
        self._malformed: dict[str, str] = {}  # symbols, and what is wrong with their rows
        self.trouble = PENDING
        self.instruments: dict[str, Instrument] = {}

    def open(self, symbol: str) -> None:
        """Poll this symbol too, and soon."""
        self._symbols[symbol] = None
        self._wake.set()

    def close(self, symbol: str) -> None:
        """Poll this symbol no more."""
        self._symbols.pop(symbol, None)
        self.instruments.pop(symbol, None)

    async def load(self) -> None:
        """Poll once. Raises SettingsError if no pinned symbol was ever listed; any other failure is left to `run`."""
        try:
            await self._poll()
        except ExchangeError as fault:
            if isinstance(fault, ExchangeRefused) and self._may_fall_back:
                raise
            self.trouble = str(fault)
            self._not_loaded.warn(self.trouble, fault)
        else:
            self.trouble = ""
            self._not_loaded.over()

    async def run(self) -> None:
        """Poll for ever, at once and then periodically. Raises what `load` raises."""
        delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        while True:
            if self._is_complete:
                delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
            try:
                async with asyncio.timeout(POLL_EVERY_S if self._is_complete else next(delays)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await self.load()

    async def _poll(self) -> None:
        self._is_complete = False
        self._wake.clear()
        symbols = tuple(self._symbols)
        found, malformed = await self._rest.instruments(symbols)
        self._note_malformed(malformed)
        unknown = [symbol for symbol in self._pinned if symbol not in found and symbol not in malformed]
        if len(unknown) == len(self._pinned) and not self.instruments and not await self._were_listed(unknown):
            raise SettingsError(
                f"PULSE_SYMBOLS names {', '.join(unknown)}, which {self._rest.venue.title} does not list."
            )
        for symbol in symbols:
            if symbol in malformed:
                continue  # what was known of it remains
            known = self.instruments.get(symbol)
            instrument = found.get(symbol) or _delisted(symbol, known)
            # A symbol may have been closed while the exchange was answering.
            if instrument != known and symbol in self._symbols:
                level = logging.WARNING if instrument.status == DELISTED else logging.INFO
                log.log(level, "instrument symbol=%s status=%s", symbol, instrument.status)
                self.instruments[symbol] = instrument
                await self._on_change(instrument)
        now_s = asyncio.get_running_loop().time()
        if self._on_listing is not None and now_s >= self._listing_due_s:
            self._on_listing(await self._rest.listed_symbols())
            self._listing_due_s = now_s + LISTING_EVERY_S
        self._is_complete = True

    def _note_malformed(self, malformed: Mapping[str, str]) -> None:
        """Log each symbol whose row has become malformed, or malformed in another way, or is right again."""
        for symbol, fault in malformed.items():
            if self._malformed.get(symbol) != fault:
                stats.frames_quarantined.labels(symbol, "exchangeInfo").inc()
                log.warning("instrument quarantined symbol=%s reason=%s", symbol, fault)
        for symbol in self._malformed.keys() - malformed.keys():
            log.info("instrument is right again symbol=%s", symbol)
        self._malformed = dict(malformed)

    async def _were_listed(self, symbols: Sequence[str]) -> bool:
        return any([await self._was_listed(symbol) for symbol in symbols])


def _delisted(symbol: str, known: Instrument | None) -> Instrument:
    """Return the instrument of a symbol that is not listed, as it was while it was."""
    if known is None:
        return Instrument(symbol, symbol, "", DELISTED, 0.0, 0.0, DELISTED_DECIMALS, DELISTED_DECIMALS)
    return replace(known, status=DELISTED)
