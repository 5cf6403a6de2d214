"""The recorder: takes what each symbol's recording cuts, encodes and checks it in a thread, keeps it and writes it.

Each block is read back from its own bytes and played before it is kept: the book and the view at its end must be those
that were live, and its state is what the next block begins with. Nothing here is in the way of the feed: what comes too
fast is dropped, trouble of the disk is stated and tried again, and either is a hole with a cause, never a wrong block.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import starmap
from typing import Any

from pulse import stats
from pulse.clock import Clock
from pulse.errors import BadBlock
from pulse.market.market import Market, Origin
from pulse.market.view import View
from pulse.past.block import Block
from pulse.past.events import Row
from pulse.past.playback import REWIND, decode_rows, difference, encode_rows, keyframe_of, market_of, play
from pulse.past.recording import Cut, Recording
from pulse.past.ring import Ring
from pulse.past.segment_writer import SegmentWriter

log = logging.getLogger(__name__)

HANDED_OVER_BYTES_MAX = 32 * 2**20
"""Memory of the rows that wait for the thread, about: ten busy minutes."""
WAITING_BYTES_MAX = 8 * 2**20
"""Bytes of the blocks that wait for the disk; beyond it the oldest are not written."""
RETRY_S = 10.0
"""How often a disk that failed is tried again."""
LAST_WRITE_S = 2.0
"""The most that the last blocks of a stopping process take."""
TURN_ROWS = 64
"""Rows played in the thread before the loop's turn, which else would wait 5 ms for the interpreter."""
TOO_FAST = "the recorder could not keep up"
STOPPED = "the process was stopped"
CLOSED = "the symbol had no more watchers"
NOT_WRITTEN = "the disk could not be written: {}"
NOT_MADE = "the block before could not be made: {}"
DIFFERS = "{} of the block, played again, differs from the live one at its end"
RECORDED, WRITTEN, DROPPED, FLAWED = OUTCOMES = ("recorded", "written", "dropped", "differs")
"""What becomes of a block."""


@dataclass(slots=True)
class _Waiting:
    """A block that waits for the disk."""

    block: Block
    is_written: bool = False

    @property
    def size(self) -> int:
        """About its bytes."""
        return len(self.block.keyframe) + len(self.block.rows)


class Recorder:
    """Owns the recordings of all symbols. `writer` is None where the past is kept in memory alone."""

    def __init__(
        self, origin: Origin, clock: Clock, ring: Ring, writer: SegmentWriter | None, *,
        last_write_s: float = LAST_WRITE_S,
    ) -> None:  # fmt: skip
        self.ring = ring
        self.recordings: dict[str, Recording] = {}
        self._writer = writer
        self._trouble = ""  # why blocks are not written; empty while they are
        self._trouble_since_s: float | None = None
        self._origin = origin
        self._clock = clock
        self._last_write_s = last_write_s
        self._handed_over: deque[Cut] = deque()
        self._handed_over_bytes = 0
        self._filled = asyncio.Event()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._not_written: dict[str, str] = {}  # why the last blocks of a symbol are not on the disk
        self._thread = ThreadPoolExecutor(1, "history")
        stats.history_is_up.set_function(lambda: not self._trouble)
        stats.history_bytes.labels("memory").set_function(lambda: self.ring.total_bytes)
        stats.history_bytes.labels("disk").set_function(lambda: writer.total_bytes if writer is not None else 0)
        for outcome in OUTCOMES:
            stats.history_blocks.labels(outcome)  # begins at 0

    def open(self, market: Market) -> Recording:
        """Begin to record a market that has taken nothing yet."""
        made = Recording(market, self._origin.venue, self._origin.instance, self._clock, self._hand_over)
        self.recordings[market.symbol] = made
        return made

    def close(self, symbol: str) -> None:
        """End the recording of a symbol."""
        self.recordings.pop(symbol).end(int(self._clock.now_ms()), CLOSED)

    async def run(self) -> None:
        """Handle what is cut, for ever; at the end also what is not cut yet, within `last_write_s`."""
        try:
            while True:
                await self._handle_all()
                await self._wait()
        finally:
            for recording in self.recordings.values():
                recording.end(int(self._clock.now_ms()), STOPPED)
            # Not `asyncio.timeout`: this task has been cancelled.
            await asyncio.wait({asyncio.create_task(self._handle_all())}, timeout=self._last_write_s)
            self._thread.shutdown(wait=False, cancel_futures=True)
            if self._writer is not None:
                self._writer.close()

    @property
    def is_on_disk(self) -> bool:
        """Whether blocks are kept on the disk too."""
        return self._writer is not None

    def is_settled(self, symbol: str) -> bool:
        """Return whether all blocks of a symbol that were cut are handled, so that each can be found."""
        recording = self.recordings.get(symbol)
        is_waiting = any(cut.meta.symbol == symbol for cut in self._handed_over)
        return not is_waiting and (recording is None or recording.is_readable)

    def report(self) -> dict[str, Any]:
        """Return the object `history` of /readyz."""
        writer = self._writer
        return {
            "kind": "memory" if writer is None else "disk",
            "ok": not self._trouble,
            "since_ms": None if self._trouble_since_s is None else round(self._trouble_since_s * 1000),
            "detail": self._trouble,
            "bytes": self.ring.total_bytes if writer is None else writer.total_bytes,
        }

    def _hand_over(self, cut: Cut) -> str:
        """Take a cut; return why it is dropped, empty if it is not."""
        if self._handed_over and self._handed_over_bytes + cut.size > HANDED_OVER_BYTES_MAX:
            stats.history_blocks.labels(DROPPED).inc()
            log.warning("history block dropped symbol=%s reason=%s", cut.meta.symbol, TOO_FAST)
            return TOO_FAST
        self._handed_over.append(cut)
        self._handed_over_bytes += cut.size
        self._filled.set()
        return ""

    async def _wait(self) -> None:
        """Wait for a cut, or until the disk is to be tried again."""
        self._filled.clear()
        try:
            async with asyncio.timeout(RETRY_S if self._trouble else None):
                while not self._handed_over:
                    await self._filled.wait()
        except TimeoutError:
            pass

    async def _handle_all(self) -> None:
        while self._handed_over:
            cut = self._handed_over[0]
            await self._in_thread(partial(handle, cut))
            self._handed_over.popleft()
            self._handed_over_bytes -= cut.size
            if cut.block is not None:
                stats.history_blocks.labels(FLAWED if cut.block.meta.flaw else RECORDED).inc()
                self.ring.add(cut.block)
                self._queue_for_disk(cut.block)
        if self._writer is not None and (self._waiting or not self._writer.is_open):
            await self._write_waiting(self._writer)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- the disk

    def _queue_for_disk(self, block: Block) -> None:
        """Have a block written; beyond the bound the oldest is not, and the next of its symbol says why."""
        if self._writer is None:
            return
        symbol = block.meta.symbol
        after = self._not_written.pop(symbol, "")
        item = _Waiting(_after(block, after) if after else block)
        self._waiting.append(item)
        self._waiting_bytes += item.size
        while self._waiting_bytes > WAITING_BYTES_MAX:
            oldest = self._waiting.popleft()
            self._waiting_bytes -= oldest.size
            if not oldest.is_written:
                stats.history_blocks.labels(DROPPED).inc()
                self._say_missing(oldest.block.meta.symbol)

    def _say_missing(self, symbol: str) -> None:
        """Have the next block of a symbol say why those before it are not on the disk."""
        reason = NOT_WRITTEN.format(self._trouble or "it is too slow")
        following = next((item for item in self._waiting if item.block.meta.symbol == symbol), None)
        if following is None:
            self._not_written[symbol] = reason
        else:
            following.block = _after(following.block, reason)

    async def _write_waiting(self, writer: SegmentWriter) -> None:
        try:
            await self._in_thread(partial(_write, writer, tuple(self._waiting)))
        except OSError as fault:
            writer.close()  # it is opened again, which finds what is there
            text = f"{fault.strerror or fault}" if fault.filename is None else f"{fault.filename}: {fault.strerror}"
            if not self._trouble:
                self._trouble_since_s = self._clock.wall_s()
                log.warning("history not written reason=%s", text)
            self._trouble = text
        else:
            if self._trouble:
                log.info("history written again blocks=%s", len(self._waiting))
            self._trouble, self._trouble_since_s = "", None
        while self._waiting and self._waiting[0].is_written:
            self._waiting_bytes -= self._waiting.popleft().size
            stats.history_blocks.labels(WRITTEN).inc()


NOT_RECORDED = {"kind": "off", "ok": True, "since_ms": None, "detail": "", "bytes": 0}
"""The object `history` of /readyz where nothing is recorded."""


def _after(block: Block, reason: str) -> Block:
    return block._replace(meta=replace(block.meta, after=reason))


# --- in the thread


def handle(cut: Cut) -> None:
    """Make the block of a cut, once: a caller that is cancelled leaves its thread at work, and calls again."""
    if not cut.is_handled:
        cut.block = _block_of(cut)
        cut.is_handled = True


def _write(writer: SegmentWriter, waiting: Sequence[_Waiting]) -> None:
    """Write the blocks that are not written yet. Raises OSError."""
    if not writer.is_open:
        writer.open()
    for item in waiting:
        if not item.is_written:
            writer.append(item.block)
            item.is_written = True


def _block_of(cut: Cut) -> Block | None:
    """Return the block of a cut, read back and compared; None where the state that it begins with is not known."""
    recording = cut.recording
    if cut.state is None and recording.keyframe_number != cut.meta.number:
        return None
    try:
        keyframe = recording.keyframe if cut.state is None else cut.state.finish()
        block = Block(cut.meta, keyframe, encode_rows(list(starmap(Row, cut.rows))))
        market, flaw = _played(block, cut)
        recording.keyframe = keyframe_of(market)
    except (BadBlock, ArithmeticError, LookupError, TypeError, ValueError) as fault:
        log.exception("history block not made symbol=%s", cut.meta.symbol)
        recording.flaw = NOT_MADE.format(fault)
        return None
    if flaw:
        log.error("history block differs symbol=%s reason=%s", cut.meta.symbol, flaw)
        recording.flaw = flaw
        return block._replace(meta=replace(block.meta, flaw=flaw))
    recording.keyframe_number = cut.meta.number + 1
    return block


def _played(block: Block, cut: Cut) -> tuple[Market, str]:
    """Read a block and play it; return the market at its end, and what differs from what was live then."""
    meta = block.meta
    market = market_of(meta.symbol, Origin(meta.run, REWIND, meta.venue), block.keyframe)
    view: View | None = None
    for number, made in enumerate(play(market, decode_rows(block.rows), meta.from_ms - meta.clock_ms)):
        view = made or view
        if number % TURN_ROWS == 0:
            time.sleep(0)
    book = market.book
    sides = None if book is None else [book.last_update_id, book.bids.contents(), book.asks.contents()]
    if sides != cut.book:
        return market, DIFFERS.format("the book")
    field = "" if view is None or cut.view is None else difference(view, cut.view)
    return market, DIFFERS.format(f"`{field}` of the view") if field else ""
