"""Columns: whatever is written is read again, bit by bit, and nothing else is read."""

import lzma
import random
import struct
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.errors import BadBlock
from pulse.past.columns import HEAD, LZMA, PLAIN_BYTES_MAX, ColumnReader, ColumnWriter, Form
from tests.support.makers import unhurried

whole = st.lists(st.integers(-(2**62), 2**62))
doubles = st.lists(st.floats(allow_nan=False, allow_infinity=False))
decimals = st.lists(st.integers(-(10**15), 10**15).map(lambda units: units / 10**8))
runs = st.lists(st.lists(st.integers(0, 10**9).map(lambda ticks: ticks / 100), max_size=5), max_size=5)


def packed(*parts: bytes) -> bytes:
    """Return raw columns, compressed."""
    return lzma.compress(b"".join(parts), lzma.FORMAT_RAW, filters=LZMA)


def column(form: int, count: int, data: bytes, unit: int = 0) -> bytes:
    """Return one raw column."""
    return HEAD.pack(form, count, len(data), unit) + data


def bits(values: list[float]) -> bytes:
    """Return doubles as bytes: equal values need not be the same."""
    return struct.pack(f"{len(values)}d", *values)


@given(whole, st.lists(st.integers(-(2**61), 2**61)))
@unhurried
def test_whole_numbers(values: list[int], others: list[int]) -> None:
    """As they are, and as differences, which have to be of 63 bits too."""
    writer = ColumnWriter()
    writer.ints(values)
    writer.deltas(others)
    reader = ColumnReader(writer.finish())

    assert reader.ints(len(values)) == values
    assert reader.deltas(len(others)) == others
    reader.finish()


@given(st.one_of(decimals, doubles), st.one_of(decimals, doubles), st.binary())
@unhurried
def test_decimals(values: list[float], others: list[float], data: bytes) -> None:
    """Prices of the exchange, and any other double: every bit is kept, that of a negative zero too."""
    writer = ColumnWriter()
    writer.decimals(values)
    writer.decimal_deltas(others)
    writer.blob(data)
    reader = ColumnReader(writer.finish())

    assert bits(reader.decimals(len(values))) == bits(values)
    assert bits(reader.decimal_deltas(len(others))) == bits(others)
    assert reader.blob() == data
    reader.finish()


@given(st.one_of(runs, st.lists(doubles, max_size=4)), st.sampled_from([1, -1]))
@unhurried
def test_runs(values: list[list[float]], sign: int) -> None:
    """Prices of many sides, some of them empty, whichever way they go."""
    writer = ColumnWriter()
    writer.runs(values, sign)
    reader = ColumnReader(writer.finish())

    assert list(map(bits, reader.runs([len(run) for run in values], sign))) == list(map(bits, values))
    reader.finish()


@pytest.mark.parametrize("value", [inf, -inf])
def test_what_is_no_number_is_not_read(value: float) -> None:
    """It may be written, but no price is infinite."""
    writer = ColumnWriter()
    writer.decimals([value])

    with pytest.raises(BadBlock, match="no number"):
        ColumnReader(writer.finish()).decimals(1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (column(Form.WHOLE, 2, b"\x01"), "expected"),
        (column(Form.WHOLE, 1, b""), "has 0"),
        (column(Form.WHOLE, 1, b"\x80"), "within a number"),
        (column(Form.WHOLE, 1, b"\x80" * 11), "no end"),
        (column(Form.WHOLE, 1, b"\xff" * 9 + b"\x7f"), "beyond 64 bits"),
        (column(Form.DOUBLES, 1, b"\0" * 8), "of whole numbers was expected"),
        (column(9, 1, b"\x01"), "form 9"),
        (column(Form.WHOLE, 1, b"\x01")[:-1], "beyond the end"),
        (b"\0", "beyond the end"),
    ],
)
def test_wrong_whole_numbers_are_refused(data: bytes, reason: str) -> None:
    """A wrong count, a number without an end, another form, an end that is cut off."""
    with pytest.raises(BadBlock, match=reason):
        ColumnReader(packed(data)).ints(1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (column(Form.WHOLE, 1, b"\x01"), "no unit"),
        (column(Form.WHOLE, 1, b"\x01", 2**63), "no unit"),
        (column(Form.DOUBLES, 1, b"\0" * 7), "7 bytes"),
        (column(Form.BYTES, 1, b"\0", 1), "of whole numbers was expected"),
    ],
)
def test_wrong_decimals_are_refused(data: bytes, reason: str) -> None:
    """Without a unit they are no decimals."""
    with pytest.raises(BadBlock, match=reason):
        ColumnReader(packed(data)).decimals(1)


def test_wrong_runs_and_bytes_are_refused() -> None:
    """Two units, a second column where there is none, numbers where bytes are expected."""
    two_units = column(Form.WHOLE, 1, b"\x01", 1) + column(Form.WHOLE, 1, b"\x01", 2)
    with pytest.raises(BadBlock, match="more than one"):
        ColumnReader(packed(two_units)).runs([2], 1)
    not_empty = column(Form.DOUBLES, 2, b"\0" * 16) + column(Form.WHOLE, 0, b"")
    with pytest.raises(BadBlock, match="without numbers"):
        ColumnReader(packed(not_empty)).runs([2], 1)
    with pytest.raises(BadBlock, match="of bytes was expected"):
        ColumnReader(packed(column(Form.WHOLE, 1, b"\x01"))).blob()


def test_left_over_bytes_are_refused() -> None:
    """After the last column, and after the compressed stream."""
    reader = ColumnReader(packed(b"x"))
    with pytest.raises(BadBlock, match="1 bytes are left"):
        reader.finish()
    with pytest.raises(BadBlock, match="one whole stream"):
        ColumnReader(packed(b"x") + b"y")


def test_stream_that_unpacks_to_too_much_is_refused() -> None:
    """A small file may not take all memory."""
    with pytest.raises(BadBlock, match="at most"):
        ColumnReader(packed(bytes(PLAIN_BYTES_MAX + 1)))


def test_random_bytes_are_refused() -> None:
    """They raise BadBlock, and nothing else."""
    rng = random.Random(1)
    for _ in range(200):
        with pytest.raises(BadBlock):
            ColumnReader(rng.randbytes(40)).ints(1)
