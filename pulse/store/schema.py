"""What both stores share: the numbered files of `sql/`, the order of the values in a row, and which account of a
minute is kept.

A file is named 001_candles.sqlite.sql: a number that never changes, a name, and the engine; without an engine it is
for every one. Files are only ever added. This knows the file names and no database.

Which account of a minute is kept, in Python as `replaces` and in SQL as KEEP_BEST: the later one, except that
1. one that is not reconciled replaces none that is: so the exchange's own candle gives way only to one built here that
   equals it, and then the row holds trade ids as well;
2. the exchange's own replaces a reconciled one only where it says something else, or has the trade ids that the other
   lacks: its REST tells none.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from pulse.errors import StoreUnavailable
from pulse.market.types import Candle, TradeGap

FILE_NAME = re.compile(r"(?P<version>[0-9]{3})_(?P<name>[a-z0-9_]+)(\.(?P<kind>[a-z]+))?\.sql")

VALUES = (
    "open_time_ms", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "source", "reconciled",
)  # fmt: skip
"""What stands in a row after its venue and symbol, by the names that a candle has for it, in the order of `sql/`."""
_values_of = attrgetter(*VALUES)

PRINTS = VALUES[1:10]
"""What every account of a minute states, trade ids aside: the exchange's REST does not tell them."""
_prints_of = attrgetter(*PRINTS)

KEEP_BEST = f"""
ON CONFLICT (venue, symbol, open_time) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in VALUES[1:])}
WHERE (excluded.reconciled OR NOT kept.reconciled) AND NOT (
    excluded.source = 'exchange' AND kept.reconciled
    AND NOT (excluded.first_trade_id >= 0 AND kept.first_trade_id < 0)
    AND ({", ".join(f"excluded.{name}" for name in PRINTS)}) = ({", ".join(f"kept.{name}" for name in PRINTS)})
)
"""
"""The end of an upsert into a table called `kept`, for either engine."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    text: str


def read_migrations(sql_dir: Path, kind: str) -> list[Migration]:
    """The steps for an engine in their order. Raises StoreUnavailable when they are not 1, 2, 3 and so on."""
    try:
        files = sorted(sql_dir.iterdir())
        named = [(match, file) for file in files if (match := FILE_NAME.fullmatch(file.name))]
        steps = [
            Migration(int(match["version"]), match["name"], file.read_text(encoding="utf-8"))
            for match, file in named
            if match["kind"] in (None, kind)
        ]
    except (OSError, UnicodeDecodeError) as fault:
        raise StoreUnavailable(f"The schema in {sql_dir} cannot be read: {fault}.") from fault
    numbers = [step.version for step in steps]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise StoreUnavailable(f"Expected the {kind} files in {sql_dir} to be numbered 001, 002, ..., got {numbers}.")
    return steps


def rows_to_write(venue: str, candles: Iterable[Candle]) -> list[tuple[Any, ...]]:
    """The rows of closed candles, each minute once, in the order of the primary key.

    One statement cannot write a row twice; and two writers that lock rows in the same order cannot block each other
    for ever. Raises ValueError for a candle that is not closed.
    """
    kept: dict[tuple[str, int], Candle] = {}
    for candle in candles:
        if not candle.is_closed:
            raise ValueError(f"expected closed candles, got the running one of {candle.symbol} {candle.open_time_ms}")
        key = candle.symbol, candle.open_time_ms
        if key not in kept or replaces(candle, kept[key]):
            kept[key] = candle
    return [(venue, key[0], *_values_of(kept[key])) for key in sorted(kept)]


def replaces(later: Candle, kept: Candle) -> bool:
    """Whether the later account of a minute takes the place of the one that is kept."""
    if not later.reconciled:
        return not kept.reconciled
    brings_ids = later.first_trade_id >= 0 and kept.first_trade_id < 0
    adds_nothing = later.source == "exchange" and kept.reconciled and not brings_ids
    return not (adds_nothing and _prints_of(later) == _prints_of(kept))


def gap_rows(venue: str, gaps: Iterable[TradeGap]) -> list[tuple[Any, ...]]:
    """The rows of gaps, each once, in the order of the primary key."""
    kept = {(gap.symbol, gap.first_trade_id, gap.last_trade_id): gap for gap in gaps}
    return [(venue, *key, kept[key].from_ms, kept[key].to_ms, kept[key].noted_ms) for key in sorted(kept)]


def candle_of(symbol: str, row: Sequence[Any]) -> Candle:
    """The candle of a row that holds VALUES, which stand in a candle's own order."""
    at, first, high, low, last, volume, quote, count, bought, bought_quote, first_id, last_id, source, reconciled = row
    return Candle(
        symbol, at, first, high, low, last, volume, quote, count, bought, bought_quote, first_id, last_id, True, source,
        bool(reconciled),  # SQLite has no truth values
    )  # fmt: skip
