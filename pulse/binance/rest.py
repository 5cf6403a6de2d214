"""Every REST call of the process to one venue, within one weight budget.

Nothing is retried here: the caller knows what a failure means to it. Answers are checked for status and shape before
anything in them is used.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from pulse import stats
from pulse.binance import answers
from pulse.binance.answers import InstrumentRows
from pulse.binance.exchange_clock import ExchangeClock
from pulse.binance.messages import ERROR_CHARS_MAX
from pulse.binance.rate_limit import BAN_MAX_S, BanFile, Priority, PriorityLock, WeightBudget
from pulse.binance.refusals import Refusals
from pulse.binance.transport import Answer, Transport
from pulse.binance.venues import Venue
from pulse.clock import Clock
from pulse.concurrency import RetryGate
from pulse.errors import ExchangeBusy, ExchangeError, MalformedFrame, UnknownSymbol
from pulse.logs import RepeatedTrouble, printable
from pulse.market.answer_plausibility import possible_candles, refuse_day_ticker, refuse_trades
from pulse.market.plausibility import CLOCKS_DIFFER_MAX_MS
from pulse.market.types import Candle, DayTicker, DepthSnapshot, Trade

log = logging.getLogger(__name__)

RETRY_AFTER_DEFAULT_S = 60.0
"""For a 429 or 418 that names no time."""
DATE_RESOLUTION_MS = 1000.0
"""`Date` has whole seconds."""
KLINES_MAX = 1000
AGG_TRADES_MAX = 1000
ROWS_AT_ONCE = 100
"""Rows of an answer about all symbols that are parsed before other tasks get their turn: less than a millisecond."""
INSTRUMENTS_MAX = 200
"""Symbols in one request: their names are in its address, of which servers take 8 KB."""
INVALID_SYMBOL = -1121
UNLISTED_S = 900.0
"""How long a symbol that the exchange does not list is left out of requests: with it, each other one costs its own."""
PING_WEIGHT = 1
PROBE_EVERY_S = 2.0
"""How often an unreachable exchange is probed, by all waiters together."""
PROBE_MIN_S = 0.01
"""A wait shorter than this has ended: what rounding leaves of one may be too short for a clock to pass it."""


class RoundTrip(NamedTuple):
    """One request for the time, all in ms since the epoch: sent and received by our clock, answered by theirs."""

    sent_ms: float
    exchange_ms: int
    received_ms: float


class Answered(NamedTuple):
    """The JSON of an answer, and the exchange's date when it was made at the earliest, in ms since the epoch."""

    body: Any
    made_ms: float


class DayTickers(NamedTuple):
    """The day of each symbol in one answer, its date by the exchange's clock, and what is wrong with other rows."""

    date_ms: int
    found: dict[str, DayTicker]
    faults: list[str]


class BinanceRest:
    """The REST side of one venue. Every method that calls it raises ExchangeError or one of its kinds.

    `priority_of(symbol)` is the priority of a symbol's first snapshot.
    """

    def __init__(
        self, transport: Transport, venue: Venue, clock: Clock, bans: BanFile, priority_of: Callable[[str], Priority]
    ) -> None:
        self.venue = venue
        self._transport = transport
        self._clock = clock
        self._bans = bans
        self._priority_of = priority_of
        # One per share: a holder may have to wait most of a minute, and a larger share must not wait with it.
        self._locks = {priority.share: PriorityLock() for priority in Priority}
        self._host = urlsplit(venue.rest_url).netloc
        self._budget = WeightBudget(venue.weight_per_minute)
        self._budget.block(bans.remaining_s(self._host, clock.wall_s()), self._now_s())
        stats.rest_weight_used.set_function(lambda: self._budget.used(self._now_s()))
        stats.rest_weight_limit.set_function(lambda: self._budget.limit)
        stats.rest_blocked.set_function(lambda: self._budget.blocked_for_s(self._now_s()))
        self._unlisted: dict[str, float] = {}  # symbols, and until when they are left out
        self._refusals = Refusals(venue.title)
        self._false_rows = RepeatedTrouble(log, "rows of an answer quarantined rows=%s symbol=%s reason=%s")
        self._retry_gate = RetryGate(PROBE_EVERY_S)
        self.exchange_clock = ExchangeClock(clock)
        self._asks_time = asyncio.Lock()

    def weight(self) -> tuple[int, int]:
        """Return the weight of the running minute, others at this address included, and how much of it is ours."""
        return self._budget.used(self._now_s()), self._budget.limit

    def exchange_ms(self) -> int:
        """Return the exchange's date in ms, or up to about a second less; before its first answer this machine's."""
        return int(self.exchange_clock.date().earliest_ms)

    async def learn_date(self) -> None:
        """Ask for the exchange's time, unless an answer has shown it. Raises ExchangeError."""
        async with self._asks_time:  # one request answers all that wait for the date
            if not self.exchange_clock.is_known:
                await self._time()

    async def wait_until_reachable(self, max_s: float) -> None:
        """Wait until the exchange answers a call, at most `max_s` seconds.

        The waiters probe it now and then by the cheapest call there is: the call they wait for may cost two hundred
        times as much. It may take of every share, because a pinned symbol may be among those that wait.
        """
        started_ms = self._clock.now_ms()
        while (left_s := max_s - (self._clock.now_ms() - started_ms) / 1000) > PROBE_MIN_S:
            await self._retry_gate.wait(left_s)
            try:
                await self._get("/api/v3/ping", {}, PING_WEIGHT, Priority.PINNED_BOOK)
            except ExchangeError:
                continue
            return

    async def depth(self, symbol: str, limit: int, *, is_widening: bool = False) -> DepthSnapshot:
        """Fetch the order book, up to `limit` levels a side; `is_widening` where the symbol has a live book already."""
        weight = self.venue.weights.depth_weight(limit)
        params = {"symbol": symbol, "limit": str(limit)}
        priority = self._priority_of(symbol)
        body = await self._get("/api/v3/depth", params, weight, priority.widening if is_widening else priority)
        return answers.parse_snapshot(_object(body), limit)

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Fetch the one-minute candles that open in [start, end], oldest first, at most KLINES_MAX."""
        params = {
            "symbol": symbol, "interval": "1m", "limit": str(KLINES_MAX),
            "startTime": str(start_ms), "endTime": str(end_ms),
        }  # fmt: skip
        weight = self.venue.weights.klines
        rows, made_ms = await self._get_dated("/api/v3/klines", params, weight, Priority.HISTORY)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of klines")
        parsed = [answers.parse_kline_row(symbol, row, made_ms) for row in rows[:KLINES_MAX]]
        candles, fault = possible_candles(parsed, start_ms, min(end_ms, self._latest_ms()))
        if fault:
            stats.frames_quarantined.labels(symbol, "klines").inc()
            self._false_rows.warn("kline rows", symbol, fault)
        return candles

    async def agg_trades(self, symbol: str, from_id: int, priority: Priority = Priority.TRADES) -> list[Trade]:
        """Fetch aggregate trades from this id on, oldest first, at most AGG_TRADES_MAX."""
        trades = await self._agg_trades(symbol, {"fromId": str(from_id)}, priority)
        return self._possible(symbol, trades, from_id, 0, inf)

    async def agg_trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        """Fetch the first aggregate trades of [start, end] by trade time, oldest first, at most AGG_TRADES_MAX."""
        selection = {"startTime": str(start_ms), "endTime": str(end_ms)}
        trades = await self._agg_trades(symbol, selection, Priority.HISTORY)
        return self._possible(symbol, trades, 0, start_ms, end_ms)

    def _possible(self, symbol: str, trades: list[Trade], from_id: int, start_ms: int, end_ms: float) -> list[Trade]:
        """Return trades that were asked for in this range. Raises MalformedFrame where they cannot be true."""
        fault = refuse_trades(trades, from_id, start_ms, min(end_ms, self._latest_ms()))
        if fault:
            stats.frames_quarantined.labels(symbol, "trades").inc()
            raise MalformedFrame(f"expected the trades that were asked for, got others: {fault}")
        return trades

    async def _agg_trades(self, symbol: str, selection: dict[str, str], priority: Priority) -> list[Trade]:
        params = {"symbol": symbol, "limit": str(AGG_TRADES_MAX), **selection}
        rows, _ = await self._get_dated("/api/v3/aggTrades", params, self.venue.weights.agg_trades, priority)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of aggregate trades")
        return [answers.parse_agg_trade_row(row) for row in rows[:AGG_TRADES_MAX]]

    async def time(self) -> RoundTrip:
        """Fetch the exchange's time; the round trip does not include the wait for the budget."""
        async with self._asks_time:
            return await self._time()

    async def _time(self) -> RoundTrip:
        await self._wait_for_budget(_request_name("/api/v3/time", {}), self.venue.weights.time, Priority.DEFAULT)
        sent_ms, asked_ms = self._clock.wall_s() * 1000, self._clock.now_ms()
        body = _object((await self._call("/api/v3/time", {})).body)
        received_ms = self._clock.wall_s() * 1000
        exchange_ms = body.get("serverTime")
        if type(exchange_ms) is not int:
            raise MalformedFrame("expected serverTime to be a whole number")
        self.exchange_clock.note(exchange_ms, 1.0, asked_ms, self._clock.now_ms())
        return RoundTrip(sent_ms, exchange_ms, received_ms)

    async def instruments(self, symbols: Sequence[str]) -> InstrumentRows:
        """Fetch the instruments of these symbols; one that the exchange does not list is absent from the result.

        Such a one is not requested again for UNLISTED_S.
        """
        now_s = self._now_s()
        self._unlisted = {symbol: until_s for symbol, until_s in self._unlisted.items() if now_s < until_s}
        wanted = [symbol for symbol in symbols if symbol not in self._unlisted]
        rows = InstrumentRows({}, {})
        for start in range(0, len(wanted), INSTRUMENTS_MAX):
            await self._add_instruments(rows, wanted[start : start + INSTRUMENTS_MAX])
        return rows

    async def _add_instruments(self, rows: InstrumentRows, symbols: Sequence[str]) -> None:
        """Add the instruments of these symbols; one unknown name fails the whole request, so halves of it are made."""
        try:
            found, malformed = await self._exchange_info({"symbols": orjson.dumps(symbols).decode()})
        except UnknownSymbol:
            if len(symbols) == 1:
                self._unlisted[symbols[0]] = self._now_s() + UNLISTED_S
                return
            middle = len(symbols) // 2
            await self._add_instruments(rows, symbols[:middle])
            await self._add_instruments(rows, symbols[middle:])
            return
        rows.found.update(found)
        rows.malformed.update(malformed)

    async def listed_symbols(self) -> list[str]:
        """Fetch the names of all listed symbols, from the list of prices, which is the exchange's shortest answer."""
        rows = await self._get("/api/v3/ticker/price", {}, self.venue.weights.prices, Priority.DEFAULT)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of prices")
        return answers.parse_names(rows)

    async def day_tickers(self) -> DayTickers:
        """Fetch prices and volumes of the last 24 hours of every symbol.

        A row that is malformed or cannot be true is left out, and so is a second one of a symbol.
        """
        rows, made_ms = await self._get_dated(
            "/api/v3/ticker/24hr", {}, self.venue.weights.day_tickers, Priority.DEFAULT
        )
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of tickers")
        answer, latest_ms = DayTickers(int(made_ms), {}, []), self._latest_ms()
        for at, row in enumerate(rows[: answers.SYMBOLS_MAX], start=1):
            if at % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                ticker = answers.parse_day_ticker(row)
            except MalformedFrame as malformed:
                answer.faults.append(str(malformed))
                continue
            fault = refuse_day_ticker(ticker, answer.date_ms, latest_ms)
            fault = fault or "it is there twice" * (ticker.symbol in answer.found)
            if fault:
                answer.faults.append(f"{ticker.symbol}: {fault}")
            else:
                answer.found[ticker.symbol] = ticker
        return answer

    async def _exchange_info(self, params: dict[str, str]) -> InstrumentRows:
        weight = self.venue.weights.exchange_info
        body = _object(await self._get("/api/v3/exchangeInfo", params, weight, Priority.DEFAULT))
        limit = answers.parse_weight_limit(body)
        if limit is not None:
            self._budget.set_limit(limit)
        return answers.parse_instruments(body)

    async def _get(self, path: str, params: Mapping[str, str], weight: int, priority: Priority) -> Any:
        await self._wait_for_budget(_request_name(path, params), weight, priority)
        return (await self._call(path, params)).body

    async def _get_dated(self, path: str, params: Mapping[str, str], weight: int, priority: Priority) -> Answered:
        """Fetch what is judged by the exchange's date, which is asked for where no answer has shown it."""
        await self._wait_for_budget(_request_name(path, params), weight, priority)
        sent_ms = self._clock.now_ms()
        answered = await self._call(path, params)
        if self.exchange_clock.is_known or not answered.body:
            return answered
        await self.learn_date()
        return answered._replace(made_ms=self.exchange_clock.date(sent_ms).earliest_ms)

    async def _call(self, path: str, params: Mapping[str, str]) -> Answered:
        sent_ms = self._clock.now_ms()
        try:
            answer = await self._transport.get(self.venue.rest_url + path, params)
        except ExchangeError as fault:
            stats.rest_errors.labels(path).inc()
            raise ExchangeError(f"{self.venue.title} gave {fault}") from fault
        self._observe_weight(answer.headers)
        date_ms = _date_ms(answer.headers)
        if date_ms is not None:
            self.exchange_clock.note(date_ms, DATE_RESOLUTION_MS, sent_ms, self._clock.now_ms())
        refusal = self._refusals.on_status(_request_name(path, params), answer.status, self._now_s())
        if answer.status != 200:
            stats.rest_errors.labels(path).inc()
            raise refusal or self._error_for(answer)
        try:
            body = orjson.loads(answer.body)
        except orjson.JSONDecodeError as fault:
            raise MalformedFrame(f"{self.venue.title} answered with something that is not JSON") from fault
        self._retry_gate.succeeded()
        return Answered(body, self.exchange_clock.date(sent_ms).earliest_ms if date_ms is None else date_ms)

    def _latest_ms(self) -> float:
        """Return how late a row of an answer that has just come may be."""
        return self.exchange_clock.date().latest_ms + CLOCKS_DIFFER_MAX_MS

    async def _wait_for_budget(self, request: str, weight: int, priority: Priority) -> None:
        """Wait until the budget allows this call, and count it; of those with one share the most urgent goes first.

        Raises ExchangeBusy at once while the exchange has blocked all requests, and what `Refusals.check` raises.
        """
        lock = self._locks[priority.share]
        await lock.acquire(priority)
        try:
            # At most a minute: then the exchange's count starts anew.
            while wait_s := self._budget.wait_s(weight, self._now_s(), priority.share, priority.counted_share):
                blocked_s = self._budget.blocked_for_s(self._now_s())
                if blocked_s:
                    raise ExchangeBusy(f"{self.venue.title} blocks all requests for now", blocked_s)
                await asyncio.sleep(wait_s)
            self._refusals.check(request, self._now_s())
            self._budget.spend(weight, self._now_s())
            stats.rest_weight.inc(weight)
        finally:
            lock.release()

    def _now_s(self) -> float:
        return self._clock.now_ms() / 1000

    def _observe_weight(self, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isascii() and used.isdigit() and len(used) < 10:
            self._budget.observe(int(used), self._now_s())

    def _error_for(self, answer: Answer) -> ExchangeError:
        """Return the error that an answer other than 200 stands for; 429 and 418 also block all requests."""
        title, status = self.venue.title, answer.status
        code, text = _error_of(answer.body)
        if status in (429, 418):
            wait_s = _retry_after_s(answer.headers)
            self._budget.block(wait_s, self._now_s())
            self._bans.save(self._host, wait_s, self._clock.wall_s())
            return ExchangeBusy(f"{title} blocks all requests for {wait_s:.0f} s (HTTP {status})", wait_s)
        if code == INVALID_SYMBOL:
            return UnknownSymbol(f"{title} does not list this symbol")
        return ExchangeError(f"{title} answered HTTP {status}: {text or 'no reason given'}")


def _date_ms(headers: Mapping[str, str]) -> float | None:
    """Return the date of an answer, which is the exchange's own; None where it has none, or none that can be read."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def _request_name(path: str, params: Mapping[str, str]) -> str:
    """Return a request's name in `Refusals`: the firewall may dislike one symbol's name."""
    return f"{path} {params.get('symbol', '')}"


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise MalformedFrame("expected a JSON object")
    return body


def _error_of(raw: bytes) -> tuple[int, str]:
    """Return the exchange's own error code and text from a body, 0 and empty where it holds none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return 0, ""
    if not isinstance(body, dict) or type(body.get("code")) is not int:
        return 0, ""
    text = body.get("msg")
    return body["code"], printable(text[:ERROR_CHARS_MAX]) if isinstance(text, str) else ""


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return RETRY_AFTER_DEFAULT_S
    return min(max(float(text), 1.0), BAN_MAX_S)
