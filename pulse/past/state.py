"""A market's whole state as plain values and back: what a view shows depends on the past, not on the book alone. Pure.

Every object of `pulse.market` that a market holds is written with its class and its fields, by names; shared objects
stay shared. The levels of the book are kept apart, as columns. A later program may have other parts of a market: what
the state has not begins anew there, and what it has in excess is left out. Values of another form are refused.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from math import inf, isfinite
from typing import Any, TypeAlias

import orjson

from pulse.errors import BadBlock
from pulse.market import (
    candles,
    cross_checks,
    depth_sync,
    flow_metrics,
    integrity,
    market,
    order_book,
    staleness,
    stream_states,
    trade_record,
    types,
    view,
)
from pulse.market.market import Market, Origin
from pulse.market.order_book import BookSide
from pulse.market.view import TRADES_MAX, TradeRepeatBuffer
from pulse.past.columns import ColumnReader, ColumnWriter

MODULES = (
    candles, cross_checks, depth_sync, flow_metrics, integrity, market, order_book, staleness, stream_states,
    trade_record, types, view,
)  # fmt: skip
"""Whose classes a state may hold."""
CLASSES: Mapping[str, type] = {
    cls.__name__: cls
    for module in MODULES
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__
}
NOT_KEPT = frozenset({"_handlers", "_origin", "_liquidity"})
"""Fields of a market that the reader of a state provides, or that only spare work: they begin anew."""
KEYS, QUANTITIES = COLUMNS = ("_keys", "_quantities")
"""Fields of a side of a book that are kept as columns."""
SENTINEL = (inf, 0.0)
"""The last key and quantity of every side; columns are without it."""
INTEGER_BITS_MAX = 63
"""Larger integers are kept as text: JSON's are of 64 bits."""
LEVELS_MAX = 1_000_000
"""Levels of a side at most: ten times the bound of the setting."""
OBJECTS_MAX = 100_000
"""Objects of a market at most."""

PLAIN = frozenset({str, bool, type(None)})
"""Types that are in JSON what they are here."""

Json: TypeAlias = Any


def write_market(source: Market, writer: ColumnWriter) -> None:
    """Write the state of a market: the levels of its book as columns, the rest as JSON."""
    freezer = _Freezer()
    writer.blob(orjson.dumps(freezer.of(source)))
    for side in freezer.sides:
        keys, quantities = (list(getattr(side, column)[:-1]) for column in COLUMNS)
        writer.ints([len(keys)])
        writer.runs([keys], 1)
        writer.decimals(quantities)


def read_market(reader: ColumnReader, target: Market) -> None:
    """Give a market, which has taken no event yet, the state that was written. Raises BadBlock."""
    try:
        plain = orjson.loads(reader.blob())
    except orjson.JSONDecodeError as fault:
        raise BadBlock("the state of its market is no JSON") from fault
    thawer = _Thawer()
    try:
        root = thawer.of(plain, target)
    except (LookupError, TypeError, ValueError) as fault:
        raise BadBlock(f"the state of its market is not one of this program: {fault}") from fault
    if root is not target:
        raise BadBlock("its state is of no market")
    for side in thawer.sides:
        (count,) = reader.ints(1)
        if not 0 <= count <= LEVELS_MAX:
            raise BadBlock("a side has more levels than it can have")
        (keys,), quantities = reader.runs([count], 1), reader.decimals(count)
        setattr(side, KEYS, array("d", (*keys, SENTINEL[0])))
        setattr(side, QUANTITIES, array("d", (*quantities, SENTINEL[1])))


class _Freezer:
    """Turns objects into plain values. Raises TypeError for what no market holds."""

    def __init__(self) -> None:
        self.sides: list[BookSide] = []  # in the order of their columns
        self._numbers: dict[int, int] = {}  # of objects, by identity

    def of(self, value: Any) -> Json:
        """Return a value as JSON has it; what JSON has not is an object with one key, its tag."""
        kind = type(value)
        if kind in PLAIN:
            return value
        freeze = self._by_type.get(kind)
        if freeze is not None:
            return freeze(self, value)
        if kind.__name__ not in CLASSES:
            raise TypeError(f"a market holds a {kind.__name__}, which its state cannot")
        if isinstance(value, Enum):
            return {"e": [kind.__name__, value.name]}
        if isinstance(value, tuple):
            return {"n": [kind.__name__, *map(self.of, value)]}
        number = self._numbers.get(id(value))
        if number is not None:
            return {"r": number}
        self._numbers[id(value)] = len(self._numbers)
        if isinstance(value, BookSide):
            self.sides.append(value)
        fields_of = {name: getattr(value, name) for name in _kept(value)}
        if isinstance(value, TradeRepeatBuffer):
            # Of thousands of trades those that its messages need: the ladders of the past are not made.
            fields_of["_trades"] = deque(value.to_repeat(), maxlen=TRADES_MAX)
        return {"o": [kind.__name__, {name: self.of(item) for name, item in fields_of.items()}]}

    def _float(self, value: float) -> Json:
        return value if isfinite(value) else {"f": repr(value)}

    def _int(self, value: int) -> Json:
        return value if value.bit_length() <= INTEGER_BITS_MAX else {"i": str(value)}

    def _list(self, value: list[Any]) -> Json:
        return list(map(self.of, value))

    def _tuple(self, value: tuple[Any, ...]) -> Json:
        return {"t": list(map(self.of, value))}

    def _deque(self, value: deque[Any]) -> Json:
        return {"d": [value.maxlen, *map(self.of, value)]}

    def _dict(self, value: dict[Any, Any]) -> Json:
        return {"m": [[self.of(key), self.of(item)] for key, item in value.items()]}

    _by_type: Mapping[type, Callable[["_Freezer", Any], Json]] = {
        float: _float, int: _int, list: _list, tuple: _tuple, deque: _deque, dict: _dict,
    }  # fmt: skip


class _Thawer:
    """Turns plain values into objects again. Raises LookupError, TypeError or ValueError for what was not frozen."""

    def __init__(self) -> None:
        self.sides: list[BookSide] = []
        self._objects: list[Any] = []

    def of(self, value: Json, existing: object = None) -> Any:
        """Return what was frozen; an object is given to `existing`, if that is one of its class."""
        if type(value) is list:
            return list(map(self.of, value))
        if type(value) is not dict:
            return value
        ((tag, content),) = value.items()
        return self._object(content, existing) if tag == "o" else self._by_tag[tag](self, content)

    def _enum(self, content: Json) -> Any:
        name, member = content
        return CLASSES[name][member]  # type: ignore[index]  # a class that is no enumeration raises TypeError

    def _named_tuple(self, content: Json) -> Any:
        cls: Any = CLASSES[content[0]]
        return cls._make(map(self.of, content[1:]))

    def _object(self, content: Json, existing: object) -> Any:
        name, values = content
        cls = CLASSES[name]
        is_given = type(existing) is cls
        made: Any = existing if is_given else object.__new__(cls)
        known = _layout(cls)
        if (values.keys() != known and not is_given) or len(self._objects) >= OBJECTS_MAX:
            raise ValueError(f"a {name} has other fields")
        self._objects.append(made)
        if isinstance(made, BookSide):
            self.sides.append(made)
        for field in (name for name in values if name in known):
            object.__setattr__(made, field, self.of(values[field], getattr(made, field, None)))  # some are frozen
        return made

    def _deque(self, content: Json) -> Any:
        return deque(map(self.of, content[1:]), maxlen=content[0])

    def _dict(self, content: Json) -> Any:
        return {self.of(key): self.of(item) for key, item in content}

    _by_tag: Mapping[str, Callable[["_Thawer", Json], Any]] = {
        "f": lambda _, content: float(content),
        "i": lambda _, content: int(content),
        "t": lambda self, content: tuple(map(self.of, content)),
        "d": _deque,
        "m": _dict,
        "e": _enum,
        "n": _named_tuple,
        "r": lambda self, content: self._objects[content],
    }


def _kept(value: object) -> Iterable[str]:
    """Return the names of the fields of an object that are kept."""
    cls = type(value)
    if issubclass(cls, BookSide):
        return [name for name in cls.__slots__ if name not in COLUMNS]
    if hasattr(cls, "__slots__"):
        return list(cls.__slots__)
    return [name for name in vars(value) if name not in NOT_KEPT]


@cache
def _layouts() -> Mapping[type, frozenset[str]]:
    """Return the fields of the classes that have no list of their own, as a market that has just been made has them."""
    found: dict[type, frozenset[str]] = {}

    def visit(value: object) -> None:
        if type(value).__name__ in CLASSES and not isinstance(value, (tuple, Enum)):
            names = _kept(value)
            found[type(value)] = frozenset(names)
            for name in names:
                visit(getattr(value, name))

    visit(Market("", Origin("", "", ""), levels_max=1, trades_kept=1, stale_after_ms=1.0))
    return found


@cache
def _layout(cls: type) -> frozenset[str]:
    """Return the fields that an object of this class has."""
    if issubclass(cls, BookSide):
        return frozenset(cls.__slots__) - {*COLUMNS}
    if hasattr(cls, "__slots__"):
        return frozenset(cls.__slots__)
    if is_dataclass(cls):
        return frozenset(field.name for field in fields(cls))
    return _layouts()[cls]
