"""Fan-out: the CPU cost of sending the newest view to every client, and how long that takes.

Measured is the whole terminal, ingest and engine included, at ten views a second; the rivals send a text of the same
size at the same rate and do nothing else. CPU is the server's own, all threads; that of Valkey, which one rival needs,
is not counted. Age is the time from making a message to the generator's reading of it.
"""

import time
from collections.abc import Mapping
from typing import Any

from bench.context import Context
from bench.load import PUBLISHED, Refused, Window, load
from bench.processes import BenchError
from bench.rivals.run import Rival, Starter, fastapi_redis, hard_limit, raw_asyncio, starlette_hypercorn
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.terminal import BOOK_PATH, Terminal, terminal

CLIENTS, RATE_HZ = 1000, 10.0
TOPICS, TOPIC_CLIENTS = 20, 500
TOPIC_DEPTH = "500"
"""Deeper snapshots of so many books would use the terminal's request budget most of a minute."""
LIMIT, ASYNCIO = "C with epoll (the limit)", "asyncio's transport.write alone"
STARLETTE, FASTAPI = "Starlette + Hypercorn", "FastAPI + Uvicorn, Redis per client"
RIVALS: dict[str, Starter] = {
    LIMIT: hard_limit, ASYNCIO: raw_asyncio, STARLETTE: starlette_hypercorn, FASTAPI: fastapi_redis
}  # fmt: skip
ONE_CLIENT = "ingest and engine, with one client"
SETTLE_S = 20.0
"""By then the terminal has finished the requests of its start."""
WARMUP_S = 3.0
SERVED_SHARE = 0.95
"""The least share of the messages made that a server must deliver; below it the table has a note."""
PATH = BOOK_PATH.format(symbol="BTCUSDT")


def plain(context: Context) -> tuple[dict[str, Window], float]:
    """Measure 1,000 clients at 10 Hz, one contender after another; and the terminal's CPU share with one client."""
    windows: dict[str, Window] = {}
    with terminal(context.folder, rate_hz=RATE_HZ) as ours:
        time.sleep(SETTLE_S)
        alone = _share(context, ours, PATH)
        windows[PULSE] = _window(context, ours, PATH)
        size = windows[PULSE].bytes // max(1, windows[PULSE].messages) - 4  # the frame's header
    for name, start in RIVALS.items():
        try:
            with start(context.folder, size, RATE_HZ) as rival:
                windows[name] = _window(context, rival, rival.path)
        except BenchError as fault:  # a rival that cannot run, or fails under the load, leaves its column empty
            context.log(f"{name}: {fault}")
    return windows, alone


def compressed(context: Context) -> dict[str, Window]:
    """Measure the same with permessage-deflate offered, as browsers do."""
    windows: dict[str, Window] = {}
    with terminal(context.folder, rate_hz=RATE_HZ) as ours:
        windows[PULSE] = _window(context, ours, PATH, deflate=1)
        size = ours.view_bytes
    with starlette_hypercorn(context.folder, size, RATE_HZ) as rival:
        windows[STARLETTE] = _window(context, rival, rival.path, deflate=1)
    return windows


def topics(context: Context) -> tuple[Window, float]:
    """Measure 20 topics to each of 500 clients at 10 Hz, one socket each; and the CPU share with one client."""
    symbols = [f"TOPIC{number:02d}USDT" for number in range(TOPICS)]
    subscription = '{"op":"subscribe","topics":[' + ",".join(f'"book.{symbol}"' for symbol in symbols) + "]}"
    with terminal(context.folder, symbols, RATE_HZ, PULSE_DEPTH_LIMIT=TOPIC_DEPTH) as ours:
        time.sleep(SETTLE_S)
        try:
            alone = _share(context, ours, "/ws", subscribe=subscription)
            return _window(context, ours, "/ws", clients=TOPIC_CLIENTS, subscribe=subscription), alone
        except Refused as refusal:
            raise BenchError(f"no socket for many topics at /ws (status {refusal.status})") from refusal


def _share(context: Context, server: Terminal, path: str, **options: Any) -> float:
    """Return the terminal's share of a core with one client: without any, there are no views to send."""
    window = _window(context, server, path, clients=1, **options)
    return window.server_cpu_s / window.seconds


def _window(context: Context, server: Terminal | Rival, path: str, clients: int = CLIENTS, **options: Any) -> Window:
    seconds = context.seconds(8.0, 3.0)
    with load(
        context.folder, server.port, path, [server.program], window_s=seconds, warmup_s=WARMUP_S, clients=clients,
        **PUBLISHED, **options,
    ) as windows:  # fmt: skip
        return next(windows)


def notes_of(windows: Mapping[str, Window], clients: int = CLIENTS, topics_each: int = 1) -> tuple[str, ...]:
    """Return what qualifies the figures: clients not served, and whether the generator was the bottleneck."""
    wanted = clients * topics_each * RATE_HZ
    notes = []
    for name, window in windows.items():
        if window.is_saturated:
            notes.append(f"The load generator used {window.generator_share:.0%} of its core against {name}.")
        if window.clients < clients:
            notes.append(f"{name} served {window.clients:,} of {clients:,} clients.")
        if window.messages / window.seconds < SERVED_SHARE * wanted:
            notes.append(
                f"{name} delivered {window.messages / window.seconds:,.0f} of {wanted:,.0f} messages a second."
            )
        if window.cut_healthy:
            notes.append(f"{name} cut healthy clients.")
    return tuple(notes)


def _cost(context: Context) -> Reading:
    windows, _ = context.once(plain)
    size = windows[PULSE].bytes / max(1, windows[PULSE].messages)
    note = f"The whole terminal, fed by an exchange on loopback: views of {size / 1000:.1f} KB."
    return Reading({name: w.server_us for name, w in windows.items()}, (note, *notes_of(windows)))


def _cost_of_clients(context: Context) -> Reading:
    windows, alone = context.once(plain)
    ours = windows[PULSE]
    values = {PULSE: ours.server_us - alone * ours.seconds / ours.messages * 1e6}
    return Reading(values | {name: windows[name].server_us for name in (LIMIT, ASYNCIO) if name in windows})


def _p99(context: Context) -> Reading:
    windows, _ = context.once(plain)
    return Reading({n: w.healthy.p99_s * 1000 for n, w in windows.items() if w.healthy}, notes_of(windows))


def _cost_compressed(context: Context) -> Reading:
    windows = context.once(compressed)
    agreed = windows[PULSE].compressed > 0
    text = "Pulse accepts compression." if agreed else "Pulse declines compression."
    return Reading({name: w.server_us for name, w in windows.items()}, (text, *notes_of(windows)))


def _bytes_compressed(context: Context) -> Reading:
    windows = context.once(compressed)
    return Reading({name: w.bytes / max(1, w.messages) for name, w in windows.items()})


def _topics(context: Context) -> Reading:
    window, alone = context.once(topics)
    values = {PULSE: window.server_cpu_s / window.seconds, ONE_CLIENT: alone}
    return Reading(values, notes_of({PULSE: window}, TOPIC_CLIENTS, TOPICS))


ROWS = (
    Row(
        "fanout-cpu", "server CPU per delivered message, 1,000 clients x 10 Hz, one topic", "us", _cost,
        Budget(1.4, Against.TIMES), LIMIT,
    ),
    Row(
        "fanout-clients", "the same, less the CPU of ingest and engine with one client", "us", _cost_of_clients,
        Budget(1.4, Against.TIMES), LIMIT,
    ),
    Row("fanout-p99", "p99 from publishing to the client, same load", "ms", _p99, Budget(1.5, Against.TIMES), LIMIT),
    Row("deflate-cpu", "server CPU per message, permessage-deflate offered", "us", _cost_compressed),
    Row("deflate-bytes", "bytes on the wire per message, permessage-deflate offered", "bytes", _bytes_compressed),
    Row("topics", "20 topics x 500 clients x 10 Hz", "of a core", _topics, Budget(0.15)),
)  # fmt: skip
