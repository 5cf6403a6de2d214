"""Running metrics against check values computed by hand from their published formulas."""

from dataclasses import replace

import pytest

from pulse.market.flow_metrics import (
    OFI_WINDOW_MS,
    VOLATILITY_SAMPLES,
    OrderFlowImbalance,
    TradeFlow,
    Volatility,
    order_flow_imbalance,
)
from pulse.market.types import Aggressor, BookTicker
from tests.support.makers import ticker, trade

STATES = [
    ticker(1, (100.00, 5.0), (100.02, 2.0)),
    ticker(2, (100.00, 8.0), (100.02, 2.0)),
    ticker(3, (100.00, 8.0), (100.01, 1.0)),
    ticker(4, (99.99, 3.0), (100.01, 1.0)),
    ticker(5, (99.99, 3.0), (100.02, 2.0)),
]


@pytest.mark.parametrize(("step", "change"), list(enumerate([3.0, -1.0, -8.0, 1.0])))
def test_order_flow_of_each_step(step: int, change: float) -> None:
    """The signed change of the best levels, at the check sequence."""
    assert order_flow_imbalance(STATES[step], STATES[step + 1]) == change


def test_a_better_bid_counts_in_full() -> None:
    """When the best bid rises, all of its quantity is new buying interest."""
    assert order_flow_imbalance(ticker(1, (100.0, 5.0)), ticker(2, (100.01, 4.0))) == 4.0


def flow_of(tickers: list[BookTicker], every_ms: float = 0.0) -> OrderFlowImbalance:
    """Return the order flow after these states, one each `every_ms`; the first is a whole window old by then."""
    flow = OrderFlowImbalance()
    for count, state in enumerate(tickers):
        flow.add(state, count * every_ms if count else -OFI_WINDOW_MS)
    return flow


@pytest.mark.parametrize("every_ms", [0.0, 10.0, 300.0, 2_000.0])
def test_order_flow_adds_up(every_ms: float) -> None:
    """The check sequence sums to -5, however it falls into the window."""
    assert flow_of(STATES, every_ms).value(every_ms * 4) == -5.0


def test_order_flow_is_unknown_at_first() -> None:
    """It is a sum over ten seconds, and known once all of them were seen."""
    flow = OrderFlowImbalance()
    assert flow.value(0.0) is None

    for count, state in enumerate(STATES[:2]):
        flow.add(state, count * 500.0)
    assert flow.value(9_999.0) is None
    assert flow.value(10_000.0) == 3.0


def test_order_flow_drops_what_left_the_window() -> None:
    """Ten seconds later a change no longer counts."""
    flow = flow_of(STATES, every_ms=4_000.0)  # changes at 4, 8, 12 and 16 s

    assert flow.value(16_000.0) == -8.0
    assert flow.value(60_000.0) == 0.0


@pytest.mark.parametrize(("now_ms", "value"), [(13_999.0, 3.0), (14_000.0, 0.0)])
def test_the_window_of_order_flow(now_ms: float, value: float) -> None:
    """A change counts for ten seconds."""
    flow = flow_of(STATES[:2], every_ms=4_000.0)

    assert flow.value(now_ms) == value


def test_repeated_ticker_adds_no_flow() -> None:
    """Two connections that overlap send the same states twice; ids show which are new."""
    flow = flow_of([*STATES, STATES[1], STATES[4]])

    assert flow.value(0.0) == -5.0


def test_order_flow_does_not_bridge_a_gap() -> None:
    """What changed while the connection was lost is unknown: the sum begins anew, None until the window is whole."""
    flow = flow_of(STATES[:2])
    flow.restart()
    assert flow.value(1.0) is None

    for count, state in enumerate(STATES[2:]):
        flow.add(state, 2.0 + count * 500.0)
    assert flow.value(10_001.0) is None
    assert flow.value(10_002.0) == -8.0 + 1.0


def test_cvd_is_bought_minus_sold() -> None:
    """1.5 bought, 0.5 sold and 0.7 bought make +1.7."""
    flow = TradeFlow()
    for quantity, aggressor in ((1.5, Aggressor.BUYER), (0.5, Aggressor.SELLER), (0.7, Aggressor.BUYER)):
        flow.add(trade(1, quantity=quantity, aggressor=aggressor), 0.0)

    assert flow.cvd() == pytest.approx(1.7)


def test_vwap_weighs_prices_by_quantity() -> None:
    """The check trades: 1.5 at 100.02, 0.5 at 100.00, 0.7 at 100.02, of either aggressor."""
    flow = TradeFlow()
    assert flow.vwap() is None
    for price, quantity in ((100.02, 1.5), (100.0, 0.5), (100.02, 0.7)):
        flow.add(trade(1, price, quantity), 0.0)

    assert flow.vwap() == pytest.approx(100.0162963)


def test_print_outside_the_market_counts_in_no_sum() -> None:
    """A print that the exchange leaves out of its candles is neither volume nor a trade of the rate."""
    flow = TradeFlow()
    flow.add(replace(trade(1, 500.0, 9.0), is_market=False), 0.0)

    assert (flow.cvd(), flow.vwap(), flow.rate(0.0)) == (None, None, 0.0)


def test_repaired_trade_counts_in_the_sums_alone() -> None:
    """A trade that was fetched afterwards belongs to CVD and VWAP, but did not happen now: the rate stays."""
    flow = TradeFlow()
    flow.add(trade(1, 100.0, 1.0), 0.0)
    before = flow.rate(5_000.0)
    flow.add(replace(trade(2, 102.0, 1.0), is_repaired=True), 5_000.0)

    assert (flow.cvd(), flow.vwap(), flow.rate(5_000.0)) == (2.0, 101.0, before)


def test_the_trade_rate_decays() -> None:
    """Trades at 0, 1, 3 and 4 s give 0.3315976 a second at 4 s."""
    flow = TradeFlow()
    for at_ms in (0.0, 1_000.0, 3_000.0, 4_000.0):
        flow.add(trade(1), at_ms)

    assert flow.rate(4_000.0) == pytest.approx(0.3315976)
    assert flow.rate(14_000.0) == pytest.approx(0.3315976 / 2.718281828)


def test_trade_rate_starts_at_zero() -> None:
    """Before the first trade the rate is 0."""
    assert TradeFlow().rate(5_000.0) == 0.0


def volatility_of(mids: list[float], quiet_s: int = 30) -> Volatility:
    """Return the volatility after a quiet time at the first mid, then one mid each second."""
    volatility = Volatility()
    volatility.sample(mids[0], 0.0)
    for second, mid in enumerate(mids, start=quiet_s):
        volatility.sample(mid, second * 1000.0)
    return volatility


def test_realised_volatility() -> None:
    """Mids 100, 101, 100 and 102 give 242.93 bps; the quiet seconds before add nothing."""
    volatility = volatility_of([100.0, 101.0, 100.0, 102.0])

    assert volatility.bps() == pytest.approx(242.93, abs=0.005)


def test_realised_volatility_of_a_year() -> None:
    """Scaled to a year the variance of 33 s counts 365 x 24 x 3600 / 33 times, in percent."""
    volatility = volatility_of([100.0, 101.0, 100.0, 102.0])

    assert volatility.percent_per_year() == pytest.approx(100 * (0.000590162 * 31_536_000 / 33) ** 0.5, rel=1e-5)


def test_volatility_reports_over_how_long_it_is_measured() -> None:
    """Soon after the start that is less than the window, which it never exceeds."""
    volatility = volatility_of([100.0, 101.0, 100.0, 102.0])
    assert volatility.measured_s() == 33
    volatility.sample(102.0, 1e6)
    assert volatility.measured_s() == VOLATILITY_SAMPLES
    assert volatility_of([100.0], quiet_s=5).measured_s() is None


def test_volatility_needs_thirty_samples() -> None:
    """With fewer than thirty returns it is None."""
    volatility = volatility_of([100.0, 101.0], quiet_s=28)
    assert (volatility.bps(), volatility.percent_per_year()) == (None, None)

    volatility.sample(101.0, 30_000.0)
    assert volatility.bps() is not None


def test_a_second_has_one_sample() -> None:
    """The first mid of a second is its sample, and a clock that went back adds none."""
    volatility = volatility_of([100.0, 100.0])
    before = volatility.bps()
    volatility.sample(200.0, 31_900.0)
    volatility.sample(200.0, 5_000.0)

    assert volatility.bps() == before == 0.0


def test_old_returns_leave_the_window() -> None:
    """After five quiet minutes a move no longer counts, however long the silence."""
    volatility = volatility_of([100.0, 101.0])
    volatility.sample(101.0, (31 + VOLATILITY_SAMPLES) * 1000.0)
    assert volatility.bps() == 0.0

    volatility.sample(101.0, 1e12)
    assert volatility.bps() == 0.0


def test_volatility_does_not_bridge_a_gap() -> None:
    """The move across an outage is not a return of one second."""
    volatility = volatility_of([100.0, 100.0])
    volatility.restart()
    volatility.sample(150.0, 60_000.0)
    volatility.sample(150.0, 61_000.0)

    assert volatility.bps() == 0.0
