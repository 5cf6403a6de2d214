"""The chart in a real browser: the running bar of a longer interval."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live
from tests.support.process import Pulse


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def charted(page: Page, pulse: Pulse, interval: str = "1m") -> list[dict[str, Any]]:
    """Wait until the chart has the whole history of an interval, and return what is stored of it, oldest first."""
    await until_live(page)
    await expect(page.get_by_test_id("chart-progress")).to_have_text("", timeout=3 * WAIT_MS)
    await page.click(f"[data-testid=intervals] [data-interval='{interval}']")
    await page.wait_for_selector("[data-testid=candles][data-first] canvas", timeout=WAIT_MS)
    rows: list[dict[str, Any]] = await pulse.get(f"/api/ohlcv?interval={interval}&limit=1000")
    return rows


async def test_the_running_bar_comes_without_requests(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Of a longer interval by its topic: it follows the price, and the history is requested once."""
    asked: list[str] = []
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse, "1h")
        await page.wait_for_selector("[data-testid=legend][data-running]", timeout=WAIT_MS)
        await page.mouse.move(5, 5)
        await page.wait_for_timeout(1000)
        page.on("request", lambda request: asked.append(request.url))
        volumes = set()
        for at in range(12):
            exchange.core.shift_value("BTCUSDT", 0.0005 if at % 2 else -0.0002)
            await page.wait_for_timeout(500)
            text = await page.inner_text("[data-testid=legend]")
            volumes.add(text.partition("V\u00a0")[2])
        row = (await pulse.get("/api/ohlcv?interval=1h&limit=1"))[0]
        await page.wait_for_function(
            "(volume) => Math.abs(Number(document.querySelector('[data-testid=legend]').innerText"
            ".split('V\u00a0')[1].split('\u00a0')[0].replaceAll(',', '')) / volume - 1) < 0.02",
            arg=row["volume"],
            timeout=WAIT_MS,
        )

    assert len(volumes) > 3
    assert [url for url in asked if "/api/ohlcv" in url] == []
    assert errors == []
