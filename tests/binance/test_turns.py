"""Who is let in next."""

import asyncio

from pulse.binance.turns import Turns


async def test_the_most_urgent_waiter_goes_first() -> None:
    """Lower ranks overtake, equals keep their order."""
    turns, order = Turns(), []

    async def caller(name: str, rank: int) -> None:
        await turns.take(rank)
        order.append(name)
        turns.give_back()

    await turns.take(0)
    waiting = [asyncio.create_task(caller(name, rank)) for name, rank in (("late", 3), ("a", 1), ("b", 1), ("now", 0))]
    await asyncio.sleep(0)
    turns.give_back()
    await asyncio.gather(*waiting)

    assert order == ["now", "a", "b", "late"]


async def test_a_waiter_that_gives_up_is_passed_over() -> None:
    """A cancelled one neither gets the turn nor keeps it."""
    turns = Turns()
    await turns.take(0)
    gone = asyncio.create_task(turns.take(0))
    next_one = asyncio.create_task(turns.take(1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    turns.give_back()

    await asyncio.wait_for(next_one, 1)


async def test_a_turn_given_to_one_that_was_just_cancelled_goes_on() -> None:
    """Cancelled in the moment of being let in, it hands the turn to the next."""
    turns = Turns()
    await turns.take(0)
    gone = asyncio.create_task(turns.take(0))
    next_one = asyncio.create_task(turns.take(1))
    await asyncio.sleep(0)
    turns.give_back()
    gone.cancel()

    await asyncio.wait_for(next_one, 1)
