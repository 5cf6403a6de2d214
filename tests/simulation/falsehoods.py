"""Falsehoods: frames and answers in the exchange's form whose values cannot be true, for each value of each kind.

`FALSEHOODS` has them by stream, `FALSE_ANSWERS` by path of a REST call; the fault of the same name draws one. Those
marked possible are consistent with everything that one frame can be compared with: they may be applied, but their
effect must end. Those marked as needing a neighbour are consistent where no frame of the stream came before.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from pulse.market.types import MINUTE_MS
from pulse.simulator.payloads import JsonObject

Answer = Any
FalsifyAnswer = Callable[[Answer, random.Random], Answer]

HOUR_MS, DAY_MS, CENTURY_MS = 3_600_000, 86_400_000, 3_155_760_000_000
FAR = 10**9
HUGE = "10000000000000000000"

Falsify = Callable[[JsonObject, random.Random], JsonObject]


class Falsehood(NamedTuple):
    """One way to falsify a frame."""

    falsify: Falsify
    is_possible: bool = False
    needs_neighbour: bool = False


def _shift(*keys: str, by: tuple[int, ...]) -> Falsehood:
    def falsify(data: JsonObject, rng: random.Random) -> JsonObject:
        difference = rng.choice(by)
        return data | {key: data[key] + difference for key in keys}

    return Falsehood(falsify, needs_neighbour=not {"E", "T", "t"} & {*keys})


def _scale(key: str, *factors: float) -> Falsehood:
    def falsify(data: JsonObject, rng: random.Random) -> JsonObject:
        return data | {key: f"{float(data[key]) * rng.choice(factors):.8f}"}

    return Falsehood(falsify, needs_neighbour=True)


def _set(key: str, text: str) -> Falsehood:
    return Falsehood(lambda data, _: data | {key: text})


def _level(sides: tuple[str, str], column: int, make: Callable[[str], str]) -> Falsehood:
    """Falsify the first level of the first side that has one."""

    def falsify(data: JsonObject, _: random.Random) -> JsonObject:
        side = next(side for side in sides if data[side])
        first, *rest = data[side]
        level = [*first[:column], make(first[column]), *first[column + 1 :]]
        return data | {side: [level, *rest]}

    return Falsehood(falsify)


def _in_candle(inner: Falsehood) -> Falsehood:
    return Falsehood(lambda data, rng: data | {"k": inner.falsify(data["k"], rng)})


def _scale_prices(data: JsonObject, rng: random.Random) -> JsonObject:
    factor = rng.choice([10, 0.1])
    return data | {key: f"{float(data[key]) * factor:.8f}" for key in "ohlc"}


TIMES = (-CENTURY_MS // 10, -DAY_MS, -HOUR_MS, HOUR_MS, DAY_MS, CENTURY_MS)
AHEAD = (3_000, 60_000, *TIMES[3:])

FALSEHOODS: dict[str, tuple[Falsehood, ...]] = {
    "@depth@100ms": (
        _shift("E", by=AHEAD),
        _shift("E", by=TIMES),
        _shift("u", by=(FAR, FAR**2 // 10)),
        _shift("U", "u", by=(FAR,)),
        _level(("b", "a"), 1, lambda _: HUGE),
    ),
    "@bookTicker": (
        _shift("u", by=(FAR, FAR**2 // 10)),
        _shift("u", by=(1, 50, 5000))._replace(is_possible=True),
        _scale("b", 10),
        _scale("a", 0.1),
        _set("B", HUGE),
        _set("A", HUGE),
    ),
    "@depth20": (
        _shift("lastUpdateId", by=(FAR,)),
        _shift("lastUpdateId", by=(50, 5000))._replace(is_possible=True),
        _level(("bids", "asks"), 1, lambda _: HUGE),
        _level(("bids", "asks"), 0, lambda text: f"{float(text) * 10:.8f}"),
    ),
    "@aggTrade": (
        _shift("E", by=AHEAD),
        _shift("E", by=TIMES),
        _shift("T", by=TIMES),
        _shift("T", by=(-30_000, 3_000)),
        _shift("E", "T", by=AHEAD),
        _shift("a", by=(FAR,)),
        _shift("a", by=(1, 50)),
        _shift("a", "f", "l", by=(FAR, FAR**2 // 10)),
        _shift("l", by=(FAR,)),
        _shift("f", "l", by=(FAR,)),
        _scale("p", 10, 0.1, 2),
        _set("q", HUGE),
        _scale("q", 1e9),
    ),
    "@kline_1m": (
        _shift("E", by=AHEAD),
        _shift("E", by=TIMES),
        _in_candle(_shift("t", by=(1, -1, 30_000))),
        _in_candle(_shift("t", by=(MINUTE_MS, *TIMES))),
        _in_candle(_scale("c", 10, 0.1)),
        _in_candle(_scale("h", 0.5)),
        _in_candle(_scale("l", 2)),
        _in_candle(_set("v", HUGE)),
        _in_candle(_scale("q", 1.7, 0.4)),
        _in_candle(_shift("n", by=(FAR,))),
        _in_candle(Falsehood(_scale_prices)),
    ),
}
"""What may be false, by the end of the stream's name."""


def _in_row(change: Callable[[Any, random.Random], Any]) -> FalsifyAnswer:
    """Falsify one row of an answer that is a list, if it has any."""

    def falsify(rows: Answer, rng: random.Random) -> Answer:
        if not rows:
            return rows
        at = rng.randrange(len(rows))
        return [*rows[:at], change(rows[at], rng), *rows[at + 1 :]]

    return falsify


def _in_side(column: int, make: Callable[[str], str]) -> FalsifyAnswer:
    """Falsify the best bid of a snapshot."""

    def falsify(body: Answer, _: random.Random) -> Answer:
        (*level,), *rest = body["bids"]
        level[column] = make(level[column])
        return body | {"bids": [level, *rest]}

    return falsify


def _set_column(column: int, make: Callable[[Any], Any]) -> FalsifyAnswer:
    return _in_row(lambda row, _: [*row[:column], make(row[column]), *row[column + 1 :]])


def _set_key(key: str, make: Callable[[Any], Any]) -> FalsifyAnswer:
    return _in_row(lambda row, _: row | {key: make(row[key])})


FALSE_ANSWERS: dict[str, tuple[FalsifyAnswer, ...]] = {
    "/api/v3/depth": (
        lambda body, _: body | {"lastUpdateId": body["lastUpdateId"] + FAR},
        lambda body, _: body | {"lastUpdateId": 0},
        _in_side(0, lambda price: f"{float(price) * 10:.8f}"),
        _in_side(1, lambda _: HUGE),
    ),
    "/api/v3/aggTrades": (
        _set_key("a", lambda trade_id: trade_id - FAR),
        _set_key("T", lambda time_ms: time_ms + DAY_MS),
        _set_key("T", lambda time_ms: time_ms - DAY_MS),
        _set_key("q", lambda _: HUGE),
        _set_key("f", lambda trade_id: trade_id - FAR),
    ),
    "/api/v3/klines": (
        _set_column(0, lambda time_ms: time_ms + 1),
        _set_column(0, lambda time_ms: time_ms + DAY_MS),
        _set_column(4, lambda price: f"{float(price) * 10:.8f}"),
        _set_column(5, lambda _: HUGE),
        _set_column(8, lambda count: 0 if count else FAR),
    ),
    "/api/v3/exchangeInfo": (
        lambda body, _: body | {"symbols": [row | {"status": 1} for row in body["symbols"][:1]] + body["symbols"][1:]},
    ),
}
"""What may be false in an answer, by path."""
