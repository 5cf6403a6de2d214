"""Refills trade logs from the exchange: where processes share a bus, trades between two messages may be missing.

Each message repeats the newest trades, so a few that are lost are no hole. There is one after an outage of the bus, and
between the last message of one owner and the first of the next. Later trades wait until the missing ones have been
fetched by their ids, for a bounded time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pulse import stats
from pulse.concurrency import backoff_delays
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused
from pulse.fanout.trade_log import KEPT_MAX, Position
from pulse.market.types import Trade
from pulse.market.view import trade_view

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0
"""How long later trades wait; after it clients are told of the gap."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 1.0
MISSING_MAX = KEPT_MAX
"""More missing ids than a log keeps are not worth the calls."""
HELD_MAX = 4 * KEPT_MAX
"""Trades of a symbol that wait; beyond it the hole is given up."""

Placed = tuple[Position, object]
"""A trade: its place, and what it is encoded from."""
Fetch = Callable[[str, int], Awaitable[list[Trade]]]
"""Returns the trades of a symbol from an id on, oldest first. Raises ExchangeError."""
Add = Callable[[Sequence[Placed]], None]
"""Takes trades that may be added, oldest first."""


@dataclass(eq=False, slots=True)
class _Hole:
    """Missing ids, and the trades after them, by place; `add` takes all of them in the end."""

    first_id: int
    last_id: int
    add: Add
    held: dict[Position, object] = field(default_factory=dict)
    is_being_filled: bool = False


class TradeRefill:
    """Lets trades pass to a log in the order of their ids, without a hole where `fetch` can fill it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._holes: dict[str, _Hole] = {}
        self._has_new = asyncio.Event()

    def admit(self, symbol: str, end: Position, trades: Sequence[Placed], add: Add) -> Sequence[Placed]:
        """Return which of the newest trades may be added now to a log that ends at `end`; the others go to `add`."""
        hole = self._holes.get(symbol)
        if hole is None:
            hole = _find_hole(end, trades, add)
            if hole is None:
                return trades
            self._holes[symbol] = hole
            self._has_new.set()
        hole.held |= dict(trades)
        return self._give_up(symbol) if len(hole.held) > HELD_MAX else ()

    def close(self, symbol: str) -> None:
        """Drop what waits of a symbol."""
        self._holes.pop(symbol, None)

    async def run(self) -> None:
        """Fill holes for ever, those of several symbols at once."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._has_new.wait()
                self._has_new.clear()
                for symbol, hole in self._holes.items():
                    if not hole.is_being_filled:
                        hole.is_being_filled = True
                        tasks.create_task(self._fill(symbol, hole), name=f"refill-{symbol}")

    async def _fill(self, symbol: str, hole: _Hole) -> None:
        found: dict[Position, object] = {}
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                await self._fetch_into(found, symbol, hole)
        except (ExchangeError, TimeoutError) as fault:
            reason = str(fault) or f"the exchange did not give them within {FETCH_TIMEOUT_S:g} s"
            log.warning(
                "trades not refilled symbol=%s ids=%s-%s reason=%s", symbol, hole.first_id, hole.last_id, reason
            )
        if self._holes.get(symbol) is hole:
            del self._holes[symbol]
            stats.trades_refilled.inc(len(found))
            hole.add(sorted((found | hole.held).items(), key=_place))

    async def _fetch_into(self, found: dict[Position, object], symbol: str, hole: _Hole) -> None:
        """Fetch page by page until an answer reaches the end of the hole: what it lacks then does not exist."""
        delays = backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())
        next_id = hole.first_id
        while next_id <= hole.last_id:
            try:
                page = await self._fetch(symbol, next_id)
            except (ExchangeBusy, ExchangeRefused):
                raise
            except ExchangeError:
                page = []
            found |= {
                Position(trade.trade_id, trade.first_trade_id): trade_view(trade)
                for trade in page
                if trade.trade_id <= hole.last_id
            }
            next_id = max((trade.trade_id + 1 for trade in page), default=next_id)
            if not page:
                await asyncio.sleep(next(delays))

    def _give_up(self, symbol: str) -> Sequence[Placed]:
        hole = self._holes.pop(symbol)
        _warn(symbol, hole, "too many later trades wait")
        return sorted(hole.held.items(), key=_place)


def _find_hole(end: Position, trades: Sequence[Placed], add: Add) -> _Hole | None:
    """Return the ids that are missing between a log's end and the first new trade; None if there are none or too many.

    Before a log's first trade nothing is missing.
    """
    first_id = next((place.trade_id for place, _ in trades if place >= end), 0)
    missing = first_id - end.next_id if end.trade_id else 0
    return _Hole(end.next_id, first_id - 1, add) if 0 < missing <= MISSING_MAX else None


def _warn(symbol: str, hole: _Hole, reason: str) -> None:
    log.warning("trades not refilled symbol=%s ids=%s-%s reason=%s", symbol, hole.first_id, hole.last_id, reason)


def _place(placed: Placed) -> Position:
    return placed[0]
