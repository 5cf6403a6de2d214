"""The watchlist in a real browser: every listed symbol as the exchange's own 24 hours have it."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live

TICKERS = "/api/v3/ticker/24hr"
ROWS = """() => [...document.querySelectorAll('[data-testid=watchlist] tbody tr')].map((row) => [
  row.dataset.symbol, ...[...row.cells].slice(1).map((cell) => cell.innerText), Number(row.dataset.change)])"""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run an exchange that lists more symbols than the terminal follows."""
    async with SimulatedExchange(list(INSTRUMENTS), seed=9) as running:
        yield running


async def rows_of(page: Page) -> list[list[Any]]:
    """Return the painted rows: symbol, last, change and volume as texts, and the change as a number."""
    await page.wait_for_selector("[data-testid=watchlist] tbody tr", timeout=WAIT_MS)
    rows: list[list[Any]] = await page.evaluate(ROWS)
    return rows


def asked_ms(exchange: SimulatedExchange) -> list[int]:
    """Return when the exchange was asked for its tickers."""
    return [record.at_ms for record in exchange.rest.requests if record.path == TICKERS]


async def test_every_listed_symbol_has_its_day(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """With one request to the exchange every 30 s, whatever is sorted, searched and chosen."""
    async with live(exchange, tmp_path) as pulse, opened(pulse, width=1920, height=1080) as (page, errors):
        await until_live(page)
        rows = await rows_of(page)
        answer = {row["symbol"]: row for row in (await pulse.get("/api/watchlist"))["rows"]}
        truth = {row["symbol"]: row for row in exchange.core.day_tickers(exchange.core.symbols)}
        await expect(page.get_by_test_id("watch-age")).to_contain_text("s ago")

        assert {row[0] for row in rows} == set(exchange.core.symbols)
        for symbol, _, change, *_ in rows:
            percent = answer[symbol]["change_percent"]
            assert change == f"{'+' if percent > 0 else chr(0x2212)}{abs(percent):.2f} %"
            assert percent == pytest.approx(float(truth[symbol]["priceChangePercent"]), abs=0.5)
        volumes = [answer[row[0]]["quote_volume"] for row in rows]
        assert volumes == sorted(volumes, reverse=True)

        await page.click("[data-testid=watchlist] [data-key=change_percent]")
        await page.wait_for_selector("[data-testid=watchlist] th[aria-sort=descending] [data-key=change_percent]")
        changes = [row[4] for row in await rows_of(page)]
        assert changes == sorted(changes, reverse=True)
        await page.click("[data-testid=watchlist] [data-key=change_percent]")
        await page.wait_for_selector("[data-testid=watchlist] th[aria-sort=ascending] [data-key=change_percent]")
        changes = [row[4] for row in await rows_of(page)]
        assert changes == sorted(changes)

        await page.get_by_test_id("watch-search").fill("eth")
        await expect(page.get_by_test_id("watch-count")).to_have_text("1 symbol")
        await page.click("[data-testid=watchlist] tr[data-symbol=ETHUSDT] button")
        await page.wait_for_selector("[data-testid=terminal][data-symbol=ETHUSDT]", timeout=WAIT_MS)
        await expect(page.locator("[data-testid=watchlist] [aria-current=true]")).to_have_text("ETHUSDT")
        await page.reload()
        changes = [row[4] for row in await rows_of(page)]
        assert changes == sorted(changes)
        requests = asked_ms(exchange)
        assert all(later - earlier >= 29_000 for earlier, later in pairwise(requests))
    assert errors == []


async def test_a_list_that_cannot_be_renewed_says_why(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """And is not bright."""
    exchange.faults.rest.answer(TICKERS, 500)
    async with live(exchange, tmp_path) as pulse, opened(pulse, width=1920, height=1080) as (page, errors):
        await expect(page.get_by_test_id("watch-age")).to_contain_text("answered HTTP 500", timeout=WAIT_MS)
        assert await page.get_attribute("[data-testid=watchlist-panel]", "data-old") == ""
        await expect(page.locator("[data-testid=watchlist] tbody tr")).to_have_count(0)
    assert errors == []


async def test_a_symbol_without_trades_has_no_prices(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """And stands last in any order; a row that cannot be true is not there at all."""

    def edited(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first, second, *others = rows
        zeros = dict.fromkeys(("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"), "0.00")
        return [{**first, "count": 0, **zeros}, {**second, "highPrice": "0.00000001"}, *others]

    exchange.faults.rest.edit(TICKERS, edited)
    async with live(exchange, tmp_path) as pulse, opened(pulse, width=1920, height=1080) as (page, errors):
        rows = await rows_of(page)
        await page.click("[data-testid=watchlist] [data-key=last]")
        await page.wait_for_selector("[data-testid=watchlist] th[aria-sort] [data-key=last]")
        again = await rows_of(page)

    first, second, *_ = exchange.core.symbols
    assert second not in {row[0] for row in rows}
    assert rows[-1][:4] == again[-1][:4] == [first, "\u2013", "\u2013", "\u2013"]
    assert errors == []
