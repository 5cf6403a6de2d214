"""Long work leaves room for others."""

import asyncio
import random
from itertools import islice

import pytest

from pulse.concurrency import SLICE, RetryGate, backoff_delays, map_in_chunks
from tests.support.virtual_time import now_s, run


async def test_everything_is_done_in_order() -> None:
    """Whatever their number, each thing has its result."""
    for count in (0, 1, SLICE, SLICE + 1, 3 * SLICE):
        assert await map_in_chunks(str, range(count)) == [str(number) for number in range(count)]


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

    await asyncio.gather(map_in_chunks(work, range(3 * SLICE)), other())
    assert turns == [SLICE - 1, 2 * SLICE - 1, 3 * SLICE - 1]


@pytest.mark.parametrize(("most_s", "waited_s"), [(1.0, 1.0), (30.0, 3.0)])
def test_who_waits_alone_waits_no_longer_than_the_spacing(most_s: float, waited_s: float) -> None:
    """A short wait stays as it is, a long one is cut."""

    async def story() -> float:
        await RetryGate(3.0).wait(most_s)
        return now_s()

    assert run(story()) == waited_s


def test_the_more_wait_the_longer_each_of_them_does() -> None:
    """Taken together their tries keep their distance."""

    async def story() -> list[float]:
        comeback = RetryGate(3.0)

        async def one() -> float:
            await comeback.wait(30.0)
            return now_s()

        return await asyncio.gather(*(one() for _ in range(4)))

    assert run(story()) == [3.0, 6.0, 9.0, 12.0]


def test_one_answer_ends_the_wait_of_all() -> None:
    """And only of those who wait then: the next wait is a new one."""

    async def story() -> list[float]:
        comeback = RetryGate(3.0)
        comeback.reached()
        waits = [asyncio.create_task(comeback.wait(30.0)) for _ in range(3)]
        await asyncio.sleep(1.0)
        comeback.reached()
        await asyncio.gather(*waits)
        first = now_s()
        await comeback.wait(2.0)
        return [first, now_s()]

    assert run(story()) == [1.0, 3.0]


def first(count: int, seed: int = 1) -> list[float]:
    """The first waits of a retry from 0.5 s up to 30 s."""
    return list(islice(backoff_delays(0.5, 30.0, random.Random(seed)), count))


def test_each_wait_lies_in_the_upper_half_of_its_bound() -> None:
    """Bounds double from the first wait to the longest and stay there."""
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    for seed in range(50):
        assert all(bound / 2 <= wait <= bound for wait, bound in zip(first(9, seed), bounds, strict=True))


def test_waits_differ_between_clients() -> None:
    """Two clients that were cut together do not come back together."""
    assert first(1, seed=1) != first(1, seed=2)


def test_a_seed_gives_the_same_waits_again() -> None:
    """A retry can be repeated exactly."""
    assert first(9) == first(9)
