"""Parsing of Binance's messages: raw JSON in, market values out. No I/O, and no state between messages.

Only the fields in use are checked, and strictly: a number must be a plain ASCII decimal (Python's own parsers also
accept `1_000`, full-width digits and NaN), an id a true integer. Unknown streams and extra fields are ignored, because
the exchange adds both without notice. A wrong value raises MalformedFrame, and nothing of its message is used.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, NamedTuple, TypeAlias

import orjson

from pulse.errors import MalformedFrame
from pulse.logs import printable
from pulse.market.symbol_names import is_symbol_name
from pulse.market.types import (
    Aggressor,
    BookTicker,
    Candle,
    DepthDiff,
    DepthSnapshot,
    ExchangeCandle,
    Instrument,
    Levels,
    PartialDepth,
    Trade,
)

LEVELS_MAX = 20_000
"""Levels per side in one message: four times the deepest snapshot. A message with more is refused."""
ERROR_CHARS_MAX = 200
"""How much of the exchange's own error text an error of ours repeats."""
ID_MAX = 2**63 - 1
TIME_MS_MIN, TIME_MS_MAX = 10**12, 10**13
"""Milliseconds since the epoch have 13 digits."""
TIME_US_MIN, TIME_US_MAX = TIME_MS_MIN * 1000, TIME_MS_MAX * 1000
"""Microseconds have 16: the exchange sends them on request, so recordings have them. Any other unit is refused."""
DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)

SYMBOLS_MAX = 20_000
"""Names that are read from a list, several times as many as any exchange lists; the rest is ignored."""

DECIMAL_BYTES = b"0123456789."
DECIMAL_LIST_BYTES = DECIMAL_BYTES + b","
"""All bytes that may occur in a comma-separated list of prices and quantities: no sign, no exponent."""
BIDS, ASKS = b'"b":', b',"a":'
"""The start of each side of a depth diff, as the exchange writes it."""
LEVEL_PUNCTUATION = b'["",""],'
LEVELS_PUNCTUATION = b"[" + LEVEL_PUNCTUATION * LEVELS_MAX
"""What remains of one level, and of LEVELS_MAX levels, once the decimals are removed."""
TO_DECIMAL_LIST = bytes.maketrans(b'["]', b"   ")
"""Translates levels to their decimals and the commas between them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a control message; `error` is empty where it was accepted."""

    id: int | str | None
    result: Any
    error: str


@dataclass(frozen=True, slots=True)
class ServerShutdown:
    """The exchange is about to close this connection."""


Event: TypeAlias = DepthDiff | PartialDepth | BookTicker | Trade | ExchangeCandle


class Frame(NamedTuple):
    """One event of one symbol and the kind of its stream: depth, partial, bookTicker, trade or kline."""

    symbol: str
    kind: str
    event: Event


Message: TypeAlias = Frame | Reply | ServerShutdown | None


def parse(raw: str | bytes) -> Message:
    """Parse one message of a combined stream; return None for a stream that is not used. Raises MalformedFrame."""
    body = _load_frame(raw if isinstance(raw, bytes) else raw.encode(errors="surrogatepass"))
    stream, data = body.get("stream"), body.get("data")
    if not isinstance(stream, str):
        return _control(body)
    if stream == "!serverShutdown" or (isinstance(data, dict) and data.get("e") == "serverShutdown"):
        return ServerShutdown()
    symbol, _, name = stream.partition("@")
    kind, parser = _PARSERS.get(name, ("", None))
    if parser is None:
        return None  # of several symbols, whose data is a list, or of a kind that is not used
    if not isinstance(data, dict):
        raise MalformedFrame("expected an object under `data`")
    symbol = symbol.upper()
    # Of all payloads only a partial depth does not name its symbol; its stream does.
    if kind != "partial" and data.get("s") != symbol:
        raise MalformedFrame(f"expected symbol {symbol} in its own stream, got {_shown(data.get('s'))}")
    return Frame(symbol, kind, parser(data))


def _load_frame(raw: bytes) -> dict[str, Any]:
    """Load a frame as `load_object` does, in a third of the time where levels are most of it: they are read as numbers.

    It cuts two lists from the end of an object within the outermost one; the rest is valid exactly if the whole is.
    """
    start = raw.find(BIDS)
    end = raw.find(ASKS, start)
    if 0 < start < end and raw.endswith(b"}}"):
        bids, asks = _flat_levels(raw[start + len(BIDS) : end]), _flat_levels(raw[end + len(ASKS) : -2])
        if bids is not None and asks is not None:
            body = load_object(raw[:start] + b'"b":null,"a":null}}')
            data = body.get("data")
            if isinstance(data, dict) and "b" in data and data["b"] is None and data.get("a", "") is None:
                data["b"], data["a"] = bids, asks
                return body
    return load_object(raw)


def load_object(raw: str | bytes) -> dict[str, Any]:
    """Load raw JSON that must be an object. Raises MalformedFrame."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise MalformedFrame("expected JSON") from fault
    if not isinstance(body, dict):
        raise MalformedFrame("expected a JSON object")
    return body


def parse_names(rows: list[Any]) -> list[str]:
    """Return the symbols of a list of prices, in its order; anything that is not a symbol's name is ignored."""
    names = (row.get("symbol") for row in rows[:SYMBOLS_MAX] if isinstance(row, dict))
    return [name for name in names if isinstance(name, str) and is_symbol_name(name)]


def parse_snapshot(body: dict[str, Any], limit: int) -> DepthSnapshot:
    """Parse the answer of GET /api/v3/depth; `limit` is that of the request, 0 if unknown. Raises MalformedFrame."""
    snapshot = DepthSnapshot(
        last_update_id=_id(body.get("lastUpdateId")),
        bids=_levels(body.get("bids")),
        asks=_levels(body.get("asks")),
        limit=limit,
    )
    for levels in (snapshot.bids, snapshot.asks):
        if len(set(levels.prices)) != len(levels.prices):
            raise MalformedFrame("expected each price once in a snapshot")
    return snapshot


def parse_kline_row(symbol: str, row: Any, now_ms: int) -> Candle:
    """Parse one row of GET /api/v3/klines; it is closed when its close time has passed. Raises MalformedFrame."""
    if not isinstance(row, list) or len(row) < 11:
        raise MalformedFrame("expected a kline row of at least 11 columns")
    return Candle(
        symbol=symbol,
        open_time_ms=_time(row[0]),
        open=_price(row[1]),
        high=_price(row[2]),
        low=_price(row[3]),
        close=_price(row[4]),
        volume=_quantity(row[5]),
        quote_volume=_quantity(row[7]),
        trade_count=_id(row[8]),
        taker_buy_volume=_quantity(row[9]),
        taker_buy_quote_volume=_quantity(row[10]),
        first_trade_id=-1,
        last_trade_id=-1,
        is_closed=_time(row[6]) < now_ms,
        source="exchange",
        reconciled=True,
    )


def parse_agg_trade_row(row: Any) -> Trade:
    """Parse one row of GET /api/v3/aggTrades, which carries no event time. Raises MalformedFrame."""
    if not isinstance(row, dict):
        raise MalformedFrame("expected an aggregate trade as an object")
    return _agg_trade(row | {"E": row.get("T")})


class InstrumentRows(NamedTuple):
    """The instruments of an answer by symbol, and the symbols whose rows are malformed, each with its fault."""

    found: dict[str, Instrument]
    malformed: dict[str, str]


def parse_instruments(body: dict[str, Any]) -> InstrumentRows:
    """Parse GET /api/v3/exchangeInfo. A malformed row is its own symbol's matter. Raises MalformedFrame without a list.

    Rows that name no symbol are ignored.
    """
    rows = body.get("symbols")
    if not isinstance(rows, list):
        raise MalformedFrame("expected a list under `symbols`")
    found, malformed = {}, {}
    for row in rows:
        symbol = row.get("symbol") if isinstance(row, dict) else None
        if not isinstance(symbol, str):
            continue
        try:
            found[symbol] = _instrument(row)
        except MalformedFrame as fault:
            malformed[symbol] = str(fault)
    return InstrumentRows(found, malformed)


def parse_weight_limit(body: dict[str, Any]) -> int | None:
    """Return the request weight per minute of exchangeInfo, None where it states none. Raises MalformedFrame."""
    limits = body.get("rateLimits")
    for limit in limits if isinstance(limits, list) else []:
        if not isinstance(limit, dict) or limit.get("rateLimitType") != "REQUEST_WEIGHT":
            continue
        if limit.get("interval") == "MINUTE":
            return _id(limit.get("limit")) // max(1, _id(limit.get("intervalNum", 1)))
    return None


def _instrument(row: dict[str, Any]) -> Instrument:
    tick = _filter(row, "PRICE_FILTER").get("tickSize", "0")
    lot = _filter(row, "LOT_SIZE").get("stepSize", "0")
    return Instrument(
        symbol=row["symbol"],
        base_asset=_text(row.get("baseAsset", "")),
        quote_asset=_text(row.get("quoteAsset", "")),
        status=_text(row.get("status", "")),
        tick_size=_quantity(tick),
        lot_size=_quantity(lot),
        price_decimals=_decimals(tick),
        quantity_decimals=_decimals(lot),
    )


def _filter(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a symbol's filter of this type; empty where it has none, because every filter is optional."""
    filters = row.get("filters")
    rows = filters if isinstance(filters, list) else []
    return next((f for f in rows if isinstance(f, dict) and f.get("filterType") == name), {})


def _decimals(step: str) -> int:
    """Return how many decimals a multiple of this step needs; 8, the exchange's finest, where it sets no step."""
    if not float(step):
        return 8
    return len(step.rstrip("0").partition(".")[2])


def _control(body: dict[str, Any]) -> Message:
    if body.get("e") == "serverShutdown":
        return ServerShutdown()
    # The exchange documents errors as flat (code, msg), but has also sent them nested under `error`.
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else body
    if "msg" in error or "code" in error:
        value = error.get("msg", "")
        text = printable(value[:ERROR_CHARS_MAX]) if isinstance(value, str) else _shown(value)
        return Reply(body.get("id"), None, f"{text} (code {_shown(error.get('code'))})")
    if "result" in body:
        return Reply(body.get("id"), body["result"], "")
    raise MalformedFrame("expected a stream's event or the answer to a request")


def _flat_levels(text: bytes) -> Levels | None:
    """Parse `[["price","quantity"],...]` in one pass, without a string per number; return None for any other text."""
    if text == b"[]":
        return Levels([], [])
    rest = text.translate(None, DECIMAL_BYTES)
    if len(rest) % len(LEVEL_PUNCTUATION) != 1 or not rest.endswith(b"]]"):
        return None
    if not LEVELS_PUNCTUATION.startswith(rest[:-1]):
        return None
    if b'""' in text:
        return None
    try:
        # All quotes hold a digit, so a digit outside of them makes two numbers without a comma: invalid JSON.
        numbers = orjson.loads(b"[" + text.translate(TO_DECIMAL_LIST) + b"]")
    except orjson.JSONDecodeError:
        return None
    prices = numbers[::2]
    # Too many digits make an infinity, and with it the sum.
    return Levels(prices, numbers[1::2]) if min(prices) > 0 and sum(numbers) < inf else None


def _levels(rows: Any) -> Levels:
    """Parse a list of [price, quantity] strings, in C loops; levels that are parsed already are returned unchanged."""
    if isinstance(rows, Levels):
        return rows
    if not isinstance(rows, list) or len(rows) > LEVELS_MAX:
        raise MalformedFrame(f"expected a list of at most {LEVELS_MAX} levels")
    if not rows:
        return Levels([], [])
    try:
        prices, quantities, *_ = zip(*rows, strict=True)
        text = f"{','.join(prices)},{','.join(quantities)}".encode()
        is_plain = not text.translate(None, DECIMAL_LIST_BYTES) and set(map(type, rows)) == {list}
        # One JSON list is parsed in a third of the time that float() takes string by string.
        numbers = orjson.loads(b"[%b]" % text)
    except (TypeError, ValueError) as fault:
        raise MalformedFrame("expected levels as [price, quantity] of decimal strings") from fault
    price_numbers, quantity_numbers = numbers[: len(rows)], numbers[len(rows) :]
    # Too many digits make an infinity, and with it the sum.
    if not is_plain or len(quantity_numbers) != len(rows) or not isfinite(sum(numbers)) or min(price_numbers) <= 0:
        raise MalformedFrame("expected positive prices and quantities of 0 or more, in plain ASCII decimals")
    return Levels(price_numbers, quantity_numbers)


def _depth(data: dict[str, Any]) -> DepthDiff:
    diff = DepthDiff(
        first_update_id=_id(data.get("U")),
        final_update_id=_id(data.get("u")),
        event_time_ms=_time(data.get("E")),
        bids=_levels(data.get("b")),
        asks=_levels(data.get("a")),
    )
    if diff.first_update_id > diff.final_update_id:
        raise MalformedFrame("expected a diff's first id at or below its final id")
    return diff


def _partial(data: dict[str, Any]) -> PartialDepth:
    return PartialDepth(_id(data.get("lastUpdateId")), _levels(data.get("bids")), _levels(data.get("asks")))


def _book_ticker(data: dict[str, Any]) -> BookTicker:
    return BookTicker(
        update_id=_id(data.get("u")),
        bid_price=_price(data.get("b")),
        bid_quantity=_quantity(data.get("B")),
        ask_price=_price(data.get("a")),
        ask_quantity=_quantity(data.get("A")),
    )


def _trade(data: dict[str, Any]) -> Trade:
    trade_id = _id(data.get("t"))
    return _make_trade(data, trade_id, trade_id, trade_id)


def _agg_trade(data: dict[str, Any]) -> Trade:
    return _make_trade(data, _id(data.get("a")), _id(data.get("f")), _id(data.get("l")))


def _make_trade(data: dict[str, Any], trade_id: int, first_id: int, last_id: int) -> Trade:
    if not isinstance(data.get("m"), bool) or first_id > last_id:
        raise MalformedFrame("expected a trade's maker flag and ids in order")
    return Trade(
        trade_id=trade_id,
        price=_price(data.get("p")),
        quantity=_quantity(data.get("q")),
        time_ms=_time(data.get("T")),
        aggressor=Aggressor.SELLER if data["m"] else Aggressor.BUYER,
        first_trade_id=first_id,
        last_trade_id=last_id,
        event_time_ms=_time(data.get("E")),
        is_market=data.get("X", "MARKET") == "MARKET",
    )


def _kline(data: dict[str, Any]) -> ExchangeCandle:
    k = data.get("k")
    if not isinstance(k, dict) or not isinstance(k.get("x"), bool):
        raise MalformedFrame("expected a kline under `k`")
    candle = Candle(
        symbol=data["s"],
        open_time_ms=_time(k.get("t")),
        open=_price(k.get("o")),
        high=_price(k.get("h")),
        low=_price(k.get("l")),
        close=_price(k.get("c")),
        volume=_quantity(k.get("v")),
        quote_volume=_quantity(k.get("q")),
        trade_count=_id(k.get("n")),
        taker_buy_volume=_quantity(k.get("V")),
        taker_buy_quote_volume=_quantity(k.get("Q")),
        first_trade_id=_optional_trade_id(k.get("f")),
        last_trade_id=_optional_trade_id(k.get("L")),
        is_closed=k["x"],
        source="exchange",
        reconciled=True,
    )
    return ExchangeCandle(candle, _time(data.get("E")))


def _id(value: Any) -> int:
    # JSON's true is an int in Python, and integers beyond 64 bits arrive as floats.
    if type(value) is not int or not 0 <= value <= ID_MAX:
        raise MalformedFrame(f"expected an id, got {_shown(value)}")
    return value


def _optional_trade_id(value: Any) -> int:
    return -1 if value == -1 else _id(value)


def _time(value: Any) -> int:
    if type(value) is int:
        if TIME_MS_MIN <= value < TIME_MS_MAX:
            return value
        if TIME_US_MIN <= value < TIME_US_MAX:
            return value // 1000
    raise MalformedFrame(f"expected a time in milliseconds or microseconds, got {_shown(value)}")


def _quantity(value: Any) -> float:
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        raise MalformedFrame(f"expected a decimal string, got {_shown(value)}")
    return float(value)


def _price(value: Any) -> float:
    price = _quantity(value)
    if price <= 0:
        raise MalformedFrame("expected a price above 0")
    return price


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedFrame(f"expected a string, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Return a value as an error text may show it: a deeply nested one would exhaust the stack of repr()."""
    return repr(value)[:80] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"


_PARSERS: dict[str, tuple[str, Callable[[dict[str, Any]], Event]]] = {
    "depth@100ms": ("depth", _depth),
    "depth": ("depth", _depth),
    "depth20": ("partial", _partial),
    "depth20@100ms": ("partial", _partial),
    "bookTicker": ("bookTicker", _book_ticker),
    "trade": ("trade", _trade),
    "aggTrade": ("trade", _agg_trade),
    "kline_1m": ("kline", _kline),
}
