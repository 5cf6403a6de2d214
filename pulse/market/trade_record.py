"""The record of trades: whether any can be missing, as a table of states, which decides whether a minute is whole.

Trade ids are contiguous, so the next trade's id shows whether any were missed during an interruption. So do the ids of
the fills: the exchange has used one aggregate id twice, and the first of such two may be the one that was missed.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from pulse.market.types import Trade


class Continuity(Enum):
    """What is known of the record of trades."""

    UNKNOWN = auto()  # there is none yet
    CONTIGUOUS = auto()  # every trade since a known time was received
    INTERRUPTED = auto()  # trades may have been missed: the next trade's id shows whether any were


class Change(NamedTuple):
    """The next continuity, and whether the record begins anew at the event that causes the change."""

    next: Continuity
    begins: bool


BEGIN = Change(Continuity.CONTIGUOUS, begins=True)
RESUME = Change(Continuity.CONTIGUOUS, begins=False)  # nothing was missed: the record reaches back as far as before
INTERRUPT = Change(Continuity.INTERRUPTED, begins=False)
STAY = None


class ContinuityRules(NamedTuple):
    """What one state of the record allows, and what each event changes; STAY where it changes nothing."""

    closes_minutes: bool  # time may close a minute, and one that opens at `since_ms` or later is whole
    on_time: Change | None
    on_interruption: Change | None
    on_next_trade: Change | None  # its ids follow on the last one's; id 0 is the symbol's first trade
    on_first_trade: Change | None  # no trade was received before it
    on_jump: Change | None  # ids between the last trade's and its own are missing; cannot happen while UNKNOWN


UNKNOWN, CONTIGUOUS, INTERRUPTED = Continuity
CONTINUITY_TABLE: Mapping[Continuity, ContinuityRules] = {
    #                            closes minutes  time   interruption  next trade  first trade  jump
    UNKNOWN:     ContinuityRules(False,          BEGIN, STAY,         BEGIN,      BEGIN,       BEGIN),
    CONTIGUOUS:  ContinuityRules(True,           STAY,  INTERRUPT,    STAY,       STAY,        BEGIN),
    INTERRUPTED: ContinuityRules(False,          STAY,  STAY,         RESUME,     BEGIN,       BEGIN),
}  # fmt: skip


class TradeRecord:
    """The record of trades: whether it is contiguous, since when, and the ids that it has reached."""

    __slots__ = ("_last", "rules", "since_ms")

    def __init__(self) -> None:
        self.rules = CONTINUITY_TABLE[UNKNOWN]
        self.since_ms = 0  # exchange time; without a meaning while UNKNOWN, kept while INTERRUPTED
        self._last: Trade | None = None

    def has(self, trade: Trade) -> bool:
        """Return whether a trade is in the record already, by its ids."""
        last = self._last
        return last is not None and trade.trade_id <= last.trade_id and not trade.is_second_of(last)

    def on_time(self, time_ms: int) -> None:
        """Start the record at the first known exchange time."""
        change = self.rules.on_time
        if change is not None:
            self._apply(change, time_ms)

    def on_interruption(self) -> None:
        """Leave it to the next trade's id whether the record goes on."""
        change = self.rules.on_interruption
        if change is not None:
            self._apply(change, 0)

    def on_trade(self, trade: Trade) -> None:
        """Take the next trade, which is after the last one."""
        last, self._last = self._last, trade
        if last is None:
            change = self.rules.on_first_trade if trade.trade_id else self.rules.on_next_trade
        elif trade.trade_id <= last.trade_id + 1 and trade.first_trade_id == last.last_trade_id + 1:
            change = self.rules.on_next_trade
        else:
            change = self.rules.on_jump
        if change is not None:
            self._apply(change, trade.time_ms + 1)  # trades before it may be of the same millisecond

    def restart_ids(self) -> None:
        """Begin the record anew with the next trade, whatever its id."""
        self.on_interruption()
        self._last = None

    def covers(self, time_ms: int) -> bool:
        """Return whether every trade from this exchange time on was received."""
        return self.rules.closes_minutes and time_ms >= self.since_ms

    def _apply(self, change: Change, start_ms: int) -> None:
        self.rules = CONTINUITY_TABLE[change.next]
        if change.begins:
            self.since_ms = start_ms
