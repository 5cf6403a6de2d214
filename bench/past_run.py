"""Records a session and reads it at random moments, as a program of its own: the result is one JSON object on stdout.

Reported is CPU time of the thread, but for seeks, whose time is the clock's.
"""

import argparse
import asyncio
import gc
import random
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import orjson

from bench.books import LEVELS_MAX, STALE_AFTER_MS, TRADES_KEPT
from bench.diffs import SESSION, SYMBOL
from bench.processes import BenchError
from pulse.clock import ReplayClock
from pulse.ingest.recording import open_recording
from pulse.ingest.replay import Replay
from pulse.market.market import Market, Origin
from pulse.market.types import DepthDiff
from pulse.past.block import Block, encode_block
from pulse.past.events import VIEW, Row
from pulse.past.playback import decode_rows, open_block, play
from pulse.past.reader import view_of_block
from pulse.past.recorder import handle
from pulse.past.recording import Cut, Recording
from pulse.queues import Inbox, Received

HOUR_S = 3600
MB = 1e6


class _Rows:
    """Takes what a replay puts, in place of the engine's inbox; a view follows each diff."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def put(self, received: Received) -> None:
        """Take an event."""
        at_ms = int(received.received_ms)
        self.rows.append(Row(at_ms, received.event))
        if isinstance(received.event, DepthDiff):
            self.rows.append(Row(at_ms, VIEW))


def session_rows(recordings: Path) -> list[Row]:
    """Return what a market is given of the session. Raises BenchError where there is none."""
    files = sorted((recordings / SESSION).glob("*.gz"))
    if not files:
        raise BenchError(f"no recording at {recordings / SESSION}")
    box = _Rows()
    inbox: Inbox = box  # type: ignore[assignment]  # all that a replay uses of it
    asyncio.run(Replay(open_recording(files), inbox, ReplayClock(), float("inf")).run())
    return box.rows


class Session:
    """A market that is recorded: what the engine's part and the thread's part of it cost."""

    def __init__(self) -> None:
        origin = Origin("00000000", "replay", "com")
        self.market = Market(
            SYMBOL, origin, levels_max=LEVELS_MAX, trades_kept=TRADES_KEPT, stale_after_ms=STALE_AFTER_MS
        )
        self.clock = ReplayClock()
        self.blocks: list[Block] = []
        self.loop_ns = self.thread_ns = 0
        self.recording = Recording(self.market, "com", origin.instance, self.clock, self._take)

    def record(self, rows: list[Row]) -> None:
        """Give all rows to the market and its recording."""
        for at_ms, event in rows:
            self.clock.advance(at_ms)
            if event is not VIEW:
                self.market.apply(event, at_ms)
                self.market.candles.take_closed()
                self.market.integrity.pop_resync_request()
                began_ns = time.thread_time_ns()
                self.recording.add(at_ms, event)
            else:
                view = self.market.view(at_ms, at_ms / 1000)
                self.market.trades_view()
                self.market.take_silences()
                began_ns = time.thread_time_ns()
                self.recording.view_made(at_ms, view)
            self.loop_ns += time.thread_time_ns() - began_ns
        self.recording.end(rows[-1].at_ms, "the session has ended")

    def _take(self, cut: Cut) -> str:
        began_ns = time.thread_time_ns()
        handle(cut)
        spent_ns = time.thread_time_ns() - began_ns
        self.thread_ns += spent_ns
        self.loop_ns -= spent_ns  # it is called within the engine's part here
        if cut.block is None or cut.block.meta.flaw:
            raise BenchError("a block is not what was live")
        self.blocks.append(cut.block)
        return ""


def clock_ns() -> float:
    """Return what reading the clock twice costs, which is part of each measured event."""
    began_ns = time.thread_time_ns()
    for _ in range(100_000):
        time.thread_time_ns()
    return (time.thread_time_ns() - began_ns) / 100_000


def seeks(blocks: list[Block], count: int) -> tuple[list[float], list[float]]:
    """Return how long the views of random moments take, and the floors, in ms."""
    rng = random.Random(1)
    found: list[float] = []
    floors: list[float] = []
    for _ in range(count):
        block = rng.choice(blocks)
        at_ms = rng.randrange(block.meta.from_ms, block.meta.to_ms)
        began_ns = time.perf_counter_ns()
        view_of_block(block, at_ms)
        found.append((time.perf_counter_ns() - began_ns) / 1e6)
        began_ns = time.perf_counter_ns()
        decode_rows(block.rows)
        floors.append((time.perf_counter_ns() - began_ns) / 1e6)
    return found, floors


def replay_s(blocks: list[Block]) -> float:
    """Return the CPU time of playing all blocks."""
    began_ns = time.thread_time_ns()
    for block in blocks:
        for _ in play(*open_block(block), 0.0):
            pass
    return (time.thread_time_ns() - began_ns) / 1e9


def measure(recordings: Path, count: int) -> dict[str, Any]:
    """Record the session and read it."""
    rows = session_rows(recordings)
    session = Session()
    gc.collect()
    gc.freeze()  # as the terminal does
    session.record(rows)
    blocks = session.blocks
    seconds = (rows[-1].at_ms - next(row.at_ms for row in rows if row.at_ms)) / 1000
    found, floors = seeks(blocks, count)
    loop_ns = session.loop_ns - clock_ns() * len(rows)
    per_hour = HOUR_S / seconds / MB
    return {
        "rows": len(rows),
        "seconds": seconds,
        "blocks": len(blocks),
        "core_percent": 100 * (loop_ns + session.thread_ns) / 1e9 / seconds,
        "loop_ns": loop_ns / len(rows),
        "rows_mb_hour": sum(len(block.rows) for block in blocks) * per_hour,
        "mb_hour": sum(len(encode_block(block)) for block in blocks) * per_hour,
        "seek_p99_ms": quantiles(found, n=100)[-1],
        "floor_p99_ms": quantiles(floors, n=100)[-1],
        "replay_times": seconds / replay_s(blocks),
    }


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", type=Path)
    parser.add_argument("seeks", type=int)
    options = parser.parse_args()
    print(orjson.dumps(measure(options.recordings, options.seeks)).decode(), flush=True)


if __name__ == "__main__":
    main()
