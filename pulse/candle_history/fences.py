"""Candle writes of a process that shares its symbols: only under a lease, whose token the store checks.

A new owner's token is made known to the store before its first candle, so what the owner before it may still send
changes nothing from then on.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from pulse.concurrency import backoff_delays
from pulse.errors import StoreUnavailable
from pulse.market.types import Candle

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0


@runtime_checkable
class FencedStore(Protocol):
    """What a store offers where several processes write. Raises StoreUnavailable."""

    async def write_fenced(self, candles: Sequence[Candle], tokens: Mapping[str, int]) -> dict[str, int]:
        """Write the candles of the symbols whose token is the highest one known; return the higher ones of others."""


class WriteRights(Protocol):
    """Which symbols this process owns."""

    def symbols(self) -> Sequence[str]:
        """Return the symbols that may become ours."""

    def token(self, symbol: str) -> int | None:
        """Return the token of the lease that this process holds now; None where it holds none."""

    def is_elsewhere(self, symbol: str) -> bool:
        """Return whether the symbol's candles are another process's to write."""

    def refuse(self, symbol: str, newer_token: int) -> None:
        """Give up a lease whose token is lower than this one."""


class FencedWrites:
    """Writes to `store` what `rights` allow. `changed` is set when a token may have changed."""

    def __init__(self, store: FencedStore, rights: WriteRights, changed: asyncio.Event) -> None:
        self._store = store
        self._rights = rights
        self._changed = changed
        self._claimed: dict[str, int] = {}

    def may_write(self, symbol: str) -> bool:
        """Return whether this process owns a symbol now."""
        return self._rights.token(symbol) is not None

    def is_elsewhere(self, symbol: str) -> bool:
        """Return whether the symbol's candles are another process's to write."""
        return self._rights.is_elsewhere(symbol)

    async def write(self, candles: Sequence[Candle]) -> list[Candle]:
        """Write candles of symbols that this process owns; return those that were written. Raises StoreUnavailable."""
        tokens = self._tokens({candle.symbol for candle in candles})
        owned = [candle for candle in candles if candle.symbol in tokens]
        newer = await self._store.write_fenced(owned, tokens)
        self._take(tokens, newer)
        return [candle for candle in owned if candle.symbol not in newer]

    async def run(self) -> None:
        """Make each new token known to the store, for ever."""
        delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        while True:
            await self._changed.wait()
            self._changed.clear()
            tokens = self._tokens(self._rights.symbols())
            new = {symbol: token for symbol, token in tokens.items() if self._claimed.get(symbol) != token}
            if not new:
                continue
            try:
                self._take(new, await self._store.write_fenced((), new))
            except StoreUnavailable as fault:
                log.debug("leases not made known to the store reason=%s", fault)
                self._changed.set()
                await asyncio.sleep(next(delays))
            else:
                delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())

    def _tokens(self, symbols: Iterable[str]) -> dict[str, int]:
        tokens = {symbol: self._rights.token(symbol) for symbol in symbols}
        return {symbol: token for symbol, token in tokens.items() if token is not None}

    def _take(self, tokens: Mapping[str, int], newer: Mapping[str, int]) -> None:
        """Note what the store answered."""
        self._claimed |= {symbol: token for symbol, token in tokens.items() if symbol not in newer}
        for symbol, token in newer.items():
            self._rights.refuse(symbol, token)
