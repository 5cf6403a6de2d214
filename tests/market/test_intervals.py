"""Where intervals begin and end, and how minutes are aggregated."""

from dataclasses import replace
from datetime import datetime

import pytest

from pulse.market.intervals import (
    INTERVALS,
    MINUTE,
    TIME_MAX_MS,
    AggregatedCandle,
    add_minute,
    merge_newer_minutes,
    missing_minutes,
    one_minute_aggregate,
    start_aggregate,
)
from pulse.market.types import Candle
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle

FIVE = INTERVALS["5m"]


def ms(text: str) -> int:
    """Return a time in UTC in ms."""
    return int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


def minute(number: int, price: float = 100.0, trades: int = 1, source: str = "live") -> Candle:
    """Return the closed minute with this number after midnight, at one price; flat where it has no trades."""
    made = candle(MIDNIGHT_MS + number * MINUTE_MS, (price,) * 4, volume=0.1 * trades)
    ids = (number * 10, number * 10 + trades - 1) if trades else (-1, -1)
    return replace(
        made, trade_count=trades, first_trade_id=ids[0], last_trade_id=ids[1], source=source, reconciled=trades != 3
    )


def five_minutes(*minutes: Candle) -> AggregatedCandle:
    """Return the five-minute candle of these."""
    aggregated = start_aggregate(minutes[0], FIVE)
    for later in minutes[1:]:
        aggregated = add_minute(aggregated, later)
    return aggregated


@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("1m", "2024-08-08T23:57:00", "2024-08-08T23:58:00"),
        ("3m", "2024-08-08T23:57:00", "2024-08-09T00:00:00"),
        ("5m", "2024-08-08T23:55:00", "2024-08-09T00:00:00"),
        ("15m", "2024-08-08T23:45:00", "2024-08-09T00:00:00"),
        ("30m", "2024-08-08T23:30:00", "2024-08-09T00:00:00"),
        ("1h", "2024-08-08T23:00:00", "2024-08-09T00:00:00"),
        ("2h", "2024-08-08T22:00:00", "2024-08-09T00:00:00"),
        ("4h", "2024-08-08T20:00:00", "2024-08-09T00:00:00"),
        ("6h", "2024-08-08T18:00:00", "2024-08-09T00:00:00"),
        ("8h", "2024-08-08T16:00:00", "2024-08-09T00:00:00"),
        ("12h", "2024-08-08T12:00:00", "2024-08-09T00:00:00"),
        ("1d", "2024-08-08T00:00:00", "2024-08-09T00:00:00"),
        ("1w", "2024-08-05T00:00:00", "2024-08-12T00:00:00"),
        ("1M", "2024-08-01T00:00:00", "2024-09-01T00:00:00"),
    ],
)
def test_where_an_interval_begins_and_ends(name: str, begin: str, end: str) -> None:
    """Each holds 23:57:13 of a Thursday within its own bounds, which are those of Binance."""
    interval = INTERVALS[name]
    begin_ms, end_ms = ms(begin), ms(end)

    assert (
        interval.floor(ms("2024-08-08T23:57:13")) == interval.floor(begin_ms) == interval.floor(end_ms - 1) == begin_ms
    )
    assert (interval.after(begin_ms), interval.after(end_ms, -1)) == (end_ms, begin_ms)
    assert (interval.ceil(begin_ms), interval.ceil(begin_ms + 1), interval.ceil(end_ms)) == (begin_ms, end_ms, end_ms)


def test_a_leap_february() -> None:
    """Months are those of the calendar, over the ends of years."""
    month = INTERVALS["1M"]

    assert month.after(ms("2024-02-01T00:00:00")) == ms("2024-03-01T00:00:00")
    assert month.after(ms("2023-11-01T00:00:00"), 3) == ms("2024-02-01T00:00:00")
    assert month.after(ms("2024-02-01T00:00:00"), -2) == ms("2023-12-01T00:00:00")


@pytest.mark.parametrize("name", INTERVALS)
@pytest.mark.parametrize("time_ms", [-(10**20), 0, TIME_MAX_MS, 10**20])
def test_times_beyond_the_calendar(name: str, time_ms: int) -> None:
    """Times out of range fall into the first or the last interval."""
    floor = INTERVALS[name].floor(time_ms)

    assert -3 * 24 * 60 * MINUTE_MS <= floor <= TIME_MAX_MS
    assert INTERVALS["1M"].after(floor, 10**6) <= TIME_MAX_MS


def test_minutes_add_up() -> None:
    """First open, last close, the extremes, sums without binary rounding, and ids from the first to the last."""
    aggregated = five_minutes(minute(0, 100.0), minute(1, 90.0, 2), minute(2, 95.0))

    assert (aggregated.candle.open, aggregated.candle.high, aggregated.candle.low, aggregated.candle.close) == (
        100.0,
        100.0,
        90.0,
        95.0,
    )
    assert (aggregated.candle.volume, aggregated.candle.trade_count) == (0.4, 4)
    assert (aggregated.candle.first_trade_id, aggregated.candle.last_trade_id) == (0, 20)
    assert (aggregated.minutes, aggregated.last_minute_ms) == (3, MIDNIGHT_MS + 2 * MINUTE_MS)


def test_a_minute_without_trades_moves_no_price() -> None:
    """Before, between or after minutes with trades it changes neither open, high, low nor ids."""
    aggregated = five_minutes(minute(0, 200.0, 0), minute(1, 100.0), minute(2, 100.0, 0)).candle

    assert (aggregated.open, aggregated.high, aggregated.low, aggregated.close) == (100.0, 100.0, 100.0, 100.0)
    assert (aggregated.first_trade_id, aggregated.last_trade_id, aggregated.trade_count) == (10, 10, 1)


def test_candle_without_trades_is_flat() -> None:
    """Where no minute has a trade, all four prices are the newest close."""
    aggregated = five_minutes(minute(0, 200.0, 0), minute(1, 201.0, 0)).candle

    assert (aggregated.open, aggregated.high, aggregated.low, aggregated.close, aggregated.first_trade_id) == (
        201.0,
        201.0,
        201.0,
        201.0,
        -1,
    )


def test_source_and_reconciled_of_several_minutes() -> None:
    """The source is that of the minutes where they have one, and it is reconciled where all of them are."""
    same, other = (
        five_minutes(minute(0), minute(1)).candle,
        five_minutes(minute(0), minute(1, trades=3, source="exchange")).candle,
    )

    assert (same.source, same.reconciled) == ("live", True)
    assert (other.source, other.reconciled) == ("mixed", False)


def test_newest_minutes_extend_the_stored_candles() -> None:
    """What the store does not have yet extends the last candle or begins the next; what it has is not added twice."""
    stored = [five_minutes(minute(0), minute(1), minute(2), minute(3))]
    candles = merge_newer_minutes(stored, FIVE, [minute(3), minute(4), minute(5)], None, None, 10)

    assert [(aggregated.minutes, aggregated.candle.trade_count) for aggregated in candles] == [(5, 5), (1, 1)]
    assert [aggregated.candle.open_time_ms for aggregated in candles] == [MIDNIGHT_MS, MIDNIGHT_MS + 5 * MINUTE_MS]


def test_the_newest_minutes_beyond_the_end() -> None:
    """A candle that opens after the requested end is left out."""
    candles = merge_newer_minutes([], FIVE, [minute(4), minute(5)], None, MIDNIGHT_MS + 4 * MINUTE_MS, 10)

    assert [aggregated.candle.open_time_ms for aggregated in candles] == [MIDNIGHT_MS]


@pytest.mark.parametrize(
    ("start_minute", "limit", "expected"), [(None, 1, [5]), (0, 1, [0]), (0, 2, [0, 5]), (5, 2, [5]), (10, 2, [])]
)
def test_the_newest_minutes_and_the_limit(start_minute: int | None, limit: int, expected: list[int]) -> None:
    """With a start the first candles of the range are returned, without one the last."""
    start_ms = None if start_minute is None else MIDNIGHT_MS + start_minute * MINUTE_MS
    stored = [five_minutes(minute(0))] if start_minute in (None, 0) else []
    candles = merge_newer_minutes(stored, FIVE, [minute(4), minute(5)], start_ms, None, limit)

    assert [(aggregated.candle.open_time_ms - MIDNIGHT_MS) // MINUTE_MS for aggregated in candles] == expected


@pytest.mark.parametrize(
    ("minutes", "running", "missing"),
    [((0, 1, 2, 3, 4), 9, 0), ((0, 4), 9, 3), ((0, 1), 2, 0), ((0, 1), 1, 0), ((0, 2), 2, 1), ((1,), 4, 3)],
)
def test_missing_minutes(minutes: tuple[int, ...], running: int, missing: int) -> None:
    """Minutes that have ended and are unknown are counted; the running one, known or not, is not."""
    aggregated = five_minutes(*map(minute, minutes))

    assert missing_minutes(aggregated, FIVE, MIDNIGHT_MS + running * MINUTE_MS) == missing


def test_one_minute_is_a_candle_of_its_own() -> None:
    """The shortest interval holds one minute, unchanged."""
    assert merge_newer_minutes([], MINUTE, [minute(4)], None, None, 10) == [one_minute_aggregate(minute(4))]
    assert one_minute_aggregate(minute(4)) == AggregatedCandle(minute(4), 1, MIDNIGHT_MS + 4 * MINUTE_MS)
