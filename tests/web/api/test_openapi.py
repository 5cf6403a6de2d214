"""The OpenAPI document against the live server: it has every route and no other, and real answers match it."""

import asyncio
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from pulse.web.admission import BURST_S
from pulse.web.api.openapi import document
from pulse.web.app import build_app
from pulse.wire import CANDLE_FIELDS
from tests.support.process import ROOT, Pulse
from tests.support.web import SETTINGS, ask, make_context, on_server_loop, serving

DOCUMENT = document(SETTINGS.symbols)
PROBLEM = "application/problem+json"
ASKED = {
    "/sse?topics=nothing.BTCUSDT": 400,
    "/api/symbols": 200,
    "/api/watchlist": 200,
    "/orderbook?group=10": 200,
    "/orderbook?group=3": 400,
    "/api/cost?notional=1000": 200,
    "/api/cost?notional=x": 400,
    "/api/explain/mid_price": 200,
    "/api/explain/nothing": 404,
    "/api/proof": 200,
    "/api/proof/BTCUSDT": 200,
    "/api/proof/NOPE": 404,
    "/orderbook": 200,
    "/orderbook?symbol=NOPE": 404,
    "/orderbook?at=1700000000000": 404,
    "/orderbook?at=soon": 400,
    "/api/ohlcv?interval=5m": 200,
    "/api/ohlcv?interval=5m&format=csv": 200,
    "/api/ohlcv?interval=5m&format=ndjson": 200,
    "/api/ohlcv?limit=NaN": 400,
    "/api/gaps": 200,
    "/api/gaps?start=x": 400,
    "/api/coverage?days=2": 200,
    "/api/coverage?days=8": 400,
    "/api/history": 200,
    "/api/history?days=8": 400,
    "/api/session": 200,
    "/api/store": 200,
    "/api/latency": 200,
    "/udf/config": 200,
    "/udf/symbols?symbol=BTCUSDT": 200,
    "/udf/symbols?symbol=NOPE": 404,
    "/udf/search?query=BTC": 200,
    "/udf/search?limit=x": 400,
    "/udf/history?symbol=BTCUSDT&resolution=5&from=0&to=4102444800": 200,
    "/udf/history?symbol=BTCUSDT&resolution=5&from=0&to=1": 200,
    "/udf/history?symbol=BTCUSDT&resolution=x": 400,
    "/udf/history?symbol=NOPE": 404,
    "/udf/time": 200,
    "/healthz": 200,
    "/readyz": 200,
    "/metrics": 200,
    "/openapi.json": 200,
    "/asyncapi.json": 200,
}
"""Requests to a terminal that is ready, and the status of each answer."""


def check(path: str, status: int, content_type: str, body: bytes) -> None:
    """Fail if an answer does not match the document."""
    place = next(place for place in candidates(path.partition("?")[0]) if place in DOCUMENT["paths"])
    media_type = content_type.partition(";")[0]
    answer = DOCUMENT["paths"][place]["get"]["responses"][str(status)]
    schema = {**answer["content"][media_type]["schema"], "components": DOCUMENT["components"]}
    value = orjson.loads(body) if media_type.endswith("/json") or media_type == PROBLEM else body.decode()
    Draft202012Validator(schema).validate(value)


def candidates(path: str) -> tuple[str, ...]:
    """Return a path and its possible templates."""
    folder = path.rpartition("/")[0]
    return path, folder + "/{symbol}", folder + "/{metric}"


def paths_of(routes: Iterable[BaseRoute], prefix: str = "") -> set[str]:
    """Return the paths of all routes; the page's files have none."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Mount):
            found |= paths_of(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            found.add(prefix + route.path)
    return found


@on_server_loop
async def test_document_has_every_route_and_no_other() -> None:
    """A new route without a description fails here."""
    app: Any = build_app(make_context())
    while not isinstance(app, Starlette):
        app = app._app  # a middleware's

    assert set(DOCUMENT["paths"]) == paths_of(app.routes)


def test_every_schema_is_valid_and_used() -> None:
    """By JSON Schema's own rules; every reference resolves."""
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    references = {word for word in orjson.dumps(DOCUMENT).decode().split('"') if word.startswith("#/")}

    assert references == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_candle_row_has_all_fields() -> None:
    """The same fields as in a row, in the same order."""
    assert tuple(DOCUMENT["components"]["schemas"]["CandleRow"]["properties"]) == CANDLE_FIELDS


async def test_real_answers_match_the_document(tmp_path: Path) -> None:
    """A terminal with a simulated exchange answers every path as described."""
    async with Pulse(tmp_path, "--demo") as pulse, aiohttp.ClientSession() as client:
        await pulse.until_live()
        await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["ready"])
        await pulse.until(lambda: pulse.get("/api/ohlcv"), lambda rows: len(rows) == 100)
        await pulse.until(lambda: pulse.get("/api/watchlist"), lambda answer: answer["rows"])
        for path, status in ASKED.items():
            async with client.get(pulse.url + path) as answer:
                assert (path, answer.status) == (path, status)
                check(path, status, answer.headers["Content-Type"], await answer.read())

    places = {place for path in ASKED for place in candidates(path.partition("?")[0])}
    assert set(DOCUMENT["paths"]) <= places


@pytest.mark.proves("schema")
async def test_requests_made_from_the_document_are_answered_as_it_says(tmp_path: Path) -> None:
    """Schemathesis: what the document allows is accepted, what it forbids is refused, every answer is described."""
    support = ROOT / "tests/support"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": str(support / "schemathesis_hooks.py"),
    }
    async with Pulse(tmp_path, "--demo") as pulse:
        await pulse.until_live()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", support / "schemathesis.toml",
            "run", f"{pulse.url}/openapi.json", "--checks", "all",
            cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        log = pulse.log.read_text()

    assert process.returncode == 0, output
    operations = sum(map(len, DOCUMENT["paths"].values()))
    assert f"Tested: {operations - 1}" in output  # all but that of the document itself
    assert "No issues found" in output
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/orderbook", 503),
        ("/readyz", 503),
        ("/api/ohlcv", 503),
        ("/udf/history?symbol=BTCUSDT&resolution=5&from=0&to=9", 503),
        ("/nothing", 404),
    ],
)
@on_server_loop
async def test_errors_match_the_document(path: str, status: int) -> None:
    """If a part is unavailable, the answer is the described error."""
    trouble = {
        "ready": False,
        "degraded": [],
        "feeds": {"BTCUSDT": {"state": "offline", "since_ms": 0, "reason": "", "data_age_ms": None, "streams": []}},
        "bus": {"kind": "memory", "ok": True, "detail": "", "since_ms": None},
        "store": {"kind": "sqlite", "ok": False, "detail": "the disk is full", "pending": 3, "since_ms": 1},
        "clock": {"ok": True, "since_ms": None, "detail": ""},
        "instruments": {"ok": True, "detail": ""},
        "history": {"kind": "off", "ok": True, "since_ms": None, "detail": "", "bytes": 0},
        "versions": {},
    }
    async with serving(readiness=trouble) as web:
        web.store.is_unavailable = True
        found, body, headers = await ask(web, path)

    assert found == status
    check("/orderbook?symbol=NOPE" if path == "/nothing" else path, status, headers["Content-Type"], orjson.dumps(body))


@on_server_loop
async def test_rate_limited_answer_matches_the_document() -> None:
    """Every path but the health check describes a 429."""
    described = {path for path, item in DOCUMENT["paths"].items() if "429" in item["get"]["responses"]}
    async with serving(replace(SETTINGS, requests_per_address_s=1), clock=lambda: 0.0) as web:
        for _ in range(BURST_S):
            await ask(web, "/api/symbols")
        status, body, headers = await ask(web, "/api/symbols")

    assert status == 429
    assert described == set(DOCUMENT["paths"]) - {"/healthz"}
    check("/api/symbols", status, headers["Content-Type"], orjson.dumps(body))


@on_server_loop
async def test_document_is_served() -> None:
    """The same that is tested here."""
    async with serving() as web:
        _, body, _ = await ask(web, "/openapi.json")

    assert body == orjson.loads(orjson.dumps(DOCUMENT))
