"""Fetching snapshots: when one is needed or requested, with ever longer delays after failures."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from typing import cast

import pytest

from pulse.binance.messages import Frame
from pulse.binance.rest import BinanceRest
from pulse.binance.venues import venue_of
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, PulseError, UnknownSymbol
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.snapshot_schedule import JOIN_LEVELS
from pulse.ingest.snapshots import (
    HALTED_SPACING_S,
    REPEATED_SPACING_MAX_S,
    SNAPSHOT_FIRST_S,
    SNAPSHOT_SPACING_S,
    STALE_SNAPSHOT_MAX_S,
    UNKNOWN_SYMBOL_WAIT_S,
    SnapshotFetcher,
)
from pulse.market.depth_sync import BookAnchor
from pulse.market.types import BookLost, DepthSnapshot, Quarantined
from pulse.queues import Inbox, make_inbox
from tests.support.makers import diff, snapshot
from tests.support.rest import make_schedule
from tests.support.virtual_time import ScenarioClock, at, now_s, run

UPDATE_ID = 10
DEEP_BIDS = tuple((10_000.0 - level, 1.0) for level in range(5000))
DEEP_ASKS = tuple((10_001.0 + level, 1.0) for level in range(5000))


class Exchange:
    """Answers each depth call at once: with the errors in turn, then with a snapshot at UPDATE_ID.

    It has no levels, unless `is_deep`: then there are as many as are asked for.
    """

    def __init__(self, *errors: PulseError | None, last_update_id: int = UPDATE_ID) -> None:
        self.errors = list(errors)
        self.last_update_id = last_update_id
        self.venue = venue_of("us")
        self.is_deep = False
        self.calls_s: list[float] = []
        self.limits: list[int] = []
        self.waits_s: list[float] = []

    def weight(self) -> tuple[int, int]:
        """Return that nothing is used of a budget of six snapshots of all levels a minute, two of them for audits."""
        return 0, 300

    async def depth(self, symbol: str, limit: int, *, is_widening: bool) -> DepthSnapshot:
        """Return a snapshot or raise the next error."""
        assert is_widening or limit <= JOIN_LEVELS
        self.calls_s.append(now_s())
        self.limits.append(limit)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        if not self.is_deep:
            return snapshot(self.last_update_id, limit=limit)
        return snapshot(self.last_update_id, DEEP_BIDS[:limit], DEEP_ASKS[:limit], limit)

    async def wait_until_reachable(self, max_s: float) -> None:
        """Wait for the whole time."""
        self.waits_s.append(max_s)
        await asyncio.sleep(max_s)


def fetch(
    exchange: Exchange,
    until_s: float,
    script: Callable[[SnapshotFetcher, Sequencer], None] | None = None,
    depth_limit: int = 100,
) -> list[object]:
    """Run a fetcher on a stream whose only diff is UPDATE_ID; return the events that the engine gets."""

    async def scenario() -> list[object]:
        inbox: Inbox = make_inbox()
        sequencer = Sequencer("BTCUSDT", inbox, ScenarioClock(), HeldBudget(), repairs_trades=True)
        rest = cast(BinanceRest, exchange)
        audit_every_s = 20.0 if depth_limit == 100 else 1e6
        schedule = make_schedule(rest, depth_limit=depth_limit, audit_every_s=audit_every_s)
        fetcher = SnapshotFetcher("BTCUSDT", rest, sequencer, random.Random(1), schedule)
        await sequencer.put_frame(Frame("BTCUSDT", "depth", diff(UPDATE_ID, UPDATE_ID)))
        fetcher.wake_if_needed()
        tasks = [
            asyncio.create_task(fetcher.run()),
            asyncio.create_task(fetcher.run_whole()),
        ]
        if script is not None:
            await at(5.0)
            script(fetcher, sequencer)
        await at(until_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    return run(scenario())


def test_needed_snapshot_is_fetched_at_once() -> None:
    """It joins the stream, and is fetched once."""
    exchange = Exchange()
    events = fetch(exchange, 10.0)

    assert exchange.calls_s == [0.0]
    assert events == [BookAnchor(snapshot(UPDATE_ID, limit=100), ())]


def test_requested_snapshot_is_fetched_beside_a_running_book() -> None:
    """The book needs none, and gets one all the same."""
    exchange = Exchange()
    fetch(exchange, 10.0, lambda fetcher, _: fetcher.request("test"))

    assert exchange.calls_s == [0.0, 5.0]


def test_nothing_is_fetched_where_none_is_needed() -> None:
    """A look at a book that is continued causes no call."""
    exchange = Exchange()
    fetch(exchange, 10.0, lambda fetcher, _: fetcher.wake_if_needed())

    assert exchange.calls_s == [0.0]


def test_whole_book_is_audited_periodically() -> None:
    """A snapshot is requested every 20 s."""
    exchange = Exchange()
    fetch(exchange, 50.0)

    assert exchange.calls_s == [0.0, 20.0, 40.0]


def test_book_joins_on_few_levels_and_is_widened_at_once() -> None:
    """The second snapshot, of all levels, follows the first."""
    exchange = Exchange()
    exchange.is_deep = True
    events = fetch(exchange, 10.0, depth_limit=5000)

    assert list(zip(exchange.calls_s, exchange.limits, strict=True)) == [(0.0, JOIN_LEVELS), (0.0, 5000)]
    assert [len(event.snapshot.bids.prices) for event in events if isinstance(event, BookAnchor)] == [100, 5000]


def test_book_that_has_few_levels_is_whole_at_once() -> None:
    """Nothing is beyond the first snapshot, so no other is fetched."""
    exchange = Exchange()
    fetch(exchange, 10.0, depth_limit=5000)

    assert exchange.limits == [JOIN_LEVELS]


def test_widening_that_fails_is_repeated_and_loses_no_book() -> None:
    """The delay grows; what fails meanwhile holds no diffs."""
    exchange = Exchange(None, *[ExchangeError("busy")] * 4)
    exchange.is_deep = True
    held: list[int] = []

    def note(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        held.append(sequencer.held_bytes)

    events = fetch(exchange, 20.0, note, depth_limit=5000)

    assert exchange.limits == [JOIN_LEVELS, *[5000] * 5]
    assert [type(event) for event in events] == [BookAnchor] * 2
    assert held == [0]


def test_widening_that_lags_is_not_repeated_soon() -> None:
    """The book is live: there is no hurry, and each costs fifty first ones."""
    exchange = Exchange()
    exchange.is_deep = True

    def lag(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        exchange.last_update_id = UPDATE_ID - 5
        fetcher._widen.set()

    fetch(exchange, 65.0, lag, depth_limit=5000)

    assert 5 <= len(exchange.calls_s) - 2 <= 9


def test_book_that_was_lost_joins_on_few_levels_before_it_is_widened() -> None:
    """A symbol whose turn comes while it has no book lets it pass."""
    exchange = Exchange(None, None, ExchangeBusy("busy", 5.0))
    exchange.is_deep = True

    def lose(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        sequencer.restart()
        fetcher.wake_if_needed()
        fetcher._widen.set()

    fetch(exchange, 20.0, lose, depth_limit=5000)

    assert exchange.limits == [JOIN_LEVELS, 5000, JOIN_LEVELS, JOIN_LEVELS, 5000]


def test_audit_that_fails_waits_for_the_next_of_all() -> None:
    """Audits have a share of the weight, whatever becomes of them."""
    exchange = Exchange(None, *[ExchangeError("busy")] * 2)
    fetch(exchange, 30.0)

    assert exchange.calls_s == pytest.approx([0.0, 20.0, 20.6, 21.2])


def test_fetches_keep_their_distance() -> None:
    """A book that is lost again right after a snapshot waits for SNAPSHOT_SPACING_S."""
    exchange = Exchange()

    def lose_twice(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        fetcher.request("first")
        asyncio.get_running_loop().call_later(0.1, fetcher.request, "second")

    fetch(exchange, 10.0, lose_twice)

    assert exchange.calls_s == [0.0, 5.0, 5.0 + SNAPSHOT_SPACING_S]


def test_snapshot_that_lags_is_fetched_again_soon() -> None:
    """The pause between two fetches stays below STALE_SNAPSHOT_MAX_S, and the state reason names the lag."""
    exchange = Exchange(last_update_id=UPDATE_ID - 2)
    events = fetch(exchange, 19.0)
    pauses_s = [after - before for before, after in zip(exchange.calls_s, exchange.calls_s[1:], strict=False)]

    assert max(pauses_s) == pytest.approx(STALE_SNAPSHOT_MAX_S)
    assert set(events) == {
        BookLost("waiting for a usable snapshot: the exchange's snapshot is older than its stream of updates")
    }


class LaggingExchange(Exchange):
    """Its snapshots are older than the stream for a while."""

    def __init__(self, until_s: float) -> None:
        super().__init__(last_update_id=UPDATE_ID - 5)
        self.until_s = until_s

    async def depth(self, symbol: str, limit: int, *, is_widening: bool) -> DepthSnapshot:
        """Return a snapshot, from `until_s` on one that joins."""
        if now_s() >= self.until_s:
            self.last_update_id = UPDATE_ID
        return await super().depth(symbol, limit, is_widening=is_widening)


def test_snapshots_that_lag_cost_little() -> None:
    """They have few levels; the first that joins is followed by one of all levels."""
    exchange = LaggingExchange(60.0)
    exchange.is_deep = True
    events = fetch(exchange, 70.0, depth_limit=5000)

    assert exchange.limits == [*[JOIN_LEVELS] * (len(exchange.limits) - 1), 5000]
    assert exchange.calls_s[-1] - 60.0 <= STALE_SNAPSHOT_MAX_S
    assert any(isinstance(event, BookAnchor) for event in events)


@pytest.mark.parametrize(
    ("error", "pause_s"),
    [(ExchangeBusy("limited", 60.0), 60.0), (ExchangeRefused("refused", 451, 300.0), 300.0)],
    ids=["busy", "refused"],
)
def test_busy_or_refusing_exchange_is_not_asked_before_its_time(error: PulseError, pause_s: float) -> None:
    """The pause is at least as long as demanded, also where a snapshot is requested meanwhile."""
    exchange = Exchange(error)
    events = fetch(exchange, 400.0, lambda fetcher, _: fetcher.request("test"))

    assert events[0] == BookLost(f"waiting for a usable snapshot: {error}")
    assert exchange.calls_s[0] == 0.0
    assert pause_s <= exchange.calls_s[1] <= pause_s + SNAPSHOT_FIRST_S
    assert isinstance(events[1], BookAnchor)


def test_unreachable_exchange_is_probed_instead_of_asked() -> None:
    """Between two fetches the fetcher waits until the exchange answers at all."""
    exchange = Exchange(ExchangeError("unreachable"), ExchangeError("unreachable"))
    events = fetch(exchange, 10.0)

    assert len(exchange.calls_s) == 3
    assert [SNAPSHOT_FIRST_S / 2 <= wait_s <= SNAPSHOT_FIRST_S * 2 for wait_s in exchange.waits_s] == [True, True]
    assert [type(event) for event in events] == [BookLost, BookLost, BookAnchor]


def test_failure_of_an_audit_does_not_lose_the_book() -> None:
    """While the book is continued a failed fetch is only logged."""
    exchange = Exchange(None, ExchangeError("unreachable"))
    events = fetch(exchange, 10.0, lambda fetcher, _: fetcher.request("test"))

    assert len(exchange.calls_s) == 3
    assert BookLost not in [type(event) for event in events]


class CrossedExchange(Exchange):
    """Every snapshot of it is followed at once by a request for another, for as long as its prices are crossed."""

    def __init__(self, crossed_until_s: float) -> None:
        super().__init__()
        self.crossed_until_s = crossed_until_s
        self.fetcher: SnapshotFetcher | None = None

    async def depth(self, symbol: str, limit: int, *, is_widening: bool) -> DepthSnapshot:
        """Return a snapshot, and have the book distrusted right after it."""
        if self.fetcher is not None and now_s() < self.crossed_until_s:
            asyncio.get_running_loop().call_later(0.1, self.fetcher.request, "crossed")
        return await super().depth(symbol, limit, is_widening=is_widening)

    def begin(self, fetcher: SnapshotFetcher, _: Sequencer) -> None:
        """Have the prices cross."""
        self.fetcher = fetcher
        fetcher.request("crossed")


@pytest.mark.proves("crossed-snapshot")
def test_book_that_stays_crossed_costs_little() -> None:
    """Its snapshots have few levels and are seconds apart; the first that helps is followed by one of all levels."""
    exchange = CrossedExchange(crossed_until_s=100.0)
    exchange.is_deep = True
    fetch(exchange, 110.0, exchange.begin, depth_limit=5000)
    calls = [(at_s, limit) for at_s, limit in zip(exchange.calls_s, exchange.limits, strict=True) if at_s >= 5.0]
    pauses_s = [after - before for (before, _), (after, _) in itertools.pairwise(calls)]

    assert pauses_s[:4] == pytest.approx([0.0, 1.0, 2.0, REPEATED_SPACING_MAX_S])
    assert set(pauses_s[3:-1]) == {REPEATED_SPACING_MAX_S}
    assert [limit for _, limit in calls] == [JOIN_LEVELS, 5000, *[JOIN_LEVELS] * (len(calls) - 3), 5000]
    assert calls[-1][0] < 100.0 + 3 * REPEATED_SPACING_MAX_S


def test_spacing_is_the_usual_one_after_a_snapshot_that_helped() -> None:
    """The next trouble is healed as fast as the first."""
    exchange = CrossedExchange(crossed_until_s=5.0)

    def lose_twice_again(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        for at_s in (0.0, 0.5, 10.0, 10.5):
            asyncio.get_running_loop().call_later(at_s, fetcher.request, "crossed")

    fetch(exchange, 19.0, lose_twice_again)

    assert exchange.calls_s == [0.0, 5.0, 6.0, 15.0, 16.0]


@pytest.mark.proves("halt")
def test_symbol_that_does_not_trade_is_asked_for_rarely() -> None:
    """Its prices may cross for hours; when it trades again, a snapshot is fetched at once."""
    exchange = CrossedExchange(crossed_until_s=1_000.0)

    def halt(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        fetcher.set_trading(False)
        exchange.begin(fetcher, sequencer)
        asyncio.get_running_loop().call_later(HALTED_SPACING_S * 2 + 3.0, fetcher.set_trading, True)

    fetch(exchange, 5.0 + HALTED_SPACING_S * 2 + 3.5, halt)

    assert exchange.calls_s == pytest.approx([0.0, 5.0, 65.0, 125.0, 128.0])


def test_unlisted_symbol_is_asked_for_rarely() -> None:
    """It costs the others nothing; when it is listed again, a snapshot is fetched at once."""
    exchange = Exchange(*[UnknownSymbol("not listed")] * 2)

    def list_again(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        fetcher.set_trading(False)
        asyncio.get_running_loop().call_later(UNKNOWN_SYMBOL_WAIT_S + 10.0, fetcher.set_trading, True)

    events = fetch(exchange, 400.0, list_again)

    assert exchange.waits_s == []
    assert exchange.calls_s[:3] == pytest.approx([0.0, UNKNOWN_SYMBOL_WAIT_S, UNKNOWN_SYMBOL_WAIT_S + 15.0])
    assert [type(event) for event in events[:3]] == [BookLost, BookLost, BookAnchor]


def test_false_snapshot_is_quarantined_and_fetched_again(caplog: pytest.LogCaptureFixture) -> None:
    """Its id is far ahead of the stream's: it would never be reached, however often it is repeated."""
    exchange = Exchange(last_update_id=10**12)

    def correct(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        exchange.last_update_id = UPDATE_ID

    events = fetch(exchange, 10.0, correct)
    count = len(exchange.calls_s) - 1

    assert count >= 3
    assert exchange.calls_s[-1] - 5.0 <= STALE_SNAPSHOT_MAX_S
    assert [type(event) for event in events if not isinstance(event, BookLost)] == [Quarantined] * count + [BookAnchor]
    assert "kind=snapshot reason=its update id 1000000000000 cannot follow on 10" in caplog.text


def test_outage_of_the_same_reason_is_a_warning_again(caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot that joined has ended the one before."""
    exchange = Exchange(ExchangeError("busy"), None, ExchangeError("busy"), ExchangeError("busy"))

    def request(fetcher: SnapshotFetcher, sequencer: Sequencer) -> None:
        asyncio.get_running_loop().call_later(10.0, fetcher.request, "an audit")

    with caplog.at_level(logging.DEBUG):
        fetch(exchange, 20.0, request)

    levels = [record.levelname for record in caplog.records if "no snapshot" in record.getMessage()]
    assert levels == ["WARNING", "WARNING", "DEBUG"]
