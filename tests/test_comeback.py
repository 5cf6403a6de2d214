"""Waiting together: few tries in all, and one success ends the wait of all."""

import asyncio

import pytest

from pulse.comeback import Comeback
from tests.support.virtual_time import now_s, run


@pytest.mark.parametrize(("most_s", "waited_s"), [(1.0, 1.0), (30.0, 3.0)])
def test_who_waits_alone_waits_no_longer_than_the_spacing(most_s: float, waited_s: float) -> None:
    """A short wait stays as it is, a long one is cut."""

    async def story() -> float:
        await Comeback(3.0).wait(most_s)
        return now_s()

    assert run(story()) == waited_s


def test_the_more_wait_the_longer_each_of_them_does() -> None:
    """Taken together their tries keep their distance."""

    async def story() -> list[float]:
        comeback = Comeback(3.0)

        async def one() -> float:
            await comeback.wait(30.0)
            return now_s()

        return await asyncio.gather(*(one() for _ in range(4)))

    assert run(story()) == [3.0, 6.0, 9.0, 12.0]


def test_one_answer_ends_the_wait_of_all() -> None:
    """And only of those who wait then: the next wait is a new one."""

    async def story() -> list[float]:
        comeback = Comeback(3.0)
        comeback.reached()
        waits = [asyncio.create_task(comeback.wait(30.0)) for _ in range(3)]
        await asyncio.sleep(1.0)
        comeback.reached()
        await asyncio.gather(*waits)
        first = now_s()
        await comeback.wait(2.0)
        return [first, now_s()]

    assert run(story()) == [1.0, 3.0]
