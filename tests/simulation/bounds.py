"""What a simulated fault excuses and for how long: the promises of recovery, state by state, in one table.

`notice_s`: how long after the fault's end the symbol may still turn from live to something else, for a fault can only
be noticed by the next evidence. `again_s`: how long after the fault's end, or after it was noticed if that is later,
the symbol is live again. A ban that the exchange demanded comes on top, and, where a minute's weight is used up, the
wait for the next minute; so does, on a market that stands still, the next diff, without which nothing can join.
"""

from collections import Counter
from math import inf
from typing import NamedTuple

RECOVER_S = 5.0
"""Simulated seconds until a symbol is live again when nothing else is stated."""


class Bound(NamedTuple):
    """Seconds after the end of a fault; `lasts_s` those after its beginning, where it can be escaped while it lasts."""

    detect_s: float
    recover_s: float
    escape_s: float = inf


SILENCE_S = 30.0
"""The silence of a connection allowed before its habit is known (`staleness.UNKNOWN_MS`): the longest wait here."""

BOUNDS: dict[str, Bound] = {
    # fault: (noticed within, live again within) after its end, (live again within) after its beginning
    "start": Bound(0.0, RECOVER_S),
    "restart": Bound(0.0, RECOVER_S),
    "kill": Bound(0.0, RECOVER_S),
    "drop": Bound(30.0, RECOVER_S),  # ids: the next diff, on a market that may be quiet
    "duplicate": Bound(0.0, RECOVER_S),
    "reorder": Bound(30.0, RECOVER_S),
    "delay": Bound(30.0, RECOVER_S),
    "garble": Bound(30.0, RECOVER_S),
    "corrupt": Bound(30.0, RECOVER_S),
    "swap_sides": Bound(30.0, RECOVER_S),
    "false_id": Bound(30.0, RECOVER_S),  # the next diff begins inside it
    "stall_one": Bound(30.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),  # a new connection flows
    "stall_all": Bound(30.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),
    "hiccup": Bound(30.0, RECOVER_S),
    "half_open": Bound(1.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),
    "stale_snapshot": Bound(30.0, RECOVER_S),
    "crossed_snapshot": Bound(30.0, RECOVER_S),
    "false_snapshot": Bound(30.0, RECOVER_S),
    "ghosts": Bound(0.0, RECOVER_S),
    "cut": Bound(1.0, RECOVER_S),
    "refuse": Bound(1.0, RECOVER_S),
    "rest_down": Bound(30.0, RECOVER_S),
    "ban": Bound(30.0, RECOVER_S),
    "clock_jump": Bound(0.0, RECOVER_S),
    "drift": Bound(0.0, RECOVER_S),
    "halt": Bound(30.0, RECOVER_S),
    "shutdown": Bound(0.0, RECOVER_S),
}


FALSIFIED_KEPT_S = 5.0
"""A falsified account may still wait in a buffer for a while after it was told."""
TICKERS_FAULTY_S = 30.0
"""After a fault of bookTicker the newest one heard may for a while not be the newest that there was."""
AUDIT_TAKES_S = 30.0


class Bounds:
    """Keeps account of the faults of a run. Times are seconds since the run began."""

    def __init__(self, audit_every_s: float) -> None:
        self.spoiled_minutes: set[tuple[str, int]] = set()  # minutes with a trade that was falsified
        self.falsified: dict[str, list[tuple[int, float]]] = {}  # symbol -> (id, when) of each falsified account
        self._audit_every_s = audit_every_s
        self._active: Counter[str] = Counter()
        self._escape_by_s = 0.0
        self._may_fail_until_s = 0.0
        self._recover_by_s = 0.0
        self._outage_s = 0.0  # for how long audits could not be made, in all
        self._tickers_faulty_until_s = 0.0

    def begin(self, kind: str, now_s: float) -> None:
        """A fault begins; until it ends a symbol may be down, for as long as it likes unless that is bounded."""
        self._active[kind] += 1
        if BOUNDS[kind].escape_s < inf:
            self._escape_by_s = max(self._escape_by_s, now_s + BOUNDS[kind].escape_s)

    def end(self, kind: str, now_s: float) -> None:
        """A fault is over."""
        self._active[kind] -= 1
        self._active += Counter()  # forget those that are over
        detect_s, recover_s, _ = BOUNDS[kind]
        self._may_fail_until_s = max(self._may_fail_until_s, now_s + detect_s)
        self._recover_by_s = max(self._recover_by_s, now_s + recover_s)

    @property
    def may_fail_until_s(self) -> float:
        """Until when a symbol may turn from live to something else."""
        return inf if self._active else self._may_fail_until_s

    @property
    def live_by_s(self) -> float:
        """When it must be live again, unless it turned less than AGAIN_S before."""
        if any(BOUNDS[kind].escape_s == inf for kind in self._active):
            return inf
        return max(self._recover_by_s, self._escape_by_s)

    def note_outage(self, seconds: float) -> None:
        """For so long no audit can be made."""
        self._outage_s += seconds

    def note_ticker_fault(self, now_s: float) -> None:
        """The witness of the best levels is itself disturbed."""
        self._tickers_faulty_until_s = now_s + TICKERS_FAULTY_S

    def tickers_are_faulty(self, now_s: float) -> bool:
        """Whether the witness of the best levels may itself be wrong."""
        return now_s < self._tickers_faulty_until_s

    def note_falsified(self, symbol: str, update_id: int, now_s: float) -> None:
        """The exchange has falsified a diff or a snapshot of this id."""
        self.falsified.setdefault(symbol, []).append((update_id, now_s))

    def forget_falsified(self, symbol: str, update_id: int, now_s: float) -> None:
        """The whole book at this id is true: lies about earlier ids are over."""
        falsified = self.falsified.get(symbol)
        if falsified:
            left = [(i, at_s) for i, at_s in falsified if i > update_id or now_s - at_s < FALSIFIED_KEPT_S]
            self.falsified[symbol] = left

    @property
    def falsified_limit_s(self) -> float:
        """How long a live book may be wrong beyond its best levels, where only an audit can see it.

        Twice the audits' distance: a lie that is told while a snapshot is on its way is in both books, so that
        the audit after that one finds it.
        """
        return 2 * self._audit_every_s + AUDIT_TAKES_S + self._outage_s
