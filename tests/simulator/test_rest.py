"""The REST side over real HTTP: bodies, errors, weights and faults."""

from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout

from pulse.simulator.faults import cross_depth
from pulse.simulator.server import SimulatedExchange
from tests.support.simulator import MINUTE_MS, SMALL, START_MS, get

MISSING, ILLEGAL, INTERVAL, SYMBOL, LIMIT, COMBINATION = -1102, -1100, -1120, -1121, -1130, -1128


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("depth", MISSING),
        ("depth?symbol=", MISSING),
        ("depth?symbol=NOSUCH", SYMBOL),
        ("depth?symbol=linkusdt", SYMBOL),
        (f"depth?symbol={SMALL}&limit=ten", ILLEGAL),
        (f"depth?symbol={SMALL}&limit=0", LIMIT),
        (f"klines?symbol={SMALL}", MISSING),
        (f"klines?symbol={SMALL}&interval=7m", INTERVAL),
        (f"aggTrades?symbol={SMALL}&fromId=1&startTime=1", COMBINATION),
        ("exchangeInfo?symbol=NOSUCH", SYMBOL),
        ("exchangeInfo?symbols=[1", ILLEGAL),
        (f"exchangeInfo?symbol={SMALL}&symbols=[]", COMBINATION),
    ],
)
async def test_wrong_parameters_get_the_exchanges_errors(
    exchange: SimulatedExchange, session: ClientSession, query: str, code: int
) -> None:
    """Status 400 and a body with the exchange's code and a message."""
    status, body = await get(session, f"{exchange.rest_url}/api/v3/{query}")

    assert (status, body["code"]) == (400, code)
    assert body["msg"]


async def test_every_documented_path_answers(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Each view returns as many rows as requested."""
    api = f"{exchange.rest_url}/api/v3"
    answers: dict[str, Any] = {}
    for path in ("depth", "aggTrades", "trades"):
        answers[path] = (await get(session, f"{api}/{path}?symbol={SMALL}&limit=7"))[1]
    _, klines = await get(session, f"{api}/klines?symbol={SMALL}&interval=1m&limit=7")

    assert await get(session, f"{api}/ping") == (200, {})
    assert (await get(session, f"{api}/time"))[1]["serverTime"] >= START_MS
    assert (len(answers["depth"]["bids"]), len(answers["aggTrades"]), len(answers["trades"])) == (7, 7, 7)
    assert len(klines) == 7


async def test_exchange_info_lists_the_requested_symbols(exchange: SimulatedExchange, session: ClientSession) -> None:
    """All symbols, one, or a list; a change of status is visible at once."""
    url = f"{exchange.rest_url}/api/v3/exchangeInfo"
    exchange.core.set_status(SMALL, "BREAK")
    asked = [(await get(session, url + query))[1] for query in ("", f"?symbol={SMALL}", f'?symbols=["{SMALL}"]')]

    assert [[(row["symbol"], row["status"]) for row in body["symbols"]] for body in asked] == [[(SMALL, "BREAK")]] * 3


async def test_day_of_all_symbols_or_of_one(exchange: SimulatedExchange, session: ClientSession) -> None:
    """A list, or an object, with the trades of the last 24 hours."""
    url = f"{exchange.rest_url}/api/v3/ticker/24hr"
    _, rows = await get(session, url)
    _, row = await get(session, f"{url}?symbol={SMALL}")

    assert [each["symbol"] for each in rows] == [SMALL]
    assert row["symbol"] == SMALL
    assert row["closeTime"] - row["openTime"] == 86_400_000
    assert row["count"] == row["lastId"] - row["firstId"] + 1
    assert (await get(session, f"{url}?symbol=NOSUCH"))[1]["code"] == SYMBOL


async def test_weights_are_counted_in_the_headers(exchange: SimulatedExchange, session: ClientSession) -> None:
    """Every answer states what its minute has used so far."""
    used = []
    for query in (
        "ping", f"depth?symbol={SMALL}&limit=1000", "exchangeInfo", "ticker/24hr", f"ticker/24hr?symbol={SMALL}",
    ):  # fmt: skip
        async with session.get(f"{exchange.rest_url}/api/v3/{query}") as response:
            used.append(int(response.headers["X-MBX-USED-WEIGHT-1M"]))

    assert used == [1, 11, 21, 61, 62]


async def test_beyond_the_weight_comes_429_then_418(session: ClientSession) -> None:
    """Refusals carry Retry-After and the exchange's code; continuing leads to a ban that names its end."""
    async with SimulatedExchange((SMALL,), start_ms=START_MS, weight_per_minute=2) as exchange:
        answers = []
        for _ in range(8):
            async with session.get(f"{exchange.rest_url}/api/v3/ping") as response:
                answers.append((response.status, response.headers.get("Retry-After"), await response.json()))

    assert [status for status, _, _ in answers] == [200, 200, 429, 429, 429, 429, 429, 418]
    assert answers[2][1] is not None
    assert int(answers[2][1]) <= 60
    assert answers[-1][2]["code"] == -1003
    assert "banned until 17900" in answers[-1][2]["msg"]


@pytest.mark.parametrize("status", [403, 418, 429, 451, 500])
async def test_status_can_be_forced(exchange: SimulatedExchange, session: ClientSession, status: int) -> None:
    """Once, with the exchange's own body, then the correct answer again."""
    exchange.faults.rest.answer("/api/v3/depth", status, retry_after_s=9, count=1)
    url = f"{exchange.rest_url}/api/v3/depth?symbol={SMALL}"
    async with session.get(url) as response:
        seen = (response.status, response.headers["Retry-After"], sorted(await response.json()))

    assert seen == (status, "9", ["code", "msg"])
    assert (await get(session, url))[0] == 200


async def test_html_page_of_a_proxy_can_be_served(exchange: SimulatedExchange, session: ClientSession) -> None:
    """HTML with a 502, as during maintenance."""
    exchange.faults.rest.html("/api/*")
    async with session.get(f"{exchange.rest_url}/api/v3/time") as response:
        assert (response.status, response.content_type) == (502, "text/html")


async def test_answer_can_hang(exchange: SimulatedExchange, session: ClientSession) -> None:
    """The client's own timeout ends it; other paths are not affected."""
    exchange.faults.rest.hang("/api/v3/time", 30)

    with pytest.raises(TimeoutError):
        await session.get(f"{exchange.rest_url}/api/v3/time", timeout=ClientTimeout(total=0.1))
    assert (await get(session, f"{exchange.rest_url}/api/v3/ping"))[0] == 200


async def test_snapshots_can_lag_and_cross(exchange: SimulatedExchange, session: ClientSession) -> None:
    """An old book, and a crossed one, over the same path."""
    url = f"{exchange.rest_url}/api/v3/depth?symbol={SMALL}&limit=5"
    exchange.core.advance(START_MS + 30_000)
    now = exchange.core.book(SMALL).update_id
    exchange.faults.depth_lag_ms = 20_000
    _, old = await get(session, url)
    exchange.faults.clear()
    exchange.faults.rest.edit("/api/v3/depth", cross_depth)
    _, crossed = await get(session, url)

    assert old["lastUpdateId"] < now - 100
    assert float(crossed["bids"][0][0]) > float(crossed["asks"][0][0])


async def test_exact_book_can_be_read_from_another_process(exchange: SimulatedExchange, session: ClientSession) -> None:
    """The book at an id, 404 for an unknown one, candles and time; all without faults and weights."""
    exchange.faults.rest.answer("*", 500)
    book = f"{exchange.rest_url}/simulator/book?symbol={SMALL}"
    _, now = await get(session, book)
    status, then = await get(session, f"{book}&update_id={now['updateId']}&limit=3")
    unknown, _ = await get(session, f"{book}&update_id=1")
    klines_url = f"{exchange.rest_url}/simulator/klines?symbol={SMALL}"
    _, klines = await get(session, klines_url)
    _, since = await get(session, f"{klines_url}&startTime={klines[-5][0]}&limit=3")
    _, clock = await get(session, f"{exchange.rest_url}/simulator/time")

    assert since == klines[-5:-2]
    assert clock["serverTime"] >= klines[-1][0]
    assert (status, then["bids"], then["asks"]) == (200, now["bids"][:3], now["asks"][:3])
    assert unknown == 404
    assert klines[-1][0] - klines[0][0] == (len(klines) - 1) * MINUTE_MS


async def test_requests_are_recorded(exchange: SimulatedExchange, session: ClientSession) -> None:
    """A test can count the requests of a client."""
    await get(session, f"{exchange.rest_url}/api/v3/depth?symbol={SMALL}&limit=5")
    request = exchange.rest.requests[-1]

    assert (request.path, request.query, request.status) == ("/api/v3/depth", f"symbol={SMALL}&limit=5", 200)
