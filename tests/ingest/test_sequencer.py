"""Sequence checking: which events of frames and snapshots reach the engine, and in which order."""

import asyncio
from dataclasses import replace

import pytest

from pulse.binance.messages import Event, Frame
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.market.depth_sync import BookAnchor
from pulse.market.types import BookLost, FeedUp, Quarantined, Trade, TradeGap, TradeIdsRestarted, TradesHeld
from pulse.queues import INBOX_EVENTS_MAX, Inbox, Received, make_inbox
from tests.support.makers import MIDNIGHT_MS, ManualClock, diff, snapshot, ticker, trade
from tests.support.metrics import sample_of
from tests.support.waiting import WAIT_S


def frame(event: Event, kind: str = "depth") -> Frame:
    """Return a frame of BTCUSDT."""
    return Frame("BTCUSDT", kind, event)


@pytest.fixture
def inbox() -> Inbox:
    """Return the engine's inbox."""
    return make_inbox()


@pytest.fixture
def sequencer(inbox: Inbox) -> Sequencer:
    """Return a sequencer whose clock stands at 5 ms."""
    return Sequencer("BTCUSDT", inbox, ManualClock(5.0), HeldBudget(), repairs_trades=True)


def delivered(inbox: Inbox) -> list[object]:
    """Return the events in the inbox and empty it."""
    return [inbox.get_nowait().event for _ in range(inbox.qsize())]


async def join(sequencer: Sequencer) -> None:
    """Bring the book to id 10."""
    await sequencer.put_frame(frame(diff(10, 10)))
    await sequencer.put_snapshot(snapshot(9))


async def test_other_events_pass_unchanged(sequencer: Sequencer, inbox: Inbox) -> None:
    """Trades, tickers and the stream's own events pass at once, stamped with symbol and time."""
    await sequencer.put(FeedUp())
    await sequencer.put_frame(frame(trade(1), "trade"))
    await sequencer.put_frame(frame(ticker(1), "bookTicker"))

    assert inbox.get_nowait() == Received("BTCUSDT", FeedUp(), 5.0)
    assert delivered(inbox) == [trade(1), ticker(1)]


async def test_diffs_wait_for_a_snapshot(sequencer: Sequencer, inbox: Inbox) -> None:
    """Until a snapshot joins no diff is delivered; then a whole book is, and each diff after it."""
    await sequencer.put_frame(frame(diff(10, 10)))
    assert (delivered(inbox), sequencer.needs_snapshot) == ([], True)

    assert await sequencer.put_snapshot(snapshot(9))
    await sequencer.put_frame(frame(diff(11, 12)))
    assert delivered(inbox) == [BookAnchor(snapshot(9), (diff(10, 10),)), diff(11, 12)]
    assert not sequencer.needs_snapshot


async def test_snapshot_may_wait_for_the_stream(sequencer: Sequencer, inbox: Inbox) -> None:
    """A snapshot that is ahead of the stream is delivered with the first diff that reaches it."""
    assert await sequencer.put_snapshot(snapshot(9))
    await sequencer.put_frame(frame(diff(10, 10)))

    assert delivered(inbox) == [BookAnchor(snapshot(9), (diff(10, 10),))]


async def test_too_old_snapshot_is_refused(sequencer: Sequencer, inbox: Inbox) -> None:
    """The result is False, and nothing is delivered."""
    await sequencer.put_frame(frame(diff(10, 10)))

    assert not await sequencer.put_snapshot(snapshot(8))
    assert delivered(inbox) == []


async def test_old_diffs_are_dropped(sequencer: Sequencer, inbox: Inbox) -> None:
    """A repeated diff is not delivered."""
    await join(sequencer)
    delivered(inbox)
    await sequencer.put_frame(frame(diff(10, 10)))

    assert delivered(inbox) == []


async def test_gap_loses_the_book_and_keeps_the_diffs(sequencer: Sequencer, inbox: Inbox) -> None:
    """BookLost is delivered at once; one new snapshot then joins the diffs that were kept meanwhile."""
    await join(sequencer)
    delivered(inbox)
    for part in (diff(15, 16), diff(17, 17)):
        await sequencer.put_frame(frame(part))

    assert delivered(inbox) == [BookLost("depth updates before id 15 are missing; loading a new snapshot")]
    assert sequencer.needs_snapshot
    await sequencer.put_snapshot(snapshot(16))
    assert delivered(inbox) == [BookAnchor(snapshot(16), (diff(17, 17),))]


async def test_gaps_and_snapshots_are_counted(sequencer: Sequencer) -> None:
    """There is a counter of each per symbol."""

    def counts() -> list[float]:
        names = ("pulse_depth_gaps_total", "pulse_snapshots_joined_total")
        return [sample_of(name, {"symbol": "BTCUSDT"}) or 0.0 for name in names]

    before = counts()
    await join(sequencer)
    await sequencer.put_frame(frame(diff(15, 16)))

    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1.0, 1.0]


async def test_second_snapshot_is_joined_beside_the_running_book(sequencer: Sequencer, inbox: Inbox) -> None:
    """Diffs are delivered while a second snapshot is fetched, which then is brought to the book's id."""
    await join(sequencer)
    delivered(inbox)
    sequencer.expect_snapshot()
    await sequencer.put_frame(frame(diff(11, 11)))
    await sequencer.put_snapshot(snapshot(10))

    assert delivered(inbox) == [diff(11, 11), BookAnchor(snapshot(10), (diff(11, 11),))]


async def test_restart_forgets_the_book(sequencer: Sequencer, inbox: Inbox) -> None:
    """Diffs of a new connection do not continue the old book."""
    await join(sequencer)
    delivered(inbox)
    sequencer.restart()
    await sequencer.put_frame(frame(diff(11, 11)))

    assert (delivered(inbox), sequencer.needs_snapshot) == ([], True)


@pytest.mark.parametrize(("first", "follows"), [(11, True), (12, False)])
async def test_contiguity_can_be_checked_before_a_diff_is_put(sequencer: Sequencer, first: int, follows: bool) -> None:
    """A diff that begins beyond the next id is not contiguous."""
    await join(sequencer)

    assert sequencer.is_contiguous(diff(first, 20)) is follows


async def test_trades_wait_for_missing_ones(sequencer: Sequencer, inbox: Inbox) -> None:
    """TradesHeld is delivered once; fetched trades are delivered before those that waited."""
    for trade_id in (1, 4, 5):
        await sequencer.put_frame(frame(trade(trade_id), "trade"))
    assert delivered(inbox) == [trade(1), TradesHeld()]
    assert sequencer.missing_trades == (2, 3)

    assert await sequencer.add_fetched_trades([trade(2), trade(3)]) == 4
    repaired = [replace(trade(i), is_repaired=True) for i in (2, 3)]
    assert delivered(inbox) == [*repaired, trade(4), trade(5)]


async def test_missing_trades_can_be_skipped(sequencer: Sequencer, inbox: Inbox) -> None:
    """A TradeGap is delivered in place of the missing trades, then those that waited."""
    for trade_id in (1, 4):
        await sequencer.put_frame(frame(trade(trade_id), "trade"))
    delivered(inbox)
    await sequencer.skip_missing_trades()

    time_ms = trade(1).time_ms
    assert delivered(inbox) == [TradeGap("BTCUSDT", 2, 3, time_ms, time_ms, MIDNIGHT_MS), trade(4)]
    assert sequencer.missing_trades is None


async def test_without_repair_no_trade_waits(inbox: Inbox) -> None:
    """A recording has no exchange to fetch from: the gap is delivered at once."""
    sequencer = Sequencer("BTCUSDT", inbox, ManualClock(), HeldBudget(), repairs_trades=False)
    for trade_id in (1, 4):
        await sequencer.put_frame(frame(trade(trade_id), "trade"))

    assert [type(event) for event in delivered(inbox)] == [Trade, TradesHeld, TradeGap, Trade]


async def test_number_of_waiting_trades_is_bounded(monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """At the bound the missing trades are skipped, and those that waited are delivered."""
    monkeypatch.setattr("pulse.ingest.sequencer.BUFFERED_TRADES_MAX", 3)
    sequencer = Sequencer("BTCUSDT", inbox, ManualClock(), HeldBudget(), repairs_trades=True)
    for trade_id in (1, 4, 5, 6):
        await sequencer.put_frame(frame(trade(trade_id), "trade"))

    assert [event.trade_id for event in delivered(inbox) if isinstance(event, Trade)] == [1, 4, 5, 6]


async def test_restart_keeps_the_order_of_trades(sequencer: Sequencer, inbox: Inbox) -> None:
    """Trades missed between two connections are missing like any others."""
    await sequencer.put_frame(frame(trade(1), "trade"))
    sequencer.restart()
    await sequencer.put_frame(frame(trade(3), "trade"))

    assert sequencer.missing_trades == (2, 2)


async def test_full_inbox_keeps_the_order() -> None:
    """While the engine is behind, nothing is lost and nothing overtakes: a snapshot waits behind a diff."""
    inbox: Inbox = asyncio.Queue(1)
    sequencer = Sequencer("BTCUSDT", inbox, ManualClock(), HeldBudget(), repairs_trades=True)
    await join(sequencer)
    puts = [
        asyncio.create_task(sequencer.put_frame(frame(diff(11, 11)))),
        asyncio.create_task(sequencer.put_frame(frame(ticker(11), "bookTicker"))),
        asyncio.create_task(sequencer.put_frame(frame(diff(13, 13)))),
        asyncio.create_task(sequencer.put_snapshot(snapshot(12))),
    ]
    events = [(await asyncio.wait_for(inbox.get(), WAIT_S)).event for _ in range(5)]

    assert await asyncio.wait_for(asyncio.gather(*puts), WAIT_S) == [True, True, True, True]
    assert events[1:] == [
        diff(11, 11),
        ticker(11),
        BookLost("depth updates before id 13 are missing; loading a new snapshot"),
        BookAnchor(snapshot(12), (diff(13, 13),)),
    ]


def test_inbox_is_bounded() -> None:
    """When the engine is behind, the sockets wait (backpressure)."""
    assert make_inbox().maxsize == INBOX_EVENTS_MAX


async def test_impossible_frame_changes_nothing(
    sequencer: Sequencer, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, reported to the engine, and logged once; the next true trade follows on the last true one."""
    await sequencer.put_frame(frame(trade(1), "trade"))
    before = sample_of("pulse_frames_quarantined_total", {"symbol": "BTCUSDT", "kind": "trade"}) or 0
    results = [await sequencer.put_frame(frame(trade(10**9 + n), "trade")) for n in range(2)]
    results.append(await sequencer.put_frame(frame(trade(2), "trade")))

    reasons = [f"its id {10**9 + n} cannot follow on 1" for n in range(2)]
    assert results == [False, False, True]
    assert delivered(inbox) == [trade(1), *(Quarantined("trade", reason) for reason in reasons), trade(2)]
    assert not sequencer.has_waiting_trades
    after = sample_of("pulse_frames_quarantined_total", {"symbol": "BTCUSDT", "kind": "trade"})
    assert after == before + 2
    assert [r.getMessage() for r in caplog.records if "quarantined" in r.msg] == [
        f"frame quarantined symbol=BTCUSDT kind=trade reason={reasons[0]}"
    ]


async def test_trade_ids_that_begin_anew_are_reported(sequencer: Sequencer, inbox: Inbox) -> None:
    """The engine learns of the break before it gets the first trades with the new ids, all of them."""
    later = [trade(trade_id, time_ms=MIDNIGHT_MS + trade_id) for trade_id in (1, 2, 3)]
    for event in (trade(1000), *later):
        await sequencer.put_frame(frame(event, "trade"))

    assert delivered(inbox) == [trade(1000), TradeIdsRestarted(), *later]


async def test_waiting_trade_of_fetched_fills_is_quarantined(sequencer: Sequencer, inbox: Inbox) -> None:
    """Its id was false: the exchange has its fills under another one, which was fetched."""
    for trade_id, first_id, last_id in ((7, 70, 72), (9, 76, 76)):
        made = replace(trade(trade_id), first_trade_id=first_id, last_trade_id=last_id)
        await sequencer.put_frame(frame(made, "trade"))
    delivered(inbox)
    count = await sequencer.add_fetched_trades([replace(trade(8), first_trade_id=76, last_trade_id=76)])
    fetched, quarantined = delivered(inbox)

    assert (count, sequencer.has_waiting_trades) == (1, False)
    assert isinstance(fetched, Trade)
    assert (fetched.trade_id, fetched.is_repaired) == (8, True)
    assert quarantined == Quarantined("trade", "its fills are those of trades that the exchange has under other ids")


@pytest.mark.parametrize(("repairs", "is_lost"), [(True, True), (False, False)])
async def test_quarantined_diff_calls_for_a_snapshot_at_once(inbox: Inbox, repairs: bool, is_lost: bool) -> None:
    """Where one can be fetched: the next diff, which would show the gap, may be long in coming. A replay goes on."""
    sequencer = Sequencer("BTCUSDT", inbox, ManualClock(5.0), HeldBudget(), repairs_trades=repairs)
    await join(sequencer)
    delivered(inbox)
    for _ in range(2):
        await sequencer.put_frame(frame(diff(11, 11, time_ms=MIDNIGHT_MS + 10**9)))
    events = [type(event) for event in delivered(inbox)]

    assert events == ([Quarantined, BookLost, Quarantined] if is_lost else [Quarantined, Quarantined])
    assert sequencer.needs_snapshot == is_lost
    if is_lost:
        assert await sequencer.put_snapshot(snapshot(11))
        assert delivered(inbox) == [BookAnchor(snapshot(11), ())]


async def test_false_snapshot_before_the_first_diff_is_dropped_at_it(sequencer: Sequencer, inbox: Inbox) -> None:
    """Its id cannot be judged before; joined, all later diffs would be older than the book."""
    sequencer.restart()
    assert await sequencer.judge_snapshot(snapshot(10 + 10**9)) == ""
    assert await sequencer.put_snapshot(snapshot(10 + 10**9))
    await sequencer.put_frame(frame(diff(11, 12)))
    (quarantined,) = delivered(inbox)

    assert quarantined == Quarantined("snapshot", f"its update id {10 + 10**9} cannot follow on 12")
    assert sequencer.needs_snapshot
    assert await sequencer.put_snapshot(snapshot(10))
    assert delivered(inbox) == [BookAnchor(snapshot(10), (diff(11, 12),))]


async def test_false_fetched_trades_are_not_taken(sequencer: Sequencer, inbox: Inbox) -> None:
    """None of the answer is: it is fetched again. Trades that nothing waits for are ignored."""
    for trade_id in (7, 9):
        await sequencer.put_frame(frame(trade(trade_id), "trade"))
    delivered(inbox)
    assert await sequencer.add_fetched_trades([trade(8, price=1000.0)]) == 0
    (quarantined,) = delivered(inbox)
    assert isinstance(quarantined, Quarantined)

    assert await sequencer.add_fetched_trades([trade(8)]) == 2
    assert await sequencer.add_fetched_trades([trade(8, price=1000.0)]) == 0
    assert [event.trade_id for event in delivered(inbox) if isinstance(event, Trade)] == [8, 9]
