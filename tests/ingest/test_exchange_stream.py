"""The feed against a real exchange on loopback: it joins, survives and recovers, and what it delivers is the truth."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pulse.binance.rate_limit import BanFile
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.errors import ExchangeRefused
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.types import BookLost, DepthDiff, FeedDown, FeedUp, State, Trade, TradesHeld
from pulse.queues import make_inbox
from pulse.simulator.server import SimulatedExchange

SYMBOL = "BTCUSDT"
DEPTH = "btcusdt@depth@100ms"
TRADES = "btcusdt@aggTrade"
WAIT_S = 15.0


class Stand:
    """A feed, the market it fills, and the exchange it is fed by."""

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
        self.rest = BinanceRest(transport, venue, self.clock, BanFile(None), lambda _: True)
        self.feed = ExchangeStream(
            SYMBOL, transport, self.rest, self.inbox, self.clock, random.Random(1),
            comeback=RetryGate(RECONNECT_SPACING_S),
            depth_limit=1000, stale_after_ms=400, may_fall_back=may_fall_back, audit_every_s=600.0,
        )  # fmt: skip

    async def until(self, condition: Callable[["Stand"], bool]) -> None:
        """Take events, checking the book against the truth at each one, until the condition holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                received = await self.inbox.get()
                self.market.apply(received.event, received.received_ms)
                self.events.append(received.event)
                if wish := self.market.integrity.pop_resync_request():
                    self.feed.ask_snapshot(wish)
                if isinstance(received.event, DepthDiff | BookAnchor):
                    self._check(received.received_ms)

    def count(self, kind: type) -> int:
        """How many events of a kind were taken."""
        return sum(isinstance(event, kind) for event in self.events)

    @property
    def is_live(self) -> bool:
        """Whether the market calls its book live."""
        return self.market.state(self.clock.now_ms())[0] is State.LIVE

    def _check(self, now_ms: float) -> None:
        book = self.market.book
        if book is None or self.market.state(now_ms)[0] is not State.LIVE:
            return
        truth = self.exchange.core.book_at(SYMBOL, book.last_update_id)
        if truth is None:
            return
        self.checked += 1
        shown = (book.bids.top(20), book.asks.top(20))
        if shown != tuple([(float(p), float(q)) for p, q in side] for side in (truth.bids, truth.asks)):
            self.wrong.append(book.last_update_id)


@asynccontextmanager
async def stand_of(may_fall_back: bool = False, prepare: Callable[[SimulatedExchange], Any] | None = None) -> Any:
    """A running stand; `prepare` sets the exchange's faults before the feed starts."""
    async with SimulatedExchange([SYMBOL], seed=7) as exchange, aiohttp.ClientSession() as session:
        if prepare is not None:
            prepare(exchange)
        stand = Stand(exchange, session, may_fall_back)
        task = asyncio.create_task(stand.feed.run())
        try:
            yield stand
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """A feed on an exchange without faults, live."""
    async with stand_of() as running:
        await running.until(lambda s: s.is_live)
        yield running


async def test_book_equals_the_exchange_at_every_diff(stand: Stand) -> None:
    """Joined to a live stream, the top 20 are the exchange's after each diff."""
    await stand.until(lambda s: s.count(DepthDiff) >= 15)

    assert stand.checked >= 15
    assert stand.wrong == []


async def test_lost_diff_is_repaired_on_the_same_connection(stand: Stand) -> None:
    """A gap makes the book untrusted and a new snapshot joins, without a new socket."""
    stand.exchange.faults.frames.drop(DEPTH)
    await stand.until(lambda s: s.count(BookLost) == 1)
    is_live_after_gap = stand.is_live
    await stand.until(lambda s: s.is_live)
    await stand.until(lambda s: s.count(BookAnchor) == 2)

    assert not is_live_after_gap
    assert stand.exchange.connections_opened == 1
    assert stand.wrong == []


async def test_malformed_diff_is_repaired_like_a_lost_one(stand: Stand) -> None:
    """A frame that is not JSON costs one resync and nothing else."""
    stand.exchange.faults.frames.edit(DEPTH, lambda _: "{broken")
    await stand.until(lambda s: s.count(BookAnchor) == 2 and s.is_live)

    assert stand.exchange.connections_opened == 1
    assert stand.wrong == []


async def test_corrupted_quantity_is_found_by_a_witness(stand: Stand) -> None:
    """A best level that differs from the exchange's is noticed, whichever witness speaks first, and joined anew."""

    def with_wrong_best_bid(diff: dict[str, Any]) -> dict[str, Any]:
        truth = stand.exchange.core.book_at(SYMBOL, diff["u"])
        assert truth is not None
        return {**diff, "b": [*diff["b"], [truth.bids[0][0], "12345.00000000"]]}

    stand.exchange.faults.frames.edit(DEPTH, with_wrong_best_bid)
    await stand.until(lambda s: s.market.integrity.resyncs == 1)
    await stand.until(lambda s: s.is_live)

    incident = stand.market.integrity.incidents[0]
    assert incident.cause in ("touch", "top")
    assert 12345.0 in (quantity for _, quantity in incident.ours)


async def test_false_final_id_is_repaired_on_the_same_connection(stand: Stand) -> None:
    """A diff that claims to reach further than it does costs one resync, not the book's future."""
    stand.exchange.faults.frames.edit(DEPTH, lambda diff: {**diff, "u": diff["u"] + 10**6})
    await stand.until(lambda s: s.count(BookLost) == 1)
    await stand.until(lambda s: s.count(BookAnchor) == 2 and s.is_live)

    assert stand.exchange.connections_opened == 1
    assert stand.wrong == []


async def test_lost_trades_are_fetched_by_id_and_come_in_order(stand: Stand) -> None:
    """A jump in the ids is filled over REST before anything later goes on."""
    await stand.until(lambda s: s.count(Trade) >= 1)
    stand.exchange.faults.frames.drop(TRADES, 2)
    await stand.until(lambda s: any(isinstance(event, Trade) and event.is_repaired for event in s.events))
    ids = [event.trade_id for event in stand.events if isinstance(event, Trade)]

    assert ids == list(range(ids[0], ids[-1] + 1))
    assert stand.count(TradesHeld) == 1


async def test_trades_of_an_outage_are_fetched_after_it(stand: Stand) -> None:
    """What was traded between two connections is a hole, and filled."""
    await stand.until(lambda s: s.count(Trade) >= 1)
    stand.exchange.faults.frames.mute(TRADES)
    newest = stand.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"]
    await stand.until(lambda s: s.exchange.core.agg_trades(SYMBOL, limit=1)[0]["a"] > newest)
    stand.exchange.cut()
    stand.exchange.faults.frames.unmute(TRADES)
    await stand.until(lambda s: any(isinstance(event, Trade) and event.is_repaired for event in s.events))
    ids = [event.trade_id for event in stand.events if isinstance(event, Trade)]

    assert ids == list(range(ids[0], ids[-1] + 1))


async def test_cut_connection_is_told_at_once_and_reopened(stand: Stand) -> None:
    """A reset is a FeedDown; a new connection joins again."""
    stand.exchange.cut()
    await stand.until(lambda s: s.count(FeedDown) == 1)
    await stand.until(lambda s: s.count(FeedUp) == 2 and s.is_live)

    assert stand.wrong == []


async def test_silence_with_pongs_is_noticed_by_the_age_of_data(stand: Stand) -> None:
    """All streams mute while the socket lives: the feed reconnects."""
    await stand.until(lambda s: s.count(DepthDiff) >= 10)
    stand.exchange.faults.frames.mute("*")
    await stand.until(lambda s: s.count(FeedDown) == 1)
    stand.exchange.faults.frames.unmute()
    await stand.until(lambda s: s.count(FeedUp) >= 2 and s.is_live)

    down = next(event for event in stand.events if isinstance(event, FeedDown))
    assert "silent" in down.reason


async def test_snapshot_older_than_the_stream_is_asked_for_again() -> None:
    """A REST answer that lags is never joined wrongly; the diffs are kept until one joins."""

    def lagging(exchange: SimulatedExchange) -> None:
        exchange.faults.depth_lag_ms = 3000

    async with stand_of(prepare=lagging) as stand:
        await stand.until(lambda s: s.count(FeedUp) == 1)
        await stand.until(lambda s: s.is_live)
        await stand.until(lambda s: s.count(DepthDiff) >= 5)

        assert stand.wrong == []


async def test_engine_may_ask_for_a_second_book_beside_the_first(stand: Stand) -> None:
    """An asked-for snapshot is compared with the running book level by level, and nothing is lost."""
    stand.feed.ask_snapshot("test")
    await stand.until(lambda s: s.count(BookAnchor) == 2)

    assert stand.is_live
    assert stand.market.integrity.audit.compared > 1000
    assert stand.market.integrity.audit.differing == 0


async def test_announced_shutdown_is_survived_without_a_gap(stand: Stand) -> None:
    """At `serverShutdown` a second connection takes over; the book is neither lost nor joined anew."""
    stand.exchange.announce_shutdown()
    await stand.until(lambda s: s.feed.rotations == 1)
    stand.checked = 0
    await stand.until(lambda s: s.checked >= 10)

    assert stand.exchange.connections_opened == 2
    assert stand.count(FeedUp) == stand.count(BookAnchor) == 1
    assert stand.wrong == []


async def test_refusal_is_said_in_words_and_not_stormed() -> None:
    """HTTP 451 is one attempt, a reason for a person, and a long wait."""

    def refusing(exchange: SimulatedExchange) -> None:
        exchange.faults.refuse_sockets = 451

    async with stand_of(prepare=refusing) as stand:
        await stand.until(lambda s: s.count(FeedDown) == 1)

        assert "does not serve this address or region (HTTP 451)" in stand.events[-1].reason
        assert stand.exchange.connections_opened == 0


async def test_refusal_ends_the_feed_where_another_venue_is_configured() -> None:
    """With a fallback the refusal reaches whoever can switch."""
    async with SimulatedExchange([SYMBOL]) as exchange, aiohttp.ClientSession() as session:
        exchange.faults.refuse_sockets = 403
        stand = Stand(exchange, session, may_fall_back=True)

        with pytest.raises(ExchangeRefused):
            await stand.feed.run()


async def test_busy_exchange_is_left_alone_until_it_says() -> None:
    """After a 429 no REST call is made before Retry-After has passed."""

    def busy(exchange: SimulatedExchange) -> None:
        exchange.faults.rest.answer("/api/v3/depth", 429, retry_after_s=1, count=1)

    async with stand_of(prepare=busy) as stand:
        await stand.until(lambda s: s.count(BookLost) == 1)
        refused_ms = stand.clock.now_ms()
        await stand.until(lambda s: s.is_live)

        assert stand.clock.now_ms() - refused_ms >= 900
