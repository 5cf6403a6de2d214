"""Candles of every interval, from both stores, compared with the exchange's own and with the same sum in Python."""

import asyncio
import csv
import gzip
import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pulse.market.intervals import INTERVALS, AggregatedCandle, Interval, merge_newer_minutes
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.aggregation import touched_hours
from pulse.store.schema import rows_to_write
from tests.support.candles import aggregated
from tests.support.makers import candle
from tests.support.recordings import recording
from tests.support.stores import AnyStore, make_store

FRIDAY_MS = 1_722_556_800_000
"""2024-08-02 00:00:00 UTC: a week that began in July."""
HOUR_MS = 60 * MINUTE_MS
LONG_AGO, FAR_AWAY = -(10**20), 10**20


def minute_at(open_time_ms: int, price: float = 100.0, volume: float = 1.0, trades: int = 1) -> Candle:
    """Return a minute with one price; flat if it has no trades."""
    return candle(
        open_time_ms, (price,) * 4, volume, quote_volume=volume, taker_buy_quote_volume=volume, trade_count=trades,
        first_trade_id=7 if trades else -1, last_trade_id=9 if trades else -1, source="live",
    )  # fmt: skip


def random_walk(seed: int, count: int, start_ms: int = FRIDAY_MS) -> list[Candle]:
    """Return minutes of a random walk, some without trades, some missing."""
    rng = random.Random(seed)
    price, trade_id, made = 1000, 1, []
    for number in range(count):
        flat = rng.random() < 0.3
        prices = [price] if flat else [max(1, price + rng.randint(-50, 50)) for _ in range(4)]
        price, trades = prices[-1], 0 if flat else rng.randint(1, 9)
        volumes = [0.0] * 4 if flat else [rng.randint(1, 10**12) / 10**8 for _ in range(4)]
        minute = Candle(
            "BTCUSDT", start_ms + number * MINUTE_MS, prices[0] / 100, max(prices) / 100, min(prices) / 100,
            price / 100, volumes[0], volumes[1], trades, volumes[2], volumes[3], trade_id if trades else -1,
            trade_id + trades - 1 if trades else -1, True, rng.choice(["live", "live", "repaired"]), rng.random() < 0.9,
        )  # fmt: skip
        trade_id += trades
        if rng.random() > 0.05:
            made.append(minute)
    return made


def expected_candles(minutes: Iterable[Candle], interval: Interval) -> list[AggregatedCandle]:
    """Return the candles of an interval, added up in Python and closed."""
    return [replace(row, candle=replace(row.candle, is_closed=True)) for row in aggregated(minutes, interval)]


def rows(name: str) -> list[list[float]]:
    """Return the exchange's own candles of a day, as numbers."""
    with (recording("xrpeth-2019-10-11") / f"klines-{name}.csv").open(newline="") as file:
        return [[float(value) for value in row] for row in list(csv.reader(file))[1:]]


def day_of_the_exchange() -> list[Candle]:
    """Return the exchange's 1,440 minutes of a day; whether a minute has trades is taken from the recorded trades."""
    with gzip.open(recording("xrpeth-2019-10-11") / "trades.csv.gz", "rt", newline="") as file:
        traded = {int(row["time_ms"]) // MINUTE_MS for row in csv.DictReader(file)}
    return [
        Candle("XRPETH", int(at), first, high, low, last, volume, 0.0, int(at // MINUTE_MS in traded), 0.0, 0.0, -1, -1,
               True, "exchange", True)
        for at, first, high, low, last, volume in rows("1m")
    ]  # fmt: skip


async def test_five_minute_candles_equal_the_exchanges(store: AnyStore) -> None:
    """Aggregated from its minutes, all 288 of a day equal the exchange's own in every field."""
    await store.write_candles(day_of_the_exchange())
    read = [row.candle for row in await store.read_intervals("XRPETH", INTERVALS["5m"], 0, None, 1000)]

    assert len(read) == 288
    assert [[c.open_time_ms, c.open, c.high, c.low, c.close, c.volume] for c in read] == rows("5m")


@pytest.mark.parametrize("name", INTERVALS)
async def test_every_interval_is_the_sum_of_its_minutes(store: AnyStore, name: str) -> None:
    """With flat minutes, holes, corrections and several sources, each field equals the sum in Python."""
    minutes = random_walk(1, 4000)
    await store.write_candles([replace(minute, close=0.5, reconciled=False) for minute in minutes[::7]])
    for begin in range(0, 4000, 900):
        await store.write_candles(minutes[begin : begin + 900])

    assert await store.read_intervals("BTCUSDT", INTERVALS[name], None, None, 10_000) == expected_candles(
        minutes, INTERVALS[name]
    )
    assert await store.read_intervals("BTCUSDT", INTERVALS[name], 0, None, 10_000) == expected_candles(
        minutes, INTERVALS[name]
    )


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("1w", [FRIDAY_MS - 4 * 24 * HOUR_MS, FRIDAY_MS + 3 * 24 * HOUR_MS]),
        ("1M", [FRIDAY_MS - 24 * HOUR_MS, FRIDAY_MS + 30 * 24 * HOUR_MS]),
        ("12h", [FRIDAY_MS, FRIDAY_MS + 72 * HOUR_MS, FRIDAY_MS + 744 * HOUR_MS - 24 * HOUR_MS]),
    ],
)
async def test_when_an_interval_opens(store: AnyStore, name: str, opens: list[int]) -> None:
    """A week opens on Monday, a month on the first, all in UTC."""
    await store.write_candles([minute_at(open_ms + HOUR_MS) for open_ms in [*opens, FRIDAY_MS]])
    read = await store.read_intervals("BTCUSDT", INTERVALS[name], None, None, 10)

    assert [row.candle.open_time_ms for row in read] == opens


async def test_minutes_without_trades_do_not_affect_prices(store: AnyStore) -> None:
    """Their price is no open, high or low of an interval with trades; without any trade it is all four."""
    prices = [(200.0, 0), (100.0, 2), (101.0, 3), (101.0, 0)]
    await store.write_candles(
        [minute_at(FRIDAY_MS + i * MINUTE_MS, price, trades=trades) for i, (price, trades) in enumerate(prices)]
    )
    await store.write_candles([minute_at(FRIDAY_MS + i * MINUTE_MS, 101.0, trades=0) for i in range(5, 10)])
    read = [row.candle for row in await store.read_intervals("BTCUSDT", INTERVALS["5m"], None, None, 2)]

    assert [(c.open, c.high, c.low, c.close, c.trade_count, c.first_trade_id) for c in read] == [
        (100.0, 101.0, 100.0, 101.0, 5, 7),
        (101.0, 101.0, 101.0, 101.0, 0, -1),
    ]


@pytest.mark.parametrize("interval", [INTERVALS["30m"], INTERVALS["1d"]])
@pytest.mark.parametrize(
    "volumes",
    [
        [0.1] * 10,
        [0.1, 0.2],
        [61837.63654277, 0.00000001],
        [89_999_999.12345678, 0.87654322],
        [1e15, 0.5],
        [123_456_789_012.3, 98_765_432_109.87, 0.1],  # a cheap coin: more than 2**53 units of 1e-8
        [99_999_999.1234567, 250_000_000.123456, 7_000_000_000.12345],  # fifteen digits each
        [3_500_000_000.12] * 25,
        [1.7e308, 1.0],
    ],
)
async def test_sums_have_the_exchanges_digits(store: AnyStore, interval: Interval, volumes: list[float]) -> None:
    """Volumes add up like decimals, to the double nearest to their sum; sums beyond that precision are no error."""
    await store.write_candles([minute_at(FRIDAY_MS + i * MINUTE_MS, volume=v) for i, v in enumerate(volumes)])
    expected = float(f"{sum(map(Decimal, map(repr, volumes))):f}")
    (row,) = await store.read_intervals("BTCUSDT", interval, None, None, 2)

    assert row.candle.volume == row.candle.quote_volume == row.candle.taker_buy_volume == expected


def heavy_minutes(seed: int, count: int) -> list[Candle]:
    """Return minutes whose hours have more digits than a double: of a dear coin's quote volume, and of a cheap coin."""
    rng = random.Random(seed)
    return [
        replace(
            minute_at(FRIDAY_MS + number * MINUTE_MS),
            volume=rng.randrange(10**14) / 100,
            quote_volume=rng.randrange(8 * 10**15) / 10**8,
            taker_buy_volume=rng.randrange(10**13) / 100,
            taker_buy_quote_volume=rng.randrange(4 * 10**15) / 10**8,
        )
        for number in range(count)
    ]


def printed_sums(minutes: Iterable[Candle]) -> list[float]:
    """Return the doubles nearest to the sums of the printed decimals."""
    rows = [[Decimal(repr(figure)) for figure in figures(minute)] for minute in minutes]
    return [float(sum(column)) for column in zip(*rows, strict=True)]


def figures(candle: Candle) -> tuple[float, ...]:
    """Return what is summed of a candle."""
    return candle.volume, candle.quote_volume, candle.taker_buy_volume, candle.taker_buy_quote_volume


@pytest.mark.parametrize("name", ["15m", "1h", "1d", "1M"])
async def test_long_sums_are_those_of_the_printed_decimals(store: AnyStore, name: str) -> None:
    """Digit for digit, whatever the sums of their hours; also with the newest minute, which the store lacks."""
    interval = INTERVALS[name]
    minutes = heavy_minutes(7, 2880)
    for begin in range(0, len(minutes) - 1, 900):
        await store.write_candles(minutes[begin : min(begin + 900, len(minutes) - 1)])
    stored = await store.read_intervals("BTCUSDT", interval, 0, None, 1000)
    merged = merge_newer_minutes(stored, interval, minutes[-1:], 0, None, 1000)
    spans = [
        [minute for minute in minutes if interval.floor(minute.open_time_ms) == row.candle.open_time_ms]
        for row in merged
    ]

    assert [list(figures(row.candle)) for row in merged] == [printed_sums(span) for span in spans]


@pytest.mark.parametrize("stale", ["NULL", "volume_whole + 1"])
async def test_an_hour_of_an_earlier_version_counts_as_its_doubles_say(tmp_path: Path, stale: str) -> None:
    """It has no parts of its sums, or those of a roll-up before the earlier version wrote to it once more."""
    path = tmp_path / "candles.sqlite3"
    store = make_store(path)
    await store.open()
    minutes = [minute_at(FRIDAY_MS + number * MINUTE_MS, volume=0.1) for number in range(90)]
    await store.write_candles(minutes)
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"UPDATE candles_1h SET volume_whole = {stale}, quote_volume_rest = {stale}")
        other.commit()
    (row,) = await store.read_intervals("BTCUSDT", INTERVALS["1d"], None, None, 2)
    await store.aclose()

    assert list(figures(row.candle)) == printed_sums(minutes)


@pytest.mark.parametrize("name", ["3m", "4h", "1w", "1M"])
@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
async def test_pages_are_contiguous(store: AnyStore, name: str, limit: int) -> None:
    """Read forwards or backwards, page by page over a hole of months, every candle comes exactly once."""
    interval = INTERVALS[name]
    minutes = random_walk(2, 300) + random_walk(3, 300, FRIDAY_MS + 100 * 24 * HOUR_MS)
    await store.write_candles(minutes)
    forwards: list[AggregatedCandle] = []
    while page := await store.read_intervals("BTCUSDT", interval, next_ms(forwards), None, limit):
        forwards += page
    backwards: list[AggregatedCandle] = []
    end_ms = None
    while page := await store.read_intervals("BTCUSDT", interval, None, end_ms, limit):
        backwards, end_ms = page + backwards, page[0].candle.open_time_ms - 1

    assert forwards == backwards == expected_candles(minutes, interval)


def next_ms(read: list[AggregatedCandle]) -> int:
    """Return where the page after these candles begins."""
    return read[-1].candle.open_time_ms + 1 if read else 0


@pytest.mark.parametrize(
    ("start", "end", "limit", "expected"),
    [
        (0, 8, 10, [0, 5]),
        (1, 8, 10, [5]),
        (6, None, 10, [10]),
        (0, 4, 10, [0]),
        (None, 4, 10, [0]),
        (None, 5, 1, [5]),
        (LONG_AGO, FAR_AWAY, 2, [0, 5]),
        (FAR_AWAY, None, 2, []),
        (None, LONG_AGO, 2, []),
        (9, 3, 2, []),
        (0, None, 0, []),
    ],
)
async def test_which_candles_are_read(
    store: AnyStore, start: int | None, end: int | None, limit: int, expected: list[int]
) -> None:
    """A candle is in a range if it opens there, and then has all its minutes."""
    await store.write_candles([minute_at(FRIDAY_MS + i * MINUTE_MS) for i in range(12)])
    bounds = [None if minute is None else FRIDAY_MS + minute * MINUTE_MS for minute in (start, end)]
    read = await store.read_intervals("BTCUSDT", INTERVALS["5m"], bounds[0], bounds[1], limit)

    assert [(row.candle.open_time_ms - FRIDAY_MS) // MINUTE_MS for row in read] == expected


async def test_a_correction_is_rolled_up(store: AnyStore) -> None:
    """When an old minute is corrected, its hour, day and month change at once."""
    await store.write_candles([minute_at(FRIDAY_MS + i * MINUTE_MS) for i in range(60)])
    await store.write_candles([minute_at(FRIDAY_MS + 7 * MINUTE_MS, price=500.0, volume=3.0)])
    found = [(await store.read_intervals("BTCUSDT", INTERVALS[name], None, None, 1))[0] for name in ("1h", "1d", "1M")]

    assert [(row.candle.high, row.candle.volume, row.minutes) for row in found] == [(500.0, 62.0, 60)] * 3


async def test_two_writers_of_the_same_hour(place: str | Path) -> None:
    """Two processes that write different minutes of the same hours at once lose none of them in the roll-up."""
    one, two = make_store(place), make_store(place)
    await asyncio.gather(one.open(), two.open())
    minutes = random_walk(4, 600)
    for begin in range(0, 600, 20):
        batch = minutes[begin : begin + 20]
        await asyncio.gather(
            one.write_candles(batch[::2]), two.write_candles(batch[1::2]), one.write_candles(batch[:3])
        )
    read = await one.read_intervals("BTCUSDT", INTERVALS["1h"], None, None, 100)
    await asyncio.gather(one.aclose(), two.aclose())

    assert read == expected_candles(minutes, INTERVALS["1h"])


async def test_symbols_and_venues_are_separate(store: AnyStore, place: str | Path) -> None:
    """An hour has the minutes of its own symbol and venue alone."""
    other = make_store(place, venue="com")
    await other.open()
    await store.write_candles([minute_at(FRIDAY_MS), replace(minute_at(FRIDAY_MS, 2.0), symbol="ETHUSDT")])
    await other.write_candles([minute_at(FRIDAY_MS, 3.0)])
    (row,) = await store.read_intervals("BTCUSDT", INTERVALS["1d"], None, None, 10)
    await other.aclose()

    assert (row.candle.close, row.minutes) == (100.0, 1)


def test_touched_hours() -> None:
    """Each hour once, in the order of the key."""
    rows = rows_to_write("us", [minute_at(FRIDAY_MS + i * MINUTE_MS) for i in (61, 60, 0, 59)])

    assert touched_hours(rows) == [("us", "BTCUSDT", FRIDAY_MS), ("us", "BTCUSDT", FRIDAY_MS + HOUR_MS)]
