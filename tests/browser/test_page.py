"""The real page of the real terminal in a real browser: what it paints is the exchange's book, and it says when not."""

import asyncio
import ctypes
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

from pulse.simulator.server import SimulatedExchange
from tests.support.process import Pulse
from tests.support.services import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAINTED = """() => {
  const root = document.querySelector('[data-testid=terminal]');
  const side = (name) => [...document.querySelectorAll(`[data-testid=ladder] tr[data-side=${name}]`)]
    .filter((row) => row.dataset.price !== undefined)
    .sort((a, b) => Number(a.dataset.level) - Number(b.dataset.level))
    .map((row) => [Number(row.dataset.price), Number(row.dataset.quantity)]);
  return {
    id: Number(root.dataset.lastUpdateId), symbol: root.dataset.symbol, state: root.dataset.state,
    bids: side('bid'), asks: side('ask'),
  };
}"""
BEYOND = """() => {
  const root = document.querySelector('[data-testid=terminal]');
  const rows = [...document.querySelectorAll('[data-testid=ladder] tr[data-side=bid]:not([hidden])')];
  const beyond = rows.filter((row) => 'beyond' in row.dataset);
  if (root.dataset.state !== 'live' || beyond.length < 3) return false;
  const style = (selector) => getComputedStyle(root.querySelector(selector));
  return {
    known: rows.length - beyond.length, words: beyond.map((row) => row.innerText.trim()),
    titles: beyond.map((row) => row.title), images: beyond.map((row) => getComputedStyle(row).backgroundImage),
    note: root.querySelector('[data-testid=ladder-note]').innerText,
    cards: ['cvd', 'imbalance'].map((name) => root.querySelector(`[data-metric=${name}]`).innerText),
    track: style('[data-testid=pressure] .pressure-track').backgroundImage,
    bar: style('[data-testid=pressure] .pressure-bid').visibility,
  };
}"""  # in one look, so that all of it is of one picture; false until there is such a picture
WAIT_MS = 20_000


@asynccontextmanager
async def opened(
    pulse: Pulse, origin: str = "", script: str = "", **viewport: int
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page in a browser, and every error its console shows; `script` runs before its own."""
    if CHROMIUM is None:
        pytest.fail("Chromium is missing: apt-get install -y chromium", pytrace=False)
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libatomic.so.1")
        except OSError:
            pytest.fail("The browser driver needs libatomic: apt-get install -y libatomic1", pytrace=False)
    errors: list[str] = []
    size: Any = {"width": 1440, "height": 900, **viewport}

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        page = await browser.new_page(viewport=size)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.add_init_script(script)
        await page.goto((origin or pulse.url) + "/")
        yield page, errors
        await browser.close()


HURRIED = """
const every = window.setInterval;
window.setInterval = (act, ms, ...rest) => every(act, Math.max(20, ms / 100), ...rest);
"""


async def until_live(page: Page) -> None:
    """Wait until the page calls the book live."""
    await page.wait_for_selector("[data-testid=terminal][data-state=live]", timeout=WAIT_MS)


def live(exchange: SimulatedExchange, folder: Path, **environment: str) -> Pulse:
    """A terminal that follows this exchange."""
    return Pulse(
        folder,
        PULSE_SYMBOLS="BTCUSDT,LINKUSDT",
        PULSE_REST_URL=exchange.rest_url,
        PULSE_STREAM_URL=exchange.stream_url,
        **environment,
    )


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """The exchange that the terminal follows."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def test_the_painted_ladder_is_the_exchange_s_book(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Each picture read from the painted rows equals the exchange's book at the id that was painted with them."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        checked = 0
        for _ in range(30):
            painted = await page.evaluate(PAINTED)
            truth = exchange.core.truth_at("BTCUSDT", painted["id"])
            assert truth is not None
            assert painted["bids"] == [[float(p), float(q)] for p, q in truth.bids[: len(painted["bids"])]]
            assert painted["asks"] == [[float(p), float(q)] for p, q in truth.asks[: len(painted["asks"])]]
            checked += min(len(painted["bids"]), len(painted["asks"])) >= 4
            await page.wait_for_timeout(100)

    assert checked == 30
    assert errors == []


async def test_a_depth_that_is_only_a_lower_bound_is_called_one(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Where the known book ends within 10 bps the depth reads "at least", says how far it is known, and is hatched."""
    async with live(exchange, tmp_path, PULSE_DEPTH_LIMIT="100") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        card = page.locator("[data-metric=depth_10bps_bid]")
        await expect(card.locator(".card-value")).to_contain_text("\u2265", timeout=WAIT_MS)
        title = await card.get_attribute("title")
        read = await card.locator(".card-figure").inner_text()
        hatched = await card.locator(".card-line").evaluate("(line) => getComputedStyle(line).backgroundImage")
        other = page.locator("[data-metric=mid_price]")

        assert title is not None
        assert title.startswith("At least: the bid side is known only down to ")
        assert "At least: the bid side is known only down to" in read
        assert hatched.startswith("repeating-linear-gradient")
        assert await other.get_attribute("data-bound") is None
    assert errors == []


async def test_what_lies_beyond_the_known_book_is_hatched(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """When the price nears the end of what is known and no snapshot comes, the rows beyond, and sums of 20, say so."""
    async with live(exchange, tmp_path, PULSE_DEPTH_LIMIT="100") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        exchange.faults.rest.answer("/api/v3/depth", 503)
        looking = asyncio.create_task(page.wait_for_function(BEYOND, timeout=WAIT_MS))
        while not looking.done():
            exchange.core.news("BTCUSDT", -0.00002)
            await page.wait_for_timeout(100)
        seen = await (await looking).json_value()

    assert seen["words"][0] == "beyond what is known"
    assert len(seen["words"]) == 20 - seen["known"]
    assert all(title.startswith("Known down to 61,") for title in seen["titles"])
    assert all("gradient" in image for image in [*seen["images"], seen["track"]])
    assert "bid levels known" in seen["note"]
    assert all("fewer than 20 levels known" in card for card in seen["cards"])
    assert seen["bar"] == "hidden"
    assert errors == []


async def test_symbols_are_switched_and_their_candles_shown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """One click brings the other book, with nothing of the first."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.click("[data-testid=symbols] [data-symbol=LINKUSDT]")
        await page.wait_for_selector("[data-testid=terminal][data-symbol=LINKUSDT][data-state=live]", timeout=WAIT_MS)
        painted = await page.evaluate(PAINTED)
        truth = exchange.core.truth_at("LINKUSDT", painted["id"])

    assert truth is not None
    assert painted["bids"][0] == [float(text) for text in truth.bids[0]]
    assert errors == []


async def test_any_listed_symbol_is_found_followed_and_shown(tmp_path: Path) -> None:
    """By keys alone, a symbol that is not followed yet: its book comes, and it has a button and an address."""
    async with (
        SimulatedExchange(["BTCUSDT", "LINKUSDT", "DOGEUSDT"], seed=9) as exchange,
        live(exchange, tmp_path) as pulse,
        opened(pulse) as (page, errors),
    ):
        await until_live(page)
        await page.keyboard.press("/")
        field = page.get_by_test_id("finder-field")
        await expect(field).to_be_focused()
        await page.keyboard.type("1p usdt")
        await expect(page.get_by_test_id("found-more")).to_contain_text("None of the 3 listed symbols")
        await field.fill("usdt")
        options = page.locator("[role=option]")
        await expect(options).to_have_text(["BTCUSDT", "LINKUSDT", "DOGEUSDT"])
        await page.keyboard.press("ArrowUp")
        await expect(field).to_have_attribute("aria-activedescendant", "found-2")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[data-testid=terminal][data-symbol=DOGEUSDT][data-state=live]", timeout=WAIT_MS)
        painted = await page.evaluate(PAINTED)
        truth = exchange.core.truth_at("DOGEUSDT", painted["id"])
        await expect(page.locator("[data-testid=symbols] [aria-current]")).to_have_text("DOGE/USDT")
        await expect(page.get_by_test_id("finder")).to_be_hidden()  # now all have a button
        address = page.url
        await page.reload()
        await page.wait_for_selector("[data-testid=terminal][data-symbol=DOGEUSDT][data-state=live]", timeout=WAIT_MS)

    assert truth is not None
    assert painted["bids"][0] == [float(text) for text in truth.bids[0]]
    assert address.endswith("#DOGEUSDT")
    assert errors == []


async def test_before_the_exchange_is_reached_nothing_is_made_up(tmp_path: Path) -> None:
    """Symbols go by their names, none of them is called halted, and data that never came has no age."""
    closed = free_port()
    settings = {"PULSE_REST_URL": f"http://127.0.0.1:{closed}", "PULSE_STREAM_URL": f"ws://127.0.0.1:{closed}"}
    async with Pulse(tmp_path, **settings, PULSE_SYMBOLS="BTCUSDT,ETHUSDT") as pulse, opened(pulse) as (page, errors):
        await page.wait_for_selector("[data-testid=terminal][data-state=offline]", timeout=WAIT_MS)
        names = await page.locator("button.symbol").all_inner_texts()
        halted = await page.locator("button.symbol[data-halted]").count()
        body = await page.inner_text("body")

    assert [name.strip() for name in names] == ["BTCUSDT", "ETHUSDT"]
    assert halted == 0
    assert "cannot be reached" in body
    assert "last data" not in body
    assert "null" not in body
    assert errors == []


async def test_a_symbol_there_is_no_room_for_is_refused_in_words(tmp_path: Path) -> None:
    """The page says why it has no picture, and shows the next symbol that is chosen."""
    names = ["BTCUSDT", "LINKUSDT", "DOGEUSDT", "SOLUSDT"]
    async with (
        SimulatedExchange(names, seed=9) as exchange,
        live(exchange, tmp_path, PULSE_SYMBOLS_MAX="3") as pulse,
        opened(pulse) as (page, _),
    ):
        await until_live(page)
        async with pulse.feed("SOLUSDT") as other:
            await other.receive()
            await page.keyboard.press("/")
            await page.keyboard.type("doge")
            await page.get_by_role("option", name="DOGEUSDT").click()
            await page.wait_for_selector("[data-testid=terminal][data-state=refused]", timeout=WAIT_MS)
            words = await page.inner_text("[data-testid=state-words]")
            await expect(page.get_by_test_id("legend")).to_have_text("")  # no other symbol's candles under its name
            await page.keyboard.press("1")
            await until_live(page)

    assert words == "DOGEUSDT refused: This server follows 3 symbols at once, and all of them are in use."


async def test_frozen_data_is_never_shown_as_live(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """When the exchange is gone the page says so within two seconds, keeps the last book, and recovers by itself."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, _):
        await until_live(page)
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        await page.wait_for_selector("[data-testid=terminal][data-state=offline]", timeout=2000)
        painted = await page.evaluate(PAINTED)
        words = await page.inner_text("[data-testid=state-words]")
        exchange.faults.clear()
        await until_live(page)

    assert len(painted["bids"]) >= 4
    assert "offline" in words.lower()


async def test_a_server_that_is_gone_is_said_and_found_again(tmp_path: Path) -> None:
    """The page names the lost server, and is live again after its return without a reload."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, opened(pulse) as (page, _):
        await until_live(page)
        await pulse.stop()
        await page.wait_for_selector("[data-testid=terminal][data-state=disconnected]", timeout=WAIT_MS)
        await pulse.start()
        await page.wait_for_selector("[data-testid=terminal][data-state=live]", timeout=60_000)


async def test_a_simulation_is_plainly_called_one(tmp_path: Path) -> None:
    """Nobody can take the demo for a market."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await expect(page.get_by_test_id("source-banner")).to_contain_text("Simulation")

    assert errors == []


async def test_a_phone_shows_it_without_sideways_scroll(tmp_path: Path) -> None:
    """At 390 px everything is in one column."""
    async with (
        Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse,
        opened(pulse, width=390, height=844) as (page, errors),
    ):
        await until_live(page)
        overflow = await page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        painted = await page.evaluate(PAINTED)

    assert overflow <= 0
    assert len(painted["bids"]) >= 4
    assert errors == []


async def test_the_page_works_from_another_static_host(tmp_path: Path) -> None:
    """The content of `static/` on another origin, with one file replaced and that origin allowed, is the terminal."""
    static = Path(__file__).parents[2] / "static"
    page_port = free_port()
    origin = f"http://127.0.0.1:{page_port}"
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT", PULSE_ALLOWED_ORIGINS=origin) as pulse:
        config = f'window.PULSE = {{ apiBase: "{pulse.url}", wsBase: "{pulse.url.replace("http", "ws")}" }};\n'

        async def configured(_: web.Request) -> web.Response:
            return web.Response(text=config, content_type="text/javascript")

        async def index(_: web.Request) -> web.FileResponse:
            return web.FileResponse(static / "index.html")

        host = web.Application()
        host.add_routes([web.get("/", index), web.get("/config.js", configured), web.static("/", static)])
        runner = web.AppRunner(host)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", page_port).start()
            async with opened(pulse, origin=origin) as (page, errors):
                await until_live(page)
                await page.wait_for_selector("[data-testid=candles] canvas", timeout=WAIT_MS)
        finally:
            await runner.cleanup()

    assert errors == []


async def test_the_chart_shows_the_chosen_interval(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A longer interval's bars are asked for and followed, and the choice is remembered."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        asked = page.wait_for_event("requestfinished", lambda r: "interval=5m" in r.url and "limit=3" in r.url)
        await page.click("[data-testid=intervals] [data-interval='5m']")
        await asked
        await page.reload()
        await page.wait_for_selector("[data-interval='5m'][aria-pressed=true]", timeout=WAIT_MS)

    assert errors == []


async def test_the_past_is_seen_to_be_fetched(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """From the start the chart says how far the past is fetched, grows as it comes, and is silent once it is there."""
    asked: list[str] = []
    exchange.faults.rest.hang("/api/v3/klines", 0.0, count=2)  # each symbol's recent minutes are told,
    exchange.faults.rest.answer("/api/v3/klines", 503)  # and the past only later
    async with live(exchange, tmp_path, PULSE_BACKFILL_DAYS="2") as pulse, opened(pulse) as (page, errors):
        page.on("requestfinished", lambda request: asked.append(request.url))
        filling = page.get_by_test_id("chart-filling")
        await expect(filling).to_have_text("history 0 % fetched", timeout=WAIT_MS)
        title = await filling.get_attribute("title")
        await pulse.until(lambda: pulse.get("/api/ohlcv?interval=1h"), lambda candles: len(candles) > 10)
        async with page.expect_event("requestfinished", lambda r: "interval=1h" in r.url and "limit=500" in r.url):
            await page.click("[data-testid=intervals] [data-interval='1h']")
        before = len(asked)
        exchange.faults.rest.clear()
        await expect(filling).to_have_text("", timeout=3 * WAIT_MS)
        await page.wait_for_timeout(500)

    assert title is not None
    assert " of 1,880 minutes so far" in title
    assert any("interval=1h" in url and "limit=500" in url for url in asked[before:])
    assert errors == []


async def test_whatever_is_done_now_and_then_works(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """With its regular work done a hundred times as often, the page asks for all it should, and nothing fails."""
    asked: set[str] = set()
    async with live(exchange, tmp_path) as pulse, opened(pulse, script=HURRIED) as (page, errors):
        page.on("request", lambda request: asked.add(request.url.removeprefix(pulse.url).partition("?")[0]))
        await until_live(page)
        await page.click("[data-testid=intervals] [data-interval='1h']")
        await page.wait_for_timeout(2000)
        state = await page.get_attribute("[data-testid=terminal]", "data-state")

    assert {"/api/store", "/api/latency", "/api/ohlcv"} <= asked
    assert (state, errors) == ("live", [])
