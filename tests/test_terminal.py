"""The whole terminal as a process: live on a simulated exchange on loopback, demo, replay, faults, and its end."""

import asyncio
import csv
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import redis

from pulse.binance.venues import VENUES
from pulse.fanout.hub import OWN_SILENCE_MAX_S
from pulse.latency import ECHOES_PER_ADDRESS
from pulse.server.listener import EXTRA_CONNECTIONS
from pulse.settings import Settings
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.server import SimulatedExchange
from pulse.terminal import Plan, Terminal
from tests.support.process import ROOT, SYMBOLS, Pulse, run_pulse, stalled_reader, terminal_on
from tests.support.recordings import recording
from tests.support.services import PostgresServer, ValkeyServer, free_port
from tests.support.waiting import WAIT_S

COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal under test streams."""
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as running:
        yield running


def is_true(exchange: SimulatedExchange, view: Mapping[str, Any]) -> bool:
    """Return whether a live view shows the exchange's book as it was at that id."""
    truth = exchange.core.book_at(view["symbol"], view["last_update_id"])
    assert truth is not None
    sides = tuple([[float(p), float(q)] for p, q in side] for side in (truth.bids, truth.asks))
    return (view["bids"], view["asks"]) == sides


async def views(pulse: Pulse, count: int, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
    """Return the next views of a symbol."""
    async with asyncio.timeout(WAIT_S), pulse.feed(symbol) as feed:
        return [json.loads((await feed.receive()).data) for _ in range(count)]


async def trades_within(pulse: Pulse, duration_s: float) -> set[tuple[int, float]]:
    """Return the ids and prices of the trades that a client of BTCUSDT is sent for so long."""
    trades: set[tuple[int, float]] = set()
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(duration_s),
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{pulse.url}/ws") as feed,
        ):
            await feed.send_json({"op": "subscribe", "topics": ["trades.BTCUSDT"]})
            async for message in feed:
                trades |= {(trade["id"], trade["price"]) for trade in json.loads(message.data).get("trades", ())}
    return trades


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


@pytest.mark.proves("newest-minutes")
async def test_the_newest_minutes_are_there_after_the_start(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Every minute that has ended is the exchange's own at once, also those that may still change."""

    def newest(rows: Any) -> list[str]:
        return [row["timestamp"] for row in closed(rows if isinstance(rows, list) else [])][-5:]

    def is_complete(rows: Any) -> bool:
        running_ms = int(time.time()) // 60 * 60_000
        return newest(rows) == [iso(running_ms - minutes * 60_000) for minutes in (5, 4, 3, 2, 1)]

    async with terminal_on(exchange, tmp_path) as pulse:
        for symbol in SYMBOLS.split(","):
            rows = await pulse.until(partial(pulse.get, "/api/ohlcv", symbol=symbol, limit="6"), is_complete)
            sources = {row["source"] for row in closed(rows)}

    assert "exchange" in sources


@pytest.mark.proves("delisted")
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


@pytest.mark.proves("cut")
async def test_a_lost_exchange_is_shown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The view is offline with a reason, keeps the last book, and becomes live again by itself."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        view = await pulse.until(pulse.view, lambda answer: answer["state"] != "live")
        exchange.faults.clear()
        await pulse.until_live()

    assert view["state"] == "offline"
    assert view["state_reason"]
    assert len(view["bids"]) == 20


@pytest.mark.proves("halt")
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


# --- who may read


READER, OPERATOR = "a-reader's-token!", "an-operator's-token!"


async def status_of(url: str, **headers: str) -> int:
    """Return the status of one request."""
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as answer:
        return answer.status


@pytest.mark.proves("session")
async def test_tokens_and_sessions_outlive_a_restart(tmp_path: Path) -> None:
    """A session begun with the reader's token goes on in the next process, and ends when the token is changed."""
    pulse = Pulse(tmp_path, "--demo", PULSE_TOKEN=READER, PULSE_OPERATOR_TOKEN=OPERATOR)
    async with pulse, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        anonymous = await status_of(f"{pulse.url}/orderbook")
        metrics = await status_of(f"{pulse.url}/metrics", Authorization=f"Bearer {OPERATOR}")
        async with browser.post(f"{pulse.url}/api/session", json={"token": READER}) as answer:
            assert answer.status == 200
        statuses = []
        for token in (READER, READER, "another-reader's-token"):
            async with browser.get(f"{pulse.url}/api/symbols") as answer:
                statuses.append(answer.status)
            assert await pulse.stop() == 0
            pulse._environment["PULSE_TOKEN"] = token
            await pulse.start()
        async with browser.get(f"{pulse.url}/api/symbols") as answer:
            statuses.append(answer.status)

    assert (anonymous, metrics) == (401, 200)
    assert statuses == [200, 200, 200, 401]
    log = pulse.log.read_text()
    assert READER not in log
    assert OPERATOR not in log


async def test_the_operators_listener_needs_no_token(tmp_path: Path) -> None:
    """It has the state of the process and nothing else, names of hosts are checked there too, and it stops as well."""
    own = free_port()
    async with Pulse(tmp_path, "--demo", PULSE_OPERATOR_BIND=str(own)) as pulse:
        url = f"http://127.0.0.1:{own}"
        found = {path: await status_of(url + path) for path in ("/healthz", "/metrics", "/", "/orderbook", "/ws")}
        ready = await pulse.until(lambda: status_of(f"{url}/readyz"), lambda status: status == 200)
        rebound = await status_of(f"{url}/metrics", Host="rebound.example")
        public = await status_of(f"{pulse.url}/metrics")
        async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as answer:
            metrics = (await answer.text()).splitlines()
        data = await status_of(f"{pulse.url}/api/symbols")
        code = await pulse.stop()

    assert found == {"/healthz": 200, "/metrics": 200, "/": 404, "/orderbook": 404, "/ws": 404}
    assert (ready, rebound, public, data, code) == (200, 421, 403, 200, 0)
    limit = Settings().clients_max + EXTRA_CONNECTIONS  # of the listener for everyone
    assert f"pulse_connections_limit {limit:.1f}" in metrics


async def test_the_operators_listener_in_use_is_one_sentence(tmp_path: Path) -> None:
    """It names its own setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, stderr = await run_pulse(tmp_path, "--demo", PULSE_OPERATOR_BIND=str(port))

    assert code == 2
    assert stderr == (
        f"pulse: Port {port} on 127.0.0.1 is in use by another program: stop it, or set PULSE_OPERATOR_BIND to another "
        "port.\n"
    )


async def echo_row(pulse: Pulse) -> dict[str, Any]:
    """Return the echo hop of /api/latency."""
    report = await pulse.get("/api/latency")
    row: dict[str, Any] = report["hops"][-1]
    return row


async def report_shown(pulse: Pulse, address: str, *, older_s: Sequence[float] = (0.0,), wait_s: float = 0.0) -> float:
    """As a client at this address, report the newest view, or times before it, to have been shown after a wait.

    Return the greatest delay that the process can have seen, in ms, as far as the view was made.
    """
    async with (
        aiohttp.ClientSession(headers={"X-Forwarded-For": address}) as client,
        client.ws_connect(f"{pulse.url}/ws") as feed,
    ):
        await feed.send_json({"op": "subscribe", "topics": ["book.BTCUSDT"]})
        await feed.receive_json(timeout=WAIT_S)
        view = await feed.receive_json(timeout=WAIT_S)
        await asyncio.sleep(wait_s)
        for age_s in older_s:
            echo = {"op": "echo", "instance": view["instance"], "timestamp": view["timestamp"] - age_s}
            await feed.send_json(echo)
        await feed.send_json({"op": "ping"})
        while (await feed.receive_json(timeout=WAIT_S)).get("op") != "pong":
            pass
        delay_ms: float = (time.time() - view["timestamp"]) * 1000
        return delay_ms


@pytest.mark.proves("false-echo")
async def test_a_lying_client_does_not_move_the_latency(tmp_path: Path) -> None:
    """Behind a proxy that names the clients: true reports of three stand against many false ones of a fourth."""
    async with Pulse(tmp_path, "--demo", PULSE_TRUSTED_HOPS="1") as pulse:
        await pulse.until_live()
        await report_shown(pulse, "198.51.100.1", older_s=[61.9, 30.0, 5.0, -1.0e9, 1.0e9])
        never_made = await echo_row(pulse)
        await report_shown(pulse, "198.51.100.1", older_s=[0.0] * 20, wait_s=2.0)
        alone = await echo_row(pulse)
        most_ms = max([await report_shown(pulse, f"203.0.113.{number}") for number in range(3)])
        shown = await echo_row(pulse)

    assert never_made["count"] == 0
    assert (alone["count"], alone["p50_ms"], alone["p99_ms"]) == (ECHOES_PER_ADDRESS, None, None)
    assert shown["count"] == ECHOES_PER_ADDRESS + 3
    assert 0 < shown["p99_ms"] <= most_ms


# --- symbols that clients request


async def subscribe(feed: aiohttp.ClientWebSocketResponse, symbol: str) -> dict[str, Any]:
    """Subscribe to a symbol's book and trades, and return the reply."""
    topics = [f"book.{symbol}", f"trades.{symbol}"]
    await feed.send_json({"op": "subscribe", "topics": topics, "id": symbol})
    async with asyncio.timeout(WAIT_S):
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
        unlisted = await subscribe(feed, "NOSUCHUSDT")
        asked = [request for request in exchange.rest.requests if "NOSUCHUSDT" in request.query]
        answer = await subscribe(feed, "LTCUSDT")
        trades: list[int] = []
        books: list[dict[str, Any]] = []
        async with asyncio.timeout(WAIT_S):
            while not trades or not books or books[-1]["state"] != "live":
                message = json.loads((await feed.receive()).data)
                if message["topic"] == "book.LTCUSDT":
                    books.append(message)
                else:
                    trades += [trade["id"] for trade in message["trades"]]
        is_right = is_true(exchange, books[-1])  # now: the simulator forgets old books, and what follows may take long
        no_room = await subscribe(feed, "ADAUSDT")
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv?symbol=LTCUSDT&limit=5"),
            # The running minute may be among them, and the second before it may not have settled for half a minute.
            lambda found: len(found) == 5 and all(row["reconciled"] for row in found[:2]),
        )
        followed = await pulse.get("/api/symbols")
        async with session.get(f"{pulse.url}/orderbook?symbol=ADAUSDT") as refusal:
            refused = await refusal.json(content_type=None)
            status, retry_after = refusal.status, refusal.headers["Retry-After"]

    assert (unlisted["op"], unlisted["parameter"]) == ("error", "topics")
    assert asked == []
    assert answer["op"] == "subscribed"
    assert is_right
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert no_room["op"] == "error"
    assert "runs 3 symbols" in no_room["detail"]
    assert [row["symbol"] for row in followed["symbols"]] == ["BTCUSDT", "LINKUSDT", "LTCUSDT"]
    assert followed["symbols"][-1]["tick_size"] == 0.01
    assert len(rows) == 5
    assert (status, retry_after) == (503, "60")
    assert refused["detail"] == no_room["detail"]


# --- names that are not ASCII

CHINESE, OTHER_CHINESE = "\u5e01\u5b89\u4eba\u751fUSDT", "\u9f99\u867eUSDT"


@pytest.fixture
async def chinese_exchange() -> AsyncIterator[SimulatedExchange]:
    """Run an exchange that lists two symbols whose names are not ASCII."""
    names = (CHINESE, OTHER_CHINESE)
    known = {name: replace(INSTRUMENTS["DOGEUSDT"], symbol=name, base_asset=name[:-4]) for name in names}
    async with SimulatedExchange(names, seed=5, known=known) as running:
        yield running


@pytest.mark.proves("names")
async def test_a_name_that_is_not_ascii_works_on_every_route(
    chinese_exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """From the setting, in small letters, to streams, requests, paths, files and topics."""
    settings = {"PULSE_SYMBOLS": CHINESE.lower(), "PULSE_SYMBOLS_MAX": "2"}
    async with (
        terminal_on(chinese_exchange, tmp_path, **settings) as pulse,
        aiohttp.ClientSession(pulse.url) as session,
    ):
        view = await pulse.until_live(CHINESE)
        pushed = await views(pulse, 3, CHINESE)
        rows = await pulse.until(
            lambda: pulse.get("/api/ohlcv", symbol=CHINESE.lower(), limit="5"), lambda found: len(found) == 5
        )
        async with session.get("/api/ohlcv", params={"symbol": CHINESE, "format": "csv"}) as answer:
            csv_status, csv_headers, csv_text = answer.status, answer.headers, await answer.text()
        async with session.get("/api/ohlcv", params={"symbol": CHINESE, "limit": "2"}) as answer:
            page = await answer.json(content_type=None)
            async with session.get(answer.links["prev"]["url"]) as previous:
                earlier = await previous.json(content_type=None)
        proof = await pulse.get(f"/api/proof/{CHINESE}")
        listed = (await pulse.get("/api/symbols"))["listed"]
        found = await pulse.get("/udf/search", query=OTHER_CHINESE[:2])
        info = await pulse.get("/udf/symbols", symbol=OTHER_CHINESE) if found else None
        other = await pulse.until_live(OTHER_CHINESE)
        metrics = await (await session.get("/metrics")).text()

    assert is_true(chinese_exchange, view)
    assert all(is_true(chinese_exchange, each) for each in pushed)
    assert {row["symbol"] for row in rows} == {CHINESE}
    assert (csv_status, csv_headers["Content-Disposition"]) == (
        200, f"attachment; filename*=UTF-8''{quote(CHINESE)}-1m.csv"
    )  # fmt: skip
    assert csv_text.splitlines()[1].startswith(CHINESE + ",")
    assert earlier[-1]["timestamp"] < page[0]["timestamp"]
    assert (proof["symbol"], proof["audit_every_s"]) == (CHINESE, 600.0)
    assert listed == [CHINESE, OTHER_CHINESE]
    assert [row["symbol"] for row in found] == [OTHER_CHINESE]
    assert info is not None
    assert is_true(chinese_exchange, other)
    assert f'pulse_book_is_live{{symbol="{CHINESE}"}} 1.0' in metrics


@pytest.mark.proves("names")
async def test_trades_of_a_name_that_is_not_ascii_resume(chinese_exchange: SimulatedExchange, tmp_path: Path) -> None:
    """An event stream that reconnects goes on with the trade after the last one."""
    topic = f"trades.{CHINESE}"
    async with (
        terminal_on(chinese_exchange, tmp_path, PULSE_SYMBOLS=CHINESE) as pulse,
        aiohttp.ClientSession(pulse.url) as session,
    ):
        await pulse.until_live(CHINESE)
        first_id, first = await next_event(session, topic, {})
        _, second = await next_event(session, topic, {"Last-Event-ID": first_id})

    assert first_id.isascii()
    assert first["topic"] == second["topic"] == topic
    assert second["first_id"] == first["trades"][-1]["id"] + 1


async def next_event(session: aiohttp.ClientSession, topic: str, headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the first event of a new event stream: its id and its message."""
    async with asyncio.timeout(30), session.get("/sse", params={"topics": topic}, headers=headers) as stream:
        event_id = ""
        async for line in stream.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                event_id = value
            if name == "data":
                return event_id, json.loads(value)
    raise AssertionError("the event stream ended without an event")


# --- the end


@pytest.mark.proves("stop")
async def test_sigterm_with_clients_one_of_them_stalled_exits_0(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Readers get 1001; a client that does not read cannot keep the process from ending."""
    async with terminal_on(exchange, tmp_path) as pulse:
        await pulse.until_live()
        with stalled_reader(pulse.port, "/ws/orderbook"):
            async with pulse.feed() as feed, pulse.feed("LINKUSDT"):
                await feed.receive()
                stopped = asyncio.create_task(pulse.stop())
                while (message := await feed.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                code = await stopped

    assert code == 0, pulse.log.read_text()
    assert message.data == 1001


# --- errors of settings and arguments


async def test_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 2; the sentence says what is wrong and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, stderr = await run_pulse(tmp_path, "--demo", PORT=str(port))

    assert (code, stderr.count("\n")) == (2, 1)
    assert stderr.startswith(f"pulse: Port {port} on 127.0.0.1 is in use")


@pytest.mark.proves("settings")
async def test_every_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    """All faults are reported at once."""
    code, stderr = await run_pulse(tmp_path, PORT="seventy", PULSE_VENUE="mars", PULSE_SYMBOL="X")

    assert code == 2
    assert sorted(line.split()[1] for line in stderr.splitlines()) == ["PORT", "PULSE_SYMBOL", "PULSE_VENUE"]


async def test_unknown_symbol_is_one_sentence(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Where the exchange lists none of the symbols, its first answer ends the process."""
    code, stderr = await run_pulse(
        tmp_path, PULSE_SYMBOLS="NOSUCHCOIN", PULSE_REST_URL=exchange.rest_url,
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


@pytest.mark.proves("settings")
@pytest.mark.parametrize(
    ("name", "address", "sentence"),
    [
        (
            "DATABASE_URL",
            "postgres://user:canary@127.0.0.1/name?nonsense=canary",
            "DATABASE_URL has a parameter that a PostgreSQL client does not know: nonsense.",
        ),
        ("DATABASE_URL", "postgres://user:cana@ry@127.0.0.1/name", "percent-encoded"),
        ("REDIS_URL", "redis+sentinel://:canary@127.0.0.1:26379/0", "the address of a single server"),
        ("REDIS_URL", "redis://:canary@127.0.0.1?family=0", "does not know: family."),
    ],
)
async def test_wrong_addresses_are_one_sentence(tmp_path: Path, name: str, address: str, sentence: str) -> None:
    """Nothing is started, and the password is not shown."""
    code, stderr = await run_pulse(tmp_path, "--demo", **{name: address}, PULSE_LOG_LEVEL="ERROR")

    assert (code, stderr.count("\n")) == (2, 1)
    assert sentence in stderr
    assert "canary" not in stderr


async def test_sqlite_path_in_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
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


@pytest.mark.proves("redis-killed")
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


@pytest.mark.proves("two-sources")
async def test_sources_that_share_a_server_do_not_mix(
    exchange: SimulatedExchange, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    """A venue, a demo and a second demo show their own views and trades, and have names of their own on the server."""
    folders = [tmp_path / name for name in ("venue", "demo", "other")]
    for folder in folders:
        folder.mkdir()
    shared = {"REDIS_URL": own_valkey.url, "PULSE_SYMBOLS": "BTCUSDT"}
    venue, *demos = (
        Pulse(folder, *arguments, **shared, **settings)
        for folder, arguments, settings in zip(
            folders,
            [(), ("--demo",), ("--demo", "--seed", "2")],
            [{"PULSE_REST_URL": exchange.rest_url, "PULSE_STREAM_URL": exchange.stream_url}, {}, {}],
            strict=True,
        )
    )
    async with venue, demos[0], demos[1]:
        for pulse in (venue, *demos):
            await pulse.until_live()
            await pulse.until(partial(pulse.get, "/readyz"), lambda report: report["bus"]["ok"])
        with redis.Redis.from_url(own_valkey.url) as client:
            names = sorted(name.decode() for name in client.pubsub_channels() if b":book:" in name)
        # Of a process with the same names the trades would be shown once our own are silent for OWN_SILENCE_MAX_S.
        exchange.faults.frames.mute("btcusdt@aggTrade")
        trades = await trades_within(venue, OWN_SILENCE_MAX_S + 1.0)
        shown = await asyncio.gather(*(views(pulse, 20) for pulse in (venue, *demos)))

    instances = [{view["instance"] for view in seen} for seen in shown]
    truth = {(row["a"], float(row["p"])) for row in exchange.core.agg_trades("BTCUSDT", limit=1000)}
    assert trades
    assert trades <= truth
    assert [len(one) for one in instances] == [1, 1, 1]
    assert len(set.union(*instances)) == 3
    assert [seen[0]["source"] for seen in shown] == ["exchange", "simulation", "simulation"]
    assert [name.partition("-")[0] for name in names] == ["pulse", "pulse", "pulse:us"]
    assert len(set(names)) == 3


@pytest.mark.proves("postgres-killed")
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
        )
        live = await pulse.view()

    assert problem["status"] == 503
    assert len(rows) >= 990
    assert live["state"] == "live"


@pytest.mark.proves("next-replay")
async def test_nothing_of_a_replay_reaches_the_next_one(postgres_url: str, tmp_path: Path) -> None:
    """On a server that both use, the second has neither candles nor gaps of the first."""
    trade = (
        '%d.0: {"stream":"btcusdt@trade","data":{"e":"trade","E":%d000,"s":"BTCUSDT","t":%d,"p":"1.0","q":"2.0",'
        '"T":%d000,"m":true}}\n'
    )
    files = []
    for name, first_id, start_s in (("one", 1, 1780000000), ("two", 1000, 1790000000)):
        ids = [first_id + second + (50 if second > 100 else 0) for second in range(250)]  # with a gap of 50 ids
        times = [start_s + second for second in range(250)]
        files.append(tmp_path / f"{name}.rec")
        files[-1].write_text("".join(trade % (s, s, i, s) for s, i in zip(times, ids, strict=True)))
    found = []
    for file in files:
        async with Pulse(tmp_path, "--replay", file, "--speed", "max", DATABASE_URL=postgres_url) as pulse:
            await pulse.until(pulse.view, lambda view: view.get("state") == "offline" and view["trades"])
            rows = await pulse.until(
                lambda: pulse.get("/api/ohlcv", symbol="BTCUSDT"), lambda rows: isinstance(rows, list) and rows != []
            )
            gaps = await pulse.until(
                lambda: pulse.get(
                    "/api/gaps", symbol="BTCUSDT", start="2026-01-01T00:00:00Z", end="2027-01-01T00:00:00Z"
                ),
                lambda gaps: gaps != [],
            )
            found.append(({row["timestamp"][:10] for row in rows}, [gap["first_trade_id"] for gap in gaps]))

    assert found == [({"2026-05-28"}, [102]), ({"2026-09-21"}, [1101])]


async def test_refused_region_falls_back_to_the_configured_venue(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """HTTP 451 of the first venue is logged, and the terminal goes on with the second."""
    exchange.faults.rest.answer("/api/v3/*", 451)
    async with terminal_on(exchange, tmp_path, PULSE_FALLBACK_VENUE="com") as pulse:
        view = await pulse.until(pulse.view, lambda answer: answer.get("venue") == "com")

    assert view["state"] == "offline"
    assert "does not serve this address or region (HTTP 451)" in pulse.log.read_text()


@pytest.fixture
async def second() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that stands in for the fallback venue."""
    async with SimulatedExchange(SYMBOLS.split(","), seed=6) as running:
        yield running


SHORT_LAST_RESORT_S = 1.0
"""In place of the real one in the tests of the fallback, so that surviving it takes less time."""


def with_fallback(second: SimulatedExchange, folder: Path) -> dict[str, str]:
    """Return the environment in which Binance.com, the fallback, is this exchange."""
    (folder / "sitecustomize.py").write_text(
        "from dataclasses import replace\n"
        "from pulse import supervisor\n"
        "from pulse.binance.venues import VENUES\n"
        f"supervisor.LAST_RESORT_S = {SHORT_LAST_RESORT_S}\n"
        f"VENUES['com'] = replace(VENUES['com'], rest_url={second.rest_url!r}, stream_url={second.stream_url!r})\n"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PULSE_FALLBACK_VENUE": "com"}


async def until_on_fallback(pulse: Pulse) -> None:
    """Wait until it is live on the fallback, and longer than it had to stop the first run."""
    await pulse.until(pulse.view, lambda answer: (answer.get("venue"), answer.get("state")) == ("com", "live"))
    await asyncio.sleep(SHORT_LAST_RESORT_S + 0.25)
    await pulse.until(pulse.view, lambda answer: answer.get("state") == "live")


@pytest.mark.proves("region")
async def test_venue_that_refuses_only_the_handshake_is_left(
    exchange: SimulatedExchange, second: SimulatedExchange, tmp_path: Path
) -> None:
    """Its REST side answers, its streams are refused: the fallback is live and the process lives on."""
    exchange.faults.refuse_sockets = 451
    async with terminal_on(exchange, tmp_path, **with_fallback(second, tmp_path)) as pulse:
        await until_on_fallback(pulse)
        code = await pulse.stop()

    assert code == 0
    assert pulse.log.read_text().count("venue refused, falling back") == 1


@pytest.mark.proves("region")
async def test_venue_that_refuses_after_the_start_is_left(
    exchange: SimulatedExchange, second: SimulatedExchange, tmp_path: Path
) -> None:
    """It was live before; the fallback takes its place within the same process."""
    async with terminal_on(exchange, tmp_path, **with_fallback(second, tmp_path)) as pulse:
        await pulse.until_live()
        pid = pulse.pid
        exchange.faults.refuse_sockets = 451
        exchange.cut()
        await until_on_fallback(pulse)
        code = await pulse.stop()

    assert (code, pulse.pid) == (0, pid)


@pytest.mark.proves("forbidden")
async def test_one_403_does_not_leave_the_venue(
    exchange: SimulatedExchange, second: SimulatedExchange, tmp_path: Path
) -> None:
    """One path refused once, of one symbol: the other is live, and the fallback is not used."""
    exchange.faults.rest.answer("/api/v3/depth", 403, count=1)
    async with terminal_on(exchange, tmp_path, **with_fallback(second, tmp_path)) as pulse:
        await pulse.until(lambda: pulse.get("/readyz"), lambda report: "live" in states(report))
        report = await pulse.get("/readyz")

    assert sorted(states(report)) in (["live", "syncing"], ["live", "offline"])
    assert "falling back" not in pulse.log.read_text()


def states(report: Mapping[str, Any] | None) -> list[str]:
    """Return the state of each symbol in a report of /readyz."""
    return [feed["state"] for feed in (report or {"feeds": {}})["feeds"].values()]


@pytest.mark.proves("region")
async def test_refused_region_without_a_fallback_is_shown_and_not_retried_at_once(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """The view gives the reason, and each request that was made before the first answer is made once."""
    exchange.faults.rest.answer("/api/v3/*", 451)
    exchange.faults.refuse_sockets = 451
    async with terminal_on(exchange, tmp_path) as pulse:
        view = await pulse.until(pulse.view, lambda answer: "451" in answer.get("state_reason", ""))
        for _ in range(200):  # turns in which requests without a pause would show
            await pulse.view()
        asked = [request.path for request in exchange.rest.requests]

    assert view["state"] == "offline"
    assert len(asked) == len(set(asked))


# --- coverage


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_coverage_goes_on_over_a_restart(
    exchange: SimulatedExchange, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The time between the end of one process and the first live book of the next is in holes with their causes."""
    database = {"DATABASE_URL": request.getfixturevalue("postgres_url")} if kind == "postgres" else {}
    async with terminal_on(exchange, tmp_path, **database) as pulse:
        await pulse.until_live()
        await views(pulse, 5)
        await pulse.stop()
        await pulse.start()
        await pulse.until_live()
        await views(pulse, 5)
        days = (await pulse.get("/api/coverage", symbol="BTCUSDT", days="2"))["days"]

    causes = [hole["cause"] for day in reversed(days) for hole in day["book"]["holes"]]
    parts = [key for key, _ in groupby("starting" if cause in ("offline", "syncing") else cause for cause in causes)]
    assert parts == ["not running", "starting", "not running", "starting"]
    assert 0 < days[0]["book"]["share"] < 1


@pytest.mark.parametrize(
    ("symbols_max", "levels", "trades"), [(1, 20_000, 2_000), (100, 20_000, 1_677), (500, 5_592, 335)]
)
def test_what_is_kept_of_a_symbol_shrinks_with_their_number(symbols_max: int, levels: int, trades: int) -> None:
    """The books of all that may run, and the trades that are kept of them, fit into their shares of the memory."""
    settings = Settings(symbols_max=symbols_max)
    terminal = Terminal(settings, Plan("exchange", ("BTCUSDT",)), VENUES["us"], may_fall_back=False)

    assert (terminal._levels_max(), terminal._trade_log_length()) == (levels, trades)
