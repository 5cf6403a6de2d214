"""Parsing of the messages of Binance's streams: raw JSON in, market values out. No I/O, and no state between messages.

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
from pulse.market.types import (
    Aggressor,
    BookTicker,
    Candle,
    DepthDiff,
    ExchangeCandle,
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
        raise MalformedFrame(f"expected symbol {symbol} in its own stream, got {shown(data.get('s'))}")
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


def _control(body: dict[str, Any]) -> Message:
    if body.get("e") == "serverShutdown":
        return ServerShutdown()
    # The exchange documents errors as flat (code, msg), but has also sent them nested under `error`.
    nested = body.get("error")
    error = nested if isinstance(nested, dict) else body
    if "msg" in error or "code" in error:
        value = error.get("msg", "")
        text = printable(value[:ERROR_CHARS_MAX]) if isinstance(value, str) else shown(value)
        return Reply(body.get("id"), None, f"{text} (code {shown(error.get('code'))})")
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


def read_levels(rows: Any) -> Levels:
    """Parse a list of [price, quantity] strings, in C loops; levels that are parsed already are returned unchanged.

    Raises MalformedFrame.
    """
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
        first_update_id=read_id(data.get("U")),
        final_update_id=read_id(data.get("u")),
        event_time_ms=read_time(data.get("E")),
        bids=read_levels(data.get("b")),
        asks=read_levels(data.get("a")),
    )
    if diff.first_update_id > diff.final_update_id:
        raise MalformedFrame("expected a diff's first id at or below its final id")
    return diff


def _partial(data: dict[str, Any]) -> PartialDepth:
    return PartialDepth(read_id(data.get("lastUpdateId")), read_levels(data.get("bids")), read_levels(data.get("asks")))


def _book_ticker(data: dict[str, Any]) -> BookTicker:
    return BookTicker(
        update_id=read_id(data.get("u")),
        bid_price=read_price(data.get("b")),
        bid_quantity=read_quantity(data.get("B")),
        ask_price=read_price(data.get("a")),
        ask_quantity=read_quantity(data.get("A")),
    )


def _trade(data: dict[str, Any]) -> Trade:
    trade_id = read_id(data.get("t"))
    return _make_trade(data, trade_id, trade_id, trade_id)


def read_agg_trade(data: dict[str, Any]) -> Trade:
    """Return an aggregate trade of the stream, or of a REST row with an event time. Raises MalformedFrame."""
    return _make_trade(data, read_id(data.get("a")), read_id(data.get("f")), read_id(data.get("l")))


def _make_trade(data: dict[str, Any], trade_id: int, first_id: int, last_id: int) -> Trade:
    if not isinstance(data.get("m"), bool) or first_id > last_id:
        raise MalformedFrame("expected a trade's maker flag and ids in order")
    return Trade(
        trade_id=trade_id,
        price=read_price(data.get("p")),
        quantity=read_quantity(data.get("q")),
        time_ms=read_time(data.get("T")),
        aggressor=Aggressor.SELLER if data["m"] else Aggressor.BUYER,
        first_trade_id=first_id,
        last_trade_id=last_id,
        event_time_ms=read_time(data.get("E")),
        is_market=data.get("X", "MARKET") == "MARKET",
    )


def _kline(data: dict[str, Any]) -> ExchangeCandle:
    k = data.get("k")
    if not isinstance(k, dict) or not isinstance(k.get("x"), bool):
        raise MalformedFrame("expected a kline under `k`")
    candle = Candle(
        symbol=data["s"],
        open_time_ms=read_time(k.get("t")),
        open=read_price(k.get("o")),
        high=read_price(k.get("h")),
        low=read_price(k.get("l")),
        close=read_price(k.get("c")),
        volume=read_quantity(k.get("v")),
        quote_volume=read_quantity(k.get("q")),
        trade_count=read_id(k.get("n")),
        taker_buy_volume=read_quantity(k.get("V")),
        taker_buy_quote_volume=read_quantity(k.get("Q")),
        first_trade_id=_optional_trade_id(k.get("f")),
        last_trade_id=_optional_trade_id(k.get("L")),
        is_closed=k["x"],
        source="exchange",
        reconciled=True,
    )
    return ExchangeCandle(candle, read_time(data.get("E")))


def read_id(value: Any) -> int:
    """Return an id or a count. Raises MalformedFrame."""
    # JSON's true is an int in Python, and integers beyond 64 bits arrive as floats.
    if type(value) is not int or not 0 <= value <= ID_MAX:
        raise MalformedFrame(f"expected an id, got {shown(value)}")
    return value


def _optional_trade_id(value: Any) -> int:
    return -1 if value == -1 else read_id(value)


def read_time(value: Any) -> int:
    """Return a time in ms since the epoch. Raises MalformedFrame."""
    if type(value) is int:
        if TIME_MS_MIN <= value < TIME_MS_MAX:
            return value
        if TIME_US_MIN <= value < TIME_US_MAX:
            return value // 1000
    raise MalformedFrame(f"expected a time in milliseconds or microseconds, got {shown(value)}")


def read_quantity(value: Any) -> float:
    """Return a decimal of 0 or more. Raises MalformedFrame."""
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        raise MalformedFrame(f"expected a decimal string, got {shown(value)}")
    return float(value)


def read_price(value: Any) -> float:
    """Return a decimal above 0. Raises MalformedFrame."""
    price = read_quantity(value)
    if price <= 0:
        raise MalformedFrame("expected a price above 0")
    return price


def shown(value: Any) -> str:
    """Return a value as an error text may show it: a deeply nested one would exhaust the stack of repr()."""
    return repr(value)[:80] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"


_PARSERS: dict[str, tuple[str, Callable[[dict[str, Any]], Event]]] = {
    "depth@100ms": ("depth", _depth),
    "depth": ("depth", _depth),
    "depth20": ("partial", _partial),
    "depth20@100ms": ("partial", _partial),
    "bookTicker": ("bookTicker", _book_ticker),
    "trade": ("trade", _trade),
    "aggTrade": ("trade", read_agg_trade),
    "kline_1m": ("kline", _kline),
}
