"""One minute of trades in exact integers: the candle used by both the generated history and the live market.

Quote volume is kept as ticks times lots, so it stays exact until it is printed. Knows no time except the minute it was
given.
"""

from dataclasses import dataclass
from typing import NamedTuple


class AggregateTrade(NamedTuple):
    """Everything one taker traded at one price. Each fill is one trade, with contiguous ids."""

    time_ms: int
    agg_id: int
    ticks: int
    fills: tuple[int, ...]  # lots of each trade, in the order of their ids
    first_trade_id: int
    taker_sold: bool  # the taker sold, so the buyer was the maker

    @property
    def lots(self) -> int:
        """The total quantity."""
        return sum(self.fills)

    @property
    def last_trade_id(self) -> int:
        """The id of the last trade in it."""
        return self.first_trade_id + len(self.fills) - 1


@dataclass(slots=True)
class MinuteCandle:
    """A candle in ticks and lots. Without a trade it is flat and both trade ids are -1, as on the exchange."""

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

    def add(self, trade: AggregateTrade) -> None:
        """Add an aggregate trade, which must be later than those before."""
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
        if not trade.taker_sold:
            self.taker_buy_lots += lots
            self.taker_buy_quote += ticks * lots
        self.last_trade_id = trade.last_trade_id


def flat_candle(open_ms: int, ticks: int) -> MinuteCandle:
    """Return a candle without trades, at the last price before it."""
    return MinuteCandle(open_ms, ticks, ticks, ticks, ticks)
