"""Long work leaves room for others."""

import asyncio

from pulse.concurrency import SLICE, in_slices


async def test_everything_is_done_in_order() -> None:
    """Whatever their number, each thing has its result."""
    for count in (0, 1, SLICE, SLICE + 1, 3 * SLICE):
        assert await in_slices(str, range(count)) == [str(number) for number in range(count)]


async def test_others_get_their_turn() -> None:
    """Between two slices the loop goes on."""
    turns: list[int] = []
    done = 0

    def work(number: int) -> None:
        nonlocal done
        done = number

    async def other() -> None:
        for _ in range(3):
            turns.append(done)
            await asyncio.sleep(0)

    await asyncio.gather(in_slices(work, range(3 * SLICE)), other())
    assert turns == [SLICE - 1, 2 * SLICE - 1, 3 * SLICE - 1]
