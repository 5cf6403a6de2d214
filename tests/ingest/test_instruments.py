"""What the exchange lists, asked of a real exchange on loopback."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from pulse.binance.rate_limit import BanFile
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.errors import ExchangeRefused, SettingsError
from pulse.ingest.instruments import DELISTED, InstrumentPoller
from pulse.market.types import Instrument
from pulse.simulator.server import SimulatedExchange
from pulse.symbols import SymbolRegistry

EXCHANGE_INFO = "/api/v3/exchangeInfo"


class Bench:
    """An exchange, what it lists, and what the catalogue told."""

    def __init__(self, exchange: SimulatedExchange, session: aiohttp.ClientSession) -> None:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        self.exchange = exchange
        self.rest = BinanceRest(AiohttpTransport(session), venue, SystemClock(), BanFile(None), lambda _: False)
        self.told: list[Instrument] = []

    def catalogue(self, *symbols: str, may_fall_back: bool = False) -> InstrumentPoller:
        """A catalogue of these symbols."""
        return InstrumentPoller(SymbolRegistry(symbols), self.rest, self._tell, may_fall_back)

    async def _tell(self, instrument: Instrument) -> None:
        self.told.append(instrument)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An exchange of one quiet symbol."""
    async with SimulatedExchange(["LINKUSDT"]) as exchange, aiohttp.ClientSession() as session:
        yield Bench(exchange, session)


async def test_each_instrument_is_told_once_and_again_when_it_changes(bench: Bench) -> None:
    """An unchanged listing is no news; a changed status is."""
    catalogue = bench.catalogue("LINKUSDT")
    await catalogue.open()
    await catalogue.open()
    bench.exchange.core.set_status("LINKUSDT", "HALT")
    await catalogue.open()

    assert [instrument.status for instrument in bench.told] == ["TRADING", "HALT"]


async def test_an_unknown_symbol_is_a_fault_of_the_settings(bench: Bench) -> None:
    """The sentence names it, the setting and the venue."""
    with pytest.raises(SettingsError, match=r"PULSE_SYMBOLS names NOPE, which Binance\.US does not list"):
        await bench.catalogue("LINKUSDT", "NOPE").open()


async def test_a_symbol_that_disappears_is_called_delisted(bench: Bench) -> None:
    """It was known, so it is news of the market, not a fault."""
    catalogue = bench.catalogue("LINKUSDT")
    await catalogue.open()
    bench.exchange.faults.rest.edit(EXCHANGE_INFO, lambda body: {**body, "symbols": []})
    await catalogue.open()

    assert bench.told[-1].status == DELISTED


async def test_an_exchange_that_is_away_is_left_for_later(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The start goes on, and lasting trouble is logged once."""
    bench.exchange.faults.rest.answer(EXCHANGE_INFO, 500)
    catalogue = bench.catalogue("LINKUSDT")
    await catalogue.open()
    await catalogue.open()

    assert catalogue.instruments == {}
    assert caplog.text.count("did not list its symbols") == 1


async def test_a_refusal_is_passed_on_only_where_another_venue_may_be_tried(bench: Bench) -> None:
    """Without a fallback it is trouble like any other."""
    bench.exchange.faults.rest.answer(EXCHANGE_INFO, 451)
    await bench.catalogue("LINKUSDT").open()

    with pytest.raises(ExchangeRefused):
        await bench.catalogue("LINKUSDT", may_fall_back=True).open()
