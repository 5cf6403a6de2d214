"""The soak: `python -m bench.soak`, two hours of the whole terminal under load and faults, and a verdict.

The simulated exchange has five symbols, each three times as busy as BTCUSDT; 500 clients read them, 10 % slow, 5 %
stalled, and five a second join and leave. Redis and PostgreSQL are killed every ten minutes and the exchange is cut
every twenty. The exit code is 1, with the reasons, if memory grows, tasks or descriptors are left, anything shown
differs from the exchange's exact books and candles, or the log has a line that no fault explains. `--minutes` makes it
shorter, with the same faults closer together.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.busy import SYMBOLS, TIMES
from bench.load import Window, load
from bench.machine import describe, usable
from bench.processes import BenchError, Program
from bench.soak_findings import (
    EXCHANGE,
    FULL_MINUTES,
    LEFT_MAX,
    PERIODS,
    POSTGRES,
    REDIS,
    Fault,
    Findings,
    message_counts,
    schedule,
)
from bench.terminal import BOOK_PATH, SIMULATED, Terminal, busy_exchange, counted, running
from bench.truth import MINUTE_MS, Truth
from tests.support.services import PostgresServer, Server, ValkeyServer

HEALTHY, SLOW, STALLED = 425, 50, 25
SLOW_BYTES_S = 10_000
JOIN_EVERY_MS = 200
TICK_MAX_S, TICKS_PER_PERIOD = 5.0, 10
SETTLE_S = 5.0
"""Before the baseline: the connections of the start are closed by then."""
RIGHT_TIMEOUT_S = 150.0
"""After the last client has left, for everything to be as before: failed work is tried again within a minute."""
POLL_S = 1.0
REASONS_SHOWN = 40
EXIT_TERMINATED = 128 + signal.SIGTERM


class Soak:
    """One run: the parts that can fail, the comparisons, and what was found."""

    def __init__(
        self, minutes: float, times: float, ours: Terminal, exchange: Program, servers: dict[str, Server]
    ) -> None:
        self.found = Findings(minutes, times)
        self._ours = ours
        self._exchange = exchange
        self._servers = servers
        self._truth = Truth(ours.port, ours.exchange_port)
        self._due = [event for fault in schedule(minutes) for event in _events(fault)]
        self._due.sort()
        self._began_ms = time.time_ns() // 1_000_000

    def run(self, folder: Path) -> None:
        """Take the baseline, run the clients and the faults, and wait until everything is as before."""
        found, ours = self.found, self._ours
        time.sleep(SETTLE_S)
        found.tasks_before, found.files_before = self._left()
        period_s = found.minutes * 60 / PERIODS
        tick_s = min(TICK_MAX_S, period_s / TICKS_PER_PERIOD)
        frames_before, began_s = counted(ours.port, "pulse_frames_received_total"), time.monotonic()
        paths = ",".join(BOOK_PATH.format(symbol=symbol) for symbol in SYMBOLS)
        with load(
            folder, ours.port, paths, [ours.program], int(found.minutes * 60 / tick_s), tick_s,
            clients=HEALTHY, slow=SLOW, stalled=STALLED, slow_bytes_s=SLOW_BYTES_S, join_every_ms=JOIN_EVERY_MS,
        ) as windows:  # fmt: skip
            begin_s = time.monotonic()
            for number, window in enumerate(windows, start=1):
                now_s = time.monotonic() - begin_s
                self._tick(window, now_s)
                if now_s >= found.minutes * 60:
                    break
                if now_s < (number + 1) * tick_s:  # else the comparisons are too slow for this machine
                    self._compare(SYMBOLS[number % len(SYMBOLS)])
        self._end_faults()
        passed_s = time.monotonic() - began_s
        found.frames_s = (counted(ours.port, "pulse_frames_received_total") - frames_before) / passed_s
        self._wait_until_right()
        found.books = {symbol: self._truth.books[symbol] for symbol in SYMBOLS}
        found.minutes_compared = {symbol: len(self._truth.minutes.get(symbol, ())) for symbol in SYMBOLS}
        found.divergences, found.diverged = self._truth.divergences, self._truth.diverged

    def _tick(self, window: Window, now_s: float) -> None:
        found = self.found
        found.samples.append((now_s, self._ours.program.resident_mb()))
        found.late_s = max(found.late_s, self._truth.late_s())
        found.messages += window.messages
        found.cut_healthy += window.cut_healthy
        found.cut_sick += window.cut_slow + window.cut_stalled
        while self._due and self._due[0][0] <= now_s:
            self._switch(*self._due.pop(0)[1:])

    def _compare(self, symbol: str) -> None:
        self._truth.compare_book(symbol)
        self._truth.compare_candles(symbol)

    def _switch(self, part: str, down_s: float) -> None:
        """Begin a fault that lasts `down_s`, or with 0 end it."""
        if down_s:
            self.found.faults[part] += 1
        if part == EXCHANGE:
            if down_s:
                assert self._exchange.process.stdin is not None
                self._exchange.process.stdin.write(b"cut %.3f\n" % down_s)
        elif down_s:
            self._servers[part].kill()
        else:
            self._servers[part].start()

    def _end_faults(self) -> None:
        """Start what is still down because the run ended."""
        for server in self._servers.values():
            server.start()

    def _wait_until_right(self) -> None:
        """Wait until books and candles are right and nothing is left of the clients, or RIGHT_TIMEOUT_S is over."""
        found, deadline_s, now_ms = self.found, time.monotonic() + RIGHT_TIMEOUT_S, time.time_ns() // 1_000_000
        while True:
            found.tasks_after, found.files_after = self._left()
            found.incomplete = list(self._wrong(now_ms))
            is_left = (
                found.tasks_after > found.tasks_before + LEFT_MAX or found.files_after > found.files_before + LEFT_MAX
            )
            if time.monotonic() > deadline_s or not (found.incomplete or is_left):
                return
            time.sleep(POLL_S)

    def _wrong(self, until_ms: int) -> Iterator[str]:
        """Yield what is in trouble, and which books and which of the run's minutes are not there."""
        if not self._truth.is_ready():
            yield "/readyz"
        for symbol in SYMBOLS:
            if not self._truth.compare_book(symbol):
                yield f"the book of {symbol}"
            if not self._truth.compare_candles(symbol, self._began_ms - self._began_ms % MINUTE_MS, until_ms):
                yield f"the candles of {symbol}"

    def _left(self) -> tuple[int, int]:
        return int(counted(self._ours.port, "pulse_tasks")), self._ours.program.open_files()


def _events(fault: Fault) -> tuple[tuple[float, str, float], tuple[float, str, float]]:
    """Return when to begin and when to end a fault."""
    return (fault.begin_s, fault.part, fault.end_s - fault.begin_s), (fault.end_s, fault.part, 0.0)


@contextmanager
def _server(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.discard()


def soak(minutes: float, times: float, folder: Path) -> Findings:
    """Run it with servers of its own. Raise BenchError when something cannot be started."""
    postgres, valkey = PostgresServer(), ValkeyServer()
    with _server(postgres), _server(valkey), busy_exchange(folder, times) as (port, exchange):
        settings = {
            **SIMULATED,
            "DATABASE_URL": postgres.url("postgres"),
            "REDIS_URL": valkey.url,
            "PULSE_BACKFILL_DAYS": "1",
            "PULSE_CLIENTS_MAX": "1000",
            "PULSE_CLIENTS_PER_ADDRESS_MAX": "1000",
            "PULSE_SPOOL_PATH": str(folder / "spool.ndjson"),
            "PULSE_LOG_LEVEL": "INFO",
            "PULSE_LOG_FORMAT": "json",
            "PULSE_HISTORY_RING_MB": "4",  # full before the memory is judged: the default is full after an hour
        }
        with running(folder, SYMBOLS, port, settings) as ours:
            for program in (exchange, ours.program):
                program.run_on(usable())
            run = Soak(minutes, times, ours, exchange, {REDIS: valkey, POSTGRES: postgres})
            run.run(folder)
        run.found.exit_code = ours.program.process.returncode
        run.found.log = (folder / "pulse.log").read_text().splitlines()
        return run.found


def report(found: Findings, load_before: float) -> str:
    """Return the figures of a run, as lines of text."""
    judged = "" if found.is_judged() else ", not judged in a run so short"
    resident = [mb for _, mb in found.samples]
    faults = ", ".join(f"{part} {count} times" for part, count in found.faults.items())
    books, minutes = sum(found.books.values()), sum(found.minutes_compared.values())
    lines = (
        f"{datetime.now(UTC):%Y-%m-%d}, {describe()}, load {load_before:.1f} before",
        f"minutes: {found.minutes:g} of {FULL_MINUTES:g}; failed: {faults}",
        f"each symbol {found.times:g} times as busy as BTCUSDT; "
        f"the exchange was behind by {found.late_s:.1f} s at most",
        f"frames a second from the exchange: {found.frames_s:,.0f}; messages to clients: {found.messages:,}",
        f"clients cut: {found.cut_sick:,} slow or stalled, {found.cut_healthy:,} healthy",
        f"resident MB: {resident[0]:.1f} at the start, {max(resident):.1f} at most, {resident[-1]:.1f} at the end",
        f"memory slope, MB an hour: {found.slope_mb_h():+.2f}{judged}",
        f"tasks: {found.tasks_before} before, {found.tasks_after} after; "
        f"descriptors: {found.files_before} before, {found.files_after} after",
        f"compared with the exchange: {books:,} books, {minutes:,} minutes; {found.diverged} differences",
        f"log lines: {len(found.log):,}",
        *(f"  {count} x {message}" for message, count in message_counts(found.log).most_common()),
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with the command line's arguments; print the figures, and return 1, with the reasons, if it failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES, metavar="N", help=f"default {FULL_MINUTES:g}")
    parser.add_argument("--times", type=float, default=TIMES, metavar="N",
                        help=f"how busy each symbol is, in multiples of BTCUSDT; default {TIMES:g}")  # fmt: skip
    options = parser.parse_args(arguments)
    # SIGTERM must also end the programs started by the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="pulse-soak-") as folder:
        try:
            found = soak(options.minutes, options.times, Path(folder))
        except BenchError as fault:
            print(f"failed: {fault}")
            return 1
    print(report(found, load_before))
    reasons = found.reasons()
    print("\n".join(f"failed: {reason}" for reason in reasons[:REASONS_SHOWN]) or "passed")
    if len(reasons) > REASONS_SHOWN:
        print(f"and {len(reasons) - REASONS_SHOWN:,} more")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
