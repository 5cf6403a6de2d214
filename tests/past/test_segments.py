"""Segments: what is whole is found wherever it is, and what is not is reported with its place."""

import random
from pathlib import Path

import pytest

from pulse.errors import BadBlock
from pulse.past.block import Block, encode_block
from pulse.past.segments import (
    HEAD,
    all_segments,
    hour_name,
    part_of,
    read_entry,
    scan_segment,
    segment_name,
    segment_paths,
    symbol_folder,
)
from tests.support.makers import MIDNIGHT_MS
from tests.support.past import block_of, small_session

COUNT = 6


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """Return some blocks that follow on each other."""
    return [block_of(small_session(), number) for number in range(COUNT)]


@pytest.fixture
def path(tmp_path: Path, blocks: list[Block]) -> Path:
    """Return a segment of these blocks."""
    made = tmp_path / segment_name(hour_name(MIDNIGHT_MS), 0)
    made.write_bytes(HEAD + b"".join(map(encode_block, blocks)))
    return made


def found(path: Path) -> list[Block]:
    """Return the blocks that can be read of a segment."""
    return list(map(read_entry, scan_segment(path).entries))


def test_whole_segment_is_read_as_it_was_written(path: Path, blocks: list[Block]) -> None:
    """In order, to its last byte."""
    scan = scan_segment(path)

    assert list(map(read_entry, scan.entries)) == blocks
    assert (scan.damages, scan.end, scan.torn) == ((), path.stat().st_size, None)


def test_torn_end_is_reported(path: Path, blocks: list[Block]) -> None:
    """Wherever a write was cut off: all blocks before it are read, and one is lost at most."""
    data = path.read_bytes()
    rng = random.Random(3)
    for _ in range(100):
        cut = rng.randrange(len(HEAD), len(data))
        path.write_bytes(data[:cut])
        scan = scan_segment(path)
        entries = [entry.meta.number for entry in scan.entries]

        assert entries == list(range(len(entries)))
        assert scan.end <= cut < scan.end + len(encode_block(blocks[len(entries)]))
        assert (scan.torn is None) == (cut == scan.end)


def test_flipped_bit_costs_its_own_block_alone(path: Path, blocks: list[Block]) -> None:
    """200 times, anywhere after the head: no wrong block is read, and every other one is."""
    data = path.read_bytes()
    rng = random.Random(4)
    for _ in range(200):
        flipped = bytearray(data)
        at = rng.randrange(len(HEAD), len(data))
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        scan = scan_segment(path)
        (damage,) = scan.damages

        assert damage.offset <= at < damage.offset + damage.size
        assert list(map(read_entry, scan.entries)) == [b for b in blocks if b.meta.number != _hit(blocks, at)]


def _hit(blocks: list[Block], at: int) -> int:
    """Return the number of the block that holds this byte of a segment."""
    end = len(HEAD)
    for block in blocks:
        end += len(encode_block(block))
        if at < end:
            return block.meta.number
    raise AssertionError(at)


@pytest.mark.parametrize("head", [b"", b"PULSE", b"PULSE PAST v002\n"])
def test_segment_of_another_version_is_not_read(path: Path, head: bytes) -> None:
    """Nor a file without a head: what its blocks mean is not known."""
    path.write_bytes(head + path.read_bytes()[len(HEAD) :])
    scan = scan_segment(path)

    assert (scan.entries, scan.end) == ((), 0)
    assert scan.damages[0].reason == "its head is not that of a segment of this version"


def test_block_that_was_replaced_after_the_scan_is_not_read(path: Path, blocks: list[Block]) -> None:
    """A file may change between the two."""
    entry = scan_segment(path).entries[0]
    path.write_bytes(HEAD + encode_block(blocks[1]))

    with pytest.raises(BadBlock):
        read_entry(entry._replace(size=len(encode_block(blocks[1]))))


def test_names(tmp_path: Path) -> None:
    """Segments are by venue, symbol, hour and part; any symbol's name makes a folder; other files are left alone."""
    folder = symbol_folder(tmp_path, "us", "币安USDT")
    folder.mkdir(parents=True)
    for name in (segment_name("2024-08-09T01", 0), segment_name("2024-08-09T00", 1), "notes.past", "lock"):
        (folder / name).touch()

    assert [path.name for path in segment_paths(folder)] == ["2024-08-09T00.001.past", "2024-08-09T01.000.past"]
    assert sorted(all_segments(tmp_path)) == segment_paths(folder)
    assert part_of(segment_paths(folder)[0]) == 1
    assert hour_name(MIDNIGHT_MS + 3_599_999) == "2024-08-09T00"
    assert folder.relative_to(tmp_path).parts == ("us", "%E5%B8%81%E5%AE%89USDT")
