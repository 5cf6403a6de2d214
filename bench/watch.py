"""Many symbols: what one costs at its real pace, watched or not, and how fast a watched one is among the others.

All of it at ten diffs a second, each with 46 changes, with the CPU's caches cold. A symbol without watchers has a
view a second; one that is watched has a view with each diff, which is what every symbol had before.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.context import Context
from bench.fanout import SETTLE_S, TOPIC_DEPTH
from bench.load import ID_S, SENT, Window, load
from bench.machine import cores
from bench.processes import BenchError, Program, python
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.terminal import BOOK_PATH, Terminal, terminal

SYMBOLS, RATE_HZ = 100, 10.0
NAMES = tuple(f"TOPIC{number:02d}USDT" for number in range(SYMBOLS))
WATCHED = NAMES[SYMBOLS // 2]
"""In the middle of the burst in which the exchange sends the diffs of all symbols."""
FLOOR, ALL = "orjson.loads + orjson.dumps at the same pace", "every symbol watched"
ONE_CLIENT = "with one client"
LOOPBACK = "the floor (loopback alone)"
ROUNDS, TICKS, QUICK_TICKS = 4, 100, 20
MANY_SETTLE_S = 60.0
"""By then the books have their 500 levels a side, which take half of what a minute allows."""
WARMUP_S = 2.0
RUN_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Hundred:
    """CPU shares of a core by who watches what, and the latency windows of one watched symbol and of the floor."""

    unwatched: float
    watched: float
    delay: Window
    floor: Window


def engine_of_many(context: Context) -> dict[str, Any]:
    """Time the engine with 100 symbols at their real pace."""
    return _paced(context, SYMBOLS)


def engine_of_one(context: Context) -> dict[str, Any]:
    """Time the engine with one symbol at its real pace."""
    return _paced(context, 1)


def _paced(context: Context, symbols: int) -> dict[str, Any]:
    measured, _ = cores()
    rounds, ticks = (1, QUICK_TICKS) if context.is_quick else (ROUNDS, TICKS)
    command = python("bench.paced_run", context.recordings.resolve(), symbols, rounds, ticks)
    with Program(command, measured, context.folder / "paced.log") as program:
        return program.read_object(RUN_TIMEOUT_S)


def process_of_one(context: Context) -> dict[str, float]:
    """Measure the whole process with one symbol, without clients and with one; us per diff."""
    with terminal(context.folder, rate_hz=RATE_HZ) as ours:
        time.sleep(SETTLE_S)
        alone = _share(context, ours)
        with_one = _window(context, ours, BOOK_PATH.format(symbol="BTCUSDT"))
    return {PULSE: alone / RATE_HZ * 1e6, ONE_CLIENT: with_one.server_cpu_s / with_one.seconds / RATE_HZ * 1e6}


def process_of_many(context: Context) -> Hundred:
    """Measure the whole process with 100 symbols: no client, one client of one symbol, one client of all."""
    subscription = '{"op":"subscribe","topics":[' + ",".join(f'"book.{symbol}"' for symbol in NAMES) + "]}"
    stream = f"/stream?streams={WATCHED.lower()}@depth@100ms"
    with terminal(
        context.folder, NAMES, RATE_HZ, PULSE_SYMBOLS_MAX=str(SYMBOLS), PULSE_DEPTH_LIMIT=TOPIC_DEPTH
    ) as ours:
        time.sleep(context.seconds(MANY_SETTLE_S, SETTLE_S))
        unwatched = _share(context, ours)
        delay = _window(context, ours, BOOK_PATH.format(symbol=WATCHED), 60.0, **SENT)
        floor = _window(context, ours, stream, 60.0, port=ours.exchange_port, stamp='"u":', scale=ID_S)
        every = _window(context, ours, "/ws", subscribe=subscription)
    return Hundred(unwatched, every.server_cpu_s / every.seconds, delay, floor)


def _share(context: Context, server: Terminal) -> float:
    """Return the terminal's share of a core without clients."""
    before_s, seconds = server.program.cpu_s(), context.seconds(10.0, 4.0)
    time.sleep(seconds)
    return (server.program.cpu_s() - before_s) / seconds


def _window(
    context: Context, server: Terminal, path: str, full_s: float = 10.0, port: int | None = None, **options: Any
) -> Window:
    with load(
        context.folder, port or server.port, path, [server.program], window_s=context.seconds(full_s, 5.0),
        warmup_s=WARMUP_S, clients=1, **options,
    ) as windows:  # fmt: skip
        return next(windows)


def _engine(found: Mapping[str, Any]) -> Reading:
    us = found["us"]
    return Reading({PULSE: us["unwatched"], ALL: us["watched"], FLOOR: us["floor"]}, (f"{found['origin']}.",))


def _process_of_one(context: Context) -> Reading:
    return Reading(context.once(process_of_one) | {FLOOR: context.once(engine_of_one)["us"]["floor"]})


def _cpu(context: Context) -> Reading:
    found = context.once(process_of_many)
    return Reading({PULSE: found.unwatched, ALL: found.watched})


def _delay(context: Context, quantile: str) -> Reading:
    found = context.once(process_of_many)
    if found.delay.healthy is None or found.floor.healthy is None:
        raise BenchError("messages came without the stamp that they are measured by")
    ages = {PULSE: found.delay.healthy, LOOPBACK: found.floor.healthy}
    return Reading({name: getattr(age, quantile) * 1000 for name, age in ages.items()})


ROWS = (
    Row(
        "watched-engine", "engine at its real pace, 100 symbols x 10 diffs/s: CPU per diff, without watchers", "us",
        lambda context: _engine(context.once(engine_of_many)),
    ),
    Row(
        "watched-engine-one", "the same with one symbol", "us", lambda context: _engine(context.once(engine_of_one)),
    ),
    Row(
        "watched-process-one", "whole process, one symbol x 10 diffs/s: CPU per diff without clients", "us",
        _process_of_one, Budget(4, Against.TIMES), FLOOR,
    ),
    Row("watched-cpu", "whole process, 100 symbols x 10 diffs/s, without clients", "of a core", _cpu, Budget(0.25)),
    Row(
        "watched-p50", "exchange frame in to client frame out, one watched symbol among 100, p50", "ms",
        lambda context: _delay(context, "p50_s"), None, LOOPBACK,
    ),
    Row(
        "watched-p99", "the same, p99", "ms", lambda context: _delay(context, "p99_s"),
        Budget(10.0, Against.ABOVE), LOOPBACK,
    ),
)  # fmt: skip
