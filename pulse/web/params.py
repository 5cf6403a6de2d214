"""Query parameters, checked strictly and turned into values.

Every error is a RequestError that names the parameter and its valid values. It knows no store and no route.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import Request

from pulse.errors import ListingPending, RequestError, TooManySymbols, UnknownListing, try_later, wrong_parameter
from pulse.market.intervals import INTERVALS, MINUTE, TIME_MAX_MS, Interval
from pulse.market.symbol_names import symbol_name
from pulse.symbols import LISTING_RETRY_AFTER_S, SymbolRegistry

LIMIT_DEFAULT, LIMIT_MAX, STREAM_MAX = 100, 1000, 1_000_000
"""Candles in an answer; a stream with a start may be longer."""
FORMATS = ("json", "csv", "ndjson")
SECONDS_BELOW = 100_000_000_000
"""A whole number below this is in seconds (up to the year 5138), from it on in milliseconds (from 1973-03-03)."""

WHOLE = re.compile(r"[0-9]{1,16}", re.ASCII)
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY = "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
# An unescaped "+" arrives as a space, so that a time copied from one of our answers works unchanged.
_TIME_OF_DAY = f"[T ]({_HOUR_MINUTE}(?::[0-5][0-9](?:[.][0-9]{{1,6}})?)?)(?:(Z)|([+ -])({_HOUR_MINUTE}))?"
ISO_TIME = re.compile(f"({_DATE})(?:{_TIME_OF_DAY})?", re.ASCII)
"""Exactly the times that exist, so that the API's description, which has the same pattern, accepts no other."""
TIME_PATTERN = f"^(?:{WHOLE.pattern}|{ISO_TIME.pattern})$"
"""All that `start` and `end` may be, as a pattern of JSON Schema."""
TIME_ALLOWED = "an ISO 8601 time (UTC unless it says otherwise), or whole seconds or milliseconds since 1970"


@dataclass(frozen=True)
class CandleQuery:
    """The parameters of GET /api/ohlcv: open times from `start_ms` to `end_ms`, both included; None is unbounded."""

    symbol: str
    interval: Interval
    limit: int
    start_ms: int | None
    end_ms: int | None
    format: str


@dataclass(frozen=True)
class GapQuery:
    """The parameters of GET /api/gaps: the first `limit` gaps that touch [start_ms, end_ms]."""

    symbol: str
    limit: int
    start_ms: int
    end_ms: int


def known_symbol(
    text: str | None, registry: SymbolRegistry, address: str, status: HTTPStatus = HTTPStatus.NOT_FOUND
) -> str:
    """Return the symbol that a client of an address names, or the default, and start it if it does not run.

    Raises RequestError with `status` for a symbol that is not listed, and with 503 where no further symbol may run or
    the exchange has not answered yet which symbols it lists, or 429 where the address may open none.
    """
    if text is None:
        return registry.default
    symbol = symbol_name(text) or text
    try:
        registry.acquire(symbol, address)
    except UnknownListing:
        raise wrong_parameter("symbol", text, registry.allowed(), status) from None
    except ListingPending as pending:
        raise try_later(str(pending), LISTING_RETRY_AFTER_S) from None
    except TooManySymbols as full:
        raise try_later(str(full), full.retry_after_s, full.status) from None
    return symbol


def read_candle_query(parameters: Mapping[str, Sequence[str]], registry: SymbolRegistry, address: str) -> CandleQuery:
    """Read the parameters of GET /api/ohlcv, each with all its values. All have defaults; unknown ones are ignored."""
    given = {name: single(parameters, name) for name in ("symbol", "interval", "limit", "start", "end", "format")}
    format_name = "json" if given["format"] is None else given["format"]
    if format_name not in FORMATS:
        raise wrong_parameter("format", format_name, FORMATS)
    limit_max = LIMIT_MAX if format_name == "json" or given["start"] is None else STREAM_MAX
    start_ms, end_ms = _range_ms(given["start"], given["end"])
    return CandleQuery(
        symbol=known_symbol(given["symbol"], registry, address, HTTPStatus.BAD_REQUEST),
        interval=_interval(given["interval"]),
        limit=whole_number("limit", given["limit"], LIMIT_DEFAULT, limit_max),
        start_ms=start_ms,
        end_ms=end_ms,
        format=format_name,
    )


def read_gap_query(parameters: Mapping[str, Sequence[str]], registry: SymbolRegistry, address: str) -> GapQuery:
    """Read the parameters of GET /api/gaps in the same way; without start and end the range is all of time."""
    given = {name: single(parameters, name) for name in ("symbol", "limit", "start", "end")}
    start_ms, end_ms = _range_ms(given["start"], given["end"])
    return GapQuery(
        symbol=known_symbol(given["symbol"], registry, address, HTTPStatus.BAD_REQUEST),
        limit=whole_number("limit", given["limit"], LIMIT_DEFAULT, LIMIT_MAX),
        start_ms=0 if start_ms is None else start_ms,
        end_ms=TIME_MAX_MS if end_ms is None else end_ms,
    )


def read_coverage_query(
    parameters: Mapping[str, Sequence[str]], registry: SymbolRegistry, address: str, days_max: int
) -> tuple[str, int]:
    """Read the parameters of GET /api/coverage and /api/history: a symbol, and the number of days."""
    given = {name: single(parameters, name) for name in ("symbol", "days")}
    days = whole_number("days", given["days"], 1, days_max)
    return known_symbol(given["symbol"], registry, address, HTTPStatus.BAD_REQUEST), days


def read_moment(text: str) -> int:
    """Read the parameter `at` of GET /orderbook: a moment in ms since the epoch. Raises RequestError."""
    at_ms = _time_ms("at", text)
    if at_ms is None or at_ms > TIME_MAX_MS:
        raise wrong_parameter("at", text, TIME_ALLOWED)
    return at_ms


def parameters_of(request: Request) -> dict[str, list[str]]:
    """Return the query parameters of a request, each with all its values."""
    return {name: request.query_params.getlist(name) for name in request.query_params}


def single(parameters: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return the value of a parameter, or None if it is missing. Raises RequestError if it is given twice."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, f"{name} must be given once, not twice.", parameter=name, allowed="once"
        )
    return values[0] if values else None


def _interval(text: str | None) -> Interval:
    if text is None:
        return MINUTE
    if text not in INTERVALS:
        raise wrong_parameter("interval", text, list(INTERVALS))
    return INTERVALS[text]


def whole_number(name: str, text: str | None, default: int, maximum: int) -> int:
    """Return a whole number from 1 to `maximum`, or the default if the parameter is missing. Raises RequestError."""
    if text is None:
        return default
    if not WHOLE.fullmatch(text) or not 1 <= int(text) <= maximum:
        raise wrong_parameter(name, text, f"a whole number from 1 to {maximum}")
    return int(text)


def _range_ms(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    start_ms, end_ms = _time_ms("start", start), _time_ms("end", end)
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "start must not be after end.", parameter="start", allowed="a time up to end"
        )
    return start_ms, end_ms


def _time_ms(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if WHOLE.fullmatch(text):
        number = int(text)
        return number * 1000 if number < SECONDS_BELOW else number
    time_ms = _iso_ms(text)
    if time_ms is None:
        raise wrong_parameter(name, text, TIME_ALLOWED)
    return time_ms


def _iso_ms(text: str) -> int | None:
    match = ISO_TIME.fullmatch(text)
    if match is None:
        return None
    day, time_of_day, _, sign, offset = match.groups()
    zone = f"{'-' if sign == '-' else '+'}{offset}" if offset else "+00:00"
    moment = datetime.fromisoformat(f"{day}T{time_of_day or '00:00'}{zone}")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
