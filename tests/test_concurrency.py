"""Work in chunks, the shared retry gate, backoff delays, fair shares and rate limits."""

import asyncio
import contextlib
import random
from itertools import islice

import pytest

from pulse.concurrency import (
    CHUNK_ITEMS,
    PAUSE_MAX_S,
    TURNS_OF_A_VIEW,
    DutyCycle,
    FairShare,
    Limit,
    RateLimiter,
    RetryGate,
    WorkShare,
    backoff_delays,
    map_in_chunks,
)
from tests.support.virtual_time import now_s, run


async def test_every_item_is_mapped_in_order() -> None:
    """Whatever the number of items, each has its result."""
    for count in (0, 1, CHUNK_ITEMS, CHUNK_ITEMS + 1, 3 * CHUNK_ITEMS):
        assert await map_in_chunks(str, range(count)) == [str(number) for number in range(count)]


async def test_other_tasks_run_between_two_chunks() -> None:
    """A view that needs several turns of the loop passes after each chunk."""
    turns: list[int] = []
    done = 0

    def work(number: int) -> None:
        nonlocal done
        done = number

    async def other() -> None:
        for _ in range(3):
            turns.append(done)
            for _ in range(TURNS_OF_A_VIEW):
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


def test_share_is_full_at_either_limit() -> None:
    """In all, or for one address; no longer once something was given back."""
    share = FairShare(total=4, per_address_max=3)
    share.enter("a", 2)
    share.enter("b")
    full = [
        share.limit_reached("a"),
        share.limit_reached("a", 2),
        share.limit_reached("c"),
        share.limit_reached("c", 2),
    ]
    share.enter("a")
    full += [share.limit_reached("a"), share.limit_reached("c")]
    share.leave("a", 2)

    assert full == [None, Limit.ALL, None, Limit.ALL, Limit.ALL, Limit.ALL]
    assert (share.count, share.limit_reached("a", 2), share.limit_reached("a", 3)) == (2, None, Limit.ALL)


def test_address_has_a_limit_of_its_own() -> None:
    """Others are not concerned."""
    share = FairShare(total=100, per_address_max=2)
    share.enter("a", 2)

    assert (share.limit_reached("a"), share.limit_reached("b")) == (Limit.ADDRESS, None)


def test_address_that_uses_nothing_takes_no_memory() -> None:
    """The number of addresses seen over time costs nothing, nor does a look at one."""
    share = FairShare(10, 10)
    share.enter("a", 2)
    share.leave("a", 2)
    share.enter("b", 0)
    share.limit_reached("c")

    assert share.count == 0
    assert not share._by_address


def test_burst_then_rate() -> None:
    """A whole burst after a pause, then one request per interval. A refusal returns the time to wait."""
    limiter = RateLimiter(per_s=2, burst=4, keys_max=10)
    burst = [limiter.acquire("a", 100.0) for _ in range(4)]
    refused = [limiter.acquire("a", 100.0), limiter.acquire("a", 100.25)]
    later = [limiter.acquire("a", now_s) for now_s in (100.5, 100.5, 101.0)]

    assert burst == [0.0] * 4
    assert refused == pytest.approx([0.5, 0.25])
    assert later == pytest.approx([0.0, 0.5, 0.0])


def test_long_run_rate_is_kept() -> None:
    """Ten times too many requests are served at the allowed rate."""
    limiter = RateLimiter(per_s=2, burst=4, keys_max=10)
    served = sum(limiter.acquire("a", tick / 20) == 0.0 for tick in range(20 * 100))

    assert served == pytest.approx(2 * 100 + 4, abs=1)


def test_each_key_has_its_own_rate() -> None:
    """One that exceeds it does not affect others."""
    limiter = RateLimiter(per_s=1, burst=1, keys_max=10)
    first = [limiter.acquire("a", 0.0) for _ in range(2)]

    assert first[1] > 0
    assert limiter.acquire("b", 0.0) == 0.0


def test_least_recently_served_key_is_evicted() -> None:
    """Memory is bounded whatever the number of addresses."""
    limiter = RateLimiter(per_s=1, burst=2, keys_max=2)
    for key in ("a", "b", "a", "c"):
        limiter.acquire(key, 0.0)

    assert list(limiter._full_at_s) == ["a", "c"]


@pytest.mark.parametrize("now_s", [0.1, 12_345.678, 999_999.9])
def test_rounding_does_not_shorten_a_burst(now_s: float) -> None:
    """Sums of twentieths of a second are not exact, and the last of a hundred is not refused for it."""
    limiter = RateLimiter(per_s=20, burst=100, keys_max=10)
    waits_s = [limiter.acquire("a", now_s) for _ in range(101)]

    assert waits_s[:100] == [0.0] * 100
    assert waits_s[100] == pytest.approx(0.05)


def test_work_that_was_done_counts_as_more_requests() -> None:
    """It is never refused itself; the next request waits until it is paid for."""
    limiter = RateLimiter(per_s=2, burst=4, keys_max=10)
    limiter.acquire("a", 100.0)
    limiter.charge("a", 5.0, 100.0)

    assert limiter.acquire("a", 100.0) == pytest.approx(1.5)
    assert limiter.acquire("a", 101.5) == 0.0
    assert limiter.acquire("b", 100.0) == 0.0


@pytest.mark.proves("address-reads")
def test_work_in_turns_leaves_the_loop_to_others() -> None:
    """One at a time, in order, and all together a quarter of the time; the last one rests too."""
    ends_s: list[float] = []

    async def scenario() -> None:
        cycle = DutyCycle(0.25)

        async def work() -> None:
            async with cycle.turn():
                await asyncio.sleep(0.1)
                ends_s.append(now_s())

        await asyncio.gather(*(work() for _ in range(3)))
        ends_s.append(now_s())

    run(scenario())
    assert ends_s == pytest.approx([0.1, 0.5, 0.9, 1.2])


def test_rest_of_work_in_turns_is_bounded() -> None:
    """What took long has waited itself, and what failed does not rest at all."""
    ends_s: list[float] = []

    async def scenario() -> None:
        cycle = DutyCycle(0.25)
        with contextlib.suppress(ValueError):
            async with cycle.turn():
                await asyncio.sleep(1.0)
                raise ValueError("failed")
        ends_s.append(now_s())
        async with cycle.turn():
            await asyncio.sleep(5.0)
        ends_s.append(now_s())

    run(scenario())
    assert ends_s == pytest.approx([1.0, 6.0 + PAUSE_MAX_S])


def test_cheap_work_may_be_done_each_time() -> None:
    """Ten times a second, a millisecond each, is a tenth of the share."""
    share = WorkShare(0.1, 0.5)
    times = [at / 10 for at in range(100)]
    for at_s in times:
        assert share.is_due("a", at_s)
        share.done("a", at_s, at_s + 0.001)


def test_dear_work_is_kept_within_its_share() -> None:
    """Of two keys, 10 ms and 30 ms a time: together a tenth of the time, so each is done every 400 ms."""
    share, spent, done = WorkShare(0.1, 5.0), 0.0, {"a": 0, "b": 0}
    for tick in range(1000):
        now_s = tick / 100
        for key, cost_s in (("a", 0.01), ("b", 0.03)):
            if share.is_due(key, now_s):
                share.done(key, now_s, now_s + cost_s)
                spent, done[key] = spent + cost_s, done[key] + 1

    assert spent == pytest.approx(0.1 * 10, rel=0.05)
    assert done["a"] == pytest.approx(done["b"], abs=1)


def test_no_work_waits_longer_than_the_most() -> None:
    """Whatever it costs: its result must not look dead."""
    share = WorkShare(0.1, 0.5)
    share.done("a", 0.0, 3.0)

    assert (share.is_due("a", 0.49), share.is_due("a", 0.5)) == (False, True)


def test_work_that_is_no_longer_wanted_costs_nothing() -> None:
    """Others have its share."""
    share = WorkShare(0.1, 5.0)
    share.done("a", 0.0, 0.1)
    share.discard("a")
    share.discard("a")
    share.done("b", 0.0, 0.01)

    assert share.is_due("a", 0.0)
    assert (share.is_due("b", 0.09), share.is_due("b", 0.11)) == (False, True)
