"""Rows: every kind of event is read as it was written, in its place and at its time."""

import orjson
import pytest
from hypothesis import given

from pulse.errors import BadBlock
from pulse.market.market import Market
from pulse.past.columns import ColumnReader, ColumnWriter
from pulse.past.events import CODES, ROWS_MAX, VIEW, Row, read_rows, write_rows
from pulse.past.playback import decode_rows, encode_rows
from tests.support.makers import unhurried
from tests.support.past import OTHERS, by_minute, new_market, recorded_rows, small_session, some_rows
from tests.support.recordings import recording


@given(some_rows)
@unhurried
def test_rows_of_any_kind_and_order(rows: list[Row]) -> None:
    """Also ids and times that go back, prices that are no decimals, and no rows at all."""
    assert decode_rows(encode_rows(rows)) == rows


def test_every_event_of_a_market_has_a_kind() -> None:
    """A market takes no event that could not be recorded."""
    market: Market = new_market()

    assert set(market._handlers) | {type(VIEW)} == set(CODES)


def test_a_recorded_session_is_read_as_it_was() -> None:
    """Minutes of a busy symbol."""
    rows = recorded_rows(recording("btcusdt-2024-08-08"), "*0808.gz", "BTCUSDT")

    assert all(decode_rows(encode_rows(block)) == block for block in by_minute(rows)[:2])


def written(rows: list[Row], text: bytes) -> ColumnReader:
    """Return rows whose rare events are this JSON."""

    class Writer(ColumnWriter):
        def blob(self, data: bytes) -> None:
            super().blob(text)

    writer = Writer()
    write_rows(rows, writer)
    return ColumnReader(writer.finish())


@pytest.mark.parametrize(
    "text",
    [
        b"[",
        b"{}",
        b"[]",
        b'["BookLost"]',
        b'[["FeedDown",{"reason":"cut","is_end":false}]]',
        b'[["BookLost",{}]]',
        b'[["BookLost",{"reason":1}]]',
        b'[["BookLost",{"reason":"a","other":1}]]',
    ],
)
def test_wrong_rare_events_are_refused(text: bytes) -> None:
    """No JSON, too few, another kind, other fields, another type."""
    lost = next(event for event in OTHERS if type(event).__name__ == "BookLost")
    with pytest.raises(BadBlock):
        read_rows(written([Row(0, lost)], text))


@pytest.mark.parametrize("kinds", [None, "depth", [1]])
def test_feed_that_names_no_kinds_is_refused(kinds: object) -> None:
    """Its kinds of streams are a list of names."""
    text = orjson.dumps([["FeedUp", {"kinds": kinds}]])
    with pytest.raises(BadBlock, match="names no kinds"):
        read_rows(written([Row(0, OTHERS[0])], text))


@pytest.mark.parametrize("count", [-1, ROWS_MAX + 1])
def test_impossible_number_of_rows_is_refused(count: int) -> None:
    """Before anything is made of it."""
    writer = ColumnWriter()
    writer.ints([count])
    with pytest.raises(BadBlock, match="rows"):
        read_rows(ColumnReader(writer.finish()))


def test_unknown_kind_is_refused() -> None:
    """A later format may have more."""
    writer = ColumnWriter()
    writer.ints([1])
    writer.ints([99])
    with pytest.raises(BadBlock, match="kind"):
        read_rows(ColumnReader(writer.finish()))


def test_columns_of_other_counts_are_refused() -> None:
    """Fewer than no levels, more diffs than an anchor can have."""

    class Writer(ColumnWriter):
        def __init__(self, at: int, value: int) -> None:
            super().__init__()
            self.at, self.value = at, value

        def ints(self, values: list[int]) -> None:  # type: ignore[override]
            self.at -= 1
            super().ints([self.value] * len(values) if self.at == 0 and values else values)

    refused = 0
    for place in range(1, 60):
        for value in (-1, ROWS_MAX + 1):
            writer = Writer(place, value)
            write_rows(small_session(), writer)
            try:
                read_rows(ColumnReader(writer.finish()))
            except BadBlock:
                refused += 1
    assert refused > 10
