"""What is not requested again after HTTP 451 or 403, and until when."""

import pytest

from pulse.binance.refusals import (
    FORBIDDEN_FIRST_S,
    FORBIDDEN_LASTS_S,
    FORBIDDEN_MAX_S,
    REFUSED_WAIT_S,
    REQUESTS_MAX,
    TRIAL_S,
    Refusals,
)
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused

DEPTH, KLINES = "/api/v3/depth BTCUSDT", "/api/v3/klines BTCUSDT"


def error_of(refusals: Refusals, request: str, now_s: float) -> ExchangeError | None:
    """Return the error that `check` raises."""
    try:
        refusals.check(request, now_s)
    except ExchangeError as fault:
        return fault
    return None


def test_451_refuses_every_request_for_minutes() -> None:
    """The error says so, with its status and the time that is left."""
    refusals = Refusals("Binance.US")
    error = refusals.on_status(DEPTH, 451, 10.0)
    later = error_of(refusals, KLINES, 110.0)

    assert isinstance(error, ExchangeRefused)
    assert str(error) == "Binance.US does not serve this address or region (HTTP 451)"
    assert (error.status, error.retry_after_s) == (451, REFUSED_WAIT_S)
    assert isinstance(later, ExchangeRefused)
    assert later.retry_after_s == REFUSED_WAIT_S - 100


def test_one_request_goes_first_after_a_pause() -> None:
    """The others wait for its answer, but no longer than TRIAL_S."""
    refusals = Refusals("Binance.US")
    refusals.on_status(DEPTH, 451, 0.0)

    assert error_of(refusals, DEPTH, REFUSED_WAIT_S) is None
    assert isinstance(error_of(refusals, KLINES, REFUSED_WAIT_S), ExchangeRefused)
    assert error_of(refusals, KLINES, REFUSED_WAIT_S + TRIAL_S) is None


@pytest.mark.parametrize("status", [200, 101, 500, 429])
def test_any_other_answer_ends_the_refusal(status: int) -> None:
    """Every request may be made again."""
    refusals = Refusals("Binance.US")
    refusals.on_status(DEPTH, 451, 0.0)
    error_of(refusals, DEPTH, REFUSED_WAIT_S)

    assert refusals.on_status(DEPTH, status, REFUSED_WAIT_S) is None
    assert error_of(refusals, DEPTH, REFUSED_WAIT_S) is error_of(refusals, KLINES, REFUSED_WAIT_S) is None


@pytest.mark.proves("forbidden")
def test_first_403_holds_back_its_own_request_alone() -> None:
    """It is no refusal of the address: another path, or another symbol, is asked as before."""
    refusals = Refusals("Binance.US")
    error = refusals.on_status(DEPTH, 403, 0.0)

    assert isinstance(error, ExchangeBusy)
    assert error.retry_after_s == FORBIDDEN_FIRST_S
    assert isinstance(error_of(refusals, DEPTH, FORBIDDEN_FIRST_S - 1), ExchangeBusy)
    assert error_of(refusals, "/api/v3/depth ETHUSDT", 1.0) is error_of(refusals, KLINES, 1.0) is None
    assert error_of(refusals, DEPTH, FORBIDDEN_FIRST_S) is None


def test_403_of_one_request_waits_longer_each_time_and_stays_its_own() -> None:
    """While other requests are answered the venue is not left, however often one is refused."""
    refusals = Refusals("Binance.US")
    now_s, waits = 0.0, []
    for _ in range(5):
        error = refusals.on_status(DEPTH, 403, now_s)
        assert isinstance(error, ExchangeBusy)
        waits.append(error.retry_after_s)
        now_s += error.retry_after_s
        assert refusals.on_status(KLINES, 200, now_s) is None

    assert waits == [60.0, 120.0, 240.0, FORBIDDEN_MAX_S, FORBIDDEN_MAX_S]


@pytest.mark.proves("forbidden")
def test_second_403_without_another_answer_holds_back_all_requests() -> None:
    """As a 429 does: the exchange's firewall has had too many."""
    refusals = Refusals("Binance.US")
    refusals.on_status(DEPTH, 403, 0.0)
    error = refusals.on_status(KLINES, 403, 1.0)
    other = error_of(refusals, "/api/v3/time ", 2.0)

    assert isinstance(error, ExchangeBusy)
    assert isinstance(other, ExchangeBusy)
    assert str(error) == str(other) == "Binance.US refuses all requests for now (HTTP 403)"


@pytest.mark.proves("forbidden")
def test_403_that_goes_on_is_a_refusal_of_the_address() -> None:
    """After FORBIDDEN_LASTS_S of nothing else, not before."""
    refusals = Refusals("Binance.US")
    now_s, seen = 0.0, []
    for number in range(6):
        error = refusals.on_status((DEPTH, KLINES)[number % 2], 403, now_s)
        seen.append((now_s, type(error)))
        while error_of(refusals, (DEPTH, KLINES)[(number + 1) % 2], now_s) is not None:
            now_s += 1.0

    first_refused_s = next(at_s for at_s, kind in seen if kind is ExchangeRefused)
    assert FORBIDDEN_LASTS_S <= first_refused_s <= 2 * FORBIDDEN_LASTS_S
    assert all((kind is ExchangeRefused) == (at_s >= FORBIDDEN_LASTS_S) for at_s, kind in seen)


def test_remembered_requests_are_bounded() -> None:
    """Beyond REQUESTS_MAX the oldest may be made again."""
    refusals = Refusals("Binance.US")
    for number in range(REQUESTS_MAX + 1):
        refusals.on_status(f"/api/v3/depth {number}", 403, 0.0)
        refusals.on_status(KLINES, 200, 0.0)

    assert error_of(refusals, "/api/v3/depth 0", 1.0) is None
    assert error_of(refusals, "/api/v3/depth 1", 1.0) is not None
