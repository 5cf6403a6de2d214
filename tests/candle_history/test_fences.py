"""Candles of a process that shares its symbols: written under its leases alone, and claimed before the first."""

import asyncio
from collections.abc import Mapping, Sequence

from pulse.candle_history.fences import FencedWrites
from pulse.candle_history.writer import NO_LEASE, CandleWriter
from pulse.errors import StoreUnavailable
from pulse.market.types import Candle
from pulse.queues import make_candle_queue
from tests.support.makers import MIDNIGHT_MS, candle
from tests.support.metrics import sample_of
from tests.support.stores import UNAVAILABLE, MemoryStore
from tests.support.virtual_time import run

BTC, ETH = "BTCUSDT", "ETHUSDT"


class Fences(MemoryStore):
    """A store that knows the highest token of each symbol, and the tokens that each call came with."""

    def __init__(self, **tokens: int) -> None:
        super().__init__()
        self.tokens = dict(tokens)
        self.calls: list[dict[str, int]] = []

    async def write_fenced(self, candles: Sequence[Candle], tokens: Mapping[str, int]) -> dict[str, int]:
        """Keep what is not stale."""
        if self.is_unavailable:
            raise StoreUnavailable(UNAVAILABLE)
        self.calls.append(dict(tokens))
        newer = {symbol: self.tokens[symbol] for symbol in tokens if self.tokens.get(symbol, 0) > tokens[symbol]}
        self.tokens |= {symbol: token for symbol, token in tokens.items() if symbol not in newer}
        await self.write_candles([row for row in candles if row.symbol not in newer])
        return newer


class Rights:
    """Leases that a test gives: by symbol its token, 0 for another's, None while it is not known."""

    def __init__(self, **tokens: int | None) -> None:
        self.tokens = dict(tokens)
        self.refused: dict[str, int] = {}

    def symbols(self) -> list[str]:
        """Return all."""
        return list(self.tokens)

    def token(self, symbol: str) -> int | None:
        """Return the token of ours."""
        return self.tokens.get(symbol) or None

    def is_elsewhere(self, symbol: str) -> bool:
        """Return whether it is another's, or unknown."""
        return self.tokens.get(symbol, 0) == 0

    def refuse(self, symbol: str, newer_token: int) -> None:
        """Note it, and give the lease up."""
        self.refused[symbol] = newer_token
        self.tokens[symbol] = None


class Scene:
    """A writer with a store and leases."""

    def __init__(self, store: Fences, rights: Rights) -> None:
        self.store, self.rights = store, rights
        self.changed = asyncio.Event()
        self.fenced = FencedWrites(store, rights, self.changed)
        self.queue = make_candle_queue()
        self.writer = CandleWriter(self.queue, store, fenced=self.fenced)

    def play(self, *steps: object) -> None:
        """Queue candles and set leases, one step every ten seconds."""

        async def scenario() -> None:
            tasks = [asyncio.create_task(work()) for work in (self.writer.run, self.fenced.run)]
            for step in steps:
                if isinstance(step, Candle):
                    self.queue.put_nowait(step)
                elif isinstance(step, dict):
                    self.rights.tokens |= step
                    self.changed.set()
                await asyncio.sleep(10)
            for task in tasks:
                task.cancel()

        run(scenario())

    def stored(self) -> set[str]:
        """Return the symbols of the stored candles."""
        return {symbol for symbol, _ in self.store.candles}


def minute(symbol: str = BTC) -> Candle:
    """Return a closed minute of a symbol."""
    return candle(MIDNIGHT_MS, symbol=symbol)


def test_the_owner_writes_with_its_token() -> None:
    """The one that it has at the time of the write."""
    scene = Scene(Fences(), Rights(BTCUSDT=7))
    scene.play(minute())

    assert (scene.stored(), scene.store.calls, scene.writer.pending) == ({BTC}, [{BTC: 7}], 0)


def test_what_another_process_owns_is_left_to_it() -> None:
    """Such as what it owned before, or finds in its spool; it is counted."""
    left = sample_of("pulse_candles_left_total") or 0.0
    scene = Scene(Fences(), Rights(BTCUSDT=7, ETHUSDT=0))
    scene.play(minute(), minute(ETH), minute("LTCUSDT"))

    assert (scene.stored(), scene.writer.pending, scene.writer.trouble) == ({BTC}, 0, "")
    assert sample_of("pulse_candles_left_total") == left + 2


def test_candles_wait_until_it_is_known_whose_they_are() -> None:
    """While Redis is away: those of other symbols are written, and /readyz has the reason."""
    scene = Scene(Fences(), Rights(BTCUSDT=None, ETHUSDT=3))
    scene.play(minute(), minute(ETH))
    assert (scene.stored(), scene.writer.pending, scene.writer.trouble) == ({ETH}, 1, NO_LEASE)

    again = Scene(Fences(), Rights(BTCUSDT=None))
    again.play(minute(), {BTC: 8}, None)
    assert (again.stored(), again.writer.pending, again.writer.trouble) == ({BTC}, 0, "")


def test_a_refused_token_is_given_up_and_the_candle_kept() -> None:
    """It is written once a higher one has been taken."""
    scene = Scene(Fences(BTCUSDT=9), Rights(BTCUSDT=7))
    scene.play(minute())
    assert (scene.stored(), scene.rights.refused, scene.writer.pending) == (set(), {BTC: 9}, 1)

    again = Scene(Fences(BTCUSDT=9), Rights(BTCUSDT=7))
    again.play(minute(), {BTC: 10}, None)
    assert (again.stored(), again.writer.pending) == ({BTC}, 0)


def test_a_new_token_is_claimed_at_once() -> None:
    """Before any candle, once, and again when the store answers after an outage."""
    scene = Scene(Fences(), Rights())
    scene.play({BTC: 7}, {BTC: 7}, {BTC: 8})
    assert scene.store.calls == [{BTC: 7}, {BTC: 8}]

    late = Scene(Fences(), Rights())
    late.store.is_unavailable = True

    async def scenario() -> None:
        task = asyncio.create_task(late.fenced.run())
        late.rights.tokens[BTC] = 7
        late.changed.set()
        await asyncio.sleep(60)
        late.store.is_unavailable = False
        await asyncio.sleep(10)
        task.cancel()

    run(scenario())
    assert late.store.calls == [{BTC: 7}]


def test_a_claim_below_a_used_token_is_refused() -> None:
    """The server of the leases has lost its counter: the lease is given up before anything is written."""
    scene = Scene(Fences(BTCUSDT=9), Rights())
    scene.play({BTC: 7})

    assert (scene.rights.refused, scene.store.candles) == ({BTC: 9}, {})


def test_a_write_says_which_candles_it_wrote() -> None:
    """Those of ours whose token was the highest."""
    scene = Scene(Fences(ETHUSDT=9), Rights(BTCUSDT=7, ETHUSDT=8, LTCUSDT=0))
    candles = [minute(), minute(ETH), minute("LTCUSDT")]

    assert run(scene.fenced.write(candles)) == [minute()]
