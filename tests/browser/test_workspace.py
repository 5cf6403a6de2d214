"""The panels in a real browser: resized, hidden, maximised, pinned to symbols, kept in the address, and on a phone."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, static_host, until_live
from tests.support.services import free_port

SHOWN = """() => [...document.querySelectorAll('.panel')].filter((one) => one.getClientRects().length > 0)
  .map((one) => one.dataset.key)"""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def test_first_load_is_small(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Until the first book and chart: few requests, and nothing is found by reading what was found by reading.

    A module that another one asks for would be the third in a row; what a panel adds to its first picture may be.
    """
    async with live(exchange, tmp_path) as pulse, opened(pulse, path="/nowhere") as (page, errors):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(pulse.url)))
        await page.goto(pulse.url)
        await page.wait_for_selector("[data-testid=candles][data-last] canvas", timeout=WAIT_MS)
        await until_live(page)
        html = await (await page.context.request.get(pulse.url)).text()
        sizes = await page.evaluate(
            "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter((entry) => !entry.name.includes('&end=')).map((entry) => entry.transferSize)"
        )

    files = [path for path in asked if path.startswith("/v-")]
    assert len(asked) <= 40
    assert len(files) >= 5
    unnamed = {path.partition("/")[2].partition("/")[2] for path in files if f'"./{path[1:]}"' not in html}
    assert unnamed <= {
        "indicators.js",
        *(f"panels/chart/{name}.js" for name in ("toolbox", "layers", "table", "tools")),
    }
    assert sum(sizes) <= 200_000  # with the candles and the list of symbols; what VWAP needs of the day comes later
    assert [error for error in errors if "404" not in error] == []


async def width_of(page: Page, key: str) -> float:
    """Return the width of the panel with this key."""
    box = await page.locator(f".panel[data-key='{key}']").bounding_box()
    assert box is not None
    return box["width"]


async def test_panels_are_resized_hidden_and_maximised(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """By pointer and by key; a reload has the same, from the address and from the browser's own storage."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        before = await width_of(page, "ladder")
        handle = page.locator(".split.row > .splitter").first
        box = await handle.bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + 4, box["y"] + 200)
        await page.mouse.down()
        await page.mouse.move(box["x"] - 56, box["y"] + 200, steps=4)
        await page.mouse.up()
        assert await width_of(page, "ladder") == pytest.approx(before + 60, abs=3)
        await handle.focus()
        await page.keyboard.press("ArrowRight")
        assert await width_of(page, "ladder") == pytest.approx(before + 44, abs=3)

        await page.click(".panel.trades .panel-menu")
        await page.get_by_test_id("menu-hide").click()
        assert "trades" not in await page.evaluate(SHOWN)
        await page.reload()
        await until_live(page)
        assert await width_of(page, "ladder") > before + 40
        assert "trades" not in await page.evaluate(SHOWN)
        await page.goto("about:blank")
        await page.goto(pulse.url)
        await until_live(page)
        assert "trades" not in await page.evaluate(SHOWN)

        await page.keyboard.press("l")
        await page.get_by_test_id("show-trades").check()
        await page.get_by_test_id("layouts-close").click()
        assert "trades" in await page.evaluate(SHOWN)
        await page.get_by_test_id("ladder").focus()
        await page.keyboard.press("f")
        assert await page.evaluate(SHOWN) == ["ladder"]
        await page.keyboard.press("f")
        assert {"chart", "ladder"} <= set(await page.evaluate(SHOWN))

    assert errors == []


async def test_a_layout_is_chosen_saved_and_comes_back_by_name(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The presets, and the user's own under a name of his."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.click("[data-testid=layouts-open]")
        await page.get_by_test_id("layout-chart").click()
        assert "ladder" not in await page.evaluate(SHOWN)
        assert "layout=chart" in page.url
        await page.get_by_test_id("show-ladder").check()
        await page.get_by_test_id("layout-name").fill("mine")
        await page.get_by_test_id("layout-save").click()
        await page.get_by_test_id("layout-standard").click()
        assert {"chart", "ladder", "trades", "metrics"} <= set(await page.evaluate(SHOWN))
        await page.reload()
        await until_live(page)
        await page.keyboard.press("l")
        await page.get_by_test_id("own-layout").click()
        shown = await page.evaluate(SHOWN)

    assert "ladder" in shown
    assert "trades" not in shown
    assert errors == []


async def test_two_symbols_stand_on_one_screen(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A pinned panel keeps its symbol, has its own state, and comes over the same connection."""
    sockets: list[str] = []
    async with live(exchange, tmp_path) as pulse, opened(pulse, path="/nowhere") as (page, errors):
        page.on("websocket", lambda socket: sockets.append(socket.url))
        await page.goto(f"{pulse.url}/#BTCUSDT&panels=ladder,ladder@LINKUSDT,chart@LINKUSDT")
        await until_live(page)
        pinned = page.locator(".panel[data-key='ladder@LINKUSDT']")
        await expect(pinned).to_have_attribute("data-state", "live", timeout=WAIT_MS)
        await expect(pinned.locator(".panel-pin")).to_have_text("LINKUSDT")
        await expect(pinned.locator("tr[data-side=bid][data-level='0'] th")).to_contain_text(
            re.compile(r"Bid \d{1,2}\."), timeout=WAIT_MS
        )
        await page.wait_for_selector(".panel.chart[data-symbol=LINKUSDT][data-last] canvas", timeout=WAIT_MS)
        exchange.faults.frames.mute("linkusdt@depth@100ms")
        await expect(pinned).to_have_attribute("data-trusted", "false", timeout=WAIT_MS)
        await expect(page.locator(".panel[data-key='ladder']")).to_have_attribute("data-trusted", "true")
        await expect(pinned.locator(".ladder-table")).to_have_css("opacity", "0.8")
        exchange.faults.frames.unmute()
        await page.click(".panel[data-key='ladder@LINKUSDT'] .panel-menu")
        await page.get_by_test_id("menu-symbol").select_option("BTCUSDT")
        await page.get_by_test_id("menu-pin").click()
        await expect(page.locator(".panel[data-key='ladder@BTCUSDT']")).to_have_attribute("data-symbol", "BTCUSDT")

    assert len(sockets) == 1
    assert [error for error in errors if "404" not in error] == []


CLOCK = """// A panel for a test.

import { element, setText } from "../../dom.js";

export function mount({ body }) {
  const text = element("p", { class: "values", "data-testid": "clock-text" });
  body.append(text);
  return { paint: ({ view, selected }) => setText(text, view === null ? "" : `${selected} at ${view.last_update_id}`) };
}
"""


async def test_a_panel_is_a_folder_and_a_row(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Nothing else of the page knows it: it is loaded when it is first shown, with its style, and is painted."""
    static = tmp_path / "static"
    shutil.copytree(Path(__file__).parents[2] / "static", static)
    (static / "panels" / "clock").mkdir()
    (static / "panels" / "clock" / "panel.js").write_text(CLOCK)
    (static / "panels" / "clock" / "panel.css").write_text(".panel.clock { --styled: 1; text-align: center; }\n")
    table = static / "panels" / "table.js"
    row = '  { name: "clock", title: "Clock", tab: "Clock", load: () => import("./clock/panel.js") },\n];'
    table.write_text(table.read_text().replace("\n];", f"\n{row}", 1))
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    asked: list[str] = []
    async with (
        live(exchange, tmp_path, PULSE_ALLOWED_ORIGINS=origin) as pulse,
        static_host(port, pulse.url, static),
        opened(pulse, origin=origin) as (page, errors),
    ):
        page.on("request", lambda request: asked.append(request.url.removeprefix(origin)))
        await until_live(page)
        assert not any("/clock/" in path for path in asked)
        await page.keyboard.press("l")
        await page.get_by_test_id("show-clock").check()
        await page.get_by_test_id("layouts-close").click()
        panel = page.get_by_test_id("clock-panel")
        await expect(page.get_by_test_id("clock-text")).to_contain_text("BTCUSDT at ", timeout=WAIT_MS)
        await expect(panel).to_have_css("text-align", "center")
        first = await page.inner_text("[data-testid=clock-text]")
        await expect(page.get_by_test_id("clock-text")).not_to_have_text(first, timeout=WAIT_MS)

    assert {"/panels/clock/panel.js", "/panels/clock/panel.css"} <= set(asked)
    assert errors == []


async def test_a_phone_has_tabs(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """One panel at a time, chosen by a tab at the bottom; those that find no room there are behind "More"."""
    async with (
        live(exchange, tmp_path) as pulse,
        opened(pulse, is_phone=True, width=390, height=844) as (page, errors),
    ):
        await until_live(page)
        assert await page.evaluate(SHOWN) == ["ladder"]
        await page.tap("[data-testid=tab-chart]")
        await page.wait_for_selector("[data-testid=candles][data-last] canvas", timeout=WAIT_MS)
        assert await page.evaluate(SHOWN) == ["chart"]
        bar = await page.locator(".tabs").bounding_box()
        await page.reload()
        await page.wait_for_selector("[data-testid=candles][data-last] canvas", timeout=WAIT_MS)
        low = await page.evaluate(
            "() => [...document.querySelectorAll('button')].filter((one) => one.getClientRects().length > 0"
            " && one.offsetHeight < 44).map((one) => one.className)"
        )
        overflow = await page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")

    assert bar is not None
    assert bar["y"] + bar["height"] <= 845
    assert bar["y"] > 700
    assert (low, overflow) == ([], 0)
    assert errors == []
