"""When a connection is to be replaced, and when its successor may take over."""

import random

import pytest

from pulse.binance.messages import Event, Frame
from pulse.ingest import rotation as module
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.rotation import FRAME_BYTES, OVERLAP_MAX_S, OVERLAP_S, ROTATE_SPREAD, Rotation, Successor
from pulse.ingest.sequencer import Sequencer
from pulse.market.depth_sync import LEVEL_BYTES
from pulse.queues import make_inbox
from tests.support.makers import ManualClock, diff, snapshot, ticker, trade
from tests.support.virtual_time import ScenarioClock, now_s, run

AGE_S = 100.0


class Connection:
    """A stream that is only told apart from others."""

    async def receive(self) -> str:
        """Never called."""
        raise NotImplementedError

    async def send(self, text: str) -> None:
        """Never called."""
        raise NotImplementedError

    async def close(self) -> None:
        """Never called."""
        raise NotImplementedError


def frame(event: Event) -> Frame:
    """Return a frame of BTCUSDT."""
    return Frame("BTCUSDT", "depth", event)


class Setup:
    """A rotation beside a first connection whose book stands at id 10 and whose newest trade is 5."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sequencer = Sequencer("BTCUSDT", make_inbox(), self.clock, HeldBudget(), repairs_trades=True)
        self.rotation = Rotation(self.sequencer, self.clock, random.Random(1), AGE_S)

    async def begin(self) -> Successor:
        """Join the book, deliver the trades, and open the successor."""
        await self.sequencer.put_frame(frame(diff(10, 10)))
        await self.sequencer.put_snapshot(snapshot(9))
        self.rotation.note_trade(5)
        self.rotation.note_trade(4)
        self.rotation.request()
        return self.rotation.begin(Connection())


@pytest.mark.parametrize(
    ("events", "overlaps"),
    [
        ([diff(9, 12)], True),
        ([diff(11, 12)], True),
        ([diff(12, 13)], False),
        ([ticker(8)], False),
        ([diff(10, 11), trade(6)], True),
        ([diff(10, 11), trade(7)], False),
        ([diff(12, 13), diff(10, 11)], False),
    ],
    ids=["overlap", "next", "gap", "no diff", "next trade", "trade gap", "only the first counts"],
)
async def test_successor_takes_over_once_its_first_ids_overlap(events: list[Event], overlaps: bool) -> None:
    """The first diff, and the first trade if there is one, must follow what the first connection delivered."""
    setup = Setup()
    successor = await setup.begin()
    setup.clock.at_ms = OVERLAP_S * 1000

    assert [setup.rotation.hold(successor, frame(event)) for event in events][-1] is overlaps


async def test_successor_does_not_wait_for_trades_of_a_connection_that_sends_none() -> None:
    """Where the trades are silent the diffs alone decide; the missing trades are fetched by id."""
    setup = Setup()
    successor = await setup.begin()
    setup.rotation.request(awaits_trades=False)
    setup.clock.at_ms = OVERLAP_S * 1000
    setup.rotation.hold(successor, frame(trade(90)))
    assert setup.rotation.hold(successor, frame(diff(10, 11)))

    setup.rotation.take_over(successor)
    setup.rotation.request()
    later = setup.rotation.begin(Connection())
    setup.clock.at_ms += OVERLAP_S * 1000
    setup.rotation.hold(later, frame(trade(90)))
    assert not setup.rotation.hold(later, frame(diff(10, 11)))


async def test_both_connections_run_side_by_side_for_a_while() -> None:
    """Before OVERLAP_S has passed the first may not have read what it was sent."""
    setup = Setup()
    successor = await setup.begin()
    setup.clock.at_ms = OVERLAP_S * 1000 - 1

    assert not setup.rotation.hold(successor, frame(diff(10, 11)))


async def test_successor_takes_over_without_an_overlap_in_the_end() -> None:
    """After OVERLAP_MAX_S the sequencer finds the gap in the ids."""
    setup = Setup()
    successor = await setup.begin()
    setup.clock.at_ms = OVERLAP_MAX_S * 1000
    before = setup.rotation.hold(successor, frame(diff(20, 21)))
    setup.clock.at_ms += 1

    assert (before, setup.rotation.hold(successor, frame(diff(22, 23)))) == (False, True)


async def test_number_of_waiting_frames_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound the successor takes over."""
    monkeypatch.setattr(module, "WAITING_FRAMES_MAX", 3)
    setup = Setup()
    successor = await setup.begin()

    assert [setup.rotation.hold(successor, frame(ticker(i))) for i in range(3)] == [False, False, True]


async def test_waiting_frames_are_counted_in_bytes() -> None:
    """Each with its levels, until the successor has taken over."""
    setup = Setup()
    assert setup.rotation.held_bytes == 0
    successor = await setup.begin()
    setup.rotation.hold(successor, frame(ticker(1)))
    setup.rotation.hold(successor, frame(diff(20, 21, [(1.0, 1.0)] * 3, [(2.0, 1.0)] * 4)))
    assert setup.rotation.held_bytes == 2 * FRAME_BYTES + 7 * LEVEL_BYTES

    setup.rotation.take_over(successor)
    assert setup.rotation.held_bytes == 0


async def test_successor_that_is_released_takes_over_with_its_next_frame() -> None:
    """For want of memory, whether or not its ids overlap; without a successor there is nothing to release."""
    setup = Setup()
    await setup.rotation.release_oldest()
    successor = await setup.begin()
    assert not setup.rotation.hold(successor, frame(ticker(1)))
    await setup.rotation.release_oldest()

    assert setup.rotation.held_bytes == 0
    assert setup.rotation.hold(successor, frame(ticker(2)))


async def test_take_over_returns_the_waiting_frames_and_ends_the_rotation() -> None:
    """The frames come in order; nothing is due and there is no successor afterwards."""
    setup = Setup()
    successor = await setup.begin()
    frames = [frame(diff(10, 11)), frame(diff(12, 12))]
    for each in frames:
        setup.rotation.hold(successor, each)

    assert setup.rotation.take_over(successor) == frames
    assert (setup.rotation.completed, successor.took_over, successor.frames) == (1, True, [])
    assert (setup.rotation.is_due, setup.rotation.successor) == (False, None)


async def test_successor_that_is_ending_is_replaced_in_turn() -> None:
    """A shutdown announced to the successor is not forgotten when it takes over."""
    setup = Setup()
    successor = await setup.begin()
    successor.is_ending = True
    setup.rotation.take_over(successor)

    assert (setup.rotation.is_due, setup.rotation.successor) == (True, None)


async def test_rotation_stays_due_where_the_successor_ends_early() -> None:
    """The waiting task is woken and finds that the successor did not take over."""
    setup = Setup()
    successor = await setup.begin()
    setup.rotation.abandon(successor)

    assert (successor.settled.is_set(), successor.took_over) == (True, False)
    assert (setup.rotation.is_due, setup.rotation.successor, setup.rotation.completed) == (True, None, 0)


async def test_reset_forgets_successor_and_request() -> None:
    """A new connection begins without either."""
    setup = Setup()
    await setup.begin()
    setup.rotation.reset()

    assert (setup.rotation.is_due, setup.rotation.successor) == (False, None)


def test_rotation_becomes_due_by_age() -> None:
    """A random part of the age, up to ROTATE_SPREAD, is left out, so that symbols do not rotate together."""

    async def due_s(seed: int) -> float:
        sequencer = Sequencer("BTCUSDT", make_inbox(), ScenarioClock(), HeldBudget(), repairs_trades=True)
        rotation = Rotation(sequencer, ScenarioClock(), random.Random(seed), AGE_S)
        await rotation.wait_until_due()
        assert rotation.is_due
        return now_s()

    times_s = [run(due_s(seed)) for seed in range(5)]
    assert all(AGE_S * (1 - ROTATE_SPREAD) <= time_s <= AGE_S for time_s in times_s)
    assert len(set(times_s)) == 5


async def test_rotation_becomes_due_by_request() -> None:
    """An announced restart does not wait for the connection's age."""
    setup = Setup()
    setup.rotation.request()
    await setup.rotation.wait_until_due()

    assert setup.rotation.is_due
