"""The process as a whole: it serves before the exchange has answered, and how it ends."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pulse.ingest.instruments import DELISTED, PENDING
from pulse.server import listener
from pulse.simulator.server import SimulatedExchange
from pulse.store.sqlite import SqliteStore
from pulse.supervisor import LAST_RESORT_S
from tests.support.candles import SQL_DIR, minutes
from tests.support.process import SYMBOLS, Pulse, terminal_on
from tests.support.services import free_port
from tests.support.waiting import WAIT_S

OTHER = "LTCUSDT"
"""A symbol that the exchange lists and that runs only when it is requested."""

# --- the start


class Mute:
    """A server that accepts connections and never answers: how many were made to it, and how many the peer ended."""

    def __init__(self) -> None:
        self.url = ""
        self.has_connected = asyncio.Event()
        self.has_ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the peer ends the connection."""
        self.has_connected.set()
        while await reader.read(4096):
            pass
        writer.close()
        self.has_ended.set()


@asynccontextmanager
async def mute_exchange() -> AsyncIterator[Mute]:
    """Run a server that never answers, for REST and streams."""
    mute = Mute()
    async with await asyncio.start_server(mute.serve, "127.0.0.1", 0) as server:
        mute.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield mute


def terminal_at(url: str, folder: Path) -> Pulse:
    """Make a terminal of the exchange at this address."""
    stream_url = url.replace("http", "ws")
    return Pulse(folder, PULSE_SYMBOLS=SYMBOLS, PULSE_REST_URL=url, PULSE_STREAM_URL=stream_url)


async def reply_to_subscription(feed: aiohttp.ClientWebSocketResponse, symbol: str) -> dict[str, Any]:
    """Request a symbol's book and return the reply."""
    await feed.send_json({"op": "subscribe", "topics": [f"book.{symbol}"]})
    async with asyncio.timeout(WAIT_S):
        while "op" not in (message := await feed.receive_json()):
            pass
    reply: dict[str, Any] = message
    return reply


async def is_subscribed(pulse: Pulse, symbol: str) -> bool:
    """Return whether a symbol's book is subscribed to once the process knows what the exchange lists."""
    await pulse.until(lambda: pulse.get("/api/symbols"), lambda answer: answer["is_listing_known"])
    async with aiohttp.ClientSession(pulse.url) as session, session.ws_connect("/ws") as feed:
        reply = await reply_to_subscription(feed, symbol)
    return bool(reply["op"] == "subscribed")


@pytest.mark.proves("slow-start")
async def test_everything_is_served_while_a_mute_exchange_is_asked(tmp_path: Path) -> None:
    """Health, page, state and feed answer before the first request to the exchange has ended in any way."""
    async with (
        mute_exchange() as exchange,
        terminal_at(exchange.url, tmp_path) as pulse,
        aiohttp.ClientSession(pulse.url) as session,
        session.ws_connect("/ws") as feed,
    ):
        async with asyncio.timeout(WAIT_S):
            await exchange.has_connected.wait()
        page = await (await session.get("/")).text()
        report = await pulse.get("/readyz")
        symbols = await pulse.get("/api/symbols")
        async with session.get("/orderbook", params={"symbol": OTHER}) as refusal:
            problem, status, retry_after = await refusal.json(content_type=None), refusal.status, refusal.headers
        pinned, other = [await reply_to_subscription(feed, symbol) for symbol in ("BTCUSDT", OTHER)]
        assert not exchange.has_ended.is_set()

    assert "<title>" in page
    assert report["instruments"] == {"ok": False, "detail": PENDING}
    assert {feed["state"] for feed in report["feeds"].values()} == {"offline"}
    assert {feed["reason"] for feed in report["feeds"].values()} == {"not connected yet"}
    assert (symbols["listed"], symbols["is_listing_known"]) == (SYMBOLS.split(","), False)
    assert (status, retry_after["Retry-After"]) == (503, "2")
    assert "This server is starting" in problem["detail"]
    assert pinned["op"] == "subscribed"
    assert (other["op"], other["detail"], other["retry_after_s"]) == ("error", problem["detail"], 2)


@pytest.mark.proves("slow-start")
async def test_a_refused_port_is_used_once_it_accepts(tmp_path: Path) -> None:
    """The reason is shown, and pinned and requested symbols run without a restart when the exchange is there."""
    port = free_port()
    async with terminal_at(f"http://127.0.0.1:{port}", tmp_path) as pulse:
        report = await pulse.until(
            lambda: pulse.get("/readyz"), lambda answer: "cannot be reached" in str(answer["feeds"])
        )
        async with SimulatedExchange([*SYMBOLS.split(","), OTHER], seed=5, port=port):
            await pulse.until_live()
            assert await is_subscribed(pulse, OTHER)
            ready = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])

    assert not report["ready"]
    assert not report["instruments"]["ok"]
    assert ready["instruments"] == {"ok": True, "detail": ""}


async def test_a_blocked_address_waits_and_serves(tmp_path: Path) -> None:
    """HTTP 429 at the start: the block is shown while it lasts, and then everything runs."""
    async with SimulatedExchange([*SYMBOLS.split(","), OTHER], seed=5) as exchange:
        exchange.faults.rest.answer("/api/v3/exchangeInfo", 429, retry_after_s=3, count=1)
        async with terminal_on(exchange, tmp_path) as pulse:
            report = await pulse.until(
                lambda: pulse.get("/readyz"), lambda answer: "blocks all requests" in answer["instruments"]["detail"]
            )
            await pulse.until_live()
            assert await is_subscribed(pulse, OTHER)

    assert not report["ready"]


async def test_a_single_symbol_that_was_delisted_is_shown(tmp_path: Path) -> None:
    """Its candles are stored, so it was listed once: it is halted, and its past can be read."""
    store = SqliteStore(tmp_path / "pulse.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(3, "GONEUSDT"))
    await store.aclose()
    async with (
        SimulatedExchange(SYMBOLS.split(","), seed=5) as exchange,
        terminal_on(exchange, tmp_path, PULSE_SYMBOLS="GONEUSDT", PULSE_SQLITE_PATH="pulse.sqlite3") as pulse,
    ):
        report = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])
        rows = await pulse.get("/api/ohlcv", symbol="GONEUSDT")

    assert report["feeds"]["GONEUSDT"]["reason"] == f"the exchange lists GONEUSDT as {DELISTED}"
    assert len(rows) == 3


# --- the end


def test_a_stop_takes_less_than_5_s() -> None:
    """A timer ends the process if anything hangs while stopping; otherwise the web server takes the longest."""
    assert listener.STOP_GRACE_S + listener.STOP_TASKS_S < LAST_RESORT_S < 5


@pytest.mark.proves("slow-start")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_before_the_exchange_has_answered(tmp_path: Path, number: int) -> None:
    """A signal ends a process that is still waiting for the first answer; it does not wait for it any longer."""
    async with mute_exchange() as mute, terminal_at(mute.url, tmp_path) as pulse, asyncio.timeout(WAIT_S):
        await mute.has_connected.wait()
        code = await pulse.stop(number)
        await mute.has_ended.wait()

    assert code == 0
    assert "stopping" in pulse.log.read_text().splitlines()[-1]
