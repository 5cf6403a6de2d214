"""Asking Binance things: every REST call of the process, within one weight budget and the exchange's patience.

It retries nothing; callers know what a failure means to them. Answers are checked for size, status and shape
before anything is believed. Redirects are not followed.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import orjson

from pulse import stats
from pulse.binance import frames
from pulse.binance.budget import WeightBudget
from pulse.binance.venues import Venue
from pulse.clock import Clock
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame
from pulse.market.types import Candle, DepthSnapshot, Instrument

REQUEST_TIMEOUT_S = 12.0
"""The exchange itself gives up after 10 s."""
BODY_BYTES_MAX = 16 * 2**20
RETRY_AFTER_DEFAULT_S = 60.0
RETRY_AFTER_MAX_S = 3 * 24 * 3600.0
KLINES_MAX = 1000
INVALID_SYMBOL = -1121


class BinanceRest:
    """The REST side of one venue. Every method raises ExchangeError or one of its kinds."""

    def __init__(self, session: aiohttp.ClientSession, venue: Venue, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._turn = asyncio.Lock()
        self.use(venue)

    def use(self, venue: Venue) -> None:
        """Ask this venue from now on; its budget is its own."""
        self.venue = venue
        self._budget = WeightBudget(venue.weight_per_minute)

    async def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The order book, up to `limit` levels a side."""
        weight = self.venue.weights.depth_weight(limit)
        body = await self._get("/api/v3/depth", {"symbol": symbol, "limit": str(limit)}, weight)
        return frames.parse_snapshot(_object(body), limit)

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """The exchange's one-minute candles that open in [start, end], oldest first, at most KLINES_MAX."""
        params = {
            "symbol": symbol, "interval": "1m", "limit": str(KLINES_MAX),
            "startTime": str(start_ms), "endTime": str(end_ms),
        }  # fmt: skip
        rows = await self._get("/api/v3/klines", params, self.venue.weights.klines)
        if not isinstance(rows, list):
            raise MalformedFrame("expected a list of klines")
        now_ms = int(self._clock.wall_s() * 1000)
        return [frames.parse_kline_row(symbol, row, now_ms) for row in rows[:KLINES_MAX]]

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

    async def _exchange_info(self, params: dict[str, str]) -> dict[str, Instrument]:
        body = _object(await self._get("/api/v3/exchangeInfo", params, self.venue.weights.exchange_info))
        limit = frames.parse_weight_limit(body)
        if limit is not None:
            self._budget.set_limit(limit)
        return frames.parse_instruments(body)

    async def _get(self, path: str, params: dict[str, str], weight: int) -> Any:
        await self._wait_turn(weight)
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_S),
                self._session.get(self.venue.rest_url + path, params=params, allow_redirects=False) as response,
            ):
                raw = await _bounded_body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            stats.rest_errors.labels(path).inc()
            raise ExchangeError(f"{self.venue.title} did not answer: {_words(fault)}") from fault
        self._note_weight(response.headers)
        if response.status != 200:
            stats.rest_errors.labels(path).inc()
            raise self._trouble(response.status, response.headers, raw)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as fault:
            raise MalformedFrame(f"{self.venue.title} answered with something that is not JSON") from fault

    async def _wait_turn(self, weight: int) -> None:
        """Wait until the budget allows this call, and book it; callers queue in order."""
        async with self._turn:
            now_s = self._clock.wall_s()
            closed_s = self._budget.closed_for_s(now_s)
            if closed_s:
                raise ExchangeBusy(f"{self.venue.title} asked for no requests for {closed_s:.0f} s more", closed_s)
            # At most a minute: then the exchange's count starts anew.
            await asyncio.sleep(self._budget.wait_s(weight, now_s))
            self._budget.spend(weight, self._clock.wall_s())
            stats.rest_weight.inc(weight)

    def _note_weight(self, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isascii() and used.isdigit() and len(used) < 10:
            self._budget.observe(int(used), self._clock.wall_s())

    def _trouble(self, status: int, headers: Mapping[str, str], raw: bytes) -> ExchangeError:
        title = self.venue.title
        code, text = _error_of(raw)
        if status in (451, 403):
            return ExchangeRefused(f"{title} does not serve this address or region (HTTP {status})", status)
        if status in (429, 418):
            wait_s = _retry_after(headers)
            self._budget.close(wait_s, self._clock.wall_s())
            return ExchangeBusy(f"{title} asked for no requests for {wait_s:.0f} s (HTTP {status})", wait_s)
        if code == INVALID_SYMBOL:
            return UnknownSymbol(f"{title} does not list this symbol")
        return ExchangeError(f"{title} answered HTTP {status}: {text or 'no reason given'}")


class UnknownSymbol(ExchangeError):
    """The venue does not list the symbol asked for."""


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(2**16):
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise ExchangeError(f"an answer was larger than {BODY_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


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


def _words(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__
