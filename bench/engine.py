"""The engine: from the bytes of a diff to the JSON of a view, on the frames of a recorded session.

CPU per frame in one thread with nothing between the frames, so caches are warm: at the exchange's own rate a frame
costs several times as much, for every contender. What is timed, and how, is in books.py and engine_run.py.
"""

from typing import Any

from bench.context import Context
from bench.diffs import FRAMES_MAX
from bench.machine import cores
from bench.processes import Program, python
from bench.rows import PULSE, Against, Budget, Reading, Row

FLOOR, CRYPTOFEED = "orjson.loads + orjson.dumps", "cryptofeed (top 20, no metrics)"
FEW = "with 500 levels a side"
RUN_TIMEOUT_S = 180.0


def engines(context: Context) -> dict[str, Any]:
    """Time ours, orjson alone and cryptofeed on the same diffs; then ours on a small and a large book."""
    measured, _ = cores()
    frames = 1000 if context.is_quick else FRAMES_MAX
    command = python("bench.engine_run", context.recordings.resolve(), frames)
    with Program(command, measured, context.folder / "engine.log") as program:
        return program.read_object(RUN_TIMEOUT_S)


def _per_diff(context: Context) -> Reading:
    found = context.once(engines)
    values = {PULSE: found["us"]["pulse"], FLOOR: found["us"]["floor"]}
    notes = [f"{found['frames']:,} diffs: {found['origin']}."]
    if "cryptofeed" in found["us"]:
        values[CRYPTOFEED] = found["us"]["cryptofeed"]
        notes.append(_verdict(found["unlike"]))
    else:
        context.log(found["missing"])
    return Reading(values, tuple(notes))


def _verdict(differing: int) -> str:
    if differing:
        return f"Cryptofeed's best 20 levels differ from ours after {differing:,} of these diffs."
    return "Cryptofeed's best 20 levels equal ours after every one of these diffs."


def _deep(context: Context) -> Reading:
    found = context.once(engines)["depths_us"]
    return Reading({PULSE: found["many"], FEW: found["few"]})


ROWS = (
    Row(
        "engine",
        "engine: CPU from the bytes of a diff to the JSON of a view",
        "us",
        _per_diff,
        Budget(4, Against.TIMES),
        FLOOR,
    ),
    Row("engine-depth", "engine: the same with 5,000 levels a side", "us", _deep, Budget(1.5, Against.TIMES), FEW),
)
