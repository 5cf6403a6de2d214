"""GET /api/gaps at the real server; the stores' own tests prove that gaps are kept and found."""

import pytest

from pulse.market.types import TradeGap
from tests.support.web import ask, on_server_loop, serving

GAP = TradeGap("BTCUSDT", 90, 99, 1_723_161_300_000, 1_723_161_300_250, 1_723_161_306_000)
END_OF_TIME_MS = 253_402_300_799_999


@on_server_loop
async def test_gap_has_ids_and_times() -> None:
    """The missing ids, the times of the trades around them, and when it was recorded; of one symbol."""
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
async def test_range_and_limit_reach_the_store() -> None:
    """Without bounds the range is all of time."""
    async with serving() as web:
        await ask(web, "/api/gaps")
        await ask(web, "/api/gaps?symbol=ETHUSDT&start=2024-08-08T23:55&end=1723161360&limit=7")
        asked = web.store.asked

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
async def test_wrong_parameter_is_named(query: str, parameter: str) -> None:
    """As on every route."""
    async with serving() as web:
        status, problem, _ = await ask(web, f"/api/gaps?{query}")

    assert (status, problem["parameter"]) == (400, parameter)
