"""Recorded frames with changed bytes: nothing raises, and no wrong book stays live after the next bookTicker."""

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
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.market.market import Market, Origin
from pulse.market.types import BookTicker, FeedUp, State
from pulse.queues import make_inbox
from tests.support.recordings import recording

LINES = 1200
"""About twenty seconds of the session, its snapshot at the eighth line."""
MUTATIONS = 6
MUTATION_CHARS = string.digits + string.digits + '.-"[]{},:eEuUbaNn_ '


@cache
def lines() -> tuple[tuple[float, str], ...]:
    """Return the session's first lines: receive time in ms, and the raw frame."""
    with gzip.open(recording("btcusdt-2024-08-08") / "btcusdt_20240808.gz", "rt") as file:
        return tuple((int(row[:19]) / 1e6, row[20:].rstrip("\n")) for row in islice(file, LINES))


@cache
def tickers() -> tuple[BookTicker, ...]:
    """Return the true best levels, as the exchange sent them."""
    frames = [parse(raw) for _, raw in lines() if "bookTicker" in raw]
    return tuple(f.event for f in frames if isinstance(f, Frame) and isinstance(f.event, BookTicker))


def is_correct(market: Market) -> bool:
    """Return whether the book's best levels are the exchange's at its id."""
    book = market.book
    assert book is not None
    ids = [ticker.update_id for ticker in tickers()]
    theirs = tickers()[bisect_right(ids, book.last_update_id) - 1]
    ours = (book.bids.best(), book.asks.best())
    return ours == ((theirs.bid_price, theirs.bid_quantity), (theirs.ask_price, theirs.ask_quantity))


def mutated(rng: random.Random) -> list[tuple[float, str]]:
    """Return the session with a few bytes after its snapshot changed, mostly to digits."""
    changed = list(lines())
    for _ in range(MUTATIONS):
        index = rng.randrange(8, LINES)
        received_ms, raw = changed[index]
        at = rng.randrange(len(raw))
        changed[index] = (received_ms, raw[:at] + rng.choice(MUTATION_CHARS) + raw[at + 1 :])
    return changed


async def play(session: list[tuple[float, str]]) -> tuple[int, list[int]]:
    """Play the session; return the number of live moments, and the ids of books that stayed live though wrong."""
    inbox, clock = make_inbox(), ReplayClock()
    market = Market("BTCUSDT", Origin("00", "replay", "com"), levels_max=20_000, trades_kept=1, stale_after_ms=5000)
    sequencer = Sequencer("BTCUSDT", inbox, clock, HeldBudget(), repairs_trades=False)
    await sequencer.put(FeedUp())
    live, wrong = 0, []
    for received_ms, raw in session:
        clock.advance(received_ms)
        ticker_id = 0
        try:
            if '"stream"' not in raw[:12]:
                await sequencer.put_snapshot(parse_snapshot(load_object(raw), 0))
            elif isinstance(frame := parse(raw), Frame) and frame.symbol == "BTCUSDT":
                ticker_id = frame.event.update_id if isinstance(frame.event, BookTicker) else 0
                await sequencer.put_frame(frame)
        except MalformedFrame:
            continue
        while not inbox.empty():
            received = inbox.get_nowait()
            market.apply(received.event, received.received_ms)
        if market.state(received_ms)[0] is State.LIVE and market.book is not None:
            live += 1
            # A ticker at or beyond the book's id shows whether it is right; the market must have used it.
            if ticker_id >= market.book.last_update_id and not is_correct(market):
                wrong.append(market.book.last_update_id)
    return live, wrong


def test_unchanged_session_is_live_and_correct() -> None:
    """Without a mutation the whole session is live, so the tests below can fail."""
    live, wrong = asyncio.run(play(list(lines())))

    assert live > LINES - 50
    assert wrong == []


@pytest.mark.parametrize("seed", range(60))
def test_mutated_session_never_stays_live_while_wrong(seed: int) -> None:
    """Whatever bytes change, the book is correct, or no longer live after the next ticker."""
    live, wrong = asyncio.run(play(mutated(random.Random(seed))))

    assert live > 0
    assert wrong == []
