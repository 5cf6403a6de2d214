"""The day before the session: candles and trades that agree, and join the live market without a gap."""

from itertools import islice, pairwise

import pytest

from pulse.simulator.candles import flat_candle
from pulse.simulator.history import HISTORY_MINUTES, MINUTE_MS, History
from pulse.simulator.instruments import INSTRUMENTS
from tests.support.simulator import SMALL, START_MS

INSTRUMENT = INSTRUMENTS[SMALL]


@pytest.fixture(scope="module")
def day() -> History:
    """Return one day before the session's start."""
    return History(INSTRUMENT, seed=1, end_ms=START_MS)


def test_minutes_are_contiguous_and_end_at_the_start(day: History) -> None:
    """There is a candle for each minute of more than a day, up to the session's start and price."""
    candles = day.candles

    assert len(candles) == HISTORY_MINUTES >= 1500
    assert all(later.open_ms - earlier.open_ms == MINUTE_MS for earlier, later in pairwise(candles))
    assert (candles[-1].open_ms + MINUTE_MS, candles[-1].close) == (START_MS, INSTRUMENT.start_ticks)


def test_trade_ids_continue_into_the_live_ones(day: History) -> None:
    """The candles' trade ids have no gap and end just below the session's first."""
    candles = day.candles

    assert all(later.first_trade_id == earlier.last_trade_id + 1 for earlier, later in pairwise(candles))
    assert candles[-1].last_trade_id + 1 == INSTRUMENT.first_trade_id
    assert all(m.count == m.last_trade_id - m.first_trade_id + 1 for m in candles)


def test_candles_are_made_of_the_trades(day: History) -> None:
    """Adding the trades of any minute gives that minute's candle exactly."""
    rebuilt = {m.open_ms: flat_candle(m.open_ms, 0) for m in day.candles}
    for trade in day.trades(day.first_agg_id):
        rebuilt[trade.time_ms // MINUTE_MS * MINUTE_MS].add(trade)

    assert list(rebuilt.values()) == day.candles


def test_trades_can_start_at_any_id(day: History) -> None:
    """From an id in the middle of a minute the very next trades come, in order."""
    start = day.first_agg_id + 4321

    assert [t.agg_id for t in islice(day.trades(start), 50)] == list(range(start, start + 50))


def test_time_maps_to_the_first_id_of_its_minute(day: History) -> None:
    """The first id at a time is that of its minute; beyond either end, that end's."""
    minute = day.candles[700]
    offset = INSTRUMENT.first_trade_id - INSTRUMENT.first_agg_id

    assert day.agg_id_at(minute.open_ms + 59_999) == minute.first_trade_id - offset
    assert day.agg_id_at(0) == day.first_agg_id
    assert day.agg_id_at(START_MS + 10**9) == INSTRUMENT.first_agg_id


def test_one_seed_one_history(day: History) -> None:
    """The same seed makes the same day; another seed makes another one."""
    same, other = (History(INSTRUMENT, seed=seed, end_ms=START_MS) for seed in (1, 2))

    assert same.candles == day.candles != other.candles
