"""The view of one symbol that clients receive: complete, so that any later one may replace it.

Field names are the wire's names; `wire` turns a view into JSON and adds nothing. The dataclasses of a view are neither
frozen nor slotted: frozen ones take four times as long to make, and slotted ones five times as long to encode.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile

from pulse.market.cross_checks import Incident
from pulse.market.types import CandleMismatch, Instrument, Pairs, Price, Quantity, State, StreamState, Trade


@dataclass
class Metrics:
    """Every metric of a view; None where it cannot be known. Units are in docs/metrics.md.

    Those from `ofi` on depend on the past, not on the book alone.
    """

    mid_price: Price | None = None
    spread_abs: Price | None = None
    spread_pct: float | None = None
    cvd: Quantity | None = None
    best_bid: Price | None = None
    best_ask: Price | None = None
    spread_bps: float | None = None
    microprice: Price | None = None
    imbalance: float | None = None
    queue_imbalance: float | None = None
    depth_10bps_bid: Quantity | None = None
    depth_10bps_ask: Quantity | None = None
    depth_10bps_exact: bool = False
    ofi: Quantity | None = None
    trade_cvd: Quantity | None = None
    vwap: Price | None = None
    trade_rate: float = 0.0
    realised_volatility: float | None = None
    realised_volatility_bps: float | None = None
    realised_volatility_s: int | None = None


@dataclass
class FlowBasis:
    """The sums that the metrics over time are computed from, so that each can be computed again by hand.

    `ofi_up` and `ofi_down` are the buckets of the window that raised and lowered `ofi`. `volume`, `notional` and
    `trade_cvd` are those of the session. `rate_then` was the trade rate `rate_age_s` ago, after the last trade.
    `squared_returns` is the sum over `returns` one-second returns.
    """

    ofi_up: Quantity = 0.0
    ofi_down: Quantity = 0.0
    volume: Quantity = 0.0
    notional: float = 0.0
    rate_then: float = 0.0
    rate_age_s: float = 0.0
    squared_returns: float = 0.0
    returns: int = 0


@dataclass
class TradeView:
    """One trade of a view. The exchange has used one `id` twice; `first_trade_id` tells such two trades apart."""

    id: int
    price: Price
    quantity: Quantity
    aggressor: str
    time_ms: int
    first_trade_id: int


def trade_view(trade: Trade) -> TradeView:
    """Return a trade as clients receive it."""
    return TradeView(
        trade.trade_id, trade.price, trade.quantity, trade.aggressor.value, trade.time_ms, trade.first_trade_id
    )


@dataclass
class TradesView:
    """The newest trades alone, oldest first, with the sequence number of the view that they go with."""

    seq: int
    instance: str
    token: int
    symbol: str
    trades: list[TradeView]


@dataclass
class CandleView:
    """One minute of a view; `timestamp` is ISO 8601, UTC, the minute's open. `source` is as in `Candle`."""

    symbol: str
    timestamp: str
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Quantity
    quote_volume: float
    taker_buy_volume: Quantity
    source: str
    is_closed: bool


@dataclass
class WindowView:
    """The prices between which the book is exact; None where the whole side is known."""

    bid_floor: Price | None
    ask_ceiling: Price | None
    bid_levels: int
    ask_levels: int


@dataclass
class ProofView:
    """Counts of the cross-checks since the start; times are the exchange's, in ms, 0 for never.

    `silent_checks` names those that confirm nothing now, because the stream that they compare with is silent.
    """

    contiguous_since_ms: int
    touch_compared: int
    touch_equal: int
    top_compared: int
    top_equal: int
    audits: int
    audited_ms: int
    levels_compared: int
    levels_differing: int
    resyncs: int
    incidents: int
    silent_checks: list[str]


@dataclass
class StreamView:
    """One stream of a view. `age_ms` is how long ago its newest frame was received; None before any was."""

    kind: str
    state: StreamState
    age_ms: int | None


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One stream with its habit: the usual time between two frames, None while it is not known.

    `reason` is why it is silent, empty while it is not.
    """

    kind: str
    state: StreamState
    age_ms: int | None
    usual_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class QuarantineView:
    """The frames of one kind that were not applied because their values cannot be true: how many, and the last one."""

    kind: str
    count: int
    last_reason: str
    last_ms: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """The evidence for a book and its candles: state, counts, incidents. Times are the exchange's, in ms, 0 for never.

    `audit_every_s` is how often the whole book is compared with a snapshot; None where nothing is requested. Incidents
    and mismatches come newest first.
    """

    symbol: str
    state: State
    state_reason: str
    last_update_id: int
    contiguous_since_id: int
    diffs_applied: int
    window: WindowView
    proof: ProofView
    audit_levels_compared: int
    audit_levels_differing: int
    incidents: list[Incident]
    candle_mismatches: list[CandleMismatch]
    quarantined: list[QuarantineView]
    trade_id_restarts: int
    streams: list[StreamReport]
    audit_every_s: float | None


@dataclass
class View:
    """One complete view. Levels come best first, trades newest first.

    `token` is that of the lease under which the view is published, set by the relay.
    """

    seq: int
    instance: str
    token: int
    symbol: str
    state: State
    state_reason: str
    source: str
    venue: str
    last_update_id: int
    bids: Pairs
    asks: Pairs
    metrics: Metrics
    basis: FlowBasis
    session_start_ms: int
    trades: list[TradeView]
    candle: CandleView | None
    closed_candle: CandleView | None
    window: WindowView
    proof: ProofView
    instrument: Instrument | None
    timestamp: float
    event_time_ms: int
    data_age_ms: int | None
    streams: list[StreamView]


REPEATS = 10
"""Messages that carry each trade, a second's worth: a client that misses fewer in a row misses no trade."""
TRADES_MAX = 2_000
"""Trades in a message at most; a busy second of the busiest symbol has some hundreds."""


class TradeRepeatBuffer:
    """The newest trades, each of which goes into REPEATS messages: messages may be lost."""

    def __init__(self) -> None:
        self._trades: deque[TradeView] = deque(maxlen=TRADES_MAX)
        self._count = 0
        self._counts: deque[int] = deque([0], maxlen=REPEATS)  # `_count` at each of the newest messages

    def add(self, trade: TradeView) -> None:
        """Add the next trade."""
        self._trades.append(trade)
        self._count += 1

    def recent(self, since_ms: int) -> tuple[list[TradeView], int]:
        """Return the trades from this time on, newest first, and the time from which on none is missing."""
        if len(self._trades) == TRADES_MAX:
            since_ms = max(since_ms, self._trades[0].time_ms + 1)  # others of that moment may have been dropped
        return list(takewhile(lambda trade: trade.time_ms >= since_ms, reversed(self._trades))), since_ms

    @property
    def waiting(self) -> int:
        """How many trades are in no message yet."""
        return self._count - self._counts[-1]

    def to_repeat(self) -> list[TradeView]:
        """Return the trades that later messages carry, oldest first."""
        count = min(self._count - self._counts[0], len(self._trades))
        return list(islice(self._trades, len(self._trades) - count, None))

    def take(self) -> list[TradeView]:
        """Return the trades of the next message, oldest first; none if no trade is new since the last one."""
        if not self.waiting:
            return []
        trades = self.to_repeat()
        self._counts.append(self._count)
        return trades
