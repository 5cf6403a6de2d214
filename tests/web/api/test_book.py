"""GET /orderbook and GET /api/proof, at the real server."""

import orjson

from tests.support.web import ask, on_server_loop, serving, view


@on_server_loop
async def test_orderbook_is_the_latest_view() -> None:
    """The same bytes as on the WebSocket, never cached."""
    async with serving() as web:
        web.publish(1)
        web.publish(2)
        status, body, headers = await ask(web, "/orderbook")

    assert (status, body) == (200, orjson.loads(view(2)))
    assert headers["Cache-Control"] == "no-store"


@on_server_loop
async def test_orderbook_of_another_symbol() -> None:
    """?symbol= selects among the symbols that run."""
    async with serving() as web:
        web.publish(5, "ETHUSDT")
        _, body, _ = await ask(web, "/orderbook?symbol=ETHUSDT")

    assert body["symbol"] == "ETHUSDT"


@on_server_loop
async def test_orderbook_before_the_first_view_is_unavailable() -> None:
    """The answer says so and when to ask again."""
    async with serving() as web:
        status, body, headers = await ask(web, "/orderbook")

    assert (status, headers["Retry-After"]) == (503, "1")
    assert body["detail"] == "There is no view of BTCUSDT yet."


@on_server_loop
async def test_orderbook_of_an_unknown_symbol_is_not_found() -> None:
    """The answer lists valid symbols."""
    async with serving() as web:
        status, body, headers = await ask(web, "/orderbook?symbol=DOGEUSDT")

    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert (body["parameter"], body["allowed"]) == ("symbol", ["BTCUSDT", "ETHUSDT"])


@on_server_loop
async def test_certificates_are_served() -> None:
    """/api/proof returns all of them, /api/proof/{symbol} one, and an unknown symbol is a 404 with valid ones."""
    async with serving() as web:
        _, every, _ = await ask(web, "/api/proof")
        status, one, _ = await ask(web, "/api/proof/BTCUSDT")
        unknown, problem, _ = await ask(web, "/api/proof/NOPE")

    assert (status, one["state"]) == (200, "offline")
    assert every["BTCUSDT"] == one
    assert (unknown, problem["parameter"]) == (404, "symbol")
