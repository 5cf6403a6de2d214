"""Trades in the order of their ids: contiguous per symbol, so each is delivered once, or is known to be missing.

Rules:
1. A trade whose id follows on the last one's is delivered; one at or below it is a repetition and is dropped.
2. A jump means missing trades. Those after it are held until the missing ones, fetched by id, come or are given up.
3. What follows on the last one delivered is delivered at once, fetched or held.
4. Ids that follow on each other, at or below the last one delivered but of trades that are later than it, are no
   repetition: RESTARTED_BY of them show that the exchange's ids began anew, and the record goes on with them.
5. A held trade that the exchange's own history does not have, and that nothing follows on, is false and is dropped.
6. A trade with the last one's id, but of later fills, is no repetition: the exchange has used one aggregate id twice.
   It is delivered after the other one.
7. A held trade whose fills begin before the end of the last one's has a false id and is dropped. A fetched one of the
   same fills as the last one was delivered already, under a false id.
Pure: fetching, and how long to wait for it, is up to the caller (`ingest.trade_repair`).
"""

from dataclasses import replace
from typing import NamedTuple

from pulse.market.types import Trade, TradeGap

TRADE_BYTES = 400
"""About the memory of a held trade."""
RESTARTED_BY = 3


class MissingTrades(NamedTuple):
    """The ids of trades that are missing, both included."""

    first_id: int
    last_id: int


class TradeSync:
    """Puts one symbol's trades in the order of their ids. At most `held_max` are held while others are missing."""

    def __init__(self, symbol: str, held_max: int) -> None:
        self._symbol = symbol
        self._held_max = held_max
        self._held: dict[int, list[Trade]] = {}  # by id, in the order of their fills
        self._held_count = 0
        self._last: Trade | None = None
        self.restarts = 0  # times that ids began anew
        self.false_ids = 0  # held trades that were dropped because of their fills
        self._streamed_id = -1  # of the newest trade of the stream
        self._lower: list[Trade] = []  # later than the last one, with ids at or below its id

    @property
    def is_waiting(self) -> bool:
        """Whether trades are held because those before them are missing."""
        return bool(self._held)

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing confirms the ids of the held trades: one is alone, or the stream went on below them."""
        return self._held_count == 1 or (bool(self._held) and self._streamed_id < min(self._held))

    @property
    def missing(self) -> MissingTrades | None:
        """The ids that are missing before the first trade that is held; O(trades held)."""
        if not self._held or self._last is None:
            return None
        return MissingTrades(self._last.trade_id + 1, min(self._held) - 1)

    @property
    def missing_times(self) -> tuple[int, int]:
        """The times of the trades around the missing ones, of which there must be some."""
        assert self._last is not None  # noqa: S101  # nothing is held before the first trade
        return self._last.time_ms, self._held[min(self._held)][0].time_ms

    @property
    def held_bytes(self) -> int:
        """About the memory of the held trades."""
        return self._held_count * TRADE_BYTES

    @property
    def is_full(self) -> bool:
        """Whether no more can be held: the missing trades must be given up."""
        return self._held_count >= self._held_max

    def take(self, trade: Trade) -> list[Trade]:
        """Take a trade of the stream; return those that may be delivered now, in order."""
        last, self._streamed_id = self._last, trade.trade_id
        if last is None or (trade.trade_id == last.trade_id + 1 and not self._held) or trade.is_second_of(last):
            self._last = trade
            self._lower = []
            return [trade]
        if trade.is_after(last):
            self._hold(trade)
        elif trade.time_ms > last.time_ms:
            return self._take_lower(trade)
        return self._pop_contiguous()

    def drop_held_above(self, newest_id: int) -> None:
        """Drop the held trades beyond the newest id that the exchange has."""
        self._held = {trade_id: trades for trade_id, trades in self._held.items() if trade_id <= newest_id}
        self._held_count = sum(map(len, self._held.values()))

    def _hold(self, trade: Trade) -> None:
        """Hold a trade, unless it repeats one that is held."""
        held = self._held.setdefault(trade.trade_id, [])
        if all(trade.first_trade_id != other.first_trade_id for other in held):
            held.append(trade)
            held.sort(key=_first_fill)
            self._held_count += 1

    def _take_lower(self, trade: Trade) -> list[Trade]:
        """Take a trade that is later than the last one, but with an id at or below its id."""
        if self._lower and trade.trade_id != self._lower[-1].trade_id + 1:
            self._lower = []
        self._lower.append(trade)
        if len(self._lower) < RESTARTED_BY:
            return []
        restarted, self._lower = self._lower, []
        self._held, self._held_count = {}, 0
        self._last = trade
        self.restarts += 1
        return restarted

    def fill(self, fetched: list[Trade]) -> list[Trade]:
        """Take trades that were fetched by id, oldest first; return those that may be delivered now.

        Fetched ones are marked as repaired; those outside the missing ids are ignored.
        """
        missing = self.missing
        for trade in fetched:
            if missing is not None and missing.first_id <= trade.trade_id <= missing.last_id:
                self._hold(replace(trade, is_repaired=True))
        return self._pop_contiguous()

    def give_up(self, noted_ms: int) -> tuple[TradeGap | None, list[Trade]]:
        """Go on without the missing trades; return the gap, and the trades that may be delivered now.

        `noted_ms` is the exchange's date, in ms since the epoch. Returns (None, []) where none are missing.
        """
        missing, before = self.missing, self._last
        if missing is None or before is None:
            return None, []
        after, *others = self._held.pop(missing.last_id + 1)
        gap = TradeGap(self._symbol, *missing, before.time_ms, after.time_ms, noted_ms)
        self._last = others[-1] if others else after
        self._held_count -= 1 + len(others)
        return gap, [after, *others, *self._pop_contiguous()]

    def _pop_contiguous(self) -> list[Trade]:
        """Remove and return the held trades that follow on the last one delivered."""
        found: list[Trade] = []
        while self._last is not None and (trades := self._held.pop(self._last.trade_id + 1, None)) is not None:
            self._held_count -= len(trades)
            for trade in trades:
                last = self._last
                if not trade.is_repaired and trade.first_trade_id <= last.last_trade_id:
                    self.false_ids += 1
                    continue
                if (trade.first_trade_id, trade.last_trade_id) != (last.first_trade_id, last.last_trade_id):
                    found.append(trade)
                self._last = trade
        return found


def _first_fill(trade: Trade) -> int:
    return trade.first_trade_id
