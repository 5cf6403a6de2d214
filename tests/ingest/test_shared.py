"""Symbols that several processes share: what is opened and closed here as they become ours and another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pulse.clock import SystemClock
from pulse.ingest.exchange_stream import ExchangeStream
from pulse.ingest.live import LiveIngest
from pulse.ingest.shared import SharedIngest
from pulse.market.types import Instrument
from pulse.queues import ConflatingQueue, make_inbox
from tests.support.waiting import until
from tests.support.web import HALTED

BTC, ETH = "BTCUSDT", "ETHUSDT"


class Part:
    """A part that notes what it is asked."""

    def __init__(self, name: str, calls: list[tuple[str, str, str]]) -> None:
        self._name = name
        self._calls = calls

    def open(self, symbol: str) -> None:
        """Note it."""
        self._calls.append((self._name, "open", symbol))

    def close(self, symbol: str) -> None:
        """Note it."""
        self._calls.append((self._name, "close", symbol))


class Scene:
    """A shared ingest of two parts, and what decides about its symbols."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.should: dict[str, bool | None] = {}
        self.changed = asyncio.Event()
        self.inbox = make_inbox()
        self.live = LiveIngest(_no_stream, self.inbox, ConflatingQueue(), ConflatingQueue(), SystemClock())
        self.instruments: dict[str, Instrument] = {}
        self.ingest = SharedIngest(
            self.live, Part("lease", self.calls), [Part("engine", self.calls), Part("live", self.calls)],
            self.should.get, self.changed, self.instruments,
        )  # fmt: skip

    async def decide(self, symbol: str, should: bool | None) -> None:
        """Change what is to be done with a symbol, and wait until that has been looked at."""
        self.should[symbol] = should
        self.changed.set()
        await until(lambda: not self.changed.is_set())
        await asyncio.sleep(0)


def _no_stream(_: str) -> ExchangeStream:
    raise AssertionError("the parts of this test open no stream")


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    """Run a shared ingest while the block lasts."""
    scene = Scene()
    task = asyncio.create_task(scene.ingest.run())
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_symbol_is_not_ingested_before_it_is_ours() -> None:
    """Its lease is asked for; until that is decided nothing is opened."""
    async with running() as scene:
        scene.ingest.open(BTC)
        await scene.decide(BTC, None)
        assert scene.calls == [("lease", "open", BTC)]

        await scene.decide(BTC, True)
        assert scene.calls[1:] == [("engine", "open", BTC), ("live", "open", BTC)]


async def test_a_symbol_that_becomes_anothers_is_closed() -> None:
    """In the reverse order; its lease is still asked for."""
    async with running() as scene:
        scene.ingest.open(BTC)
        await scene.decide(BTC, True)
        scene.calls.clear()
        await scene.decide(BTC, False)
        assert scene.calls == [("live", "close", BTC), ("engine", "close", BTC)]

        await scene.decide(BTC, True)
        assert scene.calls[2:] == [("engine", "open", BTC), ("live", "open", BTC)]


async def test_while_it_is_not_known_everything_goes_on() -> None:
    """An owner whose lease has ended ingests on, and a follower follows on."""
    async with running() as scene:
        scene.ingest.open(BTC)
        scene.ingest.open(ETH)
        await scene.decide(BTC, True)
        await scene.decide(ETH, False)
        scene.calls.clear()
        await scene.decide(BTC, None)
        await scene.decide(ETH, None)

        assert scene.calls == []


async def test_a_closed_symbol_gives_its_lease_back() -> None:
    """After everything else of it has been closed; one that was followed has nothing else."""
    async with running() as scene:
        for symbol, is_ours in ((BTC, True), (ETH, False)):
            scene.ingest.open(symbol)
            await scene.decide(symbol, is_ours)
        scene.calls.clear()
        scene.ingest.close(BTC)
        scene.ingest.close(ETH)

        assert scene.calls == [
            ("live", "close", BTC), ("engine", "close", BTC), ("lease", "close", BTC), ("lease", "close", ETH),
        ]  # fmt: skip


async def test_a_market_that_begins_later_is_told_its_instrument() -> None:
    """It was announced while another process owned the symbol."""
    async with running() as scene:
        scene.instruments[BTC] = HALTED
        scene.ingest.open(BTC)
        await scene.decide(BTC, True)

        assert scene.inbox.get_nowait().event is HALTED
