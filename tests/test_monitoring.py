"""What a real Prometheus makes of a real process: its metrics, the alert of each fault, the dashboard's queries."""

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from pulse.simulator.server import SimulatedExchange
from tests.conftest import start
from tests.support.monitoring import DASHBOARD, RULE_TESTS, RULES, PrometheusServer, shortened
from tests.support.process import Pulse
from tests.support.programs import NoServer, free_port, prometheus_programs
from tests.support.services import PostgresServer, ValkeyServer
from tests.support.waiting import WAIT_S, until

SYMBOLS = "BTCUSDT,LINKUSDT"
ALERTS = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
FIRE_WAIT_S = 4 * WAIT_S
CLIENTS_MAX = 10
DEPTH, TRADES = "btcusdt@depth@100ms", "btcusdt@aggTrade"
KLINES = "/api/v3/klines"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Return the folder of Prometheus' programs; where they are missing, fail with the remedy alone."""
    try:
        return prometheus_programs()
    except NoServer as fault:
        raise pytest.fail.Exception(str(fault), pytrace=False) from None


def promtool(programs: Path, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    command = [programs / "promtool", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


async def metrics_of(pulse: Pulse) -> str:
    """Return what a process answers at /metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"{pulse.url}/metrics") as answer:
        return await answer.text()


async def test_promtool_has_nothing_to_say_about_the_metrics(programs: Path, tmp_path: Path) -> None:
    """Units are base units, counters end in `_total`, latency is a histogram."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="BTCUSDT") as pulse, pulse.feed() as feed:
        await pulse.until_live()
        await feed.receive()
        text = await metrics_of(pulse)
    checked = promtool(programs, "check", "metrics", text=text)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert 'pulse_latency_seconds_bucket{hop="applied",le="0.01"}' in text
    assert "pulse_build_info{" in text
    assert "_created" not in text


# --- the files


def test_promtool_accepts_the_rules(programs: Path) -> None:
    """Prometheus' own check of the rules, and of the configuration that names them."""
    rules = promtool(programs, "check", "rules", RULES)
    config = promtool(programs, "check", "config", RULES.with_name("prometheus.yml"))

    assert (rules.returncode, rules.stderr) == (0, "")
    assert (config.returncode, config.stderr) == (0, "")


def test_each_rule_fires_after_its_time_and_not_before(programs: Path) -> None:
    """The true durations, thresholds and texts, on series that are given; no rule is without such a test."""
    checked = promtool(programs, "test", "rules", RULE_TESTS)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert set(re.findall(r"- alertname: (\w+)", RULE_TESTS.read_text())) == ALERTS


def test_shortened_rules_differ_in_their_durations_alone() -> None:
    """The rules that run against injected faults are the same rules, a minute of which lasts two seconds."""
    assert shortened("rate(a[5m]) > 1m\nfor: 2m\nb[1m:]") == "rate(a[10s]) > 1m\nfor: 4s\nb[2s:]"
    assert "m]" not in shortened(RULES.read_text())


# --- each fault, in a real Prometheus


class Faults:
    """The terminal, everything that it depends on, and what is done to them. `firing` waits for alerts."""

    def __init__(self, exchange: SimulatedExchange, folder: Path) -> None:
        self.exchange = exchange
        self.postgres, self.valkey = PostgresServer(), ValkeyServer()
        operator = f"127.0.0.1:{free_port()}"
        for server in (self.postgres, self.valkey):
            start(server)
        self.pulse = Pulse(
            folder,
            PULSE_SYMBOLS=SYMBOLS,
            PULSE_REST_URL=exchange.rest_url,
            PULSE_STREAM_URL=exchange.stream_url,
            PULSE_DEPTH_LIMIT="1000",
            PULSE_BACKFILL_DAYS="0",
            PULSE_CLIENTS_MAX=str(CLIENTS_MAX),
            PULSE_OPERATOR_BIND=operator,
            DATABASE_URL=self.postgres.url("postgres"),
            REDIS_URL=self.valkey.url,
        )
        self.prometheus = PrometheusServer(operator)
        self.seen: set[str] = set()

    async def firing(self, *alerts: str) -> None:
        """Wait until each of these alerts has fired."""
        missing = set(alerts) - self.seen
        try:
            async with asyncio.timeout(FIRE_WAIT_S):
                while missing:
                    self.seen |= await asyncio.to_thread(self.prometheus.firing)
                    missing -= self.seen
                    await asyncio.sleep(0.25)
        except TimeoutError:
            raise AssertionError(f"{missing} did not fire\n{self.pulse.log.read_text()[-3000:]}") from None

    def close(self) -> None:
        """Stop the servers."""
        for server in (self.prometheus, self.postgres, self.valkey):
            server.discard()


@asynccontextmanager
async def monitored(folder: Path) -> AsyncIterator[Faults]:
    """Run a terminal on a simulated exchange, a PostgreSQL and a Valkey, with a Prometheus that watches it."""
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as exchange:
        exchange.faults.rest.answer(KLINES, 500)
        exchange.faults.rest.edit("/api/v3/time", lambda body: {"serverTime": body["serverTime"] + 60_000})
        faults = Faults(exchange, folder)
        try:
            async with faults.pulse:
                start(faults.prometheus)
                yield faults
        finally:
            faults.close()


async def fill_the_server(faults: Faults, clients: AsyncExitStack) -> None:
    """Connect as many clients as are admitted, and more, which are refused."""
    for _ in range(CLIENTS_MAX):
        await clients.enter_async_context(faults.pulse.feed())
    for _ in range(40):
        with suppress(aiohttp.ClientError):
            async with faults.pulse.feed():
                raise AssertionError("a client beyond the limit was admitted")
        await asyncio.sleep(0.05)


async def spend_the_weight(faults: Faults) -> None:
    """Ask the exchange from the same address, as another program would, up to half of its limit in each minute."""
    path = f"{faults.exchange.rest_url}/api/v3/depth?symbol=LINKUSDT&limit=5000"
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(path) as answer:
                used = int(answer.headers["X-MBX-USED-WEIGHT-1M"])
            await asyncio.sleep(0.01 if used < 600 else 1.0)


async def test_every_alert_fires_for_its_fault_and_every_panel_has_data(programs: Path, tmp_path: Path) -> None:
    """Each part is broken in turn; of two that are broken from the start, the alert of the shorter time comes first."""
    async with monitored(tmp_path) as faults, AsyncExitStack() as clients:
        frames, rest, pulse = faults.exchange.faults.frames, faults.exchange.faults.rest, faults.pulse
        await pulse.until(lambda: pulse.get("/readyz"), lambda report: report["ready"])
        await faults.firing("PulseClockWrong")
        assert faults.seen == {"PulseClockWrong"}
        rest.clear()
        rest.answer(KLINES, 500)

        # values, trades, delays, clients, memory, descriptors
        frames.corrupt(DEPTH)
        frames.edit("linkusdt@aggTrade", lambda data: data | {"T": data["T"] + 10**9})
        rest.answer("/api/v3/aggTrades", 500)
        frames.drop(TRADES, 5)
        await fill_the_server(faults, clients)
        await faults.firing("PulseBookDiffers", "PulseFramesRefused", "PulseTradesMissing", "PulseRefuses")
        await faults.firing("PulseCandlesMissing")
        frames.delay("linkusdt@depth@100ms", 1000, 10**6)
        with lowered_limits(pulse.pid) as lower:
            lowering = asyncio.create_task(lower())
            await faults.firing("PulseNearlyFull", "PulseMemoryHigh", "PulseDescriptorsHigh", "PulseLatencyOverBudget")
            queries = without_data(faults.prometheus)
            lowering.cancel()
        await clients.aclose()
        frames.clear()
        rest.clear()

        # the proof, the store, the bus
        frames.mute("*@bookTicker", "*@depth20*")
        faults.postgres.kill()
        faults.valkey.kill()
        await faults.firing("PulseStoreAway", "PulseBusAway", "PulseNotReady", "PulseBookUnproven", "PulseStreamSilent")
        frames.clear()
        start(faults.postgres)
        start(faults.valkey)

        # the exchange: its budget, its bans, its streams
        other = asyncio.create_task(spend_the_weight(faults))
        frames.corrupt(DEPTH, count=10**6)  # each time the book asks for a snapshot, and with it learns what is spent
        await faults.firing("PulseWeightShort")
        other.cancel()
        frames.clear()
        rest.answer("/api/*", 418, retry_after_s=600)
        faults.exchange.faults.refuse_sockets = 503
        faults.exchange.cut()
        await faults.firing("PulseExchangeBlocks", "PulseExchangeSilent", "PulseBookNotLive")
        faults.exchange.faults.clear()

        # the process
        for _ in range(3):
            await restart(faults)
        await faults.firing("PulseRestarting")
        await pulse.stop(signal.SIGKILL)
        await faults.firing("PulseDown")

    assert faults.seen == ALERTS
    assert queries == []


async def restart(faults: Faults) -> None:
    """Kill the process, start it again, and wait until Prometheus has noticed."""
    before = faults.prometheus.query("process_start_time_seconds")[0]["value"][1]
    await faults.pulse.stop(signal.SIGKILL)
    await faults.pulse.start()
    await until(lambda: faults.prometheus.query(f"process_start_time_seconds != {before}") != [], 0.1)


@contextmanager
def lowered_limits(pid: int) -> Iterator[Callable[[], Coroutine[None, None, None]]]:
    """Lower the limits of a process to what it uses, for this block; the block runs a task that keeps them there."""
    before = {which: resource.prlimit(pid, which) for which in (resource.RLIMIT_RSS, resource.RLIMIT_NOFILE)}

    async def lower() -> None:
        while True:
            opened = len(os.listdir(f"/proc/{pid}/fd"))
            for which, soft in zip(before, (2**26, opened + 2), strict=True):  # reading its own limits opens a file
                resource.prlimit(pid, which, (soft, before[which][1]))
            await asyncio.sleep(0.25)

    yield lower
    for which, both in before.items():
        resource.prlimit(pid, which, both)


def expressions() -> Iterator[str]:
    """Iterate over every query of the dashboard, for all instances and symbols."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    notes = [note["expr"] for note in dashboard["annotations"]["list"]]
    names = [
        re.sub(r"label_values\((.*), (\w+)\)", r"count by (\2) (\1)", variable["query"]["query"])
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    for expression in (*panels, *notes, *names):
        yield re.sub(r"\$(instance|symbol)\b", ".*", expression).replace("$__rate_interval", "5s")


def without_data(prometheus: PrometheusServer) -> list[str]:
    """Return the queries of the dashboard that have no data now."""
    queries = list(expressions())
    assert len(queries) > 50
    return [query for query in queries if not prometheus.query(query)]
