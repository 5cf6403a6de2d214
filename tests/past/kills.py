"""Kills recorders at random moments, and looks at what each has left: `python -m tests.past.kills --count 200`.

Each is a process of its own that records as fast as it can, blocks of a minute of a small market, onto the disk. What
it has written down must be whole, flawless and without a hole; at most the block under way is lost, and the next
recording says that the one before did not end in order.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pulse.market.market import Origin
from pulse.past.block import Block
from pulse.past.playback import open_block, play
from pulse.past.recorder import Recorder
from pulse.past.recording import STARTED
from pulse.past.ring import Ring
from pulse.past.segment_writer import SegmentWriter
from pulse.past.segments import all_segments, read_entry, scan_segment
from tests.support.makers import ManualClock
from tests.support.past import Live, quiet_session

ROOT = Path(__file__).parents[2]
MOMENTS_S = (0.0, 0.4)
"""When a process is killed, after its first block."""


async def record_for_ever(folder: Path) -> None:
    """Record without a pause, and print the number of each block once it is written."""
    clock = ManualClock(1000.0)
    recorder = Recorder(
        Origin(f"{os.getpid():08x}", "exchange", "us"), clock, Ring(2**20), SegmentWriter(folder, 2**40)
    )
    task = asyncio.create_task(recorder.run())
    live = Live(recorder.open, clock)
    second, written = 0, 0
    while not task.done():
        live.take(quiet_session(20, 10 + second, 1000 + 1000 * second))
        second += 20
        while recorder._handed_over or recorder._waiting:
            await asyncio.sleep(0.001)
        if live.log.number > written:  # type: ignore[attr-defined]  # it is a Recording
            print(written, flush=True)  # noqa: T201  # read by the one that kills
            written += 1


@contextmanager
def recorder_in(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that records into a folder."""
    command = [sys.executable, "-m", "tests.past.kills", "--record", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_one(folder: Path, moment_s: float) -> int:
    """Run a recorder, kill it this long after its first block; return how many blocks it said were written."""
    with recorder_in(folder) as process:
        assert process.stdout is not None
        lines = [next(process.stdout)]
        time.sleep(moment_s)
        process.kill()
        lines += process.stdout
    return int(lines[-1]) + 1


def blocks_of(folder: Path) -> dict[str, list[Block]]:
    """Return the blocks of each run, as the next process finds them."""
    writer = SegmentWriter(folder, 2**40)
    writer.open()
    writer.close()
    runs: dict[str, list[Block]] = {}
    for path in sorted(all_segments(folder)):
        scan = scan_segment(path)
        assert not scan.damages, scan.damages
        for entry in scan.entries:
            runs.setdefault(entry.meta.run, []).append(read_entry(entry))
    return runs


def check(blocks: list[Block], written: int) -> None:
    """Check what one killed process has left."""
    metas = [block.meta for block in blocks]
    assert written <= len(blocks) <= written + 1, (written, len(blocks))
    assert [meta.number for meta in metas] == list(range(len(metas)))
    assert (metas[0].after, {meta.after for meta in metas[1:]} - {""}) == (STARTED, set())
    assert {meta.ends for meta in metas} == {""}, "a killed process cannot have said that it ended"
    for block in blocks:
        market, rows = open_block(block)
        assert not block.meta.flaw
        *_, view = play(market, rows, 0.0)
        assert view is not None
        assert view.last_update_id == block.meta.last_update_id


def kill_many(folder: Path, count: int, seed: int) -> int:
    """Kill so many recorders, one after another in one folder; return how many blocks they have left."""
    rng = random.Random(seed)
    written = [kill_one(folder, rng.uniform(*MOMENTS_S)) for _ in range(count)]
    runs = blocks_of(folder)
    assert len(runs) == count
    for blocks, number in zip(runs.values(), written, strict=True):
        check(blocks, number)
    return sum(map(len, runs.values()))


def main() -> None:
    """Record, or kill those who do."""
    parser = argparse.ArgumentParser(description="Kill recorders at random moments.")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    if arguments.record is not None:
        asyncio.run(record_for_ever(arguments.record))
        return
    with tempfile.TemporaryDirectory() as folder:
        blocks = kill_many(Path(folder), arguments.count, arguments.seed)
    print(f"{arguments.count} recorders killed, {blocks} blocks left, none wrong, one lost each at most")  # noqa: T201


if __name__ == "__main__":
    main()
