"""Accepted hosts: which Host headers name this server, and what a request for any other gets from the real server."""

import logging
from dataclasses import replace

import pytest

from pulse.settings import Settings
from pulse.web.hosts import accepted_names, accepts, host_of
from tests.support.web import SETTINGS, ask, on_server_loop, serving
from tests.support.websockets import raw_websocket

NAMES = accepted_names(
    Settings(host="bound.lan", hosts=("terminal.example.com", "*.example.org"), platform_host="app.onrender.com")
)
STRANGER = "rebound.attacker.example"
PATHS = (
    "/", "/app.js", "/nothing", "/readyz", "/metrics", "/orderbook", "/api/symbols", "/api/ohlcv", "/openapi.json",
    "/sse?topics=book.BTCUSDT",
)  # fmt: skip


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("example.com", "example.com"), ("EXAMPLE.com.:80", "example.com"), ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"), ("[::1]", "::1"), ("example.com:", "example.com"),
        ("", None), (":80", None), ("a b", None), ("user@host", None), ("::1", None), ("[::1", None), ("a:b", None),
        ("a/b", None), ("\u00e9.example", None),
    ],
)  # fmt: skip
def test_the_host_of_a_header_is_read_without_its_port(authority: str, host: str | None) -> None:
    """In lower case and without the dot at its end; what has another form is none."""
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        "localhost", "localhost:8000", "pulse.localhost", "127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "[fe80::1]",
        "bound.lan:1", "terminal.example.com", "Terminal.Example.com:443", "a.example.org", "a.b.example.org",
        "app.onrender.com",
    ],
)  # fmt: skip
def test_addresses_and_known_names_are_accepted(authority: str) -> None:
    """Every literal address, localhost, the name listened on, the platform's, and those of the setting."""
    assert accepts(NAMES, authority)


@pytest.mark.parametrize(
    "authority",
    [
        "", STRANGER, "example.com", "a.terminal.example.com", "example.org", "badexample.org",
        "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "onrender.com",
        "b.onrender.com", "0x7f000001", "[localhost]",
    ],
)  # fmt: skip
def test_every_other_name_is_refused(authority: str) -> None:
    """Names above, below or beside an accepted one too, and a request that names none."""
    assert not accepts(NAMES, authority)


def test_a_star_accepts_any_name() -> None:
    """But no malformed header."""
    names = accepted_names(Settings(hosts=("*",)))

    assert accepts(names, STRANGER)
    assert not accepts(names, "user@host")


@pytest.mark.proves("rebinding")
@on_server_loop
async def test_a_strange_host_is_refused_before_every_handler(caplog: pytest.LogCaptureFixture) -> None:
    """421 on each path, with the setting's name in the text; one log line for all of them."""
    async with serving() as web:
        with caplog.at_level(logging.WARNING, "pulse.web.hosts"):
            answers = [await ask(web, path, Host=f"{STRANGER}:{web.port}") for path in PATHS]
        assert web.sessions.open_count == 0

    assert [status for status, _, _ in answers] == [421] * len(PATHS)
    assert all("PULSE_HOSTS" in body["detail"] and STRANGER in body["detail"] for _, body, _ in answers)
    assert all("Content-Security-Policy" in headers for _, _, headers in answers)
    assert [record.getMessage() for record in caplog.records] == [
        f"request refused, its host is not in PULSE_HOSTS host={STRANGER}:{web.port} times=1"
    ]


@on_server_loop
async def test_the_refusal_says_what_to_set() -> None:
    """The name as the setting takes it, without the port; a header that holds no name is told apart."""
    async with serving() as web:
        _, named, _ = await ask(web, "/", Host="Nas.lan:8000")
        _, malformed, _ = await ask(web, "/", Host="user@localhost")

    assert "set PULSE_HOSTS=nas.lan where it runs" in named["detail"]
    assert 'as in `Host: terminal.example.com`, not "user@localhost"' in malformed["detail"]


@pytest.mark.proves("rebinding")
@pytest.mark.parametrize("path", ["/ws", "/ws/orderbook", "/ws/nothing"])
@on_server_loop
async def test_a_websocket_of_a_rebound_page_is_refused(path: str) -> None:
    """Its Origin is that of its Host, so the check of origins alone would let it in."""
    async with serving() as web:
        host = f"{STRANGER}:{web.port}"
        client, head = await raw_websocket(web.port, path, Host=host, Origin=f"http://{host}")
        client.close()

    assert head.startswith("HTTP/1.1 421")


@pytest.mark.proves("rebinding")
@on_server_loop
async def test_a_health_check_may_have_any_host() -> None:
    """Load balancers address an instance by names of their own."""
    async with serving() as web:
        assert (await ask(web, "/healthz", Host="anything.internal"))[0] == 200
        assert (await ask(web, "/healthz/", Host="anything.internal"))[0] == 421


@on_server_loop
async def test_a_name_of_the_setting_is_served() -> None:
    """Over HTTP and WebSocket."""
    async with serving(replace(SETTINGS, hosts=("terminal.example.com",))) as web:
        status, _, _ = await ask(web, "/api/symbols", Host="terminal.example.com")
        client, head = await raw_websocket(web.port, "/ws", Host="terminal.example.com")
        client.close()

    assert status == 200
    assert head.startswith("HTTP/1.1 101")
