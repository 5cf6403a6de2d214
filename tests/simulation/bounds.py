"""What each simulated fault excuses and for how long: the recovery bounds, fault by fault, in one table.

`detect_s`: how long after the fault's end a symbol may still stop being live, because a fault is only detected by the
next evidence. `recover_s`: how long after the fault's end, or after its detection if that is later, the symbol is live
again. A ban by the exchange is added to it, and, where a minute's weight is used up, the wait for the next minute; so
is, on a market without trading, the wait for the next diff, without which nothing can join.
"""

from collections import Counter, deque
from math import inf
from typing import NamedTuple

RECOVER_S = 5.0
"""Simulated seconds until a symbol is live again where nothing else is stated."""


class Bound(NamedTuple):
    """Seconds after the end of a fault; `escape_s` counts from its start, where recovery is possible while it lasts."""

    detect_s: float
    recover_s: float
    escape_s: float = inf


SILENCE_S = 30.0
"""The silence of a connection allowed before its habit is known (`staleness.UNKNOWN_MS`): the longest wait here."""

BOUNDS: dict[str, Bound] = {
    # fault: (detected within, live again within) after its end, (live again within) after its start
    "start": Bound(0.0, RECOVER_S),
    "restart": Bound(0.0, RECOVER_S),
    "kill": Bound(0.0, RECOVER_S),
    "drop": Bound(30.0, RECOVER_S),  # detected by the ids of the next diff, on a market that may be quiet
    "duplicate": Bound(0.0, RECOVER_S),
    "reorder": Bound(30.0, RECOVER_S),
    "delay": Bound(30.0, RECOVER_S),
    "garble": Bound(30.0, RECOVER_S),
    "corrupt": Bound(30.0, RECOVER_S),
    "swap_sides": Bound(30.0, RECOVER_S),
    "false_id": Bound(30.0, RECOVER_S),  # the next diff begins inside it
    "falsehood": Bound(30.0, 0.0, 0.0),  # quarantined; a missing diff is detected by the next one's ids
    "stall_one": Bound(30.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),  # a new connection delivers frames
    "stall_all": Bound(30.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),
    "mute": Bound(0.0, RECOVER_S),  # the book is not disturbed at all
    "hiccup": Bound(30.0, RECOVER_S),
    "half_open": Bound(1.0, RECOVER_S, SILENCE_S + 2 * RECOVER_S),
    "stale_snapshot": Bound(30.0, RECOVER_S),
    "crossed_snapshot": Bound(30.0, RECOVER_S),
    "false_snapshot": Bound(30.0, RECOVER_S),
    "false_answer": Bound(30.0, RECOVER_S),
    "same_id": Bound(0.0, RECOVER_S),
    "ghosts": Bound(0.0, RECOVER_S),
    "cut": Bound(1.0, RECOVER_S),
    "refuse": Bound(1.0, RECOVER_S),
    "rest_down": Bound(30.0, RECOVER_S),
    "ban": Bound(30.0, RECOVER_S),
    "forbid": Bound(30.0, RECOVER_S),
    "refuse_region": Bound(30.0, RECOVER_S),
    "swap_store": Bound(0.0, RECOVER_S),
    "clock_jump": Bound(0.0, RECOVER_S),
    "drift": Bound(0.0, RECOVER_S),
    "halt": Bound(30.0, RECOVER_S),
    "shutdown": Bound(0.0, RECOVER_S),
}


FALSIFIED_KEPT_S = 5.0
"""How long a falsified diff or snapshot may still wait in a buffer after it was sent."""
TICKERS_FAULTY_S = 30.0
"""How long after a fault of bookTicker the newest one received may not be the newest that was sent."""
ALONE_AFTER_S = 60.0
"""How long after its end a fault may still hide the evidence that a stream is silent."""
AUDIT_TAKES_S = 30.0
IMPOSSIBLE_KEPT = 50
"""Events of the newest frames with impossible values, each with its symbol; a minute has a few."""


class Bounds:
    """Record of the faults of a run and what they excuse. Times are seconds since the run began."""

    def __init__(self, audit_every_s: float) -> None:
        self.falsified_minutes: set[tuple[str, int]] = set()  # minutes with a falsified trade
        self.falsified: dict[
            str, list[tuple[int, float]]
        ] = {}  # symbol -> (id, time) of each falsified diff or snapshot
        self.impossible: deque[tuple[str, object]] = deque(maxlen=IMPOSSIBLE_KEPT)
        self._audit_every_s = audit_every_s
        self._active: Counter[str] = Counter()
        self._escape_by_s = 0.0
        self._may_fail_until_s = 0.0
        self._recover_by_s = 0.0
        self._outage_s = 0.0  # the total time in which audits were impossible
        self._tickers_faulty_until_s = 0.0
        self._others_until_s = 0.0

    def begin(self, kind: str, now_s: float) -> None:
        """Start a fault; until it ends a symbol may be down, without limit unless the fault has an `escape_s`."""
        self._active[kind] += 1
        if BOUNDS[kind].escape_s < inf:
            self._escape_by_s = max(self._escape_by_s, now_s + BOUNDS[kind].escape_s)

    def end(self, kind: str, now_s: float) -> None:
        """End a fault."""
        self._active[kind] -= 1
        self._active += Counter()  # drop the kinds that are over
        detect_s, recover_s, _ = BOUNDS[kind]
        if kind != "mute":
            self._others_until_s = max(self._others_until_s, now_s + ALONE_AFTER_S)
        self._may_fail_until_s = max(self._may_fail_until_s, now_s + detect_s)
        self._recover_by_s = max(self._recover_by_s, now_s + recover_s)

    def is_alone(self, kind: str, now_s: float) -> bool:
        """Return whether no fault of another kind is active, or was within ALONE_AFTER_S."""
        if any(active != kind for active in self._active):
            self._others_until_s = now_s + ALONE_AFTER_S
        return now_s > self._others_until_s

    @property
    def may_fail_until_s(self) -> float:
        """The time until which a symbol may stop being live."""
        return inf if self._active else self._may_fail_until_s

    @property
    def live_by_s(self) -> float:
        """The time by which it must be live again, unless it went down less than RECOVER_S before."""
        if any(BOUNDS[kind].escape_s == inf for kind in self._active):
            return inf
        return max(self._recover_by_s, self._escape_by_s)

    def note_audit_outage(self, seconds: float) -> None:
        """Record a time span in which no audit is possible."""
        self._outage_s += seconds

    def note_ticker_fault(self, now_s: float) -> None:
        """Record a fault of bookTicker itself, which the best levels are checked with."""
        self._tickers_faulty_until_s = now_s + TICKERS_FAULTY_S

    def tickers_are_faulty(self, now_s: float) -> bool:
        """Return whether bookTicker may itself be wrong."""
        return now_s < self._tickers_faulty_until_s

    def note_falsified(self, symbol: str, update_id: int, now_s: float) -> None:
        """Record that the exchange falsified a diff or a snapshot with this id."""
        self.falsified.setdefault(symbol, []).append((update_id, now_s))

    def forget_falsified(self, symbol: str, update_id: int, now_s: float) -> None:
        """Drop the falsified ids up to this one: the whole book at it was found exact."""
        falsified = self.falsified.get(symbol)
        if falsified:
            left = [(i, at_s) for i, at_s in falsified if i > update_id or now_s - at_s < FALSIFIED_KEPT_S]
            self.falsified[symbol] = left

    @property
    def falsified_limit_s(self) -> float:
        """How long a live book may be wrong beyond its best levels, where only an audit can detect it.

        Twice the audits' interval: a falsified diff sent while a snapshot is on its way is in both books, so that only
        the audit after that one finds it.
        """
        return 2 * self._audit_every_s + AUDIT_TAKES_S + self._outage_s
