"""The routes, asked as clients ask: the real app under the real server."""

import logging
from dataclasses import replace

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.makers import MINUTE_MS, candle
from tests.support.web import SETTINGS, ask, on_server_loop, serving, view

# --- /orderbook


@on_server_loop
async def test_the_book_is_the_latest_picture() -> None:
    """The same bytes as on the feed, never kept by a cache."""
    async with serving() as web:
        web.publish(1)
        web.publish(2)
        status, body, headers = await ask(web, "/orderbook")

    assert (status, body) == (200, orjson.loads(view(2)))
    assert headers["Cache-Control"] == "no-store"


@on_server_loop
async def test_the_book_of_another_symbol() -> None:
    """?symbol= chooses among those that are followed."""
    async with serving() as web:
        web.publish(5, "ETHUSDT")
        _, body, _ = await ask(web, "/orderbook?symbol=ETHUSDT")

    assert body["symbol"] == "ETHUSDT"


@on_server_loop
async def test_before_the_first_picture_there_is_none() -> None:
    """The answer says so and when to ask again."""
    async with serving() as web:
        status, body, headers = await ask(web, "/orderbook")

    assert (status, headers["Retry-After"]) == (503, "1")
    assert body["detail"] == "There is no view of BTCUSDT yet."


@on_server_loop
async def test_the_book_of_an_unknown_symbol_is_not_found() -> None:
    """The answer names the symbols there are."""
    async with serving() as web:
        status, body, headers = await ask(web, "/orderbook?symbol=DOGEUSDT")

    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert (body["parameter"], body["allowed"]) == ("symbol", ["BTCUSDT", "ETHUSDT"])


# --- /api


@on_server_loop
async def test_word_of_the_store() -> None:
    """The page learns whether candles are stored, with a status that a browser does not call an error."""
    trouble = {"kind": "sqlite", "ok": False, "detail": "the disk is full", "pending": 3}
    async with serving(readiness={"ready": False, "store": trouble}) as web:
        status, body, _ = await ask(web, "/api/store")

    assert (status, body) == (200, trouble)


@pytest.mark.parametrize("path", ["/api/ohlcv", "/api/gaps"])
@on_server_loop
async def test_a_store_that_is_away_is_told_without_its_secrets(path: str) -> None:
    """503, when to ask again, and nothing of the store's own words."""
    async with serving() as web:
        web.store.is_unavailable = True
        status, body, headers = await ask(web, path)

    assert (status, headers["Retry-After"]) == (503, "5")
    assert "/secret" not in str(body)


@on_server_loop
async def test_a_long_answer_is_compressed() -> None:
    """From a kilobyte on, for who can read it; a short one is not."""
    async with serving() as web:
        await web.store.write_candles([candle(minute * MINUTE_MS) for minute in range(100)])
        _, rows, long = await ask(web, "/api/ohlcv", **{"Accept-Encoding": "gzip"})
        _, _, short = await ask(web, "/api/symbols", **{"Accept-Encoding": "gzip"})
        _, _, plain = await ask(web, "/api/ohlcv", **{"Accept-Encoding": "identity"})

    assert len(rows) == 100
    assert long["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in short
    assert "Content-Encoding" not in plain


@on_server_loop
async def test_the_symbols_are_what_the_catalogue_says() -> None:
    """The object is passed on as it is given."""
    async with serving() as web:
        status, body, _ = await ask(web, "/api/symbols")

    assert status == 200
    assert body["default"] == "BTCUSDT"
    assert [symbol["symbol"] for symbol in body["symbols"]] == ["BTCUSDT", "ETHUSDT"]


# --- how the process is doing


@on_server_loop
async def test_health_is_the_process_alone() -> None:
    """It is well while it answers, whatever it depends on."""
    async with serving(readiness={"ready": False}) as web:
        web.store.is_unavailable = True
        status, body, _ = await ask(web, "/healthz")

    assert (status, body) == (200, {"status": "ok"})


@pytest.mark.parametrize(("ready", "expected"), [(True, 200), (False, 503)])
@on_server_loop
async def test_readiness_is_what_the_parts_say(ready: bool, expected: int) -> None:
    """The whole report, under a status that a load balancer understands."""
    async with serving(readiness={"ready": ready, "feeds": {}}) as web:
        status, body, _ = await ask(web, "/readyz")

    assert (status, body) == (expected, {"ready": ready, "feeds": {}})


@on_server_loop
async def test_the_counters_can_be_scraped() -> None:
    """/metrics is Prometheus' text format."""
    async with serving() as web:
        status, body, headers = await ask(web, "/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert list(text_string_to_metric_families(body.decode()))


# --- errors and other sites


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/nothing", 404), ("POST", "/orderbook", 405), ("DELETE", "/api/ohlcv", 405), ("PUT", "/", 405)],
)
@on_server_loop
async def test_wrong_requests_are_problems_too(method: str, path: str, expected: int) -> None:
    """An unknown path and a wrong method are told in the same shape."""
    async with serving() as web:
        status, body, headers = await ask(web, path, method)

    assert (status, body["status"]) == (expected, expected)
    assert headers["Content-Type"] == "application/problem+json"


@on_server_loop
async def test_what_nobody_foresaw_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500 without details; the exception is in the log."""
    async with serving(readiness={"no": "such key"}) as web:
        with caplog.at_level(logging.ERROR, "hypercorn.error"):
            status, body, headers = await ask(web, "/readyz")

    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert "KeyError" not in str(body)
    assert any(record.exc_info and record.exc_info[0] is KeyError for record in caplog.records)


@on_server_loop
async def test_allowed_sites_may_read_the_answers() -> None:
    """CORS names the origin that asked, for answers and errors alike; others get no such header."""
    async with serving(replace(SETTINGS, allowed_origins=("https://friend.example",))) as web:
        _, _, friend = await ask(web, "/api/symbols", Origin="https://friend.example")
        _, _, error = await ask(web, "/api/ohlcv?limit=x", Origin="https://friend.example")
        _, _, other = await ask(web, "/api/symbols", Origin="https://evil.example")

    assert friend["Access-Control-Allow-Origin"] == "https://friend.example"
    assert error["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "Access-Control-Allow-Origin" not in other


@on_server_loop
async def test_without_allowed_sites_there_is_no_cors() -> None:
    """Nothing is opened by default."""
    async with serving() as web:
        _, _, headers = await ask(web, "/api/symbols", Origin="https://friend.example")

    assert not [name for name in headers if name.startswith("Access-Control")]


@on_server_loop
async def test_each_book_s_certificate_is_served() -> None:
    """/api/proof gives all of them, /api/proof/{symbol} one, and an unknown symbol is a problem that names those."""
    async with serving() as web:
        _, every, _ = await ask(web, "/api/proof")
        status, one, _ = await ask(web, "/api/proof/BTCUSDT")
        unknown, problem, _ = await ask(web, "/api/proof/NOPE")

    assert (status, one["state"]) == (200, "offline")
    assert every["BTCUSDT"] == one
    assert (unknown, problem["parameter"]) == (404, "symbol")


@on_server_loop
async def test_the_ledger_of_delays_is_served() -> None:
    """Each hop by its name, none of them measured yet."""
    async with serving() as web:
        status, report, _ = await ask(web, "/api/latency")

    assert status == 200
    assert [row["hop"] for row in report["hops"]] == ["exchange", "applied", "published", "bus", "socket", "echo"]
    assert report["over_budget"] == []
