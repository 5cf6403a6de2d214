"""Reading the recorded past: what a symbol showed at a moment, and what there is of it.

Blocks are looked for where they are newest: the running one, memory, the disk. Decoding and playing are done in one
thread and at most a part of the time, so that readers leave the feed its core; how many may wait is up to the caller.
What cannot be read is not observed: nothing is stretched over a hole.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pulse.clock import Clock
from pulse.concurrency import DutyCycle
from pulse.errors import BadBlock, NotObserved, PastUnavailable
from pulse.market.intervals import DAY_MS, iso_time
from pulse.market.market import Origin
from pulse.market.view import View
from pulse.past.block import Block, BlockMeta
from pulse.past.events import Row
from pulse.past.playback import REWIND, decode_rows, market_of, play
from pulse.past.recorder import Recorder
from pulse.past.recording import BLOCK_MS
from pulse.past.ring import is_of
from pulse.past.segments import Entry, Scan, hour_name, read_entry, scan_segment, segment_paths, symbol_folder
from pulse.past.spans import hole_at, in_order, report_of, row_of

A = TypeVar("A")
Keyframe: TypeAlias = Callable[[], bytes]

SCANS_MAX = 96
"""Segments whose blocks are remembered, about 1 MB in all for each ten."""
SETTLED_S = 2.0
"""How long a reader waits for blocks that are on their way to the recorder's thread."""
POLL_S = 0.02
READ_SHARE = 0.5
"""The part of the time in which the past is decoded and played for all readers together; the loop needs the other."""
TURN_ROWS = 64
"""Rows played before the loop's turn, as in `recorder`."""
NOTHING_RECORDED = "Nothing of {} is recorded at {}: {}."
NEARBY_MS = DAY_MS
"""How far around a moment the cause of a hole is looked for."""


class PastReader:
    """Reads what a recorder keeps. `folder` is None where nothing is on the disk."""

    def __init__(self, recorder: Recorder, folder: Path | None, venue: str, clock: Clock) -> None:
        self._recorder = recorder
        self._folder = folder
        self._venue = venue
        self._clock = clock
        self._scans: dict[Path, tuple[int, Scan]] = {}  # by path, with the size that was read; the oldest use first
        self._thread = ThreadPoolExecutor(1, "history-reader")
        self._turns = DutyCycle(READ_SHARE)

    async def view_at(self, symbol: str, at_ms: int) -> View:
        """Return the view of a moment, in ms since the epoch: the one made then, or one made of what was known then.

        Raises NotObserved where nothing is recorded, PastUnavailable where it cannot be read now.
        """
        await self._settled(symbol)
        recording = self._recorder.recordings.get(symbol)
        if recording is not None and recording.from_ms <= at_ms <= self._now_ms():
            keyframe, meta = recording.beginning(), recording.running_meta(int(self._clock.now_ms()))
            return await self._in_thread(partial(_view_of_rows, keyframe, meta, list(recording.rows), at_ms))
        try:
            block = self._recorder.ring.find(symbol, at_ms)
            if block is None:
                block = await self._in_thread(partial(self._find_on_disk, symbol, at_ms))
            if block is None:
                raise NotObserved(await self._why_not(symbol, at_ms))
            if block.meta.flaw:
                raise NotObserved(NOTHING_RECORDED.format(symbol, iso_time(at_ms), block.meta.flaw))
            return await self._in_thread(partial(view_of_block, block, at_ms))
        except BadBlock as fault:
            raise NotObserved(f"The record of {symbol} at {iso_time(at_ms)} cannot be read: {fault}.") from fault

    async def report(self, symbol: str, days: int) -> dict[str, Any]:
        """Return the object of /api/history: what there is of the newest days. Raises PastUnavailable."""
        to_ms = self._now_ms()
        from_ms = to_ms - days * DAY_MS
        metas = await self._metas(symbol, from_ms, to_ms)
        row = await self._in_thread(lambda: row_of(report_of(symbol, metas, from_ms, to_ms)))
        return {**row, "place": self._recorder.report()["kind"]}

    # --- where blocks are

    async def _settled(self, symbol: str) -> None:
        """Wait until the blocks of a symbol that were cut have been handled. Raises PastUnavailable."""
        until_s = time.monotonic() + SETTLED_S
        while not self._recorder.is_settled(symbol):
            if time.monotonic() > until_s:
                raise PastUnavailable(f"The newest blocks of {symbol} are still being recorded.")
            await asyncio.sleep(POLL_S)

    async def _metas(self, symbol: str, from_ms: int, to_ms: int) -> list[BlockMeta]:
        """Return what is known of the blocks of a range, the running one included, in their order."""
        await self._settled(symbol)
        metas = [entry.meta for entry in await self._in_thread(partial(self._entries, symbol, from_ms, to_ms))]
        metas += self._recorder.ring.metas(symbol)
        recording = self._recorder.recordings.get(symbol)
        if recording is not None:
            metas.append(recording.running_meta(int(self._clock.now_ms())))
        return in_order(metas)

    async def _why_not(self, symbol: str, at_ms: int) -> str:
        """Return a sentence on why nothing is recorded of a moment."""
        metas = await self._metas(symbol, at_ms - NEARBY_MS, at_ms + NEARBY_MS)
        hole = hole_at(metas, at_ms)
        cause = hole.cause if hole is not None else "it is before or after what is kept"
        return NOTHING_RECORDED.format(symbol, iso_time(at_ms), cause)

    def _find_on_disk(self, symbol: str, at_ms: int) -> Block | None:
        found = [entry for entry in self._entries(symbol, at_ms, at_ms) if is_of(entry.meta, symbol, at_ms)]
        return read_entry(found[-1]) if found else None

    def _entries(self, symbol: str, from_ms: int, to_ms: int) -> list[Entry]:
        """Return the blocks on the disk in the hours of a range. Raises OSError."""
        if self._folder is None:
            return []
        first, last = hour_name(max(0, from_ms - BLOCK_MS)), hour_name(to_ms)
        paths = segment_paths(symbol_folder(self._folder, self._venue, symbol))
        return [entry for path in paths if first <= path.name[:13] <= last for entry in self._scan(path).entries]

    def _scan(self, path: Path) -> Scan:
        """Return what a segment holds, read again if it has grown; one that was deleted holds nothing."""
        try:
            size = path.stat().st_size
            known = self._scans.pop(path, None)
            scan = known[1] if known is not None and known[0] == size else scan_segment(path)
        except FileNotFoundError:
            return NOTHING
        self._scans[path] = size, scan
        if len(self._scans) > SCANS_MAX:
            del self._scans[next(iter(self._scans))]
        return scan

    async def _in_thread(self, work: Callable[[], A]) -> A:
        try:
            async with self._turns.turn():
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as fault:
            raise PastUnavailable(f"The recorded past cannot be read from the disk: {fault.strerror}.") from fault

    def _now_ms(self) -> int:
        return round(self._clock.wall_s() * 1000)


NOTHING = Scan((), (), 0)


# --- in the thread


def view_of_block(block: Block, at_ms: int) -> View:
    """Return the view of a moment within a block. Raises BadBlock."""
    return _view_of_rows(lambda: block.keyframe, block.meta, decode_rows(block.rows), at_ms)


def _view_of_rows(keyframe: Keyframe, meta: BlockMeta, rows: Sequence[tuple[int, object]], at_ms: int) -> View:
    """Return the view of a moment within a block. Raises BadBlock."""
    market = market_of(meta.symbol, Origin(meta.run, REWIND, meta.venue), keyframe())
    until_ms = meta.row_ms(at_ms)
    before = [Row(*row) for row in takewhile(lambda row: row[0] <= until_ms, rows)]
    shown: View | None = None
    for number, (row, made) in enumerate(zip(before, play(market, before, meta.from_ms - meta.clock_ms), strict=True)):
        if made is not None and row.at_ms == until_ms:
            shown = made
        if number % TURN_ROWS == 0:
            time.sleep(0)
    # At a moment at which no view was made one is made now, of all that was known then.
    return shown or market.view(until_ms, at_ms / 1000)
