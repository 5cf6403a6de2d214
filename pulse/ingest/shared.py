"""The ingest of symbols that several processes share: a symbol is ingested here while this process owns it.

The third kind of source, around that of the exchange. It decides nothing about ownership: whether a symbol is to be
ingested is asked whenever that may have changed. While another process owns a symbol, nothing of it is open here but
what serves its clients.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from pulse.ingest.live import LiveIngest
from pulse.market.types import Instrument
from pulse.symbols import SymbolLifecycle


class SharedIngest:
    """The contract of `Ingest` for symbols that are shared.

    `lease` follows every open symbol. `parts`, of which `live` is one, are opened in their order for a symbol that
    becomes ours, and closed in the reverse one when it is another's. `should_ingest` returns None while that is not
    known: what is done then goes on. `changed` is set when an answer may have changed. `instruments` are those that
    were announced before, for a market that begins later.
    """

    def __init__(
        self,
        live: LiveIngest,
        lease: SymbolLifecycle,
        parts: Sequence[SymbolLifecycle],
        should_ingest: Callable[[str], bool | None],
        changed: asyncio.Event,
        instruments: Mapping[str, Instrument],
    ) -> None:
        self._live = live
        self._lease = lease
        self._parts = tuple(parts)
        self._should_ingest = should_ingest
        self._changed = changed
        self._instruments = instruments
        self._is_ingested: dict[str, bool] = {}

    def open(self, symbol: str) -> None:
        """Ask for the lease of a symbol; until it is ours nothing of it is ingested."""
        self._is_ingested[symbol] = False
        self._lease.open(symbol)

    def close(self, symbol: str) -> None:
        """Stop what is done of a symbol, and give its lease back."""
        if self._is_ingested.pop(symbol):
            self._close_parts(symbol)
        self._lease.close(symbol)

    async def run(self) -> None:
        """Ingest what is ours for ever. Raises what the ingest of the exchange raises."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._live.run(), name="live-ingest")
            while True:
                await self._changed.wait()
                self._changed.clear()
                for symbol in tuple(self._is_ingested):
                    await self._adjust(symbol)

    async def _adjust(self, symbol: str) -> None:
        if symbol not in self._is_ingested:
            return  # closed meanwhile
        should, is_ingested = self._should_ingest(symbol), self._is_ingested[symbol]
        if should is None or should is is_ingested:
            return
        self._is_ingested[symbol] = should
        if not should:
            self._close_parts(symbol)
            return
        for part in self._parts:
            part.open(symbol)
        if symbol in self._instruments:
            await self._live.on_instrument(self._instruments[symbol])

    def _close_parts(self, symbol: str) -> None:
        for part in reversed(self._parts):
            part.close(symbol)
