"""Recorders that run in the test's own loop, and what they have left on the disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pulse.market.market import Origin
from pulse.past.block import Block
from pulse.past.recorder import Recorder
from pulse.past.ring import Ring
from pulse.past.segment_writer import SegmentWriter
from pulse.past.segments import all_segments, read_entry, scan_segment
from tests.support.makers import ManualClock
from tests.support.past import Live
from tests.support.waiting import WAIT_S, until

MANY = 2**40
ORIGIN = Origin("9f3ac21b", "exchange", "us")


class Running:
    """A recorder that runs, and its task."""

    def __init__(self, folder: Path | None, ring_bytes: int = MANY) -> None:
        self.clock = ManualClock(1000.0)
        writer = None if folder is None else SegmentWriter(folder, MANY)
        self.ring = Ring(ring_bytes)
        self.recorder = Recorder(ORIGIN, self.clock, self.ring, writer, last_write_s=WAIT_S)

    def live(self, symbol: str = "BTCUSDT") -> Live:
        """Return a market that it records."""
        return Live(self.recorder.open, self.clock, symbol)

    async def settled(self, symbol: str = "BTCUSDT") -> None:
        """Wait until all that was cut is handled."""
        recorder = self.recorder
        await until(lambda: not recorder._handed_over and not recorder._waiting)


@asynccontextmanager
async def running(folder: Path | None = None, ring_bytes: int = MANY) -> AsyncIterator[Running]:
    """Run a recorder, and stop it as the process does."""
    made = Running(folder, ring_bytes)
    task = asyncio.create_task(made.recorder.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


def on_disk(folder: Path) -> list[Block]:
    """Return all blocks on the disk."""
    return [read_entry(entry) for path in sorted(all_segments(folder)) for entry in scan_segment(path).entries]
