"""How a number of a view came about: formula, figures, arithmetic, the module of the code, and the paper.

An explanation is made from the view alone, given as its JSON holds it, so that it can be made of a view of any process.
`arithmetic` has the figures as they are and + - * / ( ) sqrt exp round, and its result is the value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pulse.market.book_metrics import DEPTH_BPS, TOP_LEVELS
from pulse.market.flow_metrics import OFI_WINDOW_MS, RATE_TAU_S, VOLATILITY_SAMPLES, VOLATILITY_SAMPLES_MIN, YEAR_S

ViewJson: TypeAlias = Mapping[str, Any]
BOOK_CODE, FLOW_CODE = "pulse/market/book_metrics.py", "pulse/market/flow_metrics.py"
STANDARD = "standard"
STOIKOV = "Stoikov's microprice of the top level; Gatheral & Oomen 2010"
GOULD = "Gould & Bonart 2016 (arXiv 1512.03492)"
CONT = "Cont, Kukanov & Stoikov 2014 (arXiv 1011.6402)"
ANDERSEN = "Andersen & Bollerslev 1998"
NO_SIDES = "One side of the book is empty, or there is no book yet."
NO_TOP = f"The best {TOP_LEVELS} levels of both sides are not all known."
NO_TRADE = "There was no trade in this session yet."


@dataclass
class Figure:
    """One number that goes into a formula, by the name that it has there."""

    name: str
    meaning: str
    value: float


@dataclass
class Explanation:
    """A metric of one view. Where `value` is null, `arithmetic` is empty and `reason` says why; else `reason` is."""

    metric: str
    symbol: str
    seq: int
    instance: str
    state: str
    timestamp: float
    value: float | bool | None
    unit: str
    meaning: str
    formula: str
    inputs: list[Figure]
    arithmetic: str
    reason: str
    module: str
    source: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """How to explain one metric. `arithmetic` names the inputs in braces."""

    unit: str
    meaning: str
    formula: str
    inputs: Callable[[ViewJson], Sequence[Figure]]
    arithmetic: str
    module: str
    source: str
    reason: str


def _bid(view: ViewJson) -> Figure:
    return Figure("b", "best bid price", view["bids"][0][0])


def _ask(view: ViewJson) -> Figure:
    return Figure("a", "best ask price", view["asks"][0][0])


def _touch(view: ViewJson) -> list[Figure]:
    return [_bid(view), _ask(view)]


def _touch_sizes(view: ViewJson) -> list[Figure]:
    return [
        Figure("q_b", "quantity at the best bid", view["bids"][0][1]),
        Figure("q_a", "quantity at the best ask", view["asks"][0][1]),
    ]


def _levels(view: ViewJson) -> list[Figure]:
    return [
        Figure(f"{name}_{rank}", f"quantity of {side} {rank} at {price}", quantity)
        for name, side, key in (("B", "bid", "bids"), ("A", "ask", "asks"))
        for rank, (price, quantity) in enumerate(view[key], start=1)
    ]


def _depth(side: str) -> Callable[[ViewJson], list[Figure]]:
    """Return the figures of a side's depth: the levels of the view within the band, and what lies behind them."""
    key, name, sign = (("bids", "bid", 1), ("asks", "ask", -1))[side == "ask"]

    def figures(view: ViewJson) -> list[Figure]:
        mid = view["metrics"]["mid_price"]
        edge = mid - sign * (mid * DEPTH_BPS / 1e4)
        shown = [quantity for price, quantity in view[key] if sign * price >= sign * edge]
        behind = view["metrics"][f"depth_{DEPTH_BPS}bps_{name}"] - sum(shown)
        return [
            *(Figure(f"q_{rank}", f"quantity of {name} {rank}", each) for rank, each in enumerate(shown, start=1)),
            Figure("r", f"quantity from there to {edge}, in levels that the view does not show", round(behind, 8)),
        ]

    return figures


def _basis(*names: tuple[str, str, str]) -> Callable[[ViewJson], list[Figure]]:
    """Return the figures with these names in the formula and in the view's `basis`, and what they mean."""
    return lambda view: [Figure(name, meaning, view["basis"][key]) for name, key, meaning in names]


def _session_cvd(view: ViewJson) -> list[Figure]:
    volume, cvd = view["basis"]["volume"], view["metrics"]["trade_cvd"]
    return [
        Figure("V_b", "buyer-initiated volume of the session", round((volume + cvd) / 2, 8)),
        Figure("V_s", "seller-initiated volume of the session", round((volume - cvd) / 2, 8)),
    ]


def _top_sum(view: ViewJson, arithmetic: str) -> str:
    """Return an arithmetic with the sums of both sides written out."""
    bids, asks = (" + ".join(str(quantity) for _, quantity in view[key]) for key in ("bids", "asks"))
    return arithmetic.replace("{B}", f"({bids})").replace("{A}", f"({asks})")


_RETURNS = (("S", "squared_returns", "sum of squared one-second log returns of the mid"), ("n", "returns", "returns"))
_FEW = f"Fewer than {VOLATILITY_SAMPLES_MIN} returns of one second were measured since the book is live."
_NO_OFI = f"Not every change of the best levels of the last {OFI_WINDOW_MS // 1000} s was seen."

_RULES: Mapping[str, _Rule] = {
    "best_bid": _Rule(
        "quote",
        "The highest price that a buyer bids.",
        "b",
        lambda view: [_bid(view)],
        "{b}",
        "pulse/market/order_book.py",
        STANDARD,
        "No bid is known.",
    ),
    "best_ask": _Rule(
        "quote",
        "The lowest price that a seller asks.",
        "a",
        lambda view: [_ask(view)],
        "{a}",
        "pulse/market/order_book.py",
        STANDARD,
        "No ask is known.",
    ),
    "mid_price": _Rule(
        "quote",
        "The price halfway between best bid and best ask.",
        "(b + a) / 2",
        _touch,
        "({b} + {a}) / 2",
        BOOK_CODE,
        STANDARD,
        NO_SIDES,
    ),
    "spread_abs": _Rule(
        "quote",
        "What buying and selling at once loses, a unit.",
        "a - b, to 8 decimals",
        _touch,
        "round({a} - {b}, 8)",
        BOOK_CODE,
        STANDARD,
        NO_SIDES,
    ),
    "spread_bps": _Rule(
        "bps",
        "The spread relative to the mid.",
        "10000 * (a - b) / ((b + a) / 2)",
        _touch,
        "10000 * ({a} - {b}) / (({b} + {a}) / 2)",
        BOOK_CODE,
        STANDARD,
        NO_SIDES,
    ),
    "spread_pct": _Rule(
        "%",
        "The spread relative to the mid.",
        "10000 * (a - b) / ((b + a) / 2) / 100",
        _touch,
        "10000 * ({a} - {b}) / (({b} + {a}) / 2) / 100",
        BOOK_CODE,
        STANDARD,
        NO_SIDES,
    ),
    "microprice": _Rule(
        "quote",
        "The mid, moved to the side that is about to be used up.",
        "(a q_b + b q_a) / (q_b + q_a)",
        lambda view: [*_touch(view), *_touch_sizes(view)],
        "({a} * {q_b} + {b} * {q_a}) / ({q_b} + {q_a})",
        BOOK_CODE,
        STOIKOV,
        NO_SIDES,
    ),
    "queue_imbalance": _Rule(
        "-1 to 1",
        "Which of the best levels holds more.",
        "(q_b - q_a) / (q_b + q_a)",
        _touch_sizes,
        "({q_b} - {q_a}) / ({q_b} + {q_a})",
        BOOK_CODE,
        GOULD,
        NO_SIDES,
    ),
    "imbalance": _Rule(
        "-1 to 1",
        f"Which side holds more in its best {TOP_LEVELS} levels.",
        "(ΣB - ΣA) / (ΣB + ΣA)",
        _levels,
        "({B} - {A}) / ({B} + {A})",
        BOOK_CODE,
        STANDARD,
        NO_TOP,
    ),
    "cvd": _Rule(
        "base",
        f"Bid minus ask quantity of the best {TOP_LEVELS} levels: what rests, not what is traded.",
        "ΣB - ΣA",
        _levels,
        "{B} - {A}",
        BOOK_CODE,
        STANDARD,
        NO_TOP,
    ),
    f"depth_{DEPTH_BPS}bps_bid": _Rule(
        "base",
        f"What is bid within {DEPTH_BPS} bps of the mid.",
        f"Σ q of bids from m - {DEPTH_BPS} bps on",
        _depth("bid"),
        "",
        BOOK_CODE,
        "as market-data vendors state liquidity",
        NO_SIDES,
    ),
    f"depth_{DEPTH_BPS}bps_ask": _Rule(
        "base",
        f"What is asked within {DEPTH_BPS} bps of the mid.",
        f"Σ q of asks up to m + {DEPTH_BPS} bps",
        _depth("ask"),
        "",
        BOOK_CODE,
        "as market-data vendors state liquidity",
        NO_SIDES,
    ),
    "ofi": _Rule(
        "base",
        f"How much the best levels grew for buyers and shrank for sellers in {OFI_WINDOW_MS // 1000} s.",
        "Σ e, e = q_b [b >= b'] - q_b' [b <= b'] - q_a [a <= a'] + q_a' [a >= a']",
        _basis(
            ("U", "ofi_up", "sum of the quarter seconds with Σ e above 0"),
            ("D", "ofi_down", "sum of those below 0, without the sign"),
        ),
        "{U} - {D}",
        FLOW_CODE,
        CONT,
        _NO_OFI,
    ),
    "trade_cvd": _Rule(
        "base",
        "Buyer-initiated minus seller-initiated volume since the session's start.",
        "V_b - V_s",
        _session_cvd,
        "{V_b} - {V_s}",
        FLOW_CODE,
        STANDARD,
        NO_TRADE,
    ),
    "vwap": _Rule(
        "quote",
        "The volume-weighted mean price since the session's start.",
        "Σ p q / Σ q",
        _basis(("N", "notional", "sum of price * quantity"), ("V", "volume", "sum of quantities")),
        "{N} / {V}",
        FLOW_CODE,
        STANDARD,
        NO_TRADE,
    ),
    "trade_rate": _Rule(
        "1/s",
        f"Trades a second, of which older ones count less: a time constant of {RATE_TAU_S:g} s.",
        f"R e^(-t / {RATE_TAU_S:g} s)",
        _basis(("R", "rate_then", "rate after the last trade"), ("t", "rate_age_s", "seconds since then")),
        f"{{R}} * exp(-{{t}} / {RATE_TAU_S:g})",
        FLOW_CODE,
        "exponentially decayed count",
        "",
    ),
    "realised_volatility_bps": _Rule(
        "bps",
        f"How far the mid moved, second by second, in {VOLATILITY_SAMPLES} s.",
        "10000 sqrt Σ r²",
        _basis(_RETURNS[0]),
        "10000 * sqrt({S})",
        FLOW_CODE,
        ANDERSEN,
        _FEW,
    ),
    "realised_volatility": _Rule(
        "% per year",
        "The same, scaled to a year of 365 days.",
        "100 sqrt(Σ r² * seconds a year / n)",
        _basis(*_RETURNS),
        f"100 * sqrt({{S}} * {YEAR_S} / {{n}})",
        FLOW_CODE,
        ANDERSEN,
        _FEW,
    ),
    "realised_volatility_s": _Rule(
        "s",
        "Over how long the volatility is measured.",
        "n * 1 s",
        _basis(_RETURNS[1]),
        "{n} * 1",
        FLOW_CODE,
        ANDERSEN,
        _FEW,
    ),
}
METRICS = (*_RULES, f"depth_{DEPTH_BPS}bps_exact")
"""Every metric of a view: each can be explained."""


def explain(metric: str, view: ViewJson) -> Explanation:
    """Return how a metric of a view came about. Raises KeyError for one that does not exist."""
    if metric == METRICS[-1]:
        return _explain_exactness(view)
    rule, value = _RULES[metric], view["metrics"][metric]
    if value is None:
        return _explanation(metric, view, rule, [], "", rule.reason)
    inputs = list(rule.inputs(view))
    if rule.inputs is _levels:
        arithmetic = _top_sum(view, rule.arithmetic)
    elif not rule.arithmetic:
        arithmetic = " + ".join(str(each.value) for each in inputs)
    else:
        arithmetic = rule.arithmetic.format_map({each.name: each.value for each in inputs})
    return _explanation(metric, view, rule, inputs, arithmetic, "")


def _explain_exactness(view: ViewJson) -> Explanation:
    """Return whether the depths are exact: where the band lies inside what is known of both sides."""
    edge, floor, ceiling = DEPTH_BPS / 1e4, view["window"]["bid_floor"], view["window"]["ask_ceiling"]
    mid = view["metrics"]["mid_price"]
    rule = _Rule(
        "yes or no", "Whether both depths are exact; else they are lower bounds.",
        f"m - {DEPTH_BPS} bps >= F and m + {DEPTH_BPS} bps <= C",
        lambda _: [], "", BOOK_CODE, "the known window of the book (docs/decisions/known-window.md)", NO_SIDES,
    )  # fmt: skip
    known = [("F", "lowest price that is known of the bids", floor), ("C", "highest of the asks", ceiling)]
    inputs = [Figure("m", "mid", mid)] if mid is not None else []
    inputs += [Figure(*each) for each in known if each[2] is not None]
    tests = [f"{mid} * (1 - {edge}) >= {floor}"] if floor is not None else []
    tests += [f"{mid} * (1 + {edge}) <= {ceiling}"] if ceiling is not None else []
    if mid is None:
        return _explanation(METRICS[-1], view, rule, inputs, "", NO_SIDES)
    return _explanation(METRICS[-1], view, rule, inputs, " and ".join(tests) or "both sides are known wholly", "")


def _explanation(
    metric: str, view: ViewJson, rule: _Rule, inputs: list[Figure], arithmetic: str, reason: str
) -> Explanation:
    return Explanation(
        metric=metric,
        symbol=view["symbol"],
        seq=view["seq"],
        instance=view["instance"],
        state=view["state"],
        timestamp=view["timestamp"],
        value=view["metrics"][metric],
        unit=rule.unit,
        meaning=rule.meaning,
        formula=rule.formula,
        inputs=inputs,
        arithmetic=arithmetic,
        reason=reason,
        module=rule.module,
        source=rule.source,
    )
