"""Who may open a WebSocket."""

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from pulse.web.admission import BURST_S, ClientLimit, RateLimiter, client_address, origin_is_allowed
from pulse.web.api.openapi import document
from tests.support.makers import ManualClock
from tests.support.web import SETTINGS, Web, ask, on_server_loop, serving


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
def test_our_own_page_a_friend_and_a_bot_are_allowed(origin: str | None, host: str) -> None:
    """The same host, an origin allowed by name, and no origin at all may connect."""
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
def test_other_pages_are_not_allowed(origin: str, host: str) -> None:
    """A page of another site, or one that hides where it is from, may not connect."""
    assert not origin_is_allowed(origin, host, ["https://friend.example"])


def test_a_star_allows_every_page() -> None:
    """Whoever runs the server may open it to all."""
    assert origin_is_allowed("null", "pulse.example", ["*"])


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
def test_a_client_is_counted_by_what_our_proxies_saw(
    peer: str | None, forwarded_for: list[str], hops: int, expected: str
) -> None:
    """The address is the one that the outermost trusted proxy saw; what the client wrote itself changes nothing."""
    assert client_address(peer, forwarded_for, hops) == expected


def test_the_gate_counts_in_all_and_by_address() -> None:
    """It is full when either bound is reached, and open again when someone leaves."""
    gate = ClientLimit(clients_max=3, per_address_max=2)
    for address in ("a", "a", "b"):
        gate.enter(address)
    was_full, was_full_for = gate.is_full(), gate.is_full_for("a")
    gate.leave("a")

    assert was_full
    assert was_full_for
    assert not gate.is_full()
    assert not gate.is_full_for("a")


def test_the_gate_forgets_who_left() -> None:
    """The number of addresses seen over time costs nothing."""
    gate = ClientLimit(10, 10)
    gate.enter("a")
    gate.leave("a")

    assert gate.count == 0
    assert not gate._by_address


def test_so_many_at_once_and_then_at_the_rate() -> None:
    """After a pause a whole burst; then each at its time and not before. Who is refused is told how long to wait."""
    allowance = RateLimiter(per_s=2, burst=4, keys_max=10)
    burst = [allowance.acquire("a", 100.0) for _ in range(4)]
    refused = [allowance.acquire("a", 100.0), allowance.acquire("a", 100.25)]
    later = [allowance.acquire("a", now_s) for now_s in (100.5, 100.5, 101.0)]

    assert burst == [0.0] * 4
    assert refused == pytest.approx([0.5, 0.25])
    assert later == pytest.approx([0.0, 0.5, 0.0])


def test_in_the_long_run_the_rate_is_kept() -> None:
    """Whoever asks ten times as often as it may is served as often as it may."""
    allowance = RateLimiter(per_s=2, burst=4, keys_max=10)
    served = sum(allowance.acquire("a", tick / 20) == 0.0 for tick in range(20 * 100))

    assert served == pytest.approx(2 * 100 + 4, abs=1)


def test_each_key_has_its_own_allowance() -> None:
    """One that asks too often costs nobody else anything."""
    allowance = RateLimiter(per_s=1, burst=1, keys_max=10)
    first = [allowance.acquire("a", 0.0) for _ in range(2)]

    assert first[1] > 0
    assert allowance.acquire("b", 0.0) == 0.0


def test_no_more_keys_are_kept_than_are_allowed() -> None:
    """Those served longest ago are forgotten, so that addresses without number cost nothing."""
    allowance = RateLimiter(per_s=1, burst=2, keys_max=2)
    for key in ("a", "b", "a", "c"):
        allowance.acquire(key, 0.0)

    assert list(allowance._full_at_s) == ["a", "c"]


@pytest.mark.parametrize("now_s", [0.1, 12_345.678, 999_999.9])
def test_a_burst_is_whole_whatever_the_clock_says(now_s: float) -> None:
    """Sums of twentieths of a second are not exact, and the last of a hundred is not refused for it."""
    allowance = RateLimiter(per_s=20, burst=100, keys_max=10)
    waits_s = [allowance.acquire("a", now_s) for _ in range(101)]

    assert waits_s[:100] == [0.0] * 100
    assert waits_s[100] == pytest.approx(0.05)


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
        refused = web.admission.refused

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
