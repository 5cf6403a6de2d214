"""`python -m pulse check`: each line on real services, with nothing wrong and with each fault injected."""

import asyncio
import io
import os
import re
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pulse import check, machine
from pulse.simulator.server import SimulatedExchange
from tests.support.process import ROOT, Pulse, run_pulse
from tests.support.services import PostgresServer, ValkeyServer, free_port

REST = "exchange REST, clock, weight"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that is looked at."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=5) as running:
        yield running


def environment(exchange: SimulatedExchange, folder: Path, **others: str) -> dict[str, str]:
    """Return settings of a terminal on this exchange, with its files in a folder."""
    return {
        "PORT": str(free_port()),
        "PULSE_SYMBOLS": "BTCUSDT,LINKUSDT",
        "PULSE_REST_URL": exchange.rest_url,
        "PULSE_STREAM_URL": exchange.stream_url,
        "PULSE_SQLITE_PATH": str(folder / "candles.sqlite3"),
        "PULSE_SPOOL_PATH": str(folder / "spool"),
        "PULSE_STATE_PATH": str(folder / "state"),
        **others,
    }


async def lines_of(given: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Return the exit code, and the lines without their names by these; in a thread, whose loop is the check's own."""
    output = io.StringIO()
    code = await asyncio.to_thread(check.run, given, output)
    found = [re.fullmatch(r"(ok |fix)  ([^:]+): (.+)", line) for line in output.getvalue().splitlines()]
    assert all(found)
    return code, {match[2]: f"{match[1].strip()} {match[3]}" for match in found if match}


async def fault(given: dict[str, str], name: str) -> str:
    """Return what to do, as the only line that is not ok says it."""
    code, lines = await lines_of(given)
    assert code == 1
    assert [other for other, line in lines.items() if not line.startswith("ok ")] == [name]
    return lines[name].removeprefix("fix ")


async def test_everything_is_ok(exchange: SimulatedExchange, tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    """With exchange, Redis and PostgreSQL; nothing is made in the database or the folder."""
    given = environment(exchange, tmp_path, DATABASE_URL=postgres_url, REDIS_URL=redis_url)
    code, lines = await lines_of(given)

    assert (code, {line.partition(" ")[0] for line in lines.values()}) == (0, {"ok"})
    assert lines["versions"].startswith("ok pulse 0.")
    assert lines["exchange symbols"] == "ok BTCUSDT TRADING, LINKUSDT TRADING"
    assert lines["exchange stream"] == "ok opens and sends btcusdt@depth@100ms"
    assert re.search(r"answers in \d+ ms, the clock is \d+ ms off, \d+ of 600 weight left", lines[REST])
    assert "schema not made yet" in lines["store"]
    assert os.listdir(tmp_path) == []


async def test_defaults_need_no_server(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """SQLite, and a bus within the process."""
    code, lines = await lines_of(environment(exchange, tmp_path))

    assert code == 0
    assert lines["bus"] == "ok within the process (REDIS_URL is not set)"
    assert lines["store"] == "ok no file yet, it will be made"


async def test_wrong_settings_are_lines() -> None:
    """All of them, and nothing else is looked at."""
    code, lines = await lines_of({"PORT": "x", "PULSE_VENUE": "mars"})

    assert (code, set(lines)) == (1, {"versions", "settings"})
    assert lines["settings"].startswith("fix P")


@pytest.mark.parametrize(
    ("status", "words"),
    [(451, "does not serve this address or region (HTTP 451). Set PULSE_VENUE or PULSE_FALLBACK_VENUE"),
     (418, "blocks all requests for 77 s (HTTP 418). Wait 77 s"), (500, "HTTP 500")],
)  # fmt: skip
async def test_an_exchange_that_refuses(exchange: SimulatedExchange, tmp_path: Path, status: int, words: str) -> None:
    """The region, a ban, an error; the symbols are not asked for then."""
    exchange.faults.rest.answer("/api/*", status, retry_after_s=77)
    code, lines = await lines_of(environment(exchange, tmp_path))

    assert code == 1
    assert words in lines[REST]
    assert lines["exchange symbols"] == "fix Not asked for, because of the line above."
    assert len([other for other in exchange.rest.requests if other.path != "/api/v3/time"]) == 0


async def test_a_wrong_clock(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """By how much, and on which side."""
    exchange.faults.rest.edit("/api/v3/time", lambda body: {"serverTime": body["serverTime"] + 60_000})

    assert "clock is 60.0 s behind the exchange's; synchronise it (NTP)" in await fault(
        environment(exchange, tmp_path), REST
    )


async def test_weight_that_others_have_spent(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """By the exchange's own count; no request waits for the next minute."""
    exchange.rest._meter.charge(590, exchange.core.now_ms)
    code, lines = await lines_of(environment(exchange, tmp_path))

    assert code == 1
    assert "request weight is spent in this minute, and this process may use 600" in lines[REST]


async def test_a_symbol_that_is_not_listed(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Each is named."""
    given = environment(exchange, tmp_path, PULSE_SYMBOLS="BTCUSDT,NOPEUSDT")

    assert await fault(given, "exchange symbols") == "Binance.US does not list NOPEUSDT; change PULSE_SYMBOLS."


@pytest.mark.parametrize(("status", "words"), [(451, "Set PULSE_VENUE"), (503, "Check the network")])
async def test_a_stream_that_is_refused(exchange: SimulatedExchange, tmp_path: Path, status: int, words: str) -> None:
    """REST answers, the stream does not open."""
    exchange.faults.refuse_sockets = status
    found = await fault(environment(exchange, tmp_path), "exchange stream")

    assert f"HTTP {status}" in found
    assert words in found


async def test_a_quiet_stream_is_ok(
    exchange: SimulatedExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened; a symbol may not trade for a while."""
    monkeypatch.setattr(check, "FIRST_FRAME_S", 0.2)
    exchange.faults.frames.mute("*")
    code, lines = await lines_of(environment(exchange, tmp_path))

    assert code == 0
    assert lines["exchange stream"].endswith("as of a quiet symbol")


async def test_a_part_that_does_not_answer_holds_up_no_line(
    exchange: SimulatedExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own line says so after a bounded time."""
    monkeypatch.setattr(check, "LINE_S", 1.0)
    exchange.faults.rest.hang("/api/v3/exchangeInfo", 30.0)

    assert "No answer within 1 s" in await fault(environment(exchange, tmp_path), "exchange symbols")


async def test_redis_that_is_away(exchange: SimulatedExchange, tmp_path: Path, own_valkey: ValkeyServer) -> None:
    """In words, and what to do."""
    own_valkey.kill()

    assert "Check REDIS_URL" in await fault(environment(exchange, tmp_path, REDIS_URL=own_valkey.url), "bus")


async def test_a_database_that_is_away(
    exchange: SimulatedExchange, tmp_path: Path, own_postgres: PostgresServer
) -> None:
    """In words, and what to do; the password is not shown."""
    own_postgres.kill()
    url = own_postgres.url("postgres").replace("postgres@", "postgres:s3cret@")
    found = await fault(environment(exchange, tmp_path, DATABASE_URL=url), "store")

    assert "Check DATABASE_URL" in found
    assert "s3cret" not in found


async def test_a_file_that_is_no_database(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """SQLite's file, which another program has written."""
    (tmp_path / "candles.sqlite3").write_bytes(b"no database" * 100)

    assert "file is not a database" in await fault(environment(exchange, tmp_path), "store")


async def test_a_folder_that_is_missing_or_full(
    exchange: SimulatedExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting that names it is said."""
    given = environment(exchange, tmp_path, PULSE_SPOOL_PATH=str(tmp_path / "absent" / "spool"))
    missing = await fault(given, "disk")
    monkeypatch.setattr(machine, "disk_free_bytes", lambda _: 10 * 2**20)
    full = await fault(environment(exchange, tmp_path), "disk")

    assert "absent does not exist; make it, or change PULSE_SPOOL_PATH." in missing
    assert full.startswith("Only 10 MiB are free in ")


@pytest.mark.parametrize("setting", ["PULSE_SQLITE_PATH", "PULSE_SPOOL_PATH", "PULSE_STATE_PATH"])
async def test_a_path_that_cannot_be_looked_at(exchange: SimulatedExchange, tmp_path: Path, setting: str) -> None:
    """The system's own words; the other lines are printed too."""
    path = tmp_path / ("a" * 300) / "file"
    code, lines = await lines_of(environment(exchange, tmp_path, **{setting: str(path)}))

    assert code == 1
    assert "cannot be looked at: File name too long." in lines["disk"]
    assert lines[REST].startswith("ok ")


async def test_a_folder_that_may_not_be_written(
    exchange: SimulatedExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system's answer is given here."""
    monkeypatch.setattr("pulse.check.os.access", lambda *_: False)

    assert "cannot be written by this user" in await fault(environment(exchange, tmp_path), "disk")


async def test_too_few_descriptors(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """For the clients of the settings."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    given = environment(exchange, tmp_path, PULSE_CLIENTS_MAX="100000")
    if hard != resource.RLIM_INFINITY and hard < 100_000:
        assert f"{hard} descriptors are allowed, 100400 are needed" in await fault(given, "descriptors")
    else:
        assert (await lines_of(given))[1]["descriptors"].startswith("ok 100400 needed")


async def test_too_little_memory(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """By the limit of the process itself, as by that of its control group."""
    before = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (100 * 2**20, before[1]))
    try:
        found = await fault(environment(exchange, tmp_path), "memory")
    finally:
        resource.setrlimit(resource.RLIMIT_RSS, before)

    assert found == "100 MiB are allowed; give it 256 MiB, and 512 MiB for the defaults."


async def test_a_port_of_another_program_and_of_a_running_pulse(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A Pulse that runs there is as it should be; anything else is not."""
    given = environment(exchange, tmp_path)
    del given["PORT"]
    async with Pulse(tmp_path, **given) as pulse:
        _, lines = await lines_of(given | {"PORT": str(pulse.port)})
        assert lines["port"] == f"ok a Pulse answers on port {pulse.port}"
        await pulse.stop(signal.SIGTERM)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert f"Port {port} on 127.0.0.1 is in use by another program" in await fault(
            given | {"PORT": str(port)}, "port"
        )
        found = await fault(given | {"PULSE_OPERATOR_BIND": str(port), "PORT": "0"}, "port")
        assert f"Port {port} on 127.0.0.1 is in use by another program" in found
        assert "PULSE_OPERATOR_BIND" in found


@pytest.mark.parametrize("is_ok", [True, False])
async def test_the_command_line_prints_and_exits(exchange: SimulatedExchange, tmp_path: Path, is_ok: bool) -> None:
    """As a user runs it: 0, or 1 with what to do."""
    if not is_ok:
        exchange.faults.refuse_sockets = 451
    given = environment(exchange, tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pulse", "check",
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **given}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    text = (await process.communicate())[0].decode()
    code = process.returncode

    assert code == (0 if is_ok else 1)
    assert ("fix  exchange stream:" in text) is not is_ok
    assert text.startswith("ok   versions: pulse ")


async def test_check_takes_no_other_mode(tmp_path: Path) -> None:
    """A demo needs none of it."""
    code, stderr = await run_pulse(tmp_path, "check", "--demo")

    assert code == 2
    assert "check looks at the real exchange" in stderr
