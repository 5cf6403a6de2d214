"""Rows of the recorded past: drawn at random, of every kind, and of real sessions."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from pulse.clock import ReplayClock
from pulse.engine import EventLog
from pulse.ingest.recording import open_recording
from pulse.ingest.replay import Replay
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.types import (
    Aggressor,
    BookLost,
    BookTicker,
    CandleMismatch,
    DepthDiff,
    DepthSnapshot,
    ExchangeCandle,
    FeedDown,
    FeedUp,
    Instrument,
    Levels,
    PartialDepth,
    Quarantined,
    Trade,
    TradeGap,
    TradeIdsRestarted,
    TradesHeld,
)
from pulse.market.view import View
from pulse.past.block import Block, BlockMeta
from pulse.past.events import VIEW, Row
from pulse.past.playback import encode_rows, keyframe_of
from pulse.queues import Inbox, Received
from tests.support.makers import MIDNIGHT_MS, ManualClock, candle, diff, levels, ticker, trade
from tests.support.market import ASKS, BIDS, anchor, instrument

ids = st.integers(0, 2**62)
times = st.integers(0, 10**13)
decimals = st.integers(0, 10**15).map(lambda units: units / 10**8)
prices = st.one_of(decimals, st.floats(0, 1e12))


@st.composite
def some_levels(draw: st.DrawFn) -> Levels:
    """Draw one side of a diff."""
    pairs = draw(st.lists(st.tuples(prices, prices), max_size=6))
    return Levels([price for price, _ in pairs], [quantity for _, quantity in pairs])


diffs = st.builds(DepthDiff, ids, ids, times, some_levels(), some_levels())
trades = st.builds(
    Trade, ids, prices, prices, times, st.sampled_from(Aggressor), ids, ids, times, st.booleans(), st.booleans()
)
snapshots = st.builds(DepthSnapshot, ids, some_levels(), some_levels(), st.integers(0, 5000))
OTHERS = (
    FeedUp(), FeedUp(frozenset({"depth", "trade"})), FeedDown("cut", is_end=True), BookLost("a gap"), TradesHeld(),
    TradeIdsRestarted(), TradeGap("BTCUSDT", 1, 2, 3, 4, 5), Quarantined("trade", "no price"), instrument("TRADING"),
    Instrument("LUNAUSDT", "LUNA", "USDT", "BREAK", 0.0, 1e-8, 8, 8), ExchangeCandle(candle(), MIDNIGHT_MS),
    CandleMismatch(candle(volume=2.0, source="live"), candle(), MIDNIGHT_MS),
)  # fmt: skip
"""An event of each kind that is rare."""
events = st.one_of(
    st.just(VIEW),
    diffs,
    st.builds(BookTicker, ids, prices, prices, prices, prices),
    trades,
    st.builds(PartialDepth, ids, some_levels(), some_levels()),
    st.builds(BookAnchor, snapshots, st.lists(diffs, max_size=3).map(tuple)),
    st.sampled_from(OTHERS),
)
some_rows = st.lists(st.builds(Row, times, events), max_size=12)


def new_market(symbol: str = "BTCUSDT") -> Market:
    """Return a market that has taken nothing yet."""
    return Market(
        symbol, Origin("9f3ac21b", "exchange", "us"), levels_max=20_000, trades_kept=30, stale_after_ms=5000.0
    )


def small_session() -> list[Row]:
    """Return some seconds of a small market: a book, an event of each kind, and views."""
    at_ms = 1000
    rows = [Row(at_ms, event) for event in (FeedUp(frozenset({"depth", "trade"})), instrument("TRADING"), anchor(10))]
    for step in range(40):
        at_ms += 100
        changed = diff(11 + step, 11 + step, [(99.99, 3.0 + step)], [(100.03, step % 3)], MIDNIGHT_MS + 100 * step)
        rows += [
            Row(at_ms, changed), Row(at_ms + 1, ticker(11 + step, BIDS[0], ASKS[0])),
            Row(at_ms + 2, trade(step + 1, 100.0 + step / 100, 0.5, MIDNIGHT_MS + 100 * step)), Row(at_ms + 3, VIEW),
        ]  # fmt: skip
    rows += [Row(at_ms + 10, PartialDepth(50, levels(BIDS[:1]), levels(ASKS[:1])))]
    rows += [Row(at_ms + 20 + place, event) for place, event in enumerate(OTHERS)]
    return [*rows, Row(at_ms + 99, VIEW)]


def block_of(rows: list[Row], number: int = 0, market: Market | None = None, **changes: object) -> Block:
    """Return a block of these rows, which begin with this market or a new one."""
    source = market or new_market()
    from_ms = MIDNIGHT_MS + 60_000 * number
    values = {
        "symbol": source.symbol, "venue": "us", "run": "9f3ac21b", "number": number, "from_ms": from_ms,
        "to_ms": from_ms + rows[-1].at_ms - rows[0].at_ms, "clock_ms": rows[0].at_ms, "last_update_id": 0,
        "rows": len(rows), "after": "" if number else "the process was started", "ends": "",
    } | changes  # fmt: skip
    return Block(BlockMeta(**values), keyframe_of(source), encode_rows(rows))  # type: ignore[arg-type]


@cache
def recorded_rows(folder: Path, pattern: str, symbol: str) -> list[Row]:
    """Return what a market is given of a recorded session; a view is made after each diff."""
    rows: list[Row] = []

    class Box:
        async def put(self, received: Received) -> None:
            if received.symbol == symbol:
                rows.append(Row(int(received.received_ms), received.event))
                if isinstance(received.event, DepthDiff):
                    rows.append(Row(int(received.received_ms) + 1, VIEW))

    inbox: Inbox = Box()  # type: ignore[assignment]  # all that a replay uses of it
    replay = Replay(open_recording(sorted(folder.glob(pattern))), inbox, ReplayClock(), float("inf"))
    with ThreadPoolExecutor(1) as thread:  # a test may have a loop of its own
        thread.submit(asyncio.run, replay.run()).result()
    start_ms = next(row.at_ms for row in rows if row.at_ms)
    return [row._replace(at_ms=row.at_ms or start_ms) for row in rows]


def by_minute(rows: list[Row]) -> list[list[Row]]:
    """Return rows in blocks of 60 s."""
    blocks: dict[int, list[Row]] = {}
    for row in rows:
        blocks.setdefault((row.at_ms - rows[0].at_ms) // 60_000, []).append(row)
    return list(blocks.values())


class Live:
    """A market as the engine drives it, with its log; `clock` shows the time of the row that was applied last."""

    def __init__(self, open_log: Callable[[Market], EventLog], clock: ManualClock, symbol: str = "BTCUSDT") -> None:
        self.market = new_market(symbol)
        self.clock = clock
        self.log = open_log(self.market)
        self.views: list[tuple[int, View]] = []
        """Each view, and when it was made, in ms since the epoch."""

    def take(self, rows: Iterable[Row]) -> None:
        """Apply rows, and make the views among them."""
        for at_ms, event in rows:
            self.clock.at_wall_s += (at_ms - self.clock.at_ms) / 1000
            self.clock.at_ms = at_ms
            if event is not VIEW:
                self.market.apply(event, at_ms)
                self.log.add(at_ms, event)
                self.market.candles.take_closed()
                self.market.integrity.pop_resync_request()
                continue
            view = self.market.view(at_ms, self.clock.at_wall_s)
            self.market.trades_view()
            self.market.take_silences()
            self.log.view_made(at_ms, view)
            self.views.append((round(self.clock.at_wall_s * 1000), view))


def quiet_session(seconds: int, first_id: int = 10, at_ms: int = 1000) -> list[Row]:
    """Return a session of one diff, one ticker, one trade and one view a second."""
    start = [FeedUp(frozenset({"depth"})), instrument("TRADING"), anchor(first_id)] if first_id == 10 else []
    rows = [Row(at_ms, event) for event in start]
    for step in range(seconds):
        now_ms, update_id = at_ms + 1000 * (step + 1), first_id + step + 1
        quantity = 3.0 + update_id % 7
        rows += [
            Row(now_ms, diff(update_id, update_id, [(99.99, quantity)], [], MIDNIGHT_MS + now_ms)),
            Row(now_ms + 1, ticker(update_id, BIDS[0], ASKS[0])),
            Row(now_ms + 2, trade(update_id, 100.0, 0.5, MIDNIGHT_MS + now_ms)),
            Row(now_ms + 3, VIEW),
        ]
    return rows
