"""Replay: a recording is played through the same sequencer as live data, at the recorded pace or faster."""

import asyncio
import logging
from math import isinf

from pulse import stats
from pulse.binance.messages import Frame, parse
from pulse.clock import ReplayClock
from pulse.errors import MalformedFrame
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.recording import RawFrame, Recorded, Recording
from pulse.ingest.sequencer import Sequencer
from pulse.market.types import FeedDown, FeedUp
from pulse.queues import Inbox

log = logging.getLogger(__name__)

AHEAD_S = 0.002
"""A frame that is due sooner than this is played at once: a timer is no finer."""
BURST_FRAMES = 64
"""Frames played before other tasks run, where no time is waited for."""
ENDED = FeedDown("the recording has ended", is_end=True)
ENDED_TORN = FeedDown("the recording has ended where it is torn off", is_end=True)


class Replay:
    """The source of events of a process that plays a recording, once.

    `speed` is a factor on recorded time; infinity plays as fast as the engine takes the events.
    """

    def __init__(self, recording: Recording, inbox: Inbox, clock: ReplayClock, speed: float) -> None:
        self._recording = recording
        self._clock = clock
        self._speed = speed
        held = HeldBudget()
        self._sequencers = {
            symbol: Sequencer(symbol, inbox, clock, held, repairs_trades=False) for symbol in recording.instruments
        }
        for sequencer in self._sequencers.values():
            held.add(sequencer)
        self._refused = 0  # frames that were malformed

    def open(self, symbol: str) -> None:
        """Do nothing: the symbols of a recording are fixed, and all of them are played."""

    def close(self, symbol: str) -> None:
        """Do nothing: the symbols of a recording are fixed, and all of them are played."""

    async def run(self) -> None:
        """Play the recording to its end; afterwards every view states that it has ended."""
        for symbol, sequencer in self._sequencers.items():
            await sequencer.put(self._recording.instruments[symbol])
            await sequencer.put(FeedUp())
        start_s = asyncio.get_running_loop().time()
        start_ms: float | None = None
        for count, message in enumerate(self._recording.messages()):
            start_ms = message.received_ms if start_ms is None else start_ms
            await self._wait(start_s + (message.received_ms - start_ms) / 1000 / self._speed, count)
            self._clock.advance(message.received_ms)
            await self._play(message)
        for sequencer in self._sequencers.values():
            await sequencer.put(ENDED_TORN if self._recording.is_torn else ENDED)
        log.info("replay ended frames_refused=%s", self._refused)

    async def _wait(self, due_s: float, count: int) -> None:
        ahead_s = 0.0 if isinf(self._speed) else due_s - asyncio.get_running_loop().time()
        if ahead_s > AHEAD_S:
            await asyncio.sleep(ahead_s)
        elif count % BURST_FRAMES == 0:
            await asyncio.sleep(0)

    async def _play(self, message: Recorded) -> None:
        if not isinstance(message, RawFrame):
            sequencer = self._sequencers.get(message.symbol)
            if sequencer is not None:
                await sequencer.put_snapshot(message.snapshot)
            return
        try:
            frame = parse(message.raw)
        except MalformedFrame as fault:
            stats.frames_malformed.labels("").inc()
            if not self._refused:
                log.warning("recorded frame refused, later ones are only counted reason=%s", fault)
            self._refused += 1
            return
        if isinstance(frame, Frame) and frame.symbol in self._sequencers:
            await self._sequencers[frame.symbol].put_frame(frame)
