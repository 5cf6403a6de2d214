"""Whose call is next: a lock that the most urgent waiter gets, not the one that has waited longest.

It knows nothing of calls. Its bound is its callers': each waits for at most one turn at a time.
"""

import asyncio
import heapq
import itertools


class Turns:
    """At most one holder; `take` with the lowest rank goes first, and among equals who came first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    async def take(self, rank: int) -> None:
        """Wait for the turn; whoever has it must `give_back`."""
        if not self._is_taken:
            self._is_taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one in."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
