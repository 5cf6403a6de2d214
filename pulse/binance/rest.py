"""Asking Binance things: every REST call of the process, within one weight budget and the exchange's patience.

It retries nothing; callers know what a failure means to them. Answers are checked for status and shape before
anything is believed.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from pulse import stats
from pulse.binance import messages
from pulse.binance.rate_limit import BanFile, PriorityLock, WeightBudget
from pulse.binance.transport import Answer, Transport
from pulse.binance.venues import Venue
from pulse.clock import Clock
from pulse.concurrency import RetryGate
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame, UnknownSymbol
from pulse.market.types import Candle, DepthSnapshot, Instrument, Trade

RETRY_AFTER_DEFAULT_S = 60.0
RETRY_AFTER_MAX_S = 3 * 24 * 3600.0
KLINES_MAX = 1000
AGG_TRADES_MAX = 1000
INVALID_SYMBOL = -1121
PING_WEIGHT = 1
PROBE_EVERY_S = 2.0
"""How often an exchange that answers no call is asked whether it does again, by all who wait together."""
PROBE_MIN_S = 0.01
"""A wait shorter than this has ended: what rounding leaves of one may be too short for a clock to pass it."""
RANK_SEEN, RANK_BOOK, RANK_REST, RANK_HISTORY = range(4)
"""Who goes first when the budget is short: a book that somebody looks at, other books, the rest, history. Trades that
the tape waits for are of the rest."""
HISTORY_SHARE = 0.75
"""What history may use of our share: the last quarter is there for a book that has to be joined anew, at once."""


class BinanceRest:
    """The REST side of one venue. Every method raises ExchangeError or one of its kinds.

    `is_seen(symbol)` tells whether somebody looks at a symbol, whose calls then go first.
    """

    def __init__(
        self, transport: Transport, venue: Venue, clock: Clock, bans: BanFile, is_seen: Callable[[str], bool]
    ) -> None:
        self.venue = venue
        self._transport = transport
        self._clock = clock
        self._bans = bans
        self._is_seen = is_seen
        self._turns = PriorityLock()
        self._history_turns = PriorityLock()  # apart, for who has the turn may have to wait most of a minute
        self._host = urlsplit(venue.rest_url).netloc
        self._budget = WeightBudget(venue.weight_per_minute)
        self._budget.close(bans.remaining_s(self._host, clock.wall_s()), self._now_s())
        self._comeback = RetryGate(PROBE_EVERY_S)
        self._answered_ms = 0  # the exchange's own date of the newest answer
        self._answered_at_ms = 0.0  # and our clock's reading then

    def exchange_ms(self) -> int:
        """The exchange's date in ms, within a second or so: by its newest answer, or this machine's before any."""
        if not self._answered_ms:
            return int(self._clock.wall_s() * 1000)
        return self._answered_ms + int(self._clock.now_ms() - self._answered_at_ms)

    async def wait_until_it_answers(self, most_s: float) -> None:
        """Wait for as long as the exchange answers no call, at most `most_s`. Whoever waits asks now and then.

        The cheapest call there is finds out: what is really wanted may cost two hundred times as much.
        """
        started_ms = self._clock.now_ms()
        while (left_s := most_s - (self._clock.now_ms() - started_ms) / 1000) > PROBE_MIN_S:
            await self._comeback.wait(left_s)
            try:
                await self._get("/api/v3/ping", {}, PING_WEIGHT, RANK_BOOK)
            except ExchangeError:
                continue
            return

    async def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The order book, up to `limit` levels a side."""
        weight = self.venue.weights.depth_weight(limit)
        params = {"symbol": symbol, "limit": str(limit)}
        body = await self._get("/api/v3/depth", params, weight, self._book_rank(symbol))
        return messages.parse_snapshot(_object(body), limit)

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """The exchange's one-minute candles that open in [start, end], oldest first, at most KLINES_MAX."""
        params = {
            "symbol": symbol, "interval": "1m", "limit": str(KLINES_MAX),
            "startTime": str(start_ms), "endTime": str(end_ms),
        }  # fmt: skip
        rows = await self._get("/api/v3/klines", params, self.venue.weights.klines, RANK_HISTORY)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of klines")
        return [messages.parse_kline_row(symbol, row, self._answered_ms) for row in rows[:KLINES_MAX]]

    async def agg_trades(self, symbol: str, from_id: int, rank: int = RANK_REST) -> list[Trade]:
        """Aggregate trades from this id on, oldest first, at most AGG_TRADES_MAX."""
        return await self._agg_trades(symbol, {"fromId": str(from_id)}, rank)

    async def agg_trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        """The first aggregate trades of [start, end] by their own time, oldest first, at most AGG_TRADES_MAX."""
        return await self._agg_trades(symbol, {"startTime": str(start_ms), "endTime": str(end_ms)}, RANK_HISTORY)

    async def _agg_trades(self, symbol: str, which: dict[str, str], rank: int) -> list[Trade]:
        params = {"symbol": symbol, "limit": str(AGG_TRADES_MAX), **which}
        rows = await self._get("/api/v3/aggTrades", params, self.venue.weights.agg_trades, rank)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of aggregate trades")
        return [messages.parse_agg_trade_row(row) for row in rows[:AGG_TRADES_MAX]]

    async def time(self) -> "RoundTrip":
        """What time it is at the exchange, and when it was asked and answered, without the wait for our turn."""
        await self._wait_turn(self.venue.weights.time, RANK_REST)
        sent_ms = self._clock.wall_s() * 1000
        body = _object(await self._ask("/api/v3/time", {}))
        received_ms = self._clock.wall_s() * 1000
        exchange_ms = body.get("serverTime")
        if type(exchange_ms) is not int:
            raise MalformedFrame("expected serverTime to be a whole number")
        return RoundTrip(sent_ms, exchange_ms, received_ms)

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """What the exchange says of these symbols; one that it does not list is absent from the answer."""
        try:
            return await self._exchange_info({"symbols": json.dumps(list(symbols), separators=(",", ":"))})
        except UnknownSymbol:
            pass
        # One bad name spoils the whole answer, so each is asked for alone to find it.
        found: dict[str, Instrument] = {}
        for symbol in symbols:
            try:
                found |= await self._exchange_info({"symbol": symbol})
            except UnknownSymbol:
                continue
        return found

    async def listed(self) -> list[str]:
        """The names of all symbols that the exchange lists: by their prices, which is its shortest list of all."""
        rows = await self._get("/api/v3/ticker/price", {}, self.venue.weights.prices, RANK_REST)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of prices")
        return messages.parse_names(rows)

    async def _exchange_info(self, params: dict[str, str]) -> dict[str, Instrument]:
        body = _object(await self._get("/api/v3/exchangeInfo", params, self.venue.weights.exchange_info, RANK_REST))
        limit = messages.parse_weight_limit(body)
        if limit is not None:
            self._budget.set_limit(limit)
        return messages.parse_instruments(body)

    async def _get(self, path: str, params: Mapping[str, str], weight: int, rank: int) -> Any:
        await self._wait_turn(weight, rank)
        return await self._ask(path, params)

    async def _ask(self, path: str, params: Mapping[str, str]) -> Any:
        try:
            answer = await self._transport.get(self.venue.rest_url + path, params)
        except ExchangeError as fault:
            stats.rest_errors.labels(path).inc()
            raise ExchangeError(f"{self.venue.title} gave {fault}") from fault
        self._note_weight(answer.headers)
        self._answered_ms, self._answered_at_ms = self._date_ms(answer.headers), self._clock.now_ms()
        if answer.status != 200:
            stats.rest_errors.labels(path).inc()
            raise self._trouble(answer)
        try:
            body = orjson.loads(answer.body)
        except orjson.JSONDecodeError as fault:
            raise MalformedFrame(f"{self.venue.title} answered with something that is not JSON") from fault
        self._comeback.reached()
        return body

    async def _wait_turn(self, weight: int, rank: int) -> None:
        """Wait until the budget allows this call, and book it; the most urgent caller goes first."""
        turns, share = (self._history_turns, HISTORY_SHARE) if rank == RANK_HISTORY else (self._turns, 1.0)
        await turns.take(rank)
        try:
            # At most a minute: then the exchange's count starts anew.
            while wait_s := self._budget.wait_s(weight, self._now_s(), share):
                closed_s = self._budget.closed_for_s(self._now_s())
                if closed_s:
                    raise ExchangeBusy(f"{self.venue.title} asked for no requests for {closed_s:.0f} s more", closed_s)
                await asyncio.sleep(wait_s)
            self._budget.spend(weight, self._now_s())
            stats.rest_weight.inc(weight)
        finally:
            turns.give_back()

    def _book_rank(self, symbol: str) -> int:
        return RANK_SEEN if self._is_seen(symbol) else RANK_BOOK

    def _now_s(self) -> float:
        return self._clock.now_ms() / 1000

    def _note_weight(self, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isascii() and used.isdigit() and len(used) < 10:
            self._budget.observe(int(used), self._now_s())

    def _date_ms(self, headers: Mapping[str, str]) -> int:
        """When the exchange answered, by its own clock: this machine's may be set wrong."""
        try:
            return int(parsedate_to_datetime(headers.get("Date", "")).timestamp() * 1000)
        except ValueError:
            return int(self._clock.wall_s() * 1000)

    def _trouble(self, answer: Answer) -> ExchangeError:
        title, status = self.venue.title, answer.status
        code, text = _error_of(answer.body)
        if status in (451, 403):
            return ExchangeRefused(f"{title} does not serve this address or region (HTTP {status})", status)
        if status in (429, 418):
            wait_s = _retry_after(answer.headers)
            self._budget.close(wait_s, self._now_s())
            self._bans.remember(self._host, self._clock.wall_s() + wait_s)
            return ExchangeBusy(f"{title} asked for no requests for {wait_s:.0f} s (HTTP {status})", wait_s)
        if code == INVALID_SYMBOL:
            return UnknownSymbol(f"{title} does not list this symbol")
        return ExchangeError(f"{title} answered HTTP {status}: {text or 'no reason given'}")


class RoundTrip(NamedTuple):
    """A question about the time, all in ms since the epoch: asked and answered by our clock, the answer by theirs."""

    sent_ms: float
    exchange_ms: int
    received_ms: float


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise MalformedFrame("expected a JSON object")
    return body


def _error_of(raw: bytes) -> tuple[int, str]:
    """The exchange's own error code and text, where the body holds them."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return 0, ""
    if not isinstance(body, dict) or type(body.get("code")) is not int:
        return 0, ""
    return body["code"], str(body.get("msg", ""))[:200]


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return RETRY_AFTER_DEFAULT_S
    return min(max(float(text), 1.0), RETRY_AFTER_MAX_S)
