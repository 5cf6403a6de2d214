"""The task that plays a recording through the same intake as a live feed, at the recorded pace or faster."""

import asyncio
import logging
from math import isinf

from pulse import stats
from pulse.binance.messages import Frame, parse
from pulse.clock import ReplayClock
from pulse.errors import MalformedFrame
from pulse.ingest.recording import RawFrame, Recorded, Recording
from pulse.ingest.sequencer import Sequencer
from pulse.market.types import FeedDown, FeedUp
from pulse.queues import Inbox

log = logging.getLogger(__name__)

AHEAD_S = 0.002
"""Frames closer than this to their time are played at once: a timer is no finer."""
BURST_FRAMES = 64
"""Frames played before others on the loop get their turn, when nothing is waited for."""
ENDED = "the recording has ended"


class Replay:
    """Plays a recording once. `speed` is a factor on recorded time; infinity plays as fast as the engine takes it."""

    def __init__(self, recording: Recording, inbox: Inbox, clock: ReplayClock, speed: float) -> None:
        self._recording = recording
        self._clock = clock
        self._speed = speed
        self._intakes = {symbol: Sequencer(symbol, inbox, clock, may_repair=False) for symbol in recording.instruments}

    async def run(self) -> None:
        """Play the recording to its end; afterwards the views say that it has ended."""
        for symbol, intake in self._intakes.items():
            await intake.put(self._recording.instruments[symbol])
            await intake.put(FeedUp())
        start_s = asyncio.get_running_loop().time()
        start_ms: float | None = None
        for count, message in enumerate(self._recording.messages()):
            start_ms = message.received_ms if start_ms is None else start_ms
            await self._wait(start_s + (message.received_ms - start_ms) / 1000 / self._speed, count)
            self._clock.advance(message.received_ms)
            await self._play(message)
        for intake in self._intakes.values():
            await intake.put(FeedDown(ENDED))
        log.info("replay ended")

    async def _wait(self, due_s: float, count: int) -> None:
        ahead_s = 0.0 if isinf(self._speed) else due_s - asyncio.get_running_loop().time()
        if ahead_s > AHEAD_S:
            await asyncio.sleep(ahead_s)
        elif count % BURST_FRAMES == 0:
            await asyncio.sleep(0)

    async def _play(self, message: Recorded) -> None:
        if not isinstance(message, RawFrame):
            intake = self._intakes.get(message.symbol)
            if intake is not None:
                await intake.snapshot(message.snapshot)
            return
        try:
            frame = parse(message.raw)
        except MalformedFrame as fault:
            stats.frames_malformed.labels("").inc()
            log.warning("recorded frame refused reason=%s", fault)
            return
        if isinstance(frame, Frame) and frame.symbol in self._intakes:
            await self._intakes[frame.symbol].frame(frame)
