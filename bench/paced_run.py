"""Times the engine at the exchange's own pace, as a program of its own: diffs ten times a second, and rest in between.

In a hot loop all that a diff needs is in the CPU's caches; at its real pace others have used them meanwhile, and a
symbol costs several times as much. The symbols' diffs come together, as on a real venue. Phases in which no symbol is
watched, every one is, and a floor that only parses each diff and writes a view, follow each other in turn, so that a
slow period of the machine affects all of them. Reported is the CPU time of the process per diff, as one JSON object on
stdout; without a socket, but with the queues, the relay, the bus and the hub.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from bench.books import FLOOR_VIEWS, LEVELS_MAX, STALE_AFTER_MS, TRADES_KEPT, PulseBook
from bench.diffs import Session, session
from bench.processes import BenchError
from pulse.binance.answers import parse_snapshot
from pulse.binance.messages import Frame, parse
from pulse.bus.memory import MemoryBus
from pulse.bus.relay import Relay
from pulse.clock import SystemClock
from pulse.engine import Engine
from pulse.fanout.hub import Hub
from pulse.latency import Latency
from pulse.market.depth_sync import DepthSync, DiffOutcome
from pulse.market.market import Market, Origin
from pulse.market.types import DepthDiff, FeedUp
from pulse.queues import ConflatingQueue, Outbox, Received, make_candle_queue, make_gap_queue, make_inbox

PERIOD_S = 0.1
INSTANCE = "00000000"
HELD_MAX = 10_000
SETTLE_TICKS = 5
"""Diffs after a change of watchers that are not measured."""


class PacedEngine:
    """The terminal from the bytes of a diff to the hub, for so many symbols that all have the session's diffs."""

    def __init__(self, real: Session, count: int) -> None:
        self.symbols = [f"S{number:03d}USDT" for number in range(count)]
        self._frames = iter(real.frames)
        self._clock = SystemClock()
        self._inbox = make_inbox()
        outbox: Outbox = ConflatingQueue()
        latency = Latency(INSTANCE)
        self.engine = Engine(
            self._make_market, self._inbox, outbox, make_candle_queue(), ConflatingQueue(), ConflatingQueue(),
            make_gap_queue(), self._clock, latency, publish_interval_s=0.0,
        )  # fmt: skip
        hub = Hub(INSTANCE, lambda symbol, interval: {}, self.engine)
        self._relay = Relay(outbox, hub.publish, latency, self._clock, token=hub.token)
        self._bus = MemoryBus(self._relay.deliver)
        self._syncs: dict[str, DepthSync] = {}
        for symbol in self.symbols:
            for part in (latency, self._relay, hub, self._bus, self.engine):
                part.open(symbol)
            self._syncs[symbol] = DepthSync(HELD_MAX)
            self._syncs[symbol].on_snapshot(parse_snapshot(orjson.loads(real.snapshot), real.limit))
            self._put(symbol, FeedUp())

    def start(self) -> list[asyncio.Task[None]]:
        """Start the engine and the relay."""
        return [asyncio.create_task(work) for work in (self.engine.run(), self._relay.run(self._bus))]

    def _make_market(self, symbol: str) -> Market:
        return Market(
            symbol, Origin(INSTANCE, "replay", "com"), levels_max=LEVELS_MAX, trades_kept=TRADES_KEPT,
            stale_after_ms=STALE_AFTER_MS,
        )  # fmt: skip

    def take_next(self) -> None:
        """Give the next diff to every symbol, parsed for each. Raise BenchError when there is none."""
        raw = next(self._frames, None)
        if raw is None:
            raise BenchError("the session has too few diffs for so long a run")
        for symbol in self.symbols:
            frame = parse(raw)
            if not isinstance(frame, Frame) or not isinstance(frame.event, DepthDiff):
                raise BenchError("expected a depth diff")
            sync = self._syncs[symbol]
            if sync.on_diff(frame.event) is DiffOutcome.DELIVER:
                self._put(symbol, frame.event)
            elif (anchor := sync.take_anchor()) is not None:
                self._put(symbol, anchor)

    def _put(self, symbol: str, event: object) -> None:
        self._inbox.put_nowait(Received(symbol, event, self._clock.now_ms()))


class PacedFloor:
    """orjson alone, at the same pace: parse the frame, write one of our views; for so many symbols."""

    def __init__(self, real: Session, count: int) -> None:
        book = PulseBook(real)
        self._views = [orjson.loads(book.take(raw)) for raw in real.frames[: FLOOR_VIEWS * 8]][::8]
        self._frames = real.frames
        self._count = count
        self._at = 0

    def take_next(self) -> None:
        """Parse the next frame and write a view, once for every symbol."""
        raw, view = self._frames[self._at % len(self._frames)], self._views[self._at % len(self._views)]
        self._at += 1
        for _ in range(self._count):
            orjson.loads(raw)
            orjson.dumps(view)


async def _measured_ns(take_next: Callable[[], None], ticks: int) -> int:
    """Call a function at the pace of the diffs; return the CPU time of the process meanwhile."""
    loop = asyncio.get_running_loop()
    due_s, began_ns = loop.time(), time.process_time_ns()
    for _ in range(ticks):
        take_next()
        due_s += PERIOD_S
        await asyncio.sleep(max(0.0, due_s - loop.time()))
    return time.process_time_ns() - began_ns


async def compare(real: Session, count: int, rounds: int, ticks: int) -> dict[str, float]:
    """Return the CPU time per diff in us, unwatched, watched and of the floor, over so many rounds."""
    paced, floor = PacedEngine(real, count), PacedFloor(real, count)
    tasks = paced.start()
    gc.collect()
    gc.freeze()  # as the terminal does
    await _measured_ns(paced.take_next, SETTLE_TICKS)
    spent_ns = dict.fromkeys(("unwatched", "watched", "floor"), 0)
    for _ in range(rounds):
        spent_ns["unwatched"] += await _measured_ns(paced.take_next, ticks)
        for symbol in paced.symbols:
            paced.engine.watch(symbol)
        await _measured_ns(paced.take_next, SETTLE_TICKS)
        spent_ns["watched"] += await _measured_ns(paced.take_next, ticks)
        for symbol in paced.symbols:
            paced.engine.unwatch(symbol)
        await _measured_ns(paced.take_next, SETTLE_TICKS)
        spent_ns["floor"] += await _measured_ns(floor.take_next, ticks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return {name: ns / (rounds * ticks * count) / 1000 for name, ns in spent_ns.items()}


def main() -> None:
    """Time so many symbols."""
    parser = argparse.ArgumentParser(prog="bench.paced_run", description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("symbols", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("ticks", type=int)
    options = parser.parse_args()
    needed = options.rounds * 2 * (options.ticks + SETTLE_TICKS) + SETTLE_TICKS
    real = session(options.recordings, 2 * needed)
    us = asyncio.run(compare(real, options.symbols, options.rounds, options.ticks))
    print(orjson.dumps({"us": us, "origin": real.origin}).decode(), flush=True)


if __name__ == "__main__":
    main()
