"""The day or more before the session: a coarse random walk of minutes that ends exactly where the live market begins.

The trades of each minute come from a seed of their own, so that only the candles are kept and the trades are generated
again on request. Their ids continue without a gap into the live ones. Pure: no clock, no I/O.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from operator import mul

from pulse.simulator.candles import AggregateTrade, MinuteCandle
from pulse.simulator.instruments import SimulatedInstrument

MINUTE_MS = 60_000
HISTORY_MINUTES = 1500  # 25 hours
HISTORIES_KEPT = 16  # cached for the next session with the same start
TRADES_PER_MINUTE_MIN = 4
TRADES_PER_MINUTE_MAX = 12
LIVE_VOLUME = 16.0  # volume of a calm live minute, in median orders times changes per second
RETURN_PER_MINUTE = 0.0006  # standard deviation of a calm minute's logarithmic return


class History:
    """Closed minutes up to `end_ms` (a whole minute). Their ids end just below the instrument's first live ones."""

    def __init__(self, instrument: SimulatedInstrument, seed: int, end_ms: int, minutes: int = HISTORY_MINUTES) -> None:
        self._instrument = instrument
        self._minutes = minutes
        self._seed = f"{seed}/{instrument.symbol}"
        self._start_ms = end_ms - minutes * MINUTE_MS
        rng = random.Random(f"{self._seed}/history")
        self._closes, self._activities = _random_walk(rng, instrument.start_ticks, minutes)
        counts = [rng.randint(TRADES_PER_MINUTE_MIN, TRADES_PER_MINUTE_MAX) for _ in range(minutes)]
        # The aggregate id at which each minute begins. Here every aggregate is one trade, so both ids advance alike.
        self._first_ids = list(accumulate(counts, initial=instrument.first_agg_id - sum(counts)))
        self._trade_id_offset = instrument.first_trade_id - instrument.first_agg_id
        self.candles = [self._candle(index) for index in range(minutes)]

    @property
    def first_agg_id(self) -> int:
        """The oldest aggregate id available."""
        return self._first_ids[0]

    def trades(self, from_agg_id: int) -> Iterator[AggregateTrade]:
        """Yield the trades from an aggregate id on, to the end of the history."""
        index = max(0, bisect_right(self._first_ids, from_agg_id) - 1)
        for minute in range(index, self._minutes):
            yield from (trade for trade in self._minute_trades(minute) if trade.agg_id >= from_agg_id)

    def agg_id_at(self, time_ms: int) -> int:
        """Return the first id of the minute that contains a time: no later trade has a smaller one."""
        index = (time_ms - self._start_ms) // MINUTE_MS
        return self._first_ids[min(max(index, 0), self._minutes)]

    def _minute_trades(self, index: int) -> Iterator[AggregateTrade]:
        opened_ms, first_id = self._start_ms + index * MINUTE_MS, self._first_ids[index]
        for number, (offset_ms, ticks, lots, taker_sold) in enumerate(self._draw_trades(index)):
            agg_id = first_id + number
            trade_id = agg_id + self._trade_id_offset
            yield AggregateTrade(opened_ms + offset_ms, agg_id, ticks, (lots,), trade_id, taker_sold)

    def _candle(self, index: int) -> MinuteCandle:
        """Build the minute's candle. It equals adding each trade, at a third of the cost."""
        _, prices, quantities, taker_sold_flags = zip(*self._draw_trades(index), strict=True)
        bought = [0 if taker_sold else lots for lots, taker_sold in zip(quantities, taker_sold_flags, strict=True)]
        first_trade_id = self._first_ids[index] + self._trade_id_offset
        return MinuteCandle(
            open_ms=self._start_ms + index * MINUTE_MS,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[-1],
            lots=sum(quantities),
            quote=sum(map(mul, prices, quantities)),
            count=len(prices),
            taker_buy_lots=sum(bought),
            taker_buy_quote=sum(map(mul, prices, bought)),
            first_trade_id=first_trade_id,
            last_trade_id=first_trade_id + len(prices) - 1,
        )

    def _draw_trades(self, index: int) -> list[tuple[int, int, int, bool]]:
        """Return one minute's trades as (offset_ms, ticks, lots, taker_sold): a bridge from the last close to this one.

        The result depends on the seed alone, not on the order in which minutes are requested.
        """
        rng = random.Random(f"{self._seed}/{index}")
        count = self._first_ids[index + 1] - self._first_ids[index]
        ticks, target = self._closes[index], self._closes[index + 1]
        activity = self._activities[index]
        noise = 3.5 * max(1.0, ticks * RETURN_PER_MINUTE * activity / math.sqrt(count))
        # A few trades stand for a live minute's many, so each one is larger.
        lots = self._instrument.order_lots * self._instrument.changes_per_s * activity * LIVE_VOLUME / count
        drawn: list[tuple[int, int, int, bool]] = []
        for number, offset_ms in enumerate(sorted(int(rng.random() * MINUTE_MS) for _ in range(count))):
            left = count - number
            last = ticks
            ticks += round((target - ticks) / left + ((rng.random() - 0.5) * noise if left > 1 else 0.0))
            ticks = max(ticks, 1)
            taker_sold = ticks < last if ticks != last else rng.random() < 0.5
            drawn.append((offset_ms, ticks, 1 + int(rng.expovariate(1 / lots)), taker_sold))
        return drawn


@lru_cache(maxsize=HISTORIES_KEPT)
def shared_history(instrument: SimulatedInstrument, seed: int, end_ms: int, minutes: int) -> History:
    """Return the history of a session, built once: it is immutable, so sessions with the same start share it."""
    return History(instrument, seed, end_ms, minutes)


def _random_walk(rng: random.Random, end_ticks: int, minutes: int) -> tuple[list[int], list[float]]:
    """Return closing prices (one before the first minute, then one each) and the activity of each minute."""
    price, log_activity = float(end_ticks), 0.0
    closes, activities = [end_ticks], []
    for _ in range(minutes):
        log_activity = 0.95 * log_activity + rng.gauss(0, 0.16)
        activity = math.exp(log_activity)
        price *= math.exp(-rng.gauss(0, RETURN_PER_MINUTE * activity))
        closes.append(max(1, round(price)))
        activities.append(activity)
    return closes[::-1], activities[::-1]
