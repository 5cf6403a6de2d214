"""One symbol's market in virtual time: contiguous ids, exact candles, and a book that never crosses."""

from itertools import pairwise
from statistics import median

import pytest

from pulse.simulator.candles import flat_candle
from pulse.simulator.history import MINUTE_MS
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.market import (
    BestPriceChange,
    CandleUpdate,
    DepthUpdate,
    MarketEvent,
    Retention,
    SimulatedMarket,
    TradeMade,
)
from tests.support.simulator import SMALL, START_MS

SPAN_MS = 65_000


def run_market(
    symbol: str = SMALL, span_ms: int = SPAN_MS, step_ms: int = SPAN_MS, start_ms: int = START_MS
) -> list[MarketEvent]:
    """Return the events of a span, advanced in steps."""
    market = SimulatedMarket(INSTRUMENTS[symbol], seed=1, start_ms=start_ms)
    return [h for at in range(0, span_ms, step_ms) for h in market.advance(start_ms + min(at + step_ms, span_ms))]


@pytest.fixture(scope="module")
def events() -> list[MarketEvent]:
    """Return a little more than a minute of the quiet symbol, advanced in one step."""
    return run_market()


def test_time_never_goes_back(events: list[MarketEvent]) -> None:
    """Events come in the order of their times, and within the span."""
    times = [h.at_ms for h in events]

    assert times == sorted(times)
    assert times[0] >= START_MS
    assert times[-1] <= START_MS + SPAN_MS


@pytest.mark.parametrize("step_ms", [7, 22_222])
def test_step_size_changes_nothing(events: list[MarketEvent], step_ms: int) -> None:
    """A session advanced in any steps is the same session."""
    assert run_market(step_ms=step_ms) == events


def test_diffs_join_without_a_gap(events: list[MarketEvent]) -> None:
    """Each diff begins where the one before ended."""
    diffs = [h.diff for h in events if isinstance(h, DepthUpdate) and h.diff is not None]

    assert len(diffs) > SPAN_MS // 100 * 0.8
    assert all(later.first_update_id == earlier.final_update_id + 1 for earlier, later in pairwise(diffs))


def test_best_change_before_a_diff_is_the_best_of_its_book(events: list[MarketEvent]) -> None:
    """The newest best bid and ask up to a diff equal the book's at its end, and never cross."""
    best: BestPriceChange | None = None
    for event in events:
        if isinstance(event, BestPriceChange):
            assert event.bid[0] < event.ask[0]
            best = event
        elif isinstance(event, DepthUpdate) and best is not None:
            assert best.update_id <= event.update_id
            assert (best.bid, best.ask) == (event.bids[0], event.asks[0])


def test_trade_and_aggregate_ids_are_contiguous(events: list[MarketEvent]) -> None:
    """No trade id and no aggregate id is skipped."""
    trades = [h.trade for h in events if isinstance(h, TradeMade)]

    assert [t.agg_id - trades[0].agg_id for t in trades] == list(range(len(trades)))
    assert all(later.first_trade_id == earlier.last_trade_id + 1 for earlier, later in pairwise(trades))


def test_candles_are_made_of_the_trades(events: list[MarketEvent]) -> None:
    """Each closed candle is the sum of its minute's trades, and comes before any later trade."""
    candle = flat_candle(START_MS, INSTRUMENTS[SMALL].start_ticks)
    closed = 0
    for event in events:
        if isinstance(event, TradeMade):
            assert candle.open_ms <= event.trade.time_ms < candle.open_ms + MINUTE_MS
            candle.add(event.trade)
        elif isinstance(event, CandleUpdate):
            assert event.candle == candle
            if event.closed:
                closed += 1
                candle = flat_candle(candle.open_ms + MINUTE_MS, candle.close)

    assert closed == SPAN_MS // MINUTE_MS


def test_live_candle_comes_every_two_seconds(events: list[MarketEvent]) -> None:
    """Updates of the open candle come at their period, besides the closing ones."""
    times = [h.at_ms for h in events if isinstance(h, CandleUpdate) and not h.closed]

    assert times == list(range(times[0], START_MS + SPAN_MS, 2000))


def test_busy_symbol_has_realistic_diffs() -> None:
    """A diff of the busiest symbol has a realistic number of levels, on thousands of levels a side."""
    market = SimulatedMarket(INSTRUMENTS["BTCUSDT"], seed=2, start_ms=START_MS)
    diffs = [h.diff for h in market.advance(START_MS + 20_000) if isinstance(h, DepthUpdate) and h.diff is not None]

    assert 8 <= median(len(cut.bids) + len(cut.asks) for cut in diffs) <= 40
    assert all(len(side.keys) > 2000 for side in market.book.sides)


def test_start_within_a_minute_has_that_minute_whole() -> None:
    """A session that starts in mid-minute continues what one from the minute's open would have been."""
    later_ms = START_MS + 10_000

    assert run_market(span_ms=5_000, step_ms=5_000, start_ms=later_ms) == [
        h for h in run_market(span_ms=15_000, step_ms=15_000) if h.at_ms > later_ms
    ]


def test_aggregate_trades_continue_from_the_history() -> None:
    """From an id before the session, the trades run through its start without a gap."""
    market = SimulatedMarket(INSTRUMENTS[SMALL], seed=1, start_ms=START_MS)
    market.advance(START_MS + 10_000)
    start = INSTRUMENTS[SMALL].first_agg_id - 10
    found = market.agg_trades_from(start, 25)

    assert [p.agg_id for p in found] == list(range(start, start + 25))
    assert market.agg_id_at(found[-1].time_ms) <= found[-1].agg_id
    assert market.agg_id_at(START_MS) == INSTRUMENTS[SMALL].first_agg_id
    assert market.agg_id_at(START_MS + 10**6) == market.next_agg_id


def test_market_answers_as_far_back_as_it_is_told() -> None:
    """Minutes before the session, and trades of the session."""
    retention = Retention(history_minutes=2000, agg_trades=5)
    market = SimulatedMarket(INSTRUMENTS[SMALL], seed=1, start_ms=START_MS, retention=retention)
    market.advance(START_MS + 10_000)

    assert len(market.closed_candles) == 2000
    assert len(market.agg_trades_kept) == 5


def test_market_that_does_not_trade_is_silent() -> None:
    """While it is paused there are no events, and its minutes leave no candle; the next begins at the last price."""
    market = SimulatedMarket(INSTRUMENTS[SMALL], seed=1, start_ms=START_MS)
    market.trading = False
    before = list(market.closed_candles)

    assert market.advance(START_MS + SPAN_MS) == []
    assert list(market.closed_candles) == before
    assert (market.live_candle.count, market.live_candle.close) == (0, INSTRUMENTS[SMALL].start_ticks)
    assert market.live_candle.open_ms == START_MS + SPAN_MS - (START_MS + SPAN_MS) % 60_000
