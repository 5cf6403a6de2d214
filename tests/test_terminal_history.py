"""The whole terminal with its recorded past: what it leaves on the disk, and a folder that it cannot use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pulse.past.block import Block
from pulse.past.playback import open_block, play
from pulse.past.recorder import STOPPED
from pulse.past.segments import all_segments, read_entry, scan_segment, symbol_folder
from pulse.simulator.server import SimulatedExchange
from pulse.web.api.status import HISTORY_TROUBLE
from tests.support.process import SYMBOLS, Pulse, run_pulse, terminal_on


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminal under test streams."""
    async with SimulatedExchange(SYMBOLS.split(","), seed=5) as running:
        yield running


def blocks_in(folder: Path) -> list[Block]:
    """Return the blocks of BTCUSDT."""
    paths = [path for path in all_segments(folder) if path.parent == symbol_folder(folder, "us", "BTCUSDT")]
    return [read_entry(entry) for path in sorted(paths) for entry in scan_segment(path).entries]


async def test_stopped_terminal_leaves_its_past(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """The running block is written at the end, and shows the book that was live; the next start goes on beside it."""
    for _ in range(2):
        async with terminal_on(exchange, tmp_path) as pulse:
            await pulse.until_live()
            report = await pulse.get("/readyz")
            assert (report["history"]["kind"], report["history"]["ok"]) == ("disk", True)
            assert await pulse.stop() == 0
    blocks = blocks_in(tmp_path / "pulse.past")

    assert [block.meta.ends for block in blocks] == [STOPPED, STOPPED]
    for block in blocks:
        assert block.meta.flaw == ""
        views = [view for view in play(*open_block(block), 0.0) if view is not None]
        assert views[-1].state.value == "live"
        assert len(views[-1].bids) == 20


async def test_folder_that_cannot_be_written_is_said_and_the_feed_goes_on(
    exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """It is read-only: /readyz says so, and when it may be written it is."""
    folder = tmp_path / "pulse.past"
    folder.mkdir(mode=0o500)
    pulse = terminal_on(exchange, tmp_path)
    pulse.is_bound = True
    async with pulse:
        await pulse.until_live()
        report = await pulse.until(lambda: pulse.get("/readyz"), lambda answer: not answer["history"]["ok"])
        assert report["ready"]
        assert report["degraded"] == [HISTORY_TROUBLE]
        assert "pulse.past/lock: Permission denied" in report["history"]["detail"]
        assert (await pulse.view())["state"] == "live"
        folder.chmod(0o700)
        await pulse.until(lambda: pulse.get("/readyz"), lambda answer: answer["history"]["ok"])
        assert (folder / "lock").exists()


async def test_demo_keeps_its_past_in_memory(tmp_path: Path) -> None:
    """Nothing of it is on the disk."""
    async with Pulse(tmp_path, "--demo") as pulse:
        await pulse.until_live()
        assert (await pulse.get("/readyz"))["history"]["kind"] == "memory"
    assert not (tmp_path / "pulse.past").exists()


async def test_nothing_is_recorded_without_any_room(exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Both bounds are 0."""
    async with terminal_on(exchange, tmp_path, PULSE_HISTORY_MB="0", PULSE_HISTORY_RING_MB="0") as pulse:
        await pulse.until_live()
        assert (await pulse.get("/readyz"))["history"]["kind"] == "off"


async def test_wrong_bounds_are_a_sentence(tmp_path: Path) -> None:
    """Each names what it must be."""
    code, text = await run_pulse(tmp_path, PULSE_HISTORY_MB="many", PULSE_HISTORY_RING_MB="-1")

    assert code == 2
    assert "PULSE_HISTORY_MB must be a whole number from 0 to 10000000, not 'many'." in text
    assert "PULSE_HISTORY_RING_MB must be a whole number from 0 to 100000, not '-1'." in text
