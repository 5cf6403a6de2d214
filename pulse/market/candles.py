"""One-minute candles from trades, aligned to the exchange's minutes: whole, or left to the exchange's own candle.

Rules:
1. A trade belongs to the minute of its exchange time. Trade ids are contiguous, so a repeated one is dropped, and a
   jump, also of the ids of fills, means that the minute, and any between, is not whole.
2. A minute is whole when the record of trades reaches back before its start without a jump.
3. A minute without a trade is flat at the previous close, with zero volume.
4. A minute closes with the first trade of a later one, or CLOSE_GRACE_MS of exchange time after its end; after an
   interruption only with the next trade, whose id shows whether any were missed.
5. The exchange's own closed candle replaces a minute that is not whole, and one that differs. One that is equal in
   every field makes ours reconciled.
6. While trading is halted, and from a halt or an interruption on until the next trade, a minute without a trade is no
   candle unless the exchange sends one: its klines have holes where it was halted, a status is learned late or never,
   and contiguous ids do not show that a market was open.
7. A print that the exchange leaves out of its candles has an id like any other, and counts for nothing else.

What may happen next depends on two values, each with its table of transitions: the continuity of the record of trades
(`trade_record.CONTINUITY_TABLE`) and the trading status (`STATUS_TABLE`). They decide:

    continuity     the minute being built closes            and is whole
    UNKNOWN        with a trade of a later one              never
    CONTIGUOUS     with a trade of a later one, or by time  if it opens at `since_ms` or later
    INTERRUPTED    with a trade of a later one              as that trade, which changes the continuity first, decides

    a minute that ends, and the exchange's candle    none so far    equal               different
    not whole                                        nothing        nothing             nothing
    whole, with trades or status TRADING             ours           ours, reconciled    the exchange's, and a mismatch
    whole, flat, status HALTED or UNCONFIRMED        nothing        ours, reconciled    the exchange's, and a mismatch

    a closed candle of the exchange, and ours        equal                  different
    of the minute being built, which is whole        closes the minute      waits for its end: trades are on their way
    of the newest closed candle's minute             ours, reconciled       the exchange's, and a mismatch
    of any other minute                              the exchange's

Sums are integers in units of 1e-8 (1e-16 for price times quantity) of the decimals that the exchange printed, so a
candle's volume has the exchange's digits, whatever its size.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum, auto
from math import isclose
from operator import attrgetter
from typing import NamedTuple

from pulse.market.trade_record import TradeRecord
from pulse.market.types import MINUTE_MS, Aggressor, Candle, CandleMismatch, Price, Trade

CLOSE_GRACE_MS = 2_000
"""Trades arrive at most this long after the exchange's other streams show a later time."""
FLAT_MINUTES_MAX = 1_440
"""A silence longer than a day is not filled minute by minute."""
SCALE = 10**8
DECIMALS = 8
SCALED_EXACTLY_MAX = 2.0**50
"""Below it the double nearest to a decimal of eight places, times SCALE, rounds to the right whole number of units."""
QUOTE_ROUNDING = 1e-8
"""Price times quantity may have sixteen decimals, of which the exchange prints eight: each trade's may be rounded."""
MISMATCHES_MAX = 100
"""Mismatches kept per symbol; older ones are in the log."""


def exact_units(value: float) -> int:
    """Return a printed decimal of at most DECIMALS places in whole units of 1e-8, exactly.

    A double has the digits of any decimal of up to 15; those are the ones that its shortest text shows.
    """
    scaled = value * SCALE
    return round(scaled) if scaled < SCALED_EXACTLY_MAX else int(Decimal(repr(value)).scaleb(DECIMALS))


STAY = None


class TradingStatus(Enum):
    """What is known of the symbol's trading."""

    TRADING = auto()
    HALTED = auto()  # the exchange lists it as not trading
    UNCONFIRMED = auto()  # it may trade, or may have been halted meanwhile: the next trade shows that it does


class StatusRules(NamedTuple):
    """What one status allows, and the status that follows each event; STAY where it remains."""

    makes_flat_minutes: bool  # a minute without a trade is a candle
    on_halt: TradingStatus | None
    on_resume: TradingStatus | None
    on_interruption: TradingStatus | None
    on_trade: TradingStatus | None


TRADING, HALTED, UNCONFIRMED = TradingStatus
STATUS_TABLE: Mapping[TradingStatus, StatusRules] = {
    #                        flat minutes  halt    resume       interruption  trade
    TRADING:     StatusRules(True,         HALTED, STAY,        UNCONFIRMED,  STAY),
    HALTED:      StatusRules(False,        STAY,   UNCONFIRMED, STAY,         STAY),
    UNCONFIRMED: StatusRules(False,        HALTED, STAY,        STAY,         TRADING),
}  # fmt: skip


@dataclass(slots=True)
class _Minute:
    """A minute's sums so far, in the units of SCALE."""

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
        """Add a trade of this minute."""
        price, quantity = trade.price, exact_units(trade.quantity)
        quote = exact_units(price) * quantity
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
        """Return the minute so far."""
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
    """Return a minute without a trade, at the previous close."""
    return _Minute(open_time_ms, price, price, price, price)


def minute_of(time_ms: int) -> int:
    """Return the first millisecond of the minute that holds this time."""
    return time_ms - time_ms % MINUTE_MS


_exact = attrgetter("open", "high", "low", "close", "volume", "trade_count", "taker_buy_volume")
_ids = attrgetter("first_trade_id", "last_trade_id")


def candles_equal(ours: Candle, theirs: Candle) -> bool:
    """Return whether two candles of one minute are equal in every field; trade ids count only where both have them."""
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
    """Build the closed candle of a minute from fetched trades: at least one, and all of that minute."""
    minute = _flat(open_time_ms, trades[0].price)
    for trade in trades:
        if trade.is_market:
            minute.add(trade)
    minute.is_repaired = True
    return minute.candle(symbol, is_closed=True)


class CandleBuilder:
    """Build one symbol's minutes. Takes trades, the exchange's candles and the exchange's time in any order."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._record = TradeRecord()
        self._status = STATUS_TABLE[TRADING]
        self._time_ms = 0
        self._current: _Minute | None = None  # the minute being built
        self._previous: _Minute | None = None  # the one before, for a trade that comes late
        self._last_traded: _Minute | None = None  # the newest one with a trade; those after it are flat
        self._exchange_running: Candle | None = None  # the exchange's newest candle of an unfinished minute
        self._exchange_closed: Candle | None = None  # and of a closed one
        self._newest_closed: Candle | None = None
        self._closed: list[Candle] = []  # not taken yet
        self.mismatches: deque[CandleMismatch] = deque(maxlen=MISMATCHES_MAX)  # newest first
        self.differing = 0

    def interrupt(self) -> None:
        """Allow for missed trades: the connection was cut or silent. The next trade's id shows whether any were.

        Until that trade comes no minute closes by time alone. A halt may have been missed too: with that trade no
        minute before it is flat.
        """
        self._record.on_interruption()
        self._change_status(self._status.on_interruption)

    def restart_ids(self) -> None:
        """Take the next trade whatever its id: the exchange's ids began anew. What lies between is not known."""
        self._record.restart_ids()

    def halt(self) -> None:
        """Leave minutes without a trade to the exchange, until a trade shows that trading goes on."""
        self._change_status(self._status.on_halt)

    def resume(self) -> None:
        """Note that the symbol may trade again. Since when is not known: the next trade shows it."""
        self._change_status(self._status.on_resume)

    def _change_status(self, following: TradingStatus | None) -> None:
        if following is not None:
            self._status = STATUS_TABLE[following]

    def take_closed(self) -> list[Candle]:
        """Return the candles closed since the last call, oldest first; a minute may come again, corrected."""
        closed, self._closed = self._closed, []
        return closed

    def add_mismatch(self, mismatch: CandleMismatch) -> None:
        """Count and keep a mismatch, found here or by a comparison of stored candles.

        Each late trade of one minute may find it again: that minute counts once, with the newest values.
        """
        if self.mismatches and self.mismatches[0].ours.open_time_ms == mismatch.ours.open_time_ms:
            self.mismatches[0] = mismatch
            return
        self.differing += 1
        self.mismatches.appendleft(mismatch)

    def live(self) -> Candle | None:
        """Return the unfinished minute: ours where it is whole, else the exchange's, else None."""
        minute, running = self._current, self._exchange_running
        if minute is not None and self._record.covers(minute.open_time_ms) and self._is_candle(minute):
            return minute.candle(self._symbol, is_closed=False)
        if running is not None and running.open_time_ms >= minute_of(self._time_ms):
            return running
        return None

    def newest_closed(self) -> Candle | None:
        """Return the newest closed candle that was given out."""
        return self._newest_closed

    def on_time(self, exchange_time_ms: int) -> None:
        """Note that the exchange's clock has reached this time, in ms since the epoch; it may close a minute."""
        self._record.on_time(exchange_time_ms)
        self._time_ms = max(self._time_ms, exchange_time_ms)
        # After an interruption trades may have been missed, and the price may have changed with them.
        if self._record.rules.closes_minutes:
            self._close_until(minute_of(self._time_ms - CLOSE_GRACE_MS))

    def on_trade(self, trade: Trade) -> None:
        """Take the next trade; a repeated one is ignored."""
        if self._record.has(trade):
            return
        self._record.on_trade(trade)
        start_ms = minute_of(trade.time_ms)
        if self._current is None:
            self._current = _flat(start_ms, trade.price)
        self._close_until(start_ms)
        self._change_status(self._status.on_trade)
        self._time_ms = max(self._time_ms, trade.time_ms)
        if trade.is_market:
            self._add(trade, start_ms, self._current)

    def on_exchange_candle(self, candle: Candle) -> None:
        """Take the exchange's own candle of a minute, running or closed."""
        if not candle.is_closed:
            self._exchange_running = candle
            return
        self._exchange_closed, self._exchange_running = candle, None
        minute = self._current
        if (
            minute is not None
            and minute.open_time_ms == candle.open_time_ms
            and self._record.covers(candle.open_time_ms)
        ):
            if candles_equal(minute.candle(self._symbol, is_closed=True), candle):
                self._close_until(candle.open_time_ms + MINUTE_MS)
            return
        self._take_exchange_candle(candle)
        if minute is None or minute.open_time_ms <= candle.open_time_ms:
            self._previous = self._last_traded = None
            self._current = _flat(candle.open_time_ms + MINUTE_MS, candle.close)

    def _take_exchange_candle(self, theirs: Candle) -> None:
        """Reconcile the newest closed candle with the exchange's, or give out the exchange's."""
        ours = self._newest_closed
        if ours is None or ours.open_time_ms != theirs.open_time_ms:
            self._emit(theirs)
        elif not candles_equal(ours, theirs):
            self.add_mismatch(CandleMismatch(ours, theirs, self._time_ms))
            self._emit(theirs)
        elif not ours.reconciled:
            self._emit(replace(ours, reconciled=True))

    def _is_candle(self, minute: _Minute) -> bool:
        """Return whether a minute that is whole is a candle: with trades, or flat while trading or by the exchange."""
        theirs = self._exchange_closed
        has_exchange_candle = theirs is not None and theirs.open_time_ms == minute.open_time_ms
        return self._status.makes_flat_minutes or minute.trade_count > 0 or has_exchange_candle

    def _close_until(self, start_ms: int) -> None:
        """Close minutes until the one that starts here is being built."""
        minute = self._current
        if minute is None or start_ms <= minute.open_time_ms:
            return
        if (start_ms - minute.open_time_ms) // MINUTE_MS > FLAT_MINUTES_MAX:
            self._close(minute)
            minute = _flat(start_ms, minute.close)
        while minute.open_time_ms < start_ms:
            self._close(minute)
            self._previous = minute
            minute = _flat(minute.open_time_ms + MINUTE_MS, minute.close)
        self._current = minute

    def _close(self, minute: _Minute) -> None:
        """Give out a minute that has ended, by the table at the head of this file."""
        if not self._record.covers(minute.open_time_ms) or not self._is_candle(minute):
            return
        ours, theirs = minute.candle(self._symbol, is_closed=True), self._exchange_closed
        if theirs is None or theirs.open_time_ms != minute.open_time_ms:
            self._emit(ours)
        elif candles_equal(ours, theirs):
            self._emit(replace(ours, reconciled=True))
        else:
            self.add_mismatch(CandleMismatch(ours, theirs, self._time_ms))
            self._emit(theirs)

    def _add(self, trade: Trade, start_ms: int, minute: _Minute) -> None:
        """Add a trade to its minute, which may be the one being built, or one that was given out already."""
        previous, traded = self._previous, self._last_traded
        if start_ms == minute.open_time_ms:
            minute.add(trade)
            self._last_traded = minute
        elif minute.trade_count == 0 and traded is not None and traded.open_time_ms <= start_ms:
            self._add_to_flat_minutes(trade, start_ms, traded, minute)
        elif previous is not None and start_ms == previous.open_time_ms:
            previous.add(trade)
            self._close(previous)

    def _add_to_flat_minutes(self, trade: Trade, start_ms: int, traded: _Minute, minute: _Minute) -> None:
        """Correct minutes that were given out as flat: this late trade belongs to one of them."""
        late = traded if traded.open_time_ms == start_ms else _flat(start_ms, traded.close)
        late.add(trade)
        self._current = self._last_traded = late
        self._previous = None
        self._close_until(minute.open_time_ms)

    def _emit(self, candle: Candle) -> None:
        """Queue a closed candle for `take_closed`."""
        self._closed.append(candle)
        if self._newest_closed is None or candle.open_time_ms >= self._newest_closed.open_time_ms:
            self._newest_closed = candle
