"""Time requests at intervals, also to an exchange that refuses some."""

import asyncio
from typing import cast

import aiohttp
import pytest

from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.rest import BinanceRest, RoundTrip
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import ClockOffset, SystemClock
from pulse.ingest import clock_sync
from pulse.ingest.clock_sync import sync_clock
from pulse.simulator.server import SimulatedExchange
from tests.support.waiting import until


@pytest.mark.parametrize("refusals", [0, 3])
async def test_offset_is_estimated_from_time_requests(refusals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that fail at first only delay the estimate."""
    monkeypatch.setattr(clock_sync, "FIRST_EVERY_S", 0.02)
    offset = ClockOffset()
    async with SimulatedExchange(["BTCUSDT"], seed=3) as exchange, aiohttp.ClientSession() as session:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        rest = BinanceRest(
            AiohttpTransport(session), venue, SystemClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )
        exchange.faults.rest.answer("/api/v3/time", 503, count=refusals)
        task = asyncio.create_task(sync_clock(rest, offset))
        await until(lambda: offset.error_ms() is not None)
        trip = await rest.time()
        task.cancel()

    shown_ms = trip.exchange_ms - (trip.sent_ms + trip.received_ms) / 2
    assert offset.value_ms() == pytest.approx(shown_ms, abs=1000)


async def test_wrong_machine_clock_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a warning when it is found, and once more when the clock is right again."""
    monkeypatch.setattr(clock_sync, "FIRST_EVERY_S", 0.0)
    caplog.set_level("INFO", "pulse.ingest.clock_sync")
    ahead_ms = iter([5_000] * 3 + [0] * 1_000)
    asked: list[int] = []

    class Exchange:
        async def time(self) -> RoundTrip:
            """Answer at once, first by a clock that is five seconds ahead."""
            asked.append(next(ahead_ms))
            return RoundTrip(1_000.0, 1_000 + asked[-1], 1_000.0)

    task = asyncio.create_task(sync_clock(cast(BinanceRest, Exchange()), ClockOffset()))
    await until(lambda: len(asked) > 5)
    task.cancel()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "machine clock is wrong reason=This machine's clock is 5.0 s behind the exchange's; synchronise it (NTP).",
        ),
        ("INFO", "machine clock is right again"),
    ]
