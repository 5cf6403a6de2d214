"""What both stores share: the migrations in `sql/`, the order of the columns, and the precedence rule of the upsert.

A migration is named 001_candles.sqlite.sql: a version that never changes, a name, and the engine; without an engine it
is for every one. Migrations are only ever added. This module knows the file names and no database.

Precedence between two candles of the same minute, in Python `takes_precedence` and in SQL ON_CONFLICT: the later one
replaces the stored one, except that
1. one that is not reconciled does not replace one that is: so the exchange's own candle is replaced only by one built
   here that equals it, and then the row has trade ids as well;
2. the exchange's own candle replaces a reconciled one only if it differs, or if it has the trade ids that the stored
   one lacks: the candles of the exchange's REST have none;
3. one of the exchange that is not reconciled, because it may still change, replaces only another one of the exchange.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from pulse.errors import StoreUnavailable
from pulse.market.coverage import DayCoverage, Hole
from pulse.market.types import Candle, TradeGap

FILE_NAME = re.compile(r"(?P<version>[0-9]{3})_(?P<name>[a-z0-9_]+)(\.(?P<kind>[a-z]+))?\.sql")

FIELDS = (
    "open_time_ms", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "source", "reconciled",
)  # fmt: skip
"""The columns after venue and symbol, in the order of `sql/`, by the names of the fields of `Candle`."""
_row_values = attrgetter(*FIELDS)

COMPARED_FIELDS = FIELDS[1:10]
"""What every candle of a minute has. Trade ids are not compared: the candles of the exchange's REST have none."""
_compared_values = attrgetter(*COMPARED_FIELDS)


def _columns_of(row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in COMPARED_FIELDS)


ON_CONFLICT = f"""
ON CONFLICT (venue, symbol, open_time) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in FIELDS[1:])}
WHERE (excluded.reconciled OR NOT kept.reconciled)
AND (excluded.reconciled OR excluded.source <> 'exchange' OR kept.source = 'exchange') AND NOT (
    excluded.source = 'exchange' AND kept.reconciled
    AND NOT (excluded.first_trade_id >= 0 AND kept.first_trade_id < 0)
    AND ({_columns_of("excluded")}) = ({_columns_of("kept")})
)
"""
"""The precedence rule as the end of an upsert into a table with the alias `kept`, for both engines."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version of the schema to the next; `text` is SQL."""

    version: int
    name: str
    text: str


def read_migrations(sql_dir: Path, kind: str) -> list[Migration]:
    """Return an engine's migrations in their order. Raise StoreUnavailable unless they are numbered 1, 2, 3, ..."""
    try:
        files = sorted(sql_dir.iterdir())
        named = [(match, file) for file in files if (match := FILE_NAME.fullmatch(file.name))]
        migrations = [
            Migration(int(match["version"]), match["name"], file.read_text(encoding="utf-8"))
            for match, file in named
            if match["kind"] in (None, kind)
        ]
    except (OSError, UnicodeDecodeError) as fault:
        raise StoreUnavailable(f"The schema in {sql_dir} cannot be read: {fault}.") from fault
    numbers = [migration.version for migration in migrations]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise StoreUnavailable(f"Expected the {kind} files in {sql_dir} to be numbered 001, 002, ..., got {numbers}.")
    return migrations


def rows_to_write(venue: str, candles: Iterable[Candle]) -> list[tuple[Any, ...]]:
    """Return the rows of closed candles, each minute once, in the order of the primary key.

    One statement cannot upsert a row twice, and two writers that lock rows in the same order cannot deadlock. Raises
    ValueError for a candle that is not closed.
    """
    kept: dict[tuple[str, int], Candle] = {}
    for candle in candles:
        if not candle.is_closed:
            raise ValueError(f"expected closed candles, got the running one of {candle.symbol} {candle.open_time_ms}")
        key = candle.symbol, candle.open_time_ms
        if key not in kept or takes_precedence(candle, kept[key]):
            kept[key] = candle
    return [(venue, key[0], *_row_values(kept[key])) for key in sorted(kept)]


def takes_precedence(later: Candle, kept: Candle) -> bool:
    """Return whether the later candle of a minute replaces the one that is kept."""
    if not later.reconciled:
        return not kept.reconciled and (later.source != "exchange" or kept.source == "exchange")
    brings_ids = later.first_trade_id >= 0 and kept.first_trade_id < 0
    adds_nothing = later.source == "exchange" and kept.reconciled and not brings_ids
    return not (adds_nothing and _compared_values(later) == _compared_values(kept))


def gap_rows(venue: str, gaps: Iterable[TradeGap]) -> list[tuple[Any, ...]]:
    """Return the rows of gaps, each once, in the order of the primary key."""
    kept = {(gap.symbol, gap.first_trade_id, gap.last_trade_id): gap for gap in gaps}
    return [(venue, *key, kept[key].from_ms, kept[key].to_ms, kept[key].noted_ms) for key in sorted(kept)]


COVERAGE_DAYS = 400
"""How many days of coverage are kept of a symbol: the newest. Counted, because a day far ahead, of a clock that was set
wrong, must not make the others old."""


def coverage_rows(venue: str, days: Iterable[DayCoverage]) -> list[tuple[Any, ...]]:
    """Return the rows of days, each once, in the order of the primary key."""
    kept = {(day.symbol, day.day_ms): day for day in days}
    return [
        (venue, *key, kept[key].since_ms, kept[key].until_ms, json.dumps(kept[key].holes, separators=(",", ":")))
        for key in sorted(kept)
    ]


def coverage_from_row(symbol: str, row: Sequence[Any]) -> DayCoverage:
    """Return the day of a row."""
    day_ms, since_ms, until_ms, holes = row
    return DayCoverage(symbol, day_ms, since_ms, until_ms, tuple(Hole(*hole) for hole in json.loads(holes)))


def candle_from_row(symbol: str, row: Sequence[Any]) -> Candle:
    """Return the candle of a row of FIELDS, which are in the order of the fields of `Candle`."""
    at, first, high, low, last, volume, quote, count, bought, bought_quote, first_id, last_id, source, reconciled = row
    return Candle(
        symbol, at, first, high, low, last, volume, quote, count, bought, bought_quote, first_id, last_id, True, source,
        bool(reconciled),  # SQLite has no booleans
    )  # fmt: skip
