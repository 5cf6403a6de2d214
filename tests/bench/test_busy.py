"""The busy exchange: its rates are as stated."""

from collections import Counter

import pytest
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from bench.busy import REAL_DIFFS_S, REAL_LEVELS_S, REAL_TICKERS_S, REAL_TRADES_S, SYMBOLS, TIMES, cut, listing
from pulse.simulator.exchange import Exchange
from pulse.simulator.server import SimulatedExchange

START_MS, SECONDS, STEP_MS = 1_790_000_040_000, 20, 25
STREAMS = ("depth@100ms", "bookTicker", "aggTrade")


@pytest.fixture(scope="module")
def counted() -> Counter[str]:
    """Return the counts of all symbols in SECONDS: messages by stream, and level changes."""
    exchange = Exchange(SYMBOLS, 1, START_MS, listing())
    wanted = {f"{symbol.lower()}@{name}" for symbol in SYMBOLS for name in STREAMS}
    counts: Counter[str] = Counter()
    for now_ms in range(START_MS, START_MS + SECONDS * 1000, STEP_MS):
        for event in exchange.advance(now_ms, wanted):
            name = event.stream.partition("@")[2]
            counts[name] += 1
            if name == "depth@100ms":
                counts["levels"] += len(event.data["b"]) + len(event.data["a"])
    return counts


def test_diffs_have_the_real_rate(counted: Counter[str]) -> None:
    """Ten a second, whatever they contain."""
    assert counted["depth@100ms"] / SECONDS / len(SYMBOLS) == pytest.approx(REAL_DIFFS_S, rel=0.02)


@pytest.mark.parametrize(
    ("name", "real_s"), [("levels", REAL_LEVELS_S), ("bookTicker", REAL_TICKERS_S), ("aggTrade", REAL_TRADES_S)]
)
def test_each_symbol_is_three_times_as_busy_as_the_recording(counted: Counter[str], name: str, real_s: float) -> None:
    """In level changes, best price changes, and trades."""
    assert counted[name] / SECONDS / len(SYMBOLS) >= TIMES * real_s


async def read_to_end(socket: ClientWebSocketResponse) -> WSMsgType:
    """Read until something other than a text comes, and return its type."""
    while (message := await socket.receive()).type is WSMsgType.TEXT:
        pass
    return message.type


async def test_cut_resets_streams_and_refuses_all_until_cleared() -> None:
    """The book and the candles stay readable for checks, and the market goes on."""
    async with SimulatedExchange(SYMBOLS[:1], known=listing(0.1)) as exchange, ClientSession() as session:
        socket = await session.ws_connect(f"{exchange.stream_url}/ws/btcusdt@bookTicker")

        cut(exchange)

        assert await read_to_end(socket) in (WSMsgType.CLOSED, WSMsgType.ERROR)
        with pytest.raises(ClientError):
            await session.ws_connect(f"{exchange.stream_url}/ws/btcusdt@bookTicker")
        paths = ("/api/v3/ping", "/simulator/time", "/simulator/book?symbol=BTCUSDT")
        statuses = [(await session.get(exchange.rest_url + path)).status for path in paths]
        assert statuses == [503, 200, 200]
