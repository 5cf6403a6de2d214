"""GET /api/gaps at the real server; that the stores keep and find gaps is told by their contract."""

import pytest

from pulse.market.types import TradeGap
from tests.support.web import ask, on_server_loop, serving

GAP = TradeGap("BTCUSDT", 90, 99, 1_723_161_300_000, 1_723_161_300_250, 1_723_161_306_000)
END_OF_TIME_MS = 253_402_300_799_999


@on_server_loop
async def test_a_gap_is_told_with_its_ids_and_times() -> None:
    """What is missing, the times of the trades around it, and when it was given up; of the symbol asked for alone."""
    async with serving() as web:
        await web.store.write_gaps([GAP])
        status, found, headers = await ask(web, "/api/gaps")
        _, others, _ = await ask(web, "/api/gaps?symbol=ethusdt")

    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert found == [
        {
            "symbol": "BTCUSDT", "first_trade_id": 90, "last_trade_id": 99, "from": "2024-08-08T23:55:00+00:00",
            "to": "2024-08-08T23:55:00.250000+00:00", "noted": "2024-08-08T23:55:06+00:00",
        }
    ]  # fmt: skip
    assert others == []


@on_server_loop
async def test_the_range_and_the_limit_reach_the_store() -> None:
    """Without bounds all of time is asked for."""
    async with serving() as web:
        await ask(web, "/api/gaps")
        await ask(web, "/api/gaps?symbol=ETHUSDT&start=2024-08-08T23:55&end=1723161360&limit=7")
        asked = web.store.reads

    assert asked == [
        ("BTCUSDT", 0, END_OF_TIME_MS, 100), ("ETHUSDT", 1_723_161_300_000, 1_723_161_360_000, 7)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("symbol=NOPE", "symbol"),
        ("start=x", "start"),
        ("end=x", "end"),
        ("limit=1001", "limit"),
        ("start=2&end=1", "start"),
    ],
)
@on_server_loop
async def test_a_wrong_parameter_is_named(query: str, parameter: str) -> None:
    """As everywhere."""
    async with serving() as web:
        status, problem, _ = await ask(web, f"/api/gaps?{query}")

    assert (status, problem["parameter"]) == (400, parameter)
