"""A recorded session as an exchange in virtual time: its frames at their times, REST answers from the true book.

The recording has depth diffs, bookTicker and trades. Trades are sent as aggregate trades of one; partial depth and
candles, which a live stream has too, are made from the true book and the true trades; the first candle begins with the
first recorded trade. A stream passes each frame through `send`, which may change it; what the exchange itself knows
stays true.
"""

import asyncio
import gzip
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import orjson

from pulse.binance.transport import Answer
from pulse.errors import ConnectionEnded
from pulse.market.types import MINUTE_MS, Pairs
from tests.simulation.reference_book import ReferenceSide
from tests.support.recordings import recording
from tests.support.virtual_time import now_s

SYMBOL, NAME = "BTCUSDT", "btcusdt"
TOP_LEVELS = 20
PARTIAL_EVERY_MS, CANDLE_EVERY_MS = 1000, 2000
ANSWER_S = 0.05


@dataclass(frozen=True)
class Sent:
    """One true frame: when it arrives, in ms since the session's beginning, and its text."""

    at_ms: float
    text: str


@dataclass(frozen=True)
class Top:
    """The true best levels after the diff with this final id."""

    update_id: int
    bids: Pairs
    asks: Pairs


@dataclass(frozen=True)
class Session:
    """A recorded session: its beginning as a date, its snapshot and frames, and the truth after each diff.

    Diffs and trades come with the time of their arrival, in ms since the beginning.
    """

    begin_ms: int
    snapshot: Mapping[str, Any]
    frames: tuple[Sent, ...]
    diffs: tuple[tuple[float, Mapping[str, Any]], ...]
    trades: tuple[tuple[float, Mapping[str, Any]], ...]
    tops: tuple[Top, ...]

    def tops_at(self, update_id: int) -> tuple[Top, ...]:
        """Return the truth at this id: that of its diff or, where an id is within a diff, of those before and after."""
        index = bisect_left(self.tops, update_id, key=lambda top: top.update_id)
        is_within = index == len(self.tops) or self.tops[index].update_id != update_id
        return self.tops[max(0, index - is_within) : index + 1]


@cache
def load_session(lines: int) -> Session:
    """Return the first `lines` frames of the recorded session after its snapshot, and what they imply."""
    maker = _Maker()
    with gzip.open(recording("btcusdt-2024-08-08") / "btcusdt_20240808.gz", "rt") as file:
        for row in islice(file, lines):
            maker.add(int(row[:19]) / 1e6, orjson.loads(row[20:]))
    return maker.session()


class _Maker:
    """Makes a session of the lines of a recording."""

    def __init__(self) -> None:
        self._snapshot: dict[str, Any] = {}
        self._begin_ms = 0.0
        self._early: list[dict[str, Any]] = []  # diffs before the snapshot
        self._frames: list[Sent] = []
        self._diffs: list[tuple[float, dict[str, Any]]] = []
        self._trades: list[tuple[float, dict[str, Any]]] = []
        self._tops: list[Top] = []
        self._partial_ms = self._candle_ms = 0.0
        self._minute: list[dict[str, Any]] = []  # trades of the current one

    def add(self, received_ms: float, body: dict[str, Any]) -> None:
        """Take the next line."""
        if "lastUpdateId" in body:
            self._begin(received_ms, body)
        elif not self._snapshot:
            if body["stream"].endswith("@depth@100ms"):
                self._early.append(body["data"])
        elif body["stream"].endswith("@trade"):
            self._add_trade(received_ms - self._begin_ms, body["data"])
        else:
            self._send(received_ms - self._begin_ms, body["stream"], body["data"])
            if body["stream"].endswith("@depth@100ms"):
                self._add_diff(received_ms - self._begin_ms, body["data"])

    def session(self) -> Session:
        """Return what was made."""
        return Session(
            round(self._begin_ms), self._snapshot, tuple(self._frames), tuple(self._diffs), tuple(self._trades),
            tuple(self._tops),
        )  # fmt: skip

    def _begin(self, received_ms: float, snapshot: dict[str, Any]) -> None:
        self._snapshot, self._begin_ms = snapshot, received_ms
        self._bids, self._asks = ReferenceSide(1.0, snapshot["bids"]), ReferenceSide(-1.0, snapshot["asks"])
        self._note_top(snapshot["lastUpdateId"])
        for diff in self._early:
            if diff["u"] > snapshot["lastUpdateId"]:
                self._add_diff(0.0, diff)

    def _send(self, at_ms: float, stream: str, data: Mapping[str, Any]) -> None:
        self._frames.append(Sent(at_ms, orjson.dumps({"stream": stream, "data": data}).decode()))

    def _add_diff(self, at_ms: float, diff: dict[str, Any]) -> None:
        self._diffs.append((at_ms, diff))
        self._bids.apply(diff["b"])
        self._asks.apply(diff["a"])
        self._note_top(diff["u"])
        if at_ms - self._partial_ms >= PARTIAL_EVERY_MS:
            self._partial_ms, top = at_ms, self._tops[-1]
            bids, asks = ([[f"{price:.8f}", f"{quantity:.8f}"] for price, quantity in side]
                          for side in (top.bids, top.asks))  # fmt: skip
            self._send(at_ms, f"{NAME}@depth20", {"lastUpdateId": top.update_id, "bids": bids, "asks": asks})

    def _note_top(self, update_id: int) -> None:
        bids, asks = (side.top(TOP_LEVELS, float("-inf")) for side in (self._bids, self._asks))
        self._tops.append(Top(update_id, bids, asks))

    def _add_trade(self, at_ms: float, data: dict[str, Any]) -> None:
        if data.get("X", "MARKET") != "MARKET":
            return
        trade = {
            "e": "aggTrade", "E": data["E"], "s": SYMBOL, "a": data["t"], "p": data["p"], "q": data["q"],
            "f": data["t"], "l": data["t"], "T": data["T"], "m": data["m"], "M": True,
        }  # fmt: skip
        minute = trade["T"] // MINUTE_MS
        if self._minute and self._minute[0]["T"] // MINUTE_MS < minute:
            self._send_candle(at_ms, trade["E"], is_closed=True)
            self._minute = []
        self._trades.append((at_ms, trade))
        self._minute.append(trade)
        self._send(at_ms, f"{NAME}@aggTrade", trade)
        if at_ms - self._candle_ms >= CANDLE_EVERY_MS:
            self._candle_ms = at_ms
            self._send_candle(at_ms, trade["E"], is_closed=False)

    def _send_candle(self, at_ms: float, event_ms: int, *, is_closed: bool) -> None:
        trades, open_ms = self._minute, self._minute[0]["T"] // MINUTE_MS * MINUTE_MS
        prices = [float(trade["p"]) for trade in trades]
        bought = [trade for trade in trades if not trade["m"]]
        candle = {
            "t": open_ms, "T": open_ms + MINUTE_MS - 1, "s": SYMBOL, "i": "1m", "f": trades[0]["a"],
            "L": trades[-1]["a"], "o": trades[0]["p"], "c": trades[-1]["p"], "h": f"{max(prices):.8f}",
            "l": f"{min(prices):.8f}", "v": _sum(trades), "n": len(trades), "x": is_closed, "q": _quote_sum(trades),
            "V": _sum(bought), "Q": _quote_sum(bought), "B": "0",
        }  # fmt: skip
        self._send(at_ms, f"{NAME}@kline_1m", {"e": "kline", "E": event_ms, "s": SYMBOL, "k": candle})


def _sum(trades: list[dict[str, Any]]) -> str:
    return f"{sum(float(trade['q']) for trade in trades):.8f}"


def _quote_sum(trades: list[dict[str, Any]]) -> str:
    return f"{sum(float(trade['p']) * float(trade['q']) for trade in trades):.8f}"


class RecordedExchange:
    """The transport of a session. `send` returns the texts that a stream delivers in place of a true frame."""

    def __init__(self, session: Session, send: Callable[[Sent], list[str]]) -> None:
        self._session = session
        self._send = send
        self._bids = ReferenceSide(1.0, session.snapshot["bids"])
        self._asks = ReferenceSide(-1.0, session.snapshot["asks"])
        self._update_id: int = session.snapshot["lastUpdateId"]
        self._applied = 0
        self.connections = 0

    async def connect(self, url: str) -> "RecordedStream":  # the protocol of a transport
        """Open a stream that continues at the present time."""
        await asyncio.sleep(ANSWER_S)
        self.connections += 1
        return RecordedStream(self._session, self._send)

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Answer with what is true now."""
        await asyncio.sleep(ANSWER_S)
        body: Any = {}
        if url.endswith("/depth"):
            body = self._depth(int(params["limit"]))
        elif url.endswith("/aggTrades"):
            body = self._agg_trades(int(params["fromId"]), int(params["limit"]))
        return Answer(200, {}, orjson.dumps(body))

    def _depth(self, limit: int) -> dict[str, Any]:
        diffs, now_ms = self._session.diffs, now_s() * 1000
        while self._applied < len(diffs) and diffs[self._applied][0] <= now_ms:
            diff = diffs[self._applied][1]
            self._bids.apply(diff["b"])
            self._asks.apply(diff["a"])
            self._update_id = diff["u"]
            self._applied += 1
        bids, asks = (
            [[f"{price:.8f}", f"{quantity:.8f}"] for price, quantity in side.top(limit, float("-inf"))]
            for side in (self._bids, self._asks)
        )
        return {"lastUpdateId": self._update_id, "bids": bids, "asks": asks}

    def _agg_trades(self, from_id: int, limit: int) -> list[Mapping[str, Any]]:
        trades = self._session.trades
        start = bisect_left(trades, from_id, key=lambda row: row[1]["a"])
        return [trade for at_ms, trade in trades[start : start + limit] if at_ms <= now_s() * 1000]


class RecordedStream:
    """One connection: the session's frames from the present time on."""

    def __init__(self, session: Session, send: Callable[[Sent], list[str]]) -> None:
        self._frames = session.frames
        self._send = send
        self._next = bisect_left(self._frames, now_s() * 1000, key=lambda sent: sent.at_ms)
        self._waiting: list[str] = []  # the newest first
        self._closed = asyncio.Event()

    async def receive(self) -> str:
        """Return the next text, at its time; after the last one, wait until the connection is closed."""
        while not self._waiting:
            if self._closed.is_set():
                raise ConnectionEnded("closed")
            if self._next == len(self._frames):
                await self._closed.wait()
                continue
            sent = self._frames[self._next]
            delay_s = sent.at_ms / 1000 - now_s()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            self._next += 1
            self._waiting = self._send(sent)[::-1]
        return self._waiting.pop()

    async def send(self, text: str) -> None:
        """Take a control message, which changes nothing: a recording's streams cannot be ended."""

    async def close(self) -> None:
        """Close the connection."""
        self._closed.set()
