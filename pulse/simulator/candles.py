"""One minute of trades in exact integers: the candle that both the made-up history and the live market fill.

Quote volume is kept as ticks times lots, so it too is exact until it is printed. This file knows no time but the
minute it was given.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Print(NamedTuple):
    """An aggregate trade: everything one taker took at one price. Each fill is one trade, with contiguous ids."""

    time_ms: int
    agg_id: int
    ticks: int
    fills: tuple[int, ...]  # lots of each trade, in the order of their ids
    first_trade_id: int
    seller: bool  # the taker sold, so the buyer was the maker

    @property
    def lots(self) -> int:
        """The whole quantity."""
        return sum(self.fills)

    @property
    def last_trade_id(self) -> int:
        """The id of its last trade."""
        return self.first_trade_id + len(self.fills) - 1


@dataclass(slots=True)
class Minute:
    """A candle, in ticks and lots. Without a trade it is flat and both its trade ids are -1, as the exchange has it."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    quote: int = 0  # sum of ticks times lots
    count: int = 0
    taker_buy_lots: int = 0
    taker_buy_quote: int = 0
    first_trade_id: int = -1
    last_trade_id: int = -1

    def add(self, trade: Print) -> None:
        """Take in one more aggregate trade, which must be later than those before."""
        ticks, lots = trade.ticks, trade.lots
        if self.count == 0:
            self.open = self.high = self.low = ticks
            self.first_trade_id = trade.first_trade_id
        self.high = max(self.high, ticks)
        self.low = min(self.low, ticks)
        self.close = ticks
        self.lots += lots
        self.quote += ticks * lots
        self.count += len(trade.fills)
        if not trade.seller:
            self.taker_buy_lots += lots
            self.taker_buy_quote += ticks * lots
        self.last_trade_id = trade.last_trade_id


def flat_minute(open_ms: int, ticks: int) -> Minute:
    """A minute in which nothing traded yet: it stands at the last price before it."""
    return Minute(open_ms, ticks, ticks, ticks, ticks)
