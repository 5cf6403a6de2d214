"""The engine on a real loop in virtual time: when a view is due, what is urgent, and that it never waits."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import REGISTRY

from pulse.engine import ADDITIONS_WAIT, BATCH_EVENTS_MAX, Engine
from pulse.latency import Latency
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.types import BookLost, FeedDown, FeedUp, Instrument, State, TradeGap
from pulse.market.view import View
from pulse.queues import CandleQueue, ConflatingQueue, Inbox, Outbox, Received, make_inbox
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, diff, snapshot, ticker, trade
from tests.support.virtual_time import StoryClock, at, now_s, run

INTERVAL_S = 0.1
ANCHOR = BookAnchor(snapshot(10, [(100.0, 5.0)], [(101.0, 2.0)]), ())
Story = Callable[["Stage"], Awaitable[None]]


class Stage:
    """An engine of two symbols, and all that came out of it."""

    def __init__(self, candles_max: int = 100) -> None:
        self.inbox: Inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles: CandleQueue = asyncio.Queue(candles_max)
        self.latency = Latency("9f3ac21b")
        self.asked: list[tuple[str, str]] = []
        self.gaps: list[TradeGap] = []
        self.views: list[tuple[float, View]] = []
        self.tapes: list[list[int]] = []
        origin = Origin("9f3ac21b", "exchange", "us")
        self.engine = Engine(
            [Market(s, origin, levels_max=100, trades_kept=5, stale_after_ms=5000) for s in ("BTCUSDT", "ETHUSDT")],
            self.inbox, self.outbox, self.candles, StoryClock(), self.latency,
            publish_interval_s=INTERVAL_S, ask_snapshot=lambda symbol, reason: self.asked.append((symbol, reason)),
            note_gap=self.gaps.append,
        )  # fmt: skip

    async def watch(self) -> None:
        """Take every view the moment it is there."""
        while True:
            _, view = await self.outbox.get()
            if isinstance(view, View):
                self.views.append((now_s(), view))
            else:
                self.tapes.append([trade.id for trade in view.trades])

    async def put(self, at_s: float, *events: object, symbol: str = "BTCUSDT") -> None:
        """At this time of the loop, let these events arrive."""
        await at(at_s)
        for event in events:
            await self.inbox.put(Received(symbol, event, at_s * 1000))

    def last(self) -> View:
        """The newest view of BTCUSDT."""
        return [view for _, view in self.views if view.symbol == "BTCUSDT"][-1]

    def times(self, symbol: str = "BTCUSDT") -> list[float]:
        """When this symbol's views came."""
        return [at for at, view in self.views if view.symbol == symbol]


def played(story: Story, until_s: float, candles_max: int = 100) -> Stage:
    """Let a story happen to an engine, and look at what came out until this time."""

    async def play() -> Stage:
        stage = Stage(candles_max)
        tasks = [asyncio.create_task(work) for work in (stage.engine.run(), stage.watch())]
        await story(stage)
        await at(until_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        return stage

    return run(play())


async def nothing(stage: Stage) -> None:
    """No event at all."""


def test_silence_has_a_heartbeat() -> None:
    """Every symbol has a view at once, and one a second even when nothing changes."""
    stage = played(nothing, until_s=3.5)

    assert stage.times("BTCUSDT") == stage.times("ETHUSDT") == [0.0, 1.0, 2.0, 3.0]
    assert [view.seq for _, view in stage.views if view.symbol == "BTCUSDT"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "event",
    [FeedUp(), FeedDown("cut"), BookLost("gap"), ANCHOR, diff(11, 11),
     Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.1, 2, 1)],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_what_changes_the_book_is_shown_at_once(event: object) -> None:
    """A change of book or state does not wait, when the last view is an interval old."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, event)

    assert played(story, until_s=1.4).times() == [0.0, 0.5]


@pytest.mark.parametrize("event", [trade(1), ticker(1)], ids=lambda event: type(event).__name__)
def test_what_only_adds_waits_longer_than_an_interval(event: object) -> None:
    """Trades and tickers come in great numbers, and wait for a diff, or a little more than an interval."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, event)

    assert played(story, until_s=1.4).times() == pytest.approx([0.0, 0.5 + ADDITIONS_WAIT * INTERVAL_S])


def test_a_diff_takes_waiting_trades_along() -> None:
    """Where a diff comes within the interval, its view is for both."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, trade(1))
        await stage.put(0.55, ANCHOR)

    stage = played(story, until_s=1.4)
    assert stage.times() == [0.0, 0.55]
    assert len(stage.last().trades) == 1


def test_a_picture_comes_at_most_once_an_interval() -> None:
    """However many diffs there are, views keep their distance, and the last one holds the last diff."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR)
        for i in range(25):
            await stage.put(0.51 + i / 100, diff(11 + i, 11 + i))

    stage = played(story, until_s=1.5)
    assert stage.times() == pytest.approx([0.0, 0.5, 0.6, 0.7, 0.8])
    assert stage.last().last_update_id == 35


def test_a_diff_never_waits_for_trades() -> None:
    """Diffs in the exchange's own time, and trades without end between them: each diff is shown as it comes."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 40):
            events = [diff(10 + i // 4, 10 + i // 4)] if i % 4 == 0 else [trade(i)]
            await stage.put(0.5 + i * INTERVAL_S * 1.25 / 4, *events)

    shown = played(story, until_s=1.6).times()[1:10]
    assert shown == pytest.approx([0.5 + n * INTERVAL_S * 1.25 for n in range(9)])


def test_symbols_do_not_wait_for_each_other() -> None:
    """One symbol's events make no view of another."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp())
        await stage.put(0.52, FeedUp(), symbol="ETHUSDT")

    stage = played(story, until_s=0.9)
    assert (stage.times("BTCUSDT"), stage.times("ETHUSDT")) == ([0.0, 0.5], [0.0, 0.52])


def test_a_flood_is_taken_in_pieces() -> None:
    """A full inbox is worked off in batches, between which others on the loop run."""
    turns = 0

    async def story(stage: Stage) -> None:
        nonlocal turns
        await stage.put(0.5, *(trade(i) for i in range(4 * BATCH_EVENTS_MAX)))
        while not stage.inbox.empty():
            await asyncio.sleep(0)
            turns += 1

    stage = played(story, until_s=0.7)
    assert turns >= 4
    assert stage.last().trades[0].id == 4 * BATCH_EVENTS_MAX - 1


def test_a_wish_for_a_snapshot_is_passed_on_once() -> None:
    """When a market finds its own book wrong, the feed is asked for a new one."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR, diff(11, 11, [(101.0, 1.0)]), trade(1))

    assert played(story, until_s=1.5).asked == [("BTCUSDT", "best bid and best ask crossed")]


async def two_minutes(stage: Stage) -> None:
    """Three trades, each of another minute, after the exchange's time was heard."""
    await stage.put(
        0.5, diff(1, 1, time_ms=MIDNIGHT_MS), *(trade(i, time_ms=MIDNIGHT_MS + i * MINUTE_MS) for i in range(3))
    )


def test_closed_candles_leave_by_their_queue() -> None:
    """Each minute that closes is handed on."""
    stage = played(two_minutes, until_s=0.7)

    assert [stage.candles.get_nowait().open_time_ms for _ in range(stage.candles.qsize())] == [
        MIDNIGHT_MS, MIDNIGHT_MS + MINUTE_MS,
    ]  # fmt: skip


def test_a_full_candle_queue_does_not_stop_the_engine() -> None:
    """A candle that finds no room is dropped and counted; views go on."""

    def dropped() -> float:
        return REGISTRY.get_sample_value("pulse_candles_dropped_total") or 0.0

    before = dropped()
    stage = played(two_minutes, until_s=1.7, candles_max=1)

    assert (stage.candles.qsize(), dropped() - before) == (1, 1.0)
    assert stage.times() == [0.0, 0.5, 1.5]


def test_states_are_told_for_readiness() -> None:
    """Each symbol's state, why it is not live, and the age of its data."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR)
        await asyncio.sleep(0.25)
        told.update(stage.engine.states())

    told: dict[str, dict[str, object]] = {}
    played(story, until_s=1.0)
    assert told["BTCUSDT"] == {"state": "live", "reason": "", "data_age_ms": 250}
    assert told["ETHUSDT"] == {"state": "offline", "reason": "not connected yet", "data_age_ms": None}


def test_certificates_are_told_for_proof() -> None:
    """Each symbol's book can be asked what it has to show for itself."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR, diff(11, 11))
        await asyncio.sleep(0.1)
        told.extend(stage.engine.certificates().values())

    told: list[object] = []
    played(story, until_s=1.0)
    assert [(c.symbol, c.state, c.last_update_id) for c in told] == [  # type: ignore[attr-defined]
        ("BTCUSDT", State.LIVE, 11), ("ETHUSDT", State.OFFLINE, 0),
    ]  # fmt: skip


def test_a_state_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    """One line a change, none a view."""
    caplog.set_level("INFO", "pulse.engine")

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR)
        await stage.put(0.7, diff(11, 11))
        await stage.put(0.9, FeedDown("cut"))

    played(story, until_s=2.5)
    lines = [record.getMessage() for record in caplog.records if "BTCUSDT" in record.getMessage()]
    assert lines == [
        "book symbol=BTCUSDT state=offline reason=not connected yet",
        "book symbol=BTCUSDT state=live reason=",
        "book symbol=BTCUSDT state=offline reason=cut",
    ]


def test_the_newest_minutes() -> None:
    """The newest closed minute and the running one are told, and when that opens; at first only the clock knows it."""

    async def story(stage: Stage) -> None:
        before = stage.engine.newest("BTCUSDT")
        await stage.put(0.0, FeedUp(), trade(1, 99.0), trade(2, 100.0, time_ms=MIDNIGHT_MS + MINUTE_MS))
        await stage.put(0.2, trade(3, 101.0, time_ms=MIDNIGHT_MS + 2 * MINUTE_MS))
        await at(0.3)
        newest = stage.engine.newest("BTCUSDT")

        assert (before.minutes, before.running_ms % MINUTE_MS) == ((), 0)
        assert [(minute.close, minute.is_closed) for minute in newest.minutes] == [(100.0, True), (101.0, False)]
        assert newest.running_ms == MIDNIGHT_MS + 2 * MINUTE_MS

    played(story, 1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("pulse_book_is_live", 1.0), ("pulse_touch_compared", 1.0), ("pulse_touch_differing", 0.0),
     ("pulse_book_resyncs", 0.0), ("pulse_candles_differing", 0.0)],
)  # fmt: skip
def test_what_a_market_counts_is_read_when_it_is_asked(name: str, expected: float) -> None:
    """/metrics shows the markets' own counts, for which no view pays."""

    async def story(stage: Stage) -> None:
        await stage.put(0.5, FeedUp(), ANCHOR, ticker(11, (100.0, 5.0), (101.0, 2.0)), diff(11, 11))

    stage = played(story, until_s=0.6)

    assert stage.last().state is State.LIVE
    assert REGISTRY.get_sample_value(name, {"symbol": "BTCUSDT"}) == expected
