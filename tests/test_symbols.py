"""The symbol registry: what opens a symbol, what closes it, and what is refused."""

import logging

import pytest

from pulse.errors import ListingPending, TooManySymbols, UnknownListing
from pulse.symbols import IDLE_AFTER_S, OPENING_EVERY_S, OPENINGS_AT_ONCE, SPARED_S, SymbolRegistry
from tests.support.metrics import sample_of


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

    def acquire(self, symbol: str, at_s: float = 0.0, address: str | None = None) -> None:
        """Request a symbol at this time."""
        self.now_s = at_s
        self.symbols.acquire(symbol, address)

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


@pytest.mark.proves("all-symbols")
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


COINS = [f"COIN{number}USDT" for number in range(40)]


def listing_many(running_max: int) -> Registry:
    """Return a registry of two pinned symbols whose exchange lists many."""
    registry = Registry(running_max)
    registry.symbols.set_listed(["BTCUSDT", "ETHUSDT", *COINS])
    return registry


def refusal(registry: Registry, symbol: str, at_s: float, address: str) -> tuple[int, str, int]:
    """Return status, text and time of the next try of a refusal."""
    with pytest.raises(TooManySymbols) as caught:
        registry.acquire(symbol, at_s, address)
    return caught.value.status, str(caught.value), caught.value.retry_after_s


@pytest.mark.proves("all-symbols")
def test_one_address_cannot_take_all_symbols() -> None:
    """It has three quarters of those beyond the pinned ones; another address opens one at once."""
    registry = listing_many(running_max=6)
    for symbol in COINS[:3]:
        registry.acquire(symbol, 0.0, "a")
    registry.watched.update(COINS)

    expected = (429, "Your address has opened as many symbols as this server allows one address: 3.", 60)
    assert refusal(registry, COINS[3], 1.0, "a") == expected
    registry.acquire(COINS[3], 1.0, "b")
    assert refusal(registry, COINS[4], 1.0, "b")[0] == 503
    assert len(registry.symbols) == 6


def test_one_free_symbol_is_anyones() -> None:
    """A share is at least one symbol."""
    registry = listing_many(running_max=3)
    registry.acquire(COINS[0], 0.0, "a")

    assert registry.symbols.is_running(COINS[0])


def test_address_replaces_what_it_has_opened_itself() -> None:
    """A client that looks at one symbol after the other need not wait; a symbol that is watched stays."""
    registry = listing_many(running_max=6)
    for symbol in COINS[:3]:
        registry.acquire(symbol, 0.0, "a")
    registry.watched.add(COINS[0])
    registry.acquire(COINS[3], 1.0, "a")

    assert registry.record[-2:] == [f"part closes {COINS[1]}", f"part opens {COINS[3]}"]
    assert len(registry.symbols) == 5


def test_address_does_not_replace_what_another_has_just_requested() -> None:
    """It is spared as long as it would be for a third one."""
    registry = listing_many(running_max=3)
    registry.acquire(COINS[0], 0.0, "a")
    registry.acquire(COINS[0], 1.0, "b")

    assert refusal(registry, COINS[1], 2.0, "a")[0] == 503
    registry.acquire(COINS[1], 1.0 + SPARED_S, "a")
    assert not registry.symbols.is_running(COINS[0])


@pytest.mark.proves("all-symbols")
def test_one_address_opens_symbols_at_a_bounded_rate() -> None:
    """Each costs requests to the exchange: OPENINGS_AT_ONCE, then one every OPENING_EVERY_S; a running one is free."""
    registry = listing_many(running_max=30)
    for symbol in COINS[:OPENINGS_AT_ONCE]:
        registry.acquire(symbol, 0.0, "a")
    status, text, retry_after_s = refusal(registry, COINS[10], 0.0, "a")
    registry.acquire(COINS[0], 0.0, "a")
    registry.acquire(COINS[20], 0.0, "b")

    assert (status, retry_after_s) == (429, OPENING_EVERY_S)
    assert text == f"Your address opens more than {OPENINGS_AT_ONCE} symbols in short time."
    registry.acquire(COINS[10], OPENING_EVERY_S, "a")


def test_refused_opening_closes_nothing() -> None:
    """The symbol that it would have replaced runs on."""
    registry = listing_many(running_max=6)
    for number in range(OPENINGS_AT_ONCE):
        registry.acquire(COINS[number], 0.0, "a")
    running = set(registry.symbols)
    refusal(registry, COINS[10], 0.0, "a")

    assert set(registry.symbols) == running


def test_refused_openings_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """By the limit that was reached."""
    caplog.set_level(logging.WARNING)
    labels = {"share": "symbols", "limit": "address"}
    before = sample_of("pulse_shares_refused_total", labels) or 0.0
    registry = listing_many(running_max=4)
    registry.acquire(COINS[0], 0.0, "a")
    registry.watched.add(COINS[0])
    for _ in range(50):
        refusal(registry, COINS[1], 0.0, "a")

    assert (sample_of("pulse_shares_refused_total", labels) or 0.0) - before == 50.0
    assert [record.getMessage() for record in caplog.records] == ["symbol refused limit=address address=a times=1"]


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
