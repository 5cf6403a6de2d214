"""A real browser among the clients: Chromium on the terminal's page, and what it reports. Run as a program.

Prints one JSON object per line: `open` once the page is live, then for each line read on stdin one with the state shown
on the page, the sockets opened so far, whether they are compressed, the messages received, and the memory of its
scripts. Ends when stdin does.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections import Counter
from typing import Any

from playwright.async_api import Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
STATE = "document.querySelector('[data-testid=terminal]').dataset.state"
HEAP = "performance.memory.usedJSHeapSize"
OPEN_TIMEOUT_MS = 30_000


async def _run(url: str) -> None:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("Chromium is missing: apt-get install -y chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        counts = await _count_sockets(page)
        await page.goto(url)
        await page.wait_for_selector("[data-testid=terminal][data-state=live]", timeout=OPEN_TIMEOUT_MS)
        _print_json({"event": "open"})
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            state, heap = await page.evaluate(f"[{STATE}, {HEAP}]")
            _print_json({"event": "state", "state": state, "heap_mb": heap / 1e6, **counts})
        await browser.close()


async def _count_sockets(page: Page) -> Counter[str]:
    """Count from now on the page's WebSockets, those that are compressed, and the messages received."""
    counts = Counter(sockets=0, compressed=0, messages=0)

    def shaken(event: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in event["response"]["headers"].items()}
        counts["sockets"] += 1
        counts["compressed"] += "permessage-deflate" in headers.get("sec-websocket-extensions", "")

    def received(_: dict[str, Any]) -> None:
        counts["messages"] += 1

    network = await page.context.new_cdp_session(page)
    network.on("Network.webSocketHandshakeResponseReceived", shaken)
    network.on("Network.webSocketFrameReceived", received)
    await network.send("Network.enable")
    return counts


def _print_json(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    """Run with the command line's arguments."""
    parser = argparse.ArgumentParser(prog="bench.browser", description=__doc__)
    parser.add_argument("url")
    asyncio.run(_run(parser.parse_args().url))


if __name__ == "__main__":
    main()
