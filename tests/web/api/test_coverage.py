"""GET /api/coverage at the real server; what is right is proven by the tests of the meter and of `market/coverage`."""

from dataclasses import replace

import pytest

from pulse.market.coverage import DAY_MS, DayCoverage, Hole
from tests.support.makers import MIDNIGHT_MS, ManualClock
from tests.support.web import SETTINGS, ask, on_server_loop, serving

YESTERDAY_MS = MIDNIGHT_MS - DAY_MS


@on_server_loop
async def test_days_of_a_symbol() -> None:
    """The newest first, as many as asked for, with the holes that are stored."""
    hole = Hole(YESTERDAY_MS + 3_600_000, YESTERDAY_MS + 3_661_000, "offline", "cut")
    async with serving() as web:
        await web.store.write_coverage([DayCoverage("BTCUSDT", YESTERDAY_MS, YESTERDAY_MS, MIDNIGHT_MS, (hole,))])
        status, body, _ = await ask(web, "/api/coverage?symbol=btcusdt&days=2")
        _, other, _ = await ask(web, "/api/coverage?symbol=ETHUSDT")

    assert status == 200
    assert (body["symbol"], [day["day"] for day in body["days"]]) == ("BTCUSDT", ["2024-08-09", "2024-08-08"])
    assert body["days"][1]["book"] == {
        "share": pytest.approx(1 - 61 / 86_400),
        "holes": [{"from": "2024-08-08T01:00:00+00:00", "to": "2024-08-08T01:01:01+00:00", "cause": "offline",
                   "reason": "cut"}],
    }  # fmt: skip
    assert body["days"][1]["candles"]["missing_minutes"] == 1440
    assert (other["symbol"], len(other["days"])) == ("ETHUSDT", 1)


@pytest.mark.parametrize("query", ["days=0", "days=8", "days=x", "symbol=NOPE", "days=1&days=2"])
@on_server_loop
async def test_wrong_parameter_is_named(query: str) -> None:
    """With 400, and what is allowed."""
    async with serving() as web:
        status, problem, _ = await ask(web, f"/api/coverage?{query}")

    assert status == 400
    assert problem["parameter"] in query


@on_server_loop
async def test_days_count_as_the_candles_that_are_read() -> None:
    """An address that asks for a week again and again is refused as one that asks for a week's minutes is."""
    clock = ManualClock()
    settings = replace(SETTINGS, requests_per_address_s=20)
    async with serving(settings=settings, clock=lambda: clock.now_ms() / 1000) as web:
        statuses = [(await ask(web, "/api/coverage?days=7"))[0] for _ in range(4)]
        clock.at_ms += 10_000.0
        statuses.append((await ask(web, "/api/coverage?days=1"))[0])

    assert statuses == [200, 200, 200, 429, 200]


@on_server_loop
async def test_unavailable_store_is_503() -> None:
    """As for every route that reads it."""
    async with serving() as web:
        web.store.is_unavailable = True
        status, _, _ = await ask(web, "/api/coverage")

    assert status == 503
