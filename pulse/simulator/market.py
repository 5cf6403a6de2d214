"""One symbol's market: orders that arrive, leave and trade around a wandering fair price, millisecond by millisecond.

Everything follows from a seed, a start and the time it is told, so the same session can be lived again in steps of
any size. It yields what happened in ticks and lots; how an exchange prints that is `payloads`' affair.
"""

import math
import random
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from pulse.simulator.book import ASK, BID, Book, BookCut, LevelLots
from pulse.simulator.candles import Minute, Print, flat_minute
from pulse.simulator.flow import Flow
from pulse.simulator.history import MINUTE_MS, history
from pulse.simulator.instruments import Instrument

CUT_MS = 100  # a depth diff covers this long
CANDLE_FRAME_MS = 2000  # a live candle is told this often
TOP_LEVELS = 20  # what a partial depth stream shows
PRINTS_KEPT = 20_000  # live aggregate trades that can be asked for again
MINUTES_KEPT = 3000  # closed candles, history included
CUTS_KEPT = 1024  # how many ends of diffs are remembered, with their time


class BestChange(NamedTuple):
    """The best bid and ask after a change, each as (ticks, lots)."""

    at_ms: int
    update_id: int
    bid: LevelLots
    ask: LevelLots


class Depth(NamedTuple):
    """A depth diff and the best levels at its end. `cut` is None when nothing changed."""

    at_ms: int
    cut: BookCut | None
    update_id: int
    bids: tuple[LevelLots, ...]
    asks: tuple[LevelLots, ...]


class Traded(NamedTuple):
    """One aggregate trade."""

    at_ms: int
    trade: Print


class CandleFrame(NamedTuple):
    """The live candle, or the one that just closed."""

    at_ms: int
    minute: Minute
    closed: bool


Happening = BestChange | Depth | Traded | CandleFrame


class Market:
    """One symbol from `start_ms` on. While `trading` is False nothing happens and minutes leave no candle."""

    def __init__(self, instrument: Instrument, seed: int, start_ms: int, phase: int = 0) -> None:
        """`phase` sets this symbol's diffs and frames apart from the others', as they are on the real exchange."""
        self.instrument = instrument
        self.trading = True
        opened_ms = start_ms - start_ms % MINUTE_MS
        self.history = history(instrument, seed, opened_ms)
        self.book = Book(instrument.first_update_id)
        self.minute = flat_minute(opened_ms, instrument.start_ticks)
        self.minutes: deque[Minute] = deque(self.history.minutes, maxlen=MINUTES_KEPT)
        self.prints: deque[Print] = deque(maxlen=PRINTS_KEPT)
        self.cuts: deque[tuple[int, int]] = deque(maxlen=CUTS_KEPT)  # (time, final update id)
        self._next_agg_id = instrument.first_agg_id
        self._next_trade_id = instrument.first_trade_id
        rng = random.Random(f"{seed}/{instrument.symbol}/flow")
        self._flow = Flow(instrument, rng, self.book, opened_ms)
        self._best = (self.book.best(BID), self.book.best(ASK))
        self._tops = (self.book.top(BID, TOP_LEVELS), self.book.top(ASK, TOP_LEVELS))  # at the last cut
        self._clock = float(opened_ms)
        self._next_order_ms = self._after_order()
        self._next_cut_ms = opened_ms + 1 + phase * 37 % CUT_MS
        self._next_frame_ms = opened_ms + 1 + phase * 673 % CANDLE_FRAME_MS
        # The session's first minute is lived from its open, so that its candle has all its trades.
        self.advance(start_ms)

    def advance(self, to_ms: int) -> list[Happening]:
        """Live up to a time, that millisecond included, and tell what happened, in order."""
        happened: list[Happening] = []
        while True:
            boundary_ms = min(self._next_cut_ms, self._next_frame_ms, self.minute.open_ms + MINUTE_MS)
            until_ms = min(boundary_ms, to_ms)
            # A minute's boundary belongs to the next minute: its orders wait until the candle has closed.
            last_ms = min(until_ms, self.minute.open_ms + MINUTE_MS - 1)
            while self._next_order_ms <= last_ms:
                self._order(self._next_order_ms, happened)
                self._next_order_ms = self._after_order()
            if boundary_ms > to_ms:
                return happened
            self._boundary(boundary_ms, happened)

    def news(self, share: float) -> None:
        """What the market is worth changes by this share."""
        self._flow.news(share)

    def prints_from(self, agg_id: int, count: int) -> list[Print]:
        """Aggregate trades from an id on, oldest first, out of the history and what is kept of the session."""
        found = list(islice(self.history.trades(agg_id), count)) if agg_id < self.instrument.first_agg_id else []
        live = islice(self.prints, max(0, agg_id - self._oldest_agg_id), None)
        found.extend(islice(live, count - len(found)))
        return found

    def agg_id_at(self, time_ms: int) -> int:
        """The id of the first aggregate trade at or after a time, the next one to come when there is none."""
        if self.prints and time_ms > self.prints[0].time_ms:
            return next((p.agg_id for p in self.prints if p.time_ms >= time_ms), self._next_agg_id)
        start = self.history.agg_id_at(time_ms)
        return next((p.agg_id for p in self.history.trades(start) if p.time_ms >= time_ms), self._oldest_agg_id)

    @property
    def next_agg_id(self) -> int:
        """The id that the next aggregate trade will have."""
        return self._next_agg_id

    @property
    def _oldest_agg_id(self) -> int:
        return self._next_agg_id - len(self.prints)

    def _after_order(self) -> int:
        self._clock += self._flow.wait_ms()
        return math.ceil(self._clock)

    def _order(self, now_ms: int, happened: list[Happening]) -> None:
        if not self.trading:
            return
        for side, take in self._flow.order(now_ms):
            trade = Print(now_ms, self._next_agg_id, take.ticks, take.fills, self._next_trade_id, side == BID)
            self._next_agg_id += 1
            self._next_trade_id += len(take.fills)
            self.prints.append(trade)
            self.minute.add(trade)
            happened.append(Traded(now_ms, trade))
        best = (self.book.best(BID), self.book.best(ASK))
        if best != self._best:
            self._best = best
            happened.append(BestChange(now_ms, self.book.update_id, *best))

    def _boundary(self, now_ms: int, happened: list[Happening]) -> None:
        told: Happening
        if now_ms == self.minute.open_ms + MINUTE_MS:
            told = CandleFrame(now_ms, self.minute, closed=True)
            if self.trading or self.minute.count:  # as the exchange has it: no candle where trading was suspended
                self.minutes.append(self.minute)
            self.minute = flat_minute(now_ms, self.minute.close)
        elif now_ms == self._next_cut_ms:
            self._next_cut_ms += CUT_MS
            told = self._cut(now_ms)
        else:
            self._next_frame_ms += CANDLE_FRAME_MS
            told = CandleFrame(now_ms, replace(self.minute), closed=False)
        # What changed just before a break is still told: a diff that is kept back would be a gap for ever.
        if self.trading or (isinstance(told, Depth) and told.cut is not None):
            happened.append(told)

    def _cut(self, now_ms: int) -> Depth:
        cut = self.book.cut()
        self.cuts.append((now_ms, self.book.update_id))
        if cut is not None:
            self._tops = (self.book.top(BID, TOP_LEVELS), self.book.top(ASK, TOP_LEVELS))
        return Depth(now_ms, cut, self.book.update_id, *self._tops)
