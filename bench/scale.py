"""Many processes on one Valkey: the cost of a delivered message with 1, 2 and 4 of them, and of a delivery by Valkey.

All processes share the measured core, so the figures are CPU per message, not what several cores would deliver; that is
computed from them (capacity.py, docs/scaling.md). Each has the same clients, a load generator and a loopback address of
its own. Candles are in a PostgreSQL that all processes share, as they share the Valkey.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.capacity import Costs, note_of
from bench.context import Context
from bench.load import PUBLISHED, Target, Window, loads
from bench.machine import cores
from bench.processes import READY_TIMEOUT_S, BenchError, Program, python
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.services import measured_valkey
from bench.terminal import BOOK_PATH, Terminal, exchange, running
from tests.support.services import NoServer, PostgresServer

COUNTS, CLIENTS_EACH, RATE_HZ = (1, 2, 4), 1000, 10.0
ONE, TWO = "1 process", "2 processes"
CROWD, CROWD_PROCESSES, CROWD_RATE_HZ = 10_000, 4, 4.0
"""At a rate that one core serves and one core reads: at 10 views a second both would be full."""
SUBSCRIBERS, VIEWS_S, VIEW_BYTES = (1, 16), 1000, 2200
"""A hundred symbols at ten views a second."""
PATH = BOOK_PATH.format(symbol="BTCUSDT")
SETTLE_S, QUICK_SETTLE_S, WARMUP_S = 20.0, 5.0, 3.0
SERVED_SHARE = 0.95
GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """A window of several processes, and the share of a core that Valkey used in it."""

    window: Window
    valkey_share: float


@dataclass(frozen=True, slots=True)
class Bus:
    """Valkey's CPU in us: to take and store a view, and to deliver it to one subscriber."""

    view_us: float
    delivery_us: float


@contextmanager
def _terminals(folder: Path, count: int, rate_hz: float) -> Iterator[tuple[list[Terminal], Program]]:
    """Run so many terminals on one exchange, one Valkey and one PostgreSQL; yield them and the Valkey."""
    with ExitStack() as stack:
        postgres = PostgresServer()
        stack.callback(postgres.discard)
        try:
            postgres.start()
        except NoServer as fault:
            raise BenchError(str(fault)) from fault
        url, server = stack.enter_context(measured_valkey(folder))
        port = stack.enter_context(exchange(folder, ["BTCUSDT"], rate_hz))
        settings = {"REDIS_URL": url, "DATABASE_URL": postgres.url("postgres")}
        terminals = []
        for number in range(count):
            own = folder / f"process-{count}-{number}"
            own.mkdir(exist_ok=True)
            terminals.append(stack.enter_context(running(own, ["BTCUSDT"], port, settings)))
        yield terminals, server


def _measure(context: Context, count: int, clients_each: int, rate_hz: float) -> Scaled:
    with _terminals(context.folder, count, rate_hz) as (terminals, server):
        time.sleep(context.seconds(SETTLE_S, QUICK_SETTLE_S))
        targets = [Target(one.port, PATH, clients_each) for one in terminals]
        with loads(
            context.folder, targets, [one.program for one in terminals], window_s=context.seconds(10.0, 3.0),
            warmup_s=WARMUP_S, **PUBLISHED,
        ) as windows:  # fmt: skip
            before_s = server.cpu_s()
            window = next(windows)
            return Scaled(window, (server.cpu_s() - before_s) / window.seconds)


def scaled(context: Context) -> dict[int, Scaled]:
    """Measure 1, 2 and 4 processes with 1,000 clients each."""
    return {count: _measure(context, count, CLIENTS_EACH, RATE_HZ) for count in COUNTS}


def crowded(context: Context) -> Scaled:
    """Measure 10,000 clients on 4 processes, by 4 load generators."""
    return _measure(context, CROWD_PROCESSES, CROWD // CROWD_PROCESSES, CROWD_RATE_HZ)


def bus(context: Context) -> Bus:
    """Measure Valkey's CPU per view with few and with many subscribers: the difference is that of deliveries."""
    few, many = SUBSCRIBERS
    few_us, many_us = (_bus_us(context, subscribers) for subscribers in SUBSCRIBERS)
    delivery_us = (many_us - few_us) / (many - few)
    return Bus(few_us - few * delivery_us, delivery_us)


def _bus_us(context: Context, subscribers: int) -> float:
    """Return Valkey's CPU per published view."""
    seconds = context.seconds(10.0, 3.0)
    _, driving = cores()
    with measured_valkey(context.folder) as (url, server):
        port = int(url.rpartition(":")[2].partition("/")[0])
        command = python("bench.pubsub_run", port, VIEW_BYTES, VIEWS_S, subscribers, seconds, 2)
        with Program(command, driving, context.folder / "pubsub.log") as program:
            program.read_object(READY_TIMEOUT_S)
            program.read_object(seconds + GRACE_S)  # the first window warms up
            before_s = server.cpu_s()
            found = program.read_object(seconds + GRACE_S)
            used_s = server.cpu_s() - before_s
    if found["delivered"] < SERVED_SHARE * subscribers * found["published"]:
        raise BenchError(f"Valkey delivered {found['delivered']:,.0f} of {subscribers * found['published']:,} views")
    return float(used_s / found["published"] * 1e6)


def notes_of(name: str, found: Scaled, clients: int, rate_hz: float) -> list[str]:
    """Return what qualifies a figure: clients or messages that are missing, and a generator that was the bottleneck."""
    window, notes = found.window, []
    if window.is_saturated:
        notes.append(f"The load generators used {window.generator_share:.0%} of their cores against {name}.")
    if window.clients < clients or window.cut_healthy:
        notes.append(f"{name} served {window.clients:,} of {clients:,} clients and cut {window.cut_healthy:,}.")
    if window.messages / window.seconds < SERVED_SHARE * clients * rate_hz:
        notes.append(
            f"{name} delivered {window.messages / window.seconds:,.0f} of {clients * rate_hz:,.0f} messages a second."
        )
    return notes


def _cost(context: Context) -> Reading:
    found = context.once(scaled)
    names = dict(zip(COUNTS, (ONE, TWO, PULSE), strict=True))
    notes = [
        note
        for count, name in names.items()
        for note in notes_of(ONE if count == 1 else f"{count} processes", found[count], count * CLIENTS_EACH, RATE_HZ)
    ]
    shares = ", ".join(f"{found[count].valkey_share:.1%}" for count in COUNTS)
    notes.append(f"Valkey used {shares} of a core with 1, 2 and 4 processes.")
    return Reading({name: found[count].window.server_us for count, name in names.items()}, tuple(notes))


def _delivery(context: Context) -> Reading:
    cost, window = context.once(bus), context.once(scaled)[COUNTS[-1]].window
    costs = Costs(window.server_us, cost.view_us, cost.delivery_us, window.bytes / max(1, window.messages))
    stored = f"Taking and storing a view costs Valkey {cost.view_us:.1f} us. "
    return Reading({PULSE: cost.delivery_us}, (stored + note_of(costs, VIEWS_S),))


def _crowd(context: Context) -> Reading:
    found = context.once(crowded)
    notes = notes_of("Pulse", found, CROWD, CROWD_RATE_HZ)
    notes.append(f"{found.window.clients:,} clients; the terminals used {_share(found):.0%} of a core together.")
    return Reading({PULSE: found.window.server_us}, tuple(notes))


def _share(found: Scaled) -> float:
    return found.window.server_cpu_s / found.window.seconds


def _crowd_p99(context: Context) -> Reading:
    window = context.once(crowded).window
    if window.healthy is None:
        raise BenchError("messages came without the stamp that they are measured by")
    return Reading({PULSE: window.healthy.p99_s * 1000})


ROWS = (
    Row(
        "scale-cpu", "server CPU per delivered message, 4 processes x 1,000 clients x 10 Hz on one Valkey", "us", _cost,
        Budget(1.1, Against.TIMES), ONE,
    ),
    Row(
        "scale-delivery", "Valkey: CPU per delivery of a view of 2.2 KB to one process, 1,000 views/s", "us", _delivery,
    ),
    Row(
        "scale-crowd", "server CPU per delivered message, 10,000 clients x 4 Hz on 4 processes that share a core", "us",
        _crowd,
    ),
    Row("scale-crowd-p99", "p99 from publishing to the client, same load, the worst of 4 generators", "ms", _crowd_p99),
)  # fmt: skip
