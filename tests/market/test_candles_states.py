"""Every transition of the trading status in `candles`, and what follows from them: no candle of ours lacks a trade."""

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.candles import (
    CLOSE_GRACE_MS,
    STATUS_TABLE,
    CandleBuilder,
    TradingStatus,
    candle_of_trades,
    candles_equal,
    minute_of,
)
from pulse.market.types import Candle, Trade
from tests.support.makers import MINUTE_MS, trade, unhurried
from tests.support.minutes import M0, M1, built

# --- the trading status


def builder_in(status: TradingStatus) -> CandleBuilder:
    """Return a builder with this status, which has a trade in M0."""
    builder = built((1, 100.0, M0))
    if status is not TradingStatus.TRADING:
        builder.halt()
    if status is TradingStatus.UNCONFIRMED:
        builder.resume()
    return builder


def flat_minutes(builder: CandleBuilder) -> tuple[bool, bool]:
    """Return whether minutes without a trade become candles, as it stands and after one more trade."""
    now, after = copy.deepcopy(builder), copy.deepcopy(builder)
    now.on_time(M1 + 2 * MINUTE_MS + CLOSE_GRACE_MS)
    after.on_trade(trade(9, time_ms=M1 + 5))
    after.on_time(M1 + 2 * MINUTE_MS + CLOSE_GRACE_MS)
    return (
        any(row.trade_count == 0 for row in now.take_closed()),
        any(row.trade_count == 0 for row in after.take_closed()),
    )


FLAT_MINUTES = {
    TradingStatus.TRADING: (True, True),
    TradingStatus.HALTED: (False, False),
    TradingStatus.UNCONFIRMED: (False, True),
}
"""How the three statuses show: whether a silent minute is a candle, at once and after the next trade."""
STATUS_EVENTS: dict[str, Callable[[CandleBuilder], None]] = {
    "halt": lambda builder: builder.halt(),
    "resume": lambda builder: builder.resume(),
    "interruption": lambda builder: builder.interrupt(),
    "trade": lambda builder: builder.on_trade(trade(2, time_ms=M0 + 30_000)),
}
TRADING, HALTED, UNCONFIRMED = TradingStatus
STATUS_CASES = [
    (TRADING, "halt", HALTED),
    (TRADING, "resume", TRADING),
    (TRADING, "interruption", UNCONFIRMED),
    (TRADING, "trade", TRADING),
    (HALTED, "halt", HALTED),
    (HALTED, "resume", UNCONFIRMED),
    (HALTED, "interruption", HALTED),
    (HALTED, "trade", HALTED),
    (UNCONFIRMED, "halt", HALTED),
    (UNCONFIRMED, "resume", UNCONFIRMED),
    (UNCONFIRMED, "interruption", UNCONFIRMED),
    (UNCONFIRMED, "trade", TRADING),
]


def test_every_transition_of_the_status_has_a_case() -> None:
    """Each event is tried in each status."""
    pairs = {(status, event) for status, event, _ in STATUS_CASES}

    assert pairs == {(status, event) for status in STATUS_TABLE for event in STATUS_EVENTS}


@pytest.mark.parametrize("status", TradingStatus)
def test_a_status_decides_about_flat_minutes(status: TradingStatus) -> None:
    """Silent minutes are candles while trading, none while halted, and after a halt only from the next trade on."""
    assert flat_minutes(builder_in(status)) == FLAT_MINUTES[status]


@pytest.mark.parametrize(("status", "event", "after"), STATUS_CASES)
def test_status_after_an_event(status: TradingStatus, event: str, after: TradingStatus) -> None:
    """The status after each event in each status."""
    builder = builder_in(status)
    STATUS_EVENTS[event](builder)

    assert flat_minutes(builder) == FLAT_MINUTES[after]


# --- what the tables are for

steps = st.lists(
    st.tuples(
        st.sampled_from(["trade"] * 6 + ["time"] * 3 + ["lost", "cut", "halt"]),
        st.sampled_from([0, 1, 500, 20_000, 45_000, 61_000, 150_000]),
        st.integers(1, 4),
    ),
    max_size=60,
)


@unhurried
@given(steps)
def test_every_candle_of_ours_has_all_trades_of_its_minute(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is lost while the stream is interrupted, a candle given out is the one that all trades make.

    While trading is halted, as no status has shown, the exchange has no candles, and neither has the builder.
    """
    builder, now_ms, trades, halted = CandleBuilder("BTCUSDT"), M0 + 1, list[Trade](), set[int]()
    builder.on_time(now_ms)
    for step, waited_ms, quantity in steps:
        if step == "halt":
            halted |= set(range(minute_of(now_ms) + MINUTE_MS, minute_of(now_ms + waited_ms), MINUTE_MS))
        now_ms += waited_ms
        if step in ("lost", "cut", "halt"):
            builder.interrupt()
        if step == "time":
            builder.on_time(now_ms)
        elif step in ("trade", "lost"):
            trades.append(trade(len(trades), 100.0 + quantity, float(quantity), now_ms))
        if step == "trade":
            builder.on_trade(trades[-1])

    for ours in builder.take_closed():
        assert candles_equal(ours, true_candle(ours.open_time_ms, trades))
        assert ours.open_time_ms not in halted


def true_candle(open_time_ms: int, trades: list[Trade]) -> Candle:
    """Return the candle that all trades make of a minute: flat at the last price before it where it has none."""
    inside = [row for row in trades if minute_of(row.time_ms) == open_time_ms]
    if inside:
        return candle_of_trades("BTCUSDT", open_time_ms, inside)
    last = [row for row in trades if row.time_ms < open_time_ms][-1]
    prices = (last.price,) * 4
    return Candle("BTCUSDT", open_time_ms, *prices, 0.0, 0.0, 0, 0.0, 0.0, -1, -1, True, "live", False)
