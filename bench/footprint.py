"""The footprint of an instance: resident memory, the age of the data of a slow reader, and the start-up time.

Memory is the kernel's VmRSS of the whole process, in MB of 10^6 bytes, after some seconds under the load named. A slow
reader takes 20,000 bytes a second through a small receive buffer, as behind a slow link, so that unsent data waits on
the server's side; views are made 50 times a second, five times as much as it can read.
"""

import http.client
import re
import socket
import time

from bench.context import Context
from bench.load import PUBLISHED, Window, load
from bench.machine import cores
from bench.processes import READY_TIMEOUT_S, BenchError, Program, python
from bench.rivals.run import starlette_hypercorn
from bench.rows import PULSE, Budget, Reading, Row
from bench.terminal import BOOK_PATH, environment_of, exchange, terminal

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BOOK = BOOK_PATH.format(symbol="BTCUSDT")
EVENTS = "/sse?topics=book.BTCUSDT,metrics.BTCUSDT"
SETTLE_S = 3.0
SLOW_BYTES_S, SLOW_RATE_HZ = 20_000, 50.0
STARLETTE = "Starlette + Hypercorn"
SLOW_BUFFER = 8192
LISTENER_WARMUP_S, LISTENER_TICK_S = 5.0, 0.02
POLL_S = 0.005


def memory(context: Context) -> dict[int, float]:
    """Measure resident memory with 3 symbols: idle, with 1,000 clients, with 3,000."""
    found: dict[int, float] = {}
    with terminal(context.folder, SYMBOLS) as ours:
        time.sleep(SETTLE_S)
        found[0] = ours.program.resident_mb()
        for clients in (1000, 3000):
            seconds = context.seconds(10.0, 3.0)
            with load(
                context.folder, ours.port, BOOK, [ours.program], window_s=seconds, warmup_s=SETTLE_S, clients=clients
            ) as windows:
                served = next(windows).clients
                found[clients] = ours.program.resident_mb()
            if served < clients:
                raise BenchError(f"{served:,} of {clients:,} clients were served")
            time.sleep(SETTLE_S)
    return found


def slow_reader(context: Context) -> dict[str, Window]:
    """Measure one reader of 20 KB/s among ten healthy ones, on ours and on the bare stack."""
    with terminal(context.folder, rate_hz=SLOW_RATE_HZ) as ours:
        size = ours.view_bytes
        windows = {PULSE: _slow_window(context, ours.port, BOOK, ours.program)}
    with starlette_hypercorn(context.folder, size, SLOW_RATE_HZ) as rival:
        windows[STARLETTE] = _slow_window(context, rival.port, rival.path, rival.program)
    return windows


def _slow_window(context: Context, port: int, path: str, program: Program) -> Window:
    seconds = context.seconds(60.0, 15.0)
    with load(
        context.folder, port, path, [program], window_s=seconds, warmup_s=5.0, clients=10, slow=1,
        slow_bytes_s=SLOW_BYTES_S, **PUBLISHED,
    ) as windows:  # fmt: skip
        return next(windows)


def slow_listener(context: Context) -> float:
    """Measure the same reader on an event stream: the age of the oldest message once its buffer is full."""
    seconds = context.seconds(60.0, 15.0)
    worst_s, unread = 0.0, b""
    with terminal(context.folder, rate_hz=SLOW_RATE_HZ) as ours, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        client.settimeout(READY_TIMEOUT_S)
        client.connect(("127.0.0.1", ours.port))
        client.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:{ours.port}\r\n\r\n".encode())
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < LISTENER_WARMUP_S + seconds:
            time.sleep(LISTENER_TICK_S)
            unread += client.recv(int(SLOW_BYTES_S * LISTENER_TICK_S))
            *whole, unread = unread.split(b"\n\n")
            for made_s in map(_made_s, whole):
                if made_s and passed_s > LISTENER_WARMUP_S:
                    worst_s = max(worst_s, time.time() - made_s)
    if not worst_s:
        raise BenchError("the slow listener got nothing")
    return worst_s


def _made_s(event: bytes) -> float:
    """Return when the view of an event was made; 0 for an event without a message."""
    found = re.search(rb'"timestamp":([0-9.]+)', event)
    return float(found[1]) if found else 0.0


def start(context: Context) -> float:
    """Measure the time from starting the process to the first byte of its page, seconds."""
    measured, _ = cores()
    with exchange(context.folder, SYMBOLS, 10.0) as exchange_port:
        environment = environment_of(context.folder, SYMBOLS, exchange_port)
        began_s = time.monotonic()
        with Program(python("pulse"), measured, context.folder / "pulse.log", environment):
            while time.monotonic() - began_s < READY_TIMEOUT_S:
                if _answers(int(environment["PORT"])):
                    return time.monotonic() - began_s
                time.sleep(POLL_S)
    raise BenchError("the terminal did not answer")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        return bool(connection.getresponse().read(1))
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()


def _memory_of(clients: int, context: Context) -> Reading:
    return Reading({PULSE: context.once(memory)[clients]})


def _slow_age(context: Context) -> Reading:
    windows = context.once(slow_reader)
    if windows[PULSE].slow is None:
        raise BenchError("the slow reader got nothing")
    note = f"The worst of {windows[PULSE].seconds:.0f} s; on the bare stack the age keeps growing."
    return Reading({name: window.slow.worst_s for name, window in windows.items() if window.slow}, (note,))


ROWS = (
    Row("memory-idle", "resident memory, 3 symbols, idle", "MB", lambda c: _memory_of(0, c), Budget(90)),
    Row("memory-1000", "the same with 1,000 clients", "MB", lambda c: _memory_of(1000, c), Budget(125)),
    Row("memory-3000", "the same with 3,000 clients", "MB", lambda c: _memory_of(3000, c), Budget(190)),
    Row("slow-reader", "age of the data a reader of 20 KB/s receives", "s", _slow_age, Budget(3.0), STARLETTE),
    Row(
        "slow-listener", "the same on an event stream, two topics", "s",
        lambda c: Reading({PULSE: c.once(slow_listener)}), Budget(3.0),
    ),
    Row("start", "start to the first byte of the page", "s", lambda c: Reading({PULSE: c.once(start)}), Budget(1.5)),
)  # fmt: skip
