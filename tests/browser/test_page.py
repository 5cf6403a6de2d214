"""The page in a real browser against a running terminal: it paints the exchange's book, and says when it does not."""

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
from tests.support.waiting import WAIT_S, until

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
UNKNOWN_ROWS = """() => {
  const root = document.querySelector('[data-testid=terminal]');
  const rows = [...document.querySelectorAll('[data-testid=ladder] tr[data-side=bid]:not([hidden])')];
  const unknown = rows.filter((row) => 'unknown' in row.dataset);
  if (root.dataset.state !== 'live' || unknown.length < 3) return false;
  const style = (selector) => getComputedStyle(root.querySelector(selector));
  return {
    known: rows.length - unknown.length, texts: unknown.map((row) => row.querySelector('.rest').innerText.trim()),
    titles: unknown.map((row) => row.title), images: unknown.map((row) => getComputedStyle(row).backgroundImage),
    note: root.querySelector('[data-testid=ladder-note]').innerText,
    cards: ['cvd', 'imbalance'].map((name) => root.querySelector(`[data-metric=${name}]`).innerText),
    track: style('[data-testid=pressure] .pressure-track').backgroundImage,
    bar: style('[data-testid=pressure] .pressure-bid').visibility,
  };
}"""  # one evaluation, so that all of it belongs to one view; false until there is such a view
WAIT_MS = 1000 * WAIT_S
LEVELS = """
if (location.origin !== 'null' && !localStorage['pulse.group']) localStorage['pulse.group'] = 'levels';
"""


@asynccontextmanager
async def opened(
    pulse: Pulse, origin: str = "", script: str = "", path: str = "/", *, is_phone: bool = False, **viewport: int
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open the page in a browser; yield it and the errors of its console.

    `script` runs before the page's own. A phone has a touch screen.
    """
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
        page = await browser.new_page(viewport=size, has_touch=is_phone, is_mobile=is_phone)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        # The levels of the view, which these tests compare with the exchange's, in place of groups that fill the rows.
        await page.add_init_script(LEVELS + script)
        await page.goto((origin or pulse.url) + path)
        yield page, errors
        await browser.close()


FAST_TIMERS = """
const every = window.setInterval;
window.setInterval = (act, ms, ...rest) => every(act, Math.max(20, ms / 100), ...rest);
"""


async def until_live(page: Page) -> None:
    """Wait until the page calls the book live."""
    await page.wait_for_selector("[data-testid=terminal][data-state=live]", timeout=WAIT_MS)


def live(exchange: SimulatedExchange, folder: Path, **environment: str) -> Pulse:
    """Make a terminal that streams this exchange."""
    return Pulse(
        folder,
        PULSE_SYMBOLS="BTCUSDT,LINKUSDT",
        PULSE_REST_URL=exchange.rest_url,
        PULSE_STREAM_URL=exchange.stream_url,
        **environment,
    )


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


async def test_painted_rows_equal_the_exchange_s_book(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The painted rows equal the exchange's book at the update id that is painted with them."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        checked = 0
        for _ in range(30):
            painted = await page.evaluate(PAINTED)
            truth = exchange.core.book_at("BTCUSDT", painted["id"])
            assert truth is not None
            assert painted["bids"] == [[float(p), float(q)] for p, q in truth.bids[: len(painted["bids"])]]
            assert painted["asks"] == [[float(p), float(q)] for p, q in truth.asks[: len(painted["asks"])]]
            checked += min(len(painted["bids"]), len(painted["asks"])) >= 4
            await page.wait_for_timeout(100)

    assert checked == 30
    assert errors == []


async def test_symbol_of_the_address_is_shown_once_the_listing_is_known(tmp_path: Path) -> None:
    """While a server that was just started does not know it, the default symbol stands in."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT", "LTCUSDT"], seed=9) as exchange:
        exchange.faults.rest.hang("/api/v3/ticker/price", 10.0, count=1)
        async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
            await page.goto("about:blank")
            await page.goto(f"{pulse.url}/#LTCUSDT")
            await page.wait_for_url(lambda url: "#BTCUSDT" in url, wait_until="commit", timeout=WAIT_MS)
            symbols = await pulse.get("/api/symbols")
            await page.wait_for_url(lambda url: "#LTCUSDT" in url, wait_until="commit", timeout=WAIT_MS)
            await until_live(page)

    assert not symbols["is_listing_known"]
    assert errors == []


async def test_screen_readers_get_a_summary(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The live region has the symbol, the best prices and the status; the search's own count is left alone."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        announcer = page.get_by_test_id("announcer")
        await expect(announcer).to_contain_text("BTCUSDT, best bid 61,", timeout=WAIT_MS)
        await expect(announcer).to_contain_text(", Live")
        await expect(page.get_by_test_id("search-count")).to_have_text("")
    assert errors == []


async def test_depth_beyond_the_known_range_is_marked_as_a_lower_bound(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Where the known range ends within 10 bps the depth reads "at least", names the range, and is hatched."""
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


async def test_rows_outside_the_known_range_are_hatched(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """When the price nears the end of the known range, rows outside it and sums over 20 levels are marked."""
    async with live(exchange, tmp_path, PULSE_DEPTH_LIMIT="100") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        exchange.faults.rest.answer("/api/v3/depth", 503)
        looking = asyncio.create_task(page.wait_for_function(UNKNOWN_ROWS, timeout=WAIT_MS))
        while not looking.done():
            exchange.core.shift_value("BTCUSDT", -0.00002)
            await page.wait_for_timeout(100)
        seen = await (await looking).json_value()

    assert seen["texts"][0] == "outside the known range"
    assert len(seen["texts"]) == 20 - seen["known"]
    assert all(title.startswith("Known down to 61,") for title in seen["titles"])
    assert all("gradient" in image for image in [*seen["images"], seen["track"]])
    assert "bid levels known" in seen["note"]
    assert all("fewer than 20 levels known" in card for card in seen["cards"])
    assert seen["bar"] == "hidden"
    assert errors == []


async def test_a_click_switches_the_symbol(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """One click shows the other book, with nothing of the first."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.click("[data-testid=symbols] [data-symbol=LINKUSDT]")
        await page.wait_for_selector("[data-testid=terminal][data-symbol=LINKUSDT][data-state=live]", timeout=WAIT_MS)
        painted = await page.evaluate(PAINTED)
        truth = exchange.core.book_at("LINKUSDT", painted["id"])

    assert truth is not None
    assert painted["bids"][0] == [float(text) for text in truth.bids[0]]
    assert errors == []


async def test_the_search_shows_any_listed_symbol(tmp_path: Path) -> None:
    """With keys alone: a symbol that is not followed yet gets its book, a button and an address."""
    async with (
        SimulatedExchange(["BTCUSDT", "LINKUSDT", "DOGEUSDT"], seed=9) as exchange,
        live(exchange, tmp_path) as pulse,
        opened(pulse) as (page, errors),
    ):
        await until_live(page)
        await page.keyboard.press("/")
        field = page.get_by_test_id("search-field")
        await expect(field).to_be_focused()
        await page.keyboard.type("1p usdt")
        await expect(page.get_by_test_id("search-count")).to_contain_text("No match among 3 listed symbols")
        await field.fill("usdt")
        options = page.locator("[role=option]")
        await expect(options).to_have_text(["BTCUSDT", "LINKUSDT", "DOGEUSDT"])
        await page.keyboard.press("ArrowUp")
        await expect(field).to_have_attribute("aria-activedescendant", "search-result-2")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[data-testid=terminal][data-symbol=DOGEUSDT][data-state=live]", timeout=WAIT_MS)
        painted = await page.evaluate(PAINTED)
        truth = exchange.core.book_at("DOGEUSDT", painted["id"])
        await expect(page.locator("[data-testid=symbols] [aria-current]")).to_have_text("DOGE/USDT")
        await expect(page.get_by_test_id("symbol-search")).to_be_hidden()  # now every symbol has a button
        address = page.url
        await page.reload()
        await page.wait_for_selector("[data-testid=terminal][data-symbol=DOGEUSDT][data-state=live]", timeout=WAIT_MS)

    assert truth is not None
    assert painted["bids"][0] == [float(text) for text in truth.bids[0]]
    assert "#DOGEUSDT" in address
    assert errors == []


@pytest.mark.proves("page-lost")
async def test_without_the_exchange_the_page_invents_nothing(tmp_path: Path) -> None:
    """Symbols have their names, none is called halted, and data that never arrived has no age."""
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
    assert "Bought \u2013" in body  # what was traded is not known, which is not nothing
    assert "null" not in body
    assert errors == []


async def test_a_refused_symbol_has_the_server_s_reason(tmp_path: Path) -> None:
    """The page says why it has no data, and shows the next symbol that is selected."""
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
            text = await page.inner_text("[data-testid=state-text]")
            await expect(page.get_by_test_id("legend")).to_have_text("")  # no other symbol's candles under its name
            await page.keyboard.press("1")
            await until_live(page)

    assert text == "DOGEUSDT not available: This server runs 3 symbols at once, and all of them are in use."


@pytest.mark.proves("page-lost")
async def test_a_lost_exchange_is_shown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """When the exchange is lost the page says so, keeps the last book, and recovers by itself."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, _):
        await until_live(page)
        exchange.faults.refuse_sockets = 503
        exchange.cut()
        await page.wait_for_selector("[data-testid=terminal][data-state=offline]", timeout=WAIT_MS)
        painted = await page.evaluate(PAINTED)
        text = await page.inner_text("[data-testid=state-text]")
        exchange.faults.clear()
        await until_live(page)

    assert len(painted["bids"]) >= 4
    assert "offline" in text.lower()


@pytest.mark.proves("page-lost")
async def test_a_lost_server_is_named_and_reconnected(tmp_path: Path) -> None:
    """The page says that it is disconnected, and is live again after a restart without a reload."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, opened(pulse) as (page, _):
        await until_live(page)
        await pulse.stop()
        await page.wait_for_selector("[data-testid=terminal][data-state=disconnected]", timeout=WAIT_MS)
        await pulse.start()
        await page.wait_for_selector("[data-testid=terminal][data-state=live]", timeout=WAIT_MS)


async def test_a_simulation_has_a_banner(tmp_path: Path) -> None:
    """The demo cannot be mistaken for a market."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await expect(page.get_by_test_id("source-banner")).to_contain_text("Simulation")
        instance = (await pulse.view("LINKUSDT"))["instance"]
        await expect(page.get_by_test_id("instance")).to_have_text(f"Instance {instance}, venue simulation")

    assert errors == []


async def test_a_phone_needs_no_horizontal_scroll(tmp_path: Path) -> None:
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


@asynccontextmanager
async def static_host(
    port: int, server_url: str, static: Path = Path(__file__).parents[2] / "static"
) -> AsyncIterator[None]:
    """Serve `static/` on another origin, with the server's address in config.js."""
    config = f'window.PULSE = {{ apiBase: "{server_url}", wsBase: "{server_url.replace("http", "ws")}" }};\n'

    async def configured(_: web.Request) -> web.Response:
        return web.Response(text=config, content_type="text/javascript")

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(static / "index.html")

    host = web.Application()
    host.add_routes([web.get("/", index), web.get("/config.js", configured), web.static("/", static)])
    runner = web.AppRunner(host)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()


async def test_the_page_works_from_another_static_host(tmp_path: Path) -> None:
    """`static/` on another origin, with config.js replaced and that origin allowed, is the whole page."""
    page_port = free_port()
    origin = f"http://127.0.0.1:{page_port}"
    async with (
        Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT", PULSE_ALLOWED_ORIGINS=origin) as pulse,
        static_host(page_port, pulse.url),
        opened(pulse, origin=origin) as (page, errors),
    ):
        await until_live(page)
        await page.wait_for_selector("[data-testid=candles] canvas", timeout=WAIT_MS)

    assert errors == []


TOKEN = "a-reader's-token!"


def other_than_401(errors: list[str]) -> list[str]:
    """Return the errors of the console but for the browser's own notes of refused requests."""
    return [error for error in errors if "401" not in error and "HTTP Authentication failed" not in error]


async def enter(page: Page, token: str) -> None:
    """Enter a token in the form, as soon as it is shown."""
    await page.get_by_test_id("login").wait_for(timeout=WAIT_MS)
    await page.get_by_test_id("login-token").fill(token)
    await page.get_by_test_id("login-submit").click()


async def test_the_page_asks_for_the_token_once(tmp_path: Path) -> None:
    """A wrong one is said; the right one is enough for reloads too, until it is changed or the user logs out."""
    async with (
        Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT", PULSE_TOKEN=TOKEN) as pulse,
        opened(pulse) as (page, errors),
    ):
        form, log_out = page.get_by_test_id("login"), page.get_by_test_id("log-out")
        await enter(page, "wrong")
        await expect(page.get_by_test_id("login-error")).to_contain_text("does not accept this token", timeout=WAIT_MS)
        for _ in range(3):
            await page.keyboard.press("Escape")
        await expect(form).to_be_visible()
        await enter(page, TOKEN)
        await until_live(page)
        await expect(form).to_be_hidden()
        await page.wait_for_selector("[data-testid=candles] canvas", timeout=WAIT_MS)
        shown_to_scripts = await page.evaluate("() => document.cookie + JSON.stringify({...sessionStorage})")
        await page.reload()
        await until_live(page)
        await expect(form).to_be_hidden()
        assert await pulse.stop() == 0
        pulse._environment["PULSE_TOKEN"] = "another-reader's-token"
        await pulse.start()
        await enter(page, "another-reader's-token")
        await expect(form).to_be_hidden(timeout=WAIT_MS)
        await until_live(page)
        await log_out.click()
        await expect(form).to_be_visible(timeout=WAIT_MS)
        await expect(log_out).to_be_hidden()

    assert shown_to_scripts == "{}"
    assert [error for error in other_than_401(errors) if "ERR_CONNECTION_REFUSED" not in error] == []


async def test_a_page_of_another_origin_sends_the_token_itself(tmp_path: Path) -> None:
    """By headers and a subprotocol; its tab remembers it."""
    page_port = free_port()
    origin = f"http://127.0.0.1:{page_port}"
    own = {"PULSE_SYMBOLS": "LINKUSDT", "PULSE_TOKEN": TOKEN, "PULSE_ALLOWED_ORIGINS": origin}
    async with (
        Pulse(tmp_path, "--demo", **own) as pulse,
        static_host(page_port, pulse.url),
        opened(pulse, origin=origin) as (page, errors),
    ):
        form = page.get_by_test_id("login")
        await enter(page, "wrong")
        await expect(page.get_by_test_id("login-error")).to_contain_text("does not accept this token", timeout=WAIT_MS)
        await enter(page, TOKEN)
        await until_live(page)
        cookies = await page.context.cookies()
        await page.reload()
        await until_live(page)
        await expect(form).to_be_hidden()
        await page.get_by_test_id("log-out").click()
        await expect(form).to_be_visible(timeout=WAIT_MS)

    assert cookies == []
    assert other_than_401(errors) == []


async def test_the_chart_shows_the_chosen_interval(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A longer interval's bars are requested, and the choice is stored."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        async with page.expect_event("requestfinished", lambda r: "interval=5m" in r.url):
            await page.click("[data-testid=intervals] [data-interval='5m']")
        await page.reload()
        await page.wait_for_selector("[data-interval='5m'][aria-pressed=true]", timeout=WAIT_MS)

    assert errors == []


async def test_the_progress_of_the_history_is_shown(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The chart shows how far the history is loaded, grows with it, and shows nothing once it is complete."""
    asked: list[str] = []
    exchange.faults.rest.hang("/api/v3/klines", 0.0, count=1)  # the first symbol's recent minutes are answered,
    exchange.faults.rest.answer("/api/v3/klines", 503)  # and older ones only later
    async with live(exchange, tmp_path, PULSE_BACKFILL_DAYS="2") as pulse, opened(pulse) as (page, errors):
        page.on("requestfinished", lambda request: asked.append(request.url))
        progress = page.get_by_test_id("chart-progress")
        await expect(progress).to_have_text("history 0 % loaded", timeout=WAIT_MS)
        title = await progress.get_attribute("title")
        await pulse.until(lambda: pulse.get("/api/ohlcv?interval=1h"), lambda candles: len(candles) > 10)
        async with page.expect_event("requestfinished", lambda r: "interval=1h" in r.url and "limit=500" in r.url):
            await page.click("[data-testid=intervals] [data-interval='1h']")
        before = len(asked)
        exchange.faults.rest.clear()
        await expect(progress).to_have_text("", timeout=WAIT_MS)
        await until(lambda: any("interval=1h" in url and "limit=500" in url for url in asked[before:]))

    assert title is not None
    assert " of 1,880 minutes so far" in title
    assert errors == []


async def test_periodic_requests_work(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """With timers a hundred times as fast, the page makes every periodic request, and nothing fails."""
    asked: set[str] = set()
    async with live(exchange, tmp_path) as pulse, opened(pulse, script=FAST_TIMERS) as (page, errors):
        page.on("request", lambda request: asked.add(request.url.removeprefix(pulse.url).partition("?")[0]))
        await until_live(page)
        await page.click("[data-testid=intervals] [data-interval='1h']")
        await until(lambda: asked >= {"/api/store", "/api/latency", "/api/ohlcv"})
        state = await page.get_attribute("[data-testid=terminal]", "data-state")

    assert (state, errors) == ("live", [])


async def test_muted_streams_are_named_and_dim_their_own_panel(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The book goes on: it stays live and bright. The shield empties and names the silent check; trades dim alone."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        root, shield = page.get_by_test_id("terminal"), page.get_by_test_id("shield")
        await until_live(page)
        await expect(shield).to_have_attribute("data-verified", "yes", timeout=WAIT_MS)
        await expect(page.get_by_test_id("trades-age")).to_have_text("<1 s ago", timeout=WAIT_MS)
        exchange.faults.frames.mute("btcusdt@aggTrade", "btcusdt@bookTicker")
        await page.wait_for_selector('[data-testid=terminal][data-silent~="trade"]', timeout=WAIT_MS)
        await page.wait_for_selector('[data-testid=terminal][data-silent~="bookTicker"]', timeout=WAIT_MS)

        await expect(shield).to_have_attribute("data-verified", "no", timeout=WAIT_MS)
        await expect(shield).to_contain_text("the exchange's bookTicker is silent")
        await expect(page.get_by_test_id("trades-age")).to_contain_text("silent for")
        await expect(root).to_have_attribute("data-state", "live")
        await expect(page.get_by_test_id("trades")).to_have_css("opacity", "0.8")
        await expect(page.get_by_test_id("ladder")).to_have_css("opacity", "1")
        await expect(page.locator("[data-metric=trade_rate]")).to_have_css("opacity", "0.8")
        await expect(page.locator("[data-metric=imbalance]")).to_have_css("opacity", "1")

        exchange.faults.frames.unmute()
        await page.wait_for_selector("[data-testid=terminal]:not([data-silent])", timeout=WAIT_MS)
        await expect(shield).to_have_attribute("data-verified", "yes", timeout=WAIT_MS)
        await expect(page.get_by_test_id("trades")).to_have_css("opacity", "1")
        assert errors == []
