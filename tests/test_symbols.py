"""Who is followed: what starts a symbol, what stops it, and what is refused."""

import pytest

from pulse.errors import TooManySymbols, UnknownListing
from pulse.symbols import IDLE_AFTER_S, SPARED_S, SymbolRegistry


class House:
    """A registry of two pinned symbols with room for two more, its clock, and what it has done."""

    def __init__(self, most: int = 4) -> None:
        self.now_s = 0.0
        self.heard: set[str] = set()
        self.done: list[str] = []
        self.registry = SymbolRegistry(
            ("BTCUSDT", "ETHUSDT"), most=most, is_heard=lambda symbol: symbol in self.heard, clock=lambda: self.now_s
        )
        self.registry.list_all(["ADAUSDT", "BTCUSDT", "DOGEUSDT", "XRPUSDT"])
        self.registry.on_start = lambda symbol: self.done.append(f"+{symbol}")
        self.registry.on_stop = lambda symbol: self.done.append(f"-{symbol}")

    def ask(self, symbol: str, at_s: float = 0.0) -> None:
        """Somebody asks at this time."""
        self.now_s = at_s
        self.registry.ask(symbol)

    def sweep(self, at_s: float) -> None:
        """It is looked through at this time."""
        self.now_s = at_s
        self.registry.sweep()


def test_a_listed_symbol_is_started_once() -> None:
    """Whoever asks again finds it running."""
    house = House()
    house.ask("DOGEUSDT")
    house.ask("DOGEUSDT")
    house.ask("BTCUSDT")

    assert house.done == ["+DOGEUSDT"]
    assert list(house.registry) == ["BTCUSDT", "ETHUSDT", "DOGEUSDT"]
    assert house.registry.is_followed("DOGEUSDT")


def test_what_is_not_listed_is_refused() -> None:
    """And nothing is done."""
    house = House()

    with pytest.raises(UnknownListing):
        house.ask("NOSUCHUSDT")
    assert house.done == []
    assert "NOSUCHUSDT" not in house.registry


def test_before_the_listing_is_known_the_pinned_ones_are_there() -> None:
    """A page can open while the exchange is away."""
    registry = SymbolRegistry(("BTCUSDT",), most=10)

    assert registry.listed == ("BTCUSDT",)
    assert registry.default == "BTCUSDT"
    registry.ask("BTCUSDT")


def test_an_idle_symbol_is_stopped() -> None:
    """Nobody listens and nobody has asked for so long."""
    house = House()
    house.ask("DOGEUSDT")
    house.sweep(IDLE_AFTER_S - 1)
    before = list(house.done)
    house.sweep(IDLE_AFTER_S)

    assert before == ["+DOGEUSDT"]
    assert house.done == ["+DOGEUSDT", "-DOGEUSDT"]
    assert "DOGEUSDT" in house.registry


def test_one_that_somebody_listens_to_goes_on() -> None:
    """Its time begins when the last listener was there."""
    house = House()
    house.ask("DOGEUSDT")
    house.heard.add("DOGEUSDT")
    house.sweep(10 * IDLE_AFTER_S)
    house.heard.clear()
    house.sweep(11 * IDLE_AFTER_S - 1)
    before = list(house.done)
    house.sweep(11 * IDLE_AFTER_S)

    assert before == ["+DOGEUSDT"]
    assert house.done[-1] == "-DOGEUSDT"


def test_a_pinned_symbol_is_never_stopped() -> None:
    """Whoever looks."""
    house = House()
    house.sweep(100 * IDLE_AFTER_S)

    assert house.done == []


def test_without_room_it_is_said() -> None:
    """Those that are being looked at are not stopped, nor those asked for a moment ago."""
    house = House()
    house.ask("DOGEUSDT")
    house.ask("XRPUSDT")
    house.heard.add("XRPUSDT")

    with pytest.raises(TooManySymbols, match="4 symbols"):
        house.ask("ADAUSDT", SPARED_S - 1)
    assert house.done == ["+DOGEUSDT", "+XRPUSDT"]


def test_an_idle_symbol_makes_room() -> None:
    """The one that was asked for longest ago."""
    house = House()
    house.ask("DOGEUSDT", 0.0)
    house.ask("XRPUSDT", 1.0)
    house.ask("ADAUSDT", SPARED_S + 1)

    assert house.done == ["+DOGEUSDT", "+XRPUSDT", "-DOGEUSDT", "+ADAUSDT"]


def test_where_no_more_may_run_nothing_else_is_listed() -> None:
    """A bound of as many as are pinned, as in a replay, turns it off."""
    house = House(most=0)

    assert house.registry.listed == ("BTCUSDT", "ETHUSDT")
    with pytest.raises(UnknownListing):
        house.ask("DOGEUSDT")


def test_a_symbol_that_was_delisted_goes_on_until_nobody_looks() -> None:
    """The exchange's list changes while it is followed."""
    house = House()
    house.ask("DOGEUSDT")
    house.registry.list_all(["BTCUSDT"])
    house.ask("DOGEUSDT", 1.0)
    house.sweep(1.0 + IDLE_AFTER_S)

    assert house.done == ["+DOGEUSDT", "-DOGEUSDT"]
    assert "DOGEUSDT" not in house.registry
