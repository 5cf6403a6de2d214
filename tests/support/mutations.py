"""Mutations of one JSON frame: what a broken exchange, proxy or disk could make of it, from one random generator."""

import json
import random
import string
from collections.abc import Callable
from typing import Any

CHARACTERS = string.digits + string.digits + '.-"[]{},:eEuUbaNn_ '
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 10**18, 0.5, 1e308, -0.0,
)  # fmt: skip
TEXTS = (
    "", "0", "-1", "0.00000000", "1e400", "NaN", "Infinity", "-Infinity", "9" * 400, "1_0", " 1", "1 ", "1.", ".5",
    "\uff11", "\u0661", "\x00", "\U0001f600", "BTCUSDT", "ETHUSDT", "0x1", "null", "1\n", "%s", "a" * 5000,
)  # fmt: skip
WRONG: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], [["1"]], [["1", "2", "3"]], {"a": {"b": []}}, *NUMBERS, *TEXTS,
)  # fmt: skip
RAW = (
    "[" * 5000, "[" * 900 + "]" * 900, '{"a":' * 500 + "1" + "}" * 500, "1" * 400, "1e999", "-", "NaN", "tru",
    '"\\ud800"', '"\\u0000"', "01", "[,]", '{"a"}',
)  # fmt: skip
MESSAGES = (
    "", " ", "null", "[]", "{}", "0", '"x"', "\ufeff{}", '{"result":null,"id":1}', '{"error":{"code":2,"msg":"a\\nb"}}',
    '{"code":-1121,"msg":"Invalid symbol.","id":null}', '{"code":[[]],"msg":{"a":1}}', '{"id":1}',
    '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', '{"stream":"btcusdt@unknown","data":{}}',
    '{"stream":"btcusdt@depth@100ms","data":[]}', '{"stream":1,"data":{}}', '{"stream":"","data":null}',
    '{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":1,"u":1,"b":[],'
    '"a":[]}}',
)  # fmt: skip
LEVELS_ADDED = 6000

Body = dict[str, Any]


def mutated(rng: random.Random, text: str) -> list[str]:
    """Return what arrives in place of a frame: most often one changed text, sometimes none or several."""
    match rng.randrange(10):
        case 0:
            return []
        case 1:
            return [text, text]
        case 2:
            return [rng.choice(MESSAGES), text] if rng.random() < 0.5 else [rng.choice(MESSAGES)]
        case 3 | 4:
            return [_changed_characters(rng, text)]
        case 5:
            return [_changed_bits(rng, text)]
        case _:
            return [_changed_structure(rng, text)]


def _changed_characters(rng: random.Random, text: str) -> str:
    """Change, remove or insert a few characters, or cut the rest off."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(text) or 1)
        match rng.randrange(6):
            case 0:
                text = text[:at] + text[at + 1 :]
            case 1:
                text = text[:at] + rng.choice(CHARACTERS) + text[at:]
            case 2 if rng.random() < 0.3:
                text = text[: max(at, 1)]
            case _:
                text = text[:at] + rng.choice(CHARACTERS) + text[at + 1 :]
    return text


def _changed_bits(rng: random.Random, text: str) -> str:
    data = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    # The WebSocket library accepts valid UTF-8 alone.
    return data.decode(errors="replace")


def _changed_structure(rng: random.Random, text: str) -> str:
    """Change fields of the frame, or of what is in it."""
    body: Body = json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        rng.choice(CHANGES)(rng, rng.choice(_objects(body)))
    if rng.random() < 0.2:
        key = rng.choice(list(_objects(body)[-1]) or ["x"])
        return text[:-2] + f',"{key}":{rng.choice(RAW)}}}}}'  # a key for the second time
    return json.dumps(body, separators=(",", ":"), ensure_ascii=rng.random() < 0.5)


def _objects(body: Body) -> list[Body]:
    """Return the object and those inside it, the inner ones more often, as they have more to change."""
    found, data = [body], body.get("data")
    if isinstance(data, dict):
        found += [data] * 5
        if isinstance(data.get("k"), dict):
            found += [data["k"]] * 10
    return found


def _drop(rng: random.Random, body: Body) -> None:
    body.pop(rng.choice([*body]), None) if body else None


def _swap(rng: random.Random, body: Body) -> None:
    if len(body) > 1:
        first, second = rng.sample([*body], 2)
        body[first], body[second] = body[second], body[first]


def _rename(rng: random.Random, body: Body) -> None:
    if body:
        body[rng.choice("abcdefEsuUTkpqtlmBA")] = body.pop(rng.choice([*body]))


def _replace(rng: random.Random, body: Body) -> None:
    if body:
        body[rng.choice([*body])] = rng.choice(WRONG)


def _nudge(rng: random.Random, body: Body) -> None:
    """Change a number plausibly, or by far."""
    numbers = [key for key, value in body.items() if type(value) is int]
    decimals = [key for key, value in body.items() if isinstance(value, str) and value[:1].isdigit()]
    if numbers and (not decimals or rng.random() < 0.5):
        key = rng.choice(numbers)
        body[key] = max(0, body[key] + rng.choice((-1, 1)) * rng.choice((1, 2, 10, 1000, 10**6, 10**9, 10**15)))
    elif decimals:
        key = rng.choice(decimals)
        body[key] = _changed_digit(rng, body[key])


def _changed_digit(rng: random.Random, text: str) -> str:
    """Replace or insert a digit."""
    at = rng.randrange(len(text) or 1)
    return text[:at] + rng.choice(string.digits) + text[at + rng.choice((0, 1)) :]


def _change_levels(rng: random.Random, body: Body) -> None:
    keys = [key for key, value in body.items() if isinstance(value, list) and value]
    if not keys:
        return
    key = rng.choice(keys)
    levels = [list(level) if isinstance(level, list) else level for level in body[key]]
    at = rng.choice((0, rng.randrange(len(levels))))  # the best levels are what most of the checks see
    match rng.randrange(9):
        case 0:
            del levels[at]
        case 1:
            levels.append(levels[at])
        case 2:
            levels[at] = rng.choice(WRONG)
        case 3:
            levels *= max(1, LEVELS_ADDED // len(levels)) if rng.random() < 0.1 else 2
        case 4 if isinstance(levels[at], list) and levels[at]:
            levels[at][rng.randrange(len(levels[at]))] = rng.choice(WRONG[: -len(NUMBERS)])
        case 5 if isinstance(levels[at], list):
            levels[at] = levels[at][::-1]
        case 6 | 7 if isinstance(levels[at], list) and len(levels[at]) == 2:
            levels[at] = [_changed_digit(rng, value) if isinstance(value, str) else value for value in levels[at]]
        case _ if isinstance(levels[at], list) and len(levels[at]) == 2:
            levels[at] = [levels[at][0], str(rng.choice((0, 1, "0.00000001", "123.45", "99999999999")))]
    body[key] = levels


CHANGES: tuple[Callable[[random.Random, Body], None], ...] = (
    _drop, _swap, _rename, _replace, _replace, _nudge, _nudge, *[_change_levels] * 5,
)  # fmt: skip
