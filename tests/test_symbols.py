"""The symbol registry: what opens a symbol, what closes it, and what is refused."""

import pytest

from pulse.errors import ListingPending, TooManySymbols, UnknownListing
from pulse.symbols import IDLE_AFTER_S, SPARED_S, SymbolRegistry


class Part:
    """A part of the process that records its lifecycle."""

    def __init__(self, name: str, record: list[str]) -> None:
        self.name = name
        self.record = record

    def open(self, symbol: str) -> None:
        """Record it."""
        self.record.append(f"{self.name} opens {symbol}")

    def close(self, symbol: str) -> None:
        """Record it."""
        self.record.append(f"{self.name} closes {symbol}")


class Registry:
    """A registry of two pinned symbols with room for two more, its clock, and what its one part was told since."""

    def __init__(self, running_max: int = 4) -> None:
        self.now_s = 0.0
        self.watched: set[str] = set()
        self.record: list[str] = []
        self.symbols = SymbolRegistry(
            ("BTCUSDT", "ETHUSDT"),
            running_max=running_max,
            parts=[Part("part", self.record)],
            is_watched=lambda symbol: symbol in self.watched,
            clock=lambda: self.now_s,
        )
        self.symbols.set_listed(["ADAUSDT", "BTCUSDT", "DOGEUSDT", "XRPUSDT"])
        self.record.clear()

    def acquire(self, symbol: str, at_s: float = 0.0) -> None:
        """Request a symbol at this time."""
        self.now_s = at_s
        self.symbols.acquire(symbol)

    def close_idle(self, at_s: float) -> None:
        """Close idle symbols at this time."""
        self.now_s = at_s
        self.symbols.close_idle()


def test_parts_open_in_order_and_close_in_reverse() -> None:
    """Pinned symbols are opened by the constructor; what was opened last is closed first."""
    record: list[str] = []
    now_s = 0.0
    symbols = SymbolRegistry(
        ["BTCUSDT"], running_max=2, parts=[Part("hub", record), Part("engine", record)], clock=lambda: now_s
    )
    symbols.set_listed(["DOGEUSDT"])
    symbols.acquire("DOGEUSDT")
    now_s = IDLE_AFTER_S
    symbols.close_idle()

    assert record == [
        "hub opens BTCUSDT", "engine opens BTCUSDT", "hub opens DOGEUSDT", "engine opens DOGEUSDT",
        "engine closes DOGEUSDT", "hub closes DOGEUSDT",
    ]  # fmt: skip


def test_a_symbol_is_neither_accepted_nor_refused_before_the_listing_is_known() -> None:
    """Pinned symbols run all the same; where no other may run there is nothing to wait for."""
    symbols = SymbolRegistry(["BTCUSDT"], running_max=2)
    symbols.acquire("BTCUSDT")
    with pytest.raises(ListingPending, match=r"Try again in 2 s\."):
        symbols.acquire("DOGEUSDT")
    assert not symbols.is_listing_known

    symbols.set_listed(["DOGEUSDT"])
    symbols.acquire("DOGEUSDT")
    assert symbols.is_listing_known
    with pytest.raises(UnknownListing):
        symbols.acquire("NOPE")
    with pytest.raises(UnknownListing):
        SymbolRegistry(["BTCUSDT"]).acquire("DOGEUSDT")


def test_a_requested_symbol_is_opened_once() -> None:
    """A second request finds it running."""
    registry = Registry()
    registry.acquire("DOGEUSDT")
    registry.acquire("DOGEUSDT")
    registry.acquire("BTCUSDT")

    assert registry.record == ["part opens DOGEUSDT"]
    assert list(registry.symbols) == ["BTCUSDT", "ETHUSDT", "DOGEUSDT"]
    assert registry.symbols.is_running("DOGEUSDT")


def test_an_unlisted_symbol_is_refused() -> None:
    """Nothing is opened for it."""
    registry = Registry()

    with pytest.raises(UnknownListing):
        registry.acquire("NOSUCHUSDT")
    assert registry.record == []
    assert "NOSUCHUSDT" not in registry.symbols


def test_pinned_symbols_may_be_requested_before_the_listing_is_known() -> None:
    """A page can open while the exchange is away."""
    symbols = SymbolRegistry(("BTCUSDT",), running_max=10)

    assert symbols.listed == ("BTCUSDT",)
    assert symbols.default == "BTCUSDT"
    symbols.acquire("BTCUSDT")


def test_an_idle_symbol_is_closed() -> None:
    """After IDLE_AFTER_S without a subscriber or a request; it may be requested again."""
    registry = Registry()
    registry.acquire("DOGEUSDT")
    registry.close_idle(IDLE_AFTER_S - 1)
    before = list(registry.record)
    registry.close_idle(IDLE_AFTER_S)

    assert before == ["part opens DOGEUSDT"]
    assert registry.record == ["part opens DOGEUSDT", "part closes DOGEUSDT"]
    assert "DOGEUSDT" in registry.symbols


def test_a_watched_symbol_goes_on() -> None:
    """Its idle time begins when the last subscriber was seen."""
    registry = Registry()
    registry.acquire("DOGEUSDT")
    registry.watched.add("DOGEUSDT")
    registry.close_idle(10 * IDLE_AFTER_S)
    registry.watched.clear()
    registry.close_idle(11 * IDLE_AFTER_S - 1)
    before = list(registry.record)
    registry.close_idle(11 * IDLE_AFTER_S)

    assert before == ["part opens DOGEUSDT"]
    assert registry.record[-1] == "part closes DOGEUSDT"


def test_a_pinned_symbol_is_never_closed() -> None:
    """It runs for as long as the process."""
    registry = Registry()
    registry.close_idle(100 * IDLE_AFTER_S)

    assert registry.record == []


def test_a_request_without_room_is_refused() -> None:
    """Watched symbols are not closed for it, nor those requested a moment ago."""
    registry = Registry()
    registry.acquire("DOGEUSDT")
    registry.acquire("XRPUSDT")
    registry.watched.add("XRPUSDT")

    with pytest.raises(TooManySymbols, match="4 symbols"):
        registry.acquire("ADAUSDT", SPARED_S - 1)
    assert registry.record == ["part opens DOGEUSDT", "part opens XRPUSDT"]


def test_the_longest_idle_symbol_makes_room() -> None:
    """The one that was requested longest ago is closed."""
    registry = Registry()
    registry.acquire("DOGEUSDT", 0.0)
    registry.acquire("XRPUSDT", 1.0)
    registry.acquire("ADAUSDT", SPARED_S + 1)

    assert registry.record == [
        "part opens DOGEUSDT", "part opens XRPUSDT", "part closes DOGEUSDT", "part opens ADAUSDT",
    ]  # fmt: skip


def test_a_fixed_registry_lists_only_its_pinned_symbols() -> None:
    """A bound of as many as are pinned, as in a replay, allows no request for others."""
    registry = Registry(running_max=0)

    assert registry.symbols.is_fixed
    assert registry.symbols.listed == ("BTCUSDT", "ETHUSDT")
    with pytest.raises(UnknownListing):
        registry.acquire("DOGEUSDT")


def test_a_delisted_symbol_runs_until_it_is_idle() -> None:
    """The exchange's listing may change while a symbol runs."""
    registry = Registry()
    registry.acquire("DOGEUSDT")
    registry.symbols.set_listed(["BTCUSDT"])
    registry.acquire("DOGEUSDT", 1.0)
    registry.close_idle(1.0 + IDLE_AFTER_S)

    assert registry.record == ["part opens DOGEUSDT", "part closes DOGEUSDT"]
