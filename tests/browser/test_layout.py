"""The page's layout in a real browser: nothing moves with the state, and no number is cut at any width."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts.push([entry.value, entry.startTime,
    entry.sources.map((source) => source.node?.className ?? String(source.node))]);
}).observe({type: 'layout-shift', buffered: true});
"""
CUT = """() => [...document.querySelectorAll(
    '.quote dd, .last-price, .card-value, .card-unit, .level .price, .level .size, .level .total, .trade .price,' +
    '.trade .size, .legend, .mid-price, .mid-facts, .balance-text span')]
  .filter((node) => node.getClientRects().length > 0 && node.innerText.trim() !== '')
  .filter((node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const text = range.getBoundingClientRect();
    let box = node;
    while (box !== document.body && getComputedStyle(box).overflowX === 'visible') box = box.parentElement;
    const frame = box.getBoundingClientRect();
    const isTall = node.matches('.legend') && node.scrollHeight > node.clientHeight;
    return text.right > frame.right + 0.5 || text.left < frame.left - 0.5 || isTall;
  })
  .map((node) => `${node.className} ${node.innerText}`)"""
OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('.strip .market, .strip .quote, .strip .pressure, .strip .status')]
    .map((node) => [node.className, node.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
  const strip = document.querySelector('.strip').getBoundingClientRect();
  const found = boxes.filter(([, box]) => box.bottom > strip.bottom + 0.5 || box.right > strip.right + 0.5);
  for (const [name, box] of boxes) for (const [other, its] of boxes) {
    if (name !== other && box.left < its.right - 0.5 && its.left < box.right - 0.5 && box.top < its.bottom - 0.5 &&
        its.top < box.bottom - 0.5) found.push([name, other]);
  }
  return found;
}"""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


@pytest.mark.parametrize("width", [1440, 768, 390])
async def test_nothing_moves_with_the_state(width: int, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Through silent streams, a pause, a lost exchange and the way back the layout shifts by less than 0.02."""
    async with (
        live(exchange, tmp_path) as pulse,
        opened(pulse, script=SHIFTS, width=width, height=900) as (page, errors),
    ):
        await until_live(page)
        if width > 760:  # a phone shows one panel at a time
            await page.wait_for_selector("[data-testid=candles][data-last] canvas", timeout=WAIT_MS)
        await page.wait_for_timeout(1500)
        await page.evaluate("() => { window.shifts = []; }")
        exchange.faults.frames.mute("btcusdt@bookTicker", "btcusdt@aggTrade")
        await page.wait_for_selector('[data-testid=terminal][data-silent~="bookTicker"]', timeout=WAIT_MS)
        await page.get_by_test_id("pause").dispatch_event("click")
        await page.wait_for_timeout(1000)
        await page.get_by_test_id("pause").dispatch_event("click")
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        await page.wait_for_selector("[data-testid=terminal][data-state=offline]", timeout=WAIT_MS)
        await page.wait_for_timeout(1500)
        exchange.faults.clear()
        await until_live(page)
        shifts = await page.evaluate("() => window.shifts")

    # The tape's own rows move down by one for each trade: that is what a tape does.
    others = [shift for shift in shifts if not all(name.startswith("trade") for name in shift[2])]
    assert sum(value for value, *_ in others) < 0.02, sorted(others)[-5:]
    assert errors == []


async def test_no_number_is_cut_at_any_width(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """From a small phone to a wide screen, in steps of 20 px; and no part of the strip covers another."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.wait_for_selector("[data-testid=legend][data-high]", timeout=WAIT_MS)
        cut: dict[int, list[str]] = {}
        for width in range(320, 2000, 20):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.wait_for_timeout(60)
            found = [*await page.evaluate(CUT), *await page.evaluate(OVERLAPS)]
            if found:
                cut[width] = found
            assert await page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), width

    assert cut == {}
    assert errors == []


async def test_the_strip_and_the_footer_never_wrap(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Their heights are the same whatever the state says."""
    heights = "() => ['.strip', '.foot'].map((name) => document.querySelector(name).offsetHeight)"
    async with live(exchange, tmp_path) as pulse, opened(pulse, width=1366, height=768) as (page, errors):
        await until_live(page)
        before = await page.evaluate(heights)
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        await page.wait_for_selector("[data-testid=terminal][data-state=offline]", timeout=WAIT_MS)
        await expect(page.get_by_test_id("state-text")).to_contain_text("503", timeout=WAIT_MS)
        offline = await page.evaluate(heights)

    assert before == offline == [48, 25]
    assert errors == []


async def test_space_pauses_also_after_a_click(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A button that was clicked is not pressed again; one that was reached by keyboard is."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        root = page.get_by_test_id("terminal")
        await page.click("[data-testid=intervals] [data-interval='5m']")
        await page.keyboard.press("Space")
        await expect(root).to_have_attribute("data-paused", "true")
        await page.click("[data-testid=shield]")
        await expect(page.get_by_test_id("proof")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("proof")).to_be_hidden()
        await page.keyboard.press("Space")
        await expect(root).to_have_attribute("data-paused", "false")
        await expect(page.get_by_test_id("proof")).to_be_hidden()
        await page.keyboard.press("Tab")
        await page.get_by_test_id("help-open").focus()
        await page.keyboard.press("Space")
        await expect(page.get_by_test_id("help")).to_be_visible()

    assert errors == []


async def test_the_order_book_s_cursor_is_read_aloud(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Rows name their side, and each step of the cursor by a key is announced once."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        spoken = page.get_by_test_id("cursor-spoken")
        await expect(page.locator("tr[data-side=ask][data-level='0'] th")).to_contain_text("Ask 61,")
        await expect(page.locator("tr[data-side=bid][data-level='0'] th")).to_contain_text("Bid 61,")
        await expect(spoken).to_have_text("")
        await page.get_by_test_id("ladder").focus()
        await page.keyboard.press("ArrowUp")
        await expect(spoken).to_contain_text("Buy ")
        first = await spoken.inner_text()
        await page.wait_for_timeout(800)
        assert await spoken.inner_text() == first
        await page.keyboard.press("ArrowDown")
        await expect(spoken).to_contain_text("Sell ")

    assert errors == []


async def test_a_phone_has_large_targets_and_shows_what_a_tap_costs(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Each button is 44 px high, the cost is in sight wherever the page is scrolled to, and views come at 4 Hz."""
    sent: list[str] = []
    async with (
        live(exchange, tmp_path) as pulse,
        opened(pulse, path="/nowhere", is_phone=True, width=390, height=844) as (page, errors),
    ):
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
        await page.goto(pulse.url)
        await until_live(page)
        low = await page.evaluate(
            "() => [...document.querySelectorAll('button')].filter((one) => one.getClientRects().length > 0"
            " && one.offsetHeight < 44).map((one) => one.className)"
        )
        await page.tap("tr[data-side=bid][data-level='2']")
        box = await page.get_by_test_id("sweep").bounding_box()
        text = await page.inner_text("[data-testid=sweep]")
        strip = await page.locator(".strip").bounding_box()

    assert low == []
    assert text.startswith("Sell ")
    assert box is not None
    assert strip is not None
    assert box["y"] + box["height"] <= 845
    assert strip["height"] <= 96
    assert any('"rate":"4hz"' in frame for frame in sent)
    assert [error for error in errors if "404" not in error] == []


async def test_a_metric_is_explained_without_a_mouse(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Its name is a button: what it means, and its formula."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.locator("[data-metric=ofi] button").focus()
        await page.keyboard.press("Enter")
        explanation = page.get_by_test_id("explain")
        await expect(explanation).to_contain_text("OFI, 10 s")
        await expect(explanation).to_contain_text("signed changes of quantity at the best bid and ask")
        await page.keyboard.press("Escape")
        await expect(explanation).to_be_hidden()

    assert errors == []


async def test_a_number_is_explained_by_the_view_that_showed_it(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Its figures, arithmetic, code and paper; the result is the number, and nothing moves while the dialog is open."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.locator("[data-metric=mid_price] button").click()
        arithmetic, working = page.get_by_test_id("explain-arithmetic"), page.get_by_test_id("explain-working")
        await expect(arithmetic).to_contain_text("=", timeout=WAIT_MS)
        await expect(working).to_contain_text("pulse/market/book_metrics.py")
        text, seen = await arithmetic.inner_text(), await page.locator("html").get_attribute("data-seq")
        term, _, result = text.partition(" = ")
        prices = [float(price) for price in re.findall(r"[0-9.]+", term)[:2]]
        assert float(result.split()[0]) == sum(prices) / 2
        await page.wait_for_function("(seen) => document.documentElement.dataset.seq !== seen", arg=seen)
        assert await arithmetic.inner_text() == text

    assert errors == []


async def test_the_chart_is_read_with_the_arrow_keys(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Each step shows one candle in the legend and announces it; Home brings the first one into sight."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.wait_for_selector("[data-testid=candles][data-first] canvas", timeout=WAIT_MS)
        spoken, legend = page.get_by_test_id("chart-spoken"), page.get_by_test_id("legend")
        await page.locator(".chart-body").focus()
        await page.keyboard.press("ArrowLeft")
        await expect(spoken).to_contain_text("O\u00a061,")
        newest = (await spoken.inner_text())[:5]
        await page.keyboard.press("Shift+ArrowLeft")
        await expect(spoken).not_to_contain_text(newest)
        earlier = (await spoken.inner_text())[:5]
        assert minutes(newest) - minutes(earlier) >= 10  # more where minutes are missing
        await page.wait_for_timeout(600)
        assert (await legend.inner_text())[:5] == earlier
        await page.keyboard.press("Home")
        await expect(page.get_by_test_id("to-now")).to_be_visible()

    assert errors == []


def minutes(text: str) -> int:
    """Return a time of day such as 17:05 in minutes."""
    hours, rest = text.split(":")
    return int(hours) * 60 + int(rest)
