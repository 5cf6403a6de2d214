"""The bound, in bytes for the whole process, of what symbols hold while they wait for snapshots and for trades."""

import logging

import pytest

from pulse.binance.messages import Frame
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.market.depth_sync import DIFF_BYTES, BookAnchor
from pulse.market.trade_sync import TRADE_BYTES
from pulse.market.types import Trade, TradeGap
from pulse.queues import Inbox, make_inbox
from tests.support.makers import ManualClock, diff, snapshot, trade
from tests.support.metrics import sample_of

ROOM = 8 * DIFF_BYTES


class Two:
    """Two symbols that share a bound of eight diffs without levels."""

    def __init__(self, watched: str = "") -> None:
        self.inbox: Inbox = make_inbox()
        self.held = HeldBudget(lambda symbol: symbol == watched, ROOM)
        self.a, self.b = (
            Sequencer(symbol, self.inbox, ManualClock(), self.held, repairs_trades=True) for symbol in ("A", "B")
        )
        self.held.add(self.a)
        self.held.add(self.b)

    def delivered(self) -> list[object]:
        """Return the events in the inbox and empty it."""
        return [self.inbox.get_nowait().event for _ in range(self.inbox.qsize())]


async def put_diffs(sequencer: Sequencer, first: int, last: int) -> None:
    """Bring diffs of one id each."""
    for update_id in range(first, last + 1):
        await sequencer.put_frame(Frame(sequencer.symbol, "depth", diff(update_id, update_id)))


async def test_symbol_that_holds_most_releases_its_older_half() -> None:
    """The other symbol keeps all; a snapshot that is new enough joins both."""
    two = Two()
    await put_diffs(two.b, 1, 2)
    await put_diffs(two.a, 1, 7)

    assert (two.a.held_bytes, two.b.held_bytes) == (3 * DIFF_BYTES, 2 * DIFF_BYTES)
    assert not await two.a.put_snapshot(snapshot(3))
    assert await two.a.put_snapshot(snapshot(4))
    assert await two.b.put_snapshot(snapshot(1))
    assert two.delivered() == [
        BookAnchor(snapshot(4), (diff(5, 5), diff(6, 6), diff(7, 7))),
        BookAnchor(snapshot(1), (diff(2, 2),)),
    ]
    assert two.held.held_bytes == 0


@pytest.mark.proves("no-snapshot")
async def test_symbols_that_nobody_watches_release_first() -> None:
    """A watched one that holds more keeps all, until the other holds nothing."""
    two = Two(watched="A")
    await put_diffs(two.a, 1, 6)
    await put_diffs(two.b, 1, 3)
    assert (two.a.held_bytes, two.b.held_bytes) == (6 * DIFF_BYTES, DIFF_BYTES)

    await put_diffs(two.a, 7, 9)
    assert (two.a.held_bytes, two.b.held_bytes) == (4 * DIFF_BYTES, 0)


async def test_what_is_no_longer_held_makes_room_at_once() -> None:
    """A snapshot that joins one symbol leaves its room to the others, before its next frame."""
    two = Two()
    await put_diffs(two.a, 1, 6)
    await two.a.put_snapshot(snapshot(3))
    await put_diffs(two.b, 1, 8)

    assert two.held.held_bytes == two.b.held_bytes == 8 * DIFF_BYTES
    two.b.restart()
    assert two.held.held_bytes == 0


@pytest.mark.proves("no-snapshot")
async def test_bound_holds_however_long_no_snapshot_comes() -> None:
    """Ten thousand diffs of two symbols never take more than the bound."""
    two = Two()
    most = 0
    for update_id in range(1, 5_000):
        for sequencer in (two.a, two.b):
            await put_diffs(sequencer, update_id, update_id)
            most = max(most, two.held.held_bytes)

    assert most == ROOM


async def test_missing_trades_are_given_up_where_trades_take_most() -> None:
    """Those that waited are delivered after a stated gap."""
    two = Two()
    for trade_id in (1, *range(4, 4 + ROOM // TRADE_BYTES + 1)):
        await two.a.put_frame(Frame("A", "trade", trade(trade_id)))

    events = two.delivered()
    assert [(event.first_trade_id, event.last_trade_id) for event in events if isinstance(event, TradeGap)] == [(2, 3)]
    assert [event.trade_id for event in events if isinstance(event, Trade)][:2] == [1, 4]
    assert two.held.held_bytes == 0


async def test_symbol_that_was_closed_no_longer_counts() -> None:
    """What it held is gone with it."""
    two = Two()
    await put_diffs(two.a, 1, 5)
    two.held.remove(two.a)
    await put_diffs(two.b, 1, 8)

    assert two.held.held_bytes == 8 * DIFF_BYTES


@pytest.mark.proves("no-snapshot")
async def test_release_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for as long as it goes on; /metrics has each time, and what is held now."""
    caplog.set_level(logging.WARNING)
    two = Two()
    before = sample_of("pulse_held_released_total", {"symbol": "A"}) or 0.0
    await put_diffs(two.a, 1, 20)

    assert [record.getMessage() for record in caplog.records] == [
        f"held events released symbol=A held_bytes={9 * DIFF_BYTES} times=1"
    ]
    after = sample_of("pulse_held_released_total", {"symbol": "A"}) or 0.0
    assert after - before == 3.0
    assert sample_of("pulse_held_bytes") == two.held.held_bytes
