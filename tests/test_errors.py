"""Our errors: a tree by whose fault it is, with what a handler needs to act."""

import ast
from http import HTTPStatus
from pathlib import Path

import pytest

from pulse.errors import (
    ConnectionEnded,
    ExchangeBusy,
    ExchangeError,
    ExchangeRefused,
    HandshakeRefused,
    MalformedFrame,
    PulseError,
    RequestError,
    SettingsError,
    StoreUnavailable,
    TooManySymbols,
    UnknownListing,
    UnknownSymbol,
    quoted,
    try_later,
    wrong_parameter,
)

PULSE = Path(__file__).parent.parent / "pulse"
EXCHANGE: set[type[Exception]] = {
    ExchangeRefused,
    ExchangeBusy,
    MalformedFrame,
    UnknownSymbol,
    ConnectionEnded,
    HandshakeRefused,
}
BRANCHES: set[type[Exception]] = {
    SettingsError,
    ExchangeError,
    StoreUnavailable,
    RequestError,
    UnknownListing,
    TooManySymbols,
}
BASES = {"Exception", "PulseError", *(kind.__name__ for kind in EXCHANGE | BRANCHES)}


@pytest.mark.parametrize("kind", sorted(EXCHANGE, key=str))
def test_exchange_errors_have_one_base(kind: type[Exception]) -> None:
    """A caller of the exchange catches one class."""
    assert issubclass(kind, ExchangeError)


@pytest.mark.parametrize("kind", sorted(BRANCHES, key=str))
def test_branches_do_not_overlap(kind: type[Exception]) -> None:
    """An error of one party is never caught as one of another."""
    assert issubclass(kind, PulseError)
    assert not any(issubclass(kind, other) for other in BRANCHES - {kind})


def test_errors_are_defined_in_one_file() -> None:
    """Only the client library, which users copy, and the simulator's inner errors stand elsewhere."""
    elsewhere = [
        node.name
        for path in PULSE.rglob("*.py")
        if path.name not in ("errors.py", "client.py") and path.parent.name != "simulator"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and BASES & {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]

    assert elsewhere == []


def test_refused_exchange_request_carries_its_status() -> None:
    """The HTTP status tells a region's ban from a firewall's."""
    error = ExchangeRefused("Binance.com does not serve this region", 451, 300.0)

    assert str(error) == "Binance.com does not serve this region"
    assert (error.status, error.retry_after_s) == (451, 300.0)


def test_busy_exchange_carries_the_delay() -> None:
    """The time to hold all requests comes with the error."""
    error = ExchangeBusy("too many requests", 12.5)

    assert (str(error), error.retry_after_s) == ("too many requests", 12.5)


def test_refused_handshake_carries_its_status() -> None:
    """The text names the status as well."""
    error = HandshakeRefused(503)

    assert error.status == 503
    assert "503" in str(error)


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
