"""Admission: origins, client addresses, connection limits, the rate limit."""

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from pulse.web.admission import BURST_S, client_address, origin_is_allowed
from pulse.web.api.openapi import document
from tests.support.makers import ManualClock
from tests.support.web import SETTINGS, Web, ask, on_server_loop, serving
from tests.support.websockets import UPGRADE_HEADERS, raw_socket, read_to_end


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "pulse.example"),
        ("https://pulse.example", "pulse.example"),
        ("https://pulse.example", "pulse.example:443"),
        ("http://pulse.example", "PULSE.example:80"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://friend.example", "pulse.example"),
    ],
)
def test_own_page_allowed_origin_and_bot_may_connect(origin: str | None, host: str) -> None:
    """The same host, an origin in the list, and a client without an Origin."""
    assert origin_is_allowed(origin, host, ["https://friend.example"])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "pulse.example"),
        ("https://pulse.example.evil.example", "pulse.example"),
        ("https://pulse.example:8443", "pulse.example"),
        ("http://friend.example", "pulse.example"),
        ("null", "pulse.example"),
        ("", ""),
        ("https://", ""),
        ("file://pulse.example", "pulse.example"),
        ("https://pulse.example:x", "pulse.example:x"),
        ("https://evil.example", "user@evil.example:x"),
    ],
)
def test_other_pages_may_not_connect(origin: str, host: str) -> None:
    """A page of another site, or one with an opaque origin."""
    assert not origin_is_allowed(origin, host, ["https://friend.example"])


def test_star_allows_every_origin() -> None:
    """The operator may open the server to all pages."""
    assert origin_is_allowed("null", "pulse.example", ["*"])


@pytest.mark.proves("forged-address")
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "hops", "expected"),
    [
        ("192.0.2.1", ["203.0.113.9"], 0, "192.0.2.1"),
        ("192.0.2.1", ["6.6.6.6, 203.0.113.9"], 1, "203.0.113.9"),
        ("192.0.2.1", ["6.6.6.6, 203.0.113.9, 198.51.100.2"], 2, "203.0.113.9"),
        ("192.0.2.1", ["6.6.6.6", "203.0.113.9"], 1, "203.0.113.9"),
        ("192.0.2.1", ["203.0.113.9:4711"], 1, "203.0.113.9"),
        ("192.0.2.1", ["203.0.113.9"], 2, "192.0.2.1"),
        ("192.0.2.1", [], 1, "192.0.2.1"),
        ("192.0.2.1", ["not an address"], 1, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], 0, "2001:db8:1:2::/64"),
        ("192.0.2.1", ["[2001:db8:1:2::7]:443"], 1, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        (None, [], 0, "unknown"),
        ("", ["unix:"], 1, "unknown"),
    ],
)
def test_client_key_is_the_address_our_proxies_saw(
    peer: str | None, forwarded_for: list[str], hops: int, expected: str
) -> None:
    """The address that the outermost trusted proxy saw; entries set by the client have no effect."""
    assert client_address(peer, forwarded_for, hops) == expected


ONE_A_S = replace(SETTINGS, requests_per_address_s=1)
LIMITED_PATHS = [
    path.format(symbol="BTCUSDT", metric="mid_price")
    for path in document(SETTINGS.symbols)["paths"]
    if path not in ("/healthz", "/sse")
]


async def use_up(web: Web, **headers: str) -> None:
    """Send a whole burst of requests."""
    for _ in range(BURST_S):
        status, _, _ = await ask(web, "/api/symbols", **headers)
        assert status == 200


@pytest.mark.proves("many-requests")
@pytest.mark.parametrize("path", LIMITED_PATHS)
@on_server_loop
async def test_request_beyond_the_rate_gets_retry_after(path: str) -> None:
    """429 with the same kind of body as every error; after that time requests are served again."""
    clock = ManualClock()
    async with serving(ONE_A_S, clock=lambda: clock.now_ms() / 1000) as web:
        await use_up(web)
        status, body, headers = await ask(web, path)
        clock.at_ms += 1000.0
        later, _, _ = await ask(web, path)

    assert (status, headers["Retry-After"], headers["Content-Type"]) == (429, "1", "application/problem+json")
    assert body["detail"] == "More than 1 requests a second came from your address."
    assert later != 429


@pytest.mark.proves("many-requests")
@on_server_loop
async def test_a_connection_ends_with_its_first_request_beyond_the_rate() -> None:
    """Of pipelined requests the first that is refused is the last that is answered: the others cost nothing."""
    async with serving(ONE_A_S, clock=lambda: 0.0) as web:
        client = await raw_socket(web.port)
        request = b"GET /api/symbols HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(client, request * (BURST_S + 10))
        answers = await read_to_end(client)
        client.close()

    assert [answers.count(b"HTTP/1.1 200 "), answers.count(b"HTTP/1.1 429 ")] == [BURST_S, 1]
    assert answers.lower().count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("path", ["/ws", "/ws/orderbook", "/sse?topics=book.BTCUSDT"])
@on_server_loop
async def test_connecting_counts_as_a_request(path: str) -> None:
    """Beyond the rate a client is refused before the upgrade, and counted as refused."""
    async with serving(ONE_A_S, clock=lambda: 0.0) as web:
        await use_up(web)
        status, _, headers = await ask(web, path, **{} if path.startswith("/sse") else UPGRADE_HEADERS)
        refused = web.admission.refused

    assert (status, headers["Retry-After"], refused) == (429, "1", 1)


@on_server_loop
async def test_page_and_health_check_have_no_rate_limit() -> None:
    """A platform checks every second, and a page has thirty files."""
    async with serving(ONE_A_S, clock=lambda: 0.0, static_dir=Path(__file__).parents[2] / "static") as web:
        await use_up(web)
        statuses = [(await ask(web, path))[0] for path in ("/healthz", "/", "/app.js") for _ in range(2 * BURST_S)]

    assert set(statuses) == {200}


@on_server_loop
async def test_clients_behind_a_proxy_have_their_own_rates() -> None:
    """The key is the address that the trusted proxy saw."""
    async with serving(replace(ONE_A_S, trusted_hops=1), clock=lambda: 0.0) as web:
        await use_up(web, **{"X-Forwarded-For": "203.0.113.1"})
        first, _, _ = await ask(web, "/api/symbols", **{"X-Forwarded-For": "6.6.6.6, 203.0.113.1"})
        second, _, _ = await ask(web, "/api/symbols", **{"X-Forwarded-For": "6.6.6.6, 203.0.113.2"})

    assert (first, second) == (429, 200)


@on_server_loop
async def test_zero_turns_the_rate_limit_off() -> None:
    """Then no request is refused."""
    async with serving(SETTINGS) as web, aiohttp.ClientSession() as client:
        for _ in range(200):
            async with client.get(web.url + "/api/symbols") as answer:
                assert answer.status == 200
