"""Rows of REST answers: what was not asked for, is out of order or impossible is not used."""

from dataclasses import replace

import pytest

from pulse.market.answer_plausibility import possible_candles, refuse_day_ticker, refuse_trades, was_traded
from pulse.market.types import DayTicker, Trade
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade

M0, M1, M2 = (MIDNIGHT_MS + number * MINUTE_MS for number in range(3))
DAY_MS = 86_400_000


def test_rows_in_range_and_order_are_candles() -> None:
    """Also the running minute."""
    rows = [candle(M0), candle(M1), candle(M2, is_closed=False)]

    assert possible_candles(rows, M0, M2) == (rows, "")


@pytest.mark.parametrize(
    "false",
    [
        candle(M1 + 1), candle(M1 + DAY_MS), candle(M0 - MINUTE_MS), candle(M0), candle(M2 + MINUTE_MS),
        candle(M1, (100.0, 100.0, 100.0, 1000.0)), candle(M1, taker_buy_volume=9.0),
    ],
    ids=["not on a minute", "tomorrow", "before the range", "repeated", "after the range", "close", "taker volume"],
)  # fmt: skip
def test_false_row_is_left_out_with_a_reason(false: object) -> None:
    """The rows beside it stand by themselves."""
    assert isinstance(false, type(candle(M0)))
    found, reason = possible_candles([candle(M0), false, candle(M2)], M0, M2)

    assert (found, reason != "") == ([candle(M0), candle(M2)], True)


def test_no_candle_is_of_a_minute_that_has_not_begun() -> None:
    """The caller ends the range with the exchange's date."""
    assert possible_candles([candle(M2)], M0, M2 - 0.5)[0] == []
    assert possible_candles([candle(M2)], M0, M2 + 0.5)[0] == [candle(M2)]


def rows_of(*ids: int) -> list[Trade]:
    """Return trades of these ids, each of one ms."""
    return [trade(trade_id, time_ms=MIDNIGHT_MS + trade_id) for trade_id in ids]


def test_trades_that_were_asked_for_are_possible() -> None:
    """From an id on, also with ids that the exchange lacks, and with two trades of one id; or none at all."""
    first, *_ = rows_of(5)
    second = replace(first, first_trade_id=6, last_trade_id=6)

    assert refuse_trades([first, second, *rows_of(7, 9)], 5, 0, MIDNIGHT_MS + 9) == ""
    assert refuse_trades([], 5, 0, MIDNIGHT_MS) == ""


@pytest.mark.parametrize(
    "false",
    [
        trade(4, time_ms=MIDNIGHT_MS + 6), trade(5, time_ms=MIDNIGHT_MS + 6), trade(10**9, time_ms=MIDNIGHT_MS + 6),
        replace(trade(6, time_ms=MIDNIGHT_MS + 6), first_trade_id=5), trade(6, time_ms=MIDNIGHT_MS + DAY_MS),
        trade(6, time_ms=MIDNIGHT_MS - DAY_MS),
    ],
    ids=["below the range", "repeated", "above the next", "overlap", "tomorrow", "yesterday"],
)  # fmt: skip
def test_false_trade_makes_the_answer_worthless(false: Trade) -> None:
    """With a reason."""
    assert refuse_trades([*rows_of(5), false, *rows_of(7)], 5, MIDNIGHT_MS, MIDNIGHT_MS + 2_500) != ""


TICKER = DayTicker("BTCUSDT", 100.0, 130.0, 90.0, 110.0, 2.0, 220.0, MIDNIGHT_MS, 7)


def test_a_day_of_trades_is_possible() -> None:
    """Also one at a single price, and one whose window ended a moment after the answer's date in whole seconds."""
    assert refuse_day_ticker(TICKER, MIDNIGHT_MS, MIDNIGHT_MS) == ""
    assert refuse_day_ticker(TICKER, MIDNIGHT_MS - 999, MIDNIGHT_MS) == ""
    assert (
        refuse_day_ticker(DayTicker("X", 5.0, 5.0, 5.0, 5.0, 3.0, 15.0, MIDNIGHT_MS, 1), MIDNIGHT_MS, MIDNIGHT_MS) == ""
    )


@pytest.mark.parametrize(
    "false",
    [
        replace(TICKER, close_time_ms=MIDNIGHT_MS + 1), replace(TICKER, last=131.0),
        replace(TICKER, last=89.0), replace(TICKER, open=1000.0), replace(TICKER, low=0.0), replace(TICKER, open=0.0),
        replace(TICKER, quote_volume=262.7), replace(TICKER, quote_volume=178.1), replace(TICKER, volume=0.0),
    ],
)  # fmt: skip
def test_a_false_day_is_refused(false: DayTicker) -> None:
    """With a reason: prices outside of their own range, a volume that such prices cannot make, a day to come."""
    assert refuse_day_ticker(false, MIDNIGHT_MS, MIDNIGHT_MS) != ""


def test_a_day_without_trades_is_possible_and_known_as_such() -> None:
    """Nothing was traded where the count is 0, or where the window ended more than a day ago: the symbol is halted."""
    empty = DayTicker("X", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, MIDNIGHT_MS, 0)
    halted = replace(TICKER, close_time_ms=MIDNIGHT_MS - DAY_MS)

    assert [refuse_day_ticker(ticker, MIDNIGHT_MS, MIDNIGHT_MS) for ticker in (empty, halted)] == ["", ""]
    assert [was_traded(ticker, MIDNIGHT_MS) for ticker in (TICKER, empty, halted)] == [True, False, False]
