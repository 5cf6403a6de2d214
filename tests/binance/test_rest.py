"""Asking a real exchange on loopback, and what its refusals become."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from pulse.binance.bans import Bans
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame
from pulse.market.types import MINUTE_MS
from pulse.simulator.server import SimulatedExchange


class Asked(NamedTuple):
    """An exchange and who asks it."""

    exchange: SimulatedExchange
    rest: BinanceRest


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    """A simulated exchange of two symbols."""
    async with SimulatedExchange(["BTCUSDT", "ETHUSDT"], seed=3) as exchange, aiohttp.ClientSession() as session:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        rest = BinanceRest(AiohttpTransport(session), venue, SystemClock(), Bans(None), lambda _: False)
        yield Asked(exchange, rest)


async def test_depth_is_the_book_best_first(asked: Asked) -> None:
    """A snapshot carries its id, its limit and both sides."""
    snapshot = await asked.rest.depth("BTCUSDT", 100)

    assert snapshot.limit == 100
    assert len(snapshot.bids.prices) == len(snapshot.asks.prices) == 100
    assert max(snapshot.bids.prices) < min(snapshot.asks.prices)


async def test_klines_are_candles_and_only_past_ones_are_closed(asked: Asked) -> None:
    """Rows become candles; the running minute is not closed."""
    now_ms = asked.exchange.core.now_ms
    candles = await asked.rest.klines("BTCUSDT", now_ms - 5 * MINUTE_MS, now_ms)

    assert len(candles) == 5
    assert [candle.is_closed for candle in candles] == [True] * 4 + [False]
    assert {candle.source for candle in candles} == {"exchange"}


async def test_instruments_leave_out_what_is_not_listed(asked: Asked) -> None:
    """One unknown name does not hide the others."""
    found = await asked.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])

    assert list(found) == ["BTCUSDT"]
    assert found["BTCUSDT"].base_asset == "BTC"


@pytest.mark.parametrize("status", [451, 403])
async def test_refusals_are_told_apart(asked: Asked, status: int) -> None:
    """451 and 403 do not pass by themselves, and say so by their kind."""
    asked.exchange.faults.rest.answer("/api/v3/depth", status)

    with pytest.raises(ExchangeRefused, match="does not serve this address or region"):
        await asked.rest.depth("BTCUSDT", 100)


@pytest.mark.parametrize("status", [429, 418])
async def test_nothing_is_asked_while_the_exchange_wants_silence(asked: Asked, status: int) -> None:
    """After 429 or 418 no call leaves before Retry-After."""
    asked.exchange.faults.rest.answer("/api/v3/depth", status, retry_after_s=60, count=1)
    with pytest.raises(ExchangeBusy):
        await asked.rest.depth("BTCUSDT", 100)

    with pytest.raises(ExchangeBusy, match="no requests for"):
        await asked.rest.klines("BTCUSDT", 0, 1)


async def test_a_page_instead_of_json_is_an_error(asked: Asked) -> None:
    """A proxy's HTML is never parsed as data, whatever its status."""
    asked.exchange.faults.rest.html("/api/v3/depth", 200, count=1)
    asked.exchange.faults.rest.html("/api/v3/depth", 502, count=1)

    with pytest.raises(MalformedFrame, match="not JSON"):
        await asked.rest.depth("BTCUSDT", 100)
    with pytest.raises(ExchangeError, match="HTTP 502"):
        await asked.rest.depth("BTCUSDT", 100)


async def test_an_exchange_that_is_gone_is_an_error(asked: Asked) -> None:
    """A refused connection names the venue."""
    await asked.exchange.close()

    with pytest.raises(ExchangeError, match=r"Binance\.US gave no answer"):
        await asked.rest.depth("BTCUSDT", 100)
