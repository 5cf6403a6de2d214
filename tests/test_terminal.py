"""The whole terminal as a process: live on a simulated exchange on loopback, demo, replay, faults, and its end."""

import asyncio
import csv
import json
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pulse.simulator.server import SimulatedExchange
from tests.support.process import Pulse, run_pulse, stalled_reader
from tests.support.recordings import recording
from tests.support.services import PostgresServer, ValkeyServer

SYMBOLS = "BTCUSDT,LINKUSDT"
COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal under test streams."""
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as running:
        yield running


def terminal_on(exchange: SimulatedExchange, folder: Path, **environment: str) -> Pulse:
    """Make a terminal that streams this exchange as if it were Binance.US."""
    settings = {
        "PULSE_SYMBOLS": SYMBOLS,
        "PULSE_REST_URL": exchange.rest_url,
        "PULSE_STREAM_URL": exchange.stream_url,
        "PULSE_DEPTH_LIMIT": "1000",
    }
    return Pulse(folder, **(settings | environment))


def is_true(exchange: SimulatedExchange, view: Mapping[str, Any]) -> bool:
    """Return whether a live view shows the exchange's book as it was at that id."""
    truth = exchange.core.book_at(view["symbol"], view["last_update_id"])
    assert truth is not None
    sides = tuple([[float(p), float(q)] for p, q in side] for side in (truth.bids, truth.asks))
    return (view["bids"], view["asks"]) == sides


async def views(pulse: Pulse, count: int, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
    """Return the next views of a symbol."""
    async with asyncio.timeout(30), pulse.feed(symbol) as feed:
        return [json.loads((await feed.receive()).data) for _ in range(count)]


# --- live


async def test_each_live_view_is_the_exchanges_book(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """From the exchange's frame to the client's message, the top 20 are true at the id they state."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        seen = await views(pulse, 30)

    assert all(view["state"] == "live" for view in seen)
    assert all(is_true(exchange, view) for view in seen)
    assert [p["seq"] for p in seen] == sorted({p["seq"] for p in seen})


async def test_clients_of_the_original_project_work_unchanged(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The default symbol needs no name, and the fields they read have the meanings they had."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{pulse.url}/ws/orderbook") as feed:
            view = json.loads((await feed.receive()).data)

    metrics = view["metrics"]
    bids, asks = view["bids"], view["asks"]
    assert view["symbol"] == "BTCUSDT"
    assert (metrics["best_bid"], metrics["best_ask"]) == (bids[0][0], asks[0][0])
    assert metrics["cvd"] == pytest.approx(sum(q for _, q in bids) - sum(q for _, q in asks), rel=1e-9)
    assert metrics["spread_abs"] == pytest.approx(asks[0][0] - bids[0][0], abs=1e-9)
    assert metrics["spread_pct"] == pytest.approx(metrics["spread_abs"] / metrics["mid_price"] * 100, rel=1e-6)


async def test_history_is_backfilled_at_the_start(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Closed minutes that the store lacks come from the exchange, and equal its own."""
    async with terminal_on(exchange, tmp_path) as pulse:
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000"), lambda rows: len(rows) >= 990
        )

    truth = {row[0]: [float(value) for value in row[1:6]] for row in exchange.core.klines("BTCUSDT")}
    stored = {row["timestamp"]: [row[k] for k in COLUMNS] for row in closed(rows)}
    assert stored.items() <= {iso(open_ms): values for open_ms, values in truth.items()}.items()


async def test_a_delisted_symbol_does_not_keep_the_others_from_running(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """It is shown as such, even as the default symbol, and the others are live and have their history."""
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS="GONEUSDT,BTCUSDT") as pulse:
        state = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])
        entries = {row["symbol"]: row["status"] for row in (await pulse.get("/api/symbols"))["symbols"]}
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000"), lambda rows: len(rows) >= 990
        )

    assert state["feeds"]["BTCUSDT"]["state"] == "live"
    assert state["feeds"]["GONEUSDT"]["state"] == "halted"
    assert entries == {"GONEUSDT": "DELISTED", "BTCUSDT": "TRADING"}
    assert len(closed(rows)) >= 990


def closed(rows: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the rows of closed minutes."""
    return [row for row in rows or [] if row["is_closed"]]


def iso(time_ms: int) -> str:
    """Return a time as the API writes it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


async def test_a_lost_exchange_is_shown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The view is offline with a reason, keeps the last book, and becomes live again by itself."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        view = await pulse.until(pulse.view, lambda answer: answer["state"] != "live", timeout_s=1.0)
        exchange.faults.clear()
        await pulse.until_live()

    assert view["state"] == "offline"
    assert view["state_reason"]
    assert len(view["bids"]) == 20


async def test_a_halted_symbol_is_halted_from_the_start(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A symbol that does not trade is not shown as live."""
    exchange.core.set_status("LINKUSDT", "HALT")
    async with terminal_on(exchange, tmp_path) as pulse:
        view = await pulse.until(lambda: pulse.view("LINKUSDT"), lambda p: p.get("state") == "halted")

    assert "HALT" in view["state_reason"]


async def test_readiness_names_what_is_not_ready(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """/readyz names the symbol whose stream is down, and /healthz is not affected."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until(lambda: pulse.get("/readyz"), lambda report: report["ready"])
        exchange.faults.refuse_sockets = 451
        exchange.cut()
        report = await pulse.until(lambda: pulse.get("/readyz"), lambda report: not report["ready"])
        health = await pulse.get("/healthz")

    assert report["feeds"]["BTCUSDT"]["state"] == "offline"
    assert health == {"status": "ok"}


# --- symbols that clients request


async def subscribe(feed: aiohttp.ClientWebSocketResponse, symbol: str) -> dict[str, Any]:
    """Subscribe to a symbol's book and trades, and return the reply."""
    topics = [f"book.{symbol}", f"trades.{symbol}"]
    await feed.send_json({"op": "subscribe", "topics": topics, "id": symbol})
    async with asyncio.timeout(10):
        while True:
            message: dict[str, Any] = json.loads((await feed.receive()).data)
            if message.get("id") == symbol:
                return message


async def test_a_requested_symbol_is_opened(tmp_path: Path) -> None:
    """Its book becomes live and correct, its trades are complete, its minutes are fetched.

    One beyond the limit is refused with a reason; one that is not listed is refused without a request to the exchange.
    """
    async with (
        SimulatedExchange([*SYMBOLS.split(","), "LTCUSDT", "ADAUSDT"], seed=5) as exchange,
        terminal_on(exchange, tmp_path, PULSE_SYMBOLS_MAX="3") as pulse,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{pulse.url}/ws") as feed,
    ):
        await pulse.until_live()
        await pulse.until(lambda: pulse.get("/api/symbols"), lambda answer: "ADAUSDT" in answer["listed"])
        calls_before = len(exchange.rest.requests)
        unlisted = await subscribe(feed, "NOSUCHUSDT")
        calls_after = len(exchange.rest.requests)
        answer = await subscribe(feed, "LTCUSDT")
        trades: list[int] = []
        books: list[dict[str, Any]] = []
        async with asyncio.timeout(30):
            while not trades or not books or books[-1]["state"] != "live":
                message = json.loads((await feed.receive()).data)
                if message["topic"] == "book.LTCUSDT":
                    books.append(message)
                else:
                    trades += [trade["id"] for trade in message["trades"]]
        no_room = await subscribe(feed, "ADAUSDT")
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv?symbol=LTCUSDT&limit=5"),
            lambda found: len(found) == 5 and all(row["reconciled"] for row in found[:3]),
        )
        followed = await pulse.get("/api/symbols")
        async with session.get(f"{pulse.url}/orderbook?symbol=ADAUSDT") as refusal:
            refused = await refusal.json(content_type=None)
            status, retry_after = refusal.status, refusal.headers["Retry-After"]

    assert (unlisted["op"], unlisted["parameter"]) == ("error", "topics")
    assert calls_after == calls_before
    assert answer["op"] == "subscribed"
    assert is_true(exchange, books[-1])
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert no_room["op"] == "error"
    assert "runs 3 symbols" in no_room["detail"]
    assert [row["symbol"] for row in followed["symbols"]] == ["BTCUSDT", "LINKUSDT", "LTCUSDT"]
    assert followed["symbols"][-1]["tick_size"] == 0.01
    assert len(rows) == 5
    assert (status, retry_after) == (503, "60")
    assert "runs 3 symbols" in refused["detail"]


# --- the end


async def test_sigterm_with_clients_one_of_them_stalled_exits_0_within_5_s(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Readers get 1001; a client that does not read cannot delay the end."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        with stalled_reader(pulse.port, "/ws/orderbook"):
            async with pulse.feed() as feed, pulse.feed("LINKUSDT"):
                await feed.receive()
                started = asyncio.get_running_loop().time()
                stopped = asyncio.create_task(pulse.stop())
                while (message := await feed.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                code = await stopped
                took_s = asyncio.get_running_loop().time() - started

    assert code == 0, pulse.log.read_text()
    assert took_s < 5
    assert message.data == 1001


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_without_clients(tmp_path: Path, number: int) -> None:
    """With exit code 0 and no traceback in the log."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse:
        code = await pulse.stop(number)

    assert code == 0
    assert "Traceback" not in pulse.log.read_text()


# --- errors of settings and arguments


async def test_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 2; the sentence says what is wrong and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, stderr = await run_pulse(tmp_path, "--demo", PORT=str(port))

    assert (code, stderr.count("\n")) == (2, 1)
    assert stderr.startswith(f"pulse: Port {port} on 127.0.0.1 is in use")


async def test_every_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    """All faults are reported at once."""
    code, stderr = await run_pulse(tmp_path, PORT="seventy", PULSE_VENUE="mars", PULSE_SYMBOL="X")

    assert code == 2
    assert sorted(line.split()[1] for line in stderr.splitlines()) == ["PORT", "PULSE_SYMBOL", "PULSE_VENUE"]


async def test_unknown_symbol_is_one_sentence(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A symbol that the exchange does not list is found before anything is served."""
    code, stderr = await run_pulse(
        tmp_path, PULSE_SYMBOLS="BTCUSDT,NOSUCHCOIN", PULSE_REST_URL=exchange.rest_url,
        PULSE_STREAM_URL=exchange.stream_url, PULSE_LOG_LEVEL="ERROR",
    )  # fmt: skip

    assert code == 2
    assert stderr == "pulse: PULSE_SYMBOLS names NOSUCHCOIN, which Binance.US does not list.\n"


async def test_unknown_symbol_of_the_demo_is_one_sentence(tmp_path: Path) -> None:
    """The sentence lists the symbols that the simulator knows."""
    code, stderr = await run_pulse(tmp_path, "--demo", PULSE_SYMBOLS="NOSUCHCOIN", PULSE_LOG_LEVEL="ERROR")

    assert (code, stderr.count("\n")) == (2, 1)
    assert "NOSUCHCOIN" in stderr
    assert "BTCUSDT" in stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--replay", "absent.gz"), "The recording absent.gz cannot be read: No such file or directory."),
        (("--replay", "garbage.txt"), "Line 1 of garbage.txt is not a recorded frame: 'hello'."),
        (("--speed", "2"), "--speed belongs to --replay."),
        (("--demo", "--seed", "-1"), "expected"),
        (("--nonsense",), "Unrecognized arguments: --nonsense"),
    ],
)
async def test_wrong_arguments_are_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Errors of the command line have no traceback."""
    (tmp_path / "garbage.txt").write_text("hello\n")
    code, stderr = await run_pulse(tmp_path, *arguments)

    assert (code, stderr.count("\n")) == (2, 1)
    assert words in stderr


async def test_sqlite_path_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """A missing folder is an error of the setting."""
    code, stderr = await run_pulse(tmp_path, PULSE_SQLITE_PATH="absent/candles.sqlite3", PULSE_LOG_LEVEL="ERROR")

    assert (code, stderr.count("\n")) == (2, 1)
    assert "absent/candles.sqlite3" in stderr


# --- replay


async def test_a_replayed_recording_gives_the_exchanges_candles(tmp_path: Path) -> None:
    """Ten whole minutes equal the exchange's; then the view says that the recording has ended."""
    folder = recording("btcusdt-2024-08-08")
    async with Pulse(tmp_path, "--replay", *sorted(folder.glob("*.gz")), "--speed", "max") as pulse:
        rows = await pulse.until(lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT"), lambda r: len(closed(r)) >= 10)
        view = await pulse.until(pulse.view, lambda p: p.get("state") == "offline")

    with (folder / "klines-1m.csv").open() as file:
        truth = {iso(int(r["open_time_ms"])): [float(r[k]) for k in COLUMNS] for r in csv.DictReader(file)}
    assert [row["timestamp"] for row in closed(rows)] == [iso(1723161300000 + 60_000 * n) for n in range(10)]
    assert all([row[k] for k in COLUMNS] == truth[row["timestamp"]] for row in closed(rows))
    assert view["source"] == "replay"
    assert view["state_reason"] == "the recording has ended"


async def test_recording_without_a_snapshot_is_never_live(tmp_path: Path) -> None:
    """There is no snapshot to join the diffs to, and the view is syncing."""
    (path,) = recording("btcusdt-2023-04-05-no-snapshot").glob("*.gz")
    async with Pulse(tmp_path, "--replay", path, "--speed", "50") as pulse:
        seen = await views(pulse, 40)

    assert {view["state"] for view in seen} <= {"syncing", "offline"}
    assert all(view["bids"] == [] for view in seen)


# --- Redis and PostgreSQL


async def test_redis_may_be_killed_and_restarted(
    exchange: SimulatedExchange, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Views go on within the process while Redis is down, and through Redis again afterwards."""
    async with terminal_on(exchange, tmp_path, REDIS_URL=own_valkey.url) as pulse:
        await pulse.until_live()
        await pulse.until(lambda: pulse.get("/readyz"), lambda report: report["bus"]["ok"])
        async with pulse.feed() as feed:
            own_valkey.kill()
            while_away = [json.loads((await feed.receive()).data) for _ in range(40)]
            away = await pulse.get("/readyz")
            own_valkey.restart()
            await pulse.until(lambda: pulse.get("/readyz"), lambda report: report["bus"]["ok"])
            after = [json.loads((await feed.receive()).data) for _ in range(20)]

    assert not away["bus"]["ok"]
    assert all(is_true(exchange, view) for view in [*while_away[-20:], *after])
    assert [p["seq"] for p in after] == sorted({p["seq"] for p in after})


async def test_postgres_may_be_killed_and_restarted(
    exchange: SimulatedExchange, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Candles that arrive while the database is down are written when it is back; views are not affected."""
    url = own_postgres.create_database()
    own_postgres.kill()
    async with terminal_on(exchange, tmp_path, DATABASE_URL=url) as pulse:
        await pulse.until_live()
        problem = await pulse.get("/api/ohlcv", symbol="BTCUSDT")
        own_postgres.restart()
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT", limit="1000"),
            lambda rows: isinstance(rows, list) and len(rows) >= 990,
            timeout_s=90,
        )
        live = await pulse.view()

    assert problem["status"] == 503
    assert len(rows) >= 990
    assert live["state"] == "live"


async def test_refused_region_falls_back_to_the_configured_venue(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """HTTP 451 of the first venue is logged, and the terminal goes on with the second."""
    exchange.faults.rest.answer("/api/v3/*", 451)
    async with terminal_on(exchange, tmp_path, PULSE_FALLBACK_VENUE="com") as pulse:
        view = await pulse.until(pulse.view, lambda answer: answer.get("venue") == "com")

    assert view["state"] == "offline"
    assert "does not serve this address or region (HTTP 451)" in pulse.log.read_text()


async def test_refused_region_without_a_fallback_is_shown_and_not_retried_at_once(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """The view gives the reason, and the exchange is asked once per symbol."""
    exchange.faults.rest.answer("/api/v3/*", 451)
    exchange.faults.refuse_sockets = 451
    async with terminal_on(exchange, tmp_path) as pulse:
        view = await pulse.until(pulse.view, lambda answer: "451" in answer.get("state_reason", ""))
        await asyncio.sleep(3)  # time in which a storm would show
        asked = [request for request in exchange.rest.requests if request[1] == "/api/v3/exchangeInfo"]

    assert view["state"] == "offline"
    assert len(asked) <= 3
