"""Our errors: a tree by whose fault it is, with what a handler needs to act."""

from http import HTTPStatus

import pytest

from pulse.errors import (
    ExchangeBusy,
    ExchangeError,
    ExchangeRefused,
    MalformedFrame,
    PulseError,
    RequestError,
    SettingsError,
    StoreUnavailable,
    quoted,
    try_later,
    wrong_parameter,
)


@pytest.mark.parametrize("kind", [ExchangeRefused, ExchangeBusy, MalformedFrame])
def test_the_exchanges_faults_can_be_caught_together(kind: type[Exception]) -> None:
    """Whoever talks to the exchange catches one name."""
    assert issubclass(kind, ExchangeError)


@pytest.mark.parametrize("kind", [SettingsError, ExchangeError, StoreUnavailable, RequestError])
def test_each_edge_has_its_own_branch(kind: type[Exception]) -> None:
    """An error of one edge is never taken for one of another."""
    others = {SettingsError, ExchangeError, StoreUnavailable, RequestError} - {kind}

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


def test_wrong_parameter_lists_allowed_values() -> None:
    """The client needs no documentation to mend the request."""
    error = wrong_parameter("interval", "5m", ["1m", "1h"])

    assert error.detail == 'interval must be one of 1m, 1h, not "5m".'
    assert (error.status, error.parameter, error.allowed) == (HTTPStatus.BAD_REQUEST, "interval", ["1m", "1h"])


def test_wrong_parameter_describes_allowed_values() -> None:
    """Where the values are too many to list, a phrase describes them."""
    error = wrong_parameter("limit", "0", "a whole number from 1 to 9", HTTPStatus.NOT_FOUND)

    assert error.detail == 'limit must be a whole number from 1 to 9, not "0".'
    assert (error.status, error.allowed) == (HTTPStatus.NOT_FOUND, "a whole number from 1 to 9")


def test_long_value_is_cut() -> None:
    """A hostile value does not fill the answer."""
    assert len(wrong_parameter("limit", "9" * 10_000, "a number").detail) < 120


def test_deeply_nested_value_is_described() -> None:
    """A value that JSON cannot be written of still gets an error text."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]

    assert quoted(nested) == "a value nested too deeply"


def test_try_later_carries_the_delay() -> None:
    """The delay marks the error as one that passes."""
    error = try_later("Not yet.", 7)

    assert (error.status, error.retry_after_s) == (HTTPStatus.SERVICE_UNAVAILABLE, 7)
