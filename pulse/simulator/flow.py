"""The orders of one market: a fair price that drifts and bursts, and the limit, cancel and market orders around it.

Each call is one order, drawn from the one random generator it was given. It changes the book and says what traded;
it knows no ids, no candles and no clock but the milliseconds it is told.
"""

import math
import random

from pulse.simulator.book import ASK, BID, Book, Take
from pulse.simulator.instruments import Instrument

DRIFT_STEP_MS = 8  # the fair price is worked out no more often than this
DRIFT_STEP_MAX_MS = 1000  # nor for a longer time at once, as after a break
TREND_MS = 4000.0  # how long the fair price keeps a direction
TREND_PER_ROOT_S = 6e-5  # the fair price's long-run movement, as a share of the price, over one second
MOOD_MS = 300_000.0  # how long a busy or a quiet spell lasts
MOOD_SPREAD = 0.4  # its strength: the standard deviation of the pace's logarithm
HEAT_MS = 2000.0  # how long excitement lasts
HEAT_MAX = 6.0  # the busiest the market gets, in multiples of its calm pace
HEAT_OF_TAKES = 0.5  # how many further takes one take excites on average; below 1, so that bursts end
BURST_EVERY_MS = 30_000.0  # mean time between news
TAKE_SHARE = 0.045  # of calm orders, how many are market orders
QUOTE_SHARE = 0.24  # of calm orders, how many are placed at the fair price
TAKE_SIZE = 0.9  # of market orders, in median orders
CHASE_SIZE = 1.2
NO_LIMIT = 10**18
CHASE_TAKE_SHARE = 0.3  # of the orders on the wrong side of the fair price, how many are taken; the rest leave
SWEEP_LEVELS_MAX = 40  # a market order goes no deeper, neither in levels
SWEEP_SHARE = 6e-4  # nor in price, as a share of it
LEVELS_MIN = 50  # a side this thin is left alone by takers and cancels
VALUE_TICKS_MIN = 200.0  # the price never falls so low that a side would run out of ticks
STEP_SHARE = 1.5e-5  # the least movement of the value that participants follow
FAR_SHARE = 0.12  # how far from the price an order may rest, as a share of it
NEAR_POWER = 3.5  # how strongly orders gather near the best price
WALL_SHARE = 0.004  # of resting orders, how many are very large
WALL_SIZE = 40


class Flow:
    """Orders for one book from `start_ms` on. The book is filled at construction."""

    def __init__(self, instrument: Instrument, rng: random.Random, book: Book, start_ms: int) -> None:
        self._instrument = instrument
        self._rng = rng
        self._book = book
        self._value = instrument.start_ticks + 0.5  # what the market would be worth
        self._fair = self._value  # what its participants act on
        self._trend = 0.0  # share of the price per millisecond
        self._mood = 0.0  # of this spell; excitement comes on top of it
        self._heat = 0.0
        self._last_ms = start_ms
        self._heat_of_take = HEAT_OF_TAKES * 1000 / (HEAT_MS * instrument.changes_per_s * TAKE_SHARE)
        self._fill_book()

    def wait_ms(self) -> float:
        """The time to the next order: shorter the more has just been going on."""
        pace = self._instrument.changes_per_s * math.exp(self._mood) * (1 + self._heat)
        return self._rng.expovariate(pace / 1000)

    def order(self, now_ms: int) -> list[tuple[int, Take]]:
        """One order. What it traded: the side of the book that was taken from, and what at each price."""
        self._drift(now_ms)
        bids, asks = self._book.sides
        if -asks.keys[-1] < self._fair:
            return self._chase(ASK)
        if bids.keys[-1] > self._fair:
            return self._chase(BID)
        choice = self._rng.random()
        if choice < TAKE_SHARE:
            return self._take()
        if choice < TAKE_SHARE + QUOTE_SHARE:
            self._quote()
        else:
            self._churn()
        return []

    def news(self, share: float) -> None:
        """The value changes by this share at once; orders go after it one by one."""
        self._value = max(self._value * (1 + share), VALUE_TICKS_MIN)

    def _drift(self, now_ms: int) -> None:
        """Move the fair price along its trend, and the trend along its own way (an Ornstein-Uhlenbeck process)."""
        passed_ms = min(now_ms - self._last_ms, DRIFT_STEP_MAX_MS)
        if passed_ms < DRIFT_STEP_MS:
            return
        self._last_ms = now_ms
        rng = self._rng
        self._heat *= math.exp(-passed_ms / HEAT_MS)
        self._mood += MOOD_SPREAD * math.sqrt(2 * passed_ms / MOOD_MS) * rng.gauss(0, 1)
        self._mood -= self._mood * min(1.0, passed_ms / MOOD_MS)
        push = TREND_PER_ROOT_S / math.sqrt(1000) / TREND_MS * (1 + 0.15 * self._heat)
        self._trend += push * math.sqrt(passed_ms) * rng.gauss(0, 1) - self._trend * min(1.0, passed_ms / TREND_MS)
        if rng.random() < passed_ms / BURST_EVERY_MS:
            self._heat = min(HEAT_MAX, self._heat + rng.uniform(1.5, 4))
            self._trend += rng.choice((-1, 1)) * rng.uniform(1, 3) * push * math.sqrt(TREND_MS)
        self._value = max(self._value * (1 + self._trend * passed_ms), VALUE_TICKS_MIN)
        # Quotes follow in steps, not continuously: between steps the spread has time to close.
        if abs(self._value - self._fair) > max(0.6, STEP_SHARE * self._value):
            self._fair = self._value

    def _chase(self, side: int) -> list[tuple[int, Take]]:
        """The best of this side is on the wrong side of the fair price: somebody takes it, or it leaves."""
        mine = self._book.sides[side]
        if len(mine.keys) <= LEVELS_MIN + SWEEP_LEVELS_MAX:
            self._add(side)
            return []
        if self._rng.random() < CHASE_TAKE_SHARE:
            limit = math.ceil(self._fair) if side == BID else -math.floor(self._fair)
            return self._sweep(side, self._lots(CHASE_SIZE), limit)
        key = mine.keys[-1]
        self._book.cancel(side, key, self._rng.randrange(len(mine.orders[key])))
        return []

    def _take(self) -> list[tuple[int, Take]]:
        """A market order of either side, more often with the trend than against it."""
        lean = math.tanh(self._trend * TREND_MS / TREND_PER_ROOT_S)
        side = ASK if self._rng.random() < 0.5 + 0.35 * lean else BID
        self._heat = min(HEAT_MAX, self._heat + self._heat_of_take)
        return self._sweep(side, self._lots(TAKE_SIZE), -NO_LIMIT)

    def _sweep(self, side: int, lots: int, worst_key: int) -> list[tuple[int, Take]]:
        keys = self._book.sides[side].keys
        if len(keys) <= LEVELS_MIN + SWEEP_LEVELS_MAX:
            return []
        deepest = max(keys[-SWEEP_LEVELS_MAX], keys[-1] - max(2, int(SWEEP_SHARE * self._fair)))
        takes = self._book.take(side, lots, max(worst_key, deepest))
        return [(side, take) for take in takes]

    def _quote(self) -> None:
        """A limit order close to the fair price, which is what moves the best price back to it."""
        side = BID if self._rng.random() < 0.5 else ASK
        away = int(self._rng.expovariate(1.2))
        key = (math.floor(self._fair) if side == BID else -math.floor(self._fair) - 1) - away
        key = min(key, -self._book.sides[1 - side].keys[-1] - 1)
        self._book.rest(side, key, self._lots(1.0))

    def _churn(self) -> None:
        """An order behind the best price comes or goes, such that the side keeps about its number of levels."""
        side = BID if self._rng.random() < 0.5 else ASK
        levels = len(self._book.sides[side].keys)
        full = (self._instrument.levels - levels) / self._instrument.levels
        # At a quarter more levels than intended nothing is added any more: that is the book's bound.
        if levels <= LEVELS_MIN or self._rng.random() < 0.5 + 2 * full:
            self._add(side)
            return
        key = self._near_key(side)
        self._book.cancel(side, key, self._rng.randrange(len(self._book.sides[side].orders[key])))

    def _add(self, side: int) -> None:
        rng, mine = self._rng, self._book.sides[side]
        choice = rng.random()
        if choice < 0.03:
            farthest = math.log(FAR_SHARE * self._fair)
            key = mine.keys[-1] - int(math.exp(rng.random() * farthest))
        elif choice < 0.5:
            key = self._near_key(side)
        else:
            index = self._near_index(side)
            gap = mine.keys[index] - mine.keys[max(0, index - 1)]
            key = mine.keys[index] - rng.randint(0, gap)
        if (key > 0) == (side == BID):  # a bid at or below zero cannot be
            self._book.rest(side, key, self._lots(1.0))

    def _near_index(self, side: int) -> int:
        levels = len(self._book.sides[side].keys)
        return levels - 1 - int(levels * self._rng.random() ** NEAR_POWER)

    def _near_key(self, side: int) -> int:
        return self._book.sides[side].keys[self._near_index(side)]

    def _lots(self, scale: float) -> int:
        lots = self._instrument.order_lots * scale * self._rng.lognormvariate(0, 1.1)
        if self._rng.random() < WALL_SHARE:
            lots *= WALL_SIZE
        return max(1, int(lots))

    def _fill_book(self) -> None:
        """The book before anything happened: gaps between levels that widen with the distance from the price."""
        start = self._instrument.start_ticks
        for side, key in ((BID, start), (ASK, -start - 1)):
            far = FAR_SHARE * start
            # Distances grow like a power of the level's number, so that most levels are near.
            spread = far / self._instrument.levels**2.2
            for number in range(self._instrument.levels):
                self._book.rest(side, key, self._lots(1.0))
                gap = spread * 2.2 * (number + 1) ** 1.2
                key -= 1 + int(self._rng.expovariate(1 / gap))
                if (key > 0) != (side == BID):
                    break
        self._book.settle()
