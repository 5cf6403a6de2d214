"""Asking a real exchange on loopback, and what its refusals become."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from pulse.binance.rate_limit import OUR_SHARE, BanFile
from pulse.binance.rest import HISTORY_SHARE, BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame
from pulse.market.candles import candle_of_trades, candles_equal
from pulse.market.types import MINUTE_MS
from pulse.simulator.server import SimulatedExchange
from tests.support.makers import ManualClock
from tests.support.web import WAIT_S


class Asked(NamedTuple):
    """An exchange and who asks it."""

    exchange: SimulatedExchange
    rest: BinanceRest


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    """A simulated exchange of two symbols."""
    async with SimulatedExchange(["BTCUSDT", "ETHUSDT"], seed=3) as exchange, aiohttp.ClientSession() as session:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        rest = BinanceRest(AiohttpTransport(session), venue, SystemClock(), BanFile(None), lambda _: False)
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


async def test_trades_can_be_asked_for_by_id(asked: Asked) -> None:
    """From an id on, oldest first, contiguous."""
    newest = asked.exchange.core.agg_trades("BTCUSDT", limit=1)[0]["a"]
    trades = await asked.rest.agg_trades("BTCUSDT", newest - 5)

    assert [trade.trade_id for trade in trades][:6] == list(range(newest - 5, newest + 1))


async def test_the_trades_of_a_minute_make_the_exchanges_candle(asked: Asked) -> None:
    """Asked for by time, they fold into what the exchange itself says of the minute."""
    now_ms = asked.exchange.core.now_ms
    minute = now_ms - now_ms % MINUTE_MS - 3 * MINUTE_MS
    trades = await asked.rest.agg_trades_between("BTCUSDT", minute, minute + MINUTE_MS - 1)
    theirs = (await asked.rest.klines("BTCUSDT", minute, minute))[0]

    assert candles_equal(candle_of_trades("BTCUSDT", minute, trades), theirs)


async def test_the_exchanges_date_is_told_by_its_answers(asked: Asked) -> None:
    """Whatever this machine's date is set to, the exchange's own is known after the first answer."""
    wrong = ManualClock(wall_s=0.0)
    venue = venue_of("us", asked.exchange.rest_url, asked.exchange.stream_url)
    async with aiohttp.ClientSession() as session:
        rest = BinanceRest(AiohttpTransport(session), venue, wrong, BanFile(None), lambda _: False)
        assert rest.exchange_ms() == 0
        await rest.instruments(["BTCUSDT"])

    assert abs(rest.exchange_ms() - asked.exchange.core.now_ms) < 60_000
    wrong.at_ms += 5_000
    assert rest.exchange_ms() % 1000 == 0


async def test_instruments_leave_out_what_is_not_listed(asked: Asked) -> None:
    """One unknown name does not hide the others."""
    found = await asked.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])

    assert list(found) == ["BTCUSDT"]
    assert found["BTCUSDT"].base_asset == "BTC"


async def test_an_exchange_that_is_away_is_asked_for_little_until_it_answers(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting costs the cheapest call now and then, and ends with the first answer."""
    monkeypatch.setattr(asked.rest, "_comeback", RetryGate(0.01))
    asked.exchange.faults.rest.answer("/api/*", 503, count=3)
    with pytest.raises(ExchangeError):
        await asked.rest.depth("BTCUSDT", 100)
    await asked.rest.wait_until_it_answers(60.0)

    paths = [(request.path, request.status) for request in asked.exchange.rest.requests]
    assert paths[1:] == [("/api/v3/ping", 503), ("/api/v3/ping", 503), ("/api/v3/ping", 200)]


async def test_waiting_for_an_answer_is_bounded(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none comes the wait ends all the same."""
    monkeypatch.setattr(asked.rest, "_comeback", RetryGate(0.01))
    asked.exchange.faults.rest.answer("/api/*", 503)
    await asked.rest.wait_until_it_answers(0.1)

    assert {request.status for request in asked.exchange.rest.requests} == {503}


async def test_history_leaves_a_book_room(asked: Asked) -> None:
    """However much of it is asked for at once, and waits for the next minute, a snapshot goes through now."""
    venue = asked.rest.venue
    clock = ManualClock(now_ms=60_000.0)  # a minute begins, and stays
    async with aiohttp.ClientSession() as session:
        rest = BinanceRest(AiohttpTransport(session), venue, clock, BanFile(None), lambda _: False)
        rest._budget.spend(int(venue.weight_per_minute * OUR_SHARE * HISTORY_SHARE), 60.0)
        history = [asyncio.create_task(rest.klines("BTCUSDT", 0, 1)) for _ in range(3)]
        snapshot = await asyncio.wait_for(rest.depth("BTCUSDT", 100), WAIT_S)
        waiting = [task.cancel() for task in history]
        await asyncio.wait(history)

    assert snapshot.limit == 100
    assert waiting == [True] * 3


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
