"""Rotation: when one symbol's connection is to be replaced, and when its successor may take over without a lost frame.

An exchange closes every connection after a day, and announces a restart shortly before it. A second connection, the
successor, is opened while the first runs. Its frames wait until the ids of the two overlap, then they follow on the
first's, ids telling what is new, and the first is closed. No id is missed, and no client notices. Nothing here opens,
reads or closes a connection.
"""

import asyncio
import random
from dataclasses import dataclass, field

from pulse.binance.messages import Frame
from pulse.binance.transport import Stream
from pulse.clock import Clock
from pulse.ingest.sequencer import Sequencer
from pulse.market.depth_sync import LEVEL_BYTES
from pulse.market.types import DepthDiff, PartialDepth, Trade

ROTATE_AFTER_S = 23.5 * 3600
"""The exchange closes a connection after 24 h."""
ROTATE_SPREAD = 0.05
"""A connection is replaced up to this share of its time earlier, at random, so that symbols do not rotate together."""
OVERLAP_S = 1.0
"""The shortest time that two connections run side by side: what the exchange sent to the first before the second began
has been read by then."""
OVERLAP_MAX_S = 30.0
"""After this the successor takes over even if no overlap was seen; a gap then shows in the ids."""
WAITING_FRAMES_MAX = 10_000
"""Frames of the successor that may wait, 30 s of the busiest recorded stream; at the bound it takes over."""
FRAME_BYTES = 550
"""About the memory of a frame without its levels."""


@dataclass(eq=False, slots=True)
class Successor:
    """A second connection and its frames, which wait until it takes over."""

    stream: Stream
    opened_ms: float
    frames: list[Frame] = field(default_factory=list)
    frames_bytes: int = 0  # about their memory
    is_released: bool = False  # it takes over with its next frame, for want of memory
    took_over: bool = False
    is_ending: bool = False  # the exchange has announced its end too: it is replaced once it has taken over
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # it took over, or ended before it could


class Rotation:
    """The rotation of one symbol's connection; `rotate_after_s` is the age at which a connection is replaced.

    What waits of the successor counts in a `HeldBudget`, to which the caller adds the rotation.
    """

    def __init__(self, sequencer: Sequencer, clock: Clock, rng: random.Random, rotate_after_s: float) -> None:
        self.symbol = sequencer.symbol
        self._sequencer = sequencer
        self._clock = clock
        self._rng = rng
        self._rotate_after_s = rotate_after_s
        self._due = asyncio.Event()
        self._last_trade_id = -1
        self._awaits_trades = True
        self.successor: Successor | None = None
        self.completed = 0

    @property
    def is_due(self) -> bool:
        """Whether the connection is to be replaced now."""
        return self._due.is_set()

    @property
    def held_bytes(self) -> int:
        """About the memory of the successor's frames."""
        successor = self.successor
        return 0 if successor is None or successor.is_released else successor.frames_bytes

    async def release_oldest(self) -> None:
        """Have the successor take over with its next frame, whether the ids overlap or not."""
        if self.successor is not None:
            self.successor.is_released = True

    def request(self, *, awaits_trades: bool = True) -> None:
        """Make the rotation due now, whatever the connection's age.

        Without `awaits_trades` the connection is not expected to reach the successor's trades: it sends none.
        """
        self._awaits_trades = self._awaits_trades and awaits_trades
        self._due.set()

    async def wait_until_due(self) -> None:
        """Wait for a request, or until the connection has reached its age."""
        try:
            async with asyncio.timeout(self._rotate_after_s * self._rng.uniform(1 - ROTATE_SPREAD, 1)):
                await self._due.wait()
        except TimeoutError:
            self._due.set()

    def reset(self) -> None:
        """Forget the successor and any request: the connection and its successor are closed."""
        self.successor = None
        self._awaits_trades = True
        self._due.clear()

    def note_trade(self, trade_id: int) -> None:
        """Note that the first connection has delivered the trade of this id."""
        self._last_trade_id = max(self._last_trade_id, trade_id)

    def begin(self, stream: Stream) -> Successor:
        """Make a connection that was just opened the successor."""
        self.successor = Successor(stream, self._clock.now_ms())
        return self.successor

    def hold(self, successor: Successor, frame: Frame) -> bool:
        """Keep a frame of the successor; return whether the successor is to take over now."""
        successor.frames.append(frame)
        successor.frames_bytes += _bytes_of(frame)
        waited_ms = self._clock.now_ms() - successor.opened_ms
        is_full = successor.is_released or len(successor.frames) >= WAITING_FRAMES_MAX
        if is_full or waited_ms > OVERLAP_MAX_S * 1000:
            return True
        return waited_ms >= OVERLAP_S * 1000 and self._overlaps(successor.frames)

    def _overlaps(self, frames: list[Frame]) -> bool:
        """Return whether the first ids of the successor are ones that the first connection has reached."""
        diff = next((frame.event for frame in frames if isinstance(frame.event, DepthDiff)), None)
        trade = next((frame.event for frame in frames if isinstance(frame.event, Trade)), None)
        if diff is None or not self._sequencer.is_contiguous(diff):
            return False
        return trade is None or not self._awaits_trades or trade.trade_id <= self._last_trade_id + 1

    def take_over(self, successor: Successor) -> list[Frame]:
        """End the rotation: the successor is the current connection now. Return its frames, which go on at once.

        The next rotation is due at once where the successor is ending itself.
        """
        self.reset()
        if successor.is_ending:
            self.request()
        self.completed += 1
        successor.took_over = True
        frames, successor.frames = successor.frames, []
        return frames

    def abandon(self, successor: Successor) -> None:
        """Give up a successor that ended before it could take over; the rotation stays due."""
        self.successor = None
        successor.settled.set()


def _bytes_of(frame: Frame) -> int:
    event = frame.event
    if not isinstance(event, DepthDiff | PartialDepth):
        return FRAME_BYTES
    return FRAME_BYTES + LEVEL_BYTES * (len(event.bids.prices) + len(event.asks.prices))
