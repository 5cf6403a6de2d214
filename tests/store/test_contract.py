"""The contract of the store, for SQLite and for a real PostgreSQL server."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pulse.errors import StoreUnavailable
from pulse.market.coverage import DAY_MS, DayCoverage, Hole
from pulse.market.intervals import INTERVALS
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.schema import COVERAGE_DAYS, read_migrations
from tests.support.candles import BEGIN_MS, SQL_DIR, gap, minute_candle, minutes, running
from tests.support.stores import AnyStore, make_store

NEXT_VERSION = len(read_migrations(SQL_DIR, "sqlite")) + 1
DAY = BEGIN_MS - BEGIN_MS % DAY_MS
LIVE = minute_candle(close=1.0)
LIVE_LATER = minute_candle(close=2.0)
LIVE_RECONCILED = minute_candle(close=2.0, reconciled=True)
REPAIRED = minute_candle(close=2.0, source="repaired")
EXCHANGE = replace(minute_candle(close=2.0, source="exchange"), first_trade_id=-1)
EXCHANGE_CORRECTED = replace(EXCHANGE, volume=7.0)
EXCHANGE_EARLY = replace(EXCHANGE, reconciled=False)
EXCHANGE_EARLY_CORRECTED = replace(EXCHANGE_EARLY, volume=7.0)
EXCHANGE_WITH_IDS = minute_candle(close=2.0, source="exchange")


async def test_every_value_comes_back_exactly(store: AnyStore) -> None:
    """The values that are read are those that were written, to the last bit."""
    await store.write_candles([minute_candle()])

    assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]


async def test_candles_survive_the_process(store: AnyStore, place: str | Path) -> None:
    """The next process reads what the last one wrote."""
    await store.write_candles([minute_candle()])
    await store.aclose()
    later = make_store(place)
    await later.open()

    assert await later.read_candles("BTCUSDT", None, None, 10) == [minute_candle()]
    await later.aclose()


async def test_writes_are_idempotent(store: AnyStore) -> None:
    """A write may be repeated, as after a failure whose outcome is unknown."""
    for _ in range(3):
        await store.write_candles(minutes(5))

    assert await store.read_candles("BTCUSDT", None, None, 10) == minutes(5)


async def test_the_later_candle_of_a_minute_is_kept(store: AnyStore) -> None:
    """A corrected candle replaces the one before it."""
    await store.write_candles([minute_candle(close=1.0)])
    await store.write_candles([minute_candle(close=2.0)])

    assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle(close=2.0)]


@pytest.mark.parametrize(
    ("kept", "later", "is_replaced"),
    [
        (LIVE, LIVE_LATER, True),
        (LIVE, REPAIRED, True),
        (LIVE, EXCHANGE, True),
        (LIVE, LIVE_RECONCILED, True),
        (LIVE_RECONCILED, LIVE, False),
        (LIVE_RECONCILED, REPAIRED, False),
        (LIVE_RECONCILED, EXCHANGE, False),
        (LIVE_RECONCILED, EXCHANGE_CORRECTED, True),
        (EXCHANGE, LIVE_LATER, False),
        (EXCHANGE, LIVE_RECONCILED, True),
        (EXCHANGE, EXCHANGE_CORRECTED, True),
        (EXCHANGE, EXCHANGE_WITH_IDS, True),
        (EXCHANGE_WITH_IDS, EXCHANGE, False),
        (EXCHANGE_WITH_IDS, EXCHANGE_CORRECTED, True),
        (LIVE, EXCHANGE_EARLY, False),
        (EXCHANGE, EXCHANGE_EARLY, False),
        (EXCHANGE_EARLY, EXCHANGE_EARLY_CORRECTED, True),
        (EXCHANGE_EARLY, LIVE, True),
        (EXCHANGE_EARLY, EXCHANGE, True),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
async def test_the_precedence_of_candles_of_a_minute(
    store: AnyStore, kept: Candle, later: Candle, is_replaced: bool, at_once: bool
) -> None:
    """The later one, unless only the earlier one is reconciled or the later adds nothing; in one write or two."""
    for batch in [[kept, later]] if at_once else [[kept], [later]]:
        await store.write_candles(batch)

    assert await store.read_candles("BTCUSDT", None, None, 10) == [later if is_replaced else kept]


async def test_a_running_candle_is_rejected(store: AnyStore) -> None:
    """A candle that is not closed is an error of the caller, and nothing of its batch is written."""
    with pytest.raises(ValueError, match="closed"):
        await store.write_candles([minute_candle(), running(1)])

    assert await store.read_candles("BTCUSDT", None, None, 10) == []


async def test_an_empty_batch(store: AnyStore) -> None:
    """Writing nothing is no error."""
    await store.write_candles([])

    assert await store.read_candles("BTCUSDT", None, None, 10) == []


@pytest.mark.parametrize(
    ("start", "end", "limit", "expected"),
    [
        (None, None, 3, [7, 8, 9]),
        (None, 5, 3, [3, 4, 5]),
        (2, None, 3, [2, 3, 4]),
        (2, 3, 10, [2, 3]),
        (4, 4, 10, [4]),
        (10, None, 10, []),
        (5, 4, 10, []),
        (None, None, 0, []),
        (-(10**20), 10**20, 2, [0, 1]),
        (10**20, None, 2, []),
        (None, -(10**20), 2, []),
    ],
)
async def test_which_candles_are_read(
    store: AnyStore, start: int | None, end: int | None, limit: int, expected: list[int]
) -> None:
    """With a start the first of the range, without one the last; always oldest first, both ends included."""
    await store.write_candles(minutes(10))
    times = [None if minute is None else BEGIN_MS + minute * MINUTE_MS for minute in (start, end)]
    rows = await store.read_candles("BTCUSDT", times[0], times[1], limit)

    assert [(row.open_time_ms - BEGIN_MS) // MINUTE_MS for row in rows] == expected


async def test_symbols_are_separate(store: AnyStore) -> None:
    """The candles of one symbol are read without those of another."""
    await store.write_candles(minutes(3, "BTCUSDT") + minutes(2, "ETHUSDT"))

    assert await store.read_candles("ETHUSDT", None, None, 10) == minutes(2, "ETHUSDT")


async def test_venues_are_separate(store: AnyStore, place: str | Path) -> None:
    """The same minute of a symbol at two venues is two candles."""
    other = make_store(place, venue="com")
    await other.open()
    await store.write_candles([minute_candle(close=1.0)])
    await other.write_candles([minute_candle(close=2.0)])
    ours = await store.read_candles("BTCUSDT", None, None, 10)
    await other.aclose()

    assert [row.close for row in ours] == [1.0]


async def test_an_open_store_passes_the_check(store: AnyStore) -> None:
    """A closed one does not."""
    await store.check()
    await store.aclose()

    with pytest.raises(StoreUnavailable):
        await store.check()


async def test_a_large_batch(store: AnyStore) -> None:
    """A day of minutes is written in one call."""
    await store.write_candles(minutes(1440))

    assert len(await store.read_candles("BTCUSDT", None, None, 10_000)) == 1440


async def test_many_calls_at_once(store: AnyStore) -> None:
    """Reads and writes can run concurrently."""
    await asyncio.gather(
        *(store.write_candles(minutes(50)) for _ in range(5)),
        *(store.read_candles("BTCUSDT", None, None, 100) for _ in range(10)),
    )

    assert await store.read_candles("BTCUSDT", None, None, 100) == minutes(50)


async def test_stores_that_open_at_once_migrate_once(place: str | Path) -> None:
    """However many processes find an empty database at the same moment, each migration is applied once."""
    stores = [make_store(place) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.write_candles(minutes(5)) for store in stores))
    read = await asyncio.gather(*(store.read_candles("BTCUSDT", None, None, 10) for store in stores))
    await asyncio.gather(*(store.aclose() for store in stores))

    assert read == [minutes(5)] * 6


async def test_two_writers_of_the_same_minutes(place: str | Path) -> None:
    """Two processes that write the same minutes, as during a deploy, neither fail nor lose a minute."""
    one, two = make_store(place), make_store(place)
    await asyncio.gather(one.open(), two.open())
    candles = minutes(300)
    for begin in range(0, 300, 50):
        batch = candles[begin : begin + 50]
        await asyncio.gather(one.write_candles(batch), two.write_candles(batch[::-1]))
    read = await one.read_candles("BTCUSDT", None, None, 1000)
    await asyncio.gather(one.aclose(), two.aclose())

    assert read == candles


def sql_with_migration(tmp_path: Path, kind: str, statement: str) -> Path:
    """Copy `sql/` and add a migration; return the folder."""
    later = tmp_path / "later"
    shutil.copytree(SQL_DIR, later)
    table = "candles" if kind == "sqlite" else "pulse.candles"
    (later / f"{NEXT_VERSION:03}_later.{kind}.sql").write_text(statement.format(table=table))
    return later


async def test_a_later_version_adds_its_migration(store: AnyStore, place: str | Path, tmp_path: Path) -> None:
    """A newer program applies its new migration once; an older one that is still running goes on."""
    await store.write_candles([minute_candle(0)])
    sql_dir = sql_with_migration(tmp_path, store.kind, "ALTER TABLE {table} ADD COLUMN note text; -- ; in a comment\n")
    for minute in (1, 2):
        later = make_store(place, sql_dir=sql_dir)
        await later.open()
        await later.write_candles([minute_candle(minute)])
        await later.aclose()
    await store.write_candles([minute_candle(3)])

    assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle(minute) for minute in range(4)]


async def test_a_migration_that_fails_changes_nothing(store: AnyStore, place: str | Path, tmp_path: Path) -> None:
    """A migration is applied whole or not at all."""
    await store.write_candles([minute_candle(0)])
    sql_dir = sql_with_migration(tmp_path, store.kind, "DELETE FROM {table};\nINSERT INTO no_such_table VALUES (1);\n")
    later = make_store(place, sql_dir=sql_dir)
    with pytest.raises(StoreUnavailable, match="no_such_table"):
        await open_and_write(later)
    await later.aclose()

    assert await store.read_candles("BTCUSDT", None, None, 10) == [minute_candle(0)]


async def open_and_write(store: AnyStore) -> None:
    """Open and write: the schema is migrated by the first write at the latest."""
    await store.open()
    await store.write_candles([minute_candle(1)])


def make_first_version(place: str | Path) -> None:
    """Make a database of the first version, with a minute of each source."""
    kind = "sqlite" if isinstance(place, Path) else "postgres"
    table, time = ("candles", "{}") if kind == "sqlite" else ("pulse.candles", "to_timestamp({} / 1000)")
    insert = f"INSERT INTO {table} VALUES ('us', 'BTCUSDT', {time}, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, '{{}}');\n"
    text = (SQL_DIR / f"001_candles.{kind}.sql").read_text()
    text += insert.format(BEGIN_MS, "trades") + insert.format(BEGIN_MS + MINUTE_MS, "exchange")
    schema = "" if kind == "sqlite" else "pulse."
    text += f"CREATE TABLE {schema}schema_version (version integer PRIMARY KEY, name text NOT NULL);\n"
    text += f"INSERT INTO {schema}schema_version VALUES (1, 'candles');\n"
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as file:
            file.executescript(text)
    else:
        with closing(psycopg.connect(place, autocommit=True)) as server:
            server.execute(("CREATE SCHEMA pulse;" + text).encode())


async def test_rows_of_the_first_version_are_migrated(place: str | Path) -> None:
    """They are kept, with today's values of source and reconciled."""
    make_first_version(place)
    store = make_store(place)
    await store.open()
    rows = await store.read_candles("BTCUSDT", None, None, 10)
    await store.aclose()

    assert [(row.source, row.reconciled) for row in rows] == [("live", False), ("exchange", True)]


async def test_gaps_are_stored_once(store: AnyStore) -> None:
    """A gap that is written again stays as it was first; others are added."""
    await store.write_gaps([gap(20), gap(10)])
    await store.write_gaps([gap(10, noted_ms=BEGIN_MS + 1), gap(10, symbol="ETHUSDT")])

    assert await store.read_gaps("BTCUSDT", 0, 2 * BEGIN_MS, 10) == [gap(10), gap(20)]


@pytest.mark.parametrize(
    ("start", "end", "limit", "expected"),
    [(0, 9, 10, [10, 20, 30]), (1, 1, 10, [20]), (0, 9, 2, [10, 20]), (3, 9, 10, []), (-(10**20), 10**20, 1, [10])],
)
async def test_which_gaps_are_read(store: AnyStore, start: int, end: int, limit: int, expected: list[int]) -> None:
    """Those that touch the range, ordered by their ids."""
    await store.write_gaps([gap(10, 0), gap(20, 1), gap(30, 2)])
    read = await store.read_gaps("BTCUSDT", BEGIN_MS + start * MINUTE_MS, BEGIN_MS + end * MINUTE_MS, limit)

    assert [found.first_trade_id for found in read] == expected


async def test_old_hours_are_deleted(store: AnyStore) -> None:
    """The oldest first, at most as many as allowed, with their minutes."""
    await store.write_candles(minutes(200) + minutes(200, "ETHUSDT"))
    hours = [await store.delete_before(BEGIN_MS + 130 * MINUTE_MS, 4) for _ in range(3)]
    kept = [(await store.read_candles(symbol, None, None, 1000))[0] for symbol in ("BTCUSDT", "ETHUSDT")]
    read = await store.read_intervals("BTCUSDT", INTERVALS["1d"], None, None, 10)

    assert hours == [4, 2, 0]  # 23:55, 00:00 and 01:00; the hour of 02:00 is not over
    assert [(row.open_time_ms - BEGIN_MS) // MINUTE_MS for row in kept] == [125, 125]
    assert [row.minutes for row in read] == [75]


async def test_the_oldest_and_the_newest_hour_are_known(store: AnyStore) -> None:
    """Of any symbol, and none while nothing is stored."""
    assert await store.stored_hours() is None

    await store.write_candles([minute_candle(0), minute_candle(130, symbol="ETHUSDT")])
    assert await store.stored_hours() == (BEGIN_MS - 55 * MINUTE_MS, BEGIN_MS + 125 * MINUTE_MS)


async def test_old_gaps_are_deleted(store: AnyStore) -> None:
    """Those that ended before the time."""
    await store.write_gaps([gap(10, 0), gap(20, 1)])
    await store.delete_before(BEGIN_MS + MINUTE_MS + 1, 10)

    assert await store.read_gaps("BTCUSDT", 0, 2 * BEGIN_MS, 10) == [gap(20, 1)]


def covered(day: int, symbol: str = "BTCUSDT", *holes: Hole) -> DayCoverage:
    """Return a day, counted from that of BEGIN_MS, that was watched for an hour."""
    return DayCoverage(symbol, DAY + day * DAY_MS, DAY + day * DAY_MS, DAY + day * DAY_MS + 3_600_000, holes)


async def test_days_of_coverage_come_back_exactly(store: AnyStore) -> None:
    """The newest version of each, in their order, of one symbol; words of any kind in the reason of a hole."""
    hole = Hole(DAY + 1, DAY + 2, "offline", 'cut: "\u5e01" \n')
    await store.write_coverage([])
    await store.write_coverage([covered(1), covered(0), covered(0, "ETHUSDT")])
    await store.write_coverage([covered(0, "BTCUSDT", hole)])

    assert await store.read_coverage("BTCUSDT", DAY, DAY + DAY_MS) == [covered(0, "BTCUSDT", hole), covered(1)]
    assert await store.read_coverage("BTCUSDT", DAY + 1, DAY + DAY_MS) == [covered(1)]


async def test_days_of_coverage_are_bounded(store: AnyStore) -> None:
    """The oldest of too many are deleted, and with the candles of their time; one far ahead makes no other old."""
    await store.write_coverage([covered(day) for day in range(COVERAGE_DAYS)] + [covered(0, "ETHUSDT")])
    await store.write_coverage([covered(9_999), covered(9_999, "ETHUSDT")])
    kept = await store.read_coverage("BTCUSDT", 0, 2 * BEGIN_MS)
    other = await store.read_coverage("ETHUSDT", 0, 2 * BEGIN_MS)
    await store.delete_before(DAY + COVERAGE_DAYS * DAY_MS - 5, 10)

    assert kept == [covered(day) for day in (*range(1, COVERAGE_DAYS), 9_999)]
    assert other == [covered(0, "ETHUSDT"), covered(9_999, "ETHUSDT")]
    assert await store.read_coverage("BTCUSDT", 0, 2 * BEGIN_MS) == [covered(COVERAGE_DAYS - 1), covered(9_999)]


async def test_deletion_is_per_venue(store: AnyStore, place: str | Path) -> None:
    """The candles of another venue stay."""
    other = make_store(place, venue="com")
    await other.open()
    await other.write_candles(minutes(5))
    await other.write_coverage([covered(0)])
    deleted = await store.delete_before(2 * BEGIN_MS, 10)
    rows = await other.read_candles("BTCUSDT", None, None, 10)
    days = await other.read_coverage("BTCUSDT", 0, 2 * BEGIN_MS)
    await other.aclose()

    assert (deleted, rows, days) == (0, minutes(5), [covered(0)])


async def test_a_closed_store(store: AnyStore) -> None:
    """Calls raise an error that says so; closing it again does no harm."""
    await store.aclose()
    await store.aclose()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read_candles("BTCUSDT", None, None, 1)
