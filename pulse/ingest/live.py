"""What belongs to a followed symbol, put up and taken down as one: its place at hub, bus and engine, and its feed.

It decides nothing: the registry says who is followed. A feed that fails with anything unexpected ends the process.
"""

import asyncio
import logging
from collections.abc import Callable

from pulse import stats
from pulse.bus.contract import Bus
from pulse.engine import Engine
from pulse.fanout.hub import Hub
from pulse.ingest.exchange_stream import ExchangeStream
from pulse.latency import Latency
from pulse.market.market import TRADING, Market
from pulse.market.types import Instrument
from pulse.symbols import SymbolRegistry
from pulse.wire import topics_of

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 10.0
"""How much longer than the registry says an idle symbol may be followed."""


class LiveIngest:
    """The followed symbols of a process that has an exchange to ask.

    Hub, bus and engine have the pinned ones from the first. `on_change` is called when a symbol was added.
    """

    def __init__(
        self, registry: SymbolRegistry, hub: Hub, bus: Bus, engine: Engine, latency: Latency,
        make_market: Callable[[str], Market], make_feed: Callable[[str], ExchangeStream], on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        self._roster = registry
        self._hub = hub
        self._bus = bus
        self._engine = engine
        self._latency = latency
        self._make_market = make_market
        self._make_feed = make_feed
        self._on_change = on_change
        self._feeds: dict[str, ExchangeStream] = {symbol: make_feed(symbol) for symbol in registry}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        registry.on_start, registry.on_stop = self._start, self._stop

    async def run(self) -> None:
        """Keep the feeds running for ever, and let go of those that nobody looks at. Raises what a feed raises."""
        async with asyncio.TaskGroup() as self._group:
            for symbol in self._feeds:
                self._launch(symbol)
            while True:
                await asyncio.sleep(SWEEP_EVERY_S)
                self._roster.sweep()

    def ask_snapshot(self, symbol: str, reason: str) -> None:
        """Have this symbol's book joined anew."""
        if symbol in self._feeds:
            self._feeds[symbol].request_snapshot(reason)

    def note(self, instrument: Instrument) -> None:
        """The exchange has said how a symbol is traded."""
        if instrument.symbol in self._feeds:
            self._feeds[instrument.symbol].set_trading(instrument.status == TRADING)

    def _start(self, symbol: str) -> None:
        log.info("symbol followed symbol=%s of=%s", symbol, len(self._roster))
        self._hub.open(symbol)
        self._bus.open(topics_of(symbol))
        self._engine.follow(self._make_market(symbol))
        self._feeds[symbol] = self._make_feed(symbol)
        if self._group is not None:
            self._launch(symbol)
        self._on_change()

    def _stop(self, symbol: str) -> None:
        log.info("symbol left symbol=%s", symbol)
        del self._feeds[symbol]
        task = self._tasks.pop(symbol, None)
        if task is not None:
            task.cancel()
        self._engine.leave(symbol)
        self._bus.drop(topics_of(symbol))
        self._hub.drop(symbol)
        self._latency.forget(symbol, topics_of(symbol))
        stats.forget(symbol)

    def _launch(self, symbol: str) -> None:
        assert self._group is not None  # noqa: S101  # it is only called within `run`
        self._tasks[symbol] = self._group.create_task(self._feeds[symbol].run(), name=f"feed-{symbol}")
