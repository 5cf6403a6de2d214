"""What a fault may use: the exchange, the process under test, and the bounds that excuse it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pulse.market.types import Instrument
from tests.simulation.bounds import Bounds
from tests.simulation.checker import Checker
from tests.simulation.loop import VirtualClock
from tests.simulation.process import Process
from tests.simulation.virtual_exchange import VirtualExchange

POLL_S = 0.25


@dataclass
class FaultContext:
    """The objects that a fault works on."""

    exchange: VirtualExchange
    checker: Checker
    clock: VirtualClock
    bounds: Bounds
    rng: random.Random
    make_process: Callable[[], Process]
    process: Process = field(init=False)
    rotations: int = 0
    kills: int = 0
    falsified_streams: set[str] = field(default_factory=set)
    muted_streams: set[str] = field(default_factory=set)

    async def restart(self, after_s: float) -> None:
        """Kill the process, and start another one after this time."""
        self.kills += 1
        self.rotations += self.process.rotations
        await self.process.stop()
        for stream in tuple(self.exchange.streams):
            stream.end("the process is gone", is_reset=True)
        await asyncio.sleep(after_s)
        self.process = self.make_process()
        self.process.start()

    def symbol(self) -> str:
        """Return one of the symbols at random."""
        return self.rng.choice(self.exchange.symbols)

    async def report_status(self, symbol: str, status: str) -> None:
        """Deliver a symbol's trading status to the process, as the instrument poller does."""
        if not self.process.is_stopped:
            instrument = Instrument(symbol, symbol[:-4], symbol[-4:], status, 0.01, 0.001, 2, 3)
            await self.process.ingest.on_instrument(instrument)

    async def wait_for_frames(self, stream: str, count: int) -> None:
        """Wait until the exchange has produced `count` more events of a stream."""
        goal = self.exchange.event_counts.get(stream, 0) + count
        while self.exchange.event_counts.get(stream, 0) < goal:
            await asyncio.sleep(POLL_S)

    async def drop_diff(self, symbol: str) -> None:
        """Drop one diff, so that a new snapshot is needed."""
        depth = f"{symbol.lower()}@depth@100ms"
        for stream in tuple(self.exchange.streams):
            stream.faults.drop(depth)
        await self.wait_for_frames(depth, 2)
