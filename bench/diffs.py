"""The diffs that books are measured with: a recorded session where there is one, otherwise the simulator's.

Both are raw: a REST snapshot and the frames of the depth stream that join it, as bytes. Knows no book.
"""

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from pulse.simulator.exchange import Exchange

SYMBOL = "BTCUSDT"
SESSION = "btcusdt-2024-08-08"
FRAMES_MAX = 2400
"""Of the recorded session: soon after, the price leaves the range of its one snapshot of 1,000 levels a side, and a
book that knows this has fewer than 20 levels to show."""
SIMULATED_MS, START_MS, STEP_MS = 500_000, 1_790_000_040_000, 1000
CHANGES, MID_TICKS, NEAR_LEVELS = 46, 6_000_000, 400
TICKS_APART = 13
"""Between the levels of an even book: 500 then cover 11 bps and 5,000 cover 108 bps, as real BTCUSDT snapshots do."""


@dataclass(frozen=True, slots=True)
class Session:
    """A depth snapshot as the REST API returns it, the frames that follow it, and their origin."""

    origin: str
    snapshot: bytes
    limit: int
    frames: list[bytes]


def session(recordings: Path, frames_max: int = FRAMES_MAX) -> Session:
    """Return the recorded session in this folder, or a simulated one without it."""
    files = sorted((recordings / SESSION).glob("*.gz"))
    return _recorded(files, frames_max) if files else _simulated(frames_max)


def _recorded(files: list[Path], frames_max: int) -> Session:
    snapshot, snapshot_id, frames = b"", 0, []
    for line in _lines(files):
        raw = line.partition(b" ")[2].rstrip()
        if raw.startswith(b'{"lastUpdateId"'):
            snapshot, snapshot_id = raw, orjson.loads(raw)["lastUpdateId"]
        elif b"@depth@" in raw[:60]:
            frames.append(raw)
        if len(frames) == frames_max:
            break
    joining = [raw for raw in frames if orjson.loads(raw)["data"]["u"] > snapshot_id]
    return Session("real BTCUSDT diffs of 2024-08-08", snapshot, 1000, joining)


def _lines(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with gzip.open(path, "rb") as lines:
            yield from lines


def _simulated(frames_max: int) -> Session:
    exchange = Exchange([SYMBOL], 1, START_MS)
    snapshot = orjson.dumps(exchange.depth(SYMBOL, 5000))
    stream = f"{SYMBOL.lower()}@depth@100ms"
    frames: list[bytes] = []
    for now_ms in range(START_MS + STEP_MS, START_MS + SIMULATED_MS, STEP_MS):
        events = exchange.advance(now_ms, {stream})
        frames += [orjson.dumps({"stream": event.stream, "data": event.data}) for event in events]
        if len(frames) >= frames_max:
            break
    return Session("the simulator's diffs, seed 1", snapshot, 5000, frames[:frames_max])


def even_book(levels: int, frames: int, seed: int = 1) -> Session:
    """Return a book of so many levels a side, with diffs near the best price that do not depend on that number."""
    rng = random.Random(seed)
    sides = {name: [_level(sign, rank, "1.00000000") for rank in range(levels)] for name, sign in _SIDES.items()}
    snapshot = orjson.dumps({"lastUpdateId": 1, "bids": sides["b"], "asks": sides["a"]})
    made = []
    for number in range(frames):
        changes = {name: [_change(rng, sign) for _ in range(CHANGES // 2)] for name, sign in _SIDES.items()}
        diff = {"e": "depthUpdate", "E": START_MS + 100 * number, "s": SYMBOL, "U": number + 2, "u": number + 2}
        made.append(orjson.dumps({"stream": f"{SYMBOL.lower()}@depth@100ms", "data": diff | changes}))
    return Session(f"even diffs on {levels:,} levels a side", snapshot, levels, made)


_SIDES = {"b": -1, "a": 1}


def _change(rng: random.Random, sign: int) -> list[str]:
    """Return a change, mostly near the best price; removals balance additions, so that the book keeps its size."""
    rank = min(int(rng.expovariate(1 / 60)), NEAR_LEVELS)
    return _level(sign, rank, "0.00000000" if rng.random() < 0.4 else f"{rng.uniform(0.001, 3):.8f}")


def _level(sign: int, rank: int, quantity: str) -> list[str]:
    next_tick = MID_TICKS + sign * (TICKS_APART * rank + 1)
    return [f"{next_tick / 100:.8f}", quantity]
