"""A real process whose venue refuses at one stage: it serves, states the reason, and is live again by itself.

The stages are those of a connection: name, TCP, TLS, the handshake's HTTP answer, after the handshake, after the first
frames; and REST or the streams alone.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pulse.simulator.connection import FIN, MID_FRAME
from pulse.simulator.faults import RestFaults
from pulse.simulator.server import SimulatedExchange
from tests.support.process import ROOT, Pulse, terminal_on
from tests.support.proxy import Proxy, tls_context

SYMBOL = "LINKUSDT"
"""The quietest, so the cheapest: whether others are disturbed is not asked here."""
CUT_EVERY_S = 0.02
SOME_FRAMES_S = 0.6
SEVERAL_TRIES_S = 2.0
"""In which a handshake that failed otherwise is tried again."""
LINES_MAX = 40
"""Warnings of one refusal, for seconds at most: trouble is logged when it changes."""

Refusing = Callable[[SimulatedExchange], AbstractAsyncContextManager[None]]


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal under test streams."""
    async with SimulatedExchange([SYMBOL], seed=5) as running:
        yield running


def handshake(status: int) -> Refusing:
    """Answer the handshake with this status; 0: reset the connection instead."""

    @asynccontextmanager
    async def refusing(exchange: SimulatedExchange) -> AsyncIterator[None]:
        exchange.faults.refuse_sockets = status
        exchange.cut()
        yield
        exchange.faults.refuse_sockets = None

    return refusing


def cutting(every_s: float, mode: str) -> Refusing:
    """Accept streams, and cut all of them this often."""

    async def cut(exchange: SimulatedExchange) -> None:
        while True:
            exchange.cut(mode)
            await asyncio.sleep(every_s)

    @asynccontextmanager
    async def refusing(exchange: SimulatedExchange) -> AsyncIterator[None]:
        task = asyncio.create_task(cut(exchange))
        yield
        task.cancel()
        await asyncio.wait([task])

    return refusing


def rest(answer: Callable[[RestFaults], None]) -> Refusing:
    """Answer REST alone wrongly; the book is lost, so that a snapshot is needed."""

    @asynccontextmanager
    async def refusing(exchange: SimulatedExchange) -> AsyncIterator[None]:
        answer(exchange.faults.rest)
        exchange.cut()
        yield
        exchange.faults.rest.clear()

    return refusing


@asynccontextmanager
async def closed_port(exchange: SimulatedExchange) -> AsyncIterator[None]:
    """Refuse TCP connections."""
    await exchange.close()
    yield
    await exchange.start()


@asynccontextmanager
async def closing_politely(exchange: SimulatedExchange) -> AsyncIterator[None]:
    """Accept streams, and close each with a code and a reason."""

    async def close() -> None:
        while True:
            await exchange.close_sockets(1008, "Too many requests")
            await asyncio.sleep(CUT_EVERY_S)

    task = asyncio.create_task(close())
    yield
    task.cancel()
    await asyncio.wait([task])


STAGES: dict[str, Refusing] = {
    "tcp-refused": closed_port,
    "handshake-reset": handshake(0),
    "handshake-redirect": handshake(302),
    "handshake-500": handshake(500),
    "after-handshake": cutting(CUT_EVERY_S, FIN),
    "after-handshake-code": closing_politely,
    "after-frames": cutting(SOME_FRAMES_S, MID_FRAME),
    "rest-500": rest(lambda faults: faults.answer("/api/v3/*", 500)),
    "rest-html": rest(lambda faults: faults.html("/api/v3/*")),
    "rest-redirect": rest(lambda faults: faults.answer("/api/v3/*", 302, body=b"")),
    "rest-no-json": rest(lambda faults: faults.answer("/api/v3/*", 200, body=b"{")),
}
"""Refusals that may end at any moment."""


def is_live(view: dict[str, Any]) -> bool:
    """Return whether a view is live."""
    return view.get("state") == "live"


def is_down(view: dict[str, Any]) -> bool:
    """Return whether a view is not live and gives a reason."""
    return view.get("state") in ("offline", "syncing") and bool(view["state_reason"])


async def check_refused(pulse: Pulse) -> None:
    """Wait until the refusal is shown; meanwhile the process serves."""
    await pulse.until(lambda: pulse.view(SYMBOL), is_down)
    assert await pulse.get("/healthz") == {"status": "ok"}
    # A venue that refuses after a few frames is live in between.
    report = await pulse.until(lambda: pulse.get("/readyz"), lambda found: not found["ready"])
    assert report["feeds"][SYMBOL]["reason"]


def check_log(pulse: Pulse) -> None:
    """Fail if the log has a traceback, or lines in proportion to what was tried."""
    text = pulse.log.read_text()
    assert "Traceback" not in text
    assert len(re.findall(" (?:WARNING|ERROR) ", text)) < LINES_MAX, text


@pytest.mark.proves("venue-stages")
@pytest.mark.parametrize("stage", STAGES)
async def test_a_venue_that_refuses_for_a_while(exchange: SimulatedExchange, tmp_path: Path, stage: str) -> None:
    """From the start, and again while live: the reason is shown, and it is live when the refusal has ended."""
    refusing = STAGES[stage]
    async with AsyncExitStack() as stack:
        async with refusing(exchange):
            pulse = await stack.enter_async_context(terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL))
            await check_refused(pulse)
        await pulse.until_live(SYMBOL)
        async with refusing(exchange):
            await check_refused(pulse)
        await pulse.until_live(SYMBOL)
        code = await pulse.stop()

    check_log(pulse)
    assert code == 0


@pytest.mark.proves("region")
@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "refuses this request for now (HTTP 403)"), (451, "does not serve this address or region (HTTP 451)")],
)
async def test_a_venue_whose_handshake_is_not_repeated(
    exchange: SimulatedExchange, tmp_path: Path, status: int, reason: str
) -> None:
    """A handshake refused for minutes is tried once, though REST answers; a stop does not wait for the next."""
    exchange.faults.refuse_sockets = status
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL) as pulse:
        await pulse.until(lambda: pulse.view(SYMBOL), lambda view: reason in view.get("state_reason", ""))
        exchange.faults.refuse_sockets = None  # another try would be live
        await asyncio.sleep(SEVERAL_TRIES_S)
        view = await pulse.view(SYMBOL)
        code = await pulse.stop()

    check_log(pulse)
    assert (view["state"], code, exchange.connections_opened) == ("offline", 0, 0)


RESOLVER = """
import os, socket
known = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host == "{host}" and not os.path.exists("{flag}"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return known("127.0.0.1" if host == "{host}" else host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.proves("venue-stages")
async def test_a_venue_whose_name_is_unknown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """DNS fails from the start: it serves, and is live once the name is known."""
    host, flag = "pulse-test.binance.us", tmp_path / "known"
    (tmp_path / "sitecustomize.py").write_text(RESOLVER.format(host=host, flag=flag))
    addresses = {
        "PULSE_REST_URL": f"http://{host}:{exchange.port}", "PULSE_STREAM_URL": f"ws://{host}:{exchange.port}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }  # fmt: skip
    async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL, **addresses) as pulse:
        await check_refused(pulse)
        flag.touch()
        await pulse.until_live(SYMBOL)
        code = await pulse.stop()

    check_log(pulse)
    assert code == 0


@pytest.mark.proves("venue-stages")
async def test_a_venue_that_accepts_and_says_nothing(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """TCP connects and nothing follows, from the start: it serves, and is live once the answers come."""
    async with Proxy(exchange.port) as proxy:
        proxy.mute()
        addresses = {
            "PULSE_REST_URL": f"http://127.0.0.1:{proxy.port}", "PULSE_STREAM_URL": f"ws://127.0.0.1:{proxy.port}",
        }  # fmt: skip
        async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL, **addresses) as pulse:
            await check_refused(pulse)
            proxy.unmute()
            await pulse.until_live(SYMBOL)
            code = await pulse.stop()

    check_log(pulse)
    assert code == 0


@pytest.mark.proves("venue-stages")
@pytest.mark.parametrize("kind", ["unknown-certificate", "no-tls"])
async def test_a_venue_whose_tls_fails(exchange: SimulatedExchange, tmp_path: Path, kind: str) -> None:
    """A certificate of no known authority, and a port without TLS: nothing is taken from there."""
    async with Proxy(exchange.port, tls_context() if kind == "unknown-certificate" else None) as proxy:
        addresses = {
            "PULSE_REST_URL": f"https://127.0.0.1:{proxy.port}", "PULSE_STREAM_URL": f"wss://127.0.0.1:{proxy.port}",
        }  # fmt: skip
        async with terminal_on(exchange, tmp_path, PULSE_SYMBOLS=SYMBOL, **addresses) as pulse:
            await check_refused(pulse)
            code = await pulse.stop()

    check_log(pulse)
    assert (code, exchange.connections_opened, len(exchange.rest.requests)) == (0, 0, 0)
