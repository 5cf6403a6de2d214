"""Whether a frame of the exchange can be true: its values against what is already known of the symbol.

The parser checks form; this checks meaning, before a frame changes anything. A frame that fails is quarantined: it is
not applied, and no later frame is judged by its values. Rules, by what a value is compared with:
1. Times: not ahead of the exchange's clock, as estimated from the times of accepted frames or as shown by its REST
   answers, whichever is later: frames that come late make the estimate too low. Before both the receiver's own date
   counts, which may be set wrong. A trade's own time is near its event's and near the last trade's.
2. Ids: a jump is at most what the exchange can have produced meanwhile. A jump of aggregate ids needs one at least as
   large of the ids inside them.
3. Prices: a trade, a bid and an ask are near one of the newest known prices. The limit lets a fall of 30 % between two
   frames pass.
4. Quantities: below what any market can hold, and a trade not ten thousand times what was seen near the best prices.
5. Candles: the shape of one interval, opened and sent when such an interval can be.
Times, ids and prices may truly change at once: a run of later values that contradict what is known in the same way,
with no frame in between that confirms it, is accepted. Levels of the book are left to its cross-checks, but for
quantities.
Pure: `now_ms` is the receiver's clock from any fixed start, `date` returns what else is known of the exchange's date.
"""

from collections.abc import Callable
from math import inf
from operator import eq
from typing import Any, NamedTuple

from pulse.market.types import (
    MINUTE_MS,
    BookTicker,
    Candle,
    DepthDiff,
    DepthSnapshot,
    ExchangeCandle,
    PartialDepth,
    Price,
    Trade,
)

AHEAD_MAX_MS = 1_500.0
"""How far a time may be ahead of the estimate, less than `candles.CLOSE_GRACE_MS`. In recordings it is 5 ms."""
BEHIND_MAX_MS = 600_000.0
"""A process that was stopped reads frames that are minutes old; a connection does not survive longer stops."""
CLOCKS_DIFFER_MAX_MS = 500.0
"""How far the clocks of the exchange's own machines may differ: one dates its answers, another its frames."""
OWN_DATE_ERROR_MAX_MS = 86_400_000.0
"""How far the first time of all may be from the receiver's own date, while no answer has shown the exchange's: clocks
are set wrong by minutes, and zones by hours. One that is further off must see the time confirmed."""
RISE_MAX_MS = 250.0
"""How much one frame may raise the estimate: one that is false, but within the limit, changes little."""
DECAY, DECAY_MAX_MS = 0.001, 500.0
"""The estimate falls by this share of the time between two frames, up to a bound: no clock drifts faster, and later
frames raise it again."""
TRADE_LAG_MAX_MS = 10_000
"""How long a trade may be older than its event; in recordings 214 ms."""
TRADE_LEAD_MAX_MS = 1_000
TRADE_BACK_MAX_MS = 3_000
"""How much older a trade may be than the one before it; trades come in the order of their times."""

JUMP_MIN, TRADES_PER_S_MAX = 100_000, 20_000
"""Ids that may be missing before a trade, and how many more for each second since the one before."""
AGGREGATED_MAX, AGGREGATED_USUAL = 50_000, 10
"""Trades in one aggregate trade: the largest are some thousands, and over a longer time they are few."""
LEAD_MIN, UPDATES_PER_S_MAX = 100_000, 100_000
"""The same for update ids of the book; the busiest recorded second has 20,000."""

PRICE_FACTOR = 1.5
"""How far a price may be from the nearest known one, as a factor: 1 / 1.5 is a fall of 33 %."""
QUANTITY_MAX = 1e16
"""More than the supply of any coin listed; the largest, of the cheapest coins, are near 1e15."""
QUANTITY_FACTOR = 1e4
QUANTITIES_MIN = 20
"""Quantities that must have been seen before a trade's is compared with them."""

CANDLE_LATE_MAX_MS = 30_000
"""How long after the end of its minute a candle may be sent; in recordings 2 s."""
ROUNDING = 1e-8
"""Rounding of each trade's quote volume by the exchange, and the relative error of sums of doubles."""

CONFIRMED_BY = 3
TIMES_CONFIRMED_BY, FIRST_TIMES_CONFIRMED_BY = 8, CONFIRMED_BY
SETTLED_AFTER_MS = 10_000.0
"""Values in a row that agree with each other and not with what was known: then it has truly changed. Times need more
once a connection has lasted for a while, because then they never jump; two false frames in a row are never enough."""


class _Run:
    """Values in a row that contradict what is known; counted while each agrees with the one before."""

    __slots__ = ("_agrees", "_last", "count")

    def __init__(self, agrees: Callable[[Any, Any], bool]) -> None:
        self._agrees = agrees
        self._last: Any = None
        self.count = 0  # 0 ends a run: a value agreed with what is known

    def add(self, value: Any) -> int:
        """Add a value and return how many agree."""
        self.count = self.count + 1 if self.count and self._agrees(self._last, value) else 1
        self._last = value
        return self.count


class ExchangeDate(NamedTuple):
    """What is known of the exchange's date now, in ms since the epoch, beside the times of frames."""

    earliest_ms: float
    latest_ms: float
    is_measured: bool  # by its REST answers; otherwise both are the receiver's own date

    @classmethod
    def of_machine(cls, wall_ms: float) -> "ExchangeDate":
        """Return the date by a machine's own clock, which may be set wrong."""
        return cls(wall_ms, wall_ms, is_measured=False)

    def allows(self, time_ms: int) -> bool:
        """Return whether a frame may have this time, whatever the times of other frames show."""
        if not self.is_measured:
            return abs(time_ms - self.latest_ms) <= AHEAD_MAX_MS
        return self.earliest_ms - BEHIND_MAX_MS <= time_ms <= self.latest_ms + CLOCKS_DIFFER_MAX_MS

    def allows_first(self, time_ms: int) -> bool:
        """Return whether the first frame of all may have this time."""
        if not self.is_measured:
            return abs(time_ms - self.latest_ms) <= OWN_DATE_ERROR_MAX_MS
        return self.allows(time_ms)


DateOf = Callable[[], ExchangeDate]


class ExchangeTime:
    """Estimates how far the exchange's clock is ahead of ours: the highest of all differences, as delay lowers them.

    Beside the estimate the exchange's date decides, as far as it is known otherwise: frames that come seconds late make
    the estimate too low, and true ones after them must not fail for that.
    """

    def __init__(self) -> None:
        self._ahead_ms: float | None = None
        self._at_ms = 0.0  # when it was estimated
        self._agreed_since_ms: float | None = None  # since when times agree with it, on this connection
        self._contradicting = _Run(lambda last, value: abs(value - last) <= AHEAD_MAX_MS)

    def restart(self) -> None:
        """Begin with a new connection: fewer times confirm that the clocks differ in another way than before."""
        self._agreed_since_ms = None

    def refusal(self, time_ms: int, now_ms: float, date: DateOf) -> str:
        """Return why an event cannot have this time, empty where it can; then it refines the estimate."""
        ahead_ms = time_ms - now_ms
        known_ms = self._ahead_ms
        if known_ms is None:
            difference_ms = time_ms - date().latest_ms
            is_possible, refined_ms = date().allows_first(time_ms), ahead_ms
        else:
            expected_ms = known_ms - min(DECAY * (now_ms - self._at_ms), DECAY_MAX_MS)
            difference_ms = ahead_ms - expected_ms
            is_possible = -BEHIND_MAX_MS <= difference_ms <= AHEAD_MAX_MS
            refined_ms = max(expected_ms, min(ahead_ms, expected_ms + RISE_MAX_MS))
        if is_possible:
            if self._agreed_since_ms is None:
                self._agreed_since_ms = now_ms
        else:
            if not date().allows(time_ms) and self._contradicting.add(ahead_ms) < self._needed(now_ms):
                return f"its time {time_ms} is {difference_ms / 1000:.1f} s from the exchange's clock"
            self._agreed_since_ms, refined_ms = now_ms, ahead_ms
        self._contradicting.count = 0
        self._ahead_ms, self._at_ms = refined_ms, now_ms
        return ""

    def _needed(self, now_ms: float) -> int:
        """Return how many times in a row must contradict the estimate to show that it is wrong."""
        is_settled = self._agreed_since_ms is not None and now_ms - self._agreed_since_ms >= SETTLED_AFTER_MS
        return TIMES_CONFIRMED_BY if is_settled else FIRST_TIMES_CONFIRMED_BY


class Plausibility:
    """Judges the frames of one symbol, in the order of receipt. What it accepts it also remembers."""

    def __init__(self) -> None:
        self._time = ExchangeTime()
        self._trade: Trade | None = None  # the newest
        self._update_id = -1  # the highest, until the stream that it is of goes on below it
        self._update_stream: type = DepthDiff
        self._update_ms = 0.0  # when an update id came last
        self._bid: Price = 0.0  # the newest best prices; 0 while unknown
        self._ask: Price = 0.0
        self._traded: Price = 0.0
        self._ask_min, self._bid_max = 0.0, inf  # the limits that follow from them
        self._largest = [0.0] * CONFIRMED_BY  # quantities near the best prices, of this connection, descending
        self._quantities = 0
        self._trade_ids = _Run(_follows)
        self._lower_trade_ids = _Run(_follows)
        self._trade_lags = _Run(lambda last, lag_ms: abs(lag_ms - last) <= TRADE_LAG_MAX_MS)
        self._candle_close: Price = 0.0  # of the newest candle
        self._flat_closes = _Run(eq)
        self._update_ids = _Run(lambda last, update_id: last <= update_id <= last + LEAD_MIN)
        self._prices = _Run(_is_near)
        self._rules: dict[type, Callable[[Any, float, DateOf], str]] = {
            Trade: self._refuse_trade,
            BookTicker: self._refuse_ticker,
            PartialDepth: self._refuse_partial,
            DepthDiff: self._refuse_diff,
            ExchangeCandle: self._refuse_candle,
        }

    def restart(self) -> None:
        """Begin with a new connection: what was missed before it is unknown."""
        self._time.restart()
        self._update_id = -1
        self._largest, self._quantities = [0.0] * CONFIRMED_BY, 0

    def refusal(self, event: object, now_ms: float, date: DateOf) -> str:
        """Return why an event cannot be true, as a text for people; empty where it can be."""
        return self._rules[type(event)](event, now_ms, date)

    def refuse_snapshot(self, snapshot: DepthSnapshot, now_ms: float) -> str:
        """Return why a fetched snapshot cannot be true; crossed prices are left to the book's checks."""
        bids, asks = snapshot.bids, snapshot.asks
        if max(bids.quantities, default=0.0) > QUANTITY_MAX or max(asks.quantities, default=0.0) > QUANTITY_MAX:
            return f"a quantity above {QUANTITY_MAX:g}"
        has_both = bool(bids.prices and asks.prices)
        reason = self._refuse_price(bids.prices[0], asks.prices[0]) if has_both else ""
        return reason or self.refuse_snapshot_id(snapshot.last_update_id, now_ms)

    def refuse_snapshot_id(self, update_id: int, now_ms: float) -> str:
        """Return why the id of a snapshot cannot be true; before the first frame of a connection any can be."""
        if self._is_id_ahead(update_id, now_ms):
            # However often it is repeated: ids that have truly jumped come by the stream too.
            return f"its update id {update_id} cannot follow on {self._update_id}"
        return ""

    def refuse_fetched(self, trade: Trade, from_ms: int, to_ms: int) -> str:
        """Return why a fetched trade cannot be true that was made between trades of these times."""
        if not from_ms - TRADE_BACK_MAX_MS <= trade.time_ms <= to_ms + TRADE_BACK_MAX_MS:
            return f"it was traded at {trade.time_ms}, not between {from_ms} and {to_ms}"
        if not self._ask_min <= trade.price <= self._bid_max:
            return f"its price {trade.price:g} is far from {self._bid:g} and {self._ask:g}"
        return self._refuse_quantity(trade.quantity)

    # --- one rule for each kind of frame

    def _refuse_trade(self, trade: Trade, now_ms: float, date: DateOf) -> str:
        reason = (
            self._refuse_quantity(trade.quantity)
            or self._refuse_trade_time(trade)
            or self._refuse_trade_id(trade)
            or self._refuse_price(trade.price, trade.price)
            or self._time.refusal(trade.event_time_ms, now_ms, date)
        )
        if reason:
            return reason
        self._note_trade_id(trade)
        if trade.price != self._traded:
            self._note_prices(self._bid, self._ask, trade.price)
        self._note_quantity(trade.quantity)
        return ""

    def _refuse_ticker(self, ticker: BookTicker, now_ms: float, _: DateOf) -> str:
        update_id, bid, bid_quantity, ask, ask_quantity = ticker
        if bid_quantity > QUANTITY_MAX or ask_quantity > QUANTITY_MAX:
            return f"a quantity above {QUANTITY_MAX:g}"
        reason = self._refuse_price(bid, ask) or self._refuse_update_id(update_id, now_ms)
        if not reason:
            self._note_update_id(BookTicker, update_id, now_ms)
            if bid != self._bid or ask != self._ask:
                self._note_prices(bid, ask, self._traded)
            self._note_quantity(bid_quantity if bid_quantity > ask_quantity else ask_quantity)
        return reason

    def _refuse_partial(self, partial: PartialDepth, now_ms: float, _: DateOf) -> str:
        bids, asks = partial.bids, partial.asks
        if max(bids.quantities, default=0.0) > QUANTITY_MAX or max(asks.quantities, default=0.0) > QUANTITY_MAX:
            return f"a quantity above {QUANTITY_MAX:g}"
        has_both = bool(bids.prices and asks.prices)
        reason = self._refuse_price(bids.prices[0], asks.prices[0]) if has_both else ""
        reason = reason or self._refuse_update_id(partial.last_update_id, now_ms)
        if reason:
            return reason
        self._note_update_id(PartialDepth, partial.last_update_id, now_ms)
        if has_both:
            self._note_prices(bids.prices[0], asks.prices[0], self._traded)
            self._note_quantity(max(max(bids.quantities), max(asks.quantities)))
        return ""

    def _refuse_diff(self, diff: DepthDiff, now_ms: float, date: DateOf) -> str:
        bids, asks = diff.bids.quantities, diff.asks.quantities
        if (bids and max(bids) > QUANTITY_MAX) or (asks and max(asks) > QUANTITY_MAX):
            return f"a quantity above {QUANTITY_MAX:g}"
        if diff.final_update_id - diff.first_update_id > LEAD_MIN + UPDATES_PER_S_MAX:
            return f"{diff.final_update_id - diff.first_update_id} update ids in one diff"
        reason = self._refuse_update_id(diff.final_update_id, now_ms)
        reason = reason or self._time.refusal(diff.event_time_ms, now_ms, date)
        if not reason:
            self._note_update_id(DepthDiff, diff.final_update_id, now_ms)
        return reason

    def _refuse_candle(self, event: ExchangeCandle, now_ms: float, date: DateOf) -> str:
        candle = event.candle
        reason = refuse_candle_shape(candle) or _refuse_candle_time(candle, event.event_time_ms)
        reason = reason or self._refuse_candle_price(candle)
        reason = reason or self._time.refusal(event.event_time_ms, now_ms, date)
        if not reason:
            self._candle_close = candle.close
        return reason

    def _refuse_candle_price(self, candle: Candle) -> str:
        """Judge a candle's last price; without a trade it repeats an old one, which the book may have left behind."""
        close = candle.close
        if not candle.trade_count and close in (self._traded, self._candle_close):
            return ""
        reason = self._refuse_price(close, close)
        if not reason:
            self._flat_closes.count = 0
        elif not candle.trade_count and self._flat_closes.add(close) >= CONFIRMED_BY:
            return ""
        return reason

    # --- one rule for each kind of value

    def _refuse_trade_time(self, trade: Trade) -> str:
        """Judge a trade's own time by its event's and by the trade before it.

        A run of trades with about the same lag is accepted: then the exchange itself sends them late.
        """
        lag_ms, last = trade.event_time_ms - trade.time_ms, self._trade
        if -TRADE_LEAD_MAX_MS <= lag_ms <= TRADE_LAG_MAX_MS:
            self._trade_lags.count = 0
        elif self._trade_lags.add(lag_ms) < CONFIRMED_BY:
            return f"it was traded {lag_ms / 1000:.1f} s before it was sent"
        is_later = last is not None and trade.trade_id > last.trade_id
        if is_later and last is not None and trade.time_ms < last.time_ms - TRADE_BACK_MAX_MS:
            return f"it was traded {(last.time_ms - trade.time_ms) / 1000:.1f} s before the trade that it follows on"
        return ""

    def _refuse_trade_id(self, trade: Trade) -> str:
        last = self._trade
        if trade.last_trade_id - trade.first_trade_id >= AGGREGATED_MAX:
            return f"{trade.last_trade_id - trade.first_trade_id + 1} trades in one aggregate trade"
        if last is None or trade.trade_id <= last.trade_id:
            return ""  # repeated, a second one with this id, or ids began anew: TradeSync decides
        missing, missing_inside = trade.trade_id - last.trade_id - 1, trade.first_trade_id - last.last_trade_id - 1
        elapsed_ms = max(0, trade.event_time_ms - last.event_time_ms)
        limit = JUMP_MIN + TRADES_PER_S_MAX * elapsed_ms // 1000
        if missing <= limit and missing <= missing_inside <= limit * AGGREGATED_USUAL:
            self._trade_ids.count = 0
            return ""
        if self._trade_ids.add(trade) >= CONFIRMED_BY:
            return ""
        return f"its id {trade.trade_id} cannot follow on {last.trade_id}"

    def _note_trade_id(self, trade: Trade) -> None:
        """Take a trade as the newest, unless it is not after the last one; a run of those is a new begin."""
        last = self._trade
        if last is None or trade.is_after(last):
            self._lower_trade_ids.count = 0
            self._trade = trade
        elif trade.time_ms > last.time_ms and self._lower_trade_ids.add(trade) >= CONFIRMED_BY:
            self._trade = trade

    def _refuse_update_id(self, update_id: int, now_ms: float) -> str:
        if self._is_id_ahead(update_id, now_ms) and self._update_ids.add(update_id) < CONFIRMED_BY:
            return f"its update id {update_id} cannot follow on {self._update_id}"
        return ""

    def _is_id_ahead(self, update_id: int, now_ms: float) -> bool:
        known = self._update_id
        if update_id <= known + LEAD_MIN or known < 0:
            return False
        return update_id > known + LEAD_MIN + UPDATES_PER_S_MAX * (now_ms - self._update_ms) / 1000

    def _note_update_id(self, stream: type, update_id: int, now_ms: float) -> None:
        # An id that is false, but within the limit, lasts until its stream's next frame.
        if update_id > self._update_id or stream is self._update_stream:
            self._update_id, self._update_stream = update_id, stream
        self._update_ms = now_ms
        self._update_ids.count = 0

    def _refuse_price(self, bid: Price, ask: Price) -> str:
        """Judge a price that can be sold at, `bid`, and one that can be bought at; of a trade both are its price.

        A bid far below and an ask far above the known prices are no contradiction: a side may be thin.
        """
        if bid <= self._bid_max and ask >= self._ask_min:
            self._prices.count = 0
            return ""
        if self._prices.add(bid) >= CONFIRMED_BY:
            self._note_prices(bid, ask, 0.0)
            return ""
        return (
            f"its prices {bid:g} and {ask:g} are far from {self._bid:g} and {self._ask:g}, last traded {self._traded:g}"
        )

    def _note_prices(self, bid: Price, ask: Price, traded: Price) -> None:
        self._bid, self._ask, self._traded = bid, ask, traded
        known = [price for price in (bid, ask, traded) if price]
        self._ask_min, self._bid_max = min(known) / PRICE_FACTOR, max(known) * PRICE_FACTOR

    def _refuse_quantity(self, quantity: float) -> str:
        if quantity > QUANTITY_MAX:
            return f"a quantity above {QUANTITY_MAX:g}"
        # The largest but two: of those that were accepted while nothing was known, two may be false.
        usual = self._largest[-1]
        if self._quantities < QUANTITIES_MIN or quantity <= QUANTITY_FACTOR * usual:
            return ""
        return f"its quantity {quantity:g} is more than {QUANTITY_FACTOR:g} times the largest seen, {usual:g}"

    def _note_quantity(self, quantity: float) -> None:
        self._quantities += 1
        if quantity > self._largest[-1]:
            self._largest = sorted([*self._largest, quantity], reverse=True)[:CONFIRMED_BY]


def _follows(last: Trade, trade: Trade) -> bool:
    return trade.trade_id == last.trade_id + 1


def _is_near(last: Price, price: Price) -> bool:
    return last <= price * PRICE_FACTOR and price <= last * PRICE_FACTOR


def refuse_candle_shape(candle: Candle) -> str:
    """Judge the prices and sums of a candle by each other."""
    if candle.open_time_ms % MINUTE_MS:
        return f"it opens at {candle.open_time_ms}, which is not the start of a minute"
    low, high, volume = candle.low, candle.high, candle.volume
    if not (low <= candle.open <= high and low <= candle.close <= high):
        return "its open or close is not between its low and high"
    if not candle.taker_buy_volume <= volume <= QUANTITY_MAX:
        return "its volume is less than what takers bought, or more than any market can trade"
    if (volume > 0) != (candle.trade_count > 0):
        return f"volume {volume:g} with {candle.trade_count} trades"
    if candle.first_trade_id >= 0 and candle.trade_count > candle.last_trade_id - candle.first_trade_id + 1:
        return f"{candle.trade_count} trades with ids {candle.first_trade_id} to {candle.last_trade_id}"
    rounding = ROUNDING * max(1, candle.trade_count)
    for base, quote in (
        (volume, candle.quote_volume),
        (candle.taker_buy_volume, candle.taker_buy_quote_volume),
    ):
        if not low * base * (1 - ROUNDING) - rounding <= quote <= high * base * (1 + ROUNDING) + rounding:
            return f"quote volume {quote:g} of volume {base:g} at prices from {low:g} to {high:g}"
    return ""


def _refuse_candle_time(candle: Candle, event_time_ms: int) -> str:
    """Judge when a candle opens by when it was sent: within its minute or soon after, a closed one at its end."""
    age_ms = event_time_ms - candle.open_time_ms
    earliest_ms = MINUTE_MS - AHEAD_MAX_MS if candle.is_closed else -AHEAD_MAX_MS
    if earliest_ms <= age_ms <= MINUTE_MS + CANDLE_LATE_MAX_MS:
        return ""
    return f"the minute that opens at {candle.open_time_ms} was sent {age_ms / 1000:.1f} s later"
