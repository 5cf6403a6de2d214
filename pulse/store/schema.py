"""What both stores share: the numbered files of `sql/`, and the order in which a candle's values stand in a row.

A file is named 001_candles.sqlite.sql: a number that never changes, a name, and the engine; without an engine it is
for every one. Files are only ever added. This knows the file names and no database.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from pulse.errors import StoreUnavailable
from pulse.market.types import Candle

FILE_NAME = re.compile(r"(?P<version>[0-9]{3})_(?P<name>[a-z0-9_]+)(\.(?P<kind>[a-z]+))?\.sql")

VALUES = (
    "open_time_ms", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "source",
)  # fmt: skip
"""What stands in a row after its venue and symbol, by the names that a candle has for it, in the order of `sql/`."""
_values_of = attrgetter(*VALUES)


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
        if key not in kept or not (kept[key].source == "exchange" and candle.source == "trades"):
            kept[key] = candle
    return [(venue, key[0], *_values_of(kept[key])) for key in sorted(kept)]


def candle_of(symbol: str, row: Sequence[Any]) -> Candle:
    """The candle of a row that holds VALUES."""
    values: dict[str, Any] = dict(zip(VALUES, row, strict=True))
    return Candle(symbol=symbol, is_closed=True, **values)
