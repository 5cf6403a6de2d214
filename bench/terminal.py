"""The terminal as deployed, `python -m pulse`, with the exchange that feeds it: the paced or the busy one.

Measured is the whole process: ingest, engine, bus and fan-out. Knows no rival.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.busy import SYMBOLS, TIMES
from bench.machine import cores
from bench.processes import READY_TIMEOUT_S, BenchError, Program, free_port, python

BOOK_PATH = "/ws/orderbook/{symbol}"
LIVE_TIMEOUT_S = 90.0
POLL_S = 0.02
SIMULATED = {"PULSE_VENUE": "us", "PULSE_PUBLISH_INTERVAL_MS": "80"}
"""The settings for the simulator, which has that venue's weights; the interval between views is the default."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A running terminal, its port, that of its exchange, and the size of a view."""

    program: Program
    port: int
    exchange_port: int
    view_bytes: int


@contextmanager
def exchange(folder: Path, symbols: Sequence[str], rate_hz: float, ban_s: float = 0.0) -> Iterator[int]:
    """Run the paced exchange on the driving cores; yield its port. For `ban_s` seconds it refuses REST calls."""
    port = free_port()
    _, driving = cores()
    with Program(
        python("bench.exchange", port, ",".join(symbols), rate_hz, "--ban-s", ban_s), driving, folder / "exchange.log"
    ) as program:
        program.read_object(READY_TIMEOUT_S)
        yield port


@contextmanager
def terminal(
    folder: Path, symbols: Sequence[str] = ("BTCUSDT",), rate_hz: float = 10.0, **settings: str
) -> Iterator[Terminal]:
    """Run the terminal on the paced exchange; settings as in docs/configuration.md."""
    with (
        exchange(folder, symbols, rate_hz) as exchange_port,
        running(folder, symbols, exchange_port, settings) as ours,
    ):
        yield ours


@contextmanager
def busy_terminal(folder: Path) -> Iterator[Terminal]:
    """Run the terminal on the busy exchange, with the default interval between views."""
    with busy_exchange(folder) as (port, _), running(folder, SYMBOLS, port, SIMULATED) as ours:
        yield ours


@contextmanager
def busy_exchange(folder: Path, times: float = TIMES) -> Iterator[tuple[int, Program]]:
    """Run the busy exchange on the driving cores; yield its port and the program, which takes commands."""
    port = free_port()
    _, driving = cores()
    with Program(python("bench.busy", port, "--times", times), driving, folder / "busy.log") as program:
        program.read_object(READY_TIMEOUT_S)
        yield port, program


@contextmanager
def running(
    folder: Path, symbols: Sequence[str], exchange_port: int, settings: Mapping[str, str], group: Path | None = None
) -> Iterator[Terminal]:
    """Run the terminal on the measured core, and yield it once every book is live.

    `group` is the file of a control group that takes process ids; the terminal is in that group from its start.
    """
    measured, _ = cores()
    environment = {**environment_of(folder, symbols, exchange_port), **settings}
    with Program(joining(group, python("pulse")), measured, folder / "pulse.log", environment) as program:
        port = int(environment["PORT"])
        program.wait_for_port(port)
        _wait_until_ready(port)
        yield Terminal(program, port, exchange_port, len(get(port, f"/orderbook?symbol={symbols[0]}")))


def joining(group: Path | None, command: list[str]) -> list[str]:
    """Return a command that puts itself into the control group first."""
    return command if group is None else ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group), *command]


def environment_of(folder: Path, symbols: Sequence[str], exchange_port: int) -> dict[str, str]:
    """Return the settings of a terminal that follows the paced exchange and accepts any number of clients."""
    return {
        "PORT": str(free_port()),
        "PULSE_SYMBOLS": ",".join(symbols),
        "PULSE_REST_URL": f"http://127.0.0.1:{exchange_port}",
        "PULSE_STREAM_URL": f"ws://127.0.0.1:{exchange_port}",
        "PULSE_VENUE": "com",
        "PULSE_CLIENTS_MAX": "20000",
        "PULSE_CLIENTS_PER_ADDRESS_MAX": "20000",
        "PULSE_REQUESTS_PER_ADDRESS_S": "0",
        # Shorter than the exchange's own period, so that no view is held back.
        "PULSE_PUBLISH_INTERVAL_MS": "0",
        "PULSE_SQLITE_PATH": str(folder / "candles.sqlite3"),
        "PULSE_STATE_PATH": str(folder / "state.json"),
        "PULSE_LOG_LEVEL": "WARNING",
    }


def _wait_until_ready(port: int) -> None:
    deadline_s = time.monotonic() + LIVE_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            get(port, "/readyz")
        except (urllib.error.HTTPError, TimeoutError):
            time.sleep(POLL_S)
        else:
            return
    raise BenchError("the terminal's books did not become live")


def get(port: int, path: str) -> bytes:
    """Return the body of one of the terminal's paths. Raise urllib.error.HTTPError when the status is not 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10.0) as answer:
        body: bytes = answer.read()
        return body


def counted(port: int, name: str) -> float:
    """Return one of the terminal's own metrics, summed over all symbols."""
    lines = get(port, "/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
