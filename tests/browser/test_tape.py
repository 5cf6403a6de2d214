"""The tape in a real browser: its filter, its marks of large trades, and its sums over a span."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import live, opened, until_live

KEPT = """async (least) => {
  const body = document.querySelector('.trades-body');
  const rows = () => [...document.querySelectorAll('[data-testid=trades] tbody tr')];
  for (let at = 0; at < 20; at += 1) {
    body.scrollTop = body.scrollHeight;
    await new Promise((done) => setTimeout(done, 50));
  }
  return rows().map(({dataset, title}) => ({
    id: Number(dataset.tradeId), gap: dataset.gap === undefined ? null : Number(dataset.gap),
    price: Number(dataset.price), quantity: Number(dataset.quantity), side: dataset.side,
    large: Number(dataset.large ?? 0), time: title.slice(0, 12),
  }));
}"""
MANY = "() => document.querySelectorAll('[data-testid=trades] tr[data-trade-id]').length >= 150"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def until_many(page: Page, exchange: SimulatedExchange) -> None:
    """Wait until the tape has many trades."""
    for at in range(200):
        if await page.evaluate(MANY):
            return
        exchange.core.shift_value("BTCUSDT", 0.0004 if at % 2 else -0.0004)
        await asyncio.sleep(0.5)
    pytest.fail("the tape has no 150 trades")


async def kept(page: Page) -> list[dict[str, Any]]:
    """Return the rows of the whole tape, newest first."""
    rows: list[dict[str, Any]] = await page.evaluate(KEPT)
    return rows


def seconds(row: dict[str, Any]) -> float:
    """Return the time of day of a trade."""
    hours, minutes, rest = row["time"].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


async def test_small_trades_are_left_out(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Only trades worth so much are shown, the others are counted, and the choice is in the address."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await until_many(page, exchange)
        await page.click("[data-testid=pause]")
        every = [row for row in await kept(page) if row["gap"] is None]
        least = sorted(row["price"] * row["quantity"] for row in every)[len(every) // 2]
        await page.keyboard.press("t")
        field = page.get_by_test_id("tape-least")
        await expect(field).to_be_focused()
        await page.keyboard.type(f"{least / 1000:.6f}k")
        wanted = [row["id"] for row in every if row["price"] * row["quantity"] >= float(f"{least / 1000:.6f}") * 1000]
        await expect(page.get_by_test_id("tape-count")).to_have_text(f"{len(wanted)} of {len(every)}")
        assert [row["id"] for row in await kept(page)] == wanted

        await field.fill("five")
        assert await field.get_attribute("aria-invalid") == "true"
        assert [row["id"] for row in await kept(page)] == wanted
        assert "tape.least=" in page.url
        await page.reload()
        await until_live(page)
        assert await field.input_value() == f"{least / 1000:.6f}k"
        await field.fill("")
        await expect(page.get_by_test_id("tape-count")).to_have_text("")
        assert "tape.least" not in page.url
    assert errors == []


async def test_large_trades_are_marked_in_two_tiers(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Above the 95th and the 99th percentile of the trades that are kept."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await until_many(page, exchange)
        await page.click("[data-testid=pause]")
        await page.get_by_test_id("tape-least").fill("0.000001")  # every row is written again
        rows = await kept(page)
        sizes = sorted(row["quantity"] for row in rows)
        large, huge = (sizes[math.ceil(part * len(sizes)) - 1] for part in (0.95, 0.99))

    assert len(rows) >= 150
    assert [row["large"] for row in rows] == [(row["quantity"] > large) + (row["quantity"] > huge) for row in rows]
    assert {row["large"] for row in rows} >= {0, 1}
    assert errors == []


async def test_bought_and_sold_are_those_of_the_stated_span(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Of all kept trades where the span reaches further back, and that is said; else of those within it."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await until_many(page, exchange)
        await asyncio.sleep(8)
        await page.click("[data-testid=pause]")
        box, span = page.get_by_test_id("trade-balance"), page.get_by_test_id("tape-span")
        rows = await kept(page)

        async def sums(name: str) -> list[float]:
            await span.select_option(name)
            await expect(page.locator(".balance-span")).to_contain_text(name)
            return [float(await box.get_attribute(f"data-{part}") or "nan") for part in ("bought", "sold", "buys")]

        whole, brief = await sums("15 min"), await sums("15 s")
        await span.select_option("15 min")
        note = await page.inner_text(".balance-span")

    assert whole[:2] == pytest.approx([sum(r["quantity"] for r in rows if r["side"] == s) for s in ("bid", "ask")])
    assert whole[2] == sum(row["side"] == "bid" for row in rows)
    assert re.fullmatch(r"last (\d+ min )?\d+ s of 15 min", note)
    newest = seconds(rows[0])
    bounds = [
        sum(row["quantity"] for row in rows if row["side"] == "bid" and newest - seconds(row) < reach)
        for reach in (12, 17)
    ]
    assert bounds[0] <= brief[0] <= bounds[1]
    assert errors == []
