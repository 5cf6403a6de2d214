"""Recorded frames with bytes changed: nothing crashes the feed, and no wrong book outlives the next evidence."""

import asyncio
import gzip
import random
import string
from bisect import bisect_right
from functools import cache
from itertools import islice

import pytest

from pulse.binance.messages import Frame, load_object, parse, parse_snapshot
from pulse.clock import ReplayClock
from pulse.errors import MalformedFrame
from pulse.ingest.sequencer import Sequencer
from pulse.market.market import Market, Origin
from pulse.market.types import BookTicker, FeedUp, State
from pulse.queues import make_inbox
from tests.support.recordings import recording

LINES = 1200
"""About twenty seconds of the session, its snapshot at the eighth line."""
MUTATIONS = 6
LETTERS = string.digits + string.digits + '.-"[]{},:eEuUbaNn_ '


@cache
def lines() -> tuple[tuple[float, str], ...]:
    """The session's first lines: receive time in ms, and the raw frame."""
    with gzip.open(recording("btcusdt-2024-08-08") / "btcusdt_20240808.gz", "rt") as file:
        return tuple((int(row[:19]) / 1e6, row[20:].rstrip("\n")) for row in islice(file, LINES))


@cache
def tickers() -> tuple[BookTicker, ...]:
    """What the exchange truly said of its best levels."""
    frames = [parse(raw) for _, raw in lines() if "bookTicker" in raw]
    return tuple(f.event for f in frames if isinstance(f, Frame) and isinstance(f.event, BookTicker))


def is_true(market: Market) -> bool:
    """Whether the book's best levels are the exchange's at its id."""
    book = market.book
    assert book is not None
    ids = [ticker.update_id for ticker in tickers()]
    theirs = tickers()[bisect_right(ids, book.last_update_id) - 1]
    ours = (book.bids.best(), book.asks.best())
    return ours == ((theirs.bid_price, theirs.bid_quantity), (theirs.ask_price, theirs.ask_quantity))


def mutated(rng: random.Random) -> list[tuple[float, str]]:
    """The session with a few bytes changed, mostly to digits, behind its snapshot."""
    changed = list(lines())
    for _ in range(MUTATIONS):
        index = rng.randrange(8, LINES)
        received_ms, raw = changed[index]
        at = rng.randrange(len(raw))
        changed[index] = (received_ms, raw[:at] + rng.choice(LETTERS) + raw[at + 1 :])
    return changed


async def play(session: list[tuple[float, str]]) -> tuple[int, list[int]]:
    """Let a market have the session; gives live moments, and ids that were wrong after evidence against them."""
    inbox, clock = make_inbox(), ReplayClock()
    market = Market("BTCUSDT", Origin("00", "replay", "com"), levels_max=20_000, trades_kept=1, stale_after_ms=5000)
    intake = Sequencer("BTCUSDT", inbox, clock, may_repair=False)
    await intake.put(FeedUp())
    live, wrong = 0, []
    for received_ms, raw in session:
        clock.advance(received_ms)
        ticker_id = 0
        try:
            if '"stream"' not in raw[:12]:
                await intake.snapshot(parse_snapshot(load_object(raw), 0))
            elif isinstance(frame := parse(raw), Frame) and frame.symbol == "BTCUSDT":
                ticker_id = frame.event.update_id if isinstance(frame.event, BookTicker) else 0
                await intake.frame(frame)
        except MalformedFrame:
            continue
        while not inbox.empty():
            received = inbox.get_nowait()
            market.apply(received.event, received.received_ms)
        if market.state(received_ms)[0] is State.LIVE and market.book is not None:
            live += 1
            # A ticker at or beyond the book's id is the evidence; it must have been acted upon.
            if ticker_id >= market.book.last_update_id and not is_true(market):
                wrong.append(market.book.last_update_id)
    return live, wrong


def test_the_session_itself_is_live_and_right() -> None:
    """Without a mutation there is nothing to find: the tests below can fail."""
    live, wrong = asyncio.run(play(list(lines())))

    assert live > LINES - 50
    assert wrong == []


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_session_never_stays_wrongly_live(seed: int) -> None:
    """Whatever bytes change, the book is right, or not called live once a ticker has spoken."""
    live, wrong = asyncio.run(play(mutated(random.Random(seed))))

    assert live > 0
    assert wrong == []
