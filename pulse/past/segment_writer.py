"""Appending blocks to segments: whole or not at all, flushed to the disk, within a bound in bytes for all of them.

One process writes to a folder at a time, by an advisory lock. Every call blocks on the disk, so it is made in a thread,
one after another. Trouble of the disk is an OSError, after which a call may be made again.
"""

import errno
import fcntl
import logging
import os
from pathlib import Path

from pulse.past.block import Block, encode_block
from pulse.past.segments import (
    HEAD,
    all_segments,
    hour_name,
    part_of,
    scan_segment,
    segment_name,
    symbol_folder,
)

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
PARTS = 16
"""A segment that reaches this part of the bound in bytes ends before its hour does: whole segments are deleted."""
PART_BYTES_MIN = 2**20


class SegmentWriter:
    """Writes the blocks of all symbols below one folder, of at most `bytes_max` in all."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._part_bytes = max(PART_BYTES_MIN, bytes_max // PARTS)
        self._lock = -1
        self._sizes: dict[Path, int] = {}  # of every segment, the oldest first where they were found
        self._reported: set[tuple[Path, int]] = set()  # damages that are in the log
        self._newest: dict[Path, Path] = {}  # the segment that is being written, by its symbol's folder

    @property
    def total_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(tuple(self._sizes.values()))

    @property
    def is_open(self) -> bool:
        """Whether the folder is this process's."""
        return self._lock >= 0

    def open(self) -> None:
        """Take the folder, and cut the end of each symbol's newest segment where it is torn. Raises OSError.

        Raises BlockingIOError while another process records there.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            paths = sorted(all_segments(self._folder), key=_age)
            self._sizes = {path: path.stat().st_size for path in paths}
            self._newest = {}
            for path in {path.parent: path for path in paths}.values():
                self._repair(path)
        except BlockingIOError:
            os.close(lock)
            raise BlockingIOError(f"another process records in {self._folder}") from None
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def append(self, block: Block) -> int:
        """Append a block to its symbol's segment, and return its bytes. Raises OSError; nothing is written then."""
        data = encode_block(block)
        folder = symbol_folder(self._folder, block.meta.venue, block.meta.symbol)
        path = self._segment(folder, hour_name(block.meta.from_ms))
        begun = self._sizes.get(path, 0)
        self._write(path, data if begun else HEAD + data, begun)
        self._newest[folder] = path
        self._keep_to_bound()
        return len(data)

    def close(self) -> None:
        """Leave the folder to others."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _segment(self, folder: Path, hour: str) -> Path:
        """Return the segment to write to: the newest one, if it is of this hour and not too long."""
        newest = self._newest.get(folder)
        if newest is not None and newest.name.startswith(hour) and self._sizes.get(newest, 0) < self._part_bytes:
            return newest
        parts = [part_of(path) for path in self._sizes if path.parent == folder and path.name.startswith(hour)]
        return folder / segment_name(hour, max(parts, default=-1) + 1)

    def _write(self, path: Path, data: bytes, begun: int) -> None:
        """Write at the end of a segment, or leave it as it was."""
        if not begun:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | (0 if begun else os.O_CREAT | os.O_EXCL) | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size != begun:
                raise OSError(errno.EIO, "another program has changed the file", str(path))
            try:
                _write_all(file, data, begun)
            except OSError:
                os.ftruncate(file, begun)
                if not begun:
                    path.unlink()
                raise
        finally:
            os.close(file)
        if not begun:
            _flush_folder(path.parent)
        self._sizes[path] = begun + len(data)

    def _repair(self, path: Path) -> None:
        """Cut off what follows the last whole block of a segment. A damage within it stays, and is skipped."""
        scan = scan_segment(path)
        for damage in scan.damages:
            if (path, damage.offset) in self._reported:
                continue
            self._reported.add((path, damage.offset))
            log.warning(
                "history damaged file=%s offset=%s bytes=%s reason=%s", path, damage.offset, damage.size, damage.reason
            )
        if scan.torn is not None and scan.end:
            os.truncate(path, scan.end)
            self._sizes[path] = scan.end

    def _keep_to_bound(self) -> None:
        """Delete whole segments, the oldest first, but none that is being written."""
        total, open_paths = self.total_bytes, {*self._newest.values()}
        for path in sorted(self._sizes.keys() - open_paths, key=_age):
            if total <= self._bytes_max:
                return
            path.unlink(missing_ok=True)
            total -= self._sizes.pop(path)


def _age(path: Path) -> tuple[str, Path]:
    return path.name, path


def _write_all(file: int, data: bytes, offset: int) -> None:
    remaining = memoryview(data)
    while remaining:
        written = os.pwrite(file, remaining, offset)
        remaining, offset = remaining[written:], offset + written
    os.fsync(file)


def _flush_folder(folder: Path) -> None:
    """Flush a folder: a new file is lost in a crash of the machine without it."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
