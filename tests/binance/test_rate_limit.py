"""The weight budget, bans that outlive the process, and the order of the callers."""

import asyncio
from pathlib import Path

import pytest

from pulse import clock
from pulse.binance.rate_limit import BAN_MAX_S, BanFile, Priority, PriorityLock, WeightBudget
from pulse.clock import BOOT_ID, Uptime, system_uptime
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


@pytest.mark.proves("rest-budget")
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


@pytest.mark.parametrize(
    ("priority", "share"),
    [
        (Priority.PINNED_BOOK, 1.0), (Priority.TRADES, 0.97), (Priority.OTHER_BOOK, 0.97),
        (Priority.PINNED_BOOK.widening, 0.95), (Priority.WATCHED_BOOK.widening, 0.75),
        (Priority.OTHER_BOOK.widening, 0.75), (Priority.HISTORY, 0.5),
    ],
)  # fmt: skip
def test_first_snapshots_find_room_when_books_have_been_widened(priority: Priority, share: float) -> None:
    """What widens a book leaves room for first ones and missing trades; that of others, also for pinned symbols."""
    assert priority.share == share


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


class Machine:
    """A machine with a date and an uptime."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.wall_s = 1000.0
        self.boot_id, self.since_boot_s = "first", 50.0

    def bans(self) -> BanFile:
        """Return the ban file as a new process of this machine has it."""
        return BanFile(self._path, lambda: Uptime(self.boot_id, self.since_boot_s))

    def save(self, wait_s: float) -> None:
        """Save a ban of HOST."""
        self.bans().save(HOST, wait_s, self.wall_s)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_s += seconds
        self.since_boot_s += seconds

    def remaining_s(self, host: str = HOST) -> float:
        """Return how long a host's ban goes on."""
        return self.bans().remaining_s(host, self.wall_s)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with a file of bans."""
    return Machine(tmp_path / "state.json")


@pytest.mark.proves("ban")
def test_ban_outlives_the_process(machine: Machine) -> None:
    """The next run knows for how long it goes on, until it is over; other hosts are not banned."""
    machine.save(100.0)
    machine.wait(40.0)

    assert (machine.remaining_s(), machine.remaining_s("other")) == (60.0, 0.0)
    machine.wait(61.0)
    assert machine.remaining_s() == 0.0


@pytest.mark.proves("ban")
@pytest.mark.parametrize("jump_s", [1400.0, -7200.0, 3e9])
def test_ban_outlives_a_jump_of_the_date(machine: Machine, jump_s: float) -> None:
    """While the machine is not started again its uptime counts, which cannot be set."""
    machine.save(300.0)
    machine.wait(10.0)
    machine.wall_s += jump_s

    assert machine.remaining_s() == 290.0


@pytest.mark.parametrize("boot_id", ["second", ""])
def test_after_another_start_the_date_counts(machine: Machine, boot_id: str) -> None:
    """The uptime has begun anew, or the system does not tell which start it is of: there is nothing else."""
    if not boot_id:
        machine.boot_id = ""
    machine.save(300.0)
    machine.wait(100.0)
    machine.boot_id, machine.since_boot_s = boot_id, 5.0

    assert machine.remaining_s() == 200.0


def test_uptime_of_this_machine() -> None:
    """It has a start and goes on, where there is /proc; elsewhere it names no start, so that dates count."""
    first, second = system_uptime(), system_uptime()

    assert first.boot_id == second.boot_id
    assert bool(first.boot_id) == BOOT_ID.exists()
    assert second.seconds >= first.seconds


def test_system_without_an_uptime_names_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Then the date counts."""
    monkeypatch.setattr(clock, "BOOT_ID", tmp_path / "absent")

    assert system_uptime() == Uptime("", 0.0)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{broken",
        '{"api.binance.us": "soon"}',
        '{"api.binance.us": {"until_s": "x"}}',
    ],
)
def test_unreadable_file_is_no_ban(machine: Machine, tmp_path: Path, content: str) -> None:
    """Whatever the file holds, the process starts."""
    (tmp_path / "state.json").write_text(content)

    assert machine.remaining_s() == 0.0


def test_ban_outlives_an_upgrade(machine: Machine, tmp_path: Path) -> None:
    """Files of earlier versions have its end as a date alone; the next save keeps it."""
    (tmp_path / "state.json").write_text(f'{{"{HOST}": {machine.wall_s + 60.5}}}')
    assert machine.remaining_s() == 60.5

    machine.bans().save("other", 10.0, machine.wall_s)
    assert machine.remaining_s() == 60.5


def test_saved_ban_is_limited_to_the_longest_documented_one(machine: Machine) -> None:
    """A clock that was wrong when the ban was saved cannot block the terminal for years."""
    machine.save(10.0**12)

    assert machine.remaining_s() == BAN_MAX_S


def test_ban_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full or read-only disk does not stop the process; it is found out at the start, and logged once."""
    folder = tmp_path / "absent"
    bans = Machine(folder / "state.json").bans()
    bans.check()
    bans.save("api.binance.us", 1000.0, 0.0)
    assert caplog.text.count("state file cannot be written, bans end with the process") == 1
    assert bans.trouble == "No such file or directory"

    folder.mkdir()
    bans.save("api.binance.us", 1000.0, 0.0)
    assert bans.trouble == ""


def test_check_leaves_nothing_behind(machine: Machine, tmp_path: Path) -> None:
    """Neither a file nor trouble where it can be written."""
    bans = machine.bans()
    bans.check()
    BanFile(None).check()

    assert list(tmp_path.iterdir()) == []
    assert bans.trouble == ""


def test_without_a_path_nothing_is_saved() -> None:
    """The demo keeps no bans."""
    machine = Machine(None)
    machine.save(1000.0)

    assert machine.remaining_s() == 0.0


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
