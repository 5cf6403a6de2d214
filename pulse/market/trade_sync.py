"""The order of trades: ids are contiguous per symbol, so every trade goes on once, in order, or is known to be missing.

Rules:
1. A trade whose id follows on the last goes on; one at or below it is a repetition and does not.
2. A jump is a hole. What comes after it is held until the hole is filled by trades fetched by id, or given up.
3. Whatever fills the hole's beginning goes on at once, and what was held as soon as it follows.
Pure: who fetches, and for how long it is waited for, is the feed's affair.
"""

from dataclasses import replace
from typing import NamedTuple

from pulse.market.types import Trade, TradeGap


class TradeHole(NamedTuple):
    """Ids that are missing, both included."""

    first_id: int
    last_id: int


class TradeSync:
    """One symbol's trades, in the order of their ids. At most `held_max` are held after a hole."""

    def __init__(self, symbol: str, held_max: int) -> None:
        self._symbol = symbol
        self._held_max = held_max
        self._held: dict[int, Trade] = {}
        self._last: Trade | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether trades are held because those before them are missing."""
        return bool(self._held)

    @property
    def hole(self) -> TradeHole | None:
        """What is missing before the first trade that is held; looks through all of those."""
        if not self._held or self._last is None:
            return None
        return TradeHole(self._last.trade_id + 1, min(self._held) - 1)

    @property
    def is_full(self) -> bool:
        """Whether no more can be held: the hole must be given up."""
        return len(self._held) >= self._held_max

    def take(self, trade: Trade) -> list[Trade]:
        """Take a trade of the stream; give those that may go on now."""
        last = self._last
        if not self._held and (last is None or trade.trade_id == last.trade_id + 1):
            self._last = trade
            return [trade]
        if last is not None and trade.trade_id > last.trade_id:
            self._held.setdefault(trade.trade_id, trade)
        return self._follow()

    def fill(self, fetched: list[Trade]) -> list[Trade]:
        """Take trades that were fetched by id, oldest first; give those that may go on now, marked as repaired."""
        hole = self.hole
        for trade in fetched:
            if hole is not None and hole.first_id <= trade.trade_id <= hole.last_id:
                self._held[trade.trade_id] = replace(trade, is_repaired=True)
        return self._follow()

    def give_up(self, noted_ms: int) -> tuple[TradeGap | None, list[Trade]]:
        """Go on without what is missing: the gap, and those that may go on now. `noted_ms`: the date, in ms."""
        hole, before = self.hole, self._last
        if hole is None or before is None:
            return None, []
        after = self._held[hole.last_id + 1]
        gap = TradeGap(self._symbol, hole.first_id, hole.last_id, before.time_ms, after.time_ms, noted_ms)
        self._last = self._held.pop(after.trade_id)
        return gap, [after, *self._follow()]

    def _follow(self) -> list[Trade]:
        """Those of the held ones that follow on without a hole."""
        found: list[Trade] = []
        while self._last is not None and (trade := self._held.pop(self._last.trade_id + 1, None)) is not None:
            found.append(trade)
            self._last = trade
        return found
