"""The comparison of the terminal with the exact exchange: equal is equal, and each difference is named."""

from typing import Any

import pytest

from bench.truth import book_difference, candle_difference, open_ms_of

KLINE = [60_000, "10.5", "11.0", "10.0", "10.7", "3.00000001", 119_999, "32.1", 12, "1.5", "16.0", "0"]
ROW = {
    "open": 10.5, "high": 11.0, "low": 10.0, "close": 10.7, "volume": 3.00000001, "quote_volume": 32.1,
    "trade_count": 12, "taker_buy_volume": 1.5, "taker_buy_quote_volume": 16.0,
}  # fmt: skip


def test_equal_books_have_no_difference() -> None:
    """Also where ours shows fewer levels: those it knows."""
    theirs = [[10.0, 1.0], [9.9, 2.0], [9.8, 3.0]]

    assert book_difference(theirs, theirs) == book_difference(theirs[:2], theirs) == ""


@pytest.mark.parametrize("ours", [[10.0, 2.0], [10.1, 1.0]])
def test_level_that_differs_is_named(ours: list[float]) -> None:
    """In quantity or in price."""
    assert book_difference([[11.0, 1.0], ours], [[11.0, 1.0], [10.0, 1.0]]).startswith("level 1 is ")


def test_equal_candles_have_no_difference() -> None:
    """Sums may differ by what rounding makes of them."""
    assert candle_difference(ROW | {"quote_volume": 32.1 + 1e-12}, KLINE) == ""


@pytest.mark.parametrize("name", ROW)
def test_value_that_differs_is_named(name: str) -> None:
    """Each of the candle's values counts."""
    changed: dict[str, Any] = ROW | {name: ROW[name] + 0.01}

    assert candle_difference(changed, KLINE).startswith(f"{name} is ")


def test_time_of_a_row_is_its_minute() -> None:
    """ISO 8601 to milliseconds."""
    assert open_ms_of({"timestamp": "1970-01-01T00:01:00+00:00"}) == 60_000
