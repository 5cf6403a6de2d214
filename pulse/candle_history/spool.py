"""Closed candles in a file while the store is unavailable: lines of JSON, appended, and cleared once they are stored.

One process uses the file at a time, by an advisory lock. Every call blocks on the disk, so it is made in a thread. It
knows no store.
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
"""About 25 MB; beyond it the file is rewritten with the candles that are still pending."""

FIELD_TYPES = {field.name: get_type_hints(Candle)[field.name] for field in fields(Candle)}


class Spool:
    """Keeps candles in a file. Calls raise OSError where the disk is full, read-only or gone.

    A caller that is cancelled leaves its thread at work; the next call waits for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = -1
        self._lines = 0
        self._is_torn = False  # whether the last line has no line feed

    @property
    def is_empty(self) -> bool:
        """Whether the file has no line, so that there is nothing to clear."""
        return self._lines == 0

    @property
    def is_full(self) -> bool:
        """Whether `rewrite` should be called in place of the next `append`."""
        return self._lines >= LINES_MAX

    def open(self) -> list[Candle]:
        """Open and lock the file, and return the candles that an earlier process left in it, oldest first.

        A line that was cut short when that process ended, or is no candle, is skipped. Raises OSError while another
        process uses the file.
        """
        with self._lock:
            if self._file < 0:
                self._file = _open_locked(self._path)
            data = _read_all(self._file)
            lines = data.splitlines()
            self._lines, self._is_torn = len(lines), bool(data) and not data.endswith(b"\n")
        return [candle for line in lines if (candle := _parse_line(line)) is not None]

    def append(self, candles: Iterable[Candle]) -> None:
        """Append these candles, all or none, flushed to the disk so that they survive a crash of the machine."""
        with self._lock:
            data = (b"\n" if self._is_torn else b"") + _encode_lines(candles)
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                _write(self._file, data)
            except OSError:
                os.ftruncate(self._file, end)  # a line cut short would make the next one unreadable
                raise
            self._lines += data.count(b"\n")
            self._is_torn = False

    def rewrite(self, candles: Iterable[Candle]) -> None:
        """Replace the content of the file by these candles."""
        new_path = self._path.with_name(self._path.name + ".new")
        with self._lock:
            new_path.unlink(missing_ok=True)
            new_file = _open_locked(new_path)
            data = _encode_lines(candles)
            try:
                _write(new_file, data)
                os.replace(new_path, self._path)
            except OSError:
                os.close(new_file)
                new_path.unlink(missing_ok=True)
                raise
            os.close(self._file)
            self._file, self._lines, self._is_torn = new_file, data.count(b"\n"), False

    def clear(self) -> None:
        """Delete all lines: their candles are in the store."""
        with self._lock:
            os.ftruncate(self._file, 0)
            self._lines, self._is_torn = 0, False

    def close(self) -> None:
        """Close and unlock the file; its lines stay. Closing twice does no harm."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def _read_all(file: int) -> bytes:
    with open(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()


def _encode_lines(candles: Iterable[Candle]) -> bytes:
    return b"".join(orjson.dumps(candle, option=orjson.OPT_APPEND_NEWLINE) for candle in candles)


def _open_locked(path: Path) -> int:
    """Return the descriptor of the file at this path, created if needed, locked for this process.

    Raises BlockingIOError while another process holds the lock.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            raise BlockingIOError(f"another process uses {path}") from None
        os.close(file)  # the path was replaced between open and lock


def _write(file: int, data: bytes) -> None:
    """Write all bytes and flush them to the disk."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(file, remaining) :]
    os.fsync(file)


def _parse_line(line: bytes) -> Candle | None:
    """Return the candle of a line, or None if it is not one."""
    try:
        values: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, dict) or values.keys() != FIELD_TYPES.keys():
        return None
    if not all(type(values[name]) is expected for name, expected in FIELD_TYPES.items()):
        return None
    return Candle(**values)
