"""The day before the session: a coarse walk of minutes that ends exactly where the live market begins.

Each minute's few trades come from a seed of their own, so that only its candle is kept and its trades can be told
again when somebody asks. Their ids run without a hole into the live ones. Pure: no clock, no I/O.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from operator import mul

from pulse.simulator.candles import Minute, Print
from pulse.simulator.instruments import Instrument

MINUTE_MS = 60_000
HISTORY_MINUTES = 1500  # 25 hours
HISTORIES_KEPT = 16  # built ones that the next session may share
TRADES_PER_MINUTE_MIN = 4
TRADES_PER_MINUTE_MAX = 12
LIVE_VOLUME = 16.0  # what a calm live minute trades, in median orders times changes a second
RETURN_PER_MINUTE = 0.0006  # standard deviation of a calm minute's logarithmic return


class History:
    """Closed minutes up to `end_ms` (a whole minute). Their ids end just below the instrument's first live ones."""

    def __init__(self, instrument: Instrument, seed: int, end_ms: int) -> None:
        self._instrument = instrument
        self._seed = f"{seed}/{instrument.symbol}"
        self._start_ms = end_ms - HISTORY_MINUTES * MINUTE_MS
        rng = random.Random(f"{self._seed}/history")
        self._closes, self._heats = _walk(rng, instrument.start_ticks)
        counts = [rng.randint(TRADES_PER_MINUTE_MIN, TRADES_PER_MINUTE_MAX) for _ in range(HISTORY_MINUTES)]
        # The aggregate id at which each minute begins. Here every aggregate is one trade, so both ids count alike.
        self._first_ids = list(accumulate(counts, initial=instrument.first_agg_id - sum(counts)))
        self._trade_ids_ahead = instrument.first_trade_id - instrument.first_agg_id
        self.minutes = [self._fold(index) for index in range(HISTORY_MINUTES)]

    @property
    def first_agg_id(self) -> int:
        """The oldest aggregate id that there is."""
        return self._first_ids[0]

    def trades(self, from_agg_id: int) -> Iterator[Print]:
        """The trades from an aggregate id on, to the end of the history."""
        index = max(0, bisect_right(self._first_ids, from_agg_id) - 1)
        for minute in range(index, HISTORY_MINUTES):
            yield from (trade for trade in self._minute_trades(minute) if trade.agg_id >= from_agg_id)

    def agg_id_at(self, time_ms: int) -> int:
        """The first id of the minute that holds a time: no later trade has a smaller one."""
        index = (time_ms - self._start_ms) // MINUTE_MS
        return self._first_ids[min(max(index, 0), HISTORY_MINUTES)]

    def _minute_trades(self, index: int) -> Iterator[Print]:
        opened_ms, first_id = self._start_ms + index * MINUTE_MS, self._first_ids[index]
        for number, (offset_ms, ticks, lots, seller) in enumerate(self._drawn(index)):
            agg_id = first_id + number
            trade_id = agg_id + self._trade_ids_ahead
            yield Print(opened_ms + offset_ms, agg_id, ticks, (lots,), trade_id, seller)

    def _fold(self, index: int) -> Minute:
        """The minute's candle. It is what adding each trade would make, at a third of the cost."""
        _, prices, quantities, sellers = zip(*self._drawn(index), strict=True)
        bought = [0 if seller else lots for lots, seller in zip(quantities, sellers, strict=True)]
        first_trade_id = self._first_ids[index] + self._trade_ids_ahead
        return Minute(
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

    def _drawn(self, index: int) -> list[tuple[int, int, int, bool]]:
        """One minute's trades as (time in it, ticks, lots, seller): a bridge from the last close to this one.

        Always the same for the same seed, whenever and in whatever order the minutes are asked for.
        """
        rng = random.Random(f"{self._seed}/{index}")
        count = self._first_ids[index + 1] - self._first_ids[index]
        ticks, goal = self._closes[index], self._closes[index + 1]
        heat = self._heats[index]
        swing = 3.5 * max(1.0, ticks * RETURN_PER_MINUTE * heat / math.sqrt(count))
        # A few trades stand for a live minute's many, so each one is larger.
        lots = self._instrument.order_lots * self._instrument.changes_per_s * heat * LIVE_VOLUME / count
        drawn: list[tuple[int, int, int, bool]] = []
        for number, offset_ms in enumerate(sorted(int(rng.random() * MINUTE_MS) for _ in range(count))):
            left = count - number
            last = ticks
            ticks += round((goal - ticks) / left + ((rng.random() - 0.5) * swing if left > 1 else 0.0))
            ticks = max(ticks, 1)
            seller = ticks < last if ticks != last else rng.random() < 0.5
            drawn.append((offset_ms, ticks, 1 + int(rng.expovariate(1 / lots)), seller))
        return drawn


@lru_cache(maxsize=HISTORIES_KEPT)
def history(instrument: Instrument, seed: int, end_ms: int) -> History:
    """The history of a session, built once: it never changes, so that sessions with the same beginning share it."""
    return History(instrument, seed, end_ms)


def _walk(rng: random.Random, end_ticks: int) -> tuple[list[int], list[float]]:
    """Closing prices (one before the first minute, then one each) and how lively each minute was."""
    price, log_heat = float(end_ticks), 0.0
    closes, heats = [end_ticks], []
    for _ in range(HISTORY_MINUTES):
        log_heat = 0.95 * log_heat + rng.gauss(0, 0.16)
        heat = math.exp(log_heat)
        price *= math.exp(-rng.gauss(0, RETURN_PER_MINUTE * heat))
        closes.append(max(1, round(price)))
        heats.append(heat)
    return closes[::-1], heats[::-1]
