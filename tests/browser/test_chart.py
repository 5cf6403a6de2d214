"""The chart in a real browser against the stored candles: its figures, layers, table, tools and running bar."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, expect

from pulse.simulator.server import SimulatedExchange
from tests.browser.test_page import WAIT_MS, live, opened, until_live
from tests.support.process import Pulse

TABLE = """() => [...document.querySelectorAll('[data-testid=chart-table] tbody tr')].map((row) =>
  [Number(row.dataset.time), ...[...row.cells].map((cell) => cell.innerText)])"""
LEGEND = """() => {
  const legend = document.querySelector('[data-testid=legend]');
  const layers = document.querySelector('[data-testid=legend-layers]');
  return {...layers.dataset, ...legend.dataset, text: layers.innerText};
}"""
DAY_S = 86_400


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal streams."""
    async with SimulatedExchange(["BTCUSDT", "LINKUSDT"], seed=9) as running:
        yield running


def number(text: str) -> float:
    """Return the number in a painted text."""
    return float(text.replace(",", "").replace("\u2212", "-").replace("+", ""))


def opened_s(row: dict[str, Any]) -> int:
    """Return when a stored candle opened, in seconds."""
    return int(datetime.fromisoformat(row["timestamp"]).timestamp())


async def charted(page: Page, pulse: Pulse, interval: str = "1m") -> list[dict[str, Any]]:
    """Wait until the chart has the whole history of an interval, and return what is stored of it, oldest first."""
    await until_live(page)
    await expect(page.get_by_test_id("chart-progress")).to_have_text("", timeout=3 * WAIT_MS)
    await page.click(f"[data-testid=intervals] [data-interval='{interval}']")
    await page.wait_for_selector("[data-testid=candles][data-first] canvas", timeout=WAIT_MS)
    rows: list[dict[str, Any]] = await pulse.get(f"/api/ohlcv?interval={interval}&limit=1000")
    return rows


@pytest.mark.parametrize("interval", ["1m", "15m", "1d"])
async def test_the_table_is_what_is_stored(interval: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Prices, volume, delta and source of each closed candle, newest first."""
    async with live(exchange, tmp_path, PULSE_BACKFILL_DAYS="1") as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse, interval)
        await page.click("[data-tool=table]")
        await page.wait_for_selector("[data-testid=chart-table] tbody tr", timeout=WAIT_MS)
        rows = await page.evaluate(TABLE)
        stored = {opened_s(row): row for row in await pulse.get(f"/api/ohlcv?interval={interval}&limit=1000")}

    closed = [row for row in rows if row[0] in stored and stored[row[0]]["is_closed"] and row[8] != "running"]
    assert len(closed) >= {"1m": 190, "15m": 80, "1d": 1}[interval]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    for time, text, *figures, volume, delta, source in closed:
        row = stored[time]
        assert text == row["timestamp"][:16].replace("T", " ")
        assert [number(figure) for figure in figures] == [row[name] for name in ("open", "high", "low", "close")]
        assert number(volume) == pytest.approx(row["volume"], rel=1e-3)
        if row["missing_minutes"] == 0:
            assert number(delta) == pytest.approx(2 * row["taker_buy_volume"] - row["volume"], abs=row["volume"] * 1e-3)
        else:
            assert f"{row['missing_minutes']} min missing" in source
        assert {"exchange": "the exchange's own candle", "live": "built here"}.get(row["source"], "") in source
    assert errors == []


async def test_layers_are_computed_from_the_stored_candles(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Averages over whole windows, VWAP and CVD since 00:00 UTC, at candles that are read by keys."""
    async with live(exchange, tmp_path, PULSE_BACKFILL_DAYS="1") as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse)
        for name in ("ma20", "ema20"):
            await page.click(f"[data-layer={name}]")
        await page.focus(".chart-body")
        seen = []
        for _ in range(4):
            for _ in range(3):
                await page.keyboard.press("Shift+ArrowLeft")
            await page.wait_for_timeout(600)
            seen.append(await page.evaluate(LEGEND))
        first = opened_s((await pulse.get("/api/ohlcv?start=2020-01-01&limit=1"))[0])
        day = min(int(shown["time"]) // DAY_S for shown in seen) * DAY_S
        start = datetime.fromtimestamp(max(first, day), ZoneInfo("UTC")) - timedelta(minutes=30)
        pages = [await pulse.get(f"/api/ohlcv?limit=1000&start={start.isoformat().replace('+00:00', 'Z')}")]
        while len(pages[-1]) == 1000:
            after = pages[-1][-1]["timestamp"].replace("+00:00", "Z")
            pages.append((await pulse.get(f"/api/ohlcv?limit=1000&start={after}"))[1:])
        stored = {opened_s(row): row for rows in pages for row in rows}

    for shown in seen:
        time = int(shown["time"])
        window = [stored[time - 60 * back]["close"] for back in range(20)]
        assert number(shown["ma20"]) == pytest.approx(sum(window) / 20, abs=0.01)
        of_day = [stored[at] for at in range(time // DAY_S * DAY_S, time + 60, 60) if at in stored]
        if len(of_day) < (time % DAY_S) // 60 + 1:  # the day's beginning is not stored
            assert shown["vwap"] == shown["cvd"] == "\u2013"
            continue
        quote, base = (sum(row[name] for row in of_day) for name in ("quote_volume", "volume"))
        assert number(shown["vwap"]) == pytest.approx(quote / base, abs=0.01)
        cvd = sum(2 * row["taker_buy_volume"] - row["volume"] for row in of_day)
        assert number(shown["cvd"]) == pytest.approx(cvd, abs=0.01)
        row = stored[time]
        assert number(shown["delta"]) == pytest.approx(2 * row["taker_buy_volume"] - row["volume"], abs=0.001)
    assert errors == []


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


async def test_missing_candles_are_marked(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Their places are kept open, counted, and no average is drawn across them."""
    now_ms = exchange.core.now_ms
    hole = range(now_ms // 60_000 * 60_000 - 90 * 60_000, now_ms - 80 * 60_000, 60_000)
    exchange.faults.rest.edit("/api/v3/klines", lambda rows: [row for row in rows if row[0] not in hole])
    exchange.faults.rest.answer("/api/v3/aggTrades", 500)
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await until_live(page)
        await page.wait_for_selector(f"[data-testid=candles][data-gaps='{len(hole)}']", timeout=3 * WAIT_MS)
        await page.click("[data-layer=ma20]")
        await page.click("[data-tool=table]")
        await page.wait_for_selector("[data-testid=chart-table] tbody tr", timeout=WAIT_MS)
        times = {row[0] for row in await page.evaluate(TABLE)}

    assert times.isdisjoint({at // 1000 for at in hole})
    assert {hole[0] // 1000 - 60, hole[-1] // 1000 + 60} <= times
    assert errors == []


async def test_times_are_in_the_chosen_zone(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The choice is in the address; days stay days in UTC."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse)
        await page.get_by_test_id("chart-zone").select_option("Asia/Tokyo")
        await page.focus(".chart-body")
        await page.keyboard.press("Shift+ArrowLeft")
        await page.wait_for_selector("[data-testid=legend]:not([data-running])", timeout=WAIT_MS)
        shown = await page.evaluate(LEGEND)
        text = await page.inner_text("[data-testid=legend]")
        local = datetime.fromtimestamp(int(shown["time"]), ZoneInfo("Asia/Tokyo"))
        assert text.startswith(local.strftime("%H:%M "))
        assert "zone=Asia/Tokyo" in page.url
        await page.reload()
        await until_live(page)
        assert await page.get_by_test_id("chart-zone").input_value() == "Asia/Tokyo"
        await page.click("[data-testid=intervals] [data-interval='1d']")
        await page.click("[data-tool=table]")
        await expect(page.locator("[data-testid=chart-table] th").first).to_have_text("Time (UTC)", timeout=WAIT_MS)
    assert errors == []


async def test_lines_and_ruler_by_keys_and_by_mouse(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A line outlives a reload and is taken away where it is pressed; the ruler says what lies between two points."""
    lines = "() => (localStorage.getItem('pulse.lines.BTCUSDT') ?? '').split(',').filter(Boolean).map(Number)"
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse)
        await page.focus(".chart-body")
        await page.keyboard.press("Shift+ArrowLeft")
        await page.keyboard.press("h")
        stored = {opened_s(row): row["close"] for row in await pulse.get("/api/ohlcv?limit=100")}
        start = int((await page.evaluate(LEGEND))["time"])
        assert await page.evaluate(lines) == [stored[start]]
        await page.keyboard.press("r")
        await page.keyboard.press("Shift+ArrowLeft")
        await page.wait_for_timeout(600)
        await page.keyboard.press("r")
        text = page.get_by_test_id("ruler-text")
        await expect(text).to_contain_text("10 bars, 10 min")
        change = stored[start - 600] - stored[start]
        assert number((await text.inner_text()).partition(" ")[0]) == pytest.approx(change, abs=0.01)
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("chart-sheet")).to_be_hidden()

        await page.click("[data-tool=ruler]")
        box = await page.get_by_test_id("chart-sheet").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + 150, box["y"] + 60)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 260, box["y"] + 120, steps=4)
        await page.mouse.up()
        await expect(text).to_contain_text(re.compile(r"^\u2212.*\(\u2212.* %\), \d+ bars, \d+ min, [\d.,]+ BTC$"))

        await page.click("[data-tool=line]")
        await page.mouse.click(box["x"] + 200, box["y"] + 90)
        assert len(await page.evaluate(lines)) == 2
        await page.mouse.click(box["x"] + 300, box["y"] + 91)
        assert await page.evaluate(lines) == [stored[start]]
        await page.reload()
        await until_live(page)
        assert await page.evaluate(lines) == [stored[start]]
        assert "lines" not in page.url
    assert errors == []


async def test_the_chart_is_saved_as_a_file_and_as_a_picture(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The file has the stored candles; the picture is one."""
    async with live(exchange, tmp_path) as pulse, opened(pulse) as (page, errors):
        await charted(page, pulse)
        for tool in ("csv", "picture"):
            async with page.expect_download(timeout=WAIT_MS) as download:
                await page.click(f"[data-tool={tool}]")
            file = await download.value
            await file.save_as(tmp_path / file.suggested_filename)
        rows = {row["timestamp"]: row for row in await pulse.get("/api/ohlcv?limit=1000")}

    lines = list(csv.DictReader(io.StringIO((tmp_path / "BTCUSDT-1m.csv").read_text())))
    picture = (tmp_path / "BTCUSDT-1m.png").read_bytes()
    assert len(lines) >= 400
    for line in lines[-100:-3]:
        row = rows[line["timestamp"]]
        names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
        assert [float(line[name]) for name in names] == [row[name] for name in names]
        assert line["source"] == row["source"]
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5_000
    assert errors == []
