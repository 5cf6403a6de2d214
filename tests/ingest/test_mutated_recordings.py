"""A recorded session whose frames are changed at random, through the real ingest, engine and wire in virtual time.

Nothing raises or is logged as an error, no memory is kept, and no wrong book stays live past the exchange's next true
account of it: a bookTicker for the best levels, a partial depth for the best twenty.
"""

import asyncio
import gc
import logging
import math
import os
import random
import sys
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import count, pairwise

import orjson
import pytest

from pulse.binance.messages import Frame, parse
from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.refusals import Refusals
from pulse.binance.rest import BinanceRest
from pulse.binance.venues import venue_of
from pulse.concurrency import RetryGate
from pulse.engine import Engine
from pulse.ingest.exchange_stream import RECONNECT_SPACING_S, ExchangeStream
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.live import LiveIngest
from pulse.latency import Latency
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.order_book import OrderBook
from pulse.market.types import BookTicker, DepthDiff, FeedUp, PartialDepth, Quarantined, State
from pulse.market.view import View
from pulse.queues import (
    ConflatingQueue,
    Outbox,
    SilentStreams,
    SnapshotRequests,
    make_candle_queue,
    make_gap_queue,
    make_inbox,
)
from pulse.wire import encode_view
from tests.support.mutations import mutated
from tests.support.recorded_exchange import SYMBOL, TOP_LEVELS, RecordedExchange, Sent, Session, Top, load_session
from tests.support.rest import make_schedule
from tests.support.virtual_time import ScenarioClock, run

COUNT = int(os.environ.get("PULSE_TEST_MUTATED_FRAMES", "4000"))
LINES = 10_000
"""About ninety seconds of the session: all five streams, and the end of a minute."""
SHARE = 0.2
"""Of the frames that are changed; in between the book can be live again."""
DIFFS, DIFF_WEIGHT = "@depth@100ms", 2.5
"""Diffs are a twelfth of the frames, and what most of the checks are about."""
RARE_SHARE, RARE_SEEDS = 0.02, range(1, 6)
"""Few frames, so that what a single one falsifies is live for as long as nothing contradicts it."""
BLOCKS_MAX = 10_000
"""Blocks of memory, of any size, that may be kept beyond those after the first session: less than one per frame."""
DEPTH_LIMIT = 1000


@dataclass
class Result:
    """What one session showed."""

    frames: int = 0
    mutated: int = 0
    live: int = 0  # true accounts that a live book was compared with
    wrong: list[str] = field(default_factory=list)
    views: int = 0
    connections: int = 0
    logged: Counter[str] = field(default_factory=Counter)  # by message
    errors: list[str] = field(default_factory=list)
    quarantined: int = 0


class Log(logging.Handler):
    """Counts log records by message; keeps the errors, and any record with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[str] = Counter()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        self.messages[record.msg] += 1
        if record.levelno >= logging.ERROR or record.exc_info:
            self.errors.append(self.format(record))


class Accounts:
    """The exchange's true accounts of its book: tickers and partial depths."""

    def __init__(self, session: Session) -> None:
        messages = (parse(sent.text) for sent in session.frames)
        events = [message.event for message in messages if isinstance(message, Frame)]
        self._partials = {event.last_update_id: event for event in events if isinstance(event, PartialDepth)}
        self._tickers = {event.update_id: event for event in events if isinstance(event, BookTicker)}
        self._ticker_ids = sorted(self._tickers)

    def __contains__(self, event: BookTicker | PartialDepth) -> bool:
        if isinstance(event, BookTicker):
            return self._tickers.get(event.update_id) == event
        return self._partials.get(event.last_update_id) == event

    def ticker_at(self, update_id: int) -> int:
        """Return the id of the newest ticker at or below an id."""
        return self._ticker_ids[bisect_right(self._ticker_ids, update_id) - 1]


class ComparedMarket(Market):
    """A market that is compared with the truth after each true account of the exchange."""

    session: Session
    accounts: Accounts
    result: Result
    delivered: set[int]
    """The ids of the true tickers that it was given since one was refused or came out of order."""
    is_doubtful = False
    """Whether there was no diff since then: tickers around a false one are no evidence, so the next diff is checked."""
    newest_id = 0
    """Of the tickers, true or not."""

    def apply(self, event: object, now_ms: float) -> None:
        """Apply an event; then compare."""
        super().apply(event, now_ms)
        self._note(event)
        if not isinstance(event, BookTicker | PartialDepth) or event not in self.accounts:
            return
        if isinstance(event, BookTicker):
            self.delivered.add(event.update_id)
        if self.book is None or self.state(now_ms)[0] is not State.LIVE:
            return
        book_id = self.book.last_update_id
        if not self._is_about(event, book_id):
            return
        self.result.live += 1
        levels = 1 if isinstance(event, BookTicker) else TOP_LEVELS
        if not any(is_equal(self.book, top, levels) for top in self.session.tops_at(book_id)):
            self.result.wrong.append(f"after {event}: book {book_id}")

    def _note(self, event: object) -> None:
        is_refused = isinstance(event, Quarantined) and event.kind == "bookTicker"
        is_out_of_order = isinstance(event, BookTicker) and event.update_id < self.newest_id
        if is_refused or is_out_of_order or isinstance(event, FeedUp):
            self.delivered.clear()
            self.is_doubtful = True
        if isinstance(event, BookTicker):
            self.newest_id = event.update_id
        elif isinstance(event, DepthDiff | BookAnchor):
            self.is_doubtful = False

    def _is_about(self, event: BookTicker | PartialDepth, book_id: int) -> bool:
        """Return whether an account shows what is true at this id.

        A ticker shows that the one before it is the newest at or below the book's id, if that one was delivered.
        """
        if isinstance(event, PartialDepth):
            return event.last_update_id == book_id
        is_known = not self.is_doubtful and self.accounts.ticker_at(book_id) in self.delivered
        return is_known and event.update_id >= book_id


def is_equal(book: OrderBook, top: Top, levels: int) -> bool:
    """Return whether the best levels are the true ones; a book made of a small snapshot knows, and shows, fewer."""
    return all(
        ours.top(levels) == [level for level in theirs[:levels] if ours.is_known(level[0])]
        for ours, theirs in ((book.bids, top.bids), (book.asks, top.asks))
    )


@cache
def accounts_of(lines: int) -> Accounts:
    """Return the true accounts of the session's first lines."""
    return Accounts(load_session(lines))


def check_view(view: View) -> None:
    """Fail if a view is not one that a client could read: JSON, finite, its sides sorted and not crossed."""
    body = orjson.loads(encode_view(view))
    bids, asks = body["bids"], body["asks"]
    prices = [price for price, _ in reversed(bids)] + [price for price, _ in asks]
    if body["state"] == "live":
        assert all(low < high for low, high in pairwise(prices)), prices
    assert all(0 < price < math.inf and 0 < quantity < math.inf for price, quantity in bids + asks)
    ids = [trade["id"] for trade in body["trades"]]
    assert ids == sorted(ids, reverse=True)  # two trades may have one id
    assert all(math.isfinite(value) for value in body["metrics"].values() if isinstance(value, float))


class Player:
    """Plays the session with this share of its frames mutated, to the real streams, engine and wire."""

    def __init__(self, lines: int, seed: int, share: float) -> None:
        self.result = Result()
        self._lines = lines
        self._session = load_session(lines)
        self._rng = random.Random(seed)
        self._share = share
        self._exchange = RecordedExchange(self._session, self._send)
        self._clock = ScenarioClock(self._session.begin_ms)
        self._inbox, self._candles, self._gaps = make_inbox(), make_candle_queue(), make_gap_queue()
        self._outbox: Outbox = ConflatingQueue()
        snapshot_requests: SnapshotRequests = ConflatingQueue()
        silent_streams: SilentStreams = ConflatingQueue()
        self._rest = BinanceRest(
            self._exchange, venue_of("us"), self._clock, BanFile(None), lambda _: Priority.PINNED_BOOK
        )
        self._ingest = LiveIngest(self._make_stream, self._inbox, snapshot_requests, silent_streams, self._clock)
        self._engine = Engine(
            self._make_market, self._inbox, self._outbox, self._candles, snapshot_requests, silent_streams, self._gaps,
            self._clock, Latency("00"), publish_interval_s=0.1,
        )  # fmt: skip
        self._engine.open(SYMBOL)
        self._ingest.open(SYMBOL)

    async def run(self) -> None:
        """Play to the end. Raises what ends a task of the program."""
        works = (self._engine.run(), self._ingest.run(), self._take_views(), self._take_rest())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            length_s = self._session.frames[-1].at_ms / 1000 + 1.0
            done, _ = await asyncio.wait(tasks, timeout=length_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            certificate = self._engine.certificates()[SYMBOL]
            self.result.connections = self._exchange.connections
            self.result.quarantined = sum(entry.count for entry in certificate.quarantined)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _send(self, sent: Sent) -> list[str]:
        self.result.frames += 1
        if self._rng.random() >= self._share * (DIFF_WEIGHT if DIFFS in sent.text else 1):
            return [sent.text]
        self.result.mutated += 1
        return mutated(self._rng, sent.text)

    def _make_market(self, symbol: str) -> Market:
        origin = Origin("00", "exchange", "us")
        market = ComparedMarket(symbol, origin, levels_max=2000, trades_kept=30, stale_after_ms=5000)
        market.session, market.accounts, market.result = self._session, accounts_of(self._lines), self.result
        market.delivered = set()
        return market

    def _make_stream(self, symbol: str) -> ExchangeStream:
        return ExchangeStream(
            symbol, self._exchange, self._rest, self._inbox, self._clock, random.Random(1),
            retry_gate=RetryGate(RECONNECT_SPACING_S), refusals=Refusals("the recording"), held=HeldBudget(),
            schedule=make_schedule(self._rest, depth_limit=DEPTH_LIMIT), stale_after_ms=5000, may_fall_back=False,
        )  # fmt: skip

    async def _take_views(self) -> None:
        while True:
            _, view = await self._outbox.get()
            if isinstance(view, View):
                self.result.views += 1
                check_view(view)

    async def _take_rest(self) -> None:
        """Take what else the engine makes, and ask for what the API shows."""
        while True:
            await asyncio.sleep(1.0)
            orjson.dumps(self._engine.certificates())
            for queue in (self._candles, self._gaps):
                while not queue.empty():
                    queue.get_nowait()


def played(lines: int, seed: int, share: float) -> Result:
    """Play a session in virtual time, and watch the log and the loop."""
    root = logging.getLogger("pulse")
    before, root.propagate = root.level, False

    async def watched() -> Result:
        errors: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(str(context)))
        player = Player(lines, seed, share)
        await player.run()
        player.result.errors += errors
        return player.result

    log = Log()
    root.addHandler(log)
    root.setLevel(logging.INFO)
    try:
        result = run(watched())
    finally:
        root.removeHandler(log)
        root.setLevel(before)
        root.propagate = True
    result.logged, result.errors = log.messages, result.errors + log.errors
    return result


def test_unchanged_session_is_live_and_correct() -> None:
    """Without a mutation the whole session is live and nothing is quarantined, so the tests below can fail."""
    result = played(LINES, 1, share=0.0)

    assert result.live > LINES / 2
    assert (result.wrong, result.errors) == ([], [])
    assert (result.mutated, result.quarantined, result.connections) == (0, 0, 1)
    assert result.logged.total() < 10


@pytest.mark.proves("mutated-frame")
@pytest.mark.parametrize("seed", RARE_SEEDS)
def test_few_mutated_frames_are_found_too(seed: int) -> None:
    """Nothing hides a falsified level behind a connection that ends or a book that is loaded again."""
    result = played(LINES, seed, RARE_SHARE)

    assert (result.errors, result.wrong) == ([], [])
    assert result.mutated > 0
    assert result.live > LINES / 4


@pytest.mark.proves("mutated-frame")
def test_mutated_sessions_raise_nothing_and_are_never_wrong() -> None:
    """COUNT mutated frames, the same in each run: no error, no wrong book past a true account, no memory kept."""
    played(LINES, 0, SHARE)  # what is made once is made by now
    totals, blocks = Result(), []
    for seed in count(1):
        result = played(LINES, seed, SHARE)
        assert (seed, result.errors, result.wrong) == (seed, [], [])
        totals.mutated += result.mutated
        totals.live += result.live
        totals.quarantined += result.quarantined
        totals.views += result.views
        del result
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        if totals.mutated >= COUNT:
            break

    assert totals.live > totals.mutated / 10  # it was live in between
    assert totals.quarantined > 0
    assert max(blocks) - blocks[0] < BLOCKS_MAX
