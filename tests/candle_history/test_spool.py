"""The spool: what the next process finds after any end of the last one, and what a full disk does."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pulse.candle_history.spool import Spool
from tests.support.candles import minute_candle, minutes
from tests.support.disk import file_size_limit

APPEND_FOREVER = """
import sys
from pathlib import Path
from pulse.candle_history.spool import Spool
from tests.support.candles import minute_candle
spool = Spool(Path(sys.argv[1]))
spool.open()
for minute in range(100_000):
    spool.append([minute_candle(minute)])
    print(minute, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a test's spool."""
    return tmp_path / "spool.ndjson"


def opened(path: Path) -> Spool:
    """Return an open spool."""
    spool = Spool(path)
    spool.open()
    return spool


def left_in(path: Path) -> list[object]:
    """Return what the next process finds."""
    spool = Spool(path)
    found = spool.open()
    spool.close()
    return list(found)


def test_appended_candles_are_found_by_the_next_process(path: Path) -> None:
    """In order, with exactly the same values, until the spool is cleared."""
    spool = opened(path)
    spool.append(minutes(3))
    spool.append([minute_candle(3)])
    spool.close()

    assert left_in(path) == [*minutes(3), minute_candle(3)]
    spool = opened(path)
    spool.clear()
    spool.close()
    assert left_in(path) == []


def test_a_new_spool_is_empty(path: Path) -> None:
    """The file is created readable for its owner alone; a folder that does not exist is an error."""
    spool = opened(path)

    assert (spool.is_empty, path.stat().st_mode & 0o777) == (True, 0o600)
    spool.close()
    with pytest.raises(FileNotFoundError):
        Spool(path.parent / "nowhere" / "spool").open()


@pytest.mark.parametrize(
    "junk",
    [
        orjson.dumps(minute_candle(9))[:100],
        b"\x00" * 50,
        b"{}",
        b"[1, 2]",
        b"null",
        orjson.dumps({**orjson.loads(orjson.dumps(minute_candle(9))), "volume": "1"}),
        orjson.dumps({**orjson.loads(orjson.dumps(minute_candle(9))), "more": 1}),
    ],
)
def test_a_line_that_is_no_candle_is_skipped(path: Path, junk: bytes) -> None:
    """A line cut short by a crash, or anything else, does not affect the lines around it."""
    spool = opened(path)
    spool.append([minute_candle(0)])
    spool.close()
    with path.open("ab") as file:
        file.write(junk + b"\n" + orjson.dumps(minute_candle(1)) + b"\n" + junk)

    assert left_in(path) == [minute_candle(0), minute_candle(1)]


def test_lines_after_a_torn_line_are_complete(path: Path) -> None:
    """A process that finds the last line cut short begins a new line."""
    path.write_bytes(orjson.dumps(minute_candle(0)) + b"\n" + orjson.dumps(minute_candle(9))[:50])
    spool = opened(path)
    spool.append([minute_candle(1)])
    spool.close()

    assert left_in(path) == [minute_candle(0), minute_candle(1)]


def test_a_full_disk_can_be_read(path: Path) -> None:
    """Opening and reading the spool writes nothing, even if its last line was cut short."""
    path.write_bytes(orjson.dumps(minute_candle(0)) + b"\n" + orjson.dumps(minute_candle(9))[:50])
    with file_size_limit(path.stat().st_size):
        spool = Spool(path)
        found = spool.open()
    spool.close()

    assert found == [minute_candle(0)]


def test_one_process_at_a_time(path: Path) -> None:
    """A second one gets an error, and can open the file after the first has closed it."""
    first, second = opened(path), Spool(path)
    first.append([minute_candle()])
    with pytest.raises(BlockingIOError, match="another process uses"):
        second.open()
    first.close()

    assert second.open() == [minute_candle()]
    second.close()


def test_an_append_to_a_full_disk(path: Path) -> None:
    """An append that does not fit raises and leaves the file as it was; the next one succeeds once there is room."""
    spool = opened(path)
    spool.append([minute_candle(0)])
    with file_size_limit(path.stat().st_size + 1000), pytest.raises(OSError, match="File too large"):
        spool.append(minutes(100))
    spool.append([minute_candle(1)])
    spool.close()

    assert left_in(path) == [minute_candle(0), minute_candle(1)]


def test_a_file_that_grew_too_long_is_rewritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It then has the given candles, can be appended to, and is still locked."""
    monkeypatch.setattr("pulse.candle_history.spool.LINES_MAX", 10)
    spool = opened(path)
    spool.append(minutes(12))

    assert spool.is_full
    spool.rewrite(minutes(2))
    spool.append([minute_candle(2, close=7.0)])
    with pytest.raises(BlockingIOError):
        Spool(path).open()
    spool.close()
    assert left_in(path) == [*minutes(2), minute_candle(2, close=7.0)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_rewrite_on_a_full_disk(path: Path) -> None:
    """The old file stays as it was."""
    spool = opened(path)
    spool.append(minutes(3))
    with file_size_limit(100), pytest.raises(OSError, match="File too large"):
        spool.rewrite(minutes(2))
    spool.append([minute_candle(3)])
    spool.close()

    assert left_in(path) == [*minutes(3), minute_candle(3)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_confirmed_is_lost_when_the_process_is_killed(path: Path) -> None:
    """After SIGKILL during an append, all candles whose append had returned are found."""
    arguments = [sys.executable, "-c", APPEND_FOREVER, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(50)]
        writer.kill()

    assert left_in(path)[:50] == [minute_candle(minute) for minute in confirmed]
