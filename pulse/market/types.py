"""The frozen values that pass from the exchange's edge to the book and the candles.

Prices and quantities are IEEE doubles: every decimal string Binance prints (at most 15 significant digits)
survives the round trip, so a price parsed from it prints as the exchange printed it. This file knows no exchange.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

Price: TypeAlias = float
Quantity: TypeAlias = float
Pairs: TypeAlias = list[tuple[Price, Quantity]]
"""Levels of one side, best first. Plain pairs, because each view makes forty of them."""

MINUTE_MS = 60_000


class Level(NamedTuple):
    """One price of one side of the book and the quantity resting there."""

    price: Price
    quantity: Quantity


class Levels(NamedTuple):
    """Levels of one side as two parallel lists, so that parsing and applying stay in C loops."""

    prices: list[Price]
    quantities: list[Quantity]


class Aggressor(Enum):
    """The side that took liquidity. Binance's `m` (buyer is the maker) true means the seller did."""

    BUYER = "buyer"
    SELLER = "seller"


class State(Enum):
    """How far a view can be relied on; the values are the wire's."""

    LIVE = "live"  # the book joined without a gap, is fresh, and its cross-checks agree
    SYNCING = "syncing"  # connected, and the book is being joined
    STALE = "stale"  # connected, but the depth stream is silent for longer than its habit, or behind other streams
    HALTED = "halted"  # the exchange lists the symbol as not trading
    OFFLINE = "offline"  # no connection to the exchange


class StreamState(Enum):
    """What is known of one of a symbol's streams; the values are the wire's."""

    LIVE = "live"  # it sends as often as is usual for it
    QUIET = "quiet"  # longer than usual it has sent nothing, and nothing shows that anything is missing
    SILENT = "silent"  # other streams show that frames of it are missing
    OFFLINE = "offline"  # no connection to the exchange


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """The levels of a book at one update id. `limit` is the number of levels a side in the request, 0 when unknown."""

    last_update_id: int
    bids: Levels
    asks: Levels
    limit: int


class DepthDiff(NamedTuple):
    """Absolute quantities of the levels that changed between two update ids, both included; 0 removes a level."""

    first_update_id: int
    final_update_id: int
    event_time_ms: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class PartialDepth:
    """The exchange's own best levels of both sides after the change `last_update_id`."""

    last_update_id: int
    bids: Levels
    asks: Levels


class BookTicker(NamedTuple):
    """The exchange's best bid and ask after the change `update_id`."""

    update_id: int
    bid_price: Price
    bid_quantity: Quantity
    ask_price: Price
    ask_quantity: Quantity


@dataclass(frozen=True, slots=True)
class Trade:
    """One print. On an aggregate feed `trade_id` is the aggregate's id and first/last span its fills.

    The exchange has given one aggregate id to two trades: their fills tell them apart, and order them.
    `is_market` false: a print that the exchange leaves out of its candles, such as one of its insurance fund.
    `is_repaired`: it was not streamed in order but fetched by its id afterwards.
    """

    trade_id: int
    price: Price
    quantity: Quantity
    time_ms: int
    aggressor: Aggressor
    first_trade_id: int
    last_trade_id: int
    event_time_ms: int = 0
    is_market: bool = True
    is_repaired: bool = False

    def is_second_of(self, other: "Trade") -> bool:
        """Return whether this trade has another one's id, but later fills: the exchange has used the id twice."""
        return self.trade_id == other.trade_id and self.first_trade_id > other.last_trade_id

    def is_after(self, other: "Trade") -> bool:
        """Return whether this trade comes after another one by its ids, and is no repetition of it."""
        return self.trade_id > other.trade_id or self.is_second_of(other)


@dataclass(frozen=True, slots=True)
class TradesHeld:
    """Trades are missing and are being fetched; those after them are held."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One minute of trades. `open_time_ms` is the minute's first ms, UTC.

    Trade ids are -1 where the minute has no trade, or where the exchange did not send them. `source` is one of
    "live": built here from every trade as it was streamed; "repaired": built here, some trades fetched by id
    afterwards; "exchange": the exchange's own candle. `reconciled`: equal to the exchange's own candle in every field.
    """

    symbol: str
    open_time_ms: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Quantity
    quote_volume: float
    trade_count: int
    taker_buy_volume: Quantity
    taker_buy_quote_volume: float
    first_trade_id: int
    last_trade_id: int
    is_closed: bool
    source: str
    reconciled: bool


@dataclass(frozen=True, slots=True)
class TradeGap:
    """Trades that were missed and could not be fetched: aggregate trade ids, both included, that are in no candle.

    `from_ms` and `to_ms` are the exchange times of the trades around them; `noted_ms` is when they were given up.
    """

    symbol: str
    first_trade_id: int
    last_trade_id: int
    from_ms: int
    to_ms: int
    noted_ms: int


@dataclass(frozen=True, slots=True)
class DayTicker:
    """A symbol's trades of the 24 hours up to `close_time_ms`, which move with the clock; zeros where it had none."""

    symbol: str
    open: float
    high: float
    low: float
    last: float
    volume: Quantity
    quote_volume: float
    close_time_ms: int
    trade_count: int


@dataclass(frozen=True)  # no slots: it is part of every view, and orjson is slow with them
class Instrument:
    """A symbol as the exchange lists it: its assets, step sizes (0.0 when it sets none) and trading status."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    tick_size: Price
    lot_size: Quantity
    price_decimals: int
    quantity_decimals: int


@dataclass(frozen=True, slots=True)
class ExchangeCandle:
    """The exchange's own candle of a minute, running or closed, and when it sent it."""

    candle: Candle
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class CandleMismatch:
    """Our candle of a closed minute and the exchange's, which differ; the exchange's is the one that is kept."""

    ours: Candle
    theirs: Candle
    time_ms: int  # when it was found, by the exchange's clock or near it


@dataclass(frozen=True, slots=True)
class TradeIdsRestarted:
    """The exchange's trade ids began anew: the next trade's id is at or below those before, and is no repetition."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A frame was not applied because its values cannot be true; `kind` is its stream's, `reason` a text for people."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class FeedUp:
    """A connection to the exchange has begun; what was missed before it is unknown.

    `kinds` are the kinds of streams that it must carry. A recording does not say which were recorded: it names none.
    """

    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FeedDown:
    """There is no connection to the exchange; `reason` is a text for people.

    `is_end`: the source has come to its end, as a recording does; nothing was lost.
    """

    reason: str
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class BookLost:
    """The book can no longer be continued and a new snapshot is needed; `reason` is a text for people."""

    reason: str
