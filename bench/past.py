"""The recorded past: what recording costs, how much it takes, and how long a moment takes to find.

On all streams of a recorded session of BTCUSDT, cut into blocks as the terminal cuts them; see past_run.py.
"""

from typing import Any

from bench.context import Context
from bench.machine import cores
from bench.processes import Program, python
from bench.rows import PULSE, Budget, Reading, Row

FLOOR = "unpacking and decoding the block's rows alone"
RUN_TIMEOUT_S = 300.0


def recordings(context: Context) -> dict[str, Any]:
    """Record a session, and read it at random moments."""
    measured, _ = cores()
    seeks = 100 if context.is_quick else 1000
    command = python("bench.past_run", context.recordings.resolve(), seeks)
    with Program(command, measured, context.folder / "past.log") as program:
        return program.read_object(RUN_TIMEOUT_S)


def _reading(context: Context, name: str) -> Reading:
    found = context.once(recordings)
    note = f"{found['rows']:,} events and views in {found['seconds']:.0f} s, {found['blocks']} blocks."
    return Reading({PULSE: found[name]}, (note,))


def _core(context: Context) -> Reading:
    return _reading(context, "core_percent")


def _loop(context: Context) -> Reading:
    return _reading(context, "loop_ns")


def _events(context: Context) -> Reading:
    return _reading(context, "rows_mb_hour")


def _all(context: Context) -> Reading:
    return _reading(context, "mb_hour")


def _seek(context: Context) -> Reading:
    found = context.once(recordings)
    return Reading({PULSE: found["seek_p99_ms"], FLOOR: found["floor_p99_ms"]})


def _speed(context: Context) -> Reading:
    return _reading(context, "replay_times")


ROWS = (
    Row("past-core", "recorded past: recording BTCUSDT, all of it", "% of a core", _core, Budget(2)),
    Row("past-loop", "recorded past: the engine's part of that, per event", "ns", _loop),
    Row("past-rows", "recorded past: diffs, tickers, trades and views", "MB an hour", _events, Budget(6)),
    Row("past-bytes", "recorded past: the same with a keyframe a minute", "MB an hour", _all, Budget(10)),
    Row("past-seek", "recorded past: a random moment's view, p99", "ms", _seek, Budget(50), FLOOR),
    Row("past-replay", "recorded past: time of the session through its playing", "times", _speed),
)
