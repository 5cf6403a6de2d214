"""A symbol's recording: when it cuts, what a cut holds, and what it says of the time before and after."""

from itertools import pairwise

import pytest

from pulse.market.types import BookLost, FeedDown
from pulse.past.events import VIEW, Row
from pulse.past.recording import BLOCK_MS, CLOCK_SET, STARTED, Cut, Recording
from tests.support.makers import MIDNIGHT_MS, ManualClock
from tests.support.market import anchor
from tests.support.past import Live, quiet_session


class Desk:
    """Takes cuts, or drops them for a reason."""

    def __init__(self) -> None:
        self.cuts: list[Cut] = []
        self.reason = ""

    def take(self, cut: Cut) -> str:
        """Take a cut, unless there is a reason not to."""
        if not self.reason:
            self.cuts.append(cut)
        return self.reason


@pytest.fixture
def desk() -> Desk:
    """Return a desk that takes every cut."""
    return Desk()


@pytest.fixture
def live(desk: Desk) -> Live:
    """Return a market that is recorded."""
    clock = ManualClock(1000.0)
    return Live(lambda market: Recording(market, "us", "9f3ac21b", clock, desk.take), clock)


def recording_of(live: Live) -> Recording:
    """Return the log of a market."""
    assert isinstance(live.log, Recording)
    return live.log


def test_blocks_are_no_longer_than_a_minute_and_leave_nothing_out(desk: Desk, live: Live) -> None:
    """Each ends with a view and begins where the one before ends."""
    rows = quiet_session(200)
    live.take(rows)
    recording_of(live).end(int(live.clock.now_ms()), "the test ends")

    assert [row for cut in desk.cuts for row in cut.rows] == rows
    assert all(cut.meta.to_ms - cut.meta.from_ms <= BLOCK_MS for cut in desk.cuts)
    assert all(cut.rows[-1][1] is VIEW for cut in desk.cuts)
    metas = [cut.meta for cut in desk.cuts]
    assert all(after.continues(before) for before, after in pairwise(metas))
    assert all(after.from_ms == before.to_ms for before, after in pairwise(metas))
    assert (metas[0].after, metas[0].ends, metas[-1].ends) == (STARTED, "", "the test ends")


def test_only_the_first_block_has_a_state_of_its_own(desk: Desk, live: Live) -> None:
    """The others begin with what the one before has led to."""
    live.take(quiet_session(130))

    assert [cut.state is not None for cut in desk.cuts] == [True, False]


def test_cut_has_what_was_live_at_its_end(desk: Desk, live: Live) -> None:
    """The newest view, and the levels of both sides."""
    live.take(quiet_session(60))
    (cut,) = desk.cuts
    book = live.market.book

    assert book is not None
    assert cut.view in [view for _, view in live.views]
    assert cut.book is not None
    assert cut.book[1][0] == [99.98, 99.99, 100.0]
    assert cut.meta.last_update_id == cut.book[0]


def test_many_rows_are_cut_before_their_time(desk: Desk, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a block is bounded, whatever comes."""
    monkeypatch.setattr("pulse.past.recording.BLOCK_BYTES_MAX", 40_000)
    live.take(quiet_session(100))

    assert len(desk.cuts) > 2
    assert max(cut.size for cut in desk.cuts) < 45_000


def test_state_changes_and_incidents_are_in_the_description(desk: Desk, live: Live) -> None:
    """Each block says in which state it begins, each change with its time and reason, and each incident."""
    live.take(quiet_session(58))
    live.take([Row(59_500, BookLost("ids 5 to 7 are missing")), Row(59_600, VIEW), Row(59_700, anchor(90))])
    live.take([Row(59_800, VIEW), Row(60_000, FeedDown("cut")), Row(60_010, VIEW)])
    live.take([Row(60_600 + 1000 * second, VIEW) for second in range(61)])
    first, second = (cut.meta for cut in desk.cuts)

    assert [state for _, state, _ in first.states] == ["live", "syncing", "live", "offline"]
    assert first.states[1][0] == first.wall_ms(59_600)
    assert first.states[1][2] == "ids 5 to 7 are missing"
    assert [(cause, reason) for _, cause, reason, _ in first.incidents] == [("gap", "ids 5 to 7 are missing")]
    assert first.proof["incidents"] == 1
    assert second.states == [[second.from_ms, "offline", "cut"]]
    assert second.incidents == []


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_clock_that_is_set_begins_a_block(desk: Desk, live: Live, step_s: float) -> None:
    """What follows has the new time, and says so."""
    live.take(quiet_session(10))
    live.clock.at_wall_s += step_s
    live.take(quiet_session(70, 20, 11_000))
    first, second = (cut.meta for cut in desk.cuts)

    assert abs(second.from_ms - (first.to_ms + step_s * 1000)) < 2_000
    assert second.after == CLOCK_SET


def test_dropped_block_is_a_hole_with_its_reason(desk: Desk, live: Live) -> None:
    """The next one begins with the state of then, which is written in full."""
    desk.reason = "too fast"
    live.take(quiet_session(60))
    desk.reason = ""
    live.take(quiet_session(60, 70, 61_000))
    (cut,) = desk.cuts

    assert cut.state is not None
    assert cut.meta.after == "too fast"
    assert cut.meta.number == 1


def test_flaw_ends_the_running_block(desk: Desk, live: Live) -> None:
    """Its rows follow on what cannot be relied on; the next one begins with the state of then."""
    live.take(quiet_session(5))
    recording_of(live).flaw = "the book differs"
    live.take(quiet_session(70, 15, 6_000))
    (cut,) = desk.cuts

    assert cut.state is not None
    assert cut.meta.after == "the book differs"
    assert cut.rows[0][0] > 6_000


def test_recording_with_a_flaw_ends_without_a_block(desk: Desk, live: Live) -> None:
    """What it has is not known to be right."""
    live.take(quiet_session(5))
    recording_of(live).flaw = "the book differs"
    recording_of(live).end(7_000, "the test ends")

    assert desk.cuts == []


def test_replay_begins_with_its_first_view(desk: Desk) -> None:
    """Its clock shows 0 before its first event: the block does not begin in 1970."""
    clock = ManualClock(0.0, 0.0)
    live = Live(lambda market: Recording(market, "replay", "9f3ac21b", clock, desk.take), clock)
    rows = [Row(MIDNIGHT_MS + row.at_ms if row.at_ms > 1000 else 0, row.event) for row in quiet_session(60)]
    live.take(rows)
    (cut,) = desk.cuts

    assert cut.meta.from_ms == MIDNIGHT_MS + 2003
    assert cut.meta.to_ms - cut.meta.from_ms < BLOCK_MS
