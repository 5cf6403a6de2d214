"""Reading the past: at any moment the view of then, wherever its block is, and a reason where nothing is recorded."""

import asyncio
import random
from pathlib import Path

import pytest

from pulse.errors import NotObserved, PastUnavailable
from pulse.past import reader as reader_module
from pulse.past.playback import difference
from pulse.past.reader import PastReader
from pulse.past.segments import all_segments
from pulse.past.spans import KILLED
from tests.support.past import Live, by_minute, quiet_session, recorded_rows
from tests.support.recorders import Running, running
from tests.support.recordings import recording


def reader_of(made: Running, folder: Path | None = None) -> PastReader:
    """Return a reader of what a recorder keeps."""
    return PastReader(made.recorder, folder, "us", made.clock)


async def differing(reader: PastReader, live: Live, count: int) -> list[str]:
    """Return what differs between random views of the past and the live ones."""
    moments = random.Random(5).sample(list(dict(live.views).items()), count)  # of two in one ms the later
    found = [difference(await reader.view_at("BTCUSDT", at_ms), view) for at_ms, view in moments]
    return [field for field in found if field]


async def test_views_of_memory_and_of_the_running_block_are_those_of_then() -> None:
    """Every field of them, but those that say where a view was made."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(200))
        reader = reader_of(made)

        assert await differing(reader, live, 15) == []
        view = await reader.view_at("BTCUSDT", live.views[-1][0])
        assert (view.source, view.instance, view.venue) == ("rewind", "9f3ac21b", "us")


async def test_views_on_disk_are_those_of_then(tmp_path: Path) -> None:
    """Of a process that has ended: nothing of it is in memory."""
    async with running(tmp_path) as made:
        live = made.live()
        live.take(quiet_session(200))

    assert await differing(reader_of(Running(tmp_path), tmp_path), live, 15) == []


async def test_views_of_a_recorded_session_are_those_of_then() -> None:
    """Random moments of minutes of a busy symbol."""
    rows = by_minute(recorded_rows(recording("btcusdt-2024-08-08"), "*0808.gz", "BTCUSDT"))[:1]
    async with running() as made:
        live = made.live()
        live.take([row for minute in rows for row in minute])
        await made.settled()

        assert await differing(reader_of(made), live, 5) == []


async def test_moment_between_two_views_shows_what_was_known_then() -> None:
    """A diff that had come is in it, although no view had shown it yet."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(70))
        await made.settled()
        at_ms, before = live.views[30]
        view = await reader_of(made).view_at("BTCUSDT", at_ms + 998)

        assert view.last_update_id == before.last_update_id + 1
        assert view.timestamp == (at_ms + 998) / 1000


async def test_reader_waits_for_blocks_that_are_on_their_way() -> None:
    """They were cut, and their thread has not come to them."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(130))
        assert not made.recorder.is_settled("BTCUSDT")

        assert await differing(reader_of(made), live, 5) == []


async def test_reader_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that is stuck: the client may try again."""
    monkeypatch.setattr(reader_module, "SETTLED_S", 0.01)
    made = Running(None)
    made.live().take(quiet_session(70))

    with pytest.raises(PastUnavailable, match="still being recorded"):
        await reader_of(made).view_at("BTCUSDT", 0)


async def test_moment_that_is_not_recorded_has_its_reason(tmp_path: Path) -> None:
    """A process was killed, and another one started an hour later."""
    killed = Running(tmp_path)
    task = asyncio.create_task(killed.recorder.run())
    live = killed.live()
    live.take(quiet_session(70))
    await killed.settled()
    killed.recorder.recordings.clear()  # as if it had been killed: its running block is lost
    task.cancel()
    await asyncio.wait({task})
    last_ms = live.views[-1][0]
    async with running(tmp_path) as made:
        made.clock.at_wall_s += 3600
        made.live().take(quiet_session(70))
        await made.settled()
        reader = reader_of(made, tmp_path)
        with pytest.raises(NotObserved, match=KILLED):
            await reader.view_at("BTCUSDT", last_ms)
        with pytest.raises(NotObserved, match="before or after what is kept"):
            await reader.view_at("BTCUSDT", live.views[0][0] - 5_000)
        with pytest.raises(NotObserved, match="before or after what is kept"):
            await reader.view_at("LINKUSDT", last_ms)
        report = await reader.report("BTCUSDT", 1)

        assert [hole["cause"] for hole in report["holes"]] == [KILLED]
        assert report["place"] == "disk"
        assert report["to_ms"] == round(made.clock.wall_s() * 1000)
        assert 0 < report["proven"] <= report["coverage"] < 0.1


async def test_block_that_differs_shows_nothing() -> None:
    """Its time is not observed, and the reason is said."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(30))
        live.market._trade_flow._cvd += 1
        live.take(quiet_session(35, 40, 31_000))
        await made.settled()
        live.take(quiet_session(70, 75, 66_000))
        await made.settled()

        with pytest.raises(NotObserved, match="played again, differs"):
            await reader_of(made).view_at("BTCUSDT", live.views[10][0])


async def test_damaged_block_is_not_observed(tmp_path: Path) -> None:
    """A bit of it flips after its segment was read: no wrong view is shown, now or later."""
    async with running(tmp_path) as made:
        live = made.live()
        live.take(quiet_session(130))
    reader = reader_of(Running(tmp_path), tmp_path)
    at_ms = live.views[5][0]
    await reader.view_at("BTCUSDT", at_ms)
    (path,) = all_segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)

    with pytest.raises(NotObserved, match="cannot be read"):
        await reader.view_at("BTCUSDT", at_ms)
    with pytest.raises(NotObserved):
        await reader_of(Running(tmp_path), tmp_path).view_at("BTCUSDT", at_ms)


async def test_disk_that_cannot_be_read_is_said_without_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client may try again."""

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error", "/secret")

    async with running(tmp_path) as made:
        made.live().take(quiet_session(70))
    monkeypatch.setattr(reader_module, "scan_segment", fail)

    with pytest.raises(PastUnavailable, match="Input/output error") as raised:
        await reader_of(Running(tmp_path), tmp_path).report("BTCUSDT", 1)
    assert "secret" not in str(raised.value)


async def test_scans_are_remembered_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment is read again when it has grown, and one that was deleted holds nothing."""
    monkeypatch.setattr(reader_module, "SCANS_MAX", 1)
    async with running(tmp_path) as made:
        live = made.live()
        live.take(quiet_session(70))
        await made.settled()
        other = made.live("LINKUSDT")
        other.take(quiet_session(5))
        made.recorder.close("LINKUSDT")
        await made.settled()
        reader = reader_of(made, tmp_path)
        await reader.report("LINKUSDT", 1)
        first = await reader.report("BTCUSDT", 1)
        live.take(quiet_session(70, 80, 71_000))
        await made.settled()
        second = await reader.report("BTCUSDT", 1)

        assert second["blocks"] > first["blocks"]
        assert len(reader._scans) == 1
    for path in all_segments(tmp_path):
        path.unlink()
    monkeypatch.setattr(reader_module, "segment_paths", lambda folder: [folder / "2024-08-09T00.000.past"])
    reader = reader_of(Running(tmp_path), tmp_path)
    assert reader._entries("BTCUSDT", 1_723_161_600_000, 1_723_161_600_000) == []
