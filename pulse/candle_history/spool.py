"""Closed candles on disk while the store is away: lines appended to one file, which goes when they have been written.

One process uses the file at a time. Every call blocks on the disk, so it is made in a thread; it knows no store.
"""

import fcntl
import os
import threading
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import orjson

from pulse.market.types import Candle

LINES_MAX = 60_000
"""Some 25 MB; beyond it the file is written anew with what still waits."""

KINDS = {field.name: get_type_hints(Candle)[field.name] for field in fields(Candle)}


class Spool:
    """Keeps candles in a file. Calls raise OSError for a disk that is full, read-only or gone.

    A call may be given up while its thread goes on; the next one waits for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._file = -1
        self._lines = 0
        self._is_torn = False  # whether the last line has no end

    @property
    def is_empty(self) -> bool:
        """Whether the file holds nothing, so that there is nothing to clear."""
        return self._lines == 0

    @property
    def is_full(self) -> bool:
        """Whether `rewrite` should take the place of the next `append`."""
        return self._lines >= LINES_MAX

    def open(self) -> list[Candle]:
        """Make the file ours, and return what an earlier process left in it, oldest first.

        A line that was torn when that process ended, or is no candle, is passed over. Raises OSError while another
        process uses the file.
        """
        with self._turn:
            if self._file < 0:
                self._file = _locked(self._path)
            data = _content(self._file)
            lines = data.splitlines()
            self._lines, self._is_torn = len(lines), bool(data) and not data.endswith(b"\n")
        return [candle for line in lines if (candle := _candle_of(line)) is not None]

    def append(self, candles: Iterable[Candle]) -> None:
        """Add these, all or none, so that a crash of the machine does not lose them."""
        with self._turn:
            data = (b"\n" if self._is_torn else b"") + _lines_of(candles)
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                _write(self._file, data)
            except OSError:
                os.ftruncate(self._file, end)  # what fitted of a line would spoil the next one
                raise
            self._lines += data.count(b"\n")
            self._is_torn = False

    def rewrite(self, candles: Iterable[Candle]) -> None:
        """Hold these alone."""
        beside = self._path.with_name(self._path.name + ".new")
        with self._turn:
            beside.unlink(missing_ok=True)
            renewed = _locked(beside)
            data = _lines_of(candles)
            try:
                _write(renewed, data)
                os.replace(beside, self._path)
            except OSError:
                os.close(renewed)
                beside.unlink(missing_ok=True)
                raise
            os.close(self._file)
            self._file, self._lines, self._is_torn = renewed, data.count(b"\n"), False

    def clear(self) -> None:
        """Forget everything: it is in the store."""
        with self._turn:
            os.ftruncate(self._file, 0)
            self._lines, self._is_torn = 0, False

    def close(self) -> None:
        """Leave the file to others, with what is in it. Closing twice does no harm."""
        with self._turn:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def _content(file: int) -> bytes:
    with open(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()


def _lines_of(candles: Iterable[Candle]) -> bytes:
    return b"".join(orjson.dumps(candle, option=orjson.OPT_APPEND_NEWLINE) for candle in candles)


def _locked(path: Path) -> int:
    """The file at this path, made where there is none, locked for this process alone."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            raise BlockingIOError(f"another process uses {path}") from None
        os.close(file)  # it was renewed between the opening and the locking


def _write(file: int, data: bytes) -> None:
    """Write all of it, to the disk itself."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _candle_of(line: bytes) -> Candle | None:
    """The candle of a line, None where it is not one."""
    try:
        values: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, dict) or values.keys() != KINDS.keys():
        return None
    if not all(type(values[name]) is kind for name, kind in KINDS.items()):
        return None
    return Candle(**values)
