"""All routes together: errors, compression, CORS, as clients see them at the real server."""

import logging
from dataclasses import replace

import pytest

from tests.support.makers import MINUTE_MS, candle
from tests.support.web import SETTINGS, ask, on_server_loop, serving


@pytest.mark.proves("details")
@pytest.mark.parametrize("path", ["/api/ohlcv", "/api/gaps"])
@on_server_loop
async def test_unavailable_store_hides_its_reason(path: str) -> None:
    """503, when to ask again, and nothing of the store's own error text."""
    async with serving() as web:
        web.store.is_unavailable = True
        status, body, headers = await ask(web, path)

    assert (status, headers["Retry-After"]) == (503, "5")
    assert "/secret" not in str(body)


@on_server_loop
async def test_long_answer_is_compressed() -> None:
    """From a kilobyte on, for clients that accept gzip; a short answer is not."""
    async with serving() as web:
        await web.store.write_candles([candle(minute * MINUTE_MS) for minute in range(100)])
        _, rows, long = await ask(web, "/api/ohlcv", **{"Accept-Encoding": "gzip"})
        _, _, short = await ask(web, "/api/symbols", **{"Accept-Encoding": "gzip"})
        _, _, plain = await ask(web, "/api/ohlcv", **{"Accept-Encoding": "identity"})

    assert len(rows) == 100
    assert long["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in short
    assert "Content-Encoding" not in plain


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/nothing", 404), ("POST", "/orderbook", 405), ("DELETE", "/api/ohlcv", 405), ("PUT", "/", 405)],
)
@on_server_loop
async def test_unknown_path_and_wrong_method_are_problems(method: str, path: str, expected: int) -> None:
    """The framework's own errors have the same shape as ours."""
    async with serving() as web:
        status, body, headers = await ask(web, path, method)

    assert (status, body["status"]) == (expected, expected)
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.proves("details")
@on_server_loop
async def test_unforeseen_exception_is_logged_and_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500 without details; the exception is in the log."""
    async with serving(readiness={"no": "such key"}) as web:
        with caplog.at_level(logging.ERROR, "hypercorn.error"):
            status, body, headers = await ask(web, "/readyz")

    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert "KeyError" not in str(body)
    assert any(record.exc_info and record.exc_info[0] is KeyError for record in caplog.records)


@pytest.mark.proves("cors")
@on_server_loop
async def test_allowed_origin_may_read_answers() -> None:
    """CORS names the requesting origin, for answers and errors alike; other origins get no such header."""
    async with serving(replace(SETTINGS, allowed_origins=("https://friend.example",))) as web:
        _, _, friend = await ask(web, "/api/symbols", Origin="https://friend.example")
        _, _, error = await ask(web, "/api/ohlcv?limit=x", Origin="https://friend.example")
        _, _, other = await ask(web, "/api/symbols", Origin="https://evil.example")

    assert friend["Access-Control-Allow-Origin"] == "https://friend.example"
    assert error["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "Access-Control-Allow-Origin" not in other


@pytest.mark.proves("cors")
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz", "/"])
@on_server_loop
async def test_only_the_api_is_shared_with_other_sites(path: str) -> None:
    """Whatever origins are allowed: the state of the process is no data for other pages."""
    async with serving(replace(SETTINGS, allowed_origins=("*",))) as web:
        _, _, headers = await ask(web, path, Origin="https://friend.example")

    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.proves("cors")
@on_server_loop
async def test_without_allowed_origins_there_is_no_cors() -> None:
    """No other site is allowed by default."""
    async with serving() as web:
        _, _, headers = await ask(web, "/api/symbols", Origin="https://friend.example")

    assert not [name for name in headers if name.startswith("Access-Control")]
