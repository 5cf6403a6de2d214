"""Explanations: the arithmetic of each, computed again, gives the number of the view."""

from dataclasses import asdict, fields
from math import exp, sqrt
from typing import Any

import pytest

from pulse.market.explain import METRICS, explain
from pulse.market.market import Market
from pulse.market.types import Aggressor, FeedUp
from pulse.market.view import Metrics
from tests.support.makers import MIDNIGHT_MS, diff, ticker, trade
from tests.support.market import anchor, instrument, live_market, market_after, view_of


def as_json(market: Market, now_ms: float) -> dict[str, Any]:
    """Return a view as its JSON holds it."""
    made = asdict(view_of(market, now_ms))
    return made | {"state": made["state"].value}


def busy_market(limit: int = 5000) -> tuple[Market, float]:
    """Return a market in which every metric is known, and the time."""
    market = market_after(FeedUp(), instrument("TRADING"))
    market.apply(anchor(10, limit=limit), 0.0)
    for second in range(45):
        size = 5.0 + second % 7
        now_ms = 1000.0 * second
        time_ms = MIDNIGHT_MS + 1000 * second
        market.apply(diff(11 + second, 11 + second, bids=[(100.0, size)], time_ms=time_ms), now_ms)
        market.apply(ticker(11 + second, (100.0, size), (100.02, 2.0)), now_ms)
        side = Aggressor.BUYER if second % 3 else Aggressor.SELLER
        market.apply(trade(second + 1, 100.0 + second % 2 / 100, 0.5, time_ms, side), now_ms)
        view_of(market, now_ms)
    return market, 44_250.0


def computed(arithmetic: str) -> float:
    """Return what an arithmetic gives."""
    return float(eval(arithmetic, {"__builtins__": {}}, {"sqrt": sqrt, "exp": exp, "round": round}))


@pytest.mark.parametrize("metric", METRICS[:-1])
def test_arithmetic_gives_the_number(metric: str) -> None:
    """With the figures of this view, each of which is among the inputs with its meaning."""
    market, now_ms = busy_market()
    view = as_json(market, now_ms)
    made = explain(metric, view)

    assert made.value == view["metrics"][metric]
    assert made.value is not None
    assert computed(made.arithmetic) == pytest.approx(made.value, rel=1e-9, abs=1e-9)
    assert all(str(each.value) in made.arithmetic or not each.value for each in made.inputs)
    assert made.formula
    assert made.reason == ""
    assert (made.seq, made.symbol, made.state) == (view["seq"], "BTCUSDT", view["state"])


def test_every_metric_of_a_view_is_explained() -> None:
    """Whoever adds one explains it."""
    assert set(METRICS) == {field.name for field in fields(Metrics)}


@pytest.mark.parametrize("metric", METRICS)
def test_a_number_that_is_not_known_has_a_reason(metric: str) -> None:
    """And no arithmetic: there is nothing to compute."""
    made = explain(metric, as_json(market_after(FeedUp()), 0.0))

    if metric == "trade_rate":  # no trade is a rate of 0
        assert made.value == computed(made.arithmetic) == 0.0
    else:
        assert (made.value or None, made.arithmetic) == (None, "")
        assert made.reason.endswith(".")


def test_depth_states_what_the_view_does_not_show() -> None:
    """Levels within the band one by one, and the rest in one figure."""
    made = explain("depth_10bps_bid", as_json(live_market(), 0.0))

    assert [each.value for each in made.inputs] == [5.0, 3.0, 2.0, 0.0]


@pytest.mark.parametrize(
    ("limit", "arithmetic"),
    [
        (5000, "both sides are known wholly"),
        (3, "100.00999999999999 * (1 - 0.001) >= 99.98 and 100.00999999999999 * (1 + 0.001) <= 100.05"),
    ],
)
def test_exactness_is_explained_by_the_known_range(limit: int, arithmetic: str) -> None:
    """Inside which the band must lie."""
    market, now_ms = busy_market(limit)
    made = explain("depth_10bps_exact", as_json(market, now_ms))

    assert made.value is (limit == 5000)
    assert made.arithmetic == arithmetic


def test_unknown_metric_is_an_error() -> None:
    """The caller checks the name."""
    with pytest.raises(KeyError):
        explain("moon", as_json(live_market(), 0.0))
