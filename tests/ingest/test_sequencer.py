"""The river's mouth: what the engine gets of frames and snapshots, in which order, and what is kept from it."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from pulse.binance.messages import Event, Frame
from pulse.ingest.sequencer import Sequencer
from pulse.market.depth_sync import BookAnchor
from pulse.market.types import BookLost, FeedUp, Trade, TradeGap, TradesHeld
from pulse.queues import INBOX_EVENTS_MAX, Inbox, Received, make_inbox
from tests.support.makers import MIDNIGHT_MS, ManualClock, diff, snapshot, ticker, trade


def frame(event: Event, kind: str = "depth") -> Frame:
    """A frame of BTCUSDT."""
    return Frame("BTCUSDT", kind, event)


@pytest.fixture
def inbox() -> Inbox:
    """The engine's inbox."""
    return make_inbox()


@pytest.fixture
def intake(inbox: Inbox) -> Sequencer:
    """An intake whose clock stands at 5 ms."""
    return Sequencer("BTCUSDT", inbox, ManualClock(5.0), may_repair=True)


def taken(inbox: Inbox) -> list[object]:
    """The events that came out."""
    return [inbox.get_nowait().event for _ in range(inbox.qsize())]


async def joined(intake: Sequencer) -> None:
    """Bring the book to id 10."""
    await intake.frame(frame(diff(10, 10)))
    await intake.snapshot(snapshot(9))


async def test_what_needs_no_joining_passes(intake: Sequencer, inbox: Inbox) -> None:
    """Trades, tickers and the feed's own events go straight on, stamped with symbol and time."""
    await intake.put(FeedUp())
    await intake.frame(frame(trade(1), "trade"))
    await intake.frame(frame(ticker(1), "bookTicker"))

    assert inbox.get_nowait() == Received("BTCUSDT", FeedUp(), 5.0)
    assert taken(inbox) == [trade(1), ticker(1)]


async def test_diffs_wait_for_a_snapshot(intake: Sequencer, inbox: Inbox) -> None:
    """Until a snapshot joins nothing of the book comes out; then it comes whole, and each diff after it."""
    await intake.frame(frame(diff(10, 10)))
    assert (taken(inbox), intake.wants_snapshot) == ([], True)

    assert await intake.snapshot(snapshot(9))
    await intake.frame(frame(diff(11, 12)))
    assert taken(inbox) == [BookAnchor(snapshot(9), (diff(10, 10),)), diff(11, 12)]
    assert not intake.wants_snapshot


async def test_a_snapshot_may_wait_for_the_stream(intake: Sequencer, inbox: Inbox) -> None:
    """A snapshot that is ahead of the stream comes out with the first diff that reaches it."""
    assert await intake.snapshot(snapshot(9))
    await intake.frame(frame(diff(10, 10)))

    assert taken(inbox) == [BookAnchor(snapshot(9), (diff(10, 10),))]


async def test_a_snapshot_that_is_too_old_is_refused(intake: Sequencer, inbox: Inbox) -> None:
    """The caller is told to ask again, and nothing comes out."""
    await intake.frame(frame(diff(10, 10)))

    assert not await intake.snapshot(snapshot(8))
    assert taken(inbox) == []


async def test_old_diffs_are_kept_from_the_engine(intake: Sequencer, inbox: Inbox) -> None:
    """A repeated diff does not come out."""
    await joined(intake)
    taken(inbox)
    await intake.frame(frame(diff(10, 10)))

    assert taken(inbox) == []


async def test_a_gap_loses_the_book_and_keeps_the_diffs(intake: Sequencer, inbox: Inbox) -> None:
    """The engine is told at once; one new snapshot then joins what was kept meanwhile."""
    await joined(intake)
    taken(inbox)
    for part in (diff(15, 16), diff(17, 17)):
        await intake.frame(frame(part))

    assert taken(inbox) == [BookLost("updates before id 15 are missing: joining anew")]
    assert intake.wants_snapshot
    await intake.snapshot(snapshot(16))
    assert taken(inbox) == [BookAnchor(snapshot(16), (diff(17, 17),))]


async def test_a_gap_is_counted(intake: Sequencer) -> None:
    """Gaps and joined snapshots are counted per symbol."""

    def counts() -> list[float]:
        names = ("pulse_depth_gaps_total", "pulse_snapshots_joined_total")
        return [REGISTRY.get_sample_value(name, {"symbol": "BTCUSDT"}) or 0.0 for name in names]

    before = counts()
    await joined(intake)
    await intake.frame(frame(diff(15, 16)))

    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1.0, 1.0]


async def test_a_second_snapshot_comes_beside_the_running_book(intake: Sequencer, inbox: Inbox) -> None:
    """Diffs go on coming out while a second account is fetched, which then stands at the book's id."""
    await joined(intake)
    taken(inbox)
    intake.expect_snapshot()
    await intake.frame(frame(diff(11, 11)))
    await intake.snapshot(snapshot(10))

    assert taken(inbox) == [diff(11, 11), BookAnchor(snapshot(10), (diff(11, 11),))]


async def test_a_new_connection_starts_afresh(intake: Sequencer, inbox: Inbox) -> None:
    """After a restart the old book is not continued."""
    await joined(intake)
    taken(inbox)
    intake.restart()
    await intake.frame(frame(diff(11, 11)))

    assert (taken(inbox), intake.wants_snapshot) == ([], True)


@pytest.mark.parametrize(("first", "follows"), [(11, True), (12, False)])
async def test_a_diff_can_be_tried(intake: Sequencer, first: int, follows: bool) -> None:
    """Whether a diff would follow on can be asked before it is taken."""
    await joined(intake)

    assert intake.reaches(diff(first, 20)) is follows


async def test_trades_after_a_hole_wait_for_it(intake: Sequencer, inbox: Inbox) -> None:
    """The engine is told once that trades are missing; those that were fetched come before those that waited."""
    for trade_id in (1, 4, 5):
        await intake.frame(frame(trade(trade_id), "trade"))
    assert taken(inbox) == [trade(1), TradesHeld()]
    assert intake.trade_hole == (2, 3)

    assert await intake.fill_trades([trade(2), trade(3)]) == 4
    repaired = [replace(trade(i), is_repaired=True) for i in (2, 3)]
    assert taken(inbox) == [*repaired, trade(4), trade(5)]


async def test_trades_can_be_given_up(intake: Sequencer, inbox: Inbox) -> None:
    """The engine gets the gap in place of what is missing, then what waited."""
    for trade_id in (1, 4):
        await intake.frame(frame(trade(trade_id), "trade"))
    taken(inbox)
    await intake.give_up_trades()

    time_ms = trade(1).time_ms
    assert taken(inbox) == [TradeGap("BTCUSDT", 2, 3, time_ms, time_ms, MIDNIGHT_MS), trade(4)]
    assert intake.trade_hole is None


async def test_where_nobody_repairs_nothing_waits(inbox: Inbox) -> None:
    """A recording has no exchange to ask: the gap is told at once."""
    intake = Sequencer("BTCUSDT", inbox, ManualClock(), may_repair=False)
    for trade_id in (1, 4):
        await intake.frame(frame(trade(trade_id), "trade"))

    assert [type(event) for event in taken(inbox)] == [Trade, TradesHeld, TradeGap, Trade]


async def test_no_more_trades_wait_than_may(monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """At the bound the hole is given up, and what waited goes on."""
    monkeypatch.setattr("pulse.ingest.sequencer.HELD_TRADES_MAX", 3)
    intake = Sequencer("BTCUSDT", inbox, ManualClock(), may_repair=True)
    for trade_id in (1, 4, 5, 6):
        await intake.frame(frame(trade(trade_id), "trade"))

    assert [event.trade_id for event in taken(inbox) if isinstance(event, Trade)] == [1, 4, 5, 6]


async def test_a_new_connection_remembers_the_trades(intake: Sequencer, inbox: Inbox) -> None:
    """What was missed between two connections is a hole like any other."""
    await intake.frame(frame(trade(1), "trade"))
    intake.restart()
    await intake.frame(frame(trade(3), "trade"))

    assert intake.trade_hole == (2, 2)


async def test_a_full_inbox_keeps_the_order() -> None:
    """Where the engine is behind, nothing is lost and nothing overtakes: a snapshot waits behind a diff."""
    inbox: Inbox = asyncio.Queue(1)
    intake = Sequencer("BTCUSDT", inbox, ManualClock(), may_repair=True)
    await joined(intake)
    work = [
        asyncio.create_task(intake.frame(frame(diff(11, 11)))),
        asyncio.create_task(intake.frame(frame(ticker(11), "bookTicker"))),
        asyncio.create_task(intake.frame(frame(diff(13, 13)))),
        asyncio.create_task(intake.snapshot(snapshot(12))),
    ]
    events = [(await asyncio.wait_for(inbox.get(), 1)).event for _ in range(5)]

    assert await asyncio.wait_for(asyncio.gather(*work), 1) == [None, None, None, True]
    assert events[1:] == [
        diff(11, 11),
        ticker(11),
        BookLost("updates before id 13 are missing: joining anew"),
        BookAnchor(snapshot(12), (diff(13, 13),)),
    ]


def test_the_inbox_is_bounded() -> None:
    """When the engine is behind, the sockets wait."""
    assert make_inbox().maxsize == INBOX_EVENTS_MAX
