"""TradingView's UDF protocol as its library uses it, with the real app, the real server and a real store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pulse.market.intervals import Newest
from pulse.market.types import MINUTE_MS
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, minutes, running
from tests.support.makers import MIDNIGHT_MS
from tests.support.web import ALL_CLOSED, Web, ask, on_server_loop, serving

BEGIN_S = BEGIN_MS // 1000
SYMBOLS = {
    "default": "BTCUSDT",
    "venue": "com",
    "symbols": [
        {"symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "tick_size": 0.05, "price_decimals": 2,
         "quantity_decimals": 5},
        {"symbol": "ETHUSDT"},
    ],
}  # fmt: skip


@asynccontextmanager
async def serving_minutes(folder: Path, newest: Newest = ALL_CLOSED) -> AsyncIterator[Web]:
    """Serve the app with a store that has twelve minutes of BTCUSDT from 23:55 on."""
    store = SqliteStore(folder / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(12))
    async with serving(store=store, newest=newest, symbols=SYMBOLS) as web:
        yield web
    await store.aclose()


async def history(web: Web, **parameters: object) -> Any:
    """Return the answer of /udf/history, by default for the five-minute bars of BTCUSDT."""
    asked: dict[str, object] = {"symbol": "BTCUSDT", "resolution": "5", "from": 0, "to": 2 * BEGIN_S}
    return (await ask(web, "/udf/history?" + urlencode(asked | parameters)))[1]


@on_server_loop
async def test_configuration_lists_what_is_supported() -> None:
    """Symbols can be searched for and resolved one by one, in every interval."""
    async with serving(symbols=SYMBOLS) as web:
        _, body, _ = await ask(web, "/udf/config")

    assert (body["supports_search"], body["supports_group_request"], body["supports_time"]) == (True, False, True)
    assert body["supported_resolutions"][-4:] == ["720", "1D", "1W", "1M"]
    assert body["exchanges"] == [{"value": "BINANCE", "name": "BINANCE", "desc": "BINANCE"}]


@on_server_loop
async def test_time_is_whole_seconds() -> None:
    """As text."""
    async with serving() as web:
        _, body, headers = await ask(web, "/udf/time")

    assert (body, headers["Content-Type"]) == (str(MIDNIGHT_MS // 1000).encode(), "text/plain; charset=utf-8")


@pytest.mark.parametrize("asked", ["BTCUSDT", "BINANCE:BTCUSDT", "btcusdt"])
@on_server_loop
async def test_symbol_is_resolved(asked: str) -> None:
    """With or without its exchange; prices are multiples of minmov / pricescale."""
    async with serving(symbols=SYMBOLS) as web:
        _, body, _ = await ask(web, f"/udf/symbols?symbol={asked}")

    assert (body["name"], body["ticker"], body["description"]) == ("BTCUSDT", "BTCUSDT", "BTC / USDT")
    assert (body["minmov"], body["pricescale"], body["volume_precision"]) == (5, 100, 5)
    assert (body["session"], body["timezone"], body["type"]) == ("24x7", "Etc/UTC", "crypto")
    assert body["intraday_multipliers"][:3] == ["1", "3", "5"]


@on_server_loop
async def test_symbol_without_description_is_resolved() -> None:
    """It can be drawn before the exchange has described it."""
    async with serving(symbols=SYMBOLS) as web:
        _, body, _ = await ask(web, "/udf/symbols?symbol=ETHUSDT")

    assert (body["description"], body["minmov"], body["pricescale"]) == ("ETHUSDT", 1, 100)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("query=", ["BTCUSDT", "ETHUSDT"]),
        ("query=eth", ["ETHUSDT"]),
        ("query=USDT&limit=1", ["BTCUSDT"]),
        ("query=USDT&type=crypto&exchange=BINANCE", ["BTCUSDT", "ETHUSDT"]),
        ("query=USDT&type=stock", []),
        ("query=USDT&exchange=NYSE", []),
        ("query=%27%22%00", []),
    ],
)
@on_server_loop
async def test_search_finds_symbols(query: str, found: list[str]) -> None:
    """By a part of their name, on this exchange, up to the limit."""
    async with serving(symbols=SYMBOLS) as web:
        _, body, _ = await ask(web, f"/udf/search?{query}")

    assert [entry["symbol"] for entry in body] == found
    assert {entry["full_name"] for entry in body} == {f"BINANCE:{symbol}" for symbol in found}


@on_server_loop
async def test_history_has_columns_of_bars(tmp_path: Path) -> None:
    """Bars that open in [from, to), with times in seconds."""
    async with serving_minutes(tmp_path) as web:
        body = await history(web, **{"from": BEGIN_S, "to": BEGIN_S + 600})

    assert (body["s"], body["t"]) == ("ok", [BEGIN_S, BEGIN_S + 300])
    assert (body["c"], body["v"]) == ([104.0, 109.0], [0.00005, 0.00005])
    assert {len(body[name]) for name in "tohlcv"} == {2}


@on_server_loop
async def test_history_ends_with_the_running_bar(tmp_path: Path) -> None:
    """The last bar has the current price."""
    newest = Newest((running(12),), BEGIN_MS + 12 * MINUTE_MS)
    async with serving_minutes(tmp_path, newest) as web:
        body = await history(web)

    assert (body["t"][-1], body["c"][-1]) == (BEGIN_S + 600, running(12).close)


@pytest.mark.parametrize(("count", "opens"), [(1, [600]), (2, [300, 600]), (5000, [0, 300, 600])])
@on_server_loop
async def test_countback_overrides_from(tmp_path: Path, count: int, opens: list[int]) -> None:
    """So many bars before `to`."""
    async with serving_minutes(tmp_path) as web:
        body = await history(web, countback=count, **{"from": BEGIN_S + 600})

    assert [time - BEGIN_S for time in body["t"]] == opens


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"from": BEGIN_S + 900, "to": BEGIN_S + 1200}, {"s": "no_data", "nextTime": BEGIN_S + 600}),
        ({"from": -10, "to": BEGIN_S}, {"s": "no_data"}),
        ({"to": BEGIN_S, "countback": 3}, {"s": "no_data"}),
        ({"symbol": "ETHUSDT"}, {"s": "no_data"}),
    ],
)
@on_server_loop
async def test_range_without_bars_is_no_data(
    tmp_path: Path, asked: dict[str, object], expected: dict[str, object]
) -> None:
    """With the open time of the nearest bar before, if there is one."""
    async with serving_minutes(tmp_path) as web:
        assert await history(web, **asked) == expected


@on_server_loop
async def test_without_from_bars_begin_with_the_first(tmp_path: Path) -> None:
    """As with a `from` of 0."""
    async with serving_minutes(tmp_path) as web:
        _, body, _ = await ask(web, f"/udf/history?symbol=BTCUSDT&resolution=5&to={2 * BEGIN_S}")

        assert body == await history(web)
        assert body["s"] == "ok"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"symbol": "DOGEUSDT"}, "symbol must be one of BTCUSDT, ETHUSDT"),
        ({"symbol": "A" * 10_240}, "symbol must be"),
        ({"resolution": "7"}, "resolution must be one of 1, 3"),
        ({"resolution": "\uff15"}, "resolution must be"),
        ({"from": "NaN"}, "from must be whole seconds"),
        ({"from": ""}, "from must be whole seconds"),
        ({"to": ""}, "to must be whole seconds"),
        ({"to": "1e9"}, "to must be"),
        ({"countback": 0}, "countback must be"),
        ({"countback": 10**9}, "countback must be"),
    ],
)
@on_server_loop
async def test_error_has_the_udf_shape(tmp_path: Path, asked: dict[str, object], text: str) -> None:
    """A short sentence that names the parameter."""
    async with serving_minutes(tmp_path) as web:
        body = await history(web, **asked)

    assert body["s"] == "error"
    assert body["errmsg"].startswith(text)
    assert len(body["errmsg"]) < 250


@on_server_loop
async def test_unavailable_store_hides_its_reason() -> None:
    """An error without the store's own error text."""
    async with serving(symbols=SYMBOLS) as web:
        web.store.is_unavailable = True
        status, body, _ = await ask(web, "/udf/history?symbol=BTCUSDT&resolution=D&from=0&to=9")

    assert (status, body) == (503, {"s": "error", "errmsg": "The candle store cannot be reached."})
