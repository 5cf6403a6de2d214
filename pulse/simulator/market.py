"""One symbol's market: orders that arrive, leave and trade around a moving fair price, in steps of a millisecond.

Everything follows from the seed, the start and the times passed in, so the same session can be repeated in steps of any
size. Events are in ticks and lots; `payloads` turns them into the exchange's JSON.
"""

import math
import random
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from pulse.simulator.book import ASK, BID, BookDiff, LevelLots, SimulatedBook
from pulse.simulator.candles import AggregateTrade, MinuteCandle, flat_candle
from pulse.simulator.flow import OrderFlow
from pulse.simulator.history import HISTORY_MINUTES, MINUTE_MS, shared_history
from pulse.simulator.instruments import SimulatedInstrument

DIFF_MS = 100  # the period of a depth diff
CANDLE_UPDATE_MS = 2000  # the period of live candle updates
TOP_LEVELS = 20  # levels of a partial depth stream
AGG_TRADES_KEPT = 20_000  # live aggregate trades available to later requests
SESSION_CANDLES_KEPT = 1500  # closed candles of the session
DIFF_ENDS_KEPT = 1024  # ends of diffs kept, with their time, for lagging snapshots


class Retention(NamedTuple):
    """How far back a market answers: minutes before the session, and aggregate trades of the session."""

    history_minutes: int = HISTORY_MINUTES
    agg_trades: int = AGG_TRADES_KEPT

    @property
    def candles(self) -> int:
        """Closed candles, history included."""
        return self.history_minutes + SESSION_CANDLES_KEPT


DEFAULT_RETENTION = Retention()


class BestPriceChange(NamedTuple):
    """The best bid and ask after a change, each as (ticks, lots)."""

    at_ms: int
    update_id: int
    bid: LevelLots
    ask: LevelLots


class DepthUpdate(NamedTuple):
    """A depth diff and the best levels at its end. `diff` is None when nothing changed."""

    at_ms: int
    diff: BookDiff | None
    update_id: int
    bids: tuple[LevelLots, ...]
    asks: tuple[LevelLots, ...]


class TradeMade(NamedTuple):
    """One aggregate trade."""

    at_ms: int
    trade: AggregateTrade


class CandleUpdate(NamedTuple):
    """The live candle, or the one that just closed."""

    at_ms: int
    candle: MinuteCandle
    closed: bool


MarketEvent = BestPriceChange | DepthUpdate | TradeMade | CandleUpdate


class SimulatedMarket:
    """One symbol from `start_ms` on. While `trading` is False no orders arrive and minutes leave no candle."""

    def __init__(
        self, instrument: SimulatedInstrument, seed: int, start_ms: int, phase: int = 0,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:  # fmt: skip
        """Start the session; `phase` offsets this symbol's diffs and candle updates from the other symbols'."""
        self.instrument = instrument
        self.trading = True
        opened_ms = start_ms - start_ms % MINUTE_MS
        self.history = shared_history(instrument, seed, opened_ms, retention.history_minutes)
        self.book = SimulatedBook(instrument.first_update_id)
        self.live_candle = flat_candle(opened_ms, instrument.start_ticks)
        self.closed_candles: deque[MinuteCandle] = deque(self.history.candles, maxlen=retention.candles)
        self.agg_trades_kept: deque[AggregateTrade] = deque(maxlen=retention.agg_trades)
        self.diff_ends: deque[tuple[int, int]] = deque(maxlen=DIFF_ENDS_KEPT)  # (time, final update id)
        self._next_agg_id = instrument.first_agg_id
        self._next_trade_id = instrument.first_trade_id
        rng = random.Random(f"{seed}/{instrument.symbol}/flow")
        self._flow = OrderFlow(instrument, rng, self.book, opened_ms)
        self._last_best = (self.book.best(BID), self.book.best(ASK))
        self._last_top = (self.book.top(BID, TOP_LEVELS), self.book.top(ASK, TOP_LEVELS))  # at the last diff
        self._order_time_ms = float(opened_ms)
        self._next_order_ms = self._draw_order_time_ms()
        self._next_diff_ms = opened_ms + 1 + phase * 37 % DIFF_MS
        self._next_candle_ms = opened_ms + 1 + phase * 673 % CANDLE_UPDATE_MS
        # The session's first minute is simulated from its open, so that its candle has all its trades.
        self.advance(start_ms)

    def advance(self, to_ms: int) -> list[MarketEvent]:
        """Advance to a time, inclusive, and return the events in order."""
        events: list[MarketEvent] = []
        while True:
            boundary_ms = min(self._next_diff_ms, self._next_candle_ms, self.live_candle.open_ms + MINUTE_MS)
            until_ms = min(boundary_ms, to_ms)
            # A minute's boundary belongs to the next minute: its orders wait until the candle has closed.
            last_ms = min(until_ms, self.live_candle.open_ms + MINUTE_MS - 1)
            while self._next_order_ms <= last_ms:
                self._run_order(self._next_order_ms, events)
                self._next_order_ms = self._draw_order_time_ms()
            if boundary_ms > to_ms:
                return events
            self._pass_boundary(boundary_ms, events)

    def shift_value(self, share: float) -> None:
        """Change the fair value by this share."""
        self._flow.shift_value(share)

    def agg_trades_from(self, agg_id: int, count: int) -> list[AggregateTrade]:
        """Return aggregate trades from an id on, oldest first, from the history and the trades kept of the session."""
        found = list(islice(self.history.trades(agg_id), count)) if agg_id < self.instrument.first_agg_id else []
        live = islice(self.agg_trades_kept, max(0, agg_id - self._oldest_agg_id), None)
        found.extend(islice(live, count - len(found)))
        return found

    def agg_id_at(self, time_ms: int) -> int:
        """Return the id of the first aggregate trade at or after a time, the next id when there is none."""
        if self.agg_trades_kept and time_ms > self.agg_trades_kept[0].time_ms:
            return next((p.agg_id for p in self.agg_trades_kept if p.time_ms >= time_ms), self._next_agg_id)
        start = self.history.agg_id_at(time_ms)
        return next((p.agg_id for p in self.history.trades(start) if p.time_ms >= time_ms), self._oldest_agg_id)

    @property
    def next_agg_id(self) -> int:
        """The id of the next aggregate trade."""
        return self._next_agg_id

    @property
    def _oldest_agg_id(self) -> int:
        return self._next_agg_id - len(self.agg_trades_kept)

    def _draw_order_time_ms(self) -> int:
        self._order_time_ms += self._flow.wait_ms()
        return math.ceil(self._order_time_ms)

    def _run_order(self, now_ms: int, events: list[MarketEvent]) -> None:
        if not self.trading:
            return
        for side, fill in self._flow.next_order(now_ms):
            trade = AggregateTrade(now_ms, self._next_agg_id, fill.ticks, fill.fills, self._next_trade_id, side == BID)
            self._next_agg_id += 1
            self._next_trade_id += len(fill.fills)
            self.agg_trades_kept.append(trade)
            self.live_candle.add(trade)
            events.append(TradeMade(now_ms, trade))
        best = (self.book.best(BID), self.book.best(ASK))
        if best != self._last_best:
            self._last_best = best
            events.append(BestPriceChange(now_ms, self.book.update_id, *best))

    def _pass_boundary(self, now_ms: int, events: list[MarketEvent]) -> None:
        event: MarketEvent
        if now_ms == self.live_candle.open_ms + MINUTE_MS:
            event = CandleUpdate(now_ms, self.live_candle, closed=True)
            if self.trading or self.live_candle.count:  # as on the exchange: no candle while trading is suspended
                self.closed_candles.append(self.live_candle)
            self.live_candle = flat_candle(now_ms, self.live_candle.close)
        elif now_ms == self._next_diff_ms:
            self._next_diff_ms += DIFF_MS
            event = self._depth_update(now_ms)
        else:
            self._next_candle_ms += CANDLE_UPDATE_MS
            event = CandleUpdate(now_ms, replace(self.live_candle), closed=False)
        # Changes from just before a break are still sent: a diff held back would be a permanent gap.
        if self.trading or (isinstance(event, DepthUpdate) and event.diff is not None):
            events.append(event)

    def _depth_update(self, now_ms: int) -> DepthUpdate:
        diff = self.book.take_diff()
        self.diff_ends.append((now_ms, self.book.update_id))
        if diff is not None:
            self._last_top = (self.book.top(BID, TOP_LEVELS), self.book.top(ASK, TOP_LEVELS))
        return DepthUpdate(now_ms, diff, self.book.update_id, *self._last_top)
