"""One symbol's market in virtual time: contiguous ids, exact candles, and a book that never crosses."""

from itertools import pairwise
from statistics import median

import pytest

from pulse.simulator.candles import flat_minute
from pulse.simulator.history import MINUTE_MS
from pulse.simulator.instruments import INSTRUMENTS
from pulse.simulator.market import BestChange, CandleFrame, Depth, Happening, Market, Traded
from tests.support.simulator import SMALL, START_MS

SPAN_MS = 65_000


def lived(
    symbol: str = SMALL, span_ms: int = SPAN_MS, step_ms: int = SPAN_MS, start_ms: int = START_MS
) -> list[Happening]:
    """What happens in a span of a symbol's life, lived in steps."""
    market = Market(INSTRUMENTS[symbol], seed=1, start_ms=start_ms)
    return [h for at in range(0, span_ms, step_ms) for h in market.advance(start_ms + min(at + step_ms, span_ms))]


@pytest.fixture(scope="module")
def happened() -> list[Happening]:
    """A minute and a bit of the quiet symbol, lived in one step."""
    return lived()


def test_time_never_goes_back(happened: list[Happening]) -> None:
    """Happenings come in the order of their times, and within the span."""
    times = [h.at_ms for h in happened]

    assert times == sorted(times)
    assert times[0] >= START_MS
    assert times[-1] <= START_MS + SPAN_MS


@pytest.mark.parametrize("step_ms", [7, 22_222])
def test_the_size_of_the_steps_changes_nothing(happened: list[Happening], step_ms: int) -> None:
    """A session lived in any steps is the same session."""
    assert lived(step_ms=step_ms) == happened


def test_diffs_join_without_a_gap(happened: list[Happening]) -> None:
    """Each diff begins where the one before ended."""
    cuts = [h.cut for h in happened if isinstance(h, Depth) and h.cut is not None]

    assert len(cuts) > SPAN_MS // 100 * 0.8
    assert all(later.first_update_id == earlier.final_update_id + 1 for earlier, later in pairwise(cuts))


def test_the_best_change_before_a_diff_is_the_best_of_its_book(happened: list[Happening]) -> None:
    """The newest best bid and ask up to a diff equal the book's at its end, and never cross."""
    best: BestChange | None = None
    for happening in happened:
        if isinstance(happening, BestChange):
            assert happening.bid[0] < happening.ask[0]
            best = happening
        elif isinstance(happening, Depth) and best is not None:
            assert best.update_id <= happening.update_id
            assert (best.bid, best.ask) == (happening.bids[0], happening.asks[0])


def test_trade_and_aggregate_ids_are_contiguous(happened: list[Happening]) -> None:
    """No trade id and no aggregate id is left out."""
    trades = [h.trade for h in happened if isinstance(h, Traded)]

    assert [t.agg_id - trades[0].agg_id for t in trades] == list(range(len(trades)))
    assert all(later.first_trade_id == earlier.last_trade_id + 1 for earlier, later in pairwise(trades))


def test_candles_are_made_of_the_trades(happened: list[Happening]) -> None:
    """Each closed candle is the sum of its minute's trades, and closes before a later trade is told."""
    minute = flat_minute(START_MS, INSTRUMENTS[SMALL].start_ticks)
    closed = 0
    for happening in happened:
        if isinstance(happening, Traded):
            assert minute.open_ms <= happening.trade.time_ms < minute.open_ms + MINUTE_MS
            minute.add(happening.trade)
        elif isinstance(happening, CandleFrame):
            assert happening.minute == minute
            if happening.closed:
                closed += 1
                minute = flat_minute(minute.open_ms + MINUTE_MS, minute.close)

    assert closed == SPAN_MS // MINUTE_MS


def test_a_live_candle_is_told_every_two_seconds(happened: list[Happening]) -> None:
    """Open candles come on their rhythm, beside the closing ones."""
    times = [h.at_ms for h in happened if isinstance(h, CandleFrame) and not h.closed]

    assert times == list(range(times[0], START_MS + SPAN_MS, 2000))


def test_a_busy_symbol_changes_as_a_busy_symbol_does() -> None:
    """A diff of the busiest symbol has a realistic number of levels, on thousands of levels a side."""
    market = Market(INSTRUMENTS["BTCUSDT"], seed=2, start_ms=START_MS)
    cuts = [h.cut for h in market.advance(START_MS + 20_000) if isinstance(h, Depth) and h.cut is not None]

    assert 8 <= median(len(cut.bids) + len(cut.asks) for cut in cuts) <= 40
    assert all(len(side.keys) > 2000 for side in market.book.sides)


def test_a_start_within_a_minute_has_that_minute_whole() -> None:
    """A session that starts in mid-minute continues what one from the minute's open would have been."""
    later_ms = START_MS + 10_000

    assert lived(span_ms=5_000, step_ms=5_000, start_ms=later_ms) == [
        h for h in lived(span_ms=15_000, step_ms=15_000) if h.at_ms > later_ms
    ]


def test_prints_can_be_asked_for_from_the_history_on() -> None:
    """From an id before the session, the trades run through its start without a hole."""
    market = Market(INSTRUMENTS[SMALL], seed=1, start_ms=START_MS)
    market.advance(START_MS + 10_000)
    start = INSTRUMENTS[SMALL].first_agg_id - 10
    found = market.prints_from(start, 25)

    assert [p.agg_id for p in found] == list(range(start, start + 25))
    assert market.agg_id_at(found[-1].time_ms) <= found[-1].agg_id
    assert market.agg_id_at(START_MS) == INSTRUMENTS[SMALL].first_agg_id
    assert market.agg_id_at(START_MS + 10**6) == market.next_agg_id


def test_a_market_that_does_not_trade_is_silent() -> None:
    """While it is paused nothing is told, and its minutes leave no candle; the next begins at the last price."""
    market = Market(INSTRUMENTS[SMALL], seed=1, start_ms=START_MS)
    market.trading = False
    before = list(market.minutes)

    assert market.advance(START_MS + SPAN_MS) == []
    assert list(market.minutes) == before
    assert (market.minute.count, market.minute.close) == (0, INSTRUMENTS[SMALL].start_ticks)
    assert market.minute.open_ms == START_MS + SPAN_MS - (START_MS + SPAN_MS) % 60_000
