"""What is made of a book only for those who watch it: ladders of chosen groups, and the cost of chosen sums.

It goes with a view, and carries its number, so that both show the same book.
"""

from dataclasses import dataclass

from pulse.market.ladder import (
    TRADED_MS,
    FittingMultiple,
    Ladder,
    Traded,
    covering_multiple,
    fitting_multiples,
    ladder,
    tick_of,
)
from pulse.market.order_book import OrderBook
from pulse.market.trade_cost import Cost, cost_of
from pulse.market.types import Price, State
from pulse.market.view import TradeRepeatBuffer, View, WindowView

FIT_EVERY_MS = 1_000.0
"""How often it is looked which groups fit: a client chooses when its symbol or its height changes."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What somebody watches of one symbol's book: groups of so many ticks, and sums of the quote asset."""

    multiples: frozenset[int] = frozenset()
    notionals: frozenset[float] = frozenset()

    def __bool__(self) -> bool:
        """Return whether anything is watched."""
        return bool(self.multiples or self.notionals)

    def __or__(self, other: "Interest") -> "Interest":
        """Return what either of two watches."""
        return Interest(self.multiples | other.multiples, self.notionals | other.notionals)


NO_INTEREST = Interest()


@dataclass
class LiquidityView:
    """The ladders and costs that are watched, at the view with this `seq`.

    `fitting` names the groups that suit a number of rows, `covering_multiple` the finest that show all that is known.
    What was bought and sold in a ladder's rows counts from `traded_since_ms`, by the exchange's clock; 0: no trade yet.
    """

    seq: int
    instance: str
    token: int
    symbol: str
    state: State
    state_reason: str
    last_update_id: int
    event_time_ms: int
    timestamp: float
    data_age_ms: int | None
    window: WindowView
    mid_price: Price | None
    traded_since_ms: int
    fitting: list[FittingMultiple]
    covering_multiple: int | None
    ladders: list[Ladder]
    costs: list[Cost]


class LiquidityMaker:
    """Makes the liquidity views of one symbol; keeps from one to the next what changes seldom."""

    def __init__(self) -> None:
        self._fitted_ms = -FIT_EVERY_MS
        self._fitting: list[FittingMultiple] = []
        self._covering: int | None = None

    def view(
        self, view: View, book: OrderBook | None, interest: Interest, trades: TradeRepeatBuffer, now_ms: float
    ) -> LiquidityView:
        """Return what is watched at this view of the book; `trades` holds the newest."""
        tick = tick_of(view.instrument)
        if now_ms - self._fitted_ms >= FIT_EVERY_MS or not self._fitting:
            self._fitted_ms = now_ms
            self._fitting, self._covering = fitting_multiples(book, tick), covering_multiple(book, tick)
        recent, since_ms = trades.recent(max(view.session_start_ms, view.event_time_ms - TRADED_MS))
        traded = Traded(recent if interest.multiples else ())
        return LiquidityView(
            seq=view.seq,
            instance=view.instance,
            token=view.token,
            symbol=view.symbol,
            state=view.state,
            state_reason=view.state_reason,
            last_update_id=view.last_update_id,
            event_time_ms=view.event_time_ms,
            timestamp=view.timestamp,
            data_age_ms=view.data_age_ms,
            window=view.window,
            mid_price=view.metrics.mid_price,
            traded_since_ms=since_ms if view.session_start_ms else 0,
            fitting=self._fitting,
            covering_multiple=self._covering,
            ladders=[ladder(book, tick, multiple, traded) for multiple in sorted(interest.multiples)],
            costs=[cost_of(book, notional) for notional in sorted(interest.notionals)],
        )
