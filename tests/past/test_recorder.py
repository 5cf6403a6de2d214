"""The recorder: blocks that prove themselves, in memory and on disk; trouble costs blocks, but never the feed."""

import asyncio
from pathlib import Path

import pytest

from pulse.market.types import State
from pulse.market.view import View
from pulse.past import recorder as recorder_module
from pulse.past.block import Block
from pulse.past.events import VIEW, Row
from pulse.past.playback import difference, open_block, play
from pulse.past.recorder import CLOSED, STOPPED, TOO_FAST
from pulse.past.recording import STARTED
from pulse.past.segment_writer import SegmentWriter
from tests.past.kills import kill_many
from tests.support.disk import file_size_limit
from tests.support.metrics import sample_of
from tests.support.past import by_minute, quiet_session, recorded_rows
from tests.support.recorders import MANY, Running, on_disk, running
from tests.support.recordings import recording
from tests.support.waiting import until


def views_of(blocks: list[Block]) -> dict[int, View]:
    """Return every view of these blocks, by the time at which it was made."""
    views: dict[int, View] = {}
    for block in blocks:
        market, rows = open_block(block)
        for row, view in zip(rows, play(market, rows, block.meta.from_ms - block.meta.clock_ms), strict=True):
            if view is not None:
                views[block.meta.wall_ms(row.at_ms)] = view
    return views


async def test_past_on_disk_shows_every_view_that_was_live(tmp_path: Path) -> None:
    """Whatever the block: each is read alone, and the last one is written when the process stops."""
    async with running(tmp_path) as made:
        live = made.live()
        live.take(quiet_session(200))
    blocks = on_disk(tmp_path)
    views = views_of(blocks)

    assert [block.meta.number for block in blocks] == [0, 1, 2, 3]
    assert len(live.views) == 200
    assert [difference(views[at_ms], view) for at_ms, view in live.views] == [""] * 200
    assert [(block.meta.after, block.meta.ends, block.meta.flaw) for block in blocks] == [
        (STARTED, "", ""), ("", "", ""), ("", "", ""), ("", STOPPED, "")
    ]  # fmt: skip


async def test_recorded_session_passes_the_truth_gate() -> None:
    """Minutes of a busy symbol: each block, played from its bytes, ends with the book and the view of then."""
    rows = recorded_rows(recording("btcusdt-2024-08-08"), "*0808.gz", "BTCUSDT")
    async with running() as made:
        live = made.live()
        for minute in by_minute(rows)[:3]:
            live.take(minute)
            await made.settled()
    metas = made.ring.metas("BTCUSDT")

    assert len(metas) >= 3
    assert {meta.flaw for meta in metas} == {""}


async def test_ring_alone(tmp_path: Path) -> None:
    """Without a folder the newest blocks are in memory, and nothing is on the disk."""
    async with running(None) as made:
        made.live().take(quiet_session(130))
        await made.settled()

        assert [meta.number for meta in made.ring.metas("BTCUSDT")] == [0, 1]
        assert made.recorder.report() == {
            "kind": "memory", "ok": True, "since_ms": None, "detail": "", "bytes": made.ring.total_bytes
        }  # fmt: skip
    assert on_disk(tmp_path) == []


async def test_closed_symbol_ends_with_a_reason(tmp_path: Path) -> None:
    """Its running block is written; when it is opened again, that is another recording."""
    async with running(tmp_path) as made:
        made.live("ETHUSDT").take(quiet_session(10))
        made.recorder.close("ETHUSDT")
        made.live("ETHUSDT").take(quiet_session(10))
    metas = [block.meta for block in on_disk(tmp_path)]

    assert [meta.ends for meta in metas] == [CLOSED, STOPPED]


async def test_block_that_differs_is_marked_and_not_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The live book changes behind the recorder's back: the block says so, and the next one has a state of its own."""
    async with running(tmp_path) as made:
        live = made.live()
        live.take(quiet_session(30))
        assert live.market.book is not None
        live.market.book.bids._quantities[0] += 1
        live.take(quiet_session(35, 40, 31_000))
        await made.settled()
        live.take(quiet_session(70, 75, 66_000))
    metas = [block.meta for block in on_disk(tmp_path)]

    assert metas[0].flaw == "the book of the block, played again, differs from the live one at its end"
    assert [meta.flaw for meta in metas[1:]] == [""] * (len(metas) - 1)
    assert metas[1].after == metas[0].flaw
    assert "history block differs symbol=BTCUSDT" in caplog.text


async def test_view_that_differs_is_found_too() -> None:
    """A metric that the events do not lead to."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(30))
        live.market._trade_flow._cvd += 1
        live.take(quiet_session(35, 40, 31_000))
        await made.settled()
        (meta,) = made.ring.metas("BTCUSDT")

        assert meta.flaw == "`metrics` of the view of the block, played again, differs from the live one at its end"


async def test_what_cannot_be_encoded_costs_its_block_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An event that the format does not know is logged with its traceback; the feed goes on, and so does the past."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(30))
        live.log.add(31_500, object())
        live.take(quiet_session(35, 40, 31_000))
        await made.settled()
        live.take(quiet_session(70, 75, 66_000))
        await made.settled()
        (meta,) = made.ring.metas("BTCUSDT")

        assert meta.after.startswith("the block before could not be made")
        assert "history block not made symbol=BTCUSDT" in caplog.text


async def test_what_comes_too_fast_is_dropped_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for the thread is bounded in bytes; the next block says why those before it are missing."""
    monkeypatch.setattr(recorder_module, "HANDED_OVER_BYTES_MAX", 1000)
    before = sample_of("pulse_history_blocks_total", {"outcome": "dropped"}) or 0
    async with running() as made:
        live = made.live()
        live.take(quiet_session(190))  # the recorder has no turn meanwhile
        await made.settled()
        live.take(quiet_session(130, 200, 191_000))
        await made.settled()
        metas = made.ring.metas("BTCUSDT")

        assert metas[0].after == STARTED
        assert metas[1].after == TOO_FAST
        assert metas[1].number > 1
        assert (sample_of("pulse_history_blocks_total", {"outcome": "dropped"}) or 0) > before
        assert "history block dropped symbol=BTCUSDT" in caplog.text


async def test_full_disk_is_said_once_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks wait in memory while the disk is full, and are written when there is room: none is lost."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.01)
    caplog.set_level("INFO")
    async with running(tmp_path) as made:
        live = made.live()
        with file_size_limit(50):
            live.take(quiet_session(190))
            await until(lambda: not made.recorder.report()["ok"] and not made.recorder._handed_over)
            report = made.recorder.report()
        await until(lambda: made.recorder.report()["ok"])

        assert "File too large" in report["detail"]
        assert report["since_ms"] == round(made.clock.wall_s() * 1000)
        assert sample_of("pulse_history_is_up") == 1
    assert [block.meta.number for block in on_disk(tmp_path)] == [0, 1, 2, 3]
    assert caplog.text.count("history not written") == 1
    assert caplog.text.count("history written again") == 1


async def test_disk_that_is_full_for_long_costs_the_oldest_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded in bytes; the first block after those that are lost says why."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.01)
    monkeypatch.setattr(recorder_module, "WAITING_BYTES_MAX", 9_000)
    async with running(tmp_path) as made:
        live = made.live()
        with file_size_limit(50):
            live.take(quiet_session(400))
            await until(lambda: not made.recorder.report()["ok"] and not made.recorder._handed_over)
        await until(lambda: made.recorder.report()["ok"])
    metas = [block.meta for block in on_disk(tmp_path)]

    assert 0 < metas[0].number < 6
    assert metas[0].after.startswith("the disk could not be written: ")
    assert [meta.after for meta in metas[1:]] == [""] * (len(metas) - 1)


async def test_symbol_whose_waiting_blocks_are_all_lost_says_so_with_its_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No block of it waits that could say it."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.01)
    monkeypatch.setattr(recorder_module, "WAITING_BYTES_MAX", 10)
    async with running(tmp_path) as made:
        live = made.live()
        with file_size_limit(50):
            live.take(quiet_session(130))
            await until(lambda: not made.recorder._handed_over)
        monkeypatch.setattr(recorder_module, "WAITING_BYTES_MAX", MANY)
        live.take(quiet_session(60, 140, 131_000))
    metas = [block.meta for block in on_disk(tmp_path)]

    assert metas[0].number >= 2
    assert metas[0].after.startswith("the disk could not be written: ")


async def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file is in its place, as a read-only folder is: the past is in memory alone, and the operator is told why."""
    (tmp_path / "pulse.past").write_text("")
    async with running(tmp_path / "pulse.past") as made:
        made.live().take(quiet_session(70))
        await until(lambda: bool(made.ring.metas("BTCUSDT")) and not made.recorder.report()["ok"])

        assert "pulse.past: File exists" in made.recorder.report()["detail"]


async def test_folder_of_another_process_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until that one has left."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.01)
    other = SegmentWriter(tmp_path, MANY)
    other.open()
    async with running(tmp_path) as made:
        made.live().take(quiet_session(70))
        await until(lambda: not made.recorder.report()["ok"])
        assert "another process records in" in made.recorder.report()["detail"]
        other.close()
        await until(lambda: made.recorder.report()["ok"])
        await made.settled()

        assert [block.meta.number for block in on_disk(tmp_path)] == [0]


async def test_cut_that_is_handled_when_the_process_stops_is_written_once(tmp_path: Path) -> None:
    """The thread goes on while its task is cancelled: its block is not made and written a second time."""
    made = Running(tmp_path)
    task = asyncio.create_task(made.recorder.run())
    live = made.live()
    live.take(quiet_session(130))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    assert [block.meta.number for block in on_disk(tmp_path)] == [0, 1, 2]


async def test_market_that_has_no_book_is_recorded(tmp_path: Path) -> None:
    """Its views say why there is none."""
    async with running(tmp_path) as made:
        live = made.live()
        live.take([Row(1000 + 1000 * second, VIEW) for second in range(70)])
    views = views_of(on_disk(tmp_path))

    assert len(views) == 70
    assert not any(difference(views[at_ms], view) for at_ms, view in live.views)
    assert live.views[0][1].state is State.OFFLINE


def test_killed_recorders_leave_whole_blocks_alone(tmp_path: Path) -> None:
    """A handful of real processes, killed at random moments; `python -m tests.past.kills` kills 200."""
    assert kill_many(tmp_path, 4, seed=17) >= 4
