"""What is answered about the process: built from an engine in memory, the rest as it is."""

import asyncio
from dataclasses import dataclass

import pytest

from pulse.bus.contract import BusHealth
from pulse.bus.memory import MemoryBus
from pulse.candle_history.writer import CandleWriter
from pulse.clock import SystemClock
from pulse.engine import Engine
from pulse.latency import Latency
from pulse.market.market import Market, Origin
from pulse.market.types import Instrument
from pulse.queues import ConflatingQueue, make_candle_queue, make_inbox
from pulse.symbols import SymbolRegistry
from pulse.web.api.status import DESCRIBED, ReadinessReport, SymbolsReport
from tests.support.stores import MemoryStore

HALTED = Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.00001, 2, 5)


@dataclass
class AwayBus(MemoryBus):
    """A bus that is as it is told to be."""

    ok: bool = True

    def health(self) -> BusHealth:
        """As told."""
        return BusHealth("redis", self.ok, "" if self.ok else "Redis does not answer.")


def engine_of(*symbols: str) -> Engine:
    """An engine with these markets, the first of them halted, the others not connected."""
    markets = [
        Market(symbol, Origin("00", "exchange", "us"), levels_max=100, trades_kept=1, stale_after_ms=5000)
        for symbol in symbols
    ]
    markets[0].apply(HALTED, 0.0)
    return Engine(
        markets, make_inbox(), ConflatingQueue(), asyncio.Queue(1), SystemClock(), Latency("00"),
        publish_interval_s=0.1, ask_snapshot=lambda *_: None, note_gap=lambda _: None,
    )  # fmt: skip


def readiness(registry: SymbolRegistry, engine: Engine, *, bus_ok: bool = True, trouble: str = "") -> ReadinessReport:
    """The answer of a process in this state."""
    store = MemoryStore()
    writer = CandleWriter(make_candle_queue(), store)
    writer._store_trouble = trouble
    return ReadinessReport(registry, engine, AwayBus(ok=bus_ok), store, writer)


def test_the_catalogue_tells_of_the_followed_and_names_the_listed() -> None:
    """An instrument that is not known yet has nulls."""
    registry = SymbolRegistry(["BTCUSDT", "ETHUSDT"], most=5)
    registry.list_all(["BTCUSDT", "DOGEUSDT"])
    history = {"BTCUSDT": {"minutes": 5, "of": 10}}
    followed = SymbolsReport(
        "us", "exchange", registry, engine_of("BTCUSDT", "ETHUSDT"), {"BTCUSDT": HALTED}, lambda: history
    )
    answer = followed()

    assert (answer["default"], answer["venue"], answer["source"]) == ("BTCUSDT", "us", "exchange")
    assert answer["listed"] == ("BTCUSDT", "ETHUSDT", "DOGEUSDT")
    first, second = answer["symbols"]
    assert (first["symbol"], first["state"], first["history"]) == ("BTCUSDT", "halted", history["BTCUSDT"])
    assert (first["tick_size"], first["base_asset"]) == (0.01, "BTC")
    assert (second["state"], second["history"]) == ("offline", None)
    assert all(second[name] is None for name in DESCRIBED)


def test_what_viewers_asked_for_has_no_say_in_readiness() -> None:
    """A book that is only being joined must not take a healthy server out of service."""
    engine = engine_of("BTCUSDT", "DOGEUSDT")
    answer = readiness(SymbolRegistry(["BTCUSDT"]), engine)()

    assert answer["ready"]
    assert answer["feeds"]["DOGEUSDT"]["state"] == "offline"


@pytest.mark.parametrize(
    ("pinned", "bus_ok", "trouble"),
    [(["BTCUSDT", "ETHUSDT"], True, ""), (["BTCUSDT"], False, ""), (["BTCUSDT"], True, "the disk is full")],
)
def test_each_part_that_is_not_well_is_said(pinned: list[str], bus_ok: bool, trouble: str) -> None:
    """A feed, the bus, the store."""
    answer = readiness(SymbolRegistry(pinned), engine_of("BTCUSDT", "ETHUSDT"), bus_ok=bus_ok, trouble=trouble)()

    assert not answer["ready"]
    assert answer["bus"]["ok"] is bus_ok
    assert (answer["store"]["ok"], answer["store"]["detail"]) == (not trouble, trouble)
