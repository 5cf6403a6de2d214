"""The engine on a real loop in virtual time: when a view is due, which events are urgent, and that it never waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf

import pytest

from pulse.clock import Clock, ReplayClock
from pulse.engine import (
    ADDITIONS_WAIT,
    BATCH_EVENTS_MAX,
    HEARTBEAT_S,
    TRADES_WAITING_MAX,
    UNWATCHED_AT_ONCE,
    Engine,
    EventLogs,
)
from pulse.latency import Latency
from pulse.market.depth_sync import BookAnchor
from pulse.market.liquidity import NO_INTEREST, Interest, LiquidityView
from pulse.market.market import Market, Origin
from pulse.market.types import BookLost, FeedDown, FeedUp, Instrument, State, TradeGap
from pulse.market.view import View
from pulse.queues import (
    TRADE_GAPS_MAX,
    CandleQueue,
    ConflatingQueue,
    Inbox,
    Outbox,
    Received,
    SilentStreams,
    SnapshotRequests,
    make_gap_queue,
    make_inbox,
)
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, diff, snapshot, ticker, trade
from tests.support.metrics import sample_of
from tests.support.virtual_time import ScenarioClock, at, now_s, run

INTERVAL_S = 0.1
ANCHOR = BookAnchor(snapshot(10, [(100.0, 5.0)], [(101.0, 2.0)]), ())
Script = Callable[["EngineRun"], Awaitable[None]]


SYMBOLS = ("BTCUSDT", "ETHUSDT")
ORIGIN = Origin("9f3ac21b", "exchange", "us")


class NotedMarket(Market):
    """A market that reports what is done with it."""

    def __init__(self, engine_run: "EngineRun", symbol: str) -> None:
        super().__init__(symbol, ORIGIN, levels_max=100, trades_kept=5, stale_after_ms=5000)
        self.engine_run = engine_run

    def apply(self, event: object, now_ms: float) -> None:
        """Take an event, and report it."""
        self.engine_run.on_apply(self.symbol)
        super().apply(event, now_ms)

    def view(self, now_ms: float, wall_s: float) -> View:
        """Make a view, and report it."""
        self.engine_run.on_view(self.symbol)
        return super().view(now_ms, wall_s)


class EngineRun:
    """An engine of two symbols, these of them watched, and everything that it put out."""

    def __init__(
        self,
        candles_max: int = 100,
        watched: Sequence[str] = SYMBOLS,
        clock: Clock | None = None,
        event_logs: EventLogs | None = None,
    ) -> None:
        self.inbox: Inbox = make_inbox()
        self.outbox: Outbox = ConflatingQueue()
        self.candles: CandleQueue = asyncio.Queue(candles_max)
        self.snapshot_requests: SnapshotRequests = ConflatingQueue()
        self.silent_streams: SilentStreams = ConflatingQueue()
        self.gaps = make_gap_queue()
        self.latency = Latency("9f3ac21b")
        self.views: list[tuple[float, View]] = []
        self.trades: list[list[int]] = []
        self.liquidity: list[tuple[float, LiquidityView]] = []
        self.interest: dict[str, Interest] = {}
        self.on_apply: Callable[[str], None] = lambda symbol: None
        self.on_view = self.on_apply
        self.engine = Engine(
            lambda symbol: NotedMarket(self, symbol),
            self.inbox, self.outbox, self.candles, self.snapshot_requests, self.silent_streams, self.gaps,
            clock or ScenarioClock(), self.latency, publish_interval_s=INTERVAL_S,
            interest=lambda symbol: self.interest.get(symbol, NO_INTEREST),
            event_logs=event_logs,
        )  # fmt: skip
        for symbol in SYMBOLS:
            self.engine.open(symbol)
        for symbol in watched:
            self.engine.watch(symbol)

    async def take_views(self) -> None:
        """Take every view the moment it is there."""
        while True:
            _, view = await self.outbox.get()
            if isinstance(view, View):
                self.views.append((now_s(), view))
            elif isinstance(view, LiquidityView):
                self.liquidity.append((now_s(), view))
            else:
                self.trades.append([trade.id for trade in view.trades])

    async def put(self, at_s: float, *events: object, symbol: str = "BTCUSDT") -> None:
        """Put these events into the inbox at this time of the loop."""
        await at(at_s)
        for event in events:
            await self.inbox.put(Received(symbol, event, at_s * 1000))

    def last(self) -> View:
        """Return the newest view of BTCUSDT."""
        return [view for _, view in self.views if view.symbol == "BTCUSDT"][-1]

    def times(self, symbol: str = "BTCUSDT") -> list[float]:
        """Return the times of a symbol's views."""
        return [at for at, view in self.views if view.symbol == symbol]


def run_engine(
    script: Script, until_s: float, candles_max: int = 100, watched: Sequence[str] = SYMBOLS,
    event_logs: EventLogs | None = None,
) -> EngineRun:  # fmt: skip
    """Run an engine through a script, and return what it put out until this time."""

    async def play() -> EngineRun:
        engine_run = EngineRun(candles_max, watched, event_logs=event_logs)
        tasks = [asyncio.create_task(work) for work in (engine_run.engine.run(), engine_run.take_views())]
        await script(engine_run)
        await at(until_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        return engine_run

    return run(play())


async def nothing(engine_run: EngineRun) -> None:
    """Put no event at all."""


def test_a_view_is_made_every_second_without_events() -> None:
    """Every symbol has a view at once, and one a second even when nothing changes."""
    engine_run = run_engine(nothing, until_s=3.5)

    assert engine_run.times("BTCUSDT") == engine_run.times("ETHUSDT") == [0.0, 1.0, 2.0, 3.0]
    assert [view.seq for _, view in engine_run.views if view.symbol == "BTCUSDT"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "event",
    [FeedUp(), FeedDown("cut"), BookLost("gap"), ANCHOR, diff(11, 11),
     Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.1, 2, 1)],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_urgent_events_make_a_view_at_once(event: object) -> None:
    """A change of book or state does not wait, when the last view is an interval old."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, event)

    assert run_engine(script, until_s=1.4).times() == [0.0, 0.5]


@pytest.mark.parametrize("event", [trade(1), ticker(1)], ids=lambda event: type(event).__name__)
def test_trades_and_tickers_wait_longer_than_an_interval(event: object) -> None:
    """They come in great numbers, and wait for a diff, or a little more than an interval."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, event)

    assert run_engine(script, until_s=1.4).times() == pytest.approx([0.0, 0.5 + ADDITIONS_WAIT * INTERVAL_S])


def test_an_unwatched_symbol_has_a_view_each_second() -> None:
    """However many diffs, trades and tickers there are; the view holds the newest of each."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 20):
            await engine_run.put(
                0.5 + i / 10, diff(10 + i, 10 + i), trade(i), ticker(10 + i, (100.0, 5.0), (101.0, 2.0))
            )

    engine_run = run_engine(script, until_s=2.8, watched=())

    assert engine_run.times() == pytest.approx([0.0, 0.5, 1.5, 2.5])
    assert (engine_run.last().last_update_id, engine_run.last().trades[0].id) == (29, 19)
    assert [trades[-1] for trades in engine_run.trades] == [9, 19]


@pytest.mark.parametrize(
    "event",
    [FeedUp(), FeedDown("cut"), BookLost("gap"), ANCHOR,
     Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.1, 2, 1)],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_what_begins_or_ends_an_unwatched_book_is_shown_at_once(event: object) -> None:
    """As it is of a watched one."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, event)

    assert run_engine(script, until_s=1.4, watched=()).times() == [0.0, 0.5]


def test_another_state_of_an_unwatched_book_is_shown_at_once() -> None:
    """After a diff that crosses the book, or ends a silence; the record of proof has the holes of a watched one."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 9):
            await engine_run.put(0.5 + i / 10, diff(10 + i, 10 + i))
        await engine_run.put(61.25, diff(19, 19))
        await engine_run.put(61.4, diff(20, 20, [(101.0, 1.0)]))
        await engine_run.put(61.7, BookAnchor(snapshot(21, [(100.0, 5.0)], [(101.0, 2.0)]), ()))

    def holes_of(engine_run: EngineRun) -> list[tuple[int, int, str]]:
        (day,) = engine_run.engine.proof_records()["BTCUSDT"].days(0)
        return [hole[:3] for hole in day.holes]

    unwatched, watched = run_engine(script, until_s=63.0, watched=()), run_engine(script, until_s=63.0)

    assert [at_s for at_s in unwatched.times() if 61.0 < at_s < 62.0] == pytest.approx([61.25, 61.4, 61.7])
    assert [hole[2] for hole in holes_of(unwatched)] == ["offline", "stale", "syncing"]
    assert [hole for hole in holes_of(unwatched) if hole[2] != "stale"] == [
        hole for hole in holes_of(watched) if hole[2] != "stale"
    ]


def test_closed_minutes_of_an_unwatched_symbol_leave_at_once() -> None:
    """A minute does not wait for the view."""

    async def script(engine_run: EngineRun) -> None:
        await two_minutes(engine_run)
        await at(0.6)
        sizes.append(engine_run.candles.qsize())

    sizes: list[int] = []
    engine_run = run_engine(script, until_s=0.9, watched=())
    assert (sizes, engine_run.times()) == ([2], [0.0])


def test_many_trades_of_an_unwatched_symbol_do_not_wait() -> None:
    """No message holds more than so many, and none may be missing."""
    count = 5 * TRADES_WAITING_MAX

    async def script(engine_run: EngineRun) -> None:
        for first in range(0, count, 100):
            await engine_run.put(0.2 + first / count / 2, *(trade(i) for i in range(first, first + 100)))

    engine_run = run_engine(script, until_s=1.5, watched=())
    assert {trade_id for trades in engine_run.trades for trade_id in trades} == set(range(count))


def test_the_first_watcher_gets_a_view_at_once() -> None:
    """And each change from then on; after the last one has gone there is a view a second again."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 26):
            await engine_run.put(0.5 + i / 10, diff(10 + i, 10 + i))
            if i in (2, 3):
                await at(0.55 + i / 10)
                engine_run.engine.watch("BTCUSDT")
            if i in (5, 8):
                engine_run.engine.unwatch("BTCUSDT")

    engine_run = run_engine(script, until_s=3.4, watched=())
    shown = [0.5, 0.75, 0.85, 0.95, 1.05, 1.15, 1.25, 2.25, 3.25]
    assert engine_run.times()[1:] == pytest.approx(shown)


def test_a_view_for_a_watcher_keeps_the_interval() -> None:
    """One that comes and goes many times a second makes no more views than any."""

    async def script(engine_run: EngineRun) -> None:
        for i in range(50):
            await at(0.5 + i / 100)
            engine_run.engine.watch("BTCUSDT")
            engine_run.engine.unwatch("BTCUSDT")

    assert run_engine(script, until_s=1.05, watched=()).times() == pytest.approx([0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def test_a_symbol_may_be_watched_before_it_is_opened() -> None:
    """Watchers count by its name; they stay when it is closed and opened again."""

    async def script(engine_run: EngineRun) -> None:
        engine = engine_run.engine
        engine.watch("LTCUSDT")
        for at_s in (0.5, 0.7):
            await at(at_s)
            engine.open("LTCUSDT")
            await engine_run.put(at_s + 0.11, diff(1, 1), symbol="LTCUSDT")
            await at(at_s + 0.15)
            found.append(engine.is_watched("LTCUSDT"))
            engine.close("LTCUSDT")
        engine.unwatch("LTCUSDT")
        found.append(engine.is_watched("LTCUSDT"))

    found: list[bool] = []
    engine_run = run_engine(script, until_s=1.0, watched=())
    assert found == [True, True, False]
    assert engine_run.times("LTCUSDT") == pytest.approx([0.5, 0.61, 0.7, 0.81])


def test_watched_symbols_do_not_wait_for_the_others() -> None:
    """Of those that nobody watches only a few views are made in one go; all are within the same moment."""

    async def script(engine_run: EngineRun) -> None:
        for i in range(10 * UNWATCHED_AT_ONCE):
            engine_run.engine.open(f"S{i}USDT")
        engine_run.engine.watch("S30USDT")
        await engine_run.put(0.5)

    engine_run = run_engine(script, until_s=0.6, watched=())
    order = [view.symbol for _, view in engine_run.views]
    assert order.index("S30USDT") < UNWATCHED_AT_ONCE
    assert len(order) == len(set(order)) == 10 * UNWATCHED_AT_ONCE + 2


def in_order(engine_run: EngineRun) -> list[str]:
    """Return the symbols of an engine's applied events and made views, noted from now on, in their order."""
    noted: list[str] = []
    engine_run.on_apply = lambda symbol: noted.append(symbol)
    engine_run.on_view = lambda symbol: noted.append(f"view of {symbol}")
    return noted


def test_events_of_watched_symbols_go_first() -> None:
    """Their view is made before those of a long burst are applied, of which none is lost."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp())
        await engine_run.put(0.6, FeedUp(), ANCHOR, symbol="ETHUSDT")
        await at(0.7)
        noted.append(in_order(engine_run))
        for i in range(100):
            engine_run.inbox.put_nowait(Received("BTCUSDT", trade(i), 700.0))
        engine_run.inbox.put_nowait(Received("ETHUSDT", diff(11, 11), 700.0))

    noted: list[list[str]] = []
    engine_run = run_engine(script, until_s=1.55, watched=["ETHUSDT"])

    assert noted[0][:2] == ["ETHUSDT", "view of ETHUSDT"]
    assert noted[0].count("BTCUSDT") == 100
    assert engine_run.trades[-1] == list(range(100))


def test_events_of_a_symbol_keep_their_order_when_it_is_watched() -> None:
    """Those that wait are applied before those that come after its first watcher."""

    async def script(engine_run: EngineRun) -> None:
        for i in range(100):
            engine_run.inbox.put_nowait(Received("BTCUSDT", trade(i), 500.0))
        await asyncio.sleep(0)
        engine_run.engine.watch("BTCUSDT")
        for i in range(100, 200):
            engine_run.inbox.put_nowait(Received("BTCUSDT", trade(i), 500.0))

    engine_run = run_engine(script, until_s=1.0, watched=["ETHUSDT"])
    assert sorted({trade_id for trades in engine_run.trades for trade_id in trades}) == list(range(200))


def test_waiting_events_of_a_closed_symbol_are_dropped() -> None:
    """Also where it has been opened again: they are not of its new book."""

    async def script(engine_run: EngineRun) -> None:
        for i in range(100):
            engine_run.inbox.put_nowait(Received("BTCUSDT", trade(i), 500.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        engine_run.engine.close("BTCUSDT")
        engine_run.engine.open("BTCUSDT")
        await engine_run.put(0.5, trade(500))

    engine_run = run_engine(script, until_s=1.6, watched=["ETHUSDT"])
    assert engine_run.trades[-1] == [500]


def test_an_engine_without_symbols_waits_for_one() -> None:
    """It makes the first view as soon as a symbol is opened."""

    async def script(engine_run: EngineRun) -> None:
        for symbol in SYMBOLS:
            engine_run.engine.close(symbol)
        await at(5.0)
        engine_run.engine.open("LTCUSDT")

    assert run_engine(script, until_s=5.5, watched=()).times("LTCUSDT") == [5.0]


def test_the_wait_for_an_unwatched_view_is_no_delay() -> None:
    """The latency from applied to published is that of watched symbols."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 10):
            await engine_run.put(0.5 + i / 10, diff(10 + i, 10 + i), symbol="ETHUSDT")
            await engine_run.put(0.55 + i / 10, diff(10 + i, 10 + i))

    def longest_ms(watched: Sequence[str]) -> float | None:
        return run_engine(script, until_s=2.5, watched=watched).latency.quantile_ms("published", 1.0)

    assert longest_ms(()) is None
    assert (longest_ms(SYMBOLS) or inf) < HEARTBEAT_S * 100


def test_a_diffs_view_holds_the_waiting_trades() -> None:
    """A diff that comes within the interval makes one view for both."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, trade(1))
        await engine_run.put(0.55, ANCHOR)

    engine_run = run_engine(script, until_s=1.4)
    assert engine_run.times() == [0.0, 0.55]
    assert len(engine_run.last().trades) == 1


def test_views_are_an_interval_apart() -> None:
    """However many diffs there are, views keep the interval, and the last one holds the last diff."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(25):
            await engine_run.put(0.51 + i / 100, diff(11 + i, 11 + i))

    engine_run = run_engine(script, until_s=1.5)
    assert engine_run.times() == pytest.approx([0.0, 0.5, 0.6, 0.7, 0.8])
    assert engine_run.last().last_update_id == 35


def test_a_diff_never_waits_for_trades() -> None:
    """With diffs every 125 ms and many trades between them, each diff makes a view as it comes."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        for i in range(1, 40):
            events = [diff(10 + i // 4, 10 + i // 4)] if i % 4 == 0 else [trade(i)]
            await engine_run.put(0.5 + i * INTERVAL_S * 1.25 / 4, *events)

    shown = run_engine(script, until_s=1.6).times()[1:10]
    assert shown == pytest.approx([0.5 + n * INTERVAL_S * 1.25 for n in range(9)])


def test_symbols_have_their_own_intervals() -> None:
    """One symbol's events make no view of another."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp())
        await engine_run.put(0.52, FeedUp(), symbol="ETHUSDT")

    engine_run = run_engine(script, until_s=0.9)
    assert (engine_run.times("BTCUSDT"), engine_run.times("ETHUSDT")) == ([0.0, 0.5], [0.0, 0.52])


def test_a_full_inbox_is_applied_in_batches() -> None:
    """Other tasks of the loop run between the batches."""
    turns = 0

    async def script(engine_run: EngineRun) -> None:
        nonlocal turns
        await engine_run.put(0.5, *(trade(i) for i in range(4 * BATCH_EVENTS_MAX)))
        while not engine_run.inbox.empty():
            await asyncio.sleep(0)
            turns += 1

    engine_run = run_engine(script, until_s=0.7)
    assert turns >= 4
    assert engine_run.last().trades[0].id == 4 * BATCH_EVENTS_MAX - 1


def test_a_book_that_is_wrong_requests_one_snapshot() -> None:
    """A market that finds its own book wrong has one request for a snapshot queued."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR, diff(11, 11, [(101.0, 1.0)]), trade(1))
        await at(1.0)
        requests.append(await engine_run.snapshot_requests.get())

    requests: list[tuple[str, str]] = []
    engine_run = run_engine(script, until_s=1.5)

    assert requests == [("BTCUSDT", "best bid and best ask crossed")]
    assert len(engine_run.snapshot_requests) == 0


def test_a_trade_gap_is_queued_for_the_reconciler() -> None:
    """Trades that were given up leave the engine on the gap queue."""
    gap = TradeGap("BTCUSDT", 5, 9, MIDNIGHT_MS, MIDNIGHT_MS + 1, MIDNIGHT_MS + 2)

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), gap)

    assert run_engine(script, until_s=1.0).gaps.get_nowait() == gap


def test_a_full_gap_queue_does_not_stop_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    """A gap that finds no room is dropped with a warning, and views go on."""
    gap = TradeGap("BTCUSDT", 5, 9, MIDNIGHT_MS, MIDNIGHT_MS + 1, MIDNIGHT_MS + 2)

    async def script(engine_run: EngineRun) -> None:
        for _ in range(TRADE_GAPS_MAX):
            engine_run.gaps.put_nowait(gap)
        await engine_run.put(0.5, FeedUp(), gap)

    assert run_engine(script, until_s=1.6).times() == [0.0, 0.5, 1.5]
    assert "trade gap dropped symbol=BTCUSDT ids=5-9" in caplog.messages


def test_a_closed_symbol_makes_no_views() -> None:
    """Events of a symbol that was closed are ignored, and its snapshot request is dropped."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR, diff(11, 11, [(101.0, 1.0)]))
        await at(0.6)
        engine_run.engine.close("BTCUSDT")
        await engine_run.put(0.7, diff(12, 12))

    engine_run = run_engine(script, until_s=2.0)

    assert engine_run.times("BTCUSDT") == [0.0, 0.5]
    assert len(engine_run.snapshot_requests) == 0
    assert [view.symbol for at_s, view in engine_run.views if at_s > 0.6] == ["ETHUSDT"]


async def two_minutes(engine_run: EngineRun) -> None:
    """Put three trades, each of another minute, after a first exchange time."""
    await engine_run.put(
        0.5, diff(1, 1, time_ms=MIDNIGHT_MS), *(trade(i, time_ms=MIDNIGHT_MS + i * MINUTE_MS) for i in range(3))
    )


def test_closed_candles_are_queued() -> None:
    """Each minute that closes leaves on the candle queue."""
    engine_run = run_engine(two_minutes, until_s=0.7)

    assert [engine_run.candles.get_nowait().open_time_ms for _ in range(engine_run.candles.qsize())] == [
        MIDNIGHT_MS, MIDNIGHT_MS + MINUTE_MS,
    ]  # fmt: skip


def test_a_full_candle_queue_does_not_stop_the_engine() -> None:
    """A candle that finds no room is dropped and counted; views go on."""

    def dropped() -> float:
        return sample_of("pulse_candles_dropped_total") or 0.0

    before = dropped()
    engine_run = run_engine(two_minutes, until_s=1.7, candles_max=1)

    assert (engine_run.candles.qsize(), dropped() - before) == (1, 1.0)
    assert engine_run.times() == [0.0, 0.5, 1.5]


def test_states_of_every_symbol() -> None:
    """Each symbol's state, why it is not live, and the age of its data."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        await asyncio.sleep(0.25)
        states.update(engine_run.engine.states())

    states: dict[str, dict[str, object]] = {}
    run_engine(script, until_s=1.0)
    live_since_ms, offline_since_ms = (states[symbol].pop("since_ms") for symbol in ("BTCUSDT", "ETHUSDT"))
    assert (live_since_ms, offline_since_ms) == (MIDNIGHT_MS + 500, MIDNIGHT_MS)
    assert states["BTCUSDT"] == {"state": "live", "reason": "", "data_age_ms": 250, "streams": []}
    assert states["ETHUSDT"] == {"state": "offline", "reason": "not connected yet", "data_age_ms": None, "streams": []}


def test_before_a_replays_first_line_its_date_is_not_known() -> None:
    """Since when a symbol is in its state has no date then; from the first line on it has that of the recording."""

    async def scenario() -> list[object]:
        clock = ReplayClock()
        engine_run, found = EngineRun(clock=clock), list[object]()
        task = asyncio.create_task(engine_run.engine.run())
        await asyncio.sleep(2.0)
        found.append(engine_run.engine.states()["BTCUSDT"]["since_ms"])
        clock.advance(MIDNIGHT_MS)
        await engine_run.put(2.5, FeedUp(), ANCHOR)
        await asyncio.sleep(1.0)
        found.append(engine_run.engine.states()["BTCUSDT"]["since_ms"])
        task.cancel()
        return found

    assert run(scenario()) == [None, MIDNIGHT_MS]


class Logs:
    """Notes what the engine tells of its markets."""

    def __init__(self) -> None:
        self.noted: list[tuple[object, ...]] = []

    def open(self, market: Market) -> "Logs":
        """Note that a market is opened."""
        self.noted.append(("open", market.symbol))
        return self

    def close(self, symbol: str) -> None:
        """Note that a symbol is closed."""
        self.noted.append(("close", symbol))

    def add(self, at_ms: int, event: object) -> None:
        """Note an event."""
        self.noted.append((at_ms, event))

    def view_made(self, at_ms: int, view: View) -> None:
        """Note a view."""
        self.noted.append((at_ms, view.last_update_id, view.data_age_ms))


def test_a_log_is_told_all_that_a_market_is_given() -> None:
    """Each event in its order and each view, at whole ms: a market that is given the same shows the same."""
    logs = Logs()

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        await at(0.7)
        await engine_run.inbox.put(Received("BTCUSDT", diff(11, 11), 699.9))
        await engine_run.inbox.put(Received("LINKUSDT", diff(11, 11), 699.9))
        await at(0.75)
        engine_run.engine.close("BTCUSDT")

    run_engine(script, until_s=0.8, event_logs=logs)

    assert logs.noted == [
        ("open", "BTCUSDT"), ("open", "ETHUSDT"), (0, 0, None), (0, 0, None),
        (500, FeedUp()), (500, ANCHOR), (500, 10, 0), (699, diff(11, 11)), (700, 11, 1), ("close", "BTCUSDT"),
    ]  # fmt: skip


def test_certificates_of_every_symbol() -> None:
    """Each symbol's certificate names its state and its book's id."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR, diff(11, 11))
        await asyncio.sleep(0.1)
        certificates.extend(engine_run.engine.certificates().values())

    certificates: list[object] = []
    run_engine(script, until_s=1.0)
    assert [(c.symbol, c.state, c.last_update_id) for c in certificates] == [  # type: ignore[attr-defined]
        ("BTCUSDT", State.LIVE, 11), ("ETHUSDT", State.OFFLINE, 0),
    ]  # fmt: skip


def test_a_change_of_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line per change, none per view."""
    caplog.set_level("INFO", "pulse.engine")

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        await engine_run.put(0.7, diff(11, 11))
        await engine_run.put(0.9, FeedDown("cut"))

    run_engine(script, until_s=2.5)
    lines = [record.getMessage() for record in caplog.records if "BTCUSDT" in record.getMessage()]
    assert lines == [
        "book symbol=BTCUSDT state=offline reason=not connected yet",
        "book symbol=BTCUSDT state=live reason=",
        "book symbol=BTCUSDT state=offline reason=cut",
    ]


def test_newest_closed_and_running_minute() -> None:
    """Before the first trade only the running minute's open time is known, from the exchange's clock."""

    async def script(engine_run: EngineRun) -> None:
        before = engine_run.engine.newest("BTCUSDT")
        engine_run.latency.offset.add_round_trip(0.0, 5 * MINUTE_MS, 0.0)
        corrected = engine_run.engine.newest("BTCUSDT")
        await engine_run.put(0.0, FeedUp(), trade(1, 99.0), trade(2, 100.0, time_ms=MIDNIGHT_MS + MINUTE_MS))
        await engine_run.put(0.2, trade(3, 101.0, time_ms=MIDNIGHT_MS + 2 * MINUTE_MS))
        await at(0.3)
        newest = engine_run.engine.newest("BTCUSDT")

        assert (before.minutes, before.running_ms % MINUTE_MS) == ((), 0)
        assert corrected.running_ms == before.running_ms + 5 * MINUTE_MS
        assert [(minute.close, minute.is_closed) for minute in newest.minutes] == [(100.0, True), (101.0, False)]
        assert newest.running_ms == MIDNIGHT_MS + 2 * MINUTE_MS

    run_engine(script, 1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("pulse_book_is_live", 1.0), ("pulse_book_is_good", 1.0), ("pulse_book_data_age_seconds", 0.0),
     ("pulse_touch_compared_total", 1.0), ("pulse_touch_differing_total", 0.0),
     ("pulse_book_resyncs_total", 0.0), ("pulse_candles_differing_total", 0.0)],
)  # fmt: skip
def test_market_metrics_are_read_on_request(name: str, expected: float) -> None:
    """/metrics reads the markets' own counts; making a view does not update them."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR, ticker(11, (100.0, 5.0), (101.0, 2.0)), diff(11, 11))

    engine_run = run_engine(script, until_s=0.6)

    assert engine_run.last().state is State.LIVE
    assert sample_of(name, {"symbol": "BTCUSDT"}) == expected


def test_silent_stream_is_logged_once_and_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """A stream that falls silent, and one that sends again, is one line each; the ingest is told what is silent."""
    caplog.set_level(logging.INFO, "pulse.engine")

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(frozenset({"bookTicker"})), ANCHOR, ticker(10, (100.0, 5.0), (101.0, 2.0)))
        await engine_run.put(1.0, diff(11, 11, [(100.0, 7.0)]))
        await engine_run.put(8.0, diff(12, 12, [(100.0, 8.0)]))
        await engine_run.put(9.0, diff(13, 13, [(100.0, 9.0)]))
        await engine_run.put(16.0, ticker(14, (100.0, 9.0), (101.0, 2.0)))

    engine_run = run_engine(script, until_s=18.0)
    lines = [message for message in caplog.messages if message.startswith("stream ")]

    reason = "the best bid and ask of the book have changed without it"
    assert lines == [
        f"stream silent symbol=BTCUSDT kind=bookTicker reason={reason}",
        "stream no longer silent symbol=BTCUSDT kind=bookTicker",
    ]
    assert asyncio.run(engine_run.silent_streams.get()) == (("BTCUSDT", "bookTicker"), reason)
    shown = {at_s: view.proof.silent_checks for at_s, view in engine_run.views if view.symbol == "BTCUSDT"}
    assert (shown[8.0], shown[16.0]) == (["touch"], [])


def test_closed_symbol_asks_for_no_stream() -> None:
    """What it has asked for is dropped with it."""

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(frozenset({"bookTicker"})), ANCHOR, ticker(10, (100.0, 5.0), (101.0, 2.0)))
        await engine_run.put(1.0, diff(11, 11, [(100.0, 7.0)]))
        await at(6.0)
        waiting.append(len(engine_run.silent_streams))
        engine_run.engine.close("BTCUSDT")

    waiting: list[int] = []
    engine_run = run_engine(script, until_s=7.0)
    assert (waiting, len(engine_run.silent_streams)) == ([1], 0)


def test_ladders_and_costs_are_made_only_while_they_are_watched() -> None:
    """With each view of that symbol, under its number; of no other symbol."""
    watched = Interest(frozenset({10}), frozenset({500.0}))

    async def script(engine_run: EngineRun) -> None:
        await engine_run.put(0.5, FeedUp(), ANCHOR)
        await at(1.0)
        engine_run.interest["BTCUSDT"] = watched
        await engine_run.put(1.1, diff(11, 11, [(99.0, 1.0)]))
        await engine_run.put(1.3, diff(12, 12, [(98.0, 1.0)]))
        await at(1.5)
        engine_run.interest.clear()
        await engine_run.put(1.6, diff(13, 13, [(97.0, 1.0)]))

    engine_run = run_engine(script, until_s=2.0)

    assert [at_s for at_s, _ in engine_run.liquidity] == [1.1, 1.3]
    seqs = {at_s: view.seq for at_s, view in engine_run.views if view.symbol == "BTCUSDT"}
    for at_s, view in engine_run.liquidity:
        assert (view.symbol, view.seq) == ("BTCUSDT", seqs[at_s])
        assert [each.multiple for each in view.ladders] == [10]
        assert [each.notional for each in view.costs] == [500.0]
