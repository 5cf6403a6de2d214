"""Polling the instruments of a simulated exchange on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import aiohttp
import pytest

from pulse.binance.answers import InstrumentRows
from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.errors import ExchangeRefused, SettingsError
from pulse.ingest.instruments import DELISTED, LISTING_EVERY_S, PENDING, InstrumentPoller
from pulse.market.types import Instrument
from pulse.simulator.server import SimulatedExchange
from tests.support.market import instrument
from tests.support.virtual_time import at, now_s, run
from tests.support.waiting import until

EXCHANGE_INFO = "/api/v3/exchangeInfo"
PRICES = "/api/v3/ticker/price"


async def never_listed(_: str) -> bool:
    """Stand for a store without candles."""
    return False


class Setup:
    """An exchange, and what a poller of it reports."""

    def __init__(self, exchange: SimulatedExchange, session: aiohttp.ClientSession) -> None:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        self.exchange = exchange
        self.rest = BinanceRest(
            AiohttpTransport(session), venue, SystemClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )
        self.changes: list[Instrument] = []
        self.listings: list[list[str]] = []

    def poller(self, *pinned: str, stored: str = "", may_fall_back: bool = False) -> InstrumentPoller:
        """Return a poller of these symbols, of which one may have stored candles."""

        async def was_listed(symbol: str) -> bool:
            return symbol == stored

        return InstrumentPoller(
            pinned, self.rest, on_change=self._on_change, was_listed=was_listed, on_listing=self._on_listing,
            may_fall_back=may_fall_back,
        )  # fmt: skip

    async def _on_change(self, instrument: Instrument) -> None:
        self.changes.append(instrument)

    def _on_listing(self, names: Iterable[str]) -> None:
        self.listings.append(list(names))


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Run an exchange of two quiet symbols."""
    async with SimulatedExchange(["LINKUSDT", "LTCUSDT"]) as exchange, aiohttp.ClientSession() as session:
        yield Setup(exchange, session)


async def test_each_instrument_is_reported_once_and_again_when_it_changes(setup: Setup) -> None:
    """An unchanged instrument is not reported; a changed status is."""
    poller = setup.poller("LINKUSDT")
    await poller.load()
    await poller.load()
    setup.exchange.core.set_status("LINKUSDT", "HALT")
    await poller.load()

    assert [instrument.status for instrument in setup.changes] == ["TRADING", "HALT"]


async def test_unknown_pinned_symbol_is_an_error_of_the_settings(setup: Setup) -> None:
    """Where none is listed; the text names the symbols, the setting and the venue."""
    with pytest.raises(SettingsError, match=r"PULSE_SYMBOLS names NOPE, NADA, which Binance\.US does not list"):
        await setup.poller("NOPE", "NADA").load()


async def test_pinned_symbols_that_were_listed_once_are_no_error(setup: Setup) -> None:
    """Where candles of one are stored, all of them are shown as delisted."""
    poller = setup.poller("GONEUSDT", "NADA", stored="GONEUSDT")
    await poller.load()

    assert {instrument.symbol: instrument.status for instrument in setup.changes} == {
        "GONEUSDT": DELISTED, "NADA": DELISTED,
    }  # fmt: skip
    assert poller.trouble == ""


async def test_delisted_pinned_symbol_does_not_keep_others_from_starting(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported as delisted, with a warning; a later poll that finds it listed reports it as it is."""
    setup.exchange.faults.rest.edit(EXCHANGE_INFO, without("LTCUSDT"), count=1)
    poller = setup.poller("LTCUSDT", "LINKUSDT")
    await poller.load()

    assert {instrument.symbol: instrument.status for instrument in setup.changes} == {
        "LTCUSDT": DELISTED, "LINKUSDT": "TRADING",
    }  # fmt: skip
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "instrument symbol=LTCUSDT status=DELISTED"
    ]
    await poller.load()
    assert (setup.changes[-1].symbol, setup.changes[-1].status) == ("LTCUSDT", "TRADING")


def without(symbol: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return an edit of an answer that leaves out a symbol."""
    return lambda body: {**body, "symbols": [row for row in body["symbols"] if row["symbol"] != symbol]}


async def test_symbol_that_disappears_is_reported_as_delisted(setup: Setup) -> None:
    """It was known before, so it is no error of the settings."""
    poller = setup.poller("LINKUSDT")
    await poller.load()
    setup.exchange.faults.rest.edit(EXCHANGE_INFO, lambda body: {**body, "symbols": []})
    await poller.load()

    assert setup.changes[-1].status == DELISTED


async def test_unreachable_exchange_is_left_to_a_later_poll(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """The start goes on, and the same failure is logged once."""
    setup.exchange.faults.rest.answer(EXCHANGE_INFO, 500)
    poller = setup.poller("LINKUSDT")
    await poller.load()
    await poller.load()

    assert poller.instruments == {}
    assert poller.trouble.startswith("Binance.US answered HTTP 500")
    assert caplog.text.count("instruments not loaded") == 1


async def test_trouble_lasts_until_a_poll_succeeds(setup: Setup) -> None:
    """Before the first answer it says that none has come."""
    poller = setup.poller("LINKUSDT")
    assert poller.trouble == PENDING
    await poller.load()
    assert poller.trouble == ""


async def test_refusal_is_raised_only_where_another_venue_may_be_tried(setup: Setup) -> None:
    """Without a fallback it is a failure like any other."""
    setup.exchange.faults.rest.answer(EXCHANGE_INFO, 451)
    await setup.poller("LINKUSDT").load()

    with pytest.raises(ExchangeRefused):
        await setup.poller("LINKUSDT", may_fall_back=True).load()


async def test_names_of_all_listed_symbols_are_reported(setup: Setup) -> None:
    """They come with the first complete poll, whichever symbols are open, and not with each one after it."""
    poller = setup.poller("LINKUSDT")
    await poller.load()
    await poller.load()

    assert setup.listings == [["LINKUSDT", "LTCUSDT"]]


def test_changed_status_is_noticed_within_a_minute() -> None:
    """Whenever it changes; the names of all symbols are fetched again after LISTING_EVERY_S."""

    class Rest:
        """Lists one symbol that is halted from `halted_s` on."""

        venue = venue_of("us")
        listings_s: ClassVar[list[float]] = []

        def __init__(self, halted_s: float) -> None:
            self.halted_s = halted_s

        async def instruments(self, symbols: Sequence[str]) -> InstrumentRows:
            """Answer late, as an exchange under load does."""
            status = "HALT" if now_s() >= self.halted_s else "TRADING"
            await asyncio.sleep(5.0)
            return InstrumentRows({symbol: replace(instrument(status), symbol=symbol) for symbol in symbols}, {})

        async def listed_symbols(self) -> list[str]:
            """Answer at once."""
            self.listings_s.append(now_s())
            return ["LINKUSDT"]

    async def noticed_s(halted_s: float, run_s: float) -> float:
        times_s: list[float] = []

        async def on_change(changed: Instrument) -> None:
            times_s.append(now_s())

        rest = Rest(halted_s)
        poller = InstrumentPoller(
            ["LINKUSDT"], cast(BinanceRest, rest), on_change=on_change, was_listed=never_listed,
            on_listing=lambda names: None,
        )  # fmt: skip
        await poller.load()
        task = asyncio.create_task(poller.run())
        await at(run_s)
        task.cancel()
        return times_s[-1]

    for halted_s in (10.0, 56.0, 59.0, 100.0):
        assert run(noticed_s(halted_s, 200.0)) - halted_s <= 60.0
    Rest.listings_s.clear()
    run(noticed_s(10.0, 2.5 * LISTING_EVERY_S))
    assert len(Rest.listings_s) == 3


async def test_listing_is_not_fetched_where_it_is_not_wanted(setup: Setup) -> None:
    """Without `on_listing` its weight is not spent."""
    await InstrumentPoller(["LINKUSDT"], setup.rest, on_change=setup._on_change, was_listed=never_listed).load()

    assert PRICES not in {request.path for request in setup.exchange.rest.requests}


async def test_opened_symbol_is_polled_at_once(setup: Setup) -> None:
    """Its instrument is reported without a wait for the next regular poll."""
    poller = setup.poller("LINKUSDT")
    await poller.load()
    task = asyncio.create_task(poller.run())
    poller.open("LTCUSDT")
    await until(lambda: len(setup.changes) == 2)
    task.cancel()

    assert setup.changes[-1].symbol == "LTCUSDT"
    assert list(poller.instruments) == ["LINKUSDT", "LTCUSDT"]


async def test_closed_symbol_is_forgotten(setup: Setup) -> None:
    """It is polled no more, also where it is closed while the exchange answers."""
    poller = setup.poller("LINKUSDT")
    poller.open("LTCUSDT")
    setup.exchange.faults.rest.hang(EXCHANGE_INFO, 0.1, count=1)
    poll = asyncio.create_task(poller.load())
    await asyncio.sleep(0.02)
    poller.close("LTCUSDT")
    await poll
    await poller.load()

    assert [instrument.symbol for instrument in setup.changes] == ["LINKUSDT"]
    assert list(poller.instruments) == ["LINKUSDT"]


def test_malformed_instrument_is_its_own_symbols_matter(caplog: pytest.LogCaptureFixture) -> None:
    """What was known of it remains, it is not taken for delisted, and each change is logged once."""
    fault = ("expected a string, got 1", "expected a string, got 1", "expected a string, got 2", "")

    class Rest:
        """Answers with one good row and one that is malformed in turn."""

        venue = venue_of("us")

        def __init__(self) -> None:
            self.faults = ["", *fault]

        async def instruments(self, symbols: Sequence[str]) -> InstrumentRows:
            """Return both rows."""
            now = self.faults.pop(0)
            found = {symbol: replace(instrument("TRADING"), symbol=symbol) for symbol in symbols}
            if now:
                del found["ETHUSDT"]
            return InstrumentRows(found, {"ETHUSDT": now} if now else {})

    changes: list[Instrument] = []

    async def on_change(changed: Instrument) -> None:
        changes.append(changed)

    async def scenario() -> InstrumentPoller:
        poller = InstrumentPoller(
            ["LINKUSDT", "ETHUSDT"], cast(BinanceRest, Rest()), on_change=on_change, was_listed=never_listed
        )
        for _ in range(5):
            await poller.load()
        return poller

    with caplog.at_level(logging.INFO):
        poller = run(scenario())

    assert (poller.trouble, [change.symbol for change in changes]) == ("", ["LINKUSDT", "ETHUSDT"])
    assert [record.getMessage() for record in caplog.records if "instrument symbol" not in record.getMessage()] == [
        f"instrument quarantined symbol=ETHUSDT reason={fault[0]}",
        f"instrument quarantined symbol=ETHUSDT reason={fault[2]}",
        "instrument is right again symbol=ETHUSDT",
    ]
