"""How often one address may ask, at the real server."""

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from pulse.web.api.openapi import document
from pulse.web.door import BURST_S
from tests.support.makers import ManualClock
from tests.support.web import SETTINGS, Web, ask, on_server_loop, serving

ONE_A_S = replace(SETTINGS, requests_per_address_s=1)
COUNTED = [
    path.format(symbol="BTCUSDT") for path in document(SETTINGS.symbols)["paths"] if path not in ("/healthz", "/sse")
]


async def use_up(web: Web, **headers: str) -> None:
    """Ask as often as one may at once."""
    for _ in range(BURST_S):
        status, _, _ = await ask(web, "/api/symbols", **headers)
        assert status == 200


@pytest.mark.parametrize("path", COUNTED)
@on_server_loop
async def test_who_asks_too_often_is_told_when_to_come_back(path: str) -> None:
    """429 with Retry-After and the same kind of body as every error; after that time it is served again."""
    clock = ManualClock()
    async with serving(ONE_A_S, clock=lambda: clock.now_ms() / 1000) as web:
        await use_up(web)
        status, body, headers = await ask(web, path)
        clock.at_ms += 1000.0
        later, _, _ = await ask(web, path)

    assert (status, headers["Retry-After"], headers["Content-Type"]) == (429, "1", "application/problem+json")
    assert body["detail"] == "More than 1 requests a second came from your address."
    assert later != 429


@pytest.mark.parametrize("path", ["/ws", "/ws/orderbook", "/sse?topics=book.BTCUSDT"])
@on_server_loop
async def test_opening_a_feed_is_a_request_too(path: str) -> None:
    """An upgrade costs as much as any: who has asked too often is refused before it, and counted as refused."""
    async with serving(ONE_A_S, clock=lambda: 0.0) as web:
        await use_up(web)
        status, _, headers = await ask(
            web, path, **{} if path.startswith("/sse") else {
                "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
        )  # fmt: skip
        refused = web.sessions.door.refused

    assert (status, headers["Retry-After"], refused) == (429, "1", 1)


@on_server_loop
async def test_the_page_and_the_health_check_are_free() -> None:
    """A platform that looks every second, and a page with its thirty files, are never turned away."""
    async with serving(ONE_A_S, clock=lambda: 0.0, static_dir=Path(__file__).parents[2] / "static") as web:
        await use_up(web)
        statuses = [(await ask(web, path))[0] for path in ("/healthz", "/", "/app.js") for _ in range(2 * BURST_S)]

    assert set(statuses) == {200}


@on_server_loop
async def test_behind_a_proxy_each_client_has_its_own_allowance() -> None:
    """The address that counts is the one that the trusted proxy saw."""
    async with serving(replace(ONE_A_S, trusted_hops=1), clock=lambda: 0.0) as web:
        await use_up(web, **{"X-Forwarded-For": "203.0.113.1"})
        first, _, _ = await ask(web, "/api/symbols", **{"X-Forwarded-For": "6.6.6.6, 203.0.113.1"})
        second, _, _ = await ask(web, "/api/symbols", **{"X-Forwarded-For": "6.6.6.6, 203.0.113.2"})

    assert (first, second) == (429, 200)


@on_server_loop
async def test_without_a_bound_nobody_is_refused() -> None:
    """0 turns it off."""
    async with serving(SETTINGS) as web, aiohttp.ClientSession() as client:
        for _ in range(200):
            async with client.get(web.url + "/api/symbols") as answer:
                assert answer.status == 200
