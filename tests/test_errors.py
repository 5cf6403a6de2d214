"""Our errors: a tree by whose fault it is, with what a handler needs to act."""

import pytest

from pulse.errors import (
    ExchangeBusy,
    ExchangeError,
    ExchangeRefused,
    MalformedFrame,
    PulseError,
    SettingsError,
    StoreUnavailable,
)


@pytest.mark.parametrize("kind", [ExchangeRefused, ExchangeBusy, MalformedFrame])
def test_the_exchanges_faults_can_be_caught_together(kind: type[Exception]) -> None:
    """Whoever talks to the exchange catches one name."""
    assert issubclass(kind, ExchangeError)


@pytest.mark.parametrize("kind", [SettingsError, ExchangeError, StoreUnavailable])
def test_each_edge_has_its_own_branch(kind: type[Exception]) -> None:
    """An error of one edge is never taken for one of another."""
    others = {SettingsError, ExchangeError, StoreUnavailable} - {kind}

    assert issubclass(kind, PulseError)
    assert not any(issubclass(kind, other) for other in others)


def test_a_refusal_carries_its_status() -> None:
    """The HTTP status tells a region's ban from a firewall's."""
    fault = ExchangeRefused("Binance.com does not serve this region", 451)

    assert (str(fault), fault.status) == ("Binance.com does not serve this region", 451)


def test_a_busy_exchange_says_for_how_long() -> None:
    """The time to hold all requests comes with the error."""
    fault = ExchangeBusy("too many requests", 12.5)

    assert (str(fault), fault.retry_after_s) == ("too many requests", 12.5)
