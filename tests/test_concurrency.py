"""Work in chunks, the shared retry gate, and backoff delays."""

import asyncio
import random
from itertools import islice

import pytest

from pulse.concurrency import CHUNK_ITEMS, RetryGate, backoff_delays, map_in_chunks
from tests.support.virtual_time import now_s, run


async def test_every_item_is_mapped_in_order() -> None:
    """Whatever the number of items, each has its result."""
    for count in (0, 1, CHUNK_ITEMS, CHUNK_ITEMS + 1, 3 * CHUNK_ITEMS):
        assert await map_in_chunks(str, range(count)) == [str(number) for number in range(count)]


async def test_other_tasks_run_between_two_chunks() -> None:
    """The loop goes on after each chunk."""
    turns: list[int] = []
    done = 0

    def work(number: int) -> None:
        nonlocal done
        done = number

    async def other() -> None:
        for _ in range(3):
            turns.append(done)
            await asyncio.sleep(0)

    await asyncio.gather(map_in_chunks(work, range(3 * CHUNK_ITEMS)), other())
    assert turns == [CHUNK_ITEMS - 1, 2 * CHUNK_ITEMS - 1, 3 * CHUNK_ITEMS - 1]


@pytest.mark.parametrize(("max_s", "waited_s"), [(1.0, 1.0), (30.0, 3.0)])
def test_single_waiter_waits_no_longer_than_the_spacing(max_s: float, waited_s: float) -> None:
    """A short wait stays as it is, a long one is cut to the spacing."""

    async def scenario() -> float:
        await RetryGate(3.0).wait(max_s)
        return now_s()

    assert run(scenario()) == waited_s


def test_an_uncapped_wait_is_as_long_as_asked() -> None:
    """A refusal does not pass by itself, however few tasks wait; a success still ends the wait."""

    async def scenario() -> tuple[float, float]:
        gate = RetryGate(3.0)
        await gate.wait(300.0, is_capped=False)
        alone_s = now_s()
        waiting = asyncio.create_task(gate.wait(300.0, is_capped=False))
        await asyncio.sleep(1.0)
        gate.succeeded()
        await waiting
        return alone_s, now_s() - alone_s

    assert run(scenario()) == (300.0, 1.0)


def test_each_wait_grows_with_the_number_of_waiters() -> None:
    """The joint retry rate stays at one per spacing."""

    async def scenario() -> list[float]:
        gate = RetryGate(3.0)

        async def waiter() -> float:
            await gate.wait(30.0)
            return now_s()

        return await asyncio.gather(*(waiter() for _ in range(4)))

    assert run(scenario()) == [3.0, 6.0, 9.0, 12.0]


def test_one_success_wakes_all_waiters() -> None:
    """It wakes only those that wait then: a later wait is a new one."""

    async def scenario() -> list[float]:
        gate = RetryGate(3.0)
        gate.succeeded()
        waits = [asyncio.create_task(gate.wait(30.0)) for _ in range(3)]
        await asyncio.sleep(1.0)
        gate.succeeded()
        await asyncio.gather(*waits)
        woken_s = now_s()
        await gate.wait(2.0)
        return [woken_s, now_s()]

    assert run(scenario()) == [1.0, 3.0]


def first_delays(count: int, seed: int = 1) -> list[float]:
    """Return the first delays of a backoff from 0.5 s up to 30 s."""
    return list(islice(backoff_delays(0.5, 30.0, random.Random(seed)), count))


def test_each_delay_lies_in_the_upper_half_of_its_bound() -> None:
    """Bounds double from the first delay to the longest and stay there."""
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    for seed in range(50):
        delays = first_delays(9, seed)
        assert all(bound / 2 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))


def test_delays_differ_between_clients() -> None:
    """Two clients that were cut together do not come back together."""
    assert first_delays(1, seed=1) != first_delays(1, seed=2)


def test_same_seed_gives_the_same_delays() -> None:
    """A run can be repeated exactly."""
    assert first_delays(9) == first_delays(9)
