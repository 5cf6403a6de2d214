"""What the page shows of the whole book, against the simulator's own: groups of prices, and the cost of a sum."""

from collections.abc import AsyncIterator
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live

GROUPED = """() => {
  const table = document.querySelector('[data-testid=ladder]');
  if (!Number(table.dataset.multiple)) return null;
  const side = (name) => [...table.querySelectorAll(`tr[data-side=${name}]`)]
    .filter((row) => row.dataset.price !== undefined)
    .sort((a, b) => Number(a.dataset.level) - Number(b.dataset.level))
    .map((row) => [Number(row.dataset.price), Number(row.dataset.quantity)]);
  return {id: Number(table.dataset.updateId), multiple: Number(table.dataset.multiple), bids: side('bid'),
    asks: side('ask')};
}"""
FILLED = """() => {
  const table = document.querySelector('[data-testid=ladder]');
  const rows = [...table.querySelectorAll('tr[data-side]:not([hidden])')];
  return Number(table.dataset.multiple) > 1 && rows.length >= 8
    && rows.every((row) => row.dataset.price !== undefined);
}"""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


def grouped(levels: dict[float, float], multiple: int, sign: int, count: int) -> list[list[Any]]:
    """Return the true levels in groups of so many hundredths, bids rounded down and asks up, best first."""
    sums: dict[int, float] = {}
    for price in sorted(levels, reverse=sign > 0):
        ticks = round(price * 100) / multiple
        group = (floor(ticks) if sign > 0 else ceil(ticks)) * multiple
        sums[group] = sums.get(group, 0.0) + levels[price]
    return [[group / 100, pytest.approx(quantity, abs=1e-7)] for group, quantity in list(sums.items())[:count]]


def true_sides(truth: Any) -> tuple[dict[float, float], dict[float, float]]:
    """Return the exchange's own bids and asks."""
    bids, asks = ({float(price): float(quantity) for price, quantity in side} for side in (truth.bids, truth.asks))
    return bids, asks


@pytest.mark.parametrize("group", ["5", "200", "2000"])
async def test_grouped_rows_equal_the_exchange_s_book(group: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """At moments that nobody chose, each row is the sum of the true levels in its group."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await page.goto(f"{pulse.url}/#BTCUSDT&group={group}&panels=ladder,size")
        await until_live(page)
        checked = 0
        while checked < 10:
            painted = await page.evaluate(GROUPED)
            truth = exchange.core.book_at("BTCUSDT", painted["id"], 10_000) if painted else None
            if truth is not None:
                bids, asks = true_sides(truth)
                assert painted["multiple"] == int(group)
                assert painted["bids"] == grouped(bids, int(group), 1, len(painted["bids"]))
                assert painted["asks"] == grouped(asks, int(group), -1, len(painted["asks"]))
                checked += min(len(painted["bids"]), len(painted["asks"])) >= 4
            await page.wait_for_timeout(100)

    assert errors == []


async def test_automatic_groups_fill_the_rows_and_keys_change_them(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Minus and plus choose finer and coarser ones, kept in the address, and `u` the unit; cursor and cost follow."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await page.goto(f"{pulse.url}/#BTCUSDT&group=&panels=ladder,size")
        await until_live(page)
        await page.wait_for_function(FILLED, timeout=WAIT_MS)
        ladder = page.get_by_test_id("ladder")
        auto = int(await ladder.get_attribute("data-multiple") or 0)
        await page.keyboard.press("-")
        await page.wait_for_function(
            "(auto) => { const now = Number(document.querySelector('[data-testid=ladder]').dataset.multiple);"
            " return now > 0 && now < auto; }",
            arg=auto,
        )
        finer = await ladder.get_attribute("data-multiple")
        assert f"group={finer}" in page.url
        await page.keyboard.press("u")
        await expect(page.get_by_test_id("ladder-unit")).to_have_value("quote")
        await expect(page.locator(".size-asset").first).to_have_text("USDT")
        await ladder.focus()
        await page.keyboard.press("ArrowUp")
        await expect(page.get_by_test_id("sweep")).to_contain_text("bps from the best")

    assert errors == []


async def test_my_size_shows_what_the_sum_costs(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """For the user's sum, which is kept in the address; what the book does not fill is said, and a wrong sum too."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await page.goto(f"{pulse.url}/#BTCUSDT&panels=ladder,size")
        await until_live(page)
        buy = page.locator("[data-line=average] td").first
        await expect(buy).to_contain_text("61,", timeout=WAIT_MS)
        await page.get_by_test_id("size-sum").fill("999,999,999,999")
        await expect(page.get_by_test_id("size-note")).to_contain_text("of buying is not filled", timeout=WAIT_MS)
        assert "size=999999999999" in page.url
        await page.get_by_test_id("size-sum").fill("nothing")
        await expect(page.get_by_test_id("size-sum")).to_have_attribute("aria-invalid", "true")
        await expect(buy).to_have_text("\N{EN DASH}")

    assert errors == []


async def test_depth_chart_shows_all_that_is_known(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """In groups that reach to its end; the arrow keys read what rests up to a price, which is the sum of the book."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await page.goto(f"{pulse.url}/#BTCUSDT&panels=depth,size")
        await until_live(page)
        chart, reading = page.get_by_test_id("depth"), page.get_by_test_id("depth-reading")
        await page.wait_for_function(
            "() => Number(document.querySelector('[data-testid=depth]').dataset.multiple) > 1000", timeout=WAIT_MS
        )
        await expect(page.get_by_test_id("depth-note")).to_have_text("")
        await chart.focus()
        for _ in range(26):
            await page.keyboard.press("ArrowRight")
        await expect(reading).to_contain_text("Asks up to ")
        await page.keyboard.press("ArrowLeft")
        for _ in range(51):
            await page.keyboard.press("ArrowLeft")
        await expect(reading).to_contain_text("Bids down to ")
        pixels = (
            "() => { const c = document.querySelector('.depth-chart canvas'); "
            "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((each) => each > 0); }"
        )
        assert await page.evaluate(pixels)

    assert errors == []
