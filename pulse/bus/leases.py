"""Which process ingests a symbol, where several share one server: the state of the leases, without I/O.

Every process that has a symbol open asks for its lease at each round. The one that holds it, the owner, ingests the
symbol, publishes its views and writes its candles; the others follow. A lease carries a token that is higher than that
of every lease of the symbol before it, so what an owner still sends after it has lost its lease can be told apart.

The rules:
1. An owner gives its lease up by its own clock, HELD_S after it asked for the renewal: before the server ends it, and
   whether or not the server answers.
2. A process that is told of another owner follows it.
3. A process that has asked in vain for ALONE_AFTER_S ingests for its own viewers, as it would without a server. It is
   no owner: nothing of it is stored or sent to others. Time in which it did not ask, because it was stopped, does not
   count: its book is as old as that.
4. Until it is known whether there is another owner, a process goes on with what it does.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import NamedTuple

log = logging.getLogger(__name__)

LEASE_S = 2.0
"""How long a lease lasts on the server without a renewal."""
RENEW_EVERY_S = LEASE_S / 3
"""Two renewals may fail before a lease ends."""
HELD_S = 0.75 * LEASE_S
"""How long an owner relies on its lease, from just before it sent the renewal: the rest is for the server's clock, and
for what was decided a moment before."""
ALONE_AFTER_S = 2.0
"""After an outage of so long a process ingests what it has open."""
RETURN_S = 0.5
"""After an outage of the server the last owner of a symbol has this long to take its lease again: its book is whole."""
LINGER_S = 3.0
"""A lease is kept this long after its symbol was closed: the last closed candles are still to be written."""


class Role(Enum):
    """What a process is to a symbol."""

    OWNER = "owner"
    FOLLOWER = "follower"
    ALONE = "alone"
    UNDECIDED = "undecided"


class Request(NamedTuple):
    """What is asked of the server about one symbol.

    `token` is that of our lease, 0 without one. A new token must be higher than `floor`. `is_leaving` gives the lease
    back instead. `watching` tells the owner what clients of this process watch, empty where none do.
    """

    symbol: str
    token: int
    floor: int
    may_take: bool
    is_leaving: bool
    watching: str


class Answer(NamedTuple):
    """What the server says of one symbol: the owner, empty without one, its token, and when the lease ends.

    `is_followed` and `watching` are for the owner: whether other processes have the symbol open, and what each of them
    watches.
    """

    owner: str
    token: int
    ends_in_s: float
    is_followed: bool
    watching: tuple[str, ...]


@dataclass(slots=True)
class _Lease:
    """What is known of one symbol's lease. Times are of the clock of `Leases`."""

    token: int = 0
    """Of the lease that this process has or had last; 0 from the moment that another owner is known."""
    held_until_s: float = -inf
    owner: str = ""
    """Whom the newest answer named."""
    floor: int = 0
    """The highest token that is known to have been given out."""
    left_s: float | None = None
    """When the symbol was closed."""
    is_followed: bool = False
    watching: tuple[str, ...] = ()


class Leases:
    """The leases of the symbols that this process has open.

    `instance` names this process, `clock` returns seconds of a clock that cannot be set and goes on while the process
    is stopped. `watching` returns what clients of this process watch of a symbol, in the words of whoever reads them on
    the other side, empty where none do; `seen_token` the highest token among the views that it has received.
    """

    def __init__(
        self,
        instance: str,
        clock: Callable[[], float],
        *,
        watching: Callable[[str], str] = lambda _: "",
        seen_token: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._instance = instance
        self._clock = clock
        self._watching = watching
        self._seen_token = seen_token
        self._leases: dict[str, _Lease] = {}
        self._listeners: list[asyncio.Event] = []
        self._has_contact = False
        self._lost_s: float | None = None  # since when the server does not answer
        self._regained_s = -inf
        self._reported: Counter[Role] = Counter()
        self.wake = asyncio.Event()
        """Set when a symbol has been opened: the next round should not wait."""

    def open(self, symbol: str) -> None:
        """Ask for the lease of a symbol from now on."""
        lease = self._leases.get(symbol)
        if lease is None:
            self._leases[symbol] = _Lease()
        else:
            lease.left_s = None
        self.wake.set()

    def close(self, symbol: str) -> None:
        """Give the lease of a symbol back, after LINGER_S."""
        self._leases[symbol].left_s = self._clock()

    def changes(self) -> asyncio.Event:
        """Return an event of one listener, which is set whenever a role or a token may have changed."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    # --- what a process is to a symbol

    def role(self, symbol: str) -> Role:
        """Return what this process is to a symbol now."""
        lease, now_s = self._leases.get(symbol), self._clock()
        if lease is None:
            return Role.UNDECIDED
        if lease.token and now_s < lease.held_until_s:
            return Role.OWNER
        if self._lost_s is not None and now_s - self._lost_s >= ALONE_AFTER_S:
            return Role.ALONE
        return Role.UNDECIDED if lease.owner in ("", self._instance) else Role.FOLLOWER

    def token(self, symbol: str) -> int | None:
        """Return the token of the lease that this process holds now; None where it holds none."""
        return self._leases[symbol].token if self.role(symbol) is Role.OWNER else None

    def symbols(self) -> list[str]:
        """Return the symbols whose leases are asked for."""
        return list(self._leases)

    def is_elsewhere(self, symbol: str) -> bool:
        """Return whether a symbol is another process's, or of none that has it open."""
        return symbol not in self._leases or self.role(symbol) is Role.FOLLOWER

    def should_ingest(self, symbol: str) -> bool | None:
        """Return whether this process ingests a symbol; None: it goes on with what it does."""
        return {Role.OWNER: True, Role.ALONE: True, Role.FOLLOWER: False}.get(self.role(symbol))

    def view_token(self, symbol: str) -> int:
        """Return the token that views of this process carry.

        One that ingests alone uses the highest token known: its views are for its own clients.
        """
        lease = self._leases.get(symbol)
        if lease is None:
            return self._seen_token(symbol)
        return max(lease.floor, self._seen_token(symbol)) if self.role(symbol) is Role.ALONE else lease.token

    def watching_elsewhere(self, symbol: str) -> tuple[str, ...]:
        """Return what clients of each other process watch of a symbol that this one owns."""
        lease = self._leases.get(symbol)
        return lease.watching if lease is not None and self.role(symbol) is Role.OWNER else ()

    def is_followed(self, symbol: str) -> bool:
        """Return whether other processes have a symbol open that this one owns."""
        lease = self._leases.get(symbol)
        return lease is not None and lease.is_followed and self.role(symbol) is Role.OWNER

    def refuse(self, symbol: str, newer_token: int) -> None:
        """Give up the lease of a symbol for which a higher token has been used: a server has lost its counter."""
        lease = self._leases.get(symbol)
        if lease is None:
            return
        log.warning("lease refused symbol=%s token=%s newer=%s", symbol, lease.token, newer_token)
        lease.floor = max(lease.floor, newer_token)
        if lease.token <= newer_token:
            lease.token, lease.held_until_s = 0, -inf
            self.wake.set()
            self._report()

    # --- rounds

    def requests(self) -> list[Request]:
        """Return what to ask of the server now."""
        now_s = self._clock()
        # An outage is over with the first answer: until then it is not known since when.
        may_take_over = not self._has_contact or (self._lost_s is None and now_s - self._regained_s >= RETURN_S)
        return [
            Request(
                symbol=symbol,
                token=lease.token,
                floor=max(lease.floor, self._seen_token(symbol)),
                may_take=lease.left_s is None and (lease.token > 0 or may_take_over),
                is_leaving=lease.left_s is not None and now_s - lease.left_s >= LINGER_S,
                watching=self._watching(symbol) if lease.left_s is None else "",
            )
            for symbol, lease in self._leases.items()
        ]

    def on_answers(self, sent_s: float, answers: Iterable[tuple[str, Answer]]) -> float:
        """Take the answers to requests that were sent at this time; return in how many seconds to ask again."""
        if self._has_contact and self._lost_s is not None:
            self._regained_s = sent_s
        self._has_contact, self._lost_s = True, None
        next_s = RENEW_EVERY_S
        for symbol, answer in answers:
            lease = self._leases.get(symbol)
            if lease is None:
                continue
            if lease.left_s is not None and sent_s - lease.left_s >= LINGER_S:
                del self._leases[symbol]
                continue
            self._take(lease, answer, sent_s)
            if answer.owner != self._instance:
                # One that dies is replaced as soon as its lease has ended.
                next_s = min(next_s, max(answer.ends_in_s, 0.0) if answer.owner else RETURN_S / 2)
        self._report()
        return next_s

    def on_outage(self) -> None:
        """Take the news that the server does not answer."""
        if self._lost_s is None:
            self._lost_s = self._clock()
        self._report()

    def _take(self, lease: _Lease, answer: Answer, sent_s: float) -> None:
        lease.owner = answer.owner
        lease.floor = max(lease.floor, answer.token)
        if answer.owner == self._instance:
            lease.token, lease.held_until_s = answer.token, sent_s + HELD_S
            lease.is_followed, lease.watching = answer.is_followed, answer.watching
        elif answer.owner:
            lease.token, lease.held_until_s = 0, -inf

    def _report(self) -> None:
        """Log how many symbols there are of each role, if that has changed, and wake the listeners."""
        counts = Counter(self.role(symbol) for symbol in self._leases)
        if counts != self._reported:
            self._reported = counts
            log.info("leases owner=%s follower=%s alone=%s undecided=%s", *(counts[role] for role in Role))
        for event in self._listeners:
            event.set()
