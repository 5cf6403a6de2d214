"""One symbol's stream from a simulated exchange on loopback: it joins, recovers, and delivers the exchange's book."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from pulse.binance.exchange_clock import ExchangeClock
from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.refusals import REFUSED_WAIT_S, Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport, Stream, Transport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.errors import ConnectionEnded, ExchangeBusy, ExchangeError, ExchangeRefused, HandshakeRefused
from pulse.ingest import stream_remedy
from pulse.ingest.exchange_stream import DATE_WAIT_S, RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.rotation import FRAME_BYTES, OVERLAP_S
from pulse.ingest.snapshot_schedule import JOIN_LEVELS
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.types import BookLost, BookTicker, DepthDiff, FeedDown, FeedUp, State, Trade, TradesHeld
from pulse.queues import Inbox, make_inbox
from pulse.simulator.connection import FIN
from pulse.simulator.server import SimulatedExchange
from tests.support import frames
from tests.support.rest import make_schedule
from tests.support.virtual_time import ScenarioClock, at, now_s, run
from tests.support.waiting import WAIT_S

SYMBOL = "BTCUSDT"
DEPTH = "btcusdt@depth@100ms"
TRADES = "btcusdt@aggTrade"

FRAMES_MS = 1_723_161_255_308
"""The event time of the frames that are fed in."""


class Setup:
    """A stream, the market that it feeds, and the exchange."""

    def __init__(self, exchange: SimulatedExchange, session: aiohttp.ClientSession, may_fall_back: bool) -> None:
        self.exchange = exchange
        self.clock = SystemClock()
        self.inbox = make_inbox()
        self.market = Market(
            SYMBOL, Origin("00", "simulation", "us"), levels_max=20_000, trades_kept=30, stale_after_ms=5000
        )
        self.events: list[object] = []
        self.checked = 0
        self.wrong: list[int] = []
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        transport = AiohttpTransport(session)
        self.rest = BinanceRest(transport, venue, self.clock, BanFile(None), lambda _: Priority.PINNED_BOOK)
        self.held = HeldBudget()
        self.stream = ExchangeStream(
            SYMBOL, transport, self.rest, self.inbox, self.clock, random.Random(1),
            retry_gate=RetryGate(RECONNECT_SPACING_S), refusals=Refusals(venue.title), held=self.held,
            schedule=make_schedule(self.rest), stale_after_ms=400, may_fall_back=may_fall_back,
        )  # fmt: skip

    async def until(self, condition: Callable[["Setup"], bool]) -> None:
        """Apply events, comparing each book with the exchange's, until the condition holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                received = await self.inbox.get()
                self.market.apply(received.event, received.received_ms)
                self.events.append(received.event)
                if reason := self.market.integrity.pop_resync_request():
                    self.stream.request_snapshot(reason)
                if isinstance(received.event, DepthDiff | BookAnchor):
                    self._check(received.received_ms)

    def count(self, kind: type) -> int:
        """Return how many events of a kind were applied."""
        return sum(isinstance(event, kind) for event in self.events)

    @property
    def joins(self) -> int:
        """How many books were joined, however many snapshots widened each."""
        joins, has_book = 0, False
        for event in self.events:
            if isinstance(event, BookAnchor):
                joins += not has_book
                has_book = True
            elif isinstance(event, BookLost | FeedDown):
                has_book = False
        return joins

    @property
    def is_wide(self) -> bool:
        """Whether more is known than the levels of a first snapshot."""
        return self.market.book is not None and len(self.market.book.bids) > 2 * JOIN_LEVELS

    @property
    def is_live(self) -> bool:
        """Whether the market's state is live."""
        return self.market.state(self.clock.now_ms())[0] is State.LIVE

    def _check(self, now_ms: float) -> None:
        book = self.market.book
        if book is None or self.market.state(now_ms)[0] is not State.LIVE:
            return
        truth = self.exchange.core.book_at(SYMBOL, book.last_update_id)
        if truth is None:
            return
        self.checked += 1
        for side, true_levels in ((book.bids, truth.bids), (book.asks, truth.asks)):
            # A snapshot of few levels, joined after seconds of updates, may leave less than 20 of them known.
            known = [(float(p), float(q)) for p, q in true_levels if side.is_known(float(p))]
            if side.top(20) != known:
                self.wrong.append(book.last_update_id)


@asynccontextmanager
async def setup_of(may_fall_back: bool = False, prepare: Callable[[SimulatedExchange], Any] | None = None) -> Any:
    """Run a setup; `prepare` sets the exchange's faults before the stream starts."""
    async with SimulatedExchange([SYMBOL], seed=7) as exchange, aiohttp.ClientSession() as session:
        if prepare is not None:
            prepare(exchange)
        setup = Setup(exchange, session, may_fall_back)
        task = asyncio.create_task(setup.stream.run())
        try:
            yield setup
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Run a stream of an exchange without faults until it is live and its whole book is known."""
    async with setup_of() as running:
        await running.until(lambda s: s.is_live and s.is_wide)
        yield running


async def test_book_equals_the_exchange_at_every_diff(setup: Setup) -> None:
    """After each diff the top 20 are the exchange's."""
    await setup.until(lambda s: s.count(DepthDiff) >= 15)

    assert setup.checked >= 15
    assert setup.wrong == []


@pytest.mark.proves("lost-diff")
async def test_lost_diff_is_repaired_on_the_same_connection(setup: Setup) -> None:
    """At a gap the book is not live until a new snapshot joins, without a new connection."""
    setup.exchange.faults.frames.drop(DEPTH)
    await setup.until(lambda s: s.count(BookLost) == 1)
    is_live_after_gap = setup.is_live
    await setup.until(lambda s: s.is_live)
    await setup.until(lambda s: s.joins == 2)

    assert not is_live_after_gap
    assert setup.exchange.connections_opened == 1
    assert setup.wrong == []


@pytest.mark.proves("lost-diff")
async def test_malformed_diff_is_repaired_like_a_lost_one(setup: Setup) -> None:
    """A frame that is not JSON costs one resync and nothing else."""
    setup.exchange.faults.frames.edit(DEPTH, lambda _: "{broken")
    await setup.until(lambda s: s.joins == 2 and s.is_live)

    assert setup.exchange.connections_opened == 1
    assert setup.wrong == []


@pytest.mark.proves("false-level")
async def test_corrupted_quantity_is_found_by_a_cross_check(setup: Setup) -> None:
    """A best level that differs from the exchange's is found, by whichever check comes first, and a resync follows."""

    def with_wrong_best_bid(diff: dict[str, Any]) -> dict[str, Any]:
        truth = setup.exchange.core.book_at(SYMBOL, diff["u"])
        assert truth is not None
        return {**diff, "b": [*diff["b"], [truth.bids[0][0], "12345.00000000"]]}

    setup.exchange.faults.frames.edit(DEPTH, with_wrong_best_bid)
    await setup.until(lambda s: s.market.integrity.resyncs == 1)
    await setup.until(lambda s: s.is_live)

    incident = setup.market.integrity.incidents[0]
    assert incident.cause in ("touch", "top")
    assert 12345.0 in (quantity for _, quantity in incident.ours)


@pytest.mark.proves("false-id")
async def test_false_final_id_is_repaired_on_the_same_connection(setup: Setup) -> None:
    """A diff whose final id is too high costs one resync, and later diffs are not taken for old ones."""
    setup.exchange.faults.frames.edit(DEPTH, lambda diff: {**diff, "u": diff["u"] + 10**6})
    await setup.until(lambda s: s.count(BookLost) == 1)
    await setup.until(lambda s: s.joins == 2 and s.is_live)

    assert setup.exchange.connections_opened == 1
    assert setup.wrong == []


@pytest.mark.proves("lost-trades")
async def test_lost_trades_are_fetched_by_id_and_delivered_in_order(setup: Setup) -> None:
    """Missing ids are fetched over REST before a later trade is delivered."""
    await setup.until(lambda s: s.count(Trade) >= 1)
    setup.exchange.faults.frames.drop(TRADES, 2)
    await setup.until(lambda s: any(isinstance(event, Trade) and event.is_repaired for event in s.events))
    ids = [event.trade_id for event in setup.events if isinstance(event, Trade)]

    assert ids == list(range(ids[0], ids[-1] + 1))
    assert setup.count(TradesHeld) == 1


@pytest.mark.proves("lost-trades")
async def test_trades_of_an_outage_are_fetched_after_it(setup: Setup) -> None:
    """Trades between two connections are missing like any others."""
    await setup.until(lambda s: s.count(Trade) >= 1)
    setup.exchange.faults.frames.mute(TRADES)
    newest = setup.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"]
    await setup.until(lambda s: s.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"] > newest)
    setup.exchange.cut()
    setup.exchange.faults.frames.unmute(TRADES)
    await setup.until(lambda s: any(isinstance(event, Trade) and event.is_repaired for event in s.events))
    ids = [event.trade_id for event in setup.events if isinstance(event, Trade)]

    assert ids == list(range(ids[0], ids[-1] + 1))


@pytest.mark.proves("cut")
async def test_cut_connection_is_reported_at_once_and_reopened(setup: Setup) -> None:
    """A reset is a FeedDown event; a new connection joins again."""
    setup.exchange.cut()
    await setup.until(lambda s: s.count(FeedDown) == 1)
    await setup.until(lambda s: s.count(FeedUp) == 2 and s.is_live)

    assert setup.wrong == []


@pytest.mark.proves("silent")
async def test_silence_with_pongs_is_found_by_the_age_of_data(setup: Setup) -> None:
    """Where all streams are mute while the connection lives, it is replaced."""
    await setup.until(lambda s: s.count(DepthDiff) >= 10)
    setup.exchange.faults.frames.mute("*")
    await setup.until(lambda s: s.count(FeedDown) == 1)
    setup.exchange.faults.frames.unmute()
    await setup.until(lambda s: s.count(FeedUp) >= 2 and s.is_live)

    down = next(event for event in setup.events if isinstance(event, FeedDown))
    assert "has sent nothing" in down.reason


@pytest.mark.proves("stream-silent")
async def test_silent_stream_is_subscribed_to_again_then_its_connection_replaced(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First on the same connection; where that does not help a second one takes over, and the book goes on.

    The trades that were missed are fetched, though the first connection never reached them.
    """
    monkeypatch.setattr(stream_remedy, "HELPS_WITHIN_S", 0.0)
    await setup.until(lambda s: s.count(Trade) >= 1)
    setup.exchange.faults.frames.mute(TRADES)
    newest = setup.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"]
    connection = next(iter(setup.exchange.connections))
    setup.stream.on_silent("trade")
    await setup.until(lambda _: list(connection.subscriptions.streams)[-1] == TRADES)
    assert setup.exchange.connections_opened == 1

    await setup.until(lambda s: s.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"] > newest + 1)
    setup.stream.on_silent("trade")
    await setup.until(lambda s: s.exchange.connections_opened == 2)
    setup.exchange.faults.frames.unmute(TRADES)
    await setup.until(lambda s: s.stream.rotations == 1)
    await setup.until(lambda s: any(isinstance(event, Trade) and event.is_repaired for event in s.events))
    ids = [event.trade_id for event in setup.events if isinstance(event, Trade)]

    assert ids == list(range(ids[0], ids[-1] + 1))
    assert (setup.count(FeedUp), setup.count(BookLost), setup.joins) == (1, 0, 1)
    assert setup.wrong == []


@pytest.mark.proves("stale-snapshot")
async def test_snapshot_older_than_the_stream_is_fetched_again() -> None:
    """A snapshot that lags is not joined; the diffs are kept until one joins."""

    def lagging(exchange: SimulatedExchange) -> None:
        exchange.faults.depth_lag_ms = 3000

    async with setup_of(prepare=lagging) as setup:
        await setup.until(lambda s: s.count(FeedUp) == 1)
        await setup.until(lambda s: s.is_live)
        await setup.until(lambda s: s.count(DepthDiff) >= 5)

        assert setup.wrong == []


async def test_requested_snapshot_is_compared_with_the_running_book(setup: Setup) -> None:
    """It is compared level by level, and so is the one of all levels that follows; the book stays live."""
    anchors = setup.count(BookAnchor)
    setup.stream.request_snapshot("test")
    await setup.until(lambda s: s.count(BookAnchor) == anchors + 2)

    assert setup.is_live
    assert setup.market.integrity.audit.compared > 1000
    assert setup.market.integrity.audit.differing == 0


@pytest.mark.proves("shutdown")
async def test_announced_shutdown_causes_no_gap(setup: Setup) -> None:
    """At `serverShutdown` a second connection takes over; the book is neither lost nor joined again."""
    setup.exchange.announce_shutdown()
    await setup.until(lambda s: s.stream.rotations == 1)
    setup.checked = 0
    await setup.until(lambda s: s.checked >= 10)

    assert setup.exchange.connections_opened == 2
    assert setup.count(FeedUp) == setup.joins == 1
    assert setup.wrong == []


@pytest.mark.proves("shutdown")
async def test_shutdown_announced_to_the_successor_causes_no_gap(setup: Setup) -> None:
    """A third connection takes over; the end of the first two is not noticed."""
    setup.exchange.announce_shutdown()
    await setup.until(lambda s: s.exchange.connections_opened == 2)
    setup.exchange.announce_shutdown()
    announced = tuple(setup.exchange.connections)
    await setup.until(lambda s: s.stream.rotations == 2)
    for connection in announced:
        connection.cut(FIN)
    setup.checked = 0
    await setup.until(lambda s: s.checked >= 10)

    assert setup.exchange.connections_opened == 3
    assert setup.count(FeedUp) == setup.joins == 1
    assert setup.wrong == []


async def test_refusal_is_reported_and_not_retried_soon() -> None:
    """HTTP 451 is one attempt, a readable reason, and a long wait."""

    def refusing(exchange: SimulatedExchange) -> None:
        exchange.faults.refuse_sockets = 451

    async with setup_of(prepare=refusing) as setup:
        await setup.until(lambda s: s.count(FeedDown) == 1)

        assert "does not serve this address or region (HTTP 451)" in setup.events[-1].reason
        assert setup.exchange.connections_opened == 0


@pytest.mark.proves("region")
def test_refused_stream_is_retried_after_minutes() -> None:
    """An exchange that refuses the region is asked once per REFUSED_WAIT_S, by all symbols together."""

    class RefusingTransport:
        """A transport whose handshakes are refused; `attempts_s` are the times of them."""

        def __init__(self) -> None:
            self.attempts_s: list[float] = []

        async def connect(self, url: str) -> Stream:
            """Refuse."""
            self.attempts_s.append(now_s())
            raise HandshakeRefused(451)

    async def scenario() -> list[float]:
        transport, refusals = RefusingTransport(), Refusals("")
        streams = [make(symbol, transport, refusals) for symbol in ("BTCUSDT", "ETHUSDT", "LINKUSDT")]
        tasks = [asyncio.create_task(stream.run()) for stream in streams]
        await at(2.5 * REFUSED_WAIT_S)
        for task in tasks:
            task.cancel()
        return transport.attempts_s

    def make(symbol: str, transport: RefusingTransport, refusals: Refusals) -> ExchangeStream:
        date = ExchangeClock(ScenarioClock())
        venue = venue_of("us")
        rest = cast(BinanceRest, SimpleNamespace(venue=venue, exchange_clock=date, weight=lambda: (0, 600)))
        return ExchangeStream(
            symbol, cast(Transport, transport), rest, make_inbox(), ScenarioClock(), random.Random(1),
            retry_gate=RetryGate(RECONNECT_SPACING_S), refusals=refusals, held=HeldBudget(),
            schedule=make_schedule(rest), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip

    assert run(scenario()) == [0.0, REFUSED_WAIT_S, 2 * REFUSED_WAIT_S]


async def test_refusal_is_raised_where_another_venue_is_configured() -> None:
    """With a fallback `run` raises ExchangeRefused."""
    async with SimulatedExchange([SYMBOL]) as exchange, aiohttp.ClientSession() as session:
        exchange.faults.refuse_sockets = 451
        setup = Setup(exchange, session, may_fall_back=True)

        with pytest.raises(ExchangeRefused):
            await setup.stream.run()


async def test_one_403_of_a_handshake_is_not_a_refusal_of_the_region() -> None:
    """It is reported and waited for, also where another venue is configured."""

    def forbidding(exchange: SimulatedExchange) -> None:
        exchange.faults.refuse_sockets = 403

    async with setup_of(may_fall_back=True, prepare=forbidding) as setup:
        await setup.until(lambda s: s.count(FeedDown) == 1)

        assert setup.events[-1] == FeedDown("Binance.US refuses this request for now (HTTP 403)")


@pytest.mark.proves("ban")
async def test_no_call_is_made_before_retry_after() -> None:
    """After a 429 the next snapshot is fetched when Retry-After has passed."""

    def busy(exchange: SimulatedExchange) -> None:
        exchange.faults.rest.answer("/api/v3/depth", 429, retry_after_s=1, count=1)

    async with setup_of(prepare=busy) as setup:
        await setup.until(lambda s: s.count(BookLost) == 1)
        refused_ms = setup.clock.now_ms()
        await setup.until(lambda s: s.is_live)

        assert setup.clock.now_ms() - refused_ms >= 900


class ScriptedStream:
    """A stream whose messages the test puts into a queue; None ends it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive(self) -> str:
        """Return the next message."""
        raw = await self.messages.get()
        if raw is None:
            raise ConnectionEnded("the stream has ended")
        return raw.decode()

    async def close(self) -> None:
        """Close, which needs nothing."""


class ScriptedExchange:
    """A transport that opens these streams in turn, and a REST client whose calls are never answered."""

    def __init__(self, *streams: ScriptedStream) -> None:
        self.venue = venue_of("us")
        self.exchange_clock = ExchangeClock(ScenarioClock(FRAMES_MS))
        self.exchange_clock.note(FRAMES_MS, 1.0, 0.0, 0.0)
        self._streams = list(streams)

    async def connect(self, url: str) -> ScriptedStream:
        """Open the next stream."""
        return self._streams.pop(0)

    def weight(self) -> tuple[int, int]:
        """Return that nothing of the budget is used."""
        return 0, 600

    async def depth(self, symbol: str, limit: int, *, is_widening: bool) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


def test_end_of_a_stream_after_its_successor_took_over_is_ignored() -> None:
    """It may be noticed while the successor's frame already waits for its turn, as where the inbox was full."""

    async def scenario() -> tuple[int, list[object]]:
        first, second = ScriptedStream(), ScriptedStream()
        exchange = cast(Any, ScriptedExchange(first, second))
        inbox: Inbox = asyncio.Queue(1)
        stream = ExchangeStream(
            SYMBOL, exchange, exchange, inbox, ScenarioClock(FRAMES_MS), random.Random(1),
            retry_gate=RetryGate(1.0), refusals=Refusals(""), held=HeldBudget(),
            schedule=make_schedule(exchange, depth_limit=100), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip
        task = asyncio.create_task(stream.run())
        await at(0.1)
        events = [inbox.get_nowait().event]
        first.messages.put_nowait(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}')
        await at(OVERLAP_S + 1)
        first.messages.put_nowait(frames.TICKER)
        first.messages.put_nowait(frames.TICKER)  # blocks: the first one fills the inbox
        await at(OVERLAP_S + 2)
        second.messages.put_nowait(frames.DEPTH)  # would take over, and waits for the first stream's ticker
        first.messages.put_nowait(None)
        await at(OVERLAP_S + 3)
        while not inbox.empty():
            events.append(inbox.get_nowait().event)
            await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        return stream.rotations, [type(event) for event in events]

    assert run(scenario()) == (1, [FeedUp, BookTicker, BookTicker])


@pytest.mark.parametrize(
    ("error_s", "dated_s"), [(300.0, None), (-300.0, None), (9e7, 1.0), (-9e7, 1.0)], ids=str
)  # fmt: skip
def test_first_frames_are_true_where_the_machines_clock_is_wrong(error_s: float, dated_s: float | None) -> None:
    """By minutes, also if the exchange answers nothing; by years, they wait until an answer has shown its date."""

    async def scenario() -> list[type]:
        first, clock = ScriptedStream(), ScenarioClock(FRAMES_MS + int(error_s * 1000))
        exchange, inbox = ScriptedExchange(first), make_inbox()
        exchange.exchange_clock = ExchangeClock(clock)
        stream = ExchangeStream(
            SYMBOL, cast(Any, exchange), cast(Any, exchange), inbox, clock, random.Random(1),
            retry_gate=RetryGate(1.0), refusals=Refusals(""), held=HeldBudget(),
            schedule=make_schedule(cast(Any, exchange), depth_limit=100), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip
        for raw in (frames.TRADE, frames.TICKER):
            first.messages.put_nowait(raw)
        if dated_s is not None:
            asyncio.get_running_loop().call_later(
                dated_s, exchange.exchange_clock.note, FRAMES_MS + 1_000, 1.0, 1_000.0, 1_000.0
            )
        task = asyncio.create_task(stream.run())
        await at(DATE_WAIT_S + 0.1)
        task.cancel()
        await asyncio.wait([task])
        return [type(inbox.get_nowait().event) for _ in range(inbox.qsize())]

    assert run(scenario()) == [FeedUp, Trade, BookTicker]


def test_memory_of_all_symbols_bounds_what_a_second_connection_holds() -> None:
    """At the bound it takes over, though nothing shows yet that its ids overlap the first one's; no frame is lost."""

    async def scenario() -> tuple[int, int, list[int]]:
        first, second = ScriptedStream(), ScriptedStream()
        exchange, inbox = cast(Any, ScriptedExchange(first, second)), make_inbox()
        held = HeldBudget(bytes_max=4 * FRAME_BYTES)
        stream = ExchangeStream(
            SYMBOL, exchange, exchange, inbox, ScenarioClock(FRAMES_MS), random.Random(1),
            retry_gate=RetryGate(1.0), refusals=Refusals(""), held=held,
            schedule=make_schedule(exchange, depth_limit=100), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip
        task = asyncio.create_task(stream.run())
        await at(0.1)
        first.messages.put_nowait(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}')
        await at(0.5)
        tickers = [frames.changed(frames.TICKER, "u", number) for number in range(1, 7)]
        for raw in tickers[:4]:
            second.messages.put_nowait(raw)
        await at(0.6)
        most = held.held_bytes
        for raw in tickers[4:]:
            second.messages.put_nowait(raw)
        await at(0.7)
        task.cancel()
        await asyncio.wait([task])
        events = [inbox.get_nowait().event for _ in range(inbox.qsize())]
        return most, stream.rotations, [event.update_id for event in events if isinstance(event, BookTicker)]

    assert run(scenario()) == (4 * FRAME_BYTES, 1, [1, 2, 3, 4, 5, 6])


class FlakyExchange(ScriptedExchange):
    """One whose connections are refused where the script has an error in place of a stream."""

    def __init__(self, *script: ScriptedStream | ExchangeError) -> None:
        super().__init__()
        self._script = list(script)
        self.connects_s: list[float] = []

    async def connect(self, url: str) -> ScriptedStream:
        """Open the next stream or raise the next error; wait for ever at the end of the script."""
        self.connects_s.append(now_s())
        if not self._script:
            await asyncio.Event().wait()
        step = self._script.pop(0)
        if isinstance(step, ExchangeError):
            raise step
        return step


def play_script(exchange: FlakyExchange, acts: Sequence[tuple[float, Callable[[], None]]]) -> None:
    """Run a stream of a symbol that does not trade, whose silence is no fault, and act at these times."""

    async def scenario() -> None:
        flaky = cast(Any, exchange)
        stream = ExchangeStream(
            SYMBOL, flaky, flaky, make_inbox(), ScenarioClock(FRAMES_MS), random.Random(1),
            retry_gate=RetryGate(1.0), refusals=Refusals(""), held=HeldBudget(),
            schedule=make_schedule(flaky, depth_limit=100), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip
        stream.set_trading(False)
        task = asyncio.create_task(stream.run())
        for time_s, act in acts:
            await at(time_s)
            act()
        task.cancel()
        await asyncio.wait([task])

    run(scenario())


def test_rotation_waits_as_long_as_the_exchange_says(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once while the reason is the same, and the old connection goes on meanwhile."""
    first = ScriptedStream()
    busy = [ExchangeBusy("busy", 40.0), ExchangeBusy("busy", 60.0)]
    exchange = FlakyExchange(first, *busy)
    shutdown = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}'
    with caplog.at_level(logging.DEBUG):
        play_script(exchange, [(1.0, lambda: first.messages.put_nowait(shutdown)), (150.0, lambda: None)])

    assert exchange.connects_s == [0.0, 1.0, 41.0, 101.0]
    levels = [record.levelname for record in caplog.records if "rotation failed" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG"]


def test_feed_down_is_a_warning_again_after_a_connection_that_lasted(caplog: pytest.LogCaptureFixture) -> None:
    """While connections end at once, for the same reason, only the first is."""
    streams = [ScriptedStream() for _ in range(4)]
    ends_s = (1.0, 10.0, 60.0, 70.0)
    acts = [
        (at_s, lambda stream=stream: stream.messages.put_nowait(None))
        for at_s, stream in zip(ends_s, streams, strict=True)
    ]
    with caplog.at_level(logging.DEBUG):
        play_script(FlakyExchange(*streams), [*acts, (75.0, lambda: None)])

    levels = [record.levelname for record in caplog.records if "feed down" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG", "WARNING", "DEBUG"]
