"""The engines under comparison: each takes the bytes of a diff and returns JSON of the book's best levels.

Ours is the terminal's own code from the frame to the encoded view. The floor only parses and writes JSON of the same
sizes. Cryptofeed is its own Binance class, fed as from its socket, with a callback that encodes the top 20; its views
have no metrics. Sockets and scheduling are in none of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import cycle
from typing import Any, TypeAlias

import orjson

from bench.diffs import SYMBOL, Session
from bench.processes import BenchError
from pulse.binance.answers import parse_snapshot
from pulse.binance.messages import Frame, parse
from pulse.market.depth_sync import DepthSync, DiffOutcome
from pulse.market.market import Market, Origin
from pulse.market.types import DepthDiff, FeedUp
from pulse.wire import encode_view

TOP = 20
FLOOR_VIEWS = 16
LEVELS_MAX, TRADES_KEPT, STALE_AFTER_MS, HELD_MAX = 20_000, 30, 5000.0, 10_000
PERIOD_MS = 100.0

TopPrices: TypeAlias = tuple[list[tuple[float, float]], list[tuple[float, float]]]
"""Best bids and best asks, each [price, quantity]."""


class PulseBook:
    """The terminal's own processing of one symbol, without its queues."""

    def __init__(self, session: Session) -> None:
        self._sync = DepthSync(HELD_MAX)
        self._market = Market(
            SYMBOL, Origin("00000000", "replay", "com"), levels_max=LEVELS_MAX, trades_kept=TRADES_KEPT,
            stale_after_ms=STALE_AFTER_MS,
        )  # fmt: skip
        self._now_ms = 0.0
        self._market.apply(FeedUp(), 0.0)
        self._sync.on_snapshot(parse_snapshot(orjson.loads(session.snapshot), session.limit))

    def take(self, raw: bytes) -> bytes:
        """Process one frame and return the encoded view."""
        self._now_ms += PERIOD_MS
        frame = parse(raw)
        if not isinstance(frame, Frame) or not isinstance(frame.event, DepthDiff):
            raise BenchError("expected a depth diff")
        if self._sync.on_diff(frame.event) is DiffOutcome.DELIVER:
            self._market.apply(frame.event, self._now_ms)
        elif (anchor := self._sync.take_anchor()) is not None:
            self._market.apply(anchor, self._now_ms)
        return encode_view(self._market.view(self._now_ms, self._now_ms / 1000))

    def take_all(self, frames: Sequence[bytes]) -> None:
        """Process frame after frame."""
        for raw in frames:
            self.take(raw)


class Floor:
    """orjson alone: parse the frame, write one of our views.

    A few views are used in turn, so that they are in the CPU caches as a view just made would be.
    """

    def __init__(self, views: Sequence[Any]) -> None:
        self._views = cycle(views[:: max(1, len(views) // FLOOR_VIEWS)])

    def take_all(self, frames: Sequence[bytes]) -> None:
        """Parse frame after frame and write view after view."""
        loads, dumps = orjson.loads, orjson.dumps
        for raw, view in zip(frames, self._views, strict=False):
            loads(raw)
            dumps(view)


class CryptofeedBook:
    """Cryptofeed's Binance book. Raises BenchError when the library is not installed."""

    def __init__(self, session: Session, on_top: Callable[[list[Any], list[Any]], None]) -> None:
        try:
            from cryptofeed.defines import BINANCE, L2_BOOK
            from cryptofeed.exchanges import Binance
            from cryptofeed.symbols import Symbols
            from cryptofeed.types import OrderBook
            from yapic import json
        except ImportError as fault:
            raise BenchError("cryptofeed is not installed: run pip install -e '.[bench]'") from fault
        pair = "BTC-USDT"
        Symbols.set(BINANCE, {pair: SYMBOL}, {"instrument_type": {pair: "spot"}})

        async def on_book(book: Any, _: float) -> None:
            on_top(_best(book.book.bids), _best(book.book.asks))

        self._feed: Any = Binance(symbols=[pair], channels=[L2_BOOK], callbacks={L2_BOOK: on_book})
        answer = json.loads(session.snapshot, parse_float=Decimal)
        sides = {name: {Decimal(p): Decimal(q) for p, q in answer[name]} for name in ("bids", "asks")}
        self._feed._l2_book[pair] = OrderBook(BINANCE, pair, **sides)
        self._feed._l2_book[pair].delta = {}
        self._feed.last_update_id[pair] = answer["lastUpdateId"]
        self._loads = json.loads
        self._loop = asyncio.new_event_loop()

    def take_all(self, frames: Sequence[bytes]) -> None:
        """Process frame after frame, as its message handler does."""
        self._loop.run_until_complete(self._take_all(frames))

    async def _take_all(self, frames: Sequence[bytes]) -> None:
        for raw in frames:
            message = self._loads(raw, parse_float=Decimal)["data"]
            await self._feed._book(message, SYMBOL, 0.0)

    def close(self) -> None:
        """Close its event loop."""
        self._loop.close()


def _best(side: Any) -> list[Any]:
    """Return the best levels of one of cryptofeed's sides, in the way its own library does."""
    return [side.index(number) for number in range(min(TOP, len(side)))]


def encode_decimals(bids: list[Any], asks: list[Any]) -> bytes:
    """Encode cryptofeed's top levels as JSON: Decimals as text, which is the least work that keeps them exact."""
    return orjson.dumps({"bids": bids, "asks": asks}, default=str)
