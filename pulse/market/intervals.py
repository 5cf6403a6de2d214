"""The intervals of candles, aligned as Binance aligns them, and the aggregation of minutes into longer candles.

Everything is UTC: an interval of up to a day begins at a multiple of its length since midnight, a week on Monday, a
month on the first. A minute without trades is flat at the previous close and does not count in the prices of a longer
candle: the exchange, too, takes a candle's open from its first trade. Sums are those of the printed decimals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from pulse.market.candles import SCALE, exact_units
from pulse.market.types import MINUTE_MS, Candle

HOUR_MS, DAY_MS = 60 * MINUTE_MS, 1440 * MINUTE_MS
MONDAY_MS = 4 * DAY_MS
"""The first Monday after 1970-01-01, which was a Thursday."""
TIME_MAX_MS = 253_402_300_799_999
"""The last millisecond that Python's datetime can express."""
MIXED = "mixed"
"""The source of a candle whose minutes have several."""


def iso_time(time_ms: int) -> str:
    """Return a time in milliseconds since the epoch as ISO 8601, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Interval:
    """The length of a candle, by Binance's name. `length_ms` is 0 for the month, which has no fixed one."""

    name: str
    length_ms: int

    def floor(self, time_ms: int) -> int:
        """Return the first ms of the interval that holds this time, which is clamped to the years 1970 to 9999."""
        time_ms = min(max(time_ms, 0), TIME_MAX_MS)
        if not self.length_ms:
            month = datetime.fromtimestamp(time_ms / 1000, UTC)
            return _month_ms(month.year * 12 + month.month - 1)
        return time_ms - (time_ms - MONDAY_MS) % self.length_ms

    def after(self, open_ms: int, count: int = 1) -> int:
        """Return the first ms of the interval `count` after the one that opens at `open_ms`; before it if negative."""
        if self.length_ms:
            return open_ms + count * self.length_ms
        month = datetime.fromtimestamp(min(open_ms, TIME_MAX_MS) / 1000, UTC)
        return _month_ms(month.year * 12 + month.month - 1 + count)

    def ceil(self, time_ms: int) -> int:
        """Return the first ms of the first interval that opens at this time or later."""
        floor = self.floor(time_ms)
        return floor if floor >= time_ms else self.after(floor)


def _month_ms(months: int) -> int:
    """Return the first ms of a month, counted from January of the year 0, clamped to 1970 to 9999."""
    months = min(max(months, 1970 * 12), 9999 * 12 + 11)
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)


INTERVALS = {
    interval.name: interval
    for interval in (
        *(Interval(f"{minutes}m", minutes * MINUTE_MS) for minutes in (1, 3, 5, 15, 30)),
        *(Interval(f"{hours}h", hours * HOUR_MS) for hours in (1, 2, 4, 6, 8, 12)),
        Interval("1d", DAY_MS),
        Interval("1w", 7 * DAY_MS),
        Interval("1M", 0),
    )
}
"""Every interval, shortest first, by Binance's name."""
MINUTE, HOUR = INTERVALS["1m"], INTERVALS["1h"]


Sums: TypeAlias = tuple[int, int, int, int]
"""Volume, quote volume, taker buy volume and taker buy quote volume, in whole units of 1e-8."""


@dataclass(frozen=True, slots=True)
class AggregatedCandle:
    """The candle of an interval, made of the minutes that are known.

    `candle.open_time_ms` is the interval's; its trade ids are -1 where those of its first or last trade are unknown;
    `candle.source` is that of all its minutes, or "mixed"; `candle.reconciled` is whether all of them are. `minutes`
    is their number, `last_minute_ms` the open time of the newest. `sums` are exact, and the candle has the doubles that
    are nearest to them; None where those are exact themselves, as in a minute.
    """

    candle: Candle
    minutes: int
    last_minute_ms: int
    sums: Sums | None = field(default=None, compare=False)


def start_aggregate(candle: Candle, interval: Interval) -> AggregatedCandle:
    """Start the candle of an interval with its first minute."""
    open_ms, minute_ms = interval.floor(candle.open_time_ms), candle.open_time_ms
    return AggregatedCandle(candle if open_ms == minute_ms else replace(candle, open_time_ms=open_ms), 1, minute_ms)


def one_minute_aggregate(candle: Candle) -> AggregatedCandle:
    """Return a minute's candle as that of the one-minute interval."""
    return AggregatedCandle(candle, 1, candle.open_time_ms)


def add_minute(aggregated: AggregatedCandle, minute: Candle) -> AggregatedCandle:
    """Return the candle with a later minute of the same interval added."""
    kept = aggregated.candle
    if minute.trade_count and not kept.trade_count:
        prices = minute.open, minute.high, minute.low
        first_trade_id = minute.first_trade_id
    elif minute.trade_count:
        prices = kept.open, max(kept.high, minute.high), min(kept.low, minute.low)
        first_trade_id = kept.first_trade_id
    elif kept.trade_count:
        prices, first_trade_id = (kept.open, kept.high, kept.low), kept.first_trade_id
    else:
        prices, first_trade_id = (minute.close,) * 3, -1
    sums = add_sums(aggregated.sums or sums_of(kept), sums_of(minute))
    volume, quote_volume, taker_buy_volume, taker_buy_quote_volume = (total / SCALE for total in sums)
    candle = Candle(
        symbol=kept.symbol,
        open_time_ms=kept.open_time_ms,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=minute.close,
        volume=volume,
        quote_volume=quote_volume,
        trade_count=kept.trade_count + minute.trade_count,
        taker_buy_volume=taker_buy_volume,
        taker_buy_quote_volume=taker_buy_quote_volume,
        first_trade_id=first_trade_id,
        last_trade_id=minute.last_trade_id if minute.trade_count else kept.last_trade_id,
        is_closed=False,
        source=minute.source if minute.source == kept.source else MIXED,
        reconciled=kept.reconciled and minute.reconciled,
    )
    return AggregatedCandle(candle, aggregated.minutes + 1, minute.open_time_ms, sums)


def sums_of(candle: Candle) -> Sums:
    """Return the sums of a candle whose figures are printed decimals."""
    return (
        exact_units(candle.volume),
        exact_units(candle.quote_volume),
        exact_units(candle.taker_buy_volume),
        exact_units(candle.taker_buy_quote_volume),
    )


def add_sums(one: Sums, other: Sums) -> Sums:
    """Return the sums of both."""
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest minutes of a symbol, which a store may lack, oldest first, and the open time of the running one."""

    minutes: tuple[Candle, ...]
    running_ms: int


def merge_newer_minutes(
    stored: Sequence[AggregatedCandle],
    interval: Interval,
    minutes: Iterable[Candle],
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[AggregatedCandle]:
    """Merge what a store returned for a range and a limit with the newest minutes, which it may not have yet.

    Both are oldest first, and so is what is returned.
    """
    kept = list(stored)
    for minute in minutes:
        open_ms = interval.floor(minute.open_time_ms)
        is_in_range = (start_ms is None or start_ms <= open_ms) and (end_ms is None or open_ms <= end_ms)
        if not is_in_range or (kept and minute.open_time_ms <= kept[-1].last_minute_ms):
            continue
        if kept and kept[-1].candle.open_time_ms == open_ms:
            kept[-1] = add_minute(kept[-1], minute)
        elif start_ms is None or len(kept) < limit:  # else it is on a later page
            kept.append(start_aggregate(minute, interval))
    return kept[-limit:]


def missing_minutes(aggregated: AggregatedCandle, interval: Interval, running_ms: int) -> int:
    """Return how many minutes of a candle have ended and are unknown; the running minute opens at `running_ms`."""
    open_ms = aggregated.candle.open_time_ms
    end_ms = min(interval.after(open_ms), running_ms)
    closed = aggregated.minutes - (aggregated.last_minute_ms >= running_ms)
    return max(0, (end_ms - open_ms) // MINUTE_MS - closed)
