"""The orders of one market: a fair price with drift and bursts, and limit, cancel and market orders around it.

Each call makes one order, drawn from the random generator given. It changes the book and returns the fills; it knows no
ids, no candles and no clock except the milliseconds passed in.
"""

import math
import random

from pulse.simulator.book import ASK, BID, LevelFill, SimulatedBook
from pulse.simulator.instruments import SimulatedInstrument

DRIFT_STEP_MS = 8  # the fair price is updated at most this often
DRIFT_STEP_MAX_MS = 1000  # nor for a longer time at once, as after a break
TREND_MS = 4000.0  # time constant of the fair price's trend
TREND_PER_ROOT_S = 6e-5  # long-run movement of the fair price over one second, as a share of the price
ACTIVITY_MS = 300_000.0  # time constant of the activity level, of busy and quiet periods
ACTIVITY_SPREAD = 0.4  # the standard deviation of its logarithm
EXCITATION_MS = 2000.0  # decay time of the excitation after market orders and bursts
EXCITATION_MAX = 6.0  # the busiest the market gets, in multiples of its calm rate
EXCITATION_PER_ORDER = 0.5  # how many further market orders one excites on average; below 1, so that bursts end
BURST_EVERY_MS = 30_000.0  # mean time between bursts
MARKET_ORDER_SHARE = 0.045  # of calm orders, how many are market orders
QUOTE_SHARE = 0.24  # of calm orders, how many are limit orders at the fair price
MARKET_ORDER_SIZE = 0.9  # of market orders, in median orders
CORRECTION_SIZE = 1.2
NO_LIMIT = 10**18
CORRECTION_TAKE_SHARE = 0.3  # of orders on the wrong side of the fair price, how many are taken; the rest are cancelled
SWEEP_LEVELS_MAX = 40  # the bound of a market order in levels
SWEEP_SHARE = 6e-4  # and in price, as a share of it
LEVELS_MIN = 50  # a side this thin gets no market orders and no cancels
VALUE_TICKS_MIN = 200.0  # the price never falls so low that a side would run out of ticks
STEP_SHARE = 1.5e-5  # the smallest movement of the value that quotes follow
FAR_SHARE = 0.12  # how far from the price an order may rest, as a share of it
NEAR_POWER = 3.5  # how strongly orders concentrate near the best price
LARGE_ORDER_SHARE = 0.004  # of resting orders, how many are very large
LARGE_ORDER_SIZE = 40


class OrderFlow:
    """Orders for one book from `start_ms` on. The book is filled at construction."""

    def __init__(self, instrument: SimulatedInstrument, rng: random.Random, book: SimulatedBook, start_ms: int) -> None:
        self._instrument = instrument
        self._rng = rng
        self._book = book
        self._value = instrument.start_ticks + 0.5  # the fundamental value
        self._fair_price = self._value  # the value that orders follow, updated in steps
        self._trend = 0.0  # share of the price per millisecond
        self._log_activity = 0.0  # slow changes of the order rate; excitation is added to it
        self._excitation = 0.0
        self._last_ms = start_ms
        self._excitation_step = (
            EXCITATION_PER_ORDER * 1000 / (EXCITATION_MS * instrument.changes_per_s * MARKET_ORDER_SHARE)
        )
        self._fill_book()

    def wait_ms(self) -> float:
        """Return the time to the next order in ms: shorter after recent activity."""
        pace = self._instrument.changes_per_s * math.exp(self._log_activity) * (1 + self._excitation)
        return self._rng.expovariate(pace / 1000)

    def next_order(self, now_ms: int) -> list[tuple[int, LevelFill]]:
        """Make one order. Return its fills as (side of the book that was taken from, fill) pairs."""
        self._drift(now_ms)
        bids, asks = self._book.sides
        if -asks.keys[-1] < self._fair_price:
            return self._correct_best(ASK)
        if bids.keys[-1] > self._fair_price:
            return self._correct_best(BID)
        draw = self._rng.random()
        if draw < MARKET_ORDER_SHARE:
            return self._market_order()
        if draw < MARKET_ORDER_SHARE + QUOTE_SHARE:
            self._quote()
        else:
            self._add_or_cancel()
        return []

    def shift_value(self, share: float) -> None:
        """Change the value by this share at once; the orders follow one by one."""
        self._value = max(self._value * (1 + share), VALUE_TICKS_MIN)

    def _drift(self, now_ms: int) -> None:
        """Move the fair price along its trend, and the trend itself (an Ornstein-Uhlenbeck process)."""
        passed_ms = min(now_ms - self._last_ms, DRIFT_STEP_MAX_MS)
        if passed_ms < DRIFT_STEP_MS:
            return
        self._last_ms = now_ms
        rng = self._rng
        self._excitation *= math.exp(-passed_ms / EXCITATION_MS)
        self._log_activity += ACTIVITY_SPREAD * math.sqrt(2 * passed_ms / ACTIVITY_MS) * rng.gauss(0, 1)
        self._log_activity -= self._log_activity * min(1.0, passed_ms / ACTIVITY_MS)
        trend_step = TREND_PER_ROOT_S / math.sqrt(1000) / TREND_MS * (1 + 0.15 * self._excitation)
        self._trend += trend_step * math.sqrt(passed_ms) * rng.gauss(0, 1) - self._trend * min(
            1.0, passed_ms / TREND_MS
        )
        if rng.random() < passed_ms / BURST_EVERY_MS:
            self._excitation = min(EXCITATION_MAX, self._excitation + rng.uniform(1.5, 4))
            self._trend += rng.choice((-1, 1)) * rng.uniform(1, 3) * trend_step * math.sqrt(TREND_MS)
        self._value = max(self._value * (1 + self._trend * passed_ms), VALUE_TICKS_MIN)
        # Quotes follow in steps, not continuously: between steps the spread has time to close.
        if abs(self._value - self._fair_price) > max(0.6, STEP_SHARE * self._value):
            self._fair_price = self._value

    def _correct_best(self, side: int) -> list[tuple[int, LevelFill]]:
        """Take or cancel an order of this side's best level, which is on the wrong side of the fair price."""
        own = self._book.sides[side]
        if len(own.keys) <= LEVELS_MIN + SWEEP_LEVELS_MAX:
            self._add(side)
            return []
        if self._rng.random() < CORRECTION_TAKE_SHARE:
            limit = math.ceil(self._fair_price) if side == BID else -math.floor(self._fair_price)
            return self._sweep(side, self._lots(CORRECTION_SIZE), limit)
        key = own.keys[-1]
        self._book.cancel(side, key, self._rng.randrange(len(own.orders[key])))
        return []

    def _market_order(self) -> list[tuple[int, LevelFill]]:
        """Make a market order of either side, more often with the trend than against it."""
        buy_bias = math.tanh(self._trend * TREND_MS / TREND_PER_ROOT_S)
        side = ASK if self._rng.random() < 0.5 + 0.35 * buy_bias else BID
        self._excitation = min(EXCITATION_MAX, self._excitation + self._excitation_step)
        return self._sweep(side, self._lots(MARKET_ORDER_SIZE), -NO_LIMIT)

    def _sweep(self, side: int, lots: int, worst_key: int) -> list[tuple[int, LevelFill]]:
        keys = self._book.sides[side].keys
        if len(keys) <= LEVELS_MIN + SWEEP_LEVELS_MAX:
            return []
        deepest = max(keys[-SWEEP_LEVELS_MAX], keys[-1] - max(2, int(SWEEP_SHARE * self._fair_price)))
        fills = self._book.match(side, lots, max(worst_key, deepest))
        return [(side, fill) for fill in fills]

    def _quote(self) -> None:
        """Add a limit order close to the fair price, which moves the best price back to it."""
        side = BID if self._rng.random() < 0.5 else ASK
        distance = int(self._rng.expovariate(1.2))
        key = (math.floor(self._fair_price) if side == BID else -math.floor(self._fair_price) - 1) - distance
        key = min(key, -self._book.sides[1 - side].keys[-1] - 1)
        self._book.add(side, key, self._lots(1.0))

    def _add_or_cancel(self) -> None:
        """Add or cancel an order behind the best price, so that the side keeps about its number of levels."""
        side = BID if self._rng.random() < 0.5 else ASK
        levels = len(self._book.sides[side].keys)
        shortfall = (self._instrument.levels - levels) / self._instrument.levels
        # A quarter above the intended number of levels nothing is added: that bounds the book.
        if levels <= LEVELS_MIN or self._rng.random() < 0.5 + 2 * shortfall:
            self._add(side)
            return
        key = self._near_key(side)
        self._book.cancel(side, key, self._rng.randrange(len(self._book.sides[side].orders[key])))

    def _add(self, side: int) -> None:
        rng, own = self._rng, self._book.sides[side]
        draw = rng.random()
        if draw < 0.03:
            farthest = math.log(FAR_SHARE * self._fair_price)
            key = own.keys[-1] - int(math.exp(rng.random() * farthest))
        elif draw < 0.5:
            key = self._near_key(side)
        else:
            index = self._near_index(side)
            gap = own.keys[index] - own.keys[max(0, index - 1)]
            key = own.keys[index] - rng.randint(0, gap)
        if (key > 0) == (side == BID):  # a bid at or below zero is impossible
            self._book.add(side, key, self._lots(1.0))

    def _near_index(self, side: int) -> int:
        levels = len(self._book.sides[side].keys)
        return levels - 1 - int(levels * self._rng.random() ** NEAR_POWER)

    def _near_key(self, side: int) -> int:
        return self._book.sides[side].keys[self._near_index(side)]

    def _lots(self, scale: float) -> int:
        lots = self._instrument.order_lots * scale * self._rng.lognormvariate(0, 1.1)
        if self._rng.random() < LARGE_ORDER_SHARE:
            lots *= LARGE_ORDER_SIZE
        return max(1, int(lots))

    def _fill_book(self) -> None:
        """Fill the initial book: gaps between levels widen with the distance from the price."""
        start = self._instrument.start_ticks
        for side, key in ((BID, start), (ASK, -start - 1)):
            far = FAR_SHARE * start
            # Distances grow as a power of the level's number, so that most levels are near.
            spread = far / self._instrument.levels**2.2
            for number in range(self._instrument.levels):
                self._book.add(side, key, self._lots(1.0))
                gap = spread * 2.2 * (number + 1) ** 1.2
                key -= 1 + int(self._rng.expovariate(1 / gap))
                if (key > 0) != (side == BID):
                    break
        self._book.clear_changes()
