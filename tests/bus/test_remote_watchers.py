"""Watchers of other processes: counted while the symbol is owned here, and no longer; what they watch."""

import asyncio

import pytest

from pulse.bus.leases import HELD_S, Answer, Leases
from pulse.bus.remote_watchers import CHOICES_MAX, RemoteWatchers, interest_text, read_interest
from pulse.market.liquidity import NO_INTEREST, Interest

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


def ours(*watching: str) -> Answer:
    """Return the answer about a symbol that is ours, which other processes watch so."""
    return Answer("us", 7, 2.0, True, watching)


async def test_watchers_elsewhere_are_counted() -> None:
    """Each choice of ladders and costs once; when they leave, or the lease ends, they are counted off."""
    now_s = 0.0
    leases, watched = Leases("us", lambda: now_s), Watched()
    leases.open(BTC)
    leases.open(ETH)
    watchers = RemoteWatchers(leases, watched)
    task = asyncio.create_task(watchers.run())

    async def answer(*answers: Answer) -> dict[str, int]:
        leases.on_answers(now_s, zip((BTC, ETH), answers, strict=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return dict(watched.counts)

    assert await answer(ours(";"), ours()) == {BTC: 1}
    assert watchers.interest(BTC) == NO_INTEREST
    assert await answer(ours(";", "10;", "50,10;0.5"), ours(";")) == {BTC: 3, ETH: 1}
    assert watchers.interest(BTC) == Interest(frozenset({10, 50}), frozenset({0.5}))
    assert await answer(ours(), ours(";")) == {BTC: 0, ETH: 1}
    assert watchers.interest(BTC) == NO_INTEREST
    now_s += HELD_S
    leases.on_outage()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert watched.counts == {BTC: 0, ETH: 0}
    task.cancel()


@pytest.mark.parametrize(
    "interest",
    [NO_INTEREST, Interest(frozenset({1, 100_000})), Interest(frozenset({10}), frozenset({0.1, 1e-7, 12345678.9}))],
)
def test_an_interest_crosses_unchanged(interest: Interest) -> None:
    """As a text that is not empty, which would be no watcher."""
    assert interest_text(interest)
    assert read_interest(interest_text(interest)) == interest


@pytest.mark.parametrize("text", ["x", "1;x", "watched", "3;", ";-1.0", ";nan", ";inf", ";1e999", "\udcff"])
def test_what_cannot_be_watched_is_left_out(text: str) -> None:
    """Another version may write something else: its clients are watchers all the same."""
    assert read_interest(text) == NO_INTEREST


def test_an_interest_is_bounded() -> None:
    """The text of a process has so many sums at most."""
    many = Interest(notionals=frozenset(float(number) for number in range(1, 2 * CHOICES_MAX)))

    assert len(read_interest(interest_text(many)).notionals) == CHOICES_MAX
    assert len(read_interest(";" + ",".join(map(str, range(1, 2 * CHOICES_MAX)))).notionals) == CHOICES_MAX
