"""The runs against a real process: thousands of sockets, and floods by one client, each beside healthy viewers.

The simulated exchange is in this process; the terminal, the viewers and the flooder are programs of their own.
"""

import asyncio
import contextlib
import json
import os
import random
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulse.simulator.server import KNOWN_SYMBOLS, SimulatedExchange
from tests.support.process import ROOT, Pulse
from tests.support.waiting import WAIT_S, until
from tests.support.websockets import upgrade

KINDS = ("requests", "exports", "symbols", "subscriptions", "pings", "garbage", "half_frames", "opens")
SYMBOL = "BTCUSDT"
FLOODER_ADDRESS = "127.0.0.2"
VIEWERS = 20
RATIO_MAX = 1.2
"""How much longer the 99th percentile of the viewers' ages may be beside floods."""
PAUSE_S = 2.0
"""Between two spells, so that neither counts what the other has left."""
SETTLED_POLL_S = 0.1
MINUTE_S = 60


@dataclass
class Report:
    """What a run has seen: figures for people, and what was not as it must be."""

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def expect(self, is_true: bool, text: str) -> None:
        """Note a fault unless it is true."""
        if not is_true:
            self.faults.append(text)


@dataclass(frozen=True)
class Used:
    """What a terminal has used: processor time, and how long and how often its loop was ready to run and had to wait.

    That it waited long is a sign of other programs on its processor, not of its own work.
    """

    cpu_s: float = 0.0
    waited_s: float = 0.0
    turns: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(self.cpu_s + other.cpu_s, self.waited_s + other.waited_s, self.turns + other.turns)

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.cpu_s - other.cpu_s, self.waited_s - other.waited_s, self.turns - other.turns)


class OwnSession(Pulse):
    """A terminal in a session of its own.

    Linux shares the processors evenly between sessions (autogroups, sched(7)): in the one of the flooder and the
    exchange, what those take would be taken from the terminal's share.
    """

    def command(self) -> list[str]:
        """Return the command line."""
        return ["setsid", *super().command()]


class Program:
    """A program of this package in a session of its own, ended with the block."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._command = [sys.executable, "-m", module, *map(str, arguments)]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        return self._process

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Viewers:
    """The program of healthy viewers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begin(self, spell: str) -> None:
        """Begin a spell; an empty name is a pause."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{spell}\n".encode())
        await self._process.stdin.drain()

    async def finish(self) -> Mapping[str, Any]:
        """Return what they have seen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            report: Mapping[str, Any] = json.loads(await self._process.stdout.readline())
        return report


@asynccontextmanager
async def viewing(pulse: Pulse, count: int) -> AsyncIterator[Viewers]:
    """Run healthy viewers of a terminal."""
    async with Program("tests.floods.viewers", pulse.port, SYMBOL, count) as process:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            await process.stdout.readline()
        yield Viewers(process)


@asynccontextmanager
async def terminal(folder: Path) -> AsyncIterator[Pulse]:
    """Run a live terminal with the default limits on a simulated exchange."""
    async with SimulatedExchange(KNOWN_SYMBOLS, seed=1) as exchange:
        settings = {
            "PULSE_SYMBOLS": "BTCUSDT,ETHUSDT,SOLUSDT", "PULSE_REST_URL": exchange.rest_url,
            "PULSE_STREAM_URL": exchange.stream_url, "PULSE_REQUESTS_PER_ADDRESS_S": "20",
        }  # fmt: skip
        async with OwnSession(folder, **settings) as pulse:
            with _apart(pulse):
                await pulse.until_live(SYMBOL)
                yield pulse


async def floods(
    folder: Path, *, spells: int, spell_s: float, rate: float, kinds: Sequence[str] = KINDS, viewers: int = VIEWERS
) -> Report:
    """Alternate spells without and with floods of these kinds, and compare what the viewers got."""
    report = Report()
    async with terminal(folder) as pulse, viewing(pulse, viewers) as healthy:
        await asyncio.sleep(PAUSE_S)
        used = {"quiet": Used(), "flood": Used()}
        for _ in range(spells):
            await healthy.begin("quiet")
            used["quiet"] += await _used_by(pulse, spell_s)
            await healthy.begin("")
            async with Program("tests.floods.flooder", pulse.port, FLOODER_ADDRESS, rate, ",".join(kinds)):
                await asyncio.sleep(PAUSE_S)
                await healthy.begin("flood")
                used["flood"] += await _used_by(pulse, spell_s)
                await healthy.begin("")
            await asyncio.sleep(PAUSE_S)
        real_time = bool(os.sched_getscheduler(pulse.pid) & os.SCHED_FIFO)
        seen = await healthy.finish()
        metrics = await _metrics(pulse)
        view = await pulse.view(SYMBOL)
    _judge_log(report, pulse, (2 * spell_s + 2 * PAUSE_S) * spells)
    quiet, flood = seen["ages"].get("quiet"), seen["ages"].get("flood")
    report.figures |= {
        **seen, "metrics": metrics,
        "processor": {spell: one.cpu_s / (spells * spell_s) for spell, one in used.items()},
        "real_time": real_time,
        "waited_ms": {spell: one.waited_s / max(1, one.turns) * 1000 for spell, one in used.items()},
    }  # fmt: skip
    report.expect(quiet is not None and flood is not None, "the viewers got no views in a spell")
    report.expect(seen["disconnected"] == 0, f"viewers were disconnected {seen['disconnected']} times")
    report.expect(seen["health_failed"] == 0, f"{seen['health_failed']} health checks failed")
    report.expect(view.get("state") == "live", f"the book is {view.get('state')} after the floods")
    if quiet and flood:
        report.figures["ratio"] = flood["p99"] / quiet["p99"]
        report.figures["viewed"] = flood["count"] / quiet["count"]
    return report


async def sockets(folder: Path, *, count: int, addresses: int, per_s: float, hold_s: float) -> Report:
    """Open many sockets from a few addresses, hold those that are let, and see what is left when they are gone."""
    report = Report()
    _raise_descriptor_limit(count)
    async with terminal(folder) as pulse, viewing(pulse, 5) as healthy:
        await asyncio.sleep(PAUSE_S)
        before = _descriptors(pulse)
        await healthy.begin("sockets")
        crowd = Crowd(pulse.port, [f"127.0.0.{number + 2}" for number in range(addresses)])
        await crowd.open(count, per_s)
        held = _descriptors(pulse)
        from_flooder = await _health_from(pulse, FLOODER_ADDRESS)
        await asyncio.sleep(hold_s)
        crowd.close()
        await healthy.begin("")
        with contextlib.suppress(TimeoutError):
            await until(lambda: _descriptors(pulse) <= before + 2, SETTLED_POLL_S)
        after = _descriptors(pulse)
        seen = await healthy.finish()
        metrics = await _metrics(pulse)
        view = await pulse.view(SYMBOL)
    _judge_log(report, pulse, count / per_s + hold_s)
    report.figures |= {
        **seen, "metrics": metrics, "descriptors": {"before": before, "held": held, "after": after},
        "sockets": {"opened": crowd.opened, "failed": crowd.failed},
    }  # fmt: skip
    report.expect("sockets" in seen["ages"], "the viewers got no views")
    report.expect(seen["disconnected"] == 0, f"viewers were disconnected {seen['disconnected']} times")
    report.expect(seen["health_failed"] == 0, f"{seen['health_failed']} health checks failed")
    report.expect(from_flooder, "a health check from an address at its limit was not answered")
    report.expect(after <= before + 2, f"{after} descriptors are open after it, {before} were before it")
    report.expect(view.get("state") == "live", f"the book is {view.get('state')} after it")
    return report


class Crowd:
    """Sockets from a few addresses, a third of them silent, a third with half a request, a third WebSockets."""

    def __init__(self, port: int, addresses: Sequence[str]) -> None:
        self._port = port
        self._addresses = addresses
        self._sockets: list[socket.socket] = []
        self._rng = random.Random(1)
        self.opened = 0
        self.failed = 0

    async def open(self, count: int, per_s: float) -> None:
        """Open them at this rate."""
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, begin_s + number / per_s - loop.time()))
            await self._open_one(loop, self._addresses[number % len(self._addresses)])

    async def _open_one(self, loop: asyncio.AbstractEventLoop, address: str) -> None:
        one = socket.socket()
        one.setblocking(False)
        self._sockets.append(one)
        try:
            one.bind((address, 0))
            async with asyncio.timeout(WAIT_S):
                await loop.sock_connect(one, ("127.0.0.1", self._port))
            first = self._rng.choice((b"", b"GET / HTTP/1.1\r\nHost:", upgrade(self._port, "/ws")))
            if first:
                await loop.sock_sendall(one, first)
            self.opened += 1
        except (OSError, TimeoutError):
            self.failed += 1

    def close(self) -> None:
        """Close all."""
        for one in self._sockets:
            one.close()


async def _health_from(pulse: Pulse, address: str) -> bool:
    """Return whether a health check from this address is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pulse.port, local_addr=(address, 0))
    try:
        async with asyncio.timeout(WAIT_S):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.read()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        writer.transport.abort()


async def _metrics(pulse: Pulse) -> Mapping[str, float]:
    """Return the counters of what was refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pulse.port)
    async with asyncio.timeout(WAIT_S):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
    writer.close()
    found = (line.rpartition(" ") for line in text.splitlines() if "refused" in line and line.startswith("pulse_"))
    return {name: float(value) for name, _, value in found if "_created" not in name}


def _judge_log(report: Report, pulse: Pulse, seconds: float) -> None:
    """Expect no traceback, and few lines: those of changes of state, and one a minute of each repeated trouble."""
    lines = pulse.log.read_text().splitlines()
    report.figures["log_lines"] = len(lines)
    report.expect(not any("Traceback" in line for line in lines), "the log has a traceback")
    report.expect(len(lines) < 200 + 20 * seconds / MINUTE_S * len(KNOWN_SYMBOLS), f"the log has {len(lines)} lines")


async def _used_by(pulse: Pulse, seconds: float) -> Used:
    """Return what the terminal uses in the next seconds."""
    before = _used_until_now(pulse)
    await asyncio.sleep(seconds)
    return _used_until_now(pulse) - before


def _used_until_now(pulse: Pulse) -> Used:
    """Return what the terminal has used; the clock's id is as in clock_getcpuclockid(3)."""
    _, waited_ns, turns = map(int, Path(f"/proc/{pulse.pid}/schedstat").read_text().split())
    return Used(time.clock_gettime(~pulse.pid << 3 | 2), waited_ns / 1e9, turns)


@contextlib.contextmanager
def _apart(pulse: Pulse) -> Iterator[None]:
    """Keep the terminal on one processor and all other programs of the run on others, if there are two or more.

    What the flooder, the viewers and the exchange take is then not taken from the terminal: programs that are started
    within the block are on the others too. Where it is allowed (root), the terminal's loop also runs before programs
    that have nothing to do with the run, so that a loaded machine can be measured on.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(pulse.pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    all_of_them = os.sched_getaffinity(0)
    first, others = min(all_of_them), all_of_them - {min(all_of_them)}
    if others:
        for thread in os.listdir(f"/proc/{pulse.pid}/task"):
            os.sched_setaffinity(int(thread), {first})
        os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def _descriptors(pulse: Pulse) -> int:
    return len(os.listdir(f"/proc/{pulse.pid}/fd"))


def _raise_descriptor_limit(count: int) -> None:
    """Let this process open so many sockets, or as many as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
