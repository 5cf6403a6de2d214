"""The weight budget, bans that outlive the process, and the order of the callers."""

import asyncio
from pathlib import Path

import pytest

from pulse.binance.rate_limit import BAN_MAX_S, BanFile, Priority, PriorityLock, WeightBudget
from tests.support.waiting import WAIT_S


@pytest.fixture
def budget() -> WeightBudget:
    """Return the budget of a venue that allows 1200 a minute, 600 of it ours."""
    return WeightBudget(1200)


def test_half_of_the_limit_is_usable(budget: WeightBudget) -> None:
    """Calls go through until the usable share is spent, then wait for the next minute."""
    budget.spend(550, 610.0)

    assert budget.wait_s(50, 610.0) == 0.0
    assert budget.wait_s(51, 610.0) == 50.0


def test_caller_may_be_limited_to_a_share(budget: WeightBudget) -> None:
    """A caller that may spend three quarters waits earlier, whichever caller has spent them."""
    budget.spend(430, 610.0)

    assert budget.wait_s(20, 610.0, share=0.75) == 0.0
    assert budget.wait_s(21, 610.0, share=0.75) == 50.0
    assert budget.wait_s(170, 610.0) == 0.0


def test_each_minute_starts_at_zero(budget: WeightBudget) -> None:
    """Weight spent in one minute does not count in the next."""
    budget.spend(600, 659.0)

    assert budget.wait_s(250, 659.5) == 0.5
    assert budget.wait_s(250, 660.0) == 0.0


def test_call_above_the_usable_share_goes_alone_in_its_minute(budget: WeightBudget) -> None:
    """It goes through in a minute in which no other weight was spent."""
    assert budget.wait_s(700, 600.0) == 0.0

    budget.spend(1, 600.0)
    assert budget.wait_s(700, 600.0) == 60.0


def test_exchanges_own_count_decides(budget: WeightBudget) -> None:
    """Weight that other programs spent from the same address counts too; a lower count changes nothing."""
    budget.observe(590, 600.0)
    budget.observe(10, 601.0)

    assert budget.wait_s(20, 602.0) == 58.0
    assert budget.wait_s(10, 602.0) == 0.0


def test_pinned_snapshot_goes_through_whatever_the_exchange_has_counted(budget: WeightBudget) -> None:
    """What others spent just before our minute began counts for the exchange; up to nine tenths of its limit it may."""
    budget.spend(100, 600.0)
    budget.observe(800, 600.0)

    def wait_s(weight: int, priority: Priority) -> float:
        return budget.wait_s(weight, 600.0, priority.share, priority.counted_share)

    assert wait_s(1, Priority.WATCHED_BOOK) == 60.0
    assert (wait_s(280, Priority.PINNED_BOOK), wait_s(281, Priority.PINNED_BOOK)) == (0.0, 60.0)
    budget.spend(280, 600.0)
    assert wait_s(1, Priority.PINNED_BOOK) == 60.0


def test_pinned_snapshots_keep_to_our_half_too(budget: WeightBudget) -> None:
    """Our own spending of two minutes that the exchange counts as one stays within its limit."""
    budget.spend(560, 600.0)
    share = Priority.PINNED_BOOK.share, Priority.PINNED_BOOK.counted_share

    assert (budget.wait_s(40, 600.0, *share), budget.wait_s(41, 600.0, *share)) == (0.0, 60.0)


def test_stated_limit_replaces_the_published_one(budget: WeightBudget) -> None:
    """The limit of exchangeInfo is the one that counts."""
    budget.set_limit(6000)
    budget.spend(2000, 600.0)

    assert budget.wait_s(1000, 600.0) == 0.0
    assert budget.wait_s(1001, 600.0) == 60.0


def test_block_stops_every_call(budget: WeightBudget) -> None:
    """For Retry-After seconds no call goes through, whatever its weight and the minute."""
    budget.block(120.0, 600.0)

    assert budget.wait_s(1, 650.0) == budget.blocked_for_s(650.0) == 70.0
    assert (budget.wait_s(1, 720.0), budget.blocked_for_s(720.0)) == (0.0, 0.0)


def test_shorter_block_does_not_end_a_longer_one(budget: WeightBudget) -> None:
    """Of two blocks the later end counts."""
    budget.block(120.0, 600.0)
    budget.block(10.0, 605.0)

    assert budget.blocked_for_s(605.0) == 115.0


HOST = "api.binance.us"


def test_ban_outlives_the_process(tmp_path: Path) -> None:
    """Another process that reads the same file gets the remaining time."""
    BanFile(tmp_path / "state.json").save(HOST, 1000.0)

    assert BanFile(tmp_path / "state.json").remaining_s(HOST, 940.0) == 60.0
    assert BanFile(tmp_path / "state.json").remaining_s("other", 940.0) == 0.0


def test_past_ban_is_over(tmp_path: Path) -> None:
    """After its end no time remains."""
    bans = BanFile(tmp_path / "state.json")
    bans.save(HOST, 1000.0)

    assert bans.remaining_s(HOST, 1001.0) == 0.0


@pytest.mark.parametrize("content", ["", "[]", "{broken", '{"api.binance.us": "soon"}'])
def test_unreadable_file_is_no_ban(tmp_path: Path, content: str) -> None:
    """Whatever the file holds, the process starts."""
    (tmp_path / "state.json").write_text(content)

    assert BanFile(tmp_path / "state.json").remaining_s(HOST, 0.0) == 0.0


def test_saved_ban_is_limited_to_the_longest_documented_one(tmp_path: Path) -> None:
    """A clock that was wrong when the ban was saved cannot block the terminal for years."""
    bans = BanFile(tmp_path / "state.json")
    bans.save(HOST, 10.0**12)

    assert bans.remaining_s(HOST, 0.0) == BAN_MAX_S


def test_ban_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full or read-only disk does not stop the process."""
    BanFile(tmp_path / "absent" / "state.json").save(HOST, 1000.0)

    assert "ban cannot be saved" in caplog.text


def test_without_a_path_nothing_is_saved() -> None:
    """The demo keeps no bans."""
    bans = BanFile(None)
    bans.save(HOST, 1000.0)

    assert bans.remaining_s(HOST, 0.0) == 0.0


async def test_waiter_of_the_lowest_priority_number_goes_first() -> None:
    """Lower numbers overtake, equals keep their order."""
    lock, order = PriorityLock(), []

    async def caller(name: str, priority: int) -> None:
        await lock.acquire(priority)
        order.append(name)
        lock.release()

    await lock.acquire(0)
    waiting = [
        asyncio.create_task(caller(name, priority)) for name, priority in (("late", 3), ("a", 1), ("b", 1), ("now", 0))
    ]
    await asyncio.sleep(0)
    lock.release()
    await asyncio.gather(*waiting)

    assert order == ["now", "a", "b", "late"]


async def test_cancelled_waiter_is_skipped() -> None:
    """A cancelled waiter neither gets the lock nor keeps it."""
    lock = PriorityLock()
    await lock.acquire(0)
    cancelled = asyncio.create_task(lock.acquire(0))
    following = asyncio.create_task(lock.acquire(1))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    lock.release()

    await asyncio.wait_for(following, WAIT_S)


async def test_waiter_cancelled_while_it_gets_the_lock_passes_it_on() -> None:
    """Cancelled between the grant and its next step, it releases the lock to the next waiter."""
    lock = PriorityLock()
    await lock.acquire(0)
    cancelled = asyncio.create_task(lock.acquire(0))
    following = asyncio.create_task(lock.acquire(1))
    await asyncio.sleep(0)
    lock.release()
    cancelled.cancel()

    await asyncio.wait_for(following, WAIT_S)
