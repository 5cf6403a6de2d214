"""Columns of numbers as bytes: exact, short, and laid out so that LZMA finds what repeats. Pure.

A column is a head (its form, its count of numbers, its length, its unit) and its numbers: variable-length integers
(LEB128, seven bits a byte), or doubles. Prices and quantities are decimals of at most eight places, so they are kept as
whole multiples of the largest unit that divides all of a column, such as a tick; a column in which one is no such
decimal is kept as doubles. What is read is what was written, bit by bit.
"""

import lzma
import struct
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from itertools import accumulate, chain
from math import gcd, isfinite
from operator import sub
from typing import TypeAlias

from pulse.errors import BadBlock

HEAD = struct.Struct("<BIIQ")
"""Form, count of numbers, length in bytes, and the unit of decimals in 1e-8 (0: plain numbers)."""
SCALE = 10**8
"""The smallest unit of the exchange's decimals is 1e-8."""
UNITS_MAX = 2**62
"""A decimal of more units is kept as a double."""
VARINT_BYTES_MAX = 10
"""Of a number of 64 bits."""
PLAIN_BYTES_MAX = 64 * 2**20
"""Bytes of all columns of one block at most, before compression: what a reader unpacks."""
LZMA = ({"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 1, "lp": 0, "pb": 0, "dict_size": 2**20},)
"""How columns are compressed: bytes without alignment (`pb` 0), for which one bit of the byte before is context enough.
Measured on BTCUSDT, a block of 60 s: written in 29 ms, read in 4 ms, 10 % shorter than deflate makes it in 5 ms."""


Step: TypeAlias = Callable[[Sequence[int]], Sequence[int]]
Sum: TypeAlias = Callable[[Iterable[int]], Iterable[int]]


class Form(IntEnum):
    """How the numbers of a column are kept."""

    WHOLE = 0  # none is negative
    SIGNED = 1  # the sign is the lowest bit
    DOUBLES = 2
    BYTES = 3


FORMS = frozenset(Form)


class ColumnWriter:
    """Collects the columns of one block, in the order in which a reader takes them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def ints(self, values: Sequence[int]) -> None:
        """Add whole numbers of at most 63 bits and a sign."""
        self._add_ints(values, 0)

    def deltas(self, values: Sequence[int]) -> None:
        """Add whole numbers as the differences between neighbours."""
        self._add_ints(differences(values), 0)

    def decimals(self, values: Sequence[float]) -> None:
        """Add prices or quantities."""
        self._add_decimals(values, lambda units: units)

    def decimal_deltas(self, values: Sequence[float]) -> None:
        """Add prices or quantities as the differences between neighbours."""
        self._add_decimals(values, differences)

    def runs(self, runs: Sequence[Sequence[float]], sign: int) -> None:
        """Add runs of prices that mostly rise (`sign` 1) or fall (-1): where each begins, and the steps within it."""
        values = list(chain.from_iterable(runs))
        units = _units(values)
        if units is None:
            self._add_doubles(values)
            self._add_doubles([])
            return
        unit = gcd(*units) or 1
        whole = [value // (sign * unit) for value in units]
        firsts: list[int] = []
        steps: list[int] = []
        end = 0
        for run in runs:
            start, end = end, end + len(run)
            firsts += whole[start : min(start + 1, end)]
            steps += map(sub, whole[start + 1 : end], whole[start:end])
        self._add_ints(differences(firsts), unit)
        self._add_ints(steps, unit)

    def blob(self, data: bytes) -> None:
        """Add bytes as they are."""
        self._add(Form.BYTES, len(data), data, 0)

    def finish(self) -> bytes:
        """Return everything, compressed."""
        return lzma.compress(b"".join(self._parts), lzma.FORMAT_RAW, filters=LZMA)

    def _add_decimals(self, values: Sequence[float], shown: Step) -> None:
        units = _units(values)
        if units is None:
            self._add_doubles(values)
            return
        unit = gcd(*units) or 1
        self._add_ints(shown([value // unit for value in units] if unit > 1 else units), unit)

    def _add_doubles(self, values: Sequence[float]) -> None:
        self._add(Form.DOUBLES, len(values), struct.pack(f"<{len(values)}d", *values), 0)

    def _add_ints(self, values: Sequence[int], unit: int) -> None:
        is_signed = bool(values) and min(values) < 0
        data = _varints([value << 1 ^ value >> 63 for value in values] if is_signed else values)
        self._add(Form.SIGNED if is_signed else Form.WHOLE, len(values), data, unit)

    def _add(self, form: Form, count: int, data: bytes, unit: int) -> None:
        self._parts += [HEAD.pack(form, count, len(data), unit), data]


class ColumnReader:
    """Reads the columns of one block in the order in which they were written. Raises BadBlock for any other bytes."""

    def __init__(self, data: bytes) -> None:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA)
        try:
            self._data = unpacker.decompress(data, PLAIN_BYTES_MAX)
        except lzma.LZMAError as fault:
            raise BadBlock(f"its columns cannot be unpacked: {fault}") from fault
        if not unpacker.eof or unpacker.unused_data:
            raise BadBlock(f"its columns are not one whole stream of at most {PLAIN_BYTES_MAX} bytes")
        self._at = 0

    def ints(self, count: int) -> list[int]:
        """Return whole numbers: a column of exactly `count`."""
        form, data, _ = self._take(count)
        return _whole(form, data, count)

    def deltas(self, count: int) -> list[int]:
        """Return whole numbers that were written as differences."""
        return list(accumulate(self.ints(count)))

    def decimals(self, count: int) -> list[float]:
        """Return prices or quantities."""
        return self._decimals(count, lambda units: units)

    def decimal_deltas(self, count: int) -> list[float]:
        """Return prices or quantities that were written as differences."""
        return self._decimals(count, accumulate)

    def runs(self, counts: Sequence[int], sign: int) -> list[list[float]]:
        """Return runs of prices of these lengths."""
        total, begun = sum(counts), sum(map(bool, counts))
        form, data, unit = self._take(None)
        if form is Form.DOUBLES:
            values = _doubles(data, total)
            self._check_empty()
        else:
            firsts = accumulate(_whole(form, data, begun))
            form, data, second = self._take(total - begun)
            steps = _whole(form, data, total - begun)
            values = _run_values(counts, firsts, steps, _unit(unit, second), sign)
        ends = accumulate(counts)
        return [values[end - size : end] for end, size in zip(ends, counts, strict=True)]

    def blob(self) -> bytes:
        """Return bytes as they were written."""
        form, data, _ = self._take(None)
        if form is not Form.BYTES:
            raise BadBlock("a column of bytes was expected")
        return data

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._at != len(self._data):
            raise BadBlock(f"{len(self._data) - self._at} bytes are left after its last column")

    def _decimals(self, count: int, shown: Sum) -> list[float]:
        form, data, unit = self._take(count)
        if form is Form.DOUBLES:
            return _doubles(data, count)
        return _floats(shown(_whole(form, data, count)), _unit(unit, unit))

    def _check_empty(self) -> None:
        form, data, _ = self._take(0)
        if form is not Form.DOUBLES or data:
            raise BadBlock("a column without numbers was expected")

    def _take(self, count: int | None) -> tuple[Form, bytes, int]:
        """Return the next column's form, bytes and unit; it must have `count` numbers, where that is known."""
        code, found, size, unit = HEAD.unpack(self._slice(HEAD.size))
        if code not in FORMS or count not in (None, found):
            raise BadBlock(f"a column of {count} numbers was expected, one of form {code} with {found} found")
        return Form(code), self._slice(size), unit

    def _slice(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise BadBlock("a column reaches beyond the end of the block")
        return self._data[start : self._at]


def differences(values: Sequence[int]) -> list[int]:
    """Return the first value, and then each one's difference from the one before it."""
    return [*values[:1], *map(sub, values[1:], values)]


def _units(values: Sequence[float]) -> list[int] | None:
    """Return each value in units of 1e-8; None where one of them is no such decimal."""
    if not all(map(isfinite, values)) or (values and max(max(values), -min(values)) * SCALE >= UNITS_MAX):
        return None
    units = [round(value * SCALE) for value in values]
    form = f"{len(units)}d"
    # Compared as bits: -0.0 is equal to 0.0, but not the same.
    return units if struct.pack(form, *[unit / SCALE for unit in units]) == struct.pack(form, *values) else None


def _varints(values: Sequence[int]) -> bytes:
    """Return numbers that are not negative, seven bits a byte, the lowest first; the last byte of each is below 128."""
    if not values or max(values) < 128:
        return bytes(values)
    out = bytearray()
    for value in values:
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def _unit(unit: int, same: int) -> int:
    if unit != same or not 0 < unit < UNITS_MAX:
        raise BadBlock("a column of decimals has no unit, or more than one")
    return unit


def _doubles(data: bytes, count: int) -> list[float]:
    if len(data) != 8 * count:
        raise BadBlock(f"a column of {count} doubles has {len(data)} bytes")
    values = list(struct.unpack(f"<{count}d", data))
    if not all(map(isfinite, values)):
        raise BadBlock("a column of decimals holds what is no number")
    return values


def _floats(whole: Iterable[int], unit: int) -> list[float]:
    try:
        return [value * unit / SCALE for value in whole]
    except OverflowError as fault:
        raise BadBlock("a column holds a decimal beyond all bounds") from fault


def _run_values(
    counts: Sequence[int], firsts: Iterable[int], steps: Sequence[int], unit: int, sign: int
) -> list[float]:
    """Return the prices of all runs, one after another."""
    whole: list[int] = []
    starts, at = iter(firsts), 0
    for count in counts:
        if count:
            whole += accumulate(steps[at : at + count - 1], initial=next(starts))
            at += count - 1
    return _floats(whole, sign * unit)


def _whole(form: Form, data: bytes, count: int) -> list[int]:
    if form not in (Form.WHOLE, Form.SIGNED):
        raise BadBlock("a column of whole numbers was expected")
    values = list(data) if len(data) == count and (not data or max(data) < 128) else _numbers(data)
    if len(values) != count or (values and max(values) >= 2**64):
        raise BadBlock(f"a column of {count} numbers has {len(values)}, or one beyond 64 bits")
    return [value >> 1 ^ -(value & 1) for value in values] if form is Form.SIGNED else values


def _numbers(data: bytes) -> list[int]:
    values: list[int] = []
    value = shift = 0
    for byte in data:
        if byte < 128:
            values.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & 127) << shift
            shift += 7
            if shift >= 7 * VARINT_BYTES_MAX:
                raise BadBlock("a number in a column has no end")
    if shift:
        raise BadBlock("a column ends within a number")
    return values
