"""The market's values: a double holds what the exchange printed, and values are frozen."""

from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.types import Level, State
from tests.support.makers import candle, diff, exchange_candle, snapshot, ticker, trade, unhurried


@unhurried
@given(st.integers(0, 10**15 - 1))
def test_a_double_holds_every_decimal_of_the_exchange(scaled: int) -> None:
    """A decimal string of eight places and at most 15 digits survives the round trip through a price."""
    text = f"{Decimal(scaled).scaleb(-8):.8f}"

    assert f"{float(text):.8f}" == text


@pytest.mark.parametrize(
    "value", [snapshot(1), diff(1, 1), ticker(1), trade(1), candle(), exchange_candle(candle(), 1)], ids=type
)
def test_values_are_frozen(value: object) -> None:
    """A value that was passed on cannot be changed."""
    names = getattr(value, "_fields", None) or tuple(field.name for field in fields(value))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        setattr(value, names[0], 0)


def test_a_level_is_price_then_quantity() -> None:
    """A level is [price, quantity], as the exchange writes it."""
    assert Level(100.0, 5.0) == (100.0, 5.0)


def test_states_on_the_wire() -> None:
    """A view has one of these five states."""
    assert {state.value for state in State} == {"live", "syncing", "stale", "halted", "offline"}
