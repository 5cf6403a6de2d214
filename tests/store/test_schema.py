"""Migrations and rows, without a database."""

from pathlib import Path

import pytest

from pulse.errors import StoreUnavailable
from pulse.store.schema import FIELDS, Migration, candle_from_row, read_migrations, rows_to_write
from tests.support.candles import SQL_DIR, minute_candle, running


def write_files(folder: Path, *names: str) -> Path:
    """Write files whose text is their name; return their folder."""
    for name in names:
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_our_own_migrations_can_be_read(kind: str) -> None:
    """Each engine has its migrations in `sql/`."""
    assert [migration.name for migration in read_migrations(SQL_DIR, kind)] == [
        "candles", "receipts", "hours", "exact_sums", "coverage", "fences",
    ]  # fmt: skip


def test_an_engine_takes_its_own_files_and_the_common_ones(tmp_path: Path) -> None:
    """Files of another engine, and files that are no migration, are ignored; the others come in order."""
    write_files(tmp_path, "002_both.sql", "001_a.sqlite.sql", "001_b.postgres.sql", "README.md", "3_no.sql")

    assert read_migrations(tmp_path, "sqlite") == [
        Migration(1, "a", "001_a.sqlite.sql"),
        Migration(2, "both", "002_both.sql"),
    ]


@pytest.mark.parametrize("names", [(), ("002_b.sql",), ("001_a.sql", "003_c.sql"), ("001_a.sql", "001_b.sql")])
def test_numbers_without_gaps(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A folder whose versions are not 1, 2, 3 and so on is rejected; the error names the folder."""
    with pytest.raises(StoreUnavailable, match=tmp_path.name):
        read_migrations(write_files(tmp_path, *names), "sqlite")


def test_a_missing_folder(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(StoreUnavailable, match="nowhere"):
        read_migrations(tmp_path / "nowhere", "sqlite")


def test_rows_are_in_the_order_of_the_primary_key() -> None:
    """Whatever the order of the candles, their rows are sorted by symbol and minute."""
    rows = rows_to_write("us", [minute_candle(1), minute_candle(0), minute_candle(1, symbol="ADAUSDT")])

    assert [row[1:3] for row in rows] == sorted(row[1:3] for row in rows)
    assert {row[0] for row in rows} == {"us"}


def test_each_minute_is_one_row() -> None:
    """Of several candles of a minute the last one becomes the row."""
    rows = rows_to_write("us", [minute_candle(close=1.0), minute_candle(close=2.0)])

    assert [row[2 + FIELDS.index("close")] for row in rows] == [2.0]


def test_a_running_candle_is_rejected() -> None:
    """Only closed candles have a row."""
    with pytest.raises(ValueError, match="closed"):
        rows_to_write("us", [running()])


def test_a_row_becomes_the_candle_it_was() -> None:
    """Writing and reading agree on the order of the values."""
    venue, symbol, *values = rows_to_write("us", [minute_candle()])[0]

    assert (venue, candle_from_row(symbol, values)) == ("us", minute_candle())
