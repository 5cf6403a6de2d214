"""The files of the recorded past: one folder per venue and symbol, one segment per hour, blocks one after another.

    <folder>/<venue>/<SYMBOL>/2026-11-30T19.000.past

A segment begins with a head that has the version of its format; blocks follow, each with its own checksums. There is no
index beside it: reading the blocks makes one, so none can be wrong. Bytes that are no whole block are left out, and
reported with their place; what follows them is read. Every call blocks on the disk, so it is made in a thread.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pulse.errors import BadBlock
from pulse.past.block import MAGIC, PREFIX, Block, BlockMeta, decode_block, decode_meta, decode_prefix

HEAD = b"PULSE PAST v001\n"
"""The first bytes of a segment; another version has other digits."""
SUFFIX = ".past"
NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}\.[0-9]{3,9}\.past", re.ASCII)
CHUNK_BYTES = 2**20
"""Read at once in search of the next block after damaged bytes."""
HOUR_MS = 3_600_000


class Entry(NamedTuple):
    """One block of a segment: its place, and what is known of it."""

    path: Path
    offset: int
    size: int
    meta: BlockMeta


class Damage(NamedTuple):
    """Bytes of a segment that are no whole block, and why not."""

    offset: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds, in the order in which it was written."""

    entries: tuple[Entry, ...]
    damages: tuple[Damage, ...]
    end: int  # after the last whole block; 0 where not even the head is whole

    @property
    def torn(self) -> Damage | None:
        """The damage after the last whole block, as a process that was killed leaves it."""
        last = self.damages[-1] if self.damages else None
        return last if last is not None and last.offset == self.end else None


def symbol_folder(folder: Path, venue: str, symbol: str) -> Path:
    """Return where the segments of a symbol are; any name is one of a file when it is quoted."""
    return folder / quote(venue, safe="") / quote(symbol, safe="")


def hour_name(time_ms: int) -> str:
    """Return how the names of the segments of this hour begin."""
    return datetime.fromtimestamp(time_ms // HOUR_MS * HOUR_MS / 1000, UTC).strftime("%Y-%m-%dT%H")


def segment_name(hour: str, part: int) -> str:
    """Return the name of a segment of this hour; each process, and each segment that became too long, begins a part."""
    return f"{hour}.{part:03d}{SUFFIX}"


def part_of(path: Path) -> int:
    """Return which part of its hour a segment is."""
    return int(path.name.split(".")[1])


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments in a symbol's folder, the oldest first; none where it does not exist."""
    return sorted(filter(_is_segment, folder.glob("*" + SUFFIX)))


def all_segments(folder: Path) -> list[Path]:
    """Return the segments of all venues and symbols; other files are left alone."""
    return list(filter(_is_segment, folder.glob("*/*/*" + SUFFIX)))


def _is_segment(path: Path) -> bool:
    return NAME.fullmatch(path.name) is not None


def scan_segment(path: Path) -> Scan:
    """Read all of a segment, and check every byte of it. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(HEAD)) != HEAD:
            return Scan((), (Damage(0, size, "its head is not that of a segment of this version"),), 0)
        entries: list[Entry] = []
        damages: list[Damage] = []
        at = end = len(HEAD)
        while at < size:
            try:
                entry = _entry_at(file.fileno(), path, at)
            except BadBlock as fault:
                following = _next_block(file.fileno(), at + 1, size)
                damages.append(Damage(at, following - at, str(fault)))
                at = following
            else:
                entries.append(entry)
                at = end = at + entry.size
    return Scan(tuple(entries), tuple(damages), end)


def read_entry(entry: Entry) -> Block:
    """Return a block that a scan has found. Raises OSError, or BadBlock if it is not what it was."""
    with entry.path.open("rb") as file:
        block = decode_block(os.pread(file.fileno(), entry.size, entry.offset))
    if block.meta != entry.meta:
        raise BadBlock("another block has taken its place")
    return block


def _entry_at(file: int, path: Path, offset: int) -> Entry:
    """Return the block that begins here. Raises BadBlock."""
    prefix = decode_prefix(os.pread(file, PREFIX.size, offset))
    data = os.pread(file, prefix.size, offset)
    decode_block(data)
    return Entry(path, offset, prefix.size, decode_meta(prefix, data[PREFIX.size : PREFIX.size + prefix.meta_bytes]))


def _next_block(file: int, start: int, size: int) -> int:
    """Return where the next whole block begins, or the end of the file."""
    return next((at for at in _magics(file, start, size) if _is_block(file, at)), size)


def _magics(file: int, start: int, size: int) -> Iterator[int]:
    """Yield where the first bytes of a block are found; such bytes may be part of anything."""
    for chunk_at in range(start, size, CHUNK_BYTES):
        chunk = os.pread(file, CHUNK_BYTES + len(MAGIC) - 1, chunk_at)
        at = chunk.find(MAGIC)
        while at >= 0:
            yield chunk_at + at
            at = chunk.find(MAGIC, at + 1)


def _is_block(file: int, offset: int) -> bool:
    try:
        _entry_at(file, Path(), offset)
    except BadBlock:
        return False
    return True
