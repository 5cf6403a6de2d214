"""JSON Schemas written from the types that answers and messages are made of; both API descriptions use them.

The schemas keep to what draft 7 (AsyncAPI 3.0) and 2020-12 (OpenAPI 3.1) have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pulse.market.book_metrics import TOP_LEVELS
from pulse.market.ladder import MULTIPLES, ROWS_MAX, Ladder, LadderSide
from pulse.market.liquidity import LiquidityView
from pulse.market.stream_states import CHECKS, KINDS
from pulse.market.symbol_names import CHARS_MAX, CHARS_MIN
from pulse.market.types import Aggressor
from pulse.market.view import CandleView, Metrics, ProofView, StreamReport, StreamView, TradeView, View
from pulse.web.params import TIME_PATTERN

Json = dict[str, Any]

NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
STRING, NUMBER, INTEGER, BOOLEAN = ({"type": name} for name in ("string", "number", "integer", "boolean"))
TIME = {"type": "string", "pattern": TIME_PATTERN}
"""A time as a query names it."""
ROW = "[price, quantity, quote value, bought, sold]"
LEVELS_DETAIL = {"maxItems": TOP_LEVELS, "description": "[price, quantity], best first."}

DETAILS: Mapping[tuple[type, str], Json] = {
    (View, "seq"): {"description": "The view's number; messages with one seq belong together."},
    (View, "instance"): {"description": "The process that made the view."},
    (View, "token"): {
        "description": "Of the lease of the process that made the view; higher with each new owner, 0 without leases."
    },
    (View, "source"): {"enum": ["exchange", "simulation", "replay"]},
    (View, "bids"): LEVELS_DETAIL,
    (View, "asks"): LEVELS_DETAIL,
    (View, "session_start_ms"): {
        "description": "Begin of the session of trade_cvd and vwap; 0 before the first trade."
    },
    (Metrics, "trade_cvd"): {"description": "Null before the first trade of a session, as is vwap."},
    (View, "trades"): {"description": "Newest first."},
    (View, "timestamp"): {"description": "Seconds since the epoch by the server's clock."},
    (ProofView, "silent_checks"): {
        "items": {"enum": list(CHECKS.values())},
        "description": "Checks that confirm nothing now: the stream that they compare with is silent.",
    },
    (StreamView, "kind"): {"enum": list(KINDS)},
    (StreamView, "age_ms"): {"description": "Since its newest frame was received; null before any was."},
    (StreamReport, "kind"): {"enum": list(KINDS)},
    (StreamReport, "usual_ms"): {"description": "The usual time between two frames; null while not known."},
    (StreamReport, "reason"): {"description": "Why it is silent; empty while it is not."},
    (TradeView, "aggressor"): {"enum": [side.value for side in Aggressor]},
    (TradeView, "id"): {"description": "The exchange's aggregate id, which it has used twice."},
    (TradeView, "first_trade_id"): {
        "description": "The first single trade in it; tells two trades of one id apart, and orders them."
    },
    (TradeView, "time_ms"): {"description": "Exchange time, ms since the epoch."},
    (LiquidityView, "traded_since_ms"): {
        "description": "Since when `bought` and `sold` of a row count, exchange time; 0 before the first trade."
    },
    (LiquidityView, "fitting"): {"description": "The groups that fill so many rows a side; empty while not known."},
    (LiquidityView, "covering_multiple"): {
        "description": "The finest groups of which the most rows show all that is known; null while not known."
    },
    (Ladder, "multiple"): {"enum": list(MULTIPLES), "description": "Ticks a group."},
    (Ladder, "step"): {"description": "The size of a group as a difference of prices."},
    (LadderSide, "rows"): {"maxItems": ROWS_MAX, "description": f"{ROW}, best first."},
    (LadderSide, "partial"): {
        "description": "The group in which the known range ends, as a row: what is known of it, a lower bound."
    },
    (LadderSide, "is_whole"): {"description": "Whether the rows and `partial` hold all that is known."},
    (CandleView, "timestamp"): {"description": "The interval's open, ISO 8601, UTC."},
}
"""What a field promises beyond its Python type, by class and field."""


class Schemas:
    """The named schemas of one document, collected as they are referred to."""

    def __init__(self) -> None:
        self.found: Json = {}

    def of(self, kind: Any) -> Json:
        """Return the schema of a type as JSON holds it. Raises TypeError for a type that JSON cannot hold."""
        if kind in NAMES:
            return {"type": NAMES[kind]}
        if get_origin(kind) is list:
            return array(self.of(get_args(kind)[0]))
        if get_origin(kind) is tuple and len(set(get_args(kind))) == 1:
            count = len(get_args(kind))
            return array(self.of(get_args(kind)[0])) | {"minItems": count, "maxItems": count}
        if isinstance(kind, UnionType):
            return {"anyOf": [self.of(option) for option in get_args(kind)]}
        if isinstance(kind, type) and is_dataclass(kind):
            return self.named(kind.__name__, object_of(self.properties(kind)))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [member.value for member in kind]}
        raise TypeError(f"expected a type that JSON can hold, got {kind}")

    def properties(self, kind: type) -> Json:
        """Return the schemas of a dataclass's fields by name, with their DETAILS."""
        hints = get_type_hints(kind)
        return {field.name: self.of(hints[field.name]) | DETAILS.get((kind, field.name), {}) for field in fields(kind)}

    def named(self, name: str, schema: Json) -> Json:
        """Add a named schema and return a reference to it. Raises ValueError if the name has another schema."""
        if self.found.setdefault(name, schema) != schema:
            raise ValueError(f"expected one schema by the name {name}, got two; give the second another name")
        return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Json, *, optional: Sequence[str] = ()) -> Json:
    """Return the schema of an object with these properties and no others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def array(items: Json) -> Json:
    """Return the schema of an array of such items."""
    return {"type": "array", "items": items}


def or_null(schema: Json) -> Json:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


SYMBOL_CHARACTER = r"[^\u0000-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f\s]"
"""A letter or digit of ASCII, or any character beyond it: patterns of JSON Schema know no classes of Unicode."""


def symbol_name(symbols: Sequence[str]) -> Json:
    """Return the schema of a symbol's name; any that the exchange lists is valid, `symbols` are examples."""
    return {"type": "string", "pattern": f"^{SYMBOL_CHARACTER}{{{CHARS_MIN},{CHARS_MAX}}}$", "examples": list(symbols)}
