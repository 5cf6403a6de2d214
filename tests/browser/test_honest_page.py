"""The page in a real browser under faults: what it shows is so now, or it says that it is not."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live
from tests.support.process import Pulse
from tests.support.recordings import recording

HIDEABLE = """
window.isHidden = false;
Object.defineProperty(document, 'hidden', {get: () => window.isHidden});
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (act) => window.isHidden ? 0 : frame(act);
"""  # A hidden tab gets no frames. Headless Chromium hides no tab by itself.
TAPE = """() => [...document.querySelectorAll('[data-testid=trades] tbody tr')].map((row) =>
  row.dataset.gap === undefined ? Number(row.dataset.tradeId) : `${row.dataset.gap} missing`)"""
TO_THE_END = """async () => {
  const body = document.querySelector('.trades-body');
  for (let at = 0; at < 40; at += 1) {
    body.scrollTop = body.scrollHeight;
    await new Promise((done) => setTimeout(done, 50));
  }
}"""
OUTSIDE = """async (seconds) => {
  const outside = [];
  let looks = 0;
  const until = performance.now() + 1000 * seconds;
  while (performance.now() < until) {
    await new Promise((done) => requestAnimationFrame(done));
    const price = Number(document.querySelector('[data-testid=last-price]').dataset.price);
    const {low, high, running} = document.querySelector('[data-testid=legend]').dataset;
    if (running === undefined || Number.isNaN(price)) continue;
    looks += 1;
    if (price < Number(low) || price > Number(high)) outside.push([price, low, high]);
  }
  return {looks, outside};
}"""  # each look is between two frames: what one frame has painted
SHOWN = """() => {
  const text = (name) => document.querySelector(`[data-testid=${name}]`).innerText;
  return [text('last-price'), text('legend'), text('ladder'), text('metrics'), text('trades')];
}"""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def stirred(exchange: SimulatedExchange, seconds: float) -> None:
    """Move the price up and down, so that trades come by the hundred."""
    for at in range(int(seconds * 10)):
        exchange.core.shift_value("BTCUSDT", 0.0004 if at % 2 else -0.0004)
        await asyncio.sleep(0.1)


async def trade_ids(page: Page) -> list[int]:
    """Return the ids of the tape's trades, newest first; fail where one is missing."""
    rows = await page.evaluate(TAPE)
    assert all(isinstance(row, int) for row in rows), rows
    return [int(row) for row in rows]


async def test_the_title_of_a_hidden_tab_goes_on(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """It has the newest price, and a mark as soon as that is not live."""
    async with live(exchange, tmp_path) as pulse, opened(pulse, script=HIDEABLE) as (page, errors):
        await until_live(page)
        await page.wait_for_function("() => /^[0-9.,]+ BTCUSDT/.test(document.title)", timeout=WAIT_MS)
        await page.evaluate("() => { window.isHidden = true; }")
        before = await page.title()
        exchange.core.shift_value("BTCUSDT", 0.002)
        await page.wait_for_function("(before) => document.title !== before", arg=before, polling=100, timeout=WAIT_MS)
        hidden = await page.title()
        await pulse.stop()
        await page.wait_for_function("() => document.title.startsWith('(disconnected) ')", polling=100, timeout=WAIT_MS)

    assert hidden.endswith(" BTCUSDT \u00b7 Pulse Terminal")
    assert [error for error in errors if "ERR_CONNECTION" not in error and "WebSocket" not in error] == []


async def test_a_pause_counts_truly_and_loses_no_trade(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Every trade that came while the display was held is in the tape afterwards, and their number was said."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.wait_for_selector("[data-testid=trades] tr[data-trade-id]", timeout=WAIT_MS)
        await page.click("[data-testid=pause]")
        held = await trade_ids(page)
        await page.wait_for_timeout(300)
        counted = 0
        while counted <= 450:
            await stirred(exchange, 1)
            newest = (await pulse.view())["trades"][0]["id"]
            counted = newest - held[0]
        assert await trade_ids(page) == held
        await page.wait_for_function(
            "(least) => Number(/([0-9,]+) new trades/.exec(document.querySelector('[data-testid=state-text]')"
            ".innerText)?.[1].replace(',', '')) >= least",
            arg=counted,
            timeout=WAIT_MS,
        )
        text = await page.inner_text("[data-testid=state-text]")
        newest = (await pulse.view())["trades"][0]["id"]
        await page.click("[data-testid=pause]")
        await page.wait_for_function(
            "(id) => Number(document.querySelector('[data-testid=trades] tr[data-trade-id]').dataset.tradeId) >= id",
            arg=newest,
            timeout=WAIT_MS,
        )
        await page.evaluate(TO_THE_END)
        after = await trade_ids(page)

    said = int(text.partition(" new trades")[0].rpartition(" ")[2].replace(",", ""))
    assert counted <= said <= newest - held[0]
    assert after[-1] <= held[0]
    assert after == list(range(after[0], after[-1] - 1, -1))
    assert errors == []


@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
async def test_a_paused_display_does_not_move(interval: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """On every interval all of it is held: price, chart, book, metrics and trades."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.click(f"[data-testid=intervals] [data-interval='{interval}']")
        await page.wait_for_function(
            "() => document.querySelector('[data-testid=legend]').innerText.includes('C\u00a0')", timeout=WAIT_MS
        )
        await page.click("[data-testid=pause]")
        await page.mouse.move(5, 5)
        await page.wait_for_timeout(300)
        before = await page.evaluate(SHOWN)
        await stirred(exchange, 4)  # two requests of the running bar
        after = await page.evaluate(SHOWN)
        await page.click("[data-testid=pause]")
        await page.wait_for_function(
            f"(before) => JSON.stringify(({SHOWN})()) !== before",
            arg=json.dumps(before, ensure_ascii=False, separators=(",", ":")),
        )

    assert after == before
    assert errors == []


@pytest.mark.parametrize("interval", ["1m", "5m"])
async def test_the_last_price_lies_within_the_running_bar(
    interval: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """In every frame, however fast the price moves: strip and chart are of one moment."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.click(f"[data-testid=intervals] [data-interval='{interval}']")
        # A terminal has no running minute before its first whole one.
        await page.wait_for_selector("[data-testid=legend][data-running]", timeout=3 * WAIT_MS)
        await page.mouse.move(5, 5)
        looking = asyncio.create_task(page.evaluate(OUTSIDE, 6))
        for _ in range(55):
            exchange.core.shift_value("BTCUSDT", 0.0003)
            await asyncio.sleep(0.1)
        seen = await looking

    assert seen["looks"] > 50
    assert seen["outside"] == []
    assert errors == []


async def test_a_chart_that_is_scrolled_back_marks_the_current_price(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """The label on the price axis is the newest close, not that of the last bar in sight; one click leads back."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        chart, to_now = page.get_by_test_id("candles"), page.get_by_test_id("to-now")
        await page.wait_for_selector("[data-testid=candles][data-last] canvas", timeout=WAIT_MS)
        await expect(to_now).to_be_hidden()
        box = await page.locator(".chart-canvas").bounding_box()
        assert box is not None
        for _ in range(2):
            await page.mouse.move(box["x"] + 60, box["y"] + 80)
            await page.mouse.down()
            await page.mouse.move(box["x"] + box["width"] - 120, box["y"] + 80, steps=5)
            await page.mouse.up()
        await expect(to_now).to_be_visible(timeout=WAIT_MS)
        exchange.core.shift_value("BTCUSDT", 0.001)
        await page.wait_for_function(
            "() => Number(document.querySelector('[data-testid=candles]').dataset.last)"
            " === Number(document.querySelector('[data-testid=last-price]').dataset.price)",
            timeout=WAIT_MS,
        )
        await to_now.click()
        await expect(to_now).to_be_hidden()
        assert await chart.get_attribute("data-last") is not None

    assert errors == []


async def test_an_unknown_symbol_in_the_address_is_named(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The page says what it does not have and what it shows; the skip link leaves the address alone."""
    async with live(exchange, tmp_path) as pulse, opened(pulse, path="/#NOPEUSDT") as (page, errors):
        notice = page.get_by_test_id("notice")
        await expect(notice).to_contain_text("NOPEUSDT is not among the 2 symbols", timeout=WAIT_MS)
        await expect(notice).to_contain_text("Showing BTCUSDT")
        assert "#BTCUSDT" in page.url
        await notice.get_by_role("button").click()
        await expect(notice).to_be_hidden()
        await page.evaluate("() => { window.location.hash = '#WRONG'; }")
        await expect(notice).to_contain_text("WRONG is not among")
        await until_live(page)
        await page.keyboard.press("2")
        await expect(notice).to_be_hidden()
        await page.locator(".skip").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("ladder")).to_be_focused()
        await expect(notice).to_be_hidden()

        assert "#LINKUSDT" in page.url
    assert errors == []


async def test_scrolling_back_reaches_the_first_stored_candle(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Older candles are requested as the user gets near them, without a hole; at the first one no more are."""
    asked: list[str] = []
    async with live(exchange, tmp_path, PULSE_BACKFILL_DAYS="2") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await expect(page.get_by_test_id("chart-progress")).to_have_text("", timeout=WAIT_MS)
        stored = await pulse.get("/api/ohlcv?start=2020-01-01&limit=1")
        first = int(datetime.fromisoformat(stored[0]["timestamp"]).timestamp())
        await page.reload()
        await page.wait_for_selector("[data-testid=candles][data-first] canvas", timeout=WAIT_MS)
        page.on("request", lambda request: asked.append(request.url))
        box = await page.locator(".chart-canvas").bounding_box()
        assert box is not None
        for _ in range(60):
            if await page.get_attribute("[data-testid=candles]", "data-first") == str(first):
                break
            await page.mouse.move(box["x"] + 20, box["y"] + 80)
            await page.mouse.down()
            await page.mouse.move(box["x"] + box["width"] - 100, box["y"] + 80, steps=3)
            await page.mouse.up()
            await page.wait_for_timeout(100)
        reached = await page.get_attribute("[data-testid=candles]", "data-first")
        await page.wait_for_timeout(1500)
        older = [url for url in asked if "end=" in url]
        await page.wait_for_timeout(1000)
        await expect(page.get_by_test_id("to-now")).to_be_visible()

    assert reached == str(first)
    assert 1 <= len(older) <= 4
    assert errors == []


async def test_a_replay_has_its_own_clock(tmp_path: Path) -> None:
    """Its date, time and speed are in the banner: nobody takes the footer's clock for that of the data."""
    folder = recording("btcusdt-2024-08-08")
    async with (
        Pulse(tmp_path, "--replay", *sorted(folder.glob("*.gz")), "--speed", "5") as pulse,
        opened(pulse) as (page, errors),
    ):
        banner = page.get_by_test_id("source-banner")
        await expect(banner).to_contain_text("Replay of a recording", timeout=WAIT_MS)
        await expect(banner).to_contain_text("2024-08-08 23:5", timeout=WAIT_MS)
        await expect(banner).to_contain_text("times as fast", timeout=WAIT_MS)
        text = await banner.inner_text()
        # A recording does not say what its symbol is made of.
        await expect(page.get_by_test_id("market")).to_have_text("BTCUSDT replay")
        await expect(page.locator(".ladder-unit option")).to_have_text(["base", "quote"])

    speed = float(text.partition(" times as fast")[0].rpartition(" ")[2])
    assert 3 < speed < 8
    assert errors == []


async def test_a_dead_book_has_its_own_age(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """While best prices, trades and candles go on, the age of the book counts up, and the book is not called live."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        exchange.faults.frames.mute("btcusdt@depth@100ms")
        await page.wait_for_selector("[data-testid=terminal]:not([data-state=live])", timeout=WAIT_MS)
        await expect(page.get_by_test_id("book-age")).to_have_text(re.compile("[5-9] s|1[0-9] s"), timeout=WAIT_MS)
        await expect(page.get_by_test_id("trades-age")).to_have_text(re.compile("<1 s ago|[12] s ago"))
        exchange.faults.frames.unmute()
        await until_live(page)
        await expect(page.get_by_test_id("book-age")).to_have_text("<1 s ago", timeout=WAIT_MS)

    assert errors == []
