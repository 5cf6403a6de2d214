"""Writing segments: a block is on the disk whole or not at all, and all of them keep to their bound."""

import subprocess
import sys
from pathlib import Path

import pytest

from pulse.past.block import Block, encode_block
from pulse.past.segment_writer import PART_BYTES_MIN, SegmentWriter
from pulse.past.segments import HEAD, HOUR_MS, SUFFIX, all_segments, read_entry, scan_segment
from tests.support.disk import file_size_limit
from tests.support.makers import MIDNIGHT_MS
from tests.support.past import block_of, new_market, small_session

MANY = 2**40
WRITE_FOREVER = """
import sys
from pathlib import Path
from pulse.past.segment_writer import SegmentWriter
from tests.support.past import block_of, small_session
writer = SegmentWriter(Path(sys.argv[1]), 2**40)
writer.open()
block = block_of(small_session())
for number in range(100_000):
    writer.append(block._replace(meta=block_of(small_session(), number).meta))
    print(number, flush=True)
"""


def block(number: int = 0, *, hour: int = 0, symbol: str = "BTCUSDT") -> Block:
    """Return a block of some hour after midnight."""
    from_ms = MIDNIGHT_MS + hour * HOUR_MS + number * 60_000
    return block_of(small_session(), number, new_market(symbol), from_ms=from_ms, to_ms=from_ms + 1)


def opened(folder: Path, bytes_max: int = MANY) -> SegmentWriter:
    """Return a writer that has taken its folder."""
    writer = SegmentWriter(folder, bytes_max)
    writer.open()
    return writer


def found(folder: Path) -> list[Block]:
    """Return all blocks on the disk."""
    return [read_entry(entry) for path in sorted(all_segments(folder)) for entry in scan_segment(path).entries]


def test_blocks_are_found_in_the_segments_of_their_hour(tmp_path: Path) -> None:
    """One segment for each symbol and hour."""
    writer = opened(tmp_path)
    blocks = [block(0), block(1), block(2, hour=1), block(3, symbol="ETHUSDT")]
    sizes = [writer.append(one) for one in blocks]

    assert found(tmp_path) == blocks
    assert sizes == [len(encode_block(one)) for one in blocks]
    assert len(all_segments(tmp_path)) == 3
    assert writer.total_bytes == sum(path.stat().st_size for path in all_segments(tmp_path))


def test_next_process_begins_a_part_of_its_own(tmp_path: Path) -> None:
    """It appends nothing to what another one has left."""
    first = opened(tmp_path)
    first.append(block(0))
    first.close()
    opened(tmp_path).append(block(1))

    assert sorted(path.name for path in all_segments(tmp_path)) == ["2024-08-09T00.000.past", "2024-08-09T00.001.past"]
    assert found(tmp_path) == [block(0), block(1)]


def test_folder_has_one_writer(tmp_path: Path) -> None:
    """A second process is told so, and may try again when the first has left."""
    first, second = opened(tmp_path), SegmentWriter(tmp_path, MANY)
    with pytest.raises(BlockingIOError, match="another process records in"):
        second.open()
    assert not second.is_open
    first.close()
    second.open()

    assert second.is_open
    first.close()


def test_full_disk_leaves_what_is_whole(tmp_path: Path) -> None:
    """A block that does not fit is not there at all, and when there is room the next one is written."""
    writer = opened(tmp_path)
    writer.append(block(0))
    (path,) = all_segments(tmp_path)
    with file_size_limit(path.stat().st_size + 100), pytest.raises(OSError, match="File too large"):
        writer.append(block(1))
    assert scan_segment(path).damages == ()
    writer.append(block(2))

    assert found(tmp_path) == [block(0), block(2)]


def test_first_block_that_does_not_fit_leaves_no_half_segment(tmp_path: Path) -> None:
    """The next call makes the segment."""
    writer = opened(tmp_path)
    with file_size_limit(10), pytest.raises(OSError, match="File too large"):
        writer.append(block(0))
    writer.close()
    writer.open()
    writer.append(block(1))

    assert found(tmp_path) == [block(1)]


def test_torn_end_is_cut_off_by_the_next_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which bytes were no whole block; what is whole stays."""
    writer = opened(tmp_path)
    writer.append(block(0))
    writer.close()
    (path,) = all_segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + encode_block(block(1))[:-1])
    opened(tmp_path)

    assert path.read_bytes() == whole
    assert "history damaged file=" in caplog.text


def test_segment_of_another_version_is_left_as_it_is(tmp_path: Path) -> None:
    """A later program wrote it: this one neither reads nor cuts it."""
    writer = opened(tmp_path)
    writer.append(block(0))
    writer.close()
    (path,) = all_segments(tmp_path)
    later = path.read_bytes().replace(b"v001", b"v002", 1)
    path.write_bytes(later)
    opened(tmp_path).append(block(1))

    assert path.read_bytes() == later
    assert found(tmp_path) == [block(1)]


@pytest.mark.parametrize("data", [b"", HEAD + b"x"])
def test_segment_that_another_program_changed_is_not_continued(tmp_path: Path, data: bytes) -> None:
    """Nothing is written into it: the next call after a new start begins another part."""
    writer = opened(tmp_path)
    writer.append(block(0))
    (path,) = all_segments(tmp_path)
    path.write_bytes(data)
    with pytest.raises(OSError, match="another program has changed"):
        writer.append(block(1))
    writer.close()
    writer.open()
    writer.append(block(2))

    assert found(tmp_path) == [block(2)]


def test_oldest_segments_are_deleted_at_the_bound(tmp_path: Path) -> None:
    """Whole ones, the oldest hour of any symbol first, and never one that is being written."""
    size = len(HEAD) + len(encode_block(block(0)))
    writer = opened(tmp_path, 3 * size + 100)
    for number, hour in enumerate(range(6)):
        writer.append(block(number, hour=hour))
        writer.append(block(number, hour=hour, symbol="ETHUSDT"))

    names = sorted(path.name for path in all_segments(tmp_path))
    assert names == ["2024-08-09T04.000.past", "2024-08-09T05.000.past", "2024-08-09T05.000.past"]
    assert writer.total_bytes <= 3 * size + 100


def test_long_hour_has_parts(tmp_path: Path) -> None:
    """A small bound is kept by deleting parts of an hour."""
    writer = opened(tmp_path, 3 * PART_BYTES_MIN)
    big = block(0)._replace(rows=bytes(PART_BYTES_MIN // 2))
    for _ in range(12):
        writer.append(big)

    assert len(all_segments(tmp_path)) == 2
    assert writer.total_bytes <= 3 * PART_BYTES_MIN


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """They neither count nor are deleted."""
    other = tmp_path / "us" / "BTCUSDT" / f"notes{SUFFIX}"
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(100))
    writer = opened(tmp_path, 1)
    writer.append(block(0))

    assert other.exists()
    assert writer.total_bytes < len(encode_block(block(0))) + 100


def test_killed_writer_loses_no_block_that_was_written(tmp_path: Path) -> None:
    """Every block that `append` returned for is there, and none that is wrong."""
    command = [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [next(process.stdout) for _ in range(5)]
        process.kill()
        acknowledged = int([*lines, *process.stdout][-1])
    opened(tmp_path)

    numbers = [one.meta.number for one in found(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert acknowledged + 1 <= len(numbers) <= acknowledged + 2
