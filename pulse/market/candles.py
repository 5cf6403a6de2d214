"""One-minute candles from trades, on the exchange's minute, each known to be whole or left to the exchange's own.

Rules:
1. A trade belongs to the minute of its exchange time. Trade ids are contiguous, so a repeated id is dropped and a
   jump means that the minute, and any between, is not whole.
2. A minute is whole when the record of trades reaches back before its start without a jump.
3. A minute without a trade is flat at the previous close, with zero volume.
4. A minute closes with the first trade of a later one, or CLOSE_GRACE_MS of exchange time after its end; after an
   interruption only with the next trade, whose id tells whether any were missed.
5. The exchange's own closed candle takes the place of a minute that is not whole, and of one that differs. One that
   is equal in every field makes ours reconciled.
6. While trading is halted, and from then on until the next trade, a minute without a trade is claimed by nobody but
   the exchange: its klines have holes there, and contiguous ids do not say that a market was open.
7. A print that the exchange leaves out of its candles has an id like any other, and counts for nothing else.

Sums are integers in units of 1e-8 (1e-16 for price times quantity), so a candle's volume has the exchange's digits.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose
from operator import attrgetter

from pulse.market.types import MINUTE_MS, Aggressor, Candle, CandleMismatch, Price, Trade

CLOSE_GRACE_MS = 2_000
"""Trades reach us at most this long after the exchange's other streams show a later time."""
FLAT_MINUTES_MAX = 1_440
"""A silence longer than a day is not filled minute by minute."""
SCALE = 10**8
QUOTE_ROUNDING = 1e-8
"""Price times quantity may have sixteen decimals, of which the exchange prints eight: each trade's may be rounded."""
MISMATCHES_MAX = 100
"""Mismatches remembered per symbol; older ones are in the log."""


@dataclass(slots=True)
class _Minute:
    """The minute being built."""

    open_time_ms: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: int = 0
    quote_volume: int = 0
    trade_count: int = 0
    taker_buy_volume: int = 0
    taker_buy_quote_volume: int = 0
    first_trade_id: int = -1
    last_trade_id: int = -1
    is_repaired: bool = False

    def add(self, trade: Trade) -> None:
        price, quantity = trade.price, round(trade.quantity * SCALE)
        quote = round(price * SCALE) * quantity
        if self.trade_count == 0:
            self.open = self.high = self.low = price
            self.first_trade_id = trade.first_trade_id
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.last_trade_id = trade.last_trade_id
        self.trade_count += trade.last_trade_id - trade.first_trade_id + 1
        self.is_repaired = self.is_repaired or trade.is_repaired
        self.volume += quantity
        self.quote_volume += quote
        if trade.aggressor is Aggressor.BUYER:
            self.taker_buy_volume += quantity
            self.taker_buy_quote_volume += quote

    def candle(self, symbol: str, is_closed: bool) -> Candle:
        return Candle(
            symbol=symbol,
            open_time_ms=self.open_time_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume / SCALE,
            quote_volume=self.quote_volume / SCALE**2,
            trade_count=self.trade_count,
            taker_buy_volume=self.taker_buy_volume / SCALE,
            taker_buy_quote_volume=self.taker_buy_quote_volume / SCALE**2,
            first_trade_id=self.first_trade_id,
            last_trade_id=self.last_trade_id,
            is_closed=is_closed,
            source="repaired" if self.is_repaired else "live",
            reconciled=False,
        )


def _flat(open_time_ms: int, price: Price) -> _Minute:
    return _Minute(open_time_ms, price, price, price, price)


def minute_of(time_ms: int) -> int:
    """The first millisecond of the minute that holds this time."""
    return time_ms - time_ms % MINUTE_MS


_exact = attrgetter("open", "high", "low", "close", "volume", "trade_count", "taker_buy_volume")
_ids = attrgetter("first_trade_id", "last_trade_id")


def candles_equal(ours: Candle, theirs: Candle) -> bool:
    """Whether two candles of one minute are equal in every field; trade ids only where both tell them."""
    rounding = QUOTE_ROUNDING * max(1, ours.trade_count)
    quotes = (
        (ours.quote_volume, theirs.quote_volume),
        (ours.taker_buy_quote_volume, theirs.taker_buy_quote_volume),
    )
    has_ids = ours.first_trade_id >= 0 and theirs.first_trade_id >= 0
    return (
        _exact(ours) == _exact(theirs)
        and all(isclose(a, b, rel_tol=1e-12, abs_tol=rounding) for a, b in quotes)
        and (not has_ids or _ids(ours) == _ids(theirs))
    )


def candle_of_trades(symbol: str, open_time_ms: int, trades: Sequence[Trade]) -> Candle:
    """The closed minute that trades make which were fetched; there must be one, and all be of that minute."""
    minute = _flat(open_time_ms, trades[0].price)
    for trade in trades:
        if trade.is_market:
            minute.add(trade)
    minute.is_repaired = True
    return minute.candle(symbol, is_closed=True)


class CandleBuilder:
    """Builds one symbol's minutes. Feed it trades, the exchange's candles and the exchange's time, in any mix."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._minute: _Minute | None = None  # the one being built
        self._previous: _Minute | None = None  # the one before, for a trade that comes late
        self._traded: _Minute | None = None  # the newest one with a trade; those after it are flat
        self._whole_since_ms: int | None = None  # the record of trades has no hole from here on
        self._whole_before_ms: int | None = None  # the same as it stood before the connection was cut
        self._last_trade_id = -1
        self._is_halted = False
        self._may_be_flat = True  # whether a minute without a trade was one of trading
        self._time_ms = 0
        self._settled: Candle | None = None  # the newest closed candle given out
        self._running: Candle | None = None  # the exchange's newest account of the unfinished minute
        self._theirs: Candle | None = None  # and of a closed one
        self._closed: list[Candle] = []
        self.mismatches: deque[CandleMismatch] = deque(maxlen=MISMATCHES_MAX)  # newest first
        self.differing = 0

    def interrupt(self) -> None:
        """The connection was cut or silent: trades may be missing, unless the next trade's id follows on the last.

        Until that trade comes no minute closes by time alone.
        """
        if self._whole_since_ms is not None:
            self._whole_before_ms = self._whole_since_ms
        self._whole_since_ms = None

    def halt(self) -> None:
        """The symbol does not trade: minutes without a trade are left to the exchange, until trading is seen again."""
        self._is_halted, self._may_be_flat = True, False

    def resume(self) -> None:
        """The symbol may trade again. Since when is not known: the next trade tells."""
        self._is_halted = False

    def take_closed(self) -> list[Candle]:
        """The candles closed since the last call, oldest first; a minute may come again, corrected."""
        closed, self._closed = self._closed, []
        return closed

    def note(self, mismatch: CandleMismatch) -> None:
        """Two accounts of a minute were found to differ, here or by whoever compares stored ones."""
        self.differing += 1
        self.mismatches.appendleft(mismatch)

    def live(self) -> Candle | None:
        """The unfinished minute: ours where it is whole, else the exchange's, else None."""
        minute, running = self._minute, self._running
        if minute is not None and self._is_whole(minute) and self._is_claimed(minute):
            return minute.candle(self._symbol, is_closed=False)
        if running is not None and running.open_time_ms >= minute_of(self._time_ms):
            return running
        return None

    def newest_closed(self) -> Candle | None:
        """The newest closed minute that was given out."""
        return self._settled

    def on_time(self, exchange_time_ms: int) -> None:
        """The exchange's clock has reached this time, in ms since the epoch."""
        # After a cut only the next trade's id can tell whether others were missed, and the price changed with them.
        if self._whole_since_ms is None and self._whole_before_ms is None:
            self._whole_since_ms = exchange_time_ms
        self._time_ms = max(self._time_ms, exchange_time_ms)
        if self._whole_since_ms is not None:
            self._roll(minute_of(self._time_ms - CLOSE_GRACE_MS))

    def on_trade(self, trade: Trade) -> None:
        """Take the next trade; a repeated one is ignored."""
        if trade.trade_id <= self._last_trade_id:
            return
        self._note_continuity(trade)
        start = minute_of(trade.time_ms)
        if self._minute is None:
            self._minute = _flat(start, trade.price)
        self._roll(start)
        self._may_be_flat = not self._is_halted
        self._time_ms = max(self._time_ms, trade.time_ms)
        if trade.is_market:
            self._add(trade, start, self._minute)

    def on_exchange_candle(self, candle: Candle) -> None:
        """Take the exchange's own account of a minute, running or closed."""
        if not candle.is_closed:
            self._running = candle
            return
        self._theirs, self._running = candle, None
        minute = self._minute
        if minute is not None and minute.open_time_ms == candle.open_time_ms and self._is_whole(minute):
            # Where the two differ, trades are still on their way: the minute's own end will tell.
            if candles_equal(minute.candle(self._symbol, is_closed=True), candle):
                self._roll(candle.open_time_ms + MINUTE_MS)
            return
        if not self._settles(candle):
            self._give(candle)
        if minute is None or minute.open_time_ms <= candle.open_time_ms:
            self._previous = self._traded = None
            self._minute = _flat(candle.open_time_ms + MINUTE_MS, candle.close)

    def _note_continuity(self, trade: Trade) -> None:
        """Move the start of the record without holes, by the trade's id."""
        follows_on = trade.trade_id == self._last_trade_id + 1
        if follows_on and self._whole_before_ms is not None:
            self._whole_since_ms = self._whole_before_ms
        elif self._whole_since_ms is None or (self._last_trade_id >= 0 and not follows_on):
            self._whole_since_ms = trade.time_ms + 1
        self._whole_before_ms = None
        self._last_trade_id = trade.trade_id

    def _is_whole(self, minute: _Minute) -> bool:
        return self._whole_since_ms is not None and minute.open_time_ms >= self._whole_since_ms

    def _is_claimed(self, minute: _Minute) -> bool:
        """Whether there is a candle of this minute: where it had no trade, trading must have gone on, or be told of."""
        theirs = self._theirs
        is_theirs = theirs is not None and theirs.open_time_ms == minute.open_time_ms
        return self._may_be_flat or minute.trade_count > 0 or is_theirs

    def _roll(self, start: int) -> None:
        """Close minutes until the one that starts here is being built."""
        minute = self._minute
        if minute is None or start <= minute.open_time_ms:
            return
        if (start - minute.open_time_ms) // MINUTE_MS > FLAT_MINUTES_MAX:
            self._settle(minute)
            minute = _flat(start, minute.close)
        while minute.open_time_ms < start:
            self._settle(minute)
            self._previous = minute
            minute = _flat(minute.open_time_ms + MINUTE_MS, minute.close)
        self._minute = minute

    def _settle(self, minute: _Minute) -> None:
        """Give out a minute that has ended, where it is whole."""
        if not self._is_whole(minute) or not self._is_claimed(minute):
            return
        ours, theirs = minute.candle(self._symbol, is_closed=True), self._theirs
        if theirs is None or theirs.open_time_ms != minute.open_time_ms:
            self._give(ours)
        elif candles_equal(ours, theirs):
            self._give(replace(ours, reconciled=True))
        else:
            self.note(CandleMismatch(ours, theirs, self._time_ms))
            self._give(theirs)

    def _settles(self, theirs: Candle) -> bool:
        """Whether nothing is to be done about the exchange's account: the newest candle given out already says it."""
        settled = self._settled
        if settled is None or settled.open_time_ms != theirs.open_time_ms:
            return False
        if not candles_equal(settled, theirs):
            self.note(CandleMismatch(settled, theirs, self._time_ms))
            return False
        if not settled.reconciled:
            self._give(replace(settled, reconciled=True))
        return True

    def _add(self, trade: Trade, start: int, minute: _Minute) -> None:
        """Add a trade to its minute, which may be the one being built, or one that was given out already."""
        previous, traded = self._previous, self._traded
        if start == minute.open_time_ms:
            minute.add(trade)
            self._traded = minute
        elif minute.trade_count == 0 and traded is not None and traded.open_time_ms <= start:
            self._add_before_silence(trade, start, traded, minute)
        elif previous is not None and start == previous.open_time_ms:
            previous.add(trade)
            self._settle(previous)

    def _add_before_silence(self, trade: Trade, start: int, traded: _Minute, minute: _Minute) -> None:
        """Correct minutes that were given out as silent: this trade, which came late, was in one of them."""
        late = traded if traded.open_time_ms == start else _flat(start, traded.close)
        late.add(trade)
        self._minute = self._traded = late
        self._previous = None
        self._roll(minute.open_time_ms)

    def _give(self, candle: Candle) -> None:
        self._closed.append(candle)
        if self._settled is None or candle.open_time_ms >= self._settled.open_time_ms:
            self._settled = candle
