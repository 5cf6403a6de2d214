"""The live ingest: one exchange stream per running symbol, started and stopped with it.

It decides nothing: the registry opens and closes symbols. A stream that fails unexpectedly ends the process.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context

from pulse.clock import Clock
from pulse.ingest.exchange_stream import ExchangeStream
from pulse.market.market import TRADING
from pulse.market.types import Instrument
from pulse.queues import Inbox, Received, SilentStreams, SnapshotRequests
from pulse.symbols import SymbolRegistry

log = logging.getLogger(__name__)

CLOSE_IDLE_EVERY_S = 10.0
"""How much longer than the registry says an idle symbol may run."""


class LiveIngest:
    """The contract of `Ingest` for the exchange. `make_stream` makes the stream of a symbol."""

    def __init__(
        self,
        make_stream: Callable[[str], ExchangeStream],
        inbox: Inbox,
        snapshot_requests: SnapshotRequests,
        silent_streams: SilentStreams,
        clock: Clock,
    ) -> None:
        self._make_stream = make_stream
        self._inbox = inbox
        self._snapshot_requests = snapshot_requests
        self._silent_streams = silent_streams
        self._clock = clock
        self._streams: dict[str, ExchangeStream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def open(self, symbol: str) -> None:
        """Start a symbol's stream; before `run` it is started with it."""
        log.info("symbol opened symbol=%s running=%s", symbol, len(self._streams) + 1)
        self._streams[symbol] = self._make_stream(symbol)
        if self._group is not None:
            self._start(symbol, self._group)

    def close(self, symbol: str) -> None:
        """Stop a symbol's stream."""
        log.info("symbol closed symbol=%s", symbol)
        del self._streams[symbol]
        task = self._tasks.pop(symbol, None)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Keep the streams running, and pass the engine's requests on to them, for ever."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self._pass_on_silence(), name="silent-streams")
            for symbol in self._streams:
                self._start(symbol, self._group)
            while True:
                symbol, reason = await self._snapshot_requests.get()
                if symbol in self._streams:
                    self._streams[symbol].request_snapshot(reason)

    async def _pass_on_silence(self) -> None:
        while True:
            (symbol, kind), _ = await self._silent_streams.get()
            if symbol in self._streams:
                self._streams[symbol].on_silent(kind)

    async def on_instrument(self, instrument: Instrument) -> None:
        """Take what the exchange says of a symbol: its stream and its market learn whether it trades."""
        if instrument.symbol in self._streams:
            self._streams[instrument.symbol].set_trading(instrument.status == TRADING)
        await self._inbox.put(Received(instrument.symbol, instrument, self._clock.now_ms()))

    def _start(self, symbol: str, group: asyncio.TaskGroup) -> None:
        # Without the context of the request that opened the symbol: the stream goes on when the request is over.
        work = self._streams[symbol].run()
        self._tasks[symbol] = group.create_task(work, name=f"stream-{symbol}", context=Context())


async def close_idle_symbols(registry: SymbolRegistry) -> None:
    """Close the symbols that no client uses, for ever."""
    while True:
        await asyncio.sleep(CLOSE_IDLE_EVERY_S)
        registry.close_idle()
