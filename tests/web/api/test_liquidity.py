"""GET /orderbook?group= and GET /api/cost, at the real server, whose engine is played by the test."""

import asyncio
from typing import Any

import pytest

from pulse.market.liquidity import Interest
from pulse.wire import encode_view, liquidity_channel
from tests.support.market import liquidity_of
from tests.support.waiting import until
from tests.support.web import Web, ask, on_server_loop, serving


async def make_what_is_watched(web: Web) -> None:
    """Publish what is watched of BTCUSDT, as its engine does, for as long as anything is."""
    seq = 0
    while True:
        await until(lambda: bool(web.hub.interest("BTCUSDT")))
        made = liquidity_of(web.hub.interest("BTCUSDT"))
        seq += 1
        made.seq = seq
        web.hub.publish(liquidity_channel("BTCUSDT"), encode_view(made))
        await asyncio.sleep(0.01)


async def answered(path: str) -> tuple[int, Any]:
    """Return the answer of a server with an engine."""
    async with serving() as web:
        engine = asyncio.create_task(make_what_is_watched(web))
        try:
            status, body, _ = await ask(web, path)
        finally:
            engine.cancel()
        assert web.hub.interest("BTCUSDT") == Interest()
    return status, body


@on_server_loop
async def test_groups_are_made_for_the_request() -> None:
    """The message of the topic, with as many rows as were asked for."""
    status, body = await answered("/orderbook?group=2&rows=20")

    assert (status, body["topic"], body["ladder"]["step"]) == (200, "ladder.BTCUSDT.2", 0.02)
    assert body["ladder"]["bids"]["rows"] == [[100.0, 5.0, 500.0, 0.0, 0.0], [99.98, 5.0, 499.93, 0.0, 0.0]]


@pytest.mark.parametrize("query", ["group=auto", "rows=10", "group=auto&rows=100"])
@on_server_loop
async def test_automatic_groups_fit_the_rows(query: str) -> None:
    """A book of three levels a side fills no rows, so all of them are shown."""
    status, body = await answered(f"/orderbook?{query}")

    assert (status, body["ladder"]["multiple"]) == (200, 1)


@on_server_loop
async def test_cost_is_made_for_the_request() -> None:
    """500.13 buy five."""
    status, body = await answered("/api/cost?notional=500.13&symbol=BTCUSDT")

    assert (status, body["topic"]) == (200, "cost.BTCUSDT.500.13")
    assert body["cost"]["buy"]["quantity"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("/orderbook?group=3", 400, "group"),
        ("/orderbook?group=2&rows=30", 400, "rows"),
        ("/orderbook?group=2&group=5", 400, "group"),
        ("/orderbook?group=2&symbol=NOPE", 404, "symbol"),
        ("/api/cost", 400, "notional"),
        ("/api/cost?notional=1e3", 400, "notional"),
        ("/api/cost?notional=10&symbol=NOPE", 404, "symbol"),
    ],
)
@on_server_loop
async def test_wrong_parameter_is_named(path: str, status: int, parameter: str) -> None:
    """With what is allowed."""
    given, body = await answered(path)

    assert (given, body["parameter"]) == (status, parameter)
    assert body["allowed"]


@pytest.mark.parametrize("path", ["/orderbook?group=10", "/api/cost?notional=10"])
@on_server_loop
async def test_without_an_engine_it_is_unavailable(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says when to ask again."""
    monkeypatch.setattr("pulse.fanout.topic_reader.read_topic.__defaults__", (0.05,))
    async with serving() as web:
        status, body, headers = await ask(web, path)

    assert (status, headers["Retry-After"]) == (503, "1")
    assert body["detail"] == "There is no view of BTCUSDT yet."
