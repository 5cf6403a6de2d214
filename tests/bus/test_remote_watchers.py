"""Watchers of other processes: counted once while the symbol is owned here, and no longer."""

import asyncio

from pulse.bus.leases import HELD_S, Answer, Leases
from pulse.bus.remote_watchers import RemoteWatchers

BTC, ETH = "BTCUSDT", "ETHUSDT"


class Watched:
    """Keeps the count of watchers of each symbol."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def watch(self, symbol: str) -> None:
        """Count one more."""
        self.counts[symbol] = self.counts.get(symbol, 0) + 1

    def unwatch(self, symbol: str) -> None:
        """Count one less."""
        self.counts[symbol] -= 1


async def test_watchers_elsewhere_count_as_one() -> None:
    """Whatever their number; when they leave, or the lease ends, it is counted off."""
    now_s = 0.0
    leases, watched = Leases("us", lambda: now_s), Watched()
    leases.open(BTC)
    leases.open(ETH)
    task = asyncio.create_task(RemoteWatchers(leases, watched).run())

    async def answer(*answers: Answer) -> dict[str, int]:
        leases.on_answers(now_s, zip((BTC, ETH), answers, strict=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return dict(watched.counts)

    ours, watched_there = Answer("us", 7, 2.0, True, False), Answer("us", 7, 2.0, True, True)
    assert await answer(watched_there, ours) == {BTC: 1}
    assert await answer(watched_there, watched_there) == {BTC: 1, ETH: 1}
    assert await answer(ours, watched_there) == {BTC: 0, ETH: 1}
    now_s += HELD_S
    leases.on_outage()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert watched.counts == {BTC: 0, ETH: 0}
    task.cancel()
