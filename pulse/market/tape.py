"""One symbol's newest trades on their way out: what a message repeats, so that a lost one loses no trade.

On the bus a newer message may take the place of an older one. Each therefore holds the trades of several.
"""

from collections import deque
from itertools import islice

from pulse.market.view import TradeView

REPEATED = 10
"""So many messages in a row may be lost without a trade being lost: a second's worth."""
TRADES_MAX = 2_000
"""Trades in a message at most; a busy second of the busiest symbol has some hundreds."""


class Tape:
    """Trades in the order of their ids; `take` gives those that the next message holds."""

    def __init__(self) -> None:
        self._trades: deque[TradeView] = deque(maxlen=TRADES_MAX)
        self._count = 0
        self._counts: deque[int] = deque([0], maxlen=REPEATED)  # as it stood at the newest messages

    def add(self, trade: TradeView) -> None:
        """Take the next trade."""
        self._trades.append(trade)
        self._count += 1

    def take(self) -> list[TradeView]:
        """Every trade that the last REPEATED messages did not all hold, oldest first; nothing if none is new."""
        if self._count == self._counts[-1]:
            return []
        held = min(self._count - self._counts[0], len(self._trades))
        self._counts.append(self._count)
        return list(islice(self._trades, len(self._trades) - held, None))
