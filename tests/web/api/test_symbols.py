"""GET /api/symbols."""

from pulse.market.types import Instrument
from pulse.symbols import SymbolRegistry
from pulse.web.api.symbols import INSTRUMENT_FIELDS, SymbolsReport
from tests.support.web import HALTED, ask, engine_of, on_server_loop, serving


def test_report_describes_running_and_names_listed_symbols() -> None:
    """An instrument that the exchange has not described yet has nulls."""
    registry = SymbolRegistry(["BTCUSDT", "ETHUSDT"], running_max=5)
    registry.set_listed(["BTCUSDT", "DOGEUSDT"])
    history = {"BTCUSDT": {"minutes": 5, "of": 10}}
    instruments: dict[str, Instrument] = {"BTCUSDT": HALTED}
    report = SymbolsReport(
        "us", "exchange", registry, engine_of("BTCUSDT", "ETHUSDT").states, instruments, lambda: history
    )
    answer = report()

    assert (answer["default"], answer["venue"], answer["source"]) == ("BTCUSDT", "us", "exchange")
    assert answer["listed"] == ("BTCUSDT", "ETHUSDT", "DOGEUSDT")
    first, second = answer["symbols"]
    assert (first["symbol"], first["state"], first["history"]) == ("BTCUSDT", "halted", history["BTCUSDT"])
    assert (first["tick_size"], first["base_asset"]) == (0.01, "BTC")
    assert (second["state"], second["history"]) == ("offline", None)
    assert all(second[name] is None for name in INSTRUMENT_FIELDS)


@on_server_loop
async def test_report_is_served() -> None:
    """The object is served unchanged."""
    async with serving() as web:
        status, body, _ = await ask(web, "/api/symbols")

    assert status == 200
    assert body["default"] == "BTCUSDT"
    assert [symbol["symbol"] for symbol in body["symbols"]] == ["BTCUSDT", "ETHUSDT"]
